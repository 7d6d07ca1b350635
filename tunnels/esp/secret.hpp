// SPDX-License-Identifier: GPL-2.0-or-later
//
// Key material of one security association: bytes that are wiped when they are not needed any more,
// are compared in constant time, and cannot be printed. A value; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace culvert::tunnels {

class Secret {
public:
    /// AES-256 and HMAC-SHA2-256 keys together.
    static constexpr std::size_t kBytesMax = 64;

    Secret() = default;
    /// Precondition: at most kBytesMax.
    explicit Secret(std::span<const std::byte> bytes) noexcept;
    Secret(const Secret&) = default;
    Secret& operator=(const Secret&) = default;
    ~Secret() { wipe(); }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::span(bytes_).first(size_);
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void wipe() noexcept;

    [[nodiscard]] bool operator==(const Secret& other) const noexcept;

private:
    std::array<std::byte, kBytesMax> bytes_{};
    std::uint8_t size_ = 0;
};

/// Overwrites memory in a way that a compiler does not leave out.
void wipe(std::span<std::byte> memory) noexcept;

/// Whether two ranges of one length hold the same, in a time that does not depend on what they
/// hold.
[[nodiscard]] bool
equal_in_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept;

}  // namespace culvert::tunnels
