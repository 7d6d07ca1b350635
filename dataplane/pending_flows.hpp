// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flows a worker waits for: each new flow is asked of the slow path once, and its packets are
// kept here in order of arrival until the decision is back. Worker thread only. Bounds:
// kPendingFlowsMax flows, kHeldPerFlowMax packets each, kHeldPerWorkerMax in all. What is read for
// every packet while some flow is pending is 8 KB; a flow is one cache line, its packets are a
// list.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "dataplane/flow_key.hpp"
#include "dataplane/limits.hpp"

namespace culvert::dataplane {

struct HeldPacket {
    rte_mbuf* packet = nullptr;
    bool tagged = false;  ///< The frame carries a VLAN tag.
};

class PendingFlows {
public:
    PendingFlows() noexcept;

    [[nodiscard]] bool empty() const noexcept { return used_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return used_; }
    [[nodiscard]] std::optional<std::uint16_t>
    find(const FlowKey& key, std::uint32_t hash) const noexcept {
        const std::uint16_t tag = tag_of(hash);
        for (std::size_t at = home(hash); index_[at].slot != kNone; at = (at + 1) % kIndexSlots) {
            if (index_[at].tag == tag && slots_[index_[at].slot].key == key) {
                return index_[at].slot;
            }
        }
        return std::nullopt;
    }

    /// A slot for a new flow (precondition: find() found none); nullopt when all are in use.
    [[nodiscard]] std::optional<std::uint16_t>
    insert(const FlowKey& key, std::uint32_t hash) noexcept;
    /// Keeps one more packet; false when the flow holds kHeldPerFlowMax, or all hold
    /// kHeldPerWorkerMax.
    [[nodiscard]] bool hold(std::uint16_t slot, const HeldPacket& packet) noexcept;
    [[nodiscard]] const FlowKey& key(std::uint16_t slot) const noexcept { return slots_[slot].key; }
    /// Starts loading what is needed to let the flow's first packet go.
    void prefetch(std::uint16_t slot) const noexcept {
        if (slots_[slot].first != kNone) {
            rte_prefetch0(packets_[slots_[slot].first].held.packet);
        }
    }

    /// Calls `visit` with each packet of the flow, in order.
    template <class Visit>
    void for_each(std::uint16_t slot, const Visit& visit) const noexcept {
        for (std::uint16_t at = slots_[slot].first; at != kNone; at = packets_[at].next) {
            visit(packets_[at].held);
        }
    }
    /// Forgets the flow; its packets are the caller's.
    void erase(std::uint16_t slot) noexcept;

private:
    static constexpr std::size_t kIndexSlots = kPendingFlowsMax * 4;
    static constexpr std::uint16_t kNone = 0xffff;
    static_assert((kIndexSlots & (kIndexSlots - 1)) == 0);
    static_assert(kHeldPerWorkerMax < kNone);

    struct IndexEntry {
        std::uint16_t slot = kNone;
        std::uint16_t tag = 0;  ///< Of the hash: most other flows are told apart by it.
    };
    struct Slot {
        FlowKey key;
        std::uint32_t hash = 0;
        std::uint16_t count = 0;
        std::uint16_t first = kNone;  ///< Its packets.
        std::uint16_t last = kNone;
        std::uint16_t next_free = kNone;
    };
    struct Node {
        HeldPacket held;
        std::uint16_t next = kNone;
    };

    [[nodiscard]] static std::size_t home(std::uint32_t hash) noexcept {
        return hash % kIndexSlots;
    }
    [[nodiscard]] static std::uint16_t tag_of(std::uint32_t hash) noexcept {
        return static_cast<std::uint16_t>(hash >> 16U);
    }

    std::array<IndexEntry, kIndexSlots> index_;  ///< Linear probing by hash.
    std::array<Slot, kPendingFlowsMax> slots_;
    std::array<Node, kHeldPerWorkerMax> packets_;
    std::uint16_t free_slot_ = 0;
    std::uint16_t free_packet_ = 0;
    std::size_t used_ = 0;
};

}  // namespace culvert::dataplane
