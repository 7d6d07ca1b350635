// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets on their way from the worker that received them to the one that handles their inner flow.
// Where all packets of a tunnel come to one worker, as the port has one queue or the tunnel (GRE)
// no source port by which a NIC could spread flows, that worker decapsulates them and shares out
// the rest of the work by the inner flow's hash: a flow has one worker, which keeps its order. One
// of these for each worker, in which each other worker has a queue of its own (Boost.Lockfree, one
// producer and one consumer).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>
#include <rte_mbuf.h>

#include "dataplane/limits.hpp"

namespace culvert::dataplane {

class SpreadQueue {
public:
    /// From each of `producers` workers kSpreadQueueSlots packets fit.
    explicit SpreadQueue(std::size_t producers);
    ~SpreadQueue();  ///< Frees what was not taken.
    SpreadQueue(const SpreadQueue&) = delete;
    SpreadQueue& operator=(const SpreadQueue&) = delete;

    /// Adds packets of worker `producer`, in order, as long as there is room; returns how many.
    /// That worker only.
    [[nodiscard]] std::size_t
    push(std::size_t producer, std::span<rte_mbuf* const> packets) noexcept;
    /// Takes up to out.size() packets, of each producer in order. The owning worker only.
    [[nodiscard]] std::size_t pop(std::span<rte_mbuf*> out) noexcept;
    /// About how many packets wait. Any thread.
    [[nodiscard]] std::size_t size() const noexcept;
    /// The owning worker only.
    [[nodiscard]] bool empty() const noexcept;

private:
    /// On lines of its own: what the heap puts beside it is another worker's. Inside, the library
    /// keeps the two ends on different lines.
    struct alignas(RTE_CACHE_LINE_SIZE) Queue
        : boost::lockfree::spsc_queue<rte_mbuf*, boost::lockfree::capacity<kSpreadQueueSlots>> {};
    static_assert(alignof(Queue) == RTE_CACHE_LINE_SIZE);
    std::vector<std::unique_ptr<Queue>> queues_;  ///< By producer.
    std::size_t turn_ = 0;                        ///< The producer whose packets are taken first.
};

}  // namespace culvert::dataplane
