// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets on their way from the worker that received them to the one that handles their inner flow.
// GRE has no source port to spread flows by: all packets of two hosts arrive in one queue of a NIC,
// so that one worker decapsulates them, and shares out the rest of the work by the inner flow's
// hash. One queue for each worker: any worker adds, its own takes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <rte_mbuf.h>

struct rte_ring;

namespace culvert::dataplane {

class SpreadQueue {
public:
    /// kSpreadQueueSlots - 1 packets fit. Throws std::bad_alloc.
    SpreadQueue();
    ~SpreadQueue();  ///< Frees what was not taken.
    SpreadQueue(const SpreadQueue&) = delete;
    SpreadQueue& operator=(const SpreadQueue&) = delete;

    /// Adds packets, in order, as long as there is room; returns how many. Any thread.
    [[nodiscard]] std::size_t push(std::span<rte_mbuf* const> packets) noexcept;
    /// Takes up to out.size() packets. The owning worker only.
    [[nodiscard]] std::size_t pop(std::span<rte_mbuf*> out) noexcept;
    [[nodiscard]] bool empty() const noexcept;

private:
    struct RingDeleter {
        void operator()(rte_ring* ring) const noexcept;
    };
    std::unique_ptr<rte_ring, RingDeleter> ring_;
};

}  // namespace culvert::dataplane
