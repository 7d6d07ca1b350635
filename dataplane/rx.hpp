// SPDX-License-Identifier: GPL-2.0-or-later
//
// Receive: from frames on a port to flow keys. Mirror image of tx.hpp. What most packets are, whole
// frames without a tag and tunnel packets of peers met before, is read in a few steps; all others
// are parsed, with the same result.
#pragma once

#include <span>

#include "dataplane/batch.hpp"
#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// A packet that waits for its forwarding decision.
struct Arrival {
    rte_mbuf* packet = nullptr;
    bool tagged = false;  ///< The (inner) frame carries a VLAN tag.
    FlowKey key;          ///< `in_port` is the tunnel's port once decapsulated.
};

/// The tunnel of the previous packet of the burst: packets of one peer come in runs.
struct PeerMemo {
    PeerKey key;
    std::uint16_t port = kPortNone;
};

/// Validates the frames that arrived on `port`, takes those out of their tunnel that are for a
/// local endpoint, and adds to `batch`, which is empty, those that need a forwarding decision. The
/// others have met their verdict: dropped, or kept (a fragment that waits for others). Takes the
/// packets, at most kBurstMax.
void admit_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst, Batch& batch
) noexcept;

/// Does the same with a packet of `port` that was held back, and counted when it came.
/// Precondition: `batch` has room.
void admit_late(Context& context, std::uint16_t port, rte_mbuf* packet, Batch& batch) noexcept;

/// The second half of it for one packet: reads the frame `arrival.packet` that came out of the
/// tunnel of port `arrival.key.in_port`. Returns none, or why it is to be dropped; either way the
/// packet is the caller's.
[[nodiscard]] DropReason admit_inner(Context& context, Arrival& arrival) noexcept;

/// Reads the Ethernet addresses of `arrival.packet` and its VLAN by the rules of its port, `view`.
[[nodiscard]] DropReason read_frame(const PortView& view, Arrival& arrival) noexcept;

/// Makes what parsing reads contiguous; packets from the ports here nearly always are. False when
/// no buffer is free.
[[nodiscard]] bool make_head_contiguous(Context& context, rte_mbuf*& packet) noexcept;

}  // namespace culvert::dataplane
