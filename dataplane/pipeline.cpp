// SPDX-License-Identifier: GPL-2.0-or-later
//
// rx -> flow cache -> actions -> tx, for a burst. See docs/life-of-a-packet.md.

#include "dataplane/pipeline.hpp"

#include <array>
#include <utility>

#include <rte_prefetch.h>

#include "dataplane/decap.hpp"
#include "dataplane/encap.hpp"
#include "dataplane/route.hpp"
#include "dataplane/rx.hpp"
#include "dataplane/tx.hpp"
#include "tunnels/inner.hpp"

namespace culvert::dataplane {

namespace {

/// The action of a flow on one of its packets: every packet ends here in exactly one verdict.
void apply(
    Context& context, const FlowAction& action, const FlowKey& key, rte_mbuf* packet, bool tagged
) noexcept {
    switch (action.verdict) {
    case FlowVerdict::forward:
        output(context, action.out_port, packet, tagged, key.vlan);
        return;
    case FlowVerdict::flood:
        flood(context, key.in_port, packet, tagged, key.vlan);
        return;
    case FlowVerdict::route:
        route(context, key, packet, tagged);
        return;
    case FlowVerdict::drop:
        break;
    }
    context.drop(packet, action.reason, key.in_port);
}

/// Keeps the packet of an undecided flow; the first one also asks.
void hold(Context& context, const Arrival& arrival, std::uint32_t hash) noexcept {
    std::optional<std::uint16_t> slot = context.pending.find(arrival.key, hash);
    if (!slot) {
        slot = context.pending.insert(arrival.key, hash);
        if (!slot) {
            context.drop(arrival.packet, DropReason::upcall_held_full, arrival.key.in_port);
            return;
        }
        Upcall upcall;
        upcall.slot = *slot;
        upcall.packet = arrival.packet;
        upcall.key = arrival.key;
        if (!context.ask(upcall)) {
            context.pending.erase(*slot);
            context.drop(arrival.packet, DropReason::upcall_queue_full, arrival.key.in_port);
            return;
        }
    }
    if (!context.pending.hold(*slot, {arrival.packet, arrival.tagged})) {
        context.drop(arrival.packet, DropReason::upcall_held_full, arrival.key.in_port);
    }
}

/// Looks the packets up and applies what is found.
void forward(Context& context, std::span<const Arrival> arrivals) noexcept {
    std::array<FlowKey, kBurstMax> keys;
    std::array<std::uint32_t, kBurstMax> hashes;
    std::array<const FlowEntry*, kBurstMax> found;
    const std::size_t count = arrivals.size();
    for (std::size_t i = 0; i < count; ++i) {
        keys[i] = arrivals[i].key;
        hashes[i] = hash(arrivals[i].key);
    }
    context.flows->find_burst(
        std::span(keys).first(count), std::span(hashes).first(count), std::span(found).first(count)
    );
    std::uint64_t hits = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const Arrival& arrival = arrivals[i];
        const FlowEntry* flow = found[i];
        const bool valid =
            flow != nullptr &&
            flow->generation == context.snapshot->ports[arrival.key.in_port].generation;
        // A flow whose earlier packets still wait for the slow path must not be overtaken by this
        // one.
        if (!valid || (!context.pending.empty() && context.pending.find(arrival.key, hashes[i]))) {
            hold(context, arrival, hashes[i]);
            continue;
        }
        ++hits;
        FlowCache::touch(*flow, context.now_s);
        apply(context, flow->action, arrival.key, arrival.packet, arrival.tagged);
    }
    context.counters->loop.flow_hits.add(hits);
    context.counters->loop.flow_misses.add(count - hits);
}

void flush_spread(Context& context, std::size_t worker) noexcept {
    TxQueue& queue = context.spread_out[worker];
    const auto packets = std::span(queue.packets).first(queue.count);
    const std::size_t pushed = context.spread[worker]->push(context.worker, packets);
    for (rte_mbuf* packet : packets.subspan(pushed)) {
        context.drop(packet, DropReason::spread_queue_full, packet::ingress(packet));
    }
    queue.count = 0;
    context.spread_wake |= std::uint32_t{1} << worker;
}

/// Whether the packet went to another worker, whose inner flow it is.
bool spread(Context& context, const Arrival& arrival) noexcept {
    if (!context.snapshot->ports[arrival.key.in_port].spread || context.spread.empty()) {
        return false;
    }
    const tunnels::Inner inner = tunnels::inspect_inner(
        packet::head(std::as_const(arrival.packet)), tunnels::Payload::ethernet
    );
    const std::uint32_t mixed = inner.hash * 0x9e3779b1U;
    const std::size_t worker = std::uint64_t{mixed} * context.spread.size() >> 32U;
    if (worker == context.worker) {
        return false;
    }
    TxQueue& queue = context.spread_out[worker];
    queue.packets[queue.count++] = arrival.packet;
    if (queue.count == kBurstMax) {
        flush_spread(context, worker);
    }
    return true;
}

/// A packet of an L3 tunnel whose host the slow path has asked for.
void deliver_late(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    const PortView* view = context.snapshot->port(port);
    if (view == nullptr || !view->is_tunnel() || !view->is_l3) {
        context.drop(packet, DropReason::port_removed, port);
        return;
    }
    Arrival arrival;
    arrival.packet = packet;
    arrival.key.in_port = port;
    DropReason reason = DropReason::none;
    if (deliver(context, arrival, reason) == Decap::done) {
        reason = admit_inner(context, arrival);
    }
    if (reason != DropReason::none) {
        context.drop(arrival.packet, reason, port);
    } else if (arrival.packet != nullptr) {
        forward(context, std::span(&arrival, 1));
    }
}

}  // namespace

