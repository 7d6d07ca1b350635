// SPDX-License-Identifier: GPL-2.0-or-later
//
// Builds the whole header stack of a tunnel, Ethernet to tunnel header, once per tunnel and next
// hop; transmit copies it and calls patch_outer(). Control threads call this, never a worker per
// packet. The bound below is why a worker need not check that a template fits the headroom.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/outer_patch.hpp"
#include "tunnels/protocol.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::tunnels {

/// The longest header stack: Ethernet with a VLAN tag, IPv6, UDP and the longest tunnel header.
inline constexpr std::size_t kEncapBytesMax = sizeof(EthernetHeader) + sizeof(VlanTag) +
                                              sizeof(Ipv6Header) + sizeof(UdpHeader) +
                                              kTunnelHeaderBytesMax;

/// RTE_PKTMBUF_HEADROOM as distributions build DPDK.
inline constexpr std::size_t kDefaultHeadroomBytes = 128;

static_assert(kEncapBytesMax <= kTemplateBytesMax);
static_assert(kEncapBytesMax <= kDefaultHeadroomBytes);

/// `index` is the protocol's place in Protocols (precondition: index < kProtocolCount). The IP
/// protocol always comes from the list, and a UDP destination of 0 stands for the protocol's
/// default, so the outer header cannot contradict the tunnel header behind it.
[[nodiscard]] inline EncapTemplate build_template(
    std::uint8_t index, const LinkHeader& link, OuterConfig outer, const HeaderConfig& header
) noexcept {
    const OuterMatch match = kProtocols[index].outer;
    outer.ip_protocol = match.ip_protocol;
    if (outer.udp_destination == 0) {
        outer.udp_destination = match.default_udp_port;
    }
    EncapTemplate encap = build_outer(link, outer);
    append_header(index, header, encap);
    return encap;
}

}  // namespace culvert::tunnels
