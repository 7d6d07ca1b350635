// SPDX-License-Identifier: GPL-2.0-or-later
//
// Puts a frame into a tunnel. Mirror image of decap.hpp. Worker threads only.
#pragma once

#include <span>

#include "dataplane/context.hpp"
#include "tunnels/icmp_error.hpp"
#include "tunnels/inner.hpp"

namespace culvert::dataplane {

/// Sends a frame, tagged as the tunnel port wants it, through the tunnel of port `port`; one whose
/// next hop is not resolved goes to the slow path. What does not fit is treated by the tunnel's
/// Oversize. Takes the packet.
void encap(Context& context, std::uint16_t port, rte_mbuf* frame) noexcept;

/// encap() of several frames, at most kBurstMax, in their order.
void encap_burst(Context& context, std::uint16_t port, std::span<rte_mbuf* const> frames) noexcept;

/// Bytes of IP packet that a tunnel carries without fragments; 0 when not even its headers fit.
[[nodiscard]] std::uint32_t
inner_mtu(const TunnelView& tunnel, const tunnels::Inner& inner, tunnels::Payload payload) noexcept;

/// Lowers the MSS of a TCP SYN to `mtu`. May replace the packet.
void clamp(
    Context& context, rte_mbuf*& packet, const tunnels::Inner& inner, std::uint32_t mtu
) noexcept;

/// Who tells a sender, and where.
struct Reporter {
    std::uint16_t bridge = 0;         ///< Only a frame that came in there is answered.
    std::uint16_t untagged_vlan = 0;  ///< VLAN of the bridge that the frame is in without a tag.
    bool router = false;              ///< Our gateway address is to be the source.
};

/// Tells the sender of `frame` (its head contiguous) why it is not forwarded, within the worker's
/// rate; false when nobody was told. The frame stays the caller's.
bool report(
    Context& context,
    const rte_mbuf* frame,
    const tunnels::Inner& inner,
    tunnels::IcmpError error,
    std::uint32_t mtu,
    const Reporter& reporter
) noexcept;

}  // namespace culvert::dataplane
