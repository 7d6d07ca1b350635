// SPDX-License-Identifier: GPL-2.0-or-later
//
// What tunnels learn of their paths (path MTU), and bridges with L3 tunnels of their hosts. The
// kernel's neighbours of a bridge's local port are its hosts: the kernel answers ARP and neighbour
// discovery for the gateway, and is asked for hosts that it does not know.

#include <algorithm>
#include <set>

#include <linux/neighbour.h>

#include "ctl/log.hpp"
#include "ctl/switch.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

using dataplane::coarse_clock_s;

namespace {

constexpr std::uint32_t kPathMtuAgeS = 600;        // RFC 1191 section 6.3: 10 minutes.
constexpr std::uint32_t kPathMtuMinV4 = 552;       // Less than Linux believes (ip_no_pmtu_disc(7)).
constexpr std::uint32_t kPathMtuMinV6 = 1280;      // RFC 8201 section 4.
constexpr std::uint32_t kHostProbeIntervalS = 30;  // As long as the kernel calls a host reachable.
constexpr std::size_t kHostProbesPerSecond = 64;

}  // namespace

void Switch::on_path_mtu(const tunnels::IpAddress& remote, std::uint32_t mtu) {
    const std::uint32_t floor = remote.is_v4() ? kPathMtuMinV4 : kPathMtuMinV6;
    const std::uint32_t believed = std::max(mtu, floor);
    for (auto& [index, port] : model_.ports) {
        if (port.role != PortRole::tunnel || port.tunnel.remote_ip != remote ||
            port.resolution.state == Resolution::State::no_route ||
            believed > effective_path_mtu(port)) {
            continue;
        }
        if (believed != port.path_mtu) {
            logger("tunnel").info(
                "{}: the path to {} carries {} bytes", port.name, remote.to_string(), believed
            );
            port.path_mtu = believed;
            changed_ = true;
        }
        port.path_mtu_until_s = coarse_clock_s() + kPathMtuAgeS;
    }
}

void Switch::age_path_mtus(std::uint32_t now_s) {
    for (auto& [index, port] : model_.ports) {
        if (port.path_mtu != 0 && now_s >= port.path_mtu_until_s) {
            port.path_mtu = 0;
            changed_ = true;
        }
    }
}

void Switch::refresh_routing() {
    std::set<std::uint16_t> routing;
    for (const auto& [index, port] : model_.ports) {
        if (port.role == PortRole::tunnel && port.tunnel.packet_type == tunnels::Payload::ip) {
            routing.insert(port.bridge);
        }
    }
    for (auto& [name, bridge] : model_.bridges) {
        const bool routes = routing.contains(bridge.index);
        if (routes == bridge.routes) {
            continue;
        }
        bridge.routes = routes;
        // Flows to the local port are decided anew.
        for (auto& [index, port] : model_.ports) {
            if (port.bridge == bridge.index) {
                port.generation = ++generation_;
            }
        }
    }
}

bool Switch::is_gateway_link(int ifindex) const {
    return std::any_of(model_.ports.begin(), model_.ports.end(), [&](const auto& entry) {
        const SwitchPort& port = entry.second;
        const std::string* name = model_.bridge_name(port.bridge);
        return port.role == PortRole::local && port.ifindex == ifindex && name != nullptr &&
               model_.bridges.at(*name).routes;
    });
}

/// Whether workers should know of a neighbour's event: most only say that it is still there.
bool Switch::changes_hosts(const NeighbourEvent& event) const {
    for (const auto& [index, port] : model_.ports) {
        if (port.role != PortRole::local || port.ifindex != event.ifindex ||
            !is_gateway_link(port.ifindex)) {
            continue;
        }
        const dataplane::Snapshot* snapshot = parts_.slow_path.snapshot();
        const auto& l3 = snapshot == nullptr || port.bridge >= snapshot->bridges.size()
                             ? nullptr
                             : snapshot->bridges[port.bridge].l3;
        if (!l3) {
            return true;
        }
        const tunnels::MacAddress* known = l3->hosts.find(event.address);
        return event.mac ? known == nullptr || *known != *event.mac : known != nullptr;
    }
    return false;
}

HostFacts Switch::host_facts() const {
    HostFacts facts;
    facts.addresses = parts_.underlay.addresses();
    std::set<std::uint16_t> routing;
    for (const auto& [name, bridge] : model_.bridges) {
        if (bridge.routes) {
            routing.insert(bridge.index);
        }
    }
    for (const auto& [index, port] : model_.ports) {
        if (port.role != PortRole::local || !routing.contains(port.bridge)) {
            continue;
        }
        facts.prefixes[port.ifindex] = parts_.underlay.prefixes(port.ifindex);
        auto& hosts = facts.neighbours[port.ifindex];
        for (const NeighbourEvent& neighbour : parts_.underlay.neighbours(port.ifindex)) {
            if (neighbour.mac && !neighbour.mac->is_group() && !neighbour.mac->is_zero()) {
                hosts.emplace(neighbour.address, *neighbour.mac);
            }
        }
    }
    return facts;
}

void Switch::on_unknown_host(std::uint16_t tunnel_port, const tunnels::IpAddress& host) {
    const auto tunnel = model_.ports.find(tunnel_port);
    if (tunnel == model_.ports.end()) {
        return;
    }
    const std::uint16_t bridge = tunnel->second.bridge;
    const SwitchPort* gateway = model_.local_port(bridge);
    const auto route = parts_.underlay.route(host, std::nullopt);
    // Another gateway behind the bridge, or another link, is no business of this bridge.
    if (gateway == nullptr || !route || route->local || route->ifindex != gateway->ifindex ||
        route->next_hop != host) {
        parts_.slow_path.abandon_host(bridge, host);
        return;
    }
    const auto known = parts_.underlay.neighbour(gateway->ifindex, host);
    if (known && known->mac) {
        changed_ = true;  // Learnt since the worker asked: the next snapshot has it.
        return;
    }
    parts_.underlay.probe_neighbour(gateway->ifindex, host);
}

/// Traffic that passes the kernel by does not tell it that a host is still there.
void Switch::probe_stale_hosts() {
    if (coarse_clock_s() % kHostProbeIntervalS != 0) {
        return;
    }
    std::size_t probes = 0;
    for (const auto& [index, port] : model_.ports) {
        if (port.role != PortRole::local || !is_gateway_link(port.ifindex)) {
            continue;
        }
        for (const NeighbourEvent& neighbour : parts_.underlay.neighbours(port.ifindex)) {
            if (neighbour.mac && (neighbour.state & NUD_STALE) != 0 &&
                ++probes <= kHostProbesPerSecond) {
                parts_.underlay.probe_neighbour(port.ifindex, neighbour.address);
            }
        }
    }
}

}  // namespace culvert::ctl
