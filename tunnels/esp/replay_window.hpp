// SPDX-License-Identifier: GPL-2.0-or-later
//
// The anti-replay window of an inbound SA (RFC 4303 section 3.4.3), and which 64-bit extended
// sequence number a packet means that carries the low half of it (appendix A2). A number is judged
// before the packet is opened and accepted after: accept() judges anew, as another packet may have
// come between. Not thread-safe: whoever shares one locks (dataplane/security_association.hpp).
#pragma once

#include <array>
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

    /// `packets`: the width, a multiple of 64 within the bounds. `extended`: 64-bit numbers.
    ReplayWindow(std::uint32_t packets, bool extended) noexcept;

    /// The whole number of a packet that carries `low`.
    [[nodiscard]] std::uint64_t infer(std::uint32_t low) const noexcept;
    [[nodiscard]] ReplayVerdict judge(std::uint64_t sequence) const noexcept;
    /// Notes an authentic packet; anything but fresh: it must not be taken.
    [[nodiscard]] ReplayVerdict accept(std::uint64_t sequence) noexcept;

    [[nodiscard]] std::uint64_t highest() const noexcept { return highest_; }
    [[nodiscard]] std::uint32_t packets() const noexcept { return packets_; }
    [[nodiscard]] bool is_extended() const noexcept { return extended_; }

private:
    static constexpr std::size_t kWords = kPacketsMax / 64 + 1;  // RFC 6479: one block in spare.

    std::uint64_t highest_ = 0;
    std::uint32_t packets_;
    bool extended_;
    std::array<std::uint64_t, kWords> seen_{};
};

}  // namespace culvert::tunnels
