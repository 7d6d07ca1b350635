// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rewrites the ECN field. See ecn.hpp.
#include "tunnels/ecn.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "tunnels/checksum.hpp"
#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"

namespace culvert::tunnels {

void set_ecn(std::span<std::byte> ip, std::uint8_t ecn) noexcept {
    if (std::to_integer<unsigned>(ip.front()) >> 4U == 6) {
        // The traffic class lies across the first two octets; ECN is bits 5 and 4 of the second.
        ip[1] = (ip[1] & std::byte{0xcf}) | static_cast<std::byte>((ecn & kEcnMask) << 4U);
        return;
    }
    const auto before = load<Be16>(ip.data());
    ip[1] = (ip[1] & ~std::byte{kEcnMask}) | static_cast<std::byte>(ecn & kEcnMask);
    const auto after = load<Be16>(ip.data());
    // RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
    std::byte* field = ip.data() + offsetof(Ipv4Header, checksum);
    const auto old_checksum = load<Be16>(field).memory_order();
    const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~old_checksum)} +
                              static_cast<std::uint16_t>(~before.memory_order()) +
                              after.memory_order();
    const auto checksum = static_cast<std::uint16_t>(~checksum_fold(sum));
    std::memcpy(field, &checksum, sizeof checksum);
}

}  // namespace culvert::tunnels
