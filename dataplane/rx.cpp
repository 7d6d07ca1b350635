// SPDX-License-Identifier: GPL-2.0-or-later
//
// The receive stages, in order: read the frame (Ethernet, VLAN), decapsulate when it is for a local
// tunnel endpoint, read the inner frame. Worker threads only.

#include "dataplane/rx.hpp"

#include <algorithm>

#include <rte_ether.h>

#include "dataplane/offload.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kVlanTagBytes = 4;
constexpr std::uint32_t kParseBytes = 128;  // Contiguous bytes that parsing may ask for.

std::uint16_t load_be16(const std::byte* at) noexcept {
    return static_cast<std::uint16_t>(
        (std::to_integer<unsigned>(at[0]) << 8U) | std::to_integer<unsigned>(at[1])
    );
}

/// 01:80:c2:00:00:00 to 01:80:c2:00:00:0f.
bool is_link_local(const MacAddress& mac) noexcept {
    return (mac.to_u64() & ~std::uint64_t{0xf}) == 0x0180c2000000ULL;
}

/// Makes what parsing reads contiguous. Packets from the ports here nearly always are.
bool make_head_contiguous(Context& context, rte_mbuf*& packet) noexcept {
    const std::uint32_t wanted = std::min(packet::length(packet), kParseBytes);
    if (packet::head(packet).size() >= wanted) [[likely]] {
        return true;
    }
    rte_mbuf* made = packet::make_writable(packet, wanted, context.pools.packets);
    if (made == nullptr) {
        return false;
    }
    packet = made;
    return true;
}

/// Ethernet addresses and the VLAN by the port's rules.
DropReason read_frame(const PortView& view, Arrival& arrival) noexcept {
    const auto head = packet::head(std::as_const(arrival.packet));
    if (head.size() < kEthernetBytes) {
        return DropReason::malformed_frame;
    }
    std::memcpy(arrival.key.destination.bytes.data(), head.data(), 6);
    std::memcpy(arrival.key.source.bytes.data(), head.data() + 6, 6);
    if (arrival.key.source.is_group()) {
        return DropReason::source_multicast;
    }
    if (is_link_local(arrival.key.destination)) {
        return DropReason::link_local_multicast;
    }
    std::uint16_t vlan = 0;
    arrival.tagged = load_be16(head.data() + 12) == RTE_ETHER_TYPE_VLAN;
    if (arrival.tagged) {
        if (head.size() < kEthernetBytes + kVlanTagBytes) {
            return DropReason::malformed_frame;
        }
        vlan = load_be16(head.data() + 14) & 0xfffU;
    }
    // A tag with VLAN ID 0 carries a priority only (IEEE 802.1Q 6.9): the frame counts as untagged.
    if (vlan == 0 ? !view.vlan.accept_untagged : !view.vlan.accept_tagged) {
        return DropReason::vlan_filtered;
    }
    arrival.key.vlan = vlan == 0 ? view.vlan.untagged_vlan : vlan;
    return view.vlan.carries(arrival.key.vlan) ? DropReason::none : DropReason::vlan_filtered;
}

const Listener* find_listener(const Snapshot& snapshot, const tunnels::Outer& outer) noexcept {
    for (const Listener& listener : snapshot.listeners) {
        if (listener.ip_protocol == outer.ip_protocol &&
            listener.udp_port == outer.udp_destination) {
            return &listener;
        }
    }
    return nullptr;
}

