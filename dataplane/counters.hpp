// SPDX-License-Identifier: GPL-2.0-or-later
//
// Counters with one writer each: a worker owns its set and adds without a locked instruction; the
// control thread sums over workers. A packet is counted in rx of the port it arrived on, then
// either in tx of every port it left by or once as a drop, on the port (tunnel ports included) it
// belonged to when the decision fell.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "dataplane/limits.hpp"
#include "tunnels/drop_reason.hpp"
#include "tunnels/ecn.hpp"

namespace culvert::dataplane {

class Counter {
public:
    void add(std::uint64_t n) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t read() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_{0};
};

struct PortCounters {
    Counter rx_packets;
    Counter rx_bytes;
    Counter tx_packets;
    Counter tx_bytes;
};

/// The stages of the packet path, in order.
enum class Stage : std::uint8_t {
    receive,   ///< The device's.
    admit,     ///< From a frame to a flow key, out of a tunnel where it is in one.
    look_up,   ///< The flow cache.
    output,    ///< What the flow says, into a tunnel where it leads into one.
    transmit,  ///< The device's.
    count_
};
inline constexpr std::size_t kStageCount = static_cast<std::size_t>(Stage::count_);
inline constexpr std::array<std::string_view, kStageCount> kStageNames{
    "receive", "admit", "look_up", "output", "transmit"};

/// What a worker did with its time and its lookups.
struct LoopCounters {
    Counter packets;      ///< Taken from ports.
    Counter batches;      ///< Non-empty receives.
    Counter busy_cycles;  ///< TSC cycles of loop rounds that moved packets.
    Counter idle_cycles;  ///< TSC cycles of other rounds, sleep included.
    Counter sleeps;
    Counter flow_hits;
    Counter flow_misses;
    Counter upcalls;
    std::array<Counter, kStageCount> stage_cycles;  ///< Of the rounds that StageClock timed.
    Counter timed_packets;                          ///< Taken from ports in those rounds.
};

/// One line or more to each worker, so that none writes to a line that another writes.
struct alignas(64) WorkerCounters {
    LoopCounters loop;
    alignas(64) std::array<PortCounters, kPortsMax> ports;
    std::array<std::array<Counter, kPortsMax>, tunnels::kDropReasonCount> drops;
    /// Unusual ECN combinations by tunnel port (RFC 6040 figure 4); entry `none` is not used.
    std::array<std::array<Counter, kPortsMax>, tunnels::kEcnAnomalyCount> ecn;

    void drop(tunnels::DropReason reason, std::uint16_t port, std::uint64_t packets = 1) noexcept {
        drops[static_cast<std::size_t>(reason)][port < kPortsMax ? port : 0].add(packets);
    }
};

static_assert(sizeof(WorkerCounters) % 64 == 0);
// A packet writes to one line of its port, not to two.
static_assert(64 % sizeof(PortCounters) == 0 && offsetof(WorkerCounters, ports) % 64 == 0);

}  // namespace culvert::dataplane
