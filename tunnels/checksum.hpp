// SPDX-License-Identifier: GPL-2.0-or-later
//
// The Internet checksum (RFC 1071) and the pseudo-headers of RFC 768/793/8200.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tunnels/address.hpp"

namespace culvert::tunnels {

/// One's complement sum of `data` added to `sum`, both unfolded. Sums are in wire order of 16-bit
/// words, so that the folded, complemented result is stored with memcpy. An odd final byte counts
/// as the high byte of a word; `odd_start` says that `data` begins at an odd offset of the summed
/// region.
[[nodiscard]] std::uint64_t
checksum_add(std::uint64_t sum, std::span<const std::byte> data, bool odd_start = false) noexcept;

/// Folds to 16 bits (not complemented), in memory order.
[[nodiscard]] constexpr std::uint16_t checksum_fold(std::uint64_t sum) noexcept {
    sum = (sum & 0xffffffffU) + (sum >> 32U);
    sum = (sum & 0xffffffffU) + (sum >> 32U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    sum = (sum & 0xffffU) + (sum >> 16U);
    return static_cast<std::uint16_t>(sum);
}

/// One unfolded sum of two. They fill all 64 bits, so the carry has to come round: `a + b` would
/// lose it.
[[nodiscard]] constexpr std::uint64_t checksum_sum(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t sum = a + b;
    return sum + (sum < a ? 1U : 0U);
}

/// Sum of the pseudo-header for upper-layer `protocol` and `length_bytes` (IPv4 or IPv6 by the
/// address family).
[[nodiscard]] std::uint64_t pseudo_header_sum(
    const IpAddress& source,
    const IpAddress& destination,
    std::uint8_t protocol,
    std::uint32_t length_bytes
) noexcept;

}  // namespace culvert::tunnels
