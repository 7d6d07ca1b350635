// SPDX-License-Identifier: GPL-2.0-or-later
//
// Turns received ESP packets (RFC 4303) of encrypted tunnels back into tunnel packets in clear,
// which carry the mark of the SA that they were opened by (packet_marks.hpp); what else becomes of
// them is decap()'s. ESP packets of the host's own SAs, and IKE, are not touched. Mirror image of
// esp_seal.hpp. Worker threads only.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/bond.hpp"
#include "dataplane/rx.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {

enum class Opening : std::uint8_t {
    other,    ///< Not ESP, or not a tunnel's: it goes on as it is.
    opened,   ///< arrival.packet is a tunnel packet in clear, its head contiguous.
    dropped,  ///< `reason` says why.
    kept,     ///< Its key may arrive yet; arrival.packet is null.
};

/// Opens a packet of any kind but a fragment. Preconditions: those of decap(), and that it was not
/// opened before; `outer` was read from its head and is for this host; the snapshot's associations
/// are not empty. May replace arrival.packet.
[[nodiscard]] Opening open_one(
    Context& context, Arrival& arrival, const tunnels::Outer& outer, DropReason& reason
) noexcept;

/// Opens what is plain ESP in a burst of `port`, whose bridge terminates tunnels, and gives back
/// what goes on, in its order, in `room`: opened packets and all others. The rest has met its
/// verdict, or waits for its key.
[[nodiscard]] std::span<rte_mbuf* const> open_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst, BurstArray& room
) noexcept;

}  // namespace culvert::dataplane
