// SPDX-License-Identifier: GPL-2.0-or-later
//
// An rte_ring of many producers and one consumer, in memory of its own: rings by name would be
// shared by all daemons of a DPDK prefix. See spread.hpp.

#include "dataplane/spread.hpp"

#include <array>
#include <cstdlib>
#include <new>

#include <rte_ring.h>

#include "dataplane/limits.hpp"

namespace culvert::dataplane {

void SpreadQueue::RingDeleter::operator()(rte_ring* ring) const noexcept {
    std::free(ring);
}

SpreadQueue::SpreadQueue() {
    const auto bytes = static_cast<std::size_t>(rte_ring_get_memsize(kSpreadQueueSlots));
    constexpr std::size_t kLine = RTE_CACHE_LINE_SIZE;
    ring_.reset(
        static_cast<rte_ring*>(std::aligned_alloc(kLine, (bytes + kLine - 1) / kLine * kLine))
    );
    if (!ring_ || rte_ring_init(ring_.get(), "spread", kSpreadQueueSlots, RING_F_SC_DEQ) != 0) {
        throw std::bad_alloc();
    }
}

SpreadQueue::~SpreadQueue() {
    std::array<rte_mbuf*, kBurstMax> left{};
    while (const std::size_t count = pop(left)) {
        rte_pktmbuf_free_bulk(left.data(), static_cast<unsigned>(count));
    }
}

std::size_t SpreadQueue::push(std::span<rte_mbuf* const> packets) noexcept {
    return rte_ring_mp_enqueue_burst(
        ring_.get(),
        reinterpret_cast<void* const*>(packets.data()),
        static_cast<unsigned>(packets.size()),
        nullptr
    );
}

std::size_t SpreadQueue::pop(std::span<rte_mbuf*> out) noexcept {
    return rte_ring_sc_dequeue_burst(
        ring_.get(),
        reinterpret_cast<void**>(out.data()),
        static_cast<unsigned>(out.size()),
        nullptr
    );
}

bool SpreadQueue::empty() const noexcept {
    return rte_ring_empty(ring_.get()) != 0;
}

}  // namespace culvert::dataplane
