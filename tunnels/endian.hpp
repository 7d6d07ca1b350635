// SPDX-License-Identifier: GPL-2.0-or-later
//
// Integers in network byte order as a type of their own (RFC 1700, "Data Notation"). Only bytes are
// stored, so that such a value may stand at any address and a header struct needs no packing
// attribute. There is no implicit conversion in either direction, because a forgotten swap would
// then compile. Arithmetic is left out for the same reason: convert to host order first.
// Any thread may call everything here.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace culvert::tunnels {

static_assert(
    std::endian::native == std::endian::little,
    "BigEndian swaps unconditionally, which is right only on a little-endian machine."
);

/// Reverses the octets of `value`.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T swap_bytes(T value) noexcept {
    if constexpr (sizeof(T) == 1) {
        return value;
    } else if constexpr (sizeof(T) == 2) {
        return __builtin_bswap16(value);
    } else if constexpr (sizeof(T) == 4) {
        return __builtin_bswap32(value);
    } else {
        static_assert(sizeof(T) == 8);
        return __builtin_bswap64(value);
    }
}

template <std::unsigned_integral T>
class BigEndian {
public:
    constexpr BigEndian() noexcept = default;
    /// Exactly T, so that a wider host value is an error and not cut off.
    template <std::same_as<T> U>
    constexpr explicit BigEndian(U host_value) noexcept
        : bytes_{std::bit_cast<Bytes>(swap_bytes(host_value))} {}

    [[nodiscard]] constexpr T host() const noexcept { return swap_bytes(memory_order()); }

    /// The octets as they lie in memory, read as an integer: what a checksum adds up.
    [[nodiscard]] constexpr T memory_order() const noexcept { return std::bit_cast<T>(bytes_); }

    constexpr bool operator==(const BigEndian&) const noexcept = default;

private:
    using Bytes = std::array<std::uint8_t, sizeof(T)>;
    Bytes bytes_{};
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;
using Be64 = BigEndian<std::uint64_t>;

static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1);
static_assert(sizeof(Be32) == 4 && alignof(Be32) == 1);
static_assert(sizeof(Be64) == 8 && alignof(Be64) == 1);

}  // namespace culvert::tunnels
