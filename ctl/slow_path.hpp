// SPDX-License-Identifier: GPL-2.0-or-later
//
// Decides what workers ask: learns the source, looks the destination up, makes the flow entry and
// answers; keeps packets of tunnels whose next hop is being resolved. Control thread only.
#pragma once

#include <array>
#include <climits>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ctl/announcements.hpp"
#include "ctl/fdb.hpp"
#include "ctl/flow_index.hpp"
#include "ctl/held_packets.hpp"
#include "dataplane/worker.hpp"

namespace culvert::ctl {

/// One bridge as the slow path sees it.
struct BridgeTable {
    Fdb fdb;
    std::uint32_t ageing_s = 300;
};

class SlowPath {
public:
    SlowPath(dataplane::Workers& workers, dataplane::FlowCache& flows);
    ~SlowPath() = default;
    SlowPath(const SlowPath&) = delete;
    SlowPath& operator=(const SlowPath&) = delete;

    /// Told of (bridge, key) whose place in the FDB changed.
    std::function<void(std::uint16_t bridge, const FdbKey& key)> on_fdb_change;
    /// Told of the tunnel port that has packets but no resolved next hop.
    std::function<void(std::uint16_t tunnel_port)> on_unresolved;
    /// Told of an address behind an L3 tunnel's bridge of which no neighbour is known.
    std::function<void(std::uint16_t tunnel_port, const tunnels::IpAddress& host)> on_unknown_host;
    /// Told of what an ICMP error says about the path to a tunnel endpoint.
    std::function<void(const tunnels::IpAddress& remote, std::uint32_t mtu)> on_path_mtu;
    /// Told of an LACPDU that a bond's member received.
    std::function<void(std::uint16_t port, std::span<const std::byte> frame)> on_lacp;

    /// The newest snapshot: the ports and bridges that decisions are made on. Must be set before
    /// workers can adopt it.
    void set_snapshot(const dataplane::Snapshot* snapshot) { snapshot_ = snapshot; }
    /// Decisions made from now on wait for this snapshot.
    [[nodiscard]] const dataplane::Snapshot* snapshot() const { return snapshot_; }

    BridgeTable&
    insert_bridge(std::uint16_t bridge, std::size_t mac_table_size, std::uint32_t ageing_s);
    void erase_bridge(std::uint16_t bridge);
    [[nodiscard]] const std::map<std::uint16_t, std::unique_ptr<BridgeTable>>& bridges() const {
        return bridges_;
    }
    [[nodiscard]] BridgeTable* bridge(std::uint16_t index);

    bool insert_fixed(std::uint16_t bridge, const FdbKey& key, std::uint16_t port);
    void erase_fixed(std::uint16_t bridge, const FdbKey& key);
    /// Forgets what was learned: on one bridge, or what points to one port.
    std::size_t flush_bridge(std::uint16_t bridge);
    void flush_port(std::uint16_t bridge, std::uint16_t port);
    void flush_flows();

    /// The port that leads to an address.
    [[nodiscard]] std::optional<std::uint16_t>
    locate(std::uint16_t bridge, const FdbKey& key) const;

    /// When the address was last seen, counting what workers forwarded without asking.
    [[nodiscard]] std::uint32_t last_seen_s(const FdbEntry& entry) const;

    /// Answers every upcall that waits, and stays for more while they come thick and fast: a worker
    /// that has to wake the control thread for each new flow would do little else. Returns after
    /// kDrainUsMax at the latest, so that other events of the control thread get their turn.
    void drain();
    static constexpr std::uint64_t kDrainUsMax = 2000;

    /// Packets held for tunnel `port` are sent once workers have the snapshot `version`; call it
    /// before publishing.
    void release(std::uint16_t port, std::uint64_t version);
    /// Packets held for `port` are dropped.
    void abandon(std::uint16_t port, dataplane::DropReason reason);
    /// The same as release() for packets whose host is in `next`, the snapshot about to be
    /// published.
    void release_hosts(const dataplane::Snapshot& next);
    /// Packets that wait for a host are dropped: it can't be reached.
    void abandon_host(std::uint16_t bridge, const tunnels::IpAddress& host);

    /// Ageing of MAC addresses, flows and held packets; several times a second.
    void tick(std::uint32_t idle_timeout_s);

    /// Drops that happened here, by reason and port.
    [[nodiscard]] const dataplane::WorkerCounters& counters() const { return *counters_; }

private:
    using HostKey = std::pair<std::uint16_t, tunnels::IpAddress>;  // Bridge and address.

    bool answer_some();
    void answer(unsigned worker, const dataplane::Upcall& upcall);
    void prefetch(const dataplane::FlowKey& key) const;
    void flush_answers();
    void answer_miss(unsigned worker, const dataplane::Upcall& upcall);
    void answer_resolve(unsigned worker, const dataplane::Upcall& upcall);
    void answer_host(unsigned worker, const dataplane::Upcall& upcall);
    [[nodiscard]] bool is_reflection(const dataplane::Upcall& upcall, std::uint16_t bridge) const;
    void note_announcement(const dataplane::FlowKey& key);
    dataplane::FlowAction decide(const dataplane::FlowKey& key, std::uint16_t bridge);
    void learn(const dataplane::FlowKey& key, std::uint16_t bridge);
    void insert_flow(const dataplane::FlowKey& key, const dataplane::FlowAction& action);
    void forget_flows(const FdbKey& key);
    void changed(std::uint16_t bridge, std::span<const FdbKey> keys);
    void drop(rte_mbuf* packet, dataplane::DropReason reason, std::uint16_t port);
    /// When a flow from the address was last hit, of at most so many of its flows.
    [[nodiscard]] std::optional<std::uint32_t>
    last_used(const FdbKey& key, unsigned looks = UINT_MAX) const;

    dataplane::Workers& workers_;
    dataplane::FlowCache& flows_;
    const dataplane::Snapshot* snapshot_ = nullptr;
    std::map<std::uint16_t, std::unique_ptr<BridgeTable>> bridges_;
    std::vector<BridgeTable*> bridge_by_index_;  ///< The same, for look-ups.
    FlowIndex index_;
    HeldPackets<std::uint16_t> held_;  ///< By tunnel port.
    HeldPackets<HostKey> held_for_hosts_;
    Announcements announcements_;
    std::unique_ptr<dataplane::WorkerCounters> counters_;
    bool several_cpus_;
    Fdb::LastUsed last_used_;    ///< Of all flows, for ageing.
    Fdb::LastUsed lately_used_;  ///< Of kLooksAtEviction.

    // Upcalls are taken, and misses answered, by so many.
    static constexpr std::size_t kBatch = 64;
    std::array<dataplane::Upcall, kBatch> taken_;
    std::array<dataplane::Decision, kBatch> answers_;  ///< To `answered_worker_`, not sent yet.
    std::size_t answer_count_ = 0;
    unsigned answered_worker_ = 0;
    std::uint64_t drained_at_ = 0;  ///< TSC cycles: when the last drain() ended.
};

}  // namespace culvert::ctl
