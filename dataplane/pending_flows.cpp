// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pending flows: a small open-addressed index over a fixed set of slots. Worker thread only.

#include "dataplane/pending_flows.hpp"

namespace culvert::dataplane {

PendingFlows::PendingFlows() noexcept {
    index_.fill(kEmpty);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        slots_[i].next_free = i + 1 < slots_.size() ? static_cast<std::uint16_t>(i + 1) : kEmpty;
    }
}

std::optional<std::uint16_t>
PendingFlows::find(const FlowKey& key, std::uint32_t hash) const noexcept {
    for (std::size_t at = hash % kIndexSlots; index_[at] != kEmpty; at = (at + 1) % kIndexSlots) {
        if (slots_[index_[at]].key == key) {
            return index_[at];
        }
    }
    return std::nullopt;
}

std::optional<std::uint16_t> PendingFlows::insert(const FlowKey& key, std::uint32_t hash) noexcept {
    if (free_ == kEmpty) {
        return std::nullopt;
    }
    const std::uint16_t slot = free_;
    free_ = slots_[slot].next_free;
    slots_[slot].key = key;
    slots_[slot].hash = hash;
    slots_[slot].count = 0;
    std::size_t at = hash % kIndexSlots;
    while (index_[at] != kEmpty) {
        at = (at + 1) % kIndexSlots;
    }
    index_[at] = slot;
    ++used_;
    return slot;
}

bool PendingFlows::hold(std::uint16_t slot, const HeldPacket& packet) noexcept {
    Slot& flow = slots_[slot];
    if (flow.count == kHeldPerFlowMax || packets_ == kHeldPerWorkerMax) {
        return false;
    }
    ++packets_;
    flow.held[flow.count++] = packet;
    return true;
}

void PendingFlows::erase(std::uint16_t slot) noexcept {
    std::size_t hole = slots_[slot].hash % kIndexSlots;
    while (index_[hole] != slot) {
        hole = (hole + 1) % kIndexSlots;
    }
    // Backward-shift deletion: move up every later member of the run that may stand in the hole.
    for (std::size_t at = (hole + 1) % kIndexSlots; index_[at] != kEmpty;
         at = (at + 1) % kIndexSlots) {
        const std::size_t home = slots_[index_[at]].hash % kIndexSlots;
        if ((at - home) % kIndexSlots >= (at - hole) % kIndexSlots) {
            index_[hole] = index_[at];
            hole = at;
        }
    }
    index_[hole] = kEmpty;
    packets_ -= slots_[slot].count;
    slots_[slot].count = 0;
    slots_[slot].next_free = free_;
    free_ = slot;
    --used_;
}

}  // namespace culvert::dataplane
