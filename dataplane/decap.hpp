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

/// Puts an Ethernet header in front of the IP packet `arrival.packet`, which came out of the L3
/// tunnel of port `arrival.key.in_port`: to the host that has its destination, or to the local port
/// when that is the gateway itself or an EID behind another tunnel. A destination whose MAC address
/// is not known goes to the slow path (kept).
[[nodiscard]] Decap deliver(Context& context, Arrival& arrival, DropReason& reason) noexcept;

}  // namespace culvert::dataplane
