// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet path through a bond: what may come in by a member, and by which member a packet
// leaves. Worker threads only.
#pragma once

#include <array>
#include <span>

#include "dataplane/context.hpp"

namespace culvert::dataplane {

using BurstArray = std::array<rte_mbuf*, kBurstMax>;

/// Of a burst that arrived at `port`, which is of no bridge, what goes on as the bond's whose
/// member it is; `room` holds them when some do not. The others have met their verdict, or are
/// LACPDUs, which go to the slow path. The burst is of kBurstMax packets at most.
[[nodiscard]] std::span<rte_mbuf* const> admit_by_member(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst, BurstArray& room
) noexcept;

/// output_burst() (tx.hpp) to a bond. Packets of a flow stay in order.
void output_by_bond(
    Context& context,
    std::uint16_t port,
    std::span<rte_mbuf* const> packets,
    bool tagged,
    std::uint16_t vlan
) noexcept;

/// enqueue_burst() (egress.hpp) to a bond; frames have the tag that the bond wants.
void enqueue_by_bond(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> packets
) noexcept;

}  // namespace culvert::dataplane
