// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where a worker's cycles go, by stage of the packet path. Reading the time-stamp counter costs as
// much as a packet does, so only one round of kRoundsPerSample is timed. One worker.
#pragma once

#include <cstdint>

#include <rte_cycles.h>

#include "dataplane/counters.hpp"

namespace culvert::dataplane {

class StageClock {
public:
    static constexpr unsigned kRoundsPerSample = 64;

    /// A round of the worker begins; precondition: counters outlive this.
    void begin_round(LoopCounters& counters) noexcept {
        counters_ = &counters;
        timed_ = ++rounds_ % kRoundsPerSample == 0;
        mark();
    }
    /// What follows is timed from here.
    void mark() noexcept {
        if (timed_) [[unlikely]] {
            last_ = rte_rdtsc();
        }
    }
    /// What there was since the last mark() or lap() was `stage`.
    void lap(Stage stage) noexcept {
        if (timed_) [[unlikely]] {
            const std::uint64_t now = rte_rdtsc();
            counters_->stage_cycles[static_cast<std::size_t>(stage)].add(now - last_);
            last_ = now;
        }
    }
    /// Packets that the stages of a timed round are about.
    void count(std::uint64_t packets) noexcept {
        if (timed_) [[unlikely]] {
            counters_->timed_packets.add(packets);
        }
    }

private:
    LoopCounters* counters_ = nullptr;
    std::uint64_t last_ = 0;
    unsigned rounds_ = 0;
    bool timed_ = false;
};

}  // namespace culvert::dataplane
