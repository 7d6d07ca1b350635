// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading before routing. See ip_packet.hpp.
#include "tunnels/ip_packet.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"

namespace culvert::tunnels {

namespace {

bool has_host_scope(const IpAddress& address) noexcept {
    if (address.is_multicast() || address.is_unset()) {
        return false;
    }
    if (!address.is_v4()) {
        const bool link_local = address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0U) == 0x80;
        IpAddress loopback;
        loopback.bytes[15] = 1;
        return !link_local && address != loopback;
    }
    const std::uint8_t* octets = address.v4();
    const bool link_local = octets[0] == 169 && octets[1] == 254;
    return octets[0] != 0 && octets[0] != 127 && octets[0] != 255 && !link_local;
}

}  // namespace

std::optional<IpPacket>
read_ip_packet(std::span<const std::byte> ip, std::uint32_t bytes) noexcept {
    const unsigned version = ip.empty() ? 0 : std::to_integer<unsigned>(ip.front()) >> 4U;
    if (version == 4 && ip.size() >= sizeof(Ipv4Header)) {
        const auto header = load<Ipv4Header>(ip.data());
        const std::uint32_t total = header.total_length.host();
        const std::size_t header_bytes = (header.version_ihl & 0xfU) * std::size_t{4};
        if (header_bytes < sizeof header || header_bytes > ip.size() || total < header_bytes ||
            total > bytes || checksum_fold(checksum_add(0, ip.first(header_bytes))) != 0xffff) {
            return std::nullopt;
        }
        return IpPacket{
            IpAddress::from_v4(header.source.data()),
            IpAddress::from_v4(header.destination.data()),
            total};
    }
    if (version == 6 && ip.size() >= sizeof(Ipv6Header)) {
        const auto header = load<Ipv6Header>(ip.data());
        const std::uint32_t total =
            header.payload_length.host() + static_cast<std::uint32_t>(sizeof header);
        if (total > bytes) {
            return std::nullopt;
        }
        return IpPacket{
            IpAddress::from_v6(header.source.data()),
            IpAddress::from_v6(header.destination.data()),
            total};
    }
    return std::nullopt;
}

bool is_routable(const IpPacket& packet) noexcept {
    return has_host_scope(packet.source) && has_host_scope(packet.destination);
}

}  // namespace culvert::tunnels
