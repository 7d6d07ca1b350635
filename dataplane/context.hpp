// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the stages of the packet path share within one worker. Everything here is used by that
// worker's thread alone, except the two queues' other ends and the counters, which the control
// thread reads.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/counters.hpp"
#include "dataplane/flow_cache.hpp"
#include "dataplane/pending_flows.hpp"
#include "dataplane/port.hpp"
#include "dataplane/snapshot.hpp"
#include "dataplane/upcall.hpp"

namespace culvert::dataplane {

/// Packets on their way out of one port, sent as a burst.
struct TxQueue {
    std::array<rte_mbuf*, kBurstMax> packets{};
    std::uint16_t count = 0;
};

struct Context {
    unsigned worker = 0;
    const Snapshot* snapshot = nullptr;
    const FlowCache* flows = nullptr;
    PacketPools pools;
    std::uint32_t now_s = 0;  ///< Coarse clock for ageing stamps.
    WorkerCounters* counters = nullptr;
    UpcallQueue* upcalls = nullptr;
    std::uint16_t next_ip_id = 0;  ///< Of outer IPv4 packets that may be fragmented (RFC 6864).
    bool upcall_sent = false;      ///< The slow path has to be woken.
    PendingFlows pending;
    std::vector<TxQueue> tx;              ///< By port index.
    std::vector<std::uint16_t> tx_ports;  ///< Ports with packets in `tx`.
    std::vector<std::uint16_t> targets;   ///< Scratch of flood().

    /// Counts and frees.
    void drop(rte_mbuf* packet, DropReason reason, std::uint16_t port) noexcept {
        counters->drop(reason, port);
        rte_pktmbuf_free(packet);
    }
};

}  // namespace culvert::dataplane
