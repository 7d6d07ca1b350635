// SPDX-License-Identifier: GPL-2.0-or-later
//
// From a tunnel to its underlay. See departures.hpp.

#include "dataplane/departures.hpp"

#include <algorithm>

#include "dataplane/bond.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/patch.hpp"

namespace culvert::dataplane {

namespace {

/// Sends a packet as it is: to the next hop's port, or to all while that port is not known.
void transmit_underlay(
    Context& context, const TunnelView& tunnel, std::uint16_t port, rte_mbuf* packet
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    if (tunnel.out_port != kPortNone) [[likely]] {
        const PortView& view = snapshot.ports[tunnel.out_port];
        if (view.device && view.up) [[likely]] {
            enqueue(context, tunnel.out_port, packet);
        } else if (view.is_patch()) {
            cross(context, tunnel.out_port, packet);
        } else if (view.is_bond()) {
            enqueue_by_bond(context, tunnel.out_port, std::span(&packet, 1));
        } else {
            context.drop(packet, DropReason::port_down, port);
        }
        return;
    }
    for (const std::uint16_t member : snapshot.bridges[tunnel.out_bridge].members) {
        const PortView& view = snapshot.ports[member];
        const bool goes_out = view.sends() || view.is_patch();
        if (!goes_out || !view.vlan.carries(tunnel.out_vlan)) {
            continue;
        }
        rte_mbuf* replica = packet::share(packet, context.pools.shares);
        if (replica == nullptr) {
            context.counters->drop(DropReason::no_buffer, port);
            break;
        }
        // The template is untagged here: tag each replica as its port wants it.
        rte_mbuf* made =
            retag(context, replica, false, view.vlan.tags(tunnel.out_vlan), tunnel.out_vlan);
        if (made == nullptr) {
            context.drop(replica, DropReason::no_buffer, port);
            continue;
        }
        if (view.is_patch()) {
            cross(context, member, made);
        } else {
            enqueue_burst_to(context, member, std::span(&made, 1));
        }
    }
    rte_pktmbuf_free(packet);
}

/// Sends packets, of which those that are longer than `mtu` from their IP header on are cut behind
/// it, with DF or without: who made them has decided that.
void transmit_cut(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    std::span<rte_mbuf* const> packets,
    std::uint32_t mtu
) noexcept {
    const std::uint16_t ip_offset = tunnel.header.ip_offset;
    for (rte_mbuf* packet : packets) {
        if (packet::length(packet) - ip_offset <= mtu) {
            transmit_underlay(context, tunnel, port, packet);
            continue;
        }
        send_fragments(context, port, packet, ip_offset, mtu, true, [&](rte_mbuf* piece) {
            transmit_underlay(context, tunnel, port, piece);
        });
    }
}

}  // namespace

void leave(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    std::span<rte_mbuf*> packets,
    bool fit,
    Unsealed& unsealed
) noexcept {
    std::uint32_t mtu = tunnel.underlay_mtu;
    if (tunnel.esp != nullptr) [[unlikely]] {
        packets = packets.first(seal(context, tunnel, port, packets, unsealed));
        // After sealing, as RFC 4303 section 3.3.4 wants it.
        mtu = tunnel.wire_mtu;
        fit = std::ranges::all_of(packets, [&](const rte_mbuf* packet) {
            return packet::length(packet) - tunnel.header.ip_offset <= mtu;
        });
    }
    const PortView* out = context.snapshot->port(tunnel.out_port);
    if (fit && out != nullptr && out->sends()) [[likely]] {
        enqueue_burst_to(context, tunnel.out_port, packets);
    } else {
        transmit_cut(context, tunnel, port, packets, mtu);
    }
}

void Departures::flush() noexcept {
    if (count_ == 0) {
        return;
    }
    Unsealed unsealed;
    leave(context_, tunnel_, port_, std::span(packets_).first(count_), fit_, unsealed);
    PortCounters& counters = context_.counters->ports[port_];
    counters.tx_packets.add(count_ - unsealed.packets);
    counters.tx_bytes.add(bytes_ - unsealed.bytes);
    count_ = 0;
    bytes_ = 0;
    fit_ = true;
}

}  // namespace culvert::dataplane
