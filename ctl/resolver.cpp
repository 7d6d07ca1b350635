// SPDX-License-Identifier: GPL-2.0-or-later
//
// Next hops of tunnels. See resolver.hpp.

#include "ctl/resolver.hpp"

#include <algorithm>

#include <linux/neighbour.h>

namespace culvert::ctl {

bool Resolution::operator==(const Resolution& other) const {
    return state == other.state && trouble == other.trouble && ifindex == other.ifindex &&
           egress_ifindex == other.egress_ifindex && source == other.source &&
           next_hop == other.next_hop && next_hop_mac == other.next_hop_mac && mtu == other.mtu &&
           device.bridge == other.device.bridge && device.mac == other.device.mac &&
           device.vlan == other.device.vlan;
}

Resolution
resolve(const TunnelConfig& tunnel, const std::map<int, LocalDevice>& locals, Underlay& underlay) {
    Resolution result;
    if (tunnel.remote_flow) {
        result.trouble = "remote_ip = \"flow\": it receives only";
        return result;
    }
    const auto route = underlay.route(tunnel.remote_ip, tunnel.local_ip, tunnel.egress_mark);
    if (!route) {
        result.trouble = route.error();
        return result;
    }
    if (route->local) {
        result.trouble = tunnel.remote_ip.to_string() + " is an address of this host";
        return result;
    }
    result.egress_ifindex = route->ifindex;
    const auto local = locals.find(route->ifindex);
    if (local == locals.end()) {
        const auto link = underlay.link(route->ifindex);
        result.trouble = "the route to " + tunnel.remote_ip.to_string() + " leaves by " +
                         (link ? link->name : "interface " + std::to_string(route->ifindex)) +
                         ", which is not the local port of a bridge";
        return result;
    }
    result.ifindex = route->ifindex;
    result.source = tunnel.local_ip.value_or(route->source);
    result.next_hop = route->next_hop;
    result.device = local->second;
    result.mtu = result.device.mtu;
    if (route->mtu != 0) {
        result.mtu = std::min(result.mtu, route->mtu);
    }
    const auto neighbour = underlay.neighbour(route->ifindex, route->next_hop);
    if (!neighbour || !neighbour->mac) {
        result.state = Resolution::State::no_neighbour;
        result.trouble = "waiting for the MAC address of " + route->next_hop.to_string();
        return result;
    }
    result.state = Resolution::State::resolved;
    result.next_hop_mac = *neighbour->mac;
    result.stale = (neighbour->state &
                    (NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP | NUD_DELAY | NUD_PROBE)) == 0;
    return result;
}

}  // namespace culvert::ctl
