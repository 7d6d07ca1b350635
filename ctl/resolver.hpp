// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a tunnel's packets get to its remote address: the kernel's route must leave by the local port
// of a bridge, and the kernel's neighbour table must know the next hop's MAC address. Control
// thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ctl/config.hpp"
#include "ctl/underlay.hpp"
#include "tunnels/drop_reason.hpp"

namespace culvert::ctl {

/// A bridge's local port, as the resolver needs it.
struct LocalDevice {
    std::uint16_t bridge = 0;
    tunnels::MacAddress mac;
    std::uint32_t mtu = 0;
    std::uint16_t vlan = 0;  ///< The bridge VLAN that the device is in.
};

struct Resolution {
    enum class State : std::uint8_t {
        no_route,      ///< `trouble` says why; packets are dropped.
        no_neighbour,  ///< The next hop's MAC address is being asked for; packets wait.
        resolved,
    };
    State state = State::no_route;
    std::string trouble;
    int ifindex = 0;
    /// The interface by which the kernel's route leaves, also one by which no tunnel can.
    int egress_ifindex = 0;
    tunnels::IpAddress source;
    tunnels::IpAddress next_hop;
    tunnels::MacAddress next_hop_mac;
    bool stale = false;     ///< The kernel has not confirmed the neighbour lately: ask it to.
    std::uint32_t mtu = 0;  ///< Of the route or the local device, the smaller.
    LocalDevice device;

    [[nodiscard]] bool operator==(const Resolution& other) const;
};

/// `locals` by interface index.
[[nodiscard]] Resolution
resolve(const TunnelConfig& tunnel, const std::map<int, LocalDevice>& locals, Underlay& underlay);

}  // namespace culvert::ctl
