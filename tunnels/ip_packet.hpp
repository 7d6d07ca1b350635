// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a router checks of an IP packet before it forwards it (RFC 1812 sections 5.2.2 and 5.3.7,
// RFC 8200 section 3, RFC 4291 section 2.5.6). Made to be called per packet. Any thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "tunnels/address.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/ipv4_checksum.hpp"

namespace culvert::tunnels {

struct IpPacket {
    IpAddress source;
    IpAddress destination;
    std::uint32_t bytes = 0;  ///< Of the packet by its own length field; less than what is there
                              ///< when Ethernet padding follows.
};

/// Reads the IPv4 or IPv6 packet at the front of `ip`, of which `bytes` are there in all. Nothing
/// when its version, header length, length or IPv4 checksum is wrong, or its fixed header (of IPv4,
/// the options too) is not within `ip`.
[[nodiscard]] inline std::optional<IpPacket>
read_ip_packet(std::span<const std::byte> ip, std::uint32_t bytes) noexcept {
    const unsigned version = ip.empty() ? 0 : std::to_integer<unsigned>(ip.front()) >> 4U;
    if (version == 4 && ip.size() >= sizeof(Ipv4Header)) {
        const auto header = load<Ipv4Header>(ip.data());
        const std::uint32_t total = header.total_length.host();
        const std::size_t header_bytes = (header.version_ihl & 0xfU) * std::size_t{4};
        if (header_bytes < sizeof header || header_bytes > ip.size() || total < header_bytes ||
            total > bytes || !ipv4_checksum_ok(ip.data(), header_bytes)) {
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

/// has_host_scope() of the IPv4 address at `octets`.
[[nodiscard]] inline bool has_host_scope_v4(const void* octets) noexcept {
    Be32 address;
    std::memcpy(&address, octets, sizeof address);
    const std::uint32_t value = address.host();
    const std::uint32_t first = value >> 24U;
    return first != 0 && first != 127 && first < 224 && value >> 16U != (169U << 8U | 254U);
}

/// Whether an address is that of one host, and means the same beyond its link: not unspecified,
/// loopback, link-local, multicast, nor in 0.0.0.0/8 or 240.0.0.0/4.
[[nodiscard]] inline bool has_host_scope(const IpAddress& address) noexcept {
    if (address.is_v4()) {
        return has_host_scope_v4(address.v4());
    }
    const bool link_local = address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0U) == 0x80;
    const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(address.bytes);
    const bool low = words[0] == 0 && (words[1] == 0 || words[1] == std::uint64_t{1} << 56U);
    return address.bytes[0] != 0xff && !link_local && !low;
}

/// Whether a router may forward between these addresses.
[[nodiscard]] inline bool is_routable(const IpPacket& packet) noexcept {
    return has_host_scope(packet.source) && has_host_scope(packet.destination);
}

}  // namespace culvert::tunnels
