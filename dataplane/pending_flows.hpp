// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flows a worker waits for: each new flow is asked of the slow path once, and its packets are
// kept here in order of arrival until the decision is back. Worker thread only. Bounds:
// kPendingFlowsMax flows, kHeldPerFlowMax packets each.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <rte_mbuf.h>

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
    find(const FlowKey& key, std::uint32_t hash) const noexcept;

    /// A slot for a new flow (precondition: find() found none); nullopt when all are in use.
    [[nodiscard]] std::optional<std::uint16_t>
    insert(const FlowKey& key, std::uint32_t hash) noexcept;
    /// Keeps one more packet; false when the flow holds kHeldPerFlowMax, or all hold
    /// kHeldPerWorkerMax.
    [[nodiscard]] bool hold(std::uint16_t slot, const HeldPacket& packet) noexcept;
    [[nodiscard]] const FlowKey& key(std::uint16_t slot) const noexcept { return slots_[slot].key; }
    [[nodiscard]] std::span<const HeldPacket> held(std::uint16_t slot) const noexcept {
        return std::span(slots_[slot].held).first(slots_[slot].count);
    }
    void erase(std::uint16_t slot) noexcept;

private:
    static constexpr std::size_t kIndexSlots = kPendingFlowsMax * 2;
    static constexpr std::uint16_t kEmpty = 0xffff;
    static_assert((kIndexSlots & (kIndexSlots - 1)) == 0);

    struct Slot {
        FlowKey key;
        std::uint32_t hash = 0;
        std::uint16_t count = 0;
        std::uint16_t next_free = kEmpty;
        std::array<HeldPacket, kHeldPerFlowMax> held;
    };

    std::array<std::uint16_t, kIndexSlots> index_;  ///< Linear probing by hash.
    std::array<Slot, kPendingFlowsMax> slots_;
    std::uint16_t free_ = 0;
    std::size_t used_ = 0;
    std::size_t packets_ = 0;  ///< Held by all slots.
};

}  // namespace culvert::dataplane
