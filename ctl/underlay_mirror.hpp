// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the underlay knows of the kernel's links, addresses and neighbours, as a value: events
// change it, and two of it give the events that lead from one to the other. No system call. Any
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "ctl/underlay.hpp"

namespace culvert::ctl {

/// The present state, as far as it is mirrored.
struct UnderlayMirror {
    std::map<int, LinkEvent> links;
    /// One address may be there with several prefix lengths; `addresses` is the digest.
    std::set<std::tuple<int, tunnels::IpAddress, std::uint8_t>> prefixes;
    std::map<int, std::set<tunnels::IpAddress>> addresses;
    std::map<std::pair<int, tunnels::IpAddress>, NeighbourEvent> neighbours;

    void apply(const NetlinkEvent& event);
};

/// The events that lead from one state to the other: first what went away, leaves before links.
[[nodiscard]] std::vector<NetlinkEvent>
differences(const UnderlayMirror& before, const UnderlayMirror& after);

/// Takes everything that hangs on a link out of the mirror, and returns the removals.
[[nodiscard]] std::vector<NetlinkEvent> detach_link(UnderlayMirror& mirror, int ifindex);

}  // namespace culvert::ctl
