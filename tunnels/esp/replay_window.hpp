// SPDX-License-Identifier: GPL-2.0-or-later
//
// The anti-replay window of an inbound SA (RFC 4303 section 3.4.3), and which 64-bit extended
// sequence number a packet means that carries the low half of it (appendix A2). A number is judged
// before the packet is opened and accepted after: accept() judges anew, as another packet may have
// come between. Not thread-safe: whoever shares one locks (dataplane/security_association.hpp).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace culvert::tunnels {

enum class ReplayVerdict : std::uint8_t {
    fresh,
    repeated,  ///< Inside the window, and was received.
    late,      ///< Left of the window.
    zero,      ///< Sequence number 0 is never sent.
};

class ReplayWindow {
public:
    static constexpr std::uint32_t kPacketsMin = 64;
    static constexpr std::uint32_t kPacketsMax = 4096;

    /// `packets`: the width; outside of the bounds the nearest one, rounded up to a multiple of 64.
    /// `extended`: 64-bit numbers. `highest`: no number up to it is taken any more (of an SA that
    /// somebody else received for before).
    ReplayWindow(std::uint32_t packets, bool extended, std::uint64_t highest = 0) noexcept;

    /// The whole number of a packet that carries `low`.
    [[nodiscard]] std::uint64_t infer(std::uint32_t low) const noexcept;
    [[nodiscard]] ReplayVerdict judge(std::uint64_t sequence) const noexcept;
    /// Notes an authentic packet; anything but fresh: it must not be taken.
    [[nodiscard]] ReplayVerdict accept(std::uint64_t sequence) noexcept;

    [[nodiscard]] std::uint64_t highest() const noexcept { return highest_; }
    [[nodiscard]] std::uint32_t packets() const noexcept { return packets_; }
    [[nodiscard]] bool is_extended() const noexcept { return extended_; }

private:
    // A ring of words, one bit a number, as in RFC 6479: one word more than the width, because the
    // window starts and ends inside of words, and a power of two of them.
    static constexpr std::size_t kWords = std::bit_ceil(kPacketsMax / 64 + 1);

    [[nodiscard]] std::uint64_t& word_of(std::uint64_t sequence) noexcept;

    std::uint64_t highest_;
    std::uint32_t packets_;
    std::uint32_t ring_mask_;
    bool extended_;
    std::array<std::uint64_t, kWords> seen_{};
};

}  // namespace culvert::tunnels
