// SPDX-License-Identifier: GPL-2.0-or-later
//
// The receive stages, in order: read the frame (Ethernet, VLAN), decapsulate when it is for a local
// tunnel endpoint (decap.cpp), read the inner frame. Worker threads only.

#include "dataplane/rx.hpp"

#include <algorithm>

#include <rte_ether.h>

#include "dataplane/decap.hpp"
#include "dataplane/offload.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kVlanTagBytes = 4;
/// Contiguous bytes that parsing may ask for.
constexpr std::uint32_t kParseBytes = tunnels::kOuterBytesMax + tunnels::kTunnelParseBytesMax;

std::uint16_t load_be16(const std::byte* at) noexcept {
    return static_cast<std::uint16_t>(
        (std::to_integer<unsigned>(at[0]) << 8U) | std::to_integer<unsigned>(at[1])
    );
}

/// 01:80:c2:00:00:00 to 01:80:c2:00:00:0f.
bool is_link_local(const MacAddress& mac) noexcept {
    return (mac.to_u64() & ~std::uint64_t{0xf}) == 0x0180c2000000ULL;
}

void count_rx(Context& context, std::uint16_t port, const rte_mbuf* packet) noexcept {
    PortCounters& counters = context.counters->ports[port];
    counters.rx_packets.add(1);
    counters.rx_bytes.add(packet::length(packet));
}

}  // namespace

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

DropReason admit(
    Context& context, std::uint16_t port, rte_mbuf* packet, PeerMemo& memo, Arrival& arrival
) noexcept {
    count_rx(context, port, packet);
    arrival.packet = packet;
    arrival.key.in_port = port;
    packet::set_ingress(packet, port);
    packet::set_group_policy(packet, std::nullopt);
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
    case Decap::kept:
        return DropReason::none;
    case Decap::dropped:
        return reason;
    case Decap::done:
        break;
    }
    return admit_inner(context, arrival);
}

DropReason admit_inner(Context& context, Arrival& arrival) noexcept {
    const std::uint16_t port = arrival.key.in_port;
    count_rx(context, port, arrival.packet);
    packet::set_ingress(arrival.packet, port);
    if (!make_head_contiguous(context, arrival.packet)) {
        return DropReason::no_buffer;
    }
    if (packet::has_offload(arrival.packet)) {
        Offload offload = packet::offload(arrival.packet);
        const DropReason reason = validate_offload(arrival.packet, offload);
        if (reason != DropReason::none) {
            return reason;
        }
        packet::set_offload(arrival.packet, offload);
    }
    const DropReason reason = read_frame(context.snapshot->ports[port], arrival);
    return reason == DropReason::malformed_frame ? DropReason::inner_malformed : reason;
}

}  // namespace culvert::dataplane
