// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hands packets from worker to worker. See spread.hpp.

#include "dataplane/spread.hpp"

#include <algorithm>
#include <array>

namespace culvert::dataplane {

SpreadQueue::SpreadQueue(std::size_t producers) {
    for (std::size_t i = 0; i < producers; ++i) {
        queues_.push_back(std::make_unique<Queue>());
    }
}

SpreadQueue::~SpreadQueue() {
    std::array<rte_mbuf*, kBurstMax> left{};
    while (const std::size_t count = pop(left)) {
        rte_pktmbuf_free_bulk(left.data(), static_cast<unsigned>(count));
    }
}

std::size_t SpreadQueue::push(std::size_t producer, std::span<rte_mbuf* const> packets) noexcept {
    return queues_[producer]->push(packets.data(), packets.size());
}

std::size_t SpreadQueue::pop(std::span<rte_mbuf*> out) noexcept {
    std::size_t count = 0;
    for (std::size_t tried = 0; tried < queues_.size() && count < out.size(); ++tried) {
        const auto room = out.subspan(count);
        count += queues_[turn_]->pop(room.data(), room.size());
        turn_ = (turn_ + 1) % queues_.size();
    }
    return count;
}

std::size_t SpreadQueue::size() const noexcept {
    std::size_t packets = 0;
    for (const auto& queue : queues_) {
        packets += queue->read_available();
    }
    return packets;
}

bool SpreadQueue::empty() const noexcept {
    return std::all_of(queues_.begin(), queues_.end(), [](const auto& queue) {
        return queue->read_available() == 0;
    });
}

}  // namespace culvert::dataplane
