// SPDX-License-Identifier: GPL-2.0-or-later
//
// rx -> flow cache -> actions -> tx, for a burst. See docs/life-of-a-packet.md.

#include "dataplane/pipeline.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "dataplane/clock.hpp"
#include "dataplane/decap.hpp"
#include "dataplane/deliver.hpp"
#include "dataplane/encap.hpp"
#include "dataplane/route.hpp"
#include "dataplane/rx.hpp"
#include "dataplane/train.hpp"
#include "dataplane/tx.hpp"
#include "tunnels/inner.hpp"

namespace culvert::dataplane {

namespace {

/// The action of a flow on some of its packets, at most kBurstMax: every packet ends here in
/// exactly one verdict.
void apply(
    Context& context,
    const FlowAction& action,
    const FlowKey& key,
    std::span<rte_mbuf* const> packets,
    bool tagged
) noexcept {
    switch (action.verdict) {
    case FlowVerdict::forward:
        output_burst(context, action.out_port, packets, tagged, key.vlan);
        return;
    case FlowVerdict::route:
        route_burst(context, key, packets, tagged);
        return;
    case FlowVerdict::flood:
        for (rte_mbuf* packet : packets) {
            flood(context, key.in_port, packet, tagged, key.vlan);
        }
        return;
    case FlowVerdict::drop:
        break;
    }
    for (rte_mbuf* packet : packets) {
        context.drop(packet, action.reason, key.in_port);
    }
}

/// Keeps the packet of an undecided flow; the first one also asks.
void hold(
    Context& context, const FlowKey& key, std::uint32_t hash, const HeldPacket& held
) noexcept {
    std::optional<std::uint16_t> slot = context.pending.find(key, hash);
    if (!slot) {
        slot = context.pending.insert(key, hash);
        if (!slot) {
            context.drop(held.packet, DropReason::upcall_held_full, key.in_port);
            return;
        }
        Upcall upcall;
        upcall.slot = *slot;
        upcall.packet = held.packet;
        upcall.key = key;
        if (!context.ask(upcall)) {
            context.pending.erase(*slot);
            context.drop(held.packet, DropReason::upcall_queue_full, key.in_port);
            return;
        }
    }
    if (!context.pending.hold(*slot, held)) {
        context.drop(held.packet, DropReason::upcall_held_full, key.in_port);
    }
}

/// How a packet leaves that is forwarded, in one word, as exits are compared.
class Exit {
public:
    Exit() = default;
    Exit(std::uint16_t port, std::uint16_t vlan, bool tagged) noexcept
        : word_(port | std::uint64_t{vlan} << 16U | std::uint64_t{tagged} << 32U | kSet) {}
    [[nodiscard]] bool is_set() const noexcept { return word_ != 0; }
    [[nodiscard]] std::uint16_t port() const noexcept { return static_cast<std::uint16_t>(word_); }
    [[nodiscard]] std::uint16_t vlan() const noexcept {
        return static_cast<std::uint16_t>(word_ >> 16U);
    }
    /// Whether it carries a VLAN tag as it is now.
    [[nodiscard]] bool tagged() const noexcept { return (word_ >> 32U & 1U) != 0; }
    bool operator==(const Exit&) const = default;
    [[nodiscard]] bool differs_in_tag(Exit other) const noexcept {
        return (word_ ^ other.word_) == kTagged;
    }

private:
    static constexpr std::uint64_t kTagged = std::uint64_t{1} << 32U;
    static constexpr std::uint64_t kSet = std::uint64_t{1} << 33U;
    std::uint64_t word_ = 0;
};

/// By run; not set for packets that have met their verdict.
using Exits = std::array<Exit, kBurstMax>;

void send(Context& context, Exit exit, std::span<rte_mbuf* const> packets) noexcept {
    output_burst(context, exit.port(), packets, exit.tagged(), exit.vlan());
}

/// Sends the packets of one exit together, in their order. Packets of a flow have one exit, but for
/// the tag that they carry, so that none overtakes another.
void send_by_exit(Context& context, const Batch& batch, Exits& exits) noexcept {
    std::array<rte_mbuf*, kBurstMax> group;
    for (std::size_t first = 0; first < batch.runs(); ++first) {
        const Exit exit = exits[first];
        if (!exit.is_set()) {
            continue;
        }
        std::size_t count = 0;
        for (std::size_t run = first; run < batch.runs(); ++run) {
            if (exits[run] == exit) {
                for (rte_mbuf* packet : batch.packets(run)) {
                    group[count++] = packet;
                }
                exits[run] = {};
            } else if (exits[run].differs_in_tag(exit)) {
                break;  // It may be of the same flow, which has frames with and without a tag.
            }
        }
        send(context, exit, std::span(group).first(count));
    }
}

/// Looks the flows up and applies what is found.
void forward(Context& context, const Batch& batch) noexcept {
    std::array<const FlowEntry*, kBurstMax> found;
    const auto keys = batch.keys();
    context.flows->find_burst(keys, batch.hashes(), std::span(found).first(batch.runs()));
    context.clock.lap(Stage::look_up);
    Exits exits;
    std::uint64_t misses = 0;
    for (std::size_t run = 0; run < batch.runs(); ++run) {
        const FlowKey& key = keys[run];
        const FlowEntry* flow = found[run];
        const bool valid =
            flow != nullptr && flow->generation == context.snapshot->ports[key.in_port].generation;
        // A flow whose earlier packets still wait for the slow path must not be overtaken by these.
        if (!valid || (!context.pending.empty() && context.pending.find(key, batch.hashes()[run])))
            [[unlikely]] {
            for (rte_mbuf* packet : batch.packets(run)) {
                hold(context, key, batch.hashes()[run], {packet, batch.tagged(run)});
            }
            misses += batch.packets(run).size();
            continue;
        }
        FlowCache::touch(*flow, context.now_s);
        if (flow->action.verdict != FlowVerdict::forward) [[unlikely]] {
            apply(context, flow->action, key, batch.packets(run), batch.tagged(run));
            continue;
        }
        exits[run] = Exit(flow->action.out_port, key.vlan, batch.tagged(run));
    }
    context.counters->loop.flow_hits.add(batch.count() - misses);
    context.counters->loop.flow_misses.add(misses);
    const auto used = std::span(exits).first(batch.runs());
    if (!used.empty() && used.front().is_set() &&
        std::ranges::all_of(used, [&](Exit exit) { return exit == used.front(); })) {
        send(context, used.front(), batch.packets());
    } else {
        send_by_exit(context, batch, exits);
    }
    context.clock.lap(Stage::output);
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
bool spread(Context& context, rte_mbuf* packet) noexcept {
    const tunnels::Inner inner =
        tunnels::inspect_inner(packet::head(std::as_const(packet)), tunnels::Payload::ethernet);
    const std::uint32_t mixed = inner.hash * 0x9e3779b1U;
    const std::size_t worker = std::uint64_t{mixed} * context.spread.size() >> 32U;
    if (worker == context.worker) {
        return false;
    }
    TxQueue& queue = context.spread_out[worker];
    queue.packets[queue.count++] = packet;
    if (queue.count == kBurstMax) {
        flush_spread(context, worker);
    }
    return true;
}

/// Shares out the packets of tunnels whose outer headers do not tell inner flows apart; what this
/// worker keeps is in the result.
Batch spread_burst(Context& context, const Batch& batch) noexcept {
    Batch kept;
    for (std::size_t run = 0; run < batch.runs(); ++run) {
        const FlowKey& key = batch.keys()[run];
        const bool shared = context.snapshot->ports[key.in_port].spread;
        for (rte_mbuf* packet : batch.packets(run)) {
            if (!shared || !spread(context, packet)) {
                kept.add(packet, key, batch.tagged(run));
            }
        }
    }
    for (std::size_t worker = 0; worker < context.spread_out.size(); ++worker) {
        if (context.spread_out[worker].count != 0) {
            flush_spread(context, worker);
        }
    }
    return kept;
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
        Batch batch;
        batch.add(arrival.packet, arrival.key, arrival.tagged);
        forward(context, batch);
    }
}

/// What crossed patch ports arrives at their peers, burst by burst, and what of it crosses more of
/// them as well. Not entered again from the bursts that it processes.
void take_patched(Context& context) noexcept {
    if (context.patched.empty() || context.patched.is_draining) [[likely]] {
        return;
    }
    context.patched.is_draining = true;
    std::array<rte_mbuf*, kBurstMax> burst;
    std::size_t arrived = 0;
    while (!context.patched.empty()) {
        std::uint16_t port = kPortNone;
        const std::size_t count = context.patched.pop(burst, port);
        arrived += count;
        if (arrived > kPatchedPerBurstMax) [[unlikely]] {
            for (rte_mbuf* packet : std::span(burst).first(count)) {
                context.drop(packet, DropReason::patch_queue_full, port);
            }
            continue;
        }
        process_received(context, port, std::span(burst).first(count));
    }
    context.patched.is_draining = false;
}

}  // namespace

void process_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst
) noexcept {
    Batch batch;
    admit_burst(context, port, burst, batch);
    context.clock.lap(Stage::admit);
    if (!context.patched.is_draining) [[likely]] {
        context.counters->loop.packets.add(burst.size());
        context.counters->loop.batches.add(1);
    }
    if (context.spread.empty()) {
        forward(context, batch);
    } else {
        forward(context, spread_burst(context, batch));
    }
    take_patched(context);
}

