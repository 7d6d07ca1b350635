// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a router of the underlay says about a tunnel packet that did not fit: ICMP "fragmentation
// needed" (RFC 1191) and ICMPv6 "packet too big" (RFC 4443 section 3.2, RFC 8201). Anybody may
// forge one: the caller matches addresses and ports with a tunnel of its own, only ever lowers an
// MTU by it, and bounds how far. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tunnels/address.hpp"

namespace culvert::tunnels {

struct TooBig {
    IpAddress local;                    ///< Source of the packet that did not fit.
    IpAddress remote;                   ///< Its destination.
    std::uint8_t ip_protocol = 0;       ///< kIpProtocolUdp, kIpProtocolGre or kIpProtocolEsp.
    std::uint16_t udp_source = 0;       ///< Host order; 0 but for UDP.
    std::uint16_t udp_destination = 0;  ///< Likewise.
    /// Bytes of IP packet that fit: at least 68 for IPv4, 1280 for IPv6 (less is refused, RFC 8201
    /// section 4). A router older than RFC 1191 says nothing, and the next lower plateau of its
    /// section 7.1 is taken. Not compared with the length of the quoted packet, which some routers
    /// garble: who only lowers an MTU needs no such comparison.
    std::uint32_t mtu = 0;
};

/// Parses the IP packet at the start of `ip_packet`, which has to hold all of it (bytes behind it
/// are ignored). nullopt for anything else: other ICMP, fragments, wrong checksums, quotes of other
/// protocols or of less than 8 bytes behind the quoted headers. Extension headers are followed in
/// neither packet, except for a fragment header in the quoted one (an outer packet that was
/// fragmented at the tunnel).
[[nodiscard]] std::optional<TooBig> parse_too_big(std::span<const std::byte> ip_packet) noexcept;

}  // namespace culvert::tunnels