void process_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst
) noexcept {
    std::array<Arrival, kBurstMax> arrivals;
    PeerMemo memo;
    std::size_t count = 0;

    for (rte_mbuf* packet : burst) {
        rte_prefetch0(rte_pktmbuf_mtod(packet, const void*));
    }
    for (rte_mbuf* packet : burst) {
        Arrival& arrival = arrivals[count];
        const DropReason reason = admit(context, port, packet, memo, arrival);
        if (reason != DropReason::none) {
            context.drop(arrival.packet, reason, arrival.key.in_port);
        } else if (arrival.packet != nullptr && !spread(context, arrival)) {
            ++count;
        }
    }
    for (std::size_t worker = 0; worker < context.spread_out.size(); ++worker) {
        if (context.spread_out[worker].count != 0) {
            flush_spread(context, worker);
        }
    }
    context.counters->loop.packets.add(burst.size());
    context.counters->loop.batches.add(1);
    forward(context, std::span(arrivals).first(count));
}

void process_spread(Context& context, std::span<rte_mbuf* const> burst) noexcept {
    std::array<Arrival, kBurstMax> arrivals;
    std::size_t count = 0;
    for (rte_mbuf* packet : burst) {
        Arrival& arrival = arrivals[count];
        arrival.packet = packet;
        arrival.key.in_port = packet::ingress(packet);
        const PortView* view = context.snapshot->port(arrival.key.in_port);
        const DropReason reason = view == nullptr || view->bridge == kPortNone
                                      ? DropReason::port_removed
                                      : read_frame(*view, arrival);
        if (reason != DropReason::none) {
            context.drop(packet, reason, arrival.key.in_port);
        } else {
            ++count;
        }
    }
    forward(context, std::span(arrivals).first(count));
}

void apply_decision(Context& context, const Decision& decision) noexcept {
    switch (decision.kind) {
    case Decision::Kind::encap: {
        const PortView* view = context.snapshot->port(decision.port);
        if (view == nullptr || !view->is_tunnel()) {
            context.drop(decision.packet, DropReason::port_removed, decision.port);
            return;
        }
        encap(context, decision.port, decision.packet);
        return;
    }
    case Decision::Kind::deliver:
        deliver_late(context, decision.port, decision.packet);
        return;
    case Decision::Kind::transmit:
        transmit(context, decision.port, decision.packet);
        return;
    case Decision::Kind::decide:
        break;
    }
    const FlowKey key = context.pending.key(decision.slot);
    const PortView* in = context.snapshot->port(key.in_port);
    const PortView* out = context.snapshot->port(decision.action.out_port);
    const bool in_gone = in == nullptr || in->bridge == kPortNone;
    const bool out_gone = decision.action.verdict == FlowVerdict::forward &&
                          (out == nullptr || out->bridge == kPortNone);
    for (const HeldPacket& held : context.pending.held(decision.slot)) {
        if (in_gone || out_gone) {
            context.drop(held.packet, DropReason::port_removed, key.in_port);
        } else {
            apply(context, decision.action, key, held.packet, held.tagged);
        }
    }
    context.pending.erase(decision.slot);
}

}  // namespace culvert::dataplane
