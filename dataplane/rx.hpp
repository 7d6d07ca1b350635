// SPDX-License-Identifier: GPL-2.0-or-later
//
// Receive: from a frame on a port to a flow key. Mirror image of tx.hpp.
#pragma once

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

/// Validates the frame that arrived on `port`, takes it out of its tunnel when it is for a local
/// endpoint, and fills in `arrival`. Returns none, or why it is to be dropped; the drop belongs to
/// `arrival.key.in_port`. Either way `arrival.packet` is the caller's; it is null when the packet
/// was kept (a fragment that waits for others) or needs no forwarding decision.
[[nodiscard]] DropReason admit(
    Context& context, std::uint16_t port, rte_mbuf* packet, PeerMemo& memo, Arrival& arrival
) noexcept;

/// The second half of admit(): reads the frame `arrival.packet` that came out of the tunnel of port
/// `arrival.key.in_port`.
[[nodiscard]] DropReason admit_inner(Context& context, Arrival& arrival) noexcept;

/// Reads the Ethernet addresses of `arrival.packet` and its VLAN by the rules of its port, `view`.
[[nodiscard]] DropReason read_frame(const PortView& view, Arrival& arrival) noexcept;

/// Makes what parsing reads contiguous; packets from the ports here nearly always are. False when
/// no buffer is free.
[[nodiscard]] bool make_head_contiguous(Context& context, rte_mbuf*& packet) noexcept;

}  // namespace culvert::dataplane
