// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pending flows: a small open-addressed index over a fixed set of slots, and a fixed set of list
// nodes for their packets. Worker thread only.

#include "dataplane/pending_flows.hpp"

namespace culvert::dataplane {

PendingFlows::PendingFlows() noexcept {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        slots_[i].next_free = i + 1 < slots_.size() ? static_cast<std::uint16_t>(i + 1) : kNone;
    }
    for (std::size_t i = 0; i < packets_.size(); ++i) {
        packets_[i].next = i + 1 < packets_.size() ? static_cast<std::uint16_t>(i + 1) : kNone;
    }
}

std::optional<std::uint16_t> PendingFlows::insert(const FlowKey& key, std::uint32_t hash) noexcept {
    if (free_slot_ == kNone) {
        return std::nullopt;
    }
    const std::uint16_t number = free_slot_;
    Slot& slot = slots_[number];
    free_slot_ = slot.next_free;
    slot.key = key;
    slot.hash = hash;
    std::size_t at = home(hash);
    while (index_[at].slot != kNone) {
        at = (at + 1) % kIndexSlots;
    }
    index_[at] = {.slot = number, .tag = tag_of(hash)};
    ++used_;
    return number;
}

bool PendingFlows::hold(std::uint16_t slot, const HeldPacket& packet) noexcept {
    Slot& flow = slots_[slot];
    if (flow.count == kHeldPerFlowMax || free_packet_ == kNone) {
        return false;
    }
    const std::uint16_t number = free_packet_;
    Node& node = packets_[number];
    free_packet_ = node.next;
    // Member by member, as the caller wrote them: the CPU would hold up a load of both until its
    // earlier stores, among them those to the upcall queue, have left.
    node.held.packet = packet.packet;
    node.held.tagged = packet.tagged;
    node.next = kNone;
    (flow.last == kNone ? flow.first : packets_[flow.last].next) = number;
    flow.last = number;
    ++flow.count;
    return true;
}

void PendingFlows::erase(std::uint16_t slot) noexcept {
    Slot& flow = slots_[slot];
    std::size_t hole = home(flow.hash);
    while (index_[hole].slot != slot) {
        hole = (hole + 1) % kIndexSlots;
    }
    // Backward-shift deletion: move up every later member of the run that may stand in the hole.
    for (std::size_t at = (hole + 1) % kIndexSlots; index_[at].slot != kNone;
         at = (at + 1) % kIndexSlots) {
        const std::size_t begin = home(slots_[index_[at].slot].hash);
        if ((at - begin) % kIndexSlots >= (at - hole) % kIndexSlots) {
            index_[hole] = index_[at];
            hole = at;
        }
    }
    index_[hole] = {};
    if (flow.last != kNone) {
        packets_[flow.last].next = free_packet_;
        free_packet_ = flow.first;
    }
    flow.count = 0;
    flow.first = kNone;
    flow.last = kNone;
    flow.next_free = free_slot_;
    free_slot_ = slot;
    --used_;
}

}  // namespace culvert::dataplane
