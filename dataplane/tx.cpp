// SPDX-License-Identifier: GPL-2.0-or-later
//
// The transmit stages, in order: VLAN tag as the egress port wants it, then either the device
// (finish what it cannot carry, check the MTU, queue) or the tunnel (encap.cpp). Worker threads
// only.

#include "dataplane/tx.hpp"

#include <algorithm>

#include "dataplane/bond.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/encap.hpp"
#include "dataplane/patch.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kVlanTagBytes = 4;

/// Queues on a device after the checks that depend on it.
void queue_on_device(
    Context& context, std::uint16_t port, rte_mbuf* packet, std::uint32_t link_bytes
) noexcept {
    const PortView& view = context.snapshot->ports[port];
    if (view.mtu != 0 && largest_frame_bytes(packet) > view.mtu + link_bytes) {
        context.drop(packet, DropReason::port_mtu_exceeded, port);
        return;
    }
    enqueue(context, port, packet);
}

}  // namespace

void transmit(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    const PortView* view = context.snapshot->port(port);
    if (view != nullptr && view->is_patch()) {
        cross(context, port, packet);
        return;
    }
    if (view == nullptr || (!view->device && !view->is_bond())) {
        context.drop(packet, DropReason::port_removed, port);
        return;
    }
    enqueue_burst_to(context, port, std::span(&packet, 1));
}

void output(
    Context& context, std::uint16_t port, rte_mbuf* packet, bool tagged, std::uint16_t vlan
) noexcept {
    const PortView& view = context.snapshot->ports[port];
    const bool goes_out = view.is_tunnel() || (view.device && view.up) || view.is_patch();
    if (!goes_out) {
        if (view.is_bond()) {
            output_by_bond(context, port, std::span(&packet, 1), tagged, vlan);
        } else {
            context.drop(packet, DropReason::port_down, port);
        }
        return;
    }
    const bool tags = view.vlan.tags(vlan);
    rte_mbuf* frame = retag(context, packet, tagged, tags, vlan);
    if (frame == nullptr) {
        context.drop(packet, DropReason::no_buffer, port);
        return;
    }
    if (view.is_tunnel()) {
        encap(context, port, frame);
        return;
    }
    if (view.is_patch()) {
        cross(context, port, frame);
        return;
    }
    const std::uint32_t link_bytes = kEthernetBytes + (tags ? kVlanTagBytes : 0);
    if (view.carries_offloads) {
        queue_on_device(context, port, frame, link_bytes);
        return;
    }
    finish(context, port, frame, [&](rte_mbuf* finished) {
        queue_on_device(context, port, finished, link_bytes);
    });
}

void output_burst(
    Context& context,
    std::uint16_t port,
    std::span<rte_mbuf* const> packets,
    bool tagged,
    std::uint16_t vlan
) noexcept {
    const PortView& view = context.snapshot->ports[port];
    const bool as_it_is = view.vlan.tags(vlan) == tagged;
    if (as_it_is && view.is_tunnel()) {
        encap_burst(context, port, packets);
        return;
    }
    const bool sends = as_it_is && view.device && view.up;
    const std::uint32_t link_bytes = kEthernetBytes + (tagged ? kVlanTagBytes : 0);
    const std::uint32_t limit = view.mtu == 0 ? UINT32_MAX : view.mtu + link_bytes;
    const bool all_fit = sends && std::ranges::all_of(packets, [&](const rte_mbuf* packet) {
                             return !packet::has_offload(packet) && packet::length(packet) <= limit;
                         });
    if (all_fit) [[likely]] {
        enqueue_burst(context, port, packets);
        return;
    }
    if (view.is_bond()) {
        output_by_bond(context, port, packets, tagged, vlan);
        return;
    }
    for (rte_mbuf* packet : packets) {
        output(context, port, packet, tagged, vlan);
    }
}

namespace {

/// Fills context.targets with the ports a frame is flooded to.
void choose_targets(Context& context, std::uint16_t in_port, std::uint16_t vlan) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const PortView& in = snapshot.ports[in_port];
    const BridgeView& bridge = snapshot.bridges[in.bridge];
    context.targets.clear();
    for (const std::uint16_t member : bridge.members) {
        const PortView& view = snapshot.ports[member];
        if (member == in_port || view.is_l3 || !view.vlan.carries(vlan) ||
            (!view.is_tunnel() && !view.up) ||
            (bridge.split_horizon && in.is_tunnel() && view.is_tunnel())) {
            continue;
        }
        context.targets.push_back(member);
    }
}

void flood_finished(Context& context, rte_mbuf* packet, bool tagged, std::uint16_t vlan) noexcept {
    const std::size_t last = context.targets.size() - 1;
    for (std::size_t i = 0; i < last; ++i) {
        rte_mbuf* replica = packet::share(packet, context.pools.shares);
        if (replica == nullptr) {
            context.counters->drop(DropReason::no_buffer, context.targets[i]);
            continue;
        }
        output(context, context.targets[i], replica, tagged, vlan);
    }
    output(context, context.targets[last], packet, tagged, vlan);
}

}  // namespace

void flood(
    Context& context, std::uint16_t in_port, rte_mbuf* packet, bool tagged, std::uint16_t vlan
) noexcept {
    choose_targets(context, in_port, vlan);
    if (context.targets.empty()) {
        context.drop(packet, DropReason::no_destination, in_port);
        return;
    }
    // Finishing writes, and replicas share bytes: what some target cannot carry is finished once,
    // before they are made.
    bool all_carry = true;
    for (const std::uint16_t target : context.targets) {
        all_carry = all_carry && context.snapshot->ports[target].carries_offloads;
    }
    if (all_carry) {
        flood_finished(context, packet, tagged, vlan);
        return;
    }
    finish(context, in_port, packet, [&](rte_mbuf* finished) {
        flood_finished(context, finished, tagged, vlan);
    });
}

}  // namespace culvert::dataplane
