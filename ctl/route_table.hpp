// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's routes of the tables main, local and default, read when somebody wants to see them:
// forwarding asks for one route at a time (route_request.hpp) and keeps no table. Control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/result.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

struct HostRoute {
    tunnels::IpAddress prefix;
    std::uint8_t prefix_bits = 0;
    int ifindex = 0;
    bool local = false;  ///< The address is the host's own.
    std::optional<tunnels::IpAddress> gateway;
    std::optional<tunnels::IpAddress> source;  ///< The preferred one.
    bool operator==(const HostRoute&) const = default;
};

/// Routes shown of a host that has more.
inline constexpr std::size_t kHostRoutesMax = 10000;

/// One RTM_NEWROUTE message; nothing for other messages, and for routes that lead nowhere, over
/// several ways, or are of another table.
[[nodiscard]] std::optional<HostRoute> parse_host_route(std::span<const std::byte> message);

/// At most kHostRoutesMax.
[[nodiscard]] dataplane::Result<std::vector<HostRoute>> read_host_routes();

}  // namespace culvert::ctl
