// SPDX-License-Identifier: GPL-2.0-or-later
//
// Forwarding decisions, made once per flow. See slow_path.hpp.

#include "ctl/slow_path.hpp"

#include <algorithm>

#include <emmintrin.h>
#include <unistd.h>

#include "dataplane/clock.hpp"
#include "dataplane/gratuitous_arp.hpp"
#include "dataplane/packet.hpp"

namespace culvert::ctl {

using dataplane::coarse_clock_s;
using dataplane::Decision;
using dataplane::DropReason;
using dataplane::FlowAction;
using dataplane::FlowKey;
using dataplane::FlowVerdict;
using dataplane::kPortNone;
using dataplane::PortView;
using dataplane::Upcall;

namespace {

// How long drain() waits for more when the last one ended no longer ago.
constexpr std::uint64_t kLingerUs = 100;
// A tick erases so many idle flows at most, and looks at this fraction of the table: all of it
// takes a second, and upcalls do not wait for long.
constexpr std::size_t kFlowsPerSweep = 65536;
constexpr std::uint32_t kSweepShare = 10;

std::uint64_t cycles_of_us(std::uint64_t us) {
    return rte_get_tsc_hz() / 1000000 * us;
}

/// Flows of an address that are looked at before it makes room for another: one host can have a
/// great many that were never hit, and each new address may ask.
constexpr unsigned kLooksAtEviction = 64;

constexpr std::uint64_t kBroadcast = 0xffffffffffff;

}  // namespace

SlowPath::SlowPath(dataplane::Workers& workers, dataplane::FlowCache& flows)
    : workers_(workers), flows_(flows), index_(flows.entry_limit()),
      counters_(std::make_unique<dataplane::WorkerCounters>()),
      several_cpus_(::sysconf(_SC_NPROCESSORS_ONLN) > 1),
      last_used_([this](const FdbKey& mac) { return last_used(mac); }),
      lately_used_([this](const FdbKey& mac) { return last_used(mac, kLooksAtEviction); }) {}

BridgeTable&
SlowPath::insert_bridge(std::uint16_t bridge, std::size_t mac_table_size, std::uint32_t ageing_s) {
    auto& table = bridges_[bridge];
    table = std::make_unique<BridgeTable>(BridgeTable{Fdb(mac_table_size), ageing_s});
    bridge_by_index_.resize(std::max<std::size_t>(bridge_by_index_.size(), bridge + 1U));
    bridge_by_index_[bridge] = table.get();
    return *table;
}

void SlowPath::erase_bridge(std::uint16_t bridge) {
    bridges_.erase(bridge);
    if (bridge < bridge_by_index_.size()) {
        bridge_by_index_[bridge] = nullptr;
    }
}

BridgeTable* SlowPath::bridge(std::uint16_t index) {
    return index < bridge_by_index_.size() ? bridge_by_index_[index] : nullptr;
}

void SlowPath::forget_flows(const FdbKey& key) {
    while (const auto entry = index_.any_about(key)) {
        const FlowKey flow = flows_.entry(*entry).key;
        flows_.erase(flow);
        index_.erase(*entry, flow);
    }
}

void SlowPath::changed(std::uint16_t bridge, std::span<const FdbKey> keys) {
    for (const FdbKey& key : keys) {
        forget_flows(key);
        if (on_fdb_change) {
            on_fdb_change(bridge, key);
        }
    }
}

bool SlowPath::insert_fixed(std::uint16_t bridge, const FdbKey& key, std::uint16_t port) {
    BridgeTable* table = this->bridge(bridge);
    if (table == nullptr || !table->fdb.insert_fixed(key, port)) {
        return false;
    }
    changed(bridge, {&key, 1});
    return true;
}

void SlowPath::erase_fixed(std::uint16_t bridge, const FdbKey& key) {
    BridgeTable* table = this->bridge(bridge);
    if (table != nullptr && table->fdb.erase(key)) {
        changed(bridge, {&key, 1});
    }
}

std::size_t SlowPath::flush_bridge(std::uint16_t bridge) {
    BridgeTable* table = this->bridge(bridge);
    if (table == nullptr) {
        return 0;
    }
    const auto keys = table->fdb.flush();
    changed(bridge, keys);
    return keys.size();
}

void SlowPath::flush_port(std::uint16_t bridge, std::uint16_t port) {
    BridgeTable* table = this->bridge(bridge);
    if (table != nullptr) {
        changed(bridge, table->fdb.flush_port(port));
    }
}

void SlowPath::flush_flows() {
    flows_.clear();
    index_.clear();
}

std::optional<std::uint16_t> SlowPath::locate(std::uint16_t bridge, const FdbKey& key) const {
    const auto found = bridges_.find(bridge);
    if (found == bridges_.end()) {
        return std::nullopt;
    }
    const FdbEntry* entry = found->second->fdb.find(key);
    return entry == nullptr ? std::nullopt : std::optional(entry->port);
}

void SlowPath::drain() {
    const std::uint64_t start = rte_rdtsc();
    const std::uint64_t linger = cycles_of_us(kLingerUs);
    const std::uint64_t deadline = start + cycles_of_us(kDrainUsMax);
    // With one CPU the worker could not ask meanwhile.
    const bool busy = start - drained_at_ < linger && several_cpus_;
    std::uint64_t idle_since = start;
    while (true) {
        const bool answered = answer_some();
        const std::uint64_t now = rte_rdtsc();
        if (answered) {
            idle_since = now;
        } else if (!busy || now - idle_since > linger) {
            break;
        } else {
            _mm_pause();
        }
        if (now >= deadline) {
            break;
        }
    }
    workers_.arm_wake();
    drained_at_ = rte_rdtsc();
}

/// Answers a batch; false when no upcall waited. Bulk transfers spare both threads most of the
/// misses that queue indices passing between two CPUs cost, and by the time a flow is looked at
/// what it needs of the tables has been loaded.
bool SlowPath::answer_some() {
    const auto taken = workers_.take_upcalls(taken_);
    const auto upcalls = std::span(taken_).first(taken.count);
    for (const Upcall& upcall : upcalls) {
        if (upcall.kind == Upcall::Kind::miss) {
            prefetch(upcall.key);
        }
    }
    for (const Upcall& upcall : upcalls) {
        answer(taken.worker, upcall);
    }
    flush_answers();
    if (taken.count != 0) {
        // Entries that this batch evicted or replaced come back only so.
        workers_.poll();
    }
    return taken.count != 0;
}

void SlowPath::prefetch(const FlowKey& key) const {
    const PortView* in = snapshot_ == nullptr ? nullptr : snapshot_->port(key.in_port);
    if (in == nullptr || in->bridge >= bridge_by_index_.size() ||
        bridge_by_index_[in->bridge] == nullptr) {
        return;
    }
    const Fdb& fdb = bridge_by_index_[in->bridge]->fdb;
    fdb.prefetch({key.vlan, key.source});
    fdb.prefetch({key.vlan, key.destination});
    flows_.prefetch_insert(dataplane::hash(key));
    index_.prefetch(key);
}

void SlowPath::answer(unsigned worker, const Upcall& upcall) {
    if (upcall.kind == Upcall::Kind::miss) {
        answer_miss(worker, upcall);
        return;
    }
    flush_answers();  // Whatever is sent for this one comes behind them.
    switch (upcall.kind) {
    case Upcall::Kind::resolve:
        answer_resolve(worker, upcall);
        break;
    case Upcall::Kind::host:
        answer_host(worker, upcall);
        break;
    case Upcall::Kind::path_mtu:
        if (on_path_mtu) {
            on_path_mtu(upcall.address, upcall.mtu);
        }
        break;
    case Upcall::Kind::lacp:
        if (on_lacp) {
            on_lacp(upcall.port, dataplane::packet::head(std::as_const(upcall.packet)));
        }
        rte_pktmbuf_free(upcall.packet);
        break;
    case Upcall::Kind::announced:
        note_announcement(upcall.key);
        break;
    case Upcall::Kind::miss:
        break;
    }
}

void SlowPath::flush_answers() {
    if (answer_count_ != 0) {
        workers_.send(answered_worker_, std::span(answers_).first(answer_count_));
        answer_count_ = 0;
    }
}

void SlowPath::answer_miss(unsigned worker, const Upcall& upcall) {
    Decision decision;
    decision.slot = upcall.slot;
    const PortView* in = snapshot_ == nullptr ? nullptr : snapshot_->port(upcall.key.in_port);
    if (in == nullptr || in->bridge == kPortNone || bridge(in->bridge) == nullptr) {
        decision.action.reason = DropReason::port_removed;
    } else {
        const std::uint16_t home = in->bridge;  // learn() may free the snapshot that `in` is of.
        if (in->is_bond() && is_reflection(upcall, home)) {
            decision.action.reason = DropReason::bond_reflection;
            // Workers can't tell a gratuitous ARP from other broadcasts: each is looked at here.
            if (upcall.key.destination.to_u64() != kBroadcast) {
                insert_flow(upcall.key, decision.action);
            }
        } else {
            if (!in->is_l3) {  // Its frames carry our own addresses.
                learn(upcall.key, home);
            }
            decision.action = decide(upcall.key, home);
            insert_flow(upcall.key, decision.action);
        }
    }
    // learn() may have led to a newer snapshot; the answer was made on it.
    decision.version = snapshot_ == nullptr ? 0 : snapshot_->version;
    answered_worker_ = worker;
    answers_[answer_count_++] = decision;
}

/// Whether a packet that came in by a bond is one of ours that the neighbour switch sent back: its
/// source is behind another port. A gratuitous ARP says that the host has moved, unless it left by
/// the bond itself just now.
bool SlowPath::is_reflection(const Upcall& upcall, std::uint16_t bridge) const {
    const FlowKey& key = upcall.key;
    const PortView& in = snapshot_->ports[key.in_port];
    const FdbKey source{key.vlan, key.source};
    const FdbEntry* entry = bridge_by_index_[bridge]->fdb.find(source);
    if (!snapshot_->bonds[in.bond].reflects || entry == nullptr || entry->port == key.in_port) {
        return false;
    }
    return entry->fixed ||
           !dataplane::is_gratuitous_arp(dataplane::packet::head(std::as_const(upcall.packet))) ||
           announcements_.may_echo(bridge, source, coarse_clock_s());
}

void SlowPath::note_announcement(const FlowKey& key) {
    const PortView* in = snapshot_ == nullptr ? nullptr : snapshot_->port(key.in_port);
    if (in != nullptr && in->bridge != kPortNone) {
        announcements_.note(in->bridge, {key.vlan, key.source}, coarse_clock_s());
    }
}

void SlowPath::learn(const FlowKey& key, std::uint16_t bridge) {
    const FdbKey source{key.vlan, key.source};
    Fdb& fdb = bridge_by_index_[bridge]->fdb;
    const auto result = fdb.learn(source, key.in_port, coarse_clock_s(), lately_used_);
    if (result.evicted) {
        changed(bridge, {&*result.evicted, 1});
    }
    if (result.learned != Fdb::Learned::unchanged) {
        changed(bridge, {&source, 1});
    }
}

FlowAction SlowPath::decide(const FlowKey& key, std::uint16_t bridge) {
    const FlowAction flood{.verdict = FlowVerdict::flood, .reason = DropReason::none};
    if (key.destination.is_group()) {
        return flood;
    }
    const FdbEntry* entry = bridge_by_index_[bridge]->fdb.find({key.vlan, key.destination});
    if (entry == nullptr) {
        return flood;
    }
    if (entry->port == key.in_port) {
        return {.verdict = FlowVerdict::drop, .reason = DropReason::hairpin};
    }
    const PortView* out = snapshot_->port(entry->port);
    if (out == nullptr || out->bridge != bridge || !out->vlan.carries(key.vlan)) {
        return flood;
    }
    const dataplane::BridgeView& view = snapshot_->bridges[bridge];
    if (view.l3 && entry->port == view.local_port && key.vlan == view.local_vlan) {
        return {.verdict = FlowVerdict::route, .reason = DropReason::none, .out_port = entry->port};
    }
    if (snapshot_->bridges[bridge].split_horizon && out->is_tunnel() &&
        snapshot_->ports[key.in_port].is_tunnel()) {
        return {.verdict = FlowVerdict::drop, .reason = DropReason::split_horizon};
    }
    return {.verdict = FlowVerdict::forward, .reason = DropReason::none, .out_port = entry->port};
}

void SlowPath::insert_flow(const FlowKey& key, const FlowAction& action) {
    const auto result =
        flows_.insert(key, action, snapshot_->ports[key.in_port].generation, coarse_clock_s());
    if (result.evicted || result.replaced) {
        index_.erase(result.removed, result.removed_key);
    }
    if (result.ok) {
        index_.insert(result.entry, key);
    }
}

void SlowPath::answer_resolve(unsigned worker, const Upcall& upcall) {
    const PortView* view = snapshot_ == nullptr ? nullptr : snapshot_->port(upcall.port);
    if (view == nullptr || !view->is_tunnel()) {
        drop(upcall.packet, DropReason::port_removed, upcall.port);
        return;
    }
    const dataplane::TunnelView& tunnel = snapshot_->tunnels[view->tunnel];
    if (tunnel.resolved && !held_.contains(upcall.port)) {
        Decision decision;
        decision.kind = Decision::Kind::encap;
        decision.port = upcall.port;
        decision.packet = upcall.packet;
        decision.version = snapshot_->version;
        workers_.send(worker, decision);
        return;
    }
    if (tunnel.unresolved != DropReason::none) {
        drop(upcall.packet, tunnel.unresolved, upcall.port);
        return;
    }
    if (!held_.insert(upcall.port, {upcall.packet, worker, upcall.port, dataplane::clock_ms()})) {
        drop(upcall.packet, DropReason::neighbour_queue_full, upcall.port);
        return;
    }
    if (on_unresolved) {
        on_unresolved(upcall.port);
    }
}

void SlowPath::answer_host(unsigned worker, const Upcall& upcall) {
    const PortView* view = snapshot_ == nullptr ? nullptr : snapshot_->port(upcall.port);
    if (view == nullptr || !view->is_l3) {
        drop(upcall.packet, DropReason::port_removed, upcall.port);
        return;
    }
    const HostKey key{view->bridge, upcall.address};
    if (!held_for_hosts_.insert(key, {upcall.packet, worker, upcall.port, dataplane::clock_ms()})) {
        drop(upcall.packet, DropReason::neighbour_queue_full, upcall.port);
        return;
    }
    if (on_unknown_host) {
        on_unknown_host(upcall.port, upcall.address);
    }
}

void SlowPath::release(std::uint16_t port, std::uint64_t version) {
    flush_answers();
    held_.take(port, [&](const HeldPacket& held) {
        Decision decision;
        decision.kind = Decision::Kind::encap;
        decision.port = port;
        decision.packet = held.packet;
        decision.version = version;
        workers_.send(held.worker, decision);
    });
}

void SlowPath::abandon(std::uint16_t port, DropReason reason) {
    held_.take(port, [&](const HeldPacket& held) { drop(held.packet, reason, port); });
}

void SlowPath::release_hosts(const dataplane::Snapshot& next) {
    flush_answers();
    const auto known = [&](const HostKey& key) {
        const auto& l3 = key.first < next.bridges.size() ? next.bridges[key.first].l3 : nullptr;
        return l3 && (l3->hosts.find(key.second) != nullptr || l3->gateway.contains(key.second));
    };
    held_for_hosts_.take_if(known, [&](const HeldPacket& held) {
        Decision decision;
        decision.kind = Decision::Kind::deliver;
        decision.port = held.port;
        decision.packet = held.packet;
        decision.version = next.version;
        workers_.send(held.worker, decision);
    });
}

void SlowPath::abandon_host(std::uint16_t bridge, const tunnels::IpAddress& host) {
    held_for_hosts_.take({bridge, host}, [&](const HeldPacket& held) {
        drop(held.packet, DropReason::l3_no_host, held.port);
    });
}

std::optional<std::uint32_t> SlowPath::last_used(const FdbKey& key, unsigned looks) const {
    const std::uint32_t now_s = coarse_clock_s();
    std::optional<std::uint32_t> latest;
    index_.visit_from(key, [&](std::uint32_t number) {
        const dataplane::FlowEntry& entry = flows_.entry(number);
        // What only came back does not tell that the host is still there.
        if (entry.was_hit() && entry.action.reason != DropReason::bond_reflection) {
            const std::uint32_t used = entry.last_used_s.load(std::memory_order_relaxed);
            latest = std::max(latest.value_or(0), used);
        }
        // A busy address has many flows, and mostly one of the first was used just now.
        return --looks != 0 && (!latest || *latest + 1 < now_s);
    });
    return latest;
}

std::uint32_t SlowPath::last_seen_s(const FdbEntry& entry) const {
    return std::max(entry.last_seen_s, last_used(entry.key).value_or(0));
}

void SlowPath::tick(std::uint32_t idle_timeout_s) {
    const std::uint32_t now_s = coarse_clock_s();
    flows_.sweep(
        kFlowsPerSweep,
        [&](const dataplane::FlowEntry& entry) {
            return entry.last_used_s.load(std::memory_order_relaxed) + idle_timeout_s < now_s;
        },
        [&](const dataplane::FlowEntry& entry) {
            const PortView* in =
                snapshot_ == nullptr ? nullptr : snapshot_->port(entry.key.in_port);
            BridgeTable* table = in == nullptr ? nullptr : bridge(in->bridge);
            if (table != nullptr) {
                table->fdb.refresh_if_present(
                    {entry.key.vlan, entry.key.source},
                    entry.key.in_port,
                    entry.last_used_s.load(std::memory_order_relaxed)
                );
            }
            index_.erase(flows_.number_of(entry), entry.key);
        },
        kSweepShare
    );
    for (auto& [index, table] : bridges_) {
        changed(index, table->fdb.expire(now_s, table->ageing_s, last_used_));
    }
    announcements_.expire(now_s);
    const std::uint64_t before_ms = dataplane::clock_ms() - dataplane::kNeighbourWaitMs;
    held_.expire(before_ms, [this](const HeldPacket& held) {
        drop(held.packet, DropReason::neighbour_timeout, held.port);
    });
    held_for_hosts_.expire(before_ms, [this](const HeldPacket& held) {
        drop(held.packet, DropReason::l3_no_host, held.port);
    });
}

void SlowPath::drop(rte_mbuf* packet, DropReason reason, std::uint16_t port) {
    counters_->drop(reason, port);
    rte_pktmbuf_free(packet);
}

}  // namespace culvert::ctl
