// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the stages of the packet path share within one worker. Everything here is used by that
// worker's thread alone, except the two queues' other ends and the counters, which the control
// thread reads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/admission_memo.hpp"
#include "dataplane/counters.hpp"
#include "dataplane/esp_waiting.hpp"
#include "dataplane/flow_cache.hpp"
#include "dataplane/icmp_limiter.hpp"
#include "dataplane/known_esp.hpp"
#include "dataplane/known_peers.hpp"
#include "dataplane/patch_queue.hpp"
#include "dataplane/pending_flows.hpp"
#include "dataplane/port.hpp"
#include "dataplane/reassembler.hpp"
#include "dataplane/snapshot.hpp"
#include "dataplane/spread.hpp"
#include "dataplane/stage_clock.hpp"
#include "dataplane/upcall.hpp"
#include "tunnels/esp/esp.hpp"

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
    StageClock clock;
    UpcallQueue* upcalls = nullptr;
    std::uint16_t next_ip_id = 0;  ///< Of outer IPv4 packets that may be fragmented (RFC 6864).
    std::uint32_t next_fragment_id = 0;  ///< Of IPv6 fragments (RFC 8200 section 4.5).
    bool upcall_sent = false;            ///< The slow path has to be woken.
    IcmpLimiter ask_limiter;   ///< Of questions to the slow path that any packet may raise.
    IcmpLimiter icmp_limiter;  ///< Of errors told to senders.
    IcmpLimiter lacp_limiter;  ///< Of LACPDUs, which those questions must not hold up.
    KnownPeers known_peers;
    std::optional<Reassembler> reassembler;  ///< Of outer fragments.
    std::vector<SpreadQueue*> spread;  ///< Of each worker; empty: every worker keeps what it gets.
    std::vector<TxQueue> spread_out;   ///< By worker: what is about to go into its queue.
    std::uint32_t spread_wake = 0;     ///< Bit by worker: it has got packets and may sleep.
    PendingFlows pending;
    std::vector<TxQueue> tx;              ///< By port index.
    std::vector<std::uint16_t> tx_ports;  ///< Ports with packets in `tx`.
    std::vector<std::uint16_t> targets;   ///< Scratch of flood().
    PatchQueue patched;                   ///< Packets that arrive at the peers of patch ports.
    tunnels::EspEngine esp;               ///< Of this worker's packets, sealed and opened.
    KnownEsp known_esp;
    EspWaiting waiting;        ///< Packets whose key may arrive.
    AdmissionMemo admissions;  ///< Last, as it is large and seldom asked.

    /// Counts and frees.
    void drop(rte_mbuf* packet, DropReason reason, std::uint16_t port) noexcept {
        counters->drop(reason, port);
        rte_pktmbuf_free(packet);
    }

    /// Sends an upcall; false when the queue is full, and a packet in it is still the caller's.
    [[nodiscard]] bool ask(const Upcall& upcall) noexcept {
        if (!upcalls->push(upcall)) {
            return false;
        }
        upcall_sent = true;
        counters->loop.upcalls.add(1);
        return true;
    }
};

}  // namespace culvert::dataplane