void process_spread(Context& context, std::span<rte_mbuf* const> burst) noexcept {
    Batch batch;
    for (rte_mbuf* packet : burst) {
        Arrival arrival;
        arrival.packet = packet;
        arrival.key.in_port = packet::ingress(packet);
        const PortView* view = context.snapshot->port(arrival.key.in_port);
        const DropReason reason = view == nullptr || view->bridge == kPortNone
                                      ? DropReason::port_removed
                                      : read_frame(*view, arrival);
        if (reason != DropReason::none) {
            context.drop(packet, reason, arrival.key.in_port);
        } else {
            batch.add(packet, arrival.key, arrival.tagged);
        }
    }
    forward(context, batch);
    take_patched(context);
}

std::size_t process_waiting(Context& context, bool changed) noexcept {
    if (context.waiting.empty()) [[likely]] {
        return 0;
    }
    const std::uint64_t now_ms = clock_ms();
    if (!changed && !context.waiting.is_due(now_ms)) {
        return 0;
    }
    const SaTable& table = context.snapshot->associations;
    const auto is_decided = [&](const EspWaiter& waiter) {
        return table.find(waiter.spi, waiter.destination) != nullptr ||
               !table.may_arrive(waiter.spi) || !table.knows(waiter.source);
    };
    const std::size_t before = context.waiting.count();
    context.waiting.take_if(
        [&](const EspWaiter& waiter) { return waiter.until_ms <= now_ms || is_decided(waiter); },
        [&](const EspWaiter& waiter) {
            if (!is_decided(waiter)) {
                context.drop(waiter.packet, DropReason::esp_unknown_spi, waiter.port);
                return;
            }
            Batch batch;
            admit_late(context, waiter.port, waiter.packet, batch);
            forward(context, batch);
        }
    );
    take_patched(context);
    return before - context.waiting.count();
}

namespace {

/// Does what the slow path decided.
void follow(Context& context, const Decision& decision) noexcept {
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
    context.pending.for_each(decision.slot, [&](const HeldPacket& held) {
        if (in_gone || out_gone) {
            context.drop(held.packet, DropReason::port_removed, key.in_port);
        } else {
            apply(context, decision.action, key, std::span(&held.packet, 1), held.tagged);
        }
    });
    context.pending.erase(decision.slot);
}

}  // namespace

void apply_decision(Context& context, const Decision& decision) noexcept {
    follow(context, decision);
    take_patched(context);
}

}  // namespace culvert::dataplane
