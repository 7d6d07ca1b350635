// SPDX-License-Identifier: GPL-2.0-or-later
//
// Frames for the gateway of a bridge with L3 tunnels: those whose destination an EID prefix covers
// go into a tunnel, as an edge router would send them (RFC 9300 section 4); all others are for the
// host. Worker threads only.
#pragma once

#include <span>

#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// Takes the frames of one flow, at most kBurstMax; those for one tunnel keep their order.
void route_burst(
    Context& context, const FlowKey& key, std::span<rte_mbuf* const> frames, bool tagged
) noexcept;

/// Takes one from the TTL or hop limit of the IP packet at `ip_offset`, whose fixed header is
/// contiguous (RFC 1812 section 5.3.1, RFC 1624). ttl_exceeded when none would be left, no_buffer
/// when it cannot be written. May replace the packet.
[[nodiscard]] DropReason age(Context& context, rte_mbuf*& packet, std::uint32_t ip_offset) noexcept;

}  // namespace culvert::dataplane
