// SPDX-License-Identifier: GPL-2.0-or-later
//
// Trains: UDP super-frames that hold many packets of one tunnel flow, as another Culvert's Linux
// port sends them over a veth pair or a virtio device (bundle.hpp). They are cut into tunnel
// packets before anything else looks at them. UDP super-frames that are not for a tunnel endpoint
// here (a guest's QUIC) are not touched. Worker threads only.
#pragma once

#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// Carries a burst of `port` to its verdicts (process_burst()), trains cut. Takes the packets.
void process_received(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst
) noexcept;

}  // namespace culvert::dataplane
