// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every reason for which a packet can end without leaving a port. One row here is the enumerator,
// the counter, the word that `culvert-ctl drops` prints and the row of docs/drops.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace culvert::tunnels {

// clang-format off
#define CULVERT_DROP_REASONS(X) \
    /* Frame as it arrived on a port. */ \
    X(malformed_frame,        "The frame is shorter than an Ethernet header or its VLAN tag is cut off.") \
    X(source_multicast,       "The source MAC address is a group address (IEEE 802.3 forbids it).") \
    X(link_local_multicast,   "The destination is 01:80:c2:00:00:00-0f (STP, pause, LACP, LLDP), which a bridge must not forward (IEEE 802.1D 7.12.6).") \
    X(vlan_filtered,          "The ingress port does not admit the frame's VLAN.") \
    X(port_unassigned,        "The ingress port belongs to no bridge.") \
    X(bond_standby,           "The packet came in by a member of a bond that is not its active one: any packet in active-backup, one to a group address in balance-slb.") \
    X(bond_lacp,              "The packet came in by a member of a bond that LACP has not brought up, or that balances by balance-tcp without LACP.") \
    X(bond_reflection,        "The packet came in by a balance-slb bond, but its source is behind another port: it is one of our own that came back.") \
    X(offload_malformed,      "The kernel's offload header (virtio_net_hdr) contradicts the frame.") \
    /* Outer headers of a packet for a local tunnel endpoint. */ \
    X(outer_malformed,        "The outer IP or UDP header is cut off or its lengths contradict the packet.") \
    X(outer_checksum,         "The outer IPv4 header checksum is wrong.") \
    X(outer_fragment,         "The outer packet is an IP fragment that could not be used: too many, too late, overlapping or cut off.") \
    X(udp_checksum,           "The outer UDP checksum is wrong.") \
    X(udp6_zero_checksum,     "The outer UDP checksum over IPv6 is zero (RFC 8200 section 8.1).") \
    X(gre_malformed,          "The GRE header is cut off.") \
    X(gre_version,            "The GRE version is not 0 (RFC 2784 section 2.3.1).") \
    X(gre_routing,            "The GRE routing-present flag is set (RFC 2784 section 2.3).") \
    X(gre_reserved_bits,      "A reserved bit of the GRE header is set (RFC 2784 section 2.3).") \
    X(gre_protocol,           "The GRE protocol type is not 0x6558 (transparent Ethernet bridging), 0x0800 or 0x86dd (IP).") \
    X(gre_checksum,           "The GRE checksum is wrong (RFC 2784 section 2.4).") \
    X(gre_sequence,           "The GRE sequence number is late or repeated, and the tunnel has late = \"drop\" (RFC 2890 section 2.2).") \
    X(vxlan_malformed,        "The VXLAN header is cut off.") \
    X(vxlan_flags,            "The VXLAN I flag is clear or a flag is set that the tunnel does not know (RFC 7348 section 5).") \
    X(vxlan_group_policy,     "The VXLAN group policy id is not the one that the tunnel admits.") \
    X(vxlan_gpe_malformed,    "The VXLAN-GPE header is cut off.") \
    X(vxlan_gpe_flags,        "The VXLAN-GPE version is not 0, or the I or P flag is clear, or a reserved flag is set.") \
    X(vxlan_gpe_oam,          "The VXLAN-GPE O flag marks a packet for the endpoint itself, which must not be forwarded.") \
    X(vxlan_gpe_protocol,     "The VXLAN-GPE next protocol is not Ethernet, IPv4 or IPv6.") \
    X(geneve_malformed,       "The Geneve header or one of its options is cut off, or the option lengths contradict it.") \
    X(geneve_version,         "The Geneve version is not 0 (RFC 8926 section 3.4).") \
    X(geneve_oam,             "The Geneve O bit marks a packet for the endpoint itself, which must not be forwarded (RFC 8926 section 3.4).") \
    X(geneve_protocol,        "The Geneve protocol type is not 0x6558 (Ethernet).") \
    X(geneve_critical_option, "A critical Geneve option is not one that the tunnel knows (RFC 8926 section 3.5).") \
    X(lisp_malformed,         "The LISP header is cut off.") \
    X(lisp_flags,             "The LISP flags contradict each other (RFC 9300 section 5.3).") \
    X(tunnel_unknown_peer,    "No tunnel of this type has this remote address.") \
    X(tunnel_unknown_key,     "The remote address is known, but not with this key or VNI, or not with this kind of payload.") \
    X(esp_malformed,          "The ESP packet is cut off, its length is none of its cipher's, or its padding is wrong (RFC 4303 section 2.4).") \
    X(esp_unknown_spi,        "No security association has this SPI and destination address.") \
    X(esp_replay,             "The ESP sequence number was received before, or is left of the replay window (RFC 4303 section 3.4.3).") \
    X(esp_not_authentic,      "The integrity check value of the ESP packet is wrong: it was changed on its way, or made with another key.") \
    X(esp_policy,             "The ESP packet has not the sender or the UDP encapsulation of its security association, or what came out of it is not of a tunnel that the association is for.") \
    X(esp_required,           "The tunnel is encrypted: the packet came in clear, or there is no key to send it by.") \
    X(esp_sequence,           "The outbound security association has no sequence number left, or none that is safe to use yet.") \
    X(firewall,               "The host's firewall (INPUT) does not let the tunnel packet in; see culvert-ctl firewall show.") \
    X(inner_malformed,        "The decapsulated frame is shorter than an Ethernet header, or the packet than its IP header.") \
    X(ecn_illegal,            "The outer packet is marked Congestion Experienced and the inner one is Not-ECT (RFC 6040 section 4.2).") \
    X(l3_not_ip,              "The tunnel carries IP packets only, and this is none.") \
    X(l3_no_mapping,          "No EID prefix of the bridge covers the destination, or none of its RLOCs is usable.") \
    X(l3_no_host,             "The destination of a packet from an L3 tunnel is no neighbour of the bridge's local port.") \
    X(ttl_exceeded,           "The time to live of a routed packet ran out.") \
    /* Forwarding decision. */ \
    X(no_destination,         "Nothing to flood to: no other port of the bridge carries the VLAN.") \
    X(hairpin,                "The destination is behind the ingress port.") \
    X(split_horizon,          "The bridge has split_horizon set and the frame would go from tunnel to tunnel.") \
    X(upcall_queue_full,      "The queue to the slow path was full.") \
    X(upcall_held_full,       "Too many packets of one new flow, or too many new flows, waited for the slow path.") \
    X(port_removed,           "The port went away while the packet waited.") \
    /* Output. */ \
    X(port_down,              "The egress port is down.") \
    X(bond_no_member,         "No member of the bond can send.") \
    X(port_mtu_exceeded,      "The frame is larger than the MTU of the egress port.") \
    X(patch_loop,             "The packet has crossed 8 patch ports: patch ports make a loop of bridges.") \
    X(patch_queue_full,       "Too many packets of one burst crossed patch ports, as when a loop of patch ports floods.") \
    X(tunnel_mtu_exceeded,    "The encapsulated packet is larger than the MTU of the underlay.") \
    X(too_big_reported,       "The packet does not fit the tunnel; its sender was told (ICMP fragmentation needed or packet too big).") \
    X(tunnel_no_remote,       "The tunnel takes its remote address from the flow (remote_ip = \"flow\"), and the flow gave none.") \
    X(spread_queue_full,      "The queue to the worker that handles the inner flow was full.") \
    X(tunnel_no_route,        "No route leads to the remote address through the local port of a bridge.") \
    X(neighbour_queue_full,   "Too many packets waited for the underlay next hop's MAC address.") \
    X(neighbour_timeout,      "The underlay next hop did not answer ARP or neighbour discovery in time.") \
    X(no_buffer,              "No packet buffer was free.") \
    X(tx_failed,              "The device refused the packet (transmit queue full or device error).")
// clang-format on

/// Why a packet was dropped; `none` means it was not.
enum class DropReason : std::uint8_t {
    none = 0,
#define CULVERT_ENUMERATOR(name, text) name,
    CULVERT_DROP_REASONS(CULVERT_ENUMERATOR)
#undef CULVERT_ENUMERATOR
        count_
};

inline constexpr std::size_t kDropReasonCount = static_cast<std::size_t>(DropReason::count_);

struct DropReasonText {
    std::string_view name;
    std::string_view description;
};

/// Name and description of each reason, indexed by the enumerator's value (entry 0 is `none`).
inline constexpr std::array<DropReasonText, kDropReasonCount> kDropReasons{
    {{"none", "The packet was not dropped."},
#define CULVERT_ROW(name, text) {#name, text},
     CULVERT_DROP_REASONS(CULVERT_ROW)
#undef CULVERT_ROW
    }};

[[nodiscard]] constexpr std::string_view drop_reason_name(DropReason reason) noexcept {
    return kDropReasons[static_cast<std::size_t>(reason)].name;
}

}  // namespace culvert::tunnels
