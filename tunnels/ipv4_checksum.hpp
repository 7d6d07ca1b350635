// SPDX-License-Identifier: GPL-2.0-or-later
//
// The checksum of an IPv4 header (RFC 791 section 3.1), made for headers without options. Any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tunnels/checksum.hpp"
#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"

namespace culvert::tunnels {

/// Precondition: `header_bytes`, at least 20 and a multiple of 4, are at `ip`.
[[nodiscard]] inline bool ipv4_checksum_ok(const std::byte* ip, std::size_t header_bytes) noexcept {
    const std::uint64_t sum =
        std::uint64_t{load<Be32>(ip).memory_order()} + load<Be32>(ip + 4).memory_order() +
        load<Be32>(ip + 8).memory_order() + load<Be32>(ip + 12).memory_order() +
        load<Be32>(ip + 16).memory_order();
    constexpr std::size_t kFixed = sizeof(Ipv4Header);
    if (header_bytes == kFixed) [[likely]] {
        // A sum that folds to 0xffff is a multiple of it, and not 0, as the first octet is not.
        return sum % 0xffffU == 0 && sum != 0;
    }
    return checksum_fold(checksum_add(sum, {ip + kFixed, header_bytes - kFixed})) == 0xffff;
}

/// Writes the checksum; precondition as above.
inline void
write_ipv4_checksum(std::byte* ip, std::size_t header_bytes = sizeof(Ipv4Header)) noexcept {
    std::byte* field = ip + offsetof(Ipv4Header, checksum);
    // In front of the field and behind it, as what stands in it does not count.
    std::uint64_t sum = std::uint64_t{load<Be32>(ip).memory_order()} +
                        load<Be32>(ip + 4).memory_order() + load<Be16>(ip + 8).memory_order() +
                        load<Be32>(ip + 12).memory_order() + load<Be32>(ip + 16).memory_order();
    constexpr std::size_t kFixed = sizeof(Ipv4Header);
    if (header_bytes != kFixed) [[unlikely]] {
        sum = checksum_add(sum, {ip + kFixed, header_bytes - kFixed});
    }
    const auto checksum = static_cast<std::uint16_t>(~checksum_fold(sum));
    std::memcpy(field, &checksum, sizeof checksum);
}

}  // namespace culvert::tunnels
