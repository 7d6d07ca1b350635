// SPDX-License-Identifier: GPL-2.0-or-later
//
// Transmit: from a forwarding decision to frames on ports. Mirror image of rx.hpp. A drop here
// belongs to the egress port.
#pragma once

#include <span>

#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// Sends `packet`, a frame of bridge VLAN `vlan`, out of `port`: VLAN tag, tunnel or device,
/// offloads, MTU. Takes it.
void output(
    Context& context, std::uint16_t port, rte_mbuf* packet, bool tagged, std::uint16_t vlan
) noexcept;

/// output() of several packets, at most kBurstMax, in their order.
void output_burst(
    Context& context,
    std::uint16_t port,
    std::span<rte_mbuf* const> packets,
    bool tagged,
    std::uint16_t vlan
) noexcept;

/// Sends `packet` to every port of the bridge of `in_port` that carries `vlan`, but not back.
/// Replicas share the payload.
void flood(
    Context& context, std::uint16_t in_port, rte_mbuf* packet, bool tagged, std::uint16_t vlan
) noexcept;

/// Sends a frame as it is out of the device of `port`, or of a member of that bond.
void transmit(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept;

}  // namespace culvert::dataplane
