// SPDX-License-Identifier: GPL-2.0-or-later
//
// Takes a packet out of its tunnel. Mirror image of encap.hpp. Worker threads only.
#pragma once

#include "dataplane/rx.hpp"

namespace culvert::dataplane {

enum class Decap : std::uint8_t {
    not_ours,  ///< No tunnel packet for this host: it goes on as it is.
    dropped,   ///< `reason` says why.
    kept,      ///< Waits for more fragments, or was handed on; arrival.packet is null.
    done,      ///< arrival.packet is the inner frame, arrival.key.in_port its tunnel's port.
};

/// Precondition: the frame is for the local port's MAC address of a bridge that terminates tunnels,
/// and its head is contiguous. `arrival.packet` stays the caller's unless it is null afterwards.
[[nodiscard]] Decap
decap(Context& context, PeerMemo& memo, Arrival& arrival, DropReason& reason) noexcept;

/// The rest of admission for a packet of tunnel port `arrival.key.in_port` whose outer headers were
/// taken off, of the kind that KnownPeers knows: outer ECN, and for a bare IP packet deliver(),
/// then admit_inner(). None, or why it is to be dropped; `arrival.packet` is null when it was
/// handed on.
[[nodiscard]] DropReason
admit_stripped(Context& context, Arrival& arrival, std::uint8_t outer_tos) noexcept;

}  // namespace culvert::dataplane
