// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a router checks of an IP packet before it forwards it (RFC 1812 sections 5.2.2 and 5.3.7,
// RFC 8200 section 3, RFC 4291 section 2.5.6). Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tunnels/address.hpp"

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
[[nodiscard]] std::optional<IpPacket>
read_ip_packet(std::span<const std::byte> ip, std::uint32_t bytes) noexcept;

/// Whether a router may forward between these addresses: neither is unspecified, loopback,
/// link-local, or (IPv4) the limited broadcast, and neither is multicast.
[[nodiscard]] bool is_routable(const IpPacket& packet) noexcept;

}  // namespace culvert::tunnels