/// The checksum of a packet whose sender's kernel left it unfinished is not on the wire yet:
/// nothing to verify.
bool checksum_verified(const rte_mbuf* packet) noexcept {
    return packet::has_offload(packet) ||
           (packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

DropReason verify_udp(const rte_mbuf* packet, const tunnels::Outer& outer) noexcept {
    if (!outer.udp_checksum_present) {
        return outer.source.is_v4() || packet::has_offload(packet) ? DropReason::none
                                                                   : DropReason::udp6_zero_checksum;
    }
    if (checksum_verified(packet)) {
        return DropReason::none;
    }
    const std::uint32_t udp_bytes = outer.payload_bytes + 8U;
    const std::uint64_t pseudo = tunnels::pseudo_header_sum(
        outer.source, outer.destination, tunnels::kIpProtocolUdp, udp_bytes
    );
    const std::uint64_t sum = packet::sum(packet, outer.payload_offset - 8U, udp_bytes);
    return tunnels::checksum_fold(tunnels::checksum_sum(pseudo, sum)) == 0xffff
               ? DropReason::none
               : DropReason::udp_checksum;
}

/// The tunnel port of a packet, or kPortNone and why.
std::uint16_t find_peer(
    const Snapshot& snapshot, const PeerKey& key, PeerMemo& memo, DropReason& reason
) noexcept {
    if (memo.port != kPortNone && memo.key == key) {
        return memo.port;
    }
    const std::uint16_t port = snapshot.peers.find(key);
    if (port == kPortNone) {
        reason = snapshot.peers.knows(key.protocol, key.remote) ? DropReason::tunnel_unknown_key
                                                                : DropReason::tunnel_unknown_peer;
        return port;
    }
    memo = {key, port};
    return port;
}

enum class Decap : std::uint8_t { not_ours, dropped, done };

/// Takes the packet out of its tunnel: 1. outer headers, 2. listener and local address, 3. tunnel
/// header, 4. checksums,
/// 5. peer, 6. strip.
Decap decap(Context& context, PeerMemo& memo, Arrival& arrival, DropReason& reason) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    rte_mbuf* packet = arrival.packet;
    const auto head = packet::head(std::as_const(packet));
    const tunnels::Outer outer = tunnels::parse_outer(head, packet::length(packet));
    if (!outer.is_ip) {
        return Decap::not_ours;
    }
    const Listener* listener = find_listener(snapshot, outer);
    if (listener == nullptr || !snapshot.local_addresses.contains(outer.destination)) {
        return Decap::not_ours;
    }
    reason = outer.drop;
    if (reason != DropReason::none) {
        return Decap::dropped;
    }
    // Ethernet padding behind the outer packet is not part of the tunnel header.
    const std::size_t payload_bytes =
        std::min<std::size_t>(outer.payload_bytes, head.size() - outer.payload_offset);
    const tunnels::Parsed parsed = tunnels::parse_protocol(
        listener->protocol, head.subspan(outer.payload_offset, payload_bytes)
    );
    reason = parsed.drop;
    if (reason == DropReason::none && listener->udp_port != 0) {
        reason = verify_udp(packet, outer);
    }
    if (reason == DropReason::none && parsed.verify_checksum && !checksum_verified(packet) &&
        tunnels::checksum_fold(packet::sum(packet, outer.payload_offset, outer.payload_bytes)) !=
            0xffff) {
        reason = DropReason::gre_checksum;
    }
    if (reason != DropReason::none) {
        return Decap::dropped;
    }
    const PeerKey key{
        .local = outer.destination,
        .remote = outer.source,
        .key = parsed.key,
        .udp_port = listener->udp_port,
        .protocol = listener->protocol};
    const std::uint16_t port = find_peer(snapshot, key, memo, reason);
    if (port == kPortNone) {
        return Decap::dropped;
    }
    // A super-frame of tunnel packets (UDP segmentation of the outer packet) holds several inner
    // frames, each behind its own header. No kernel tunnel makes such a thing; a program could.
    if (packet::has_offload(packet) && packet::offload(packet).gso_type != GsoType::none &&
        packet::offload(packet).checksum_start < outer.payload_offset) {
        reason = DropReason::offload_malformed;
        return Decap::dropped;
    }
    arrival.key.in_port = port;
    packet::trim(packet, std::uint32_t{outer.payload_offset} + outer.payload_bytes);
    if (!packet::pull(packet, std::uint32_t{outer.payload_offset} + parsed.header_bytes)) {
        reason = DropReason::inner_malformed;
        return Decap::dropped;
    }
    return Decap::done;
}

void count_rx(Context& context, std::uint16_t port, const rte_mbuf* packet) noexcept {
    PortCounters& counters = context.counters->ports[port];
    counters.rx_packets.add(1);
    counters.rx_bytes.add(packet::length(packet));
}

}  // namespace

DropReason admit(
    Context& context, std::uint16_t port, rte_mbuf* packet, PeerMemo& memo, Arrival& arrival
) noexcept {
    count_rx(context, port, packet);
    arrival.packet = packet;
    arrival.key.in_port = port;
    const PortView& view = context.snapshot->ports[port];
    if (view.bridge == kPortNone) {
        return DropReason::port_unassigned;
    }
    if (!make_head_contiguous(context, arrival.packet)) {
        return DropReason::no_buffer;
    }
    DropReason reason = read_frame(view, arrival);
    if (reason != DropReason::none) {
        return reason;
    }
    const BridgeView& bridge = context.snapshot->bridges[view.bridge];
    if (!bridge.terminates_tunnels || arrival.key.destination != bridge.local_mac ||
        arrival.key.vlan != bridge.local_vlan || context.snapshot->listeners.empty()) {
        return DropReason::none;
    }
    switch (decap(context, memo, arrival, reason)) {
    case Decap::not_ours:
        return DropReason::none;
    case Decap::dropped:
        return reason;
    case Decap::done:
        break;
    }
    count_rx(context, arrival.key.in_port, arrival.packet);
    if (!make_head_contiguous(context, arrival.packet)) {
        return DropReason::no_buffer;
    }
    if (packet::has_offload(arrival.packet)) {
        Offload offload = packet::offload(arrival.packet);
        reason = validate_offload(arrival.packet, offload);
        if (reason != DropReason::none) {
            return reason;
        }
        packet::set_offload(arrival.packet, offload);
    }
    reason = read_frame(context.snapshot->ports[arrival.key.in_port], arrival);
    return reason == DropReason::malformed_frame ? DropReason::inner_malformed : reason;
}

}  // namespace culvert::dataplane
