// SPDX-License-Identifier: GPL-2.0-or-later
//
// "How does the host reach this address", asked of the kernel (RTM_GETROUTE, rtnetlink(7)), so that
// every table, rule, metric and nexthop counts as the kernel counts it. Control thread only.
#pragma once

#include <optional>

#include "ctl/netlink_talk.hpp"
#include "ctl/underlay.hpp"

namespace culvert::ctl {

/// The error is a sentence that names the destination and the kernel's answer.
[[nodiscard]] Result<Route> request_route(
    NetlinkTalker& talker,
    const tunnels::IpAddress& destination,
    const std::optional<tunnels::IpAddress>& source,
    std::uint32_t mark
);

/// The source address that the kernel gives to a UDP socket connected to `destination`, for
/// answers that name none. No packet is sent. `ifindex` counts for link-local destinations.
[[nodiscard]] std::optional<tunnels::IpAddress>
source_of_socket(const tunnels::IpAddress& destination, int ifindex);

}  // namespace culvert::ctl
