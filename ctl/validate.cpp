// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cross-item checks of a desired state. Each check walks the items in the order of the file and
// names the later of two that collide, with the place of the earlier one. Values of a single item
// (ranges, forms) were checked by whoever read it. Control thread.
#include "ctl/validate.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctl/config_words.hpp"
#include "ctl/identity.hpp"
#include "ctl/sentence.hpp"
#include "ctl/tunnel_options.hpp"
#include "ctl/validate_esp.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

/// An item as messages name it.
struct Subject {
    std::string text;
    const Origin* origin;
};

template <class Item>
Subject subject(const Section& section, const Item& named) {
    return {item(section.title(), named.name), &named.origin};
}

tl::unexpected<std::string> failure(const Subject& about, std::string_view text) {
    return tl::unexpected(sentence(*about.origin, about.text, text));
}

/// `[[port]] "p1" (file:3)`.
std::string with_place(const Subject& about) {
    const std::string where = place(*about.origin);
    return where.empty() ? about.text : about.text + " (" + where + ")";
}

/// Bridges, ports and tunnels, each with its subject: `visit(name, subject)`.
template <class Visit>
Result<void> for_each_name(const DesiredState& state, Visit visit) {
    Result<void> result;
    const auto visit_all = [&](const Section& section, const auto& items) {
        for (const auto& named : items) {
            if (result) {
                result = visit(named.name, subject(section, named));
            }
        }
    };
    visit_all(kBridgeSection, state.bridges);
    visit_all(kPortSection, state.ports);
    visit_all(kBondSection, state.bonds);
    visit_all(kTunnelSection, state.tunnels);
    return result;
}

Result<void> check_names(const DesiredState& state) {
    std::map<std::string_view, Subject> seen;
    return for_each_name(state, [&](const std::string& name, const Subject& about) -> Result<void> {
        const auto [earlier, added] = seen.emplace(name, about);
        if (!added) {
            return failure(
                about,
                "the name is taken by " + with_place(earlier->second) +
                    "; valid: a name that no other bridge, port, bond or tunnel has"
            );
        }
        return {};
    });
}

/// Receive queues of the port as far as the file says; nothing when the device decides.
std::optional<std::size_t> rx_queues_of(const PortConfig& port) {
    if (port.kind != PortKind::dpdk) {
        return 1;
    }
    return port.rx_queues == 0 ? std::nullopt : std::optional<std::size_t>(port.rx_queues);
}

Result<void> check_rx_workers(const DesiredState& state) {
    const std::uint32_t threads = state.workers.threads();
    for (const PortConfig& port : state.ports) {
        const Subject about = subject(kPortSection, port);
        const auto beyond =
            std::find_if(port.rx_workers.begin(), port.rx_workers.end(), [&](unsigned worker) {
                return worker >= threads;
            });
        if (beyond != port.rx_workers.end()) {
            return failure(
                about,
                "rx_workers names worker " + std::to_string(*beyond) + ", but [workers] makes " +
                    std::to_string(threads) +
                    "; valid: " + (threads == 1 ? "0" : "0-" + std::to_string(threads - 1))
            );
        }
        const auto queues = rx_queues_of(port);
        if (queues && port.rx_workers.size() > *queues) {
            return failure(
                about,
                "rx_workers lists " + std::to_string(port.rx_workers.size()) +
                    " workers, but the port has " + std::to_string(*queues) +
                    (*queues == 1 ? " receive queue" : " receive queues") +
                    "; valid: at most one worker for each queue"
            );
        }
    }
    return {};
}

/// A peer that does not exist, or names another one, is no error: the port is down until it does.
Result<void> check_patches(const DesiredState& state) {
    for (const PortConfig& port : state.ports) {
        if (port.kind == PortKind::patch && port.peer == port.name) {
            return failure(
                subject(kPortSection, port),
                "peer = " + quote(port.peer) +
                    " is the port itself; valid: the name of another patch port"
            );
        }
    }
    return {};
}

Result<void> check_counts(const DesiredState& state) {
    const auto locals =
        std::count_if(state.bridges.begin(), state.bridges.end(), [](const BridgeConfig& bridge) {
            return bridge.local.has_value();
        });
    const std::size_t ports = state.ports.size() + state.bonds.size() + state.tunnels.size() +
                              static_cast<std::size_t>(locals);
    if (ports > dataplane::kPortsMax) {
        return tl::unexpected(
            "the configuration has " + std::to_string(ports) +
            " ports, bonds, tunnels and local ports; valid: at most " +
            std::to_string(dataplane::kPortsMax) + " together"
        );
    }
    if (state.bridges.size() > dataplane::kBridgesMax) {
        return failure(
            subject(kBridgeSection, state.bridges[dataplane::kBridgesMax]),
            "is one bridge too many; valid: at most " + std::to_string(dataplane::kBridgesMax)
        );
    }
    return {};
}

Result<void> check_bridge_references(const DesiredState& state) {
    std::vector<std::string_view> bridges;
    for (const BridgeConfig& bridge : state.bridges) {
        bridges.emplace_back(bridge.name);
    }
    std::sort(bridges.begin(), bridges.end());
    const auto check = [&](const Section& section, const auto& member) -> Result<void> {
        if (std::binary_search(bridges.begin(), bridges.end(), std::string_view(member.bridge))) {
            return {};
        }
        return failure(
            subject(section, member),
            "bridge = " + quote(member.bridge) + " does not exist; valid: " +
                (bridges.empty() ? "a [[bridge]], of which there is none" : listing(bridges))
        );
    };
    for (const PortConfig& port : state.ports) {
        if (Result<void> result = check(kPortSection, port); !result) {
            return result;
        }
    }
    for (const BondConfig& bond : state.bonds) {
        if (Result<void> result = check(kBondSection, bond); !result) {
            return result;
        }
    }
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (Result<void> result = check(kTunnelSection, tunnel); !result) {
            return result;
        }
    }
    return {};
}

Result<void> check_devices(const DesiredState& state) {
    std::map<std::string, Subject> interfaces;
    std::map<std::string, Subject> ethdevs;
    for (const BridgeConfig& bridge : state.bridges) {
        if (bridge.local) {
            interfaces.emplace(bridge.name, subject(kBridgeSection, bridge));
        }
    }
    for (const PortConfig& port : state.ports) {
        if (port.kind == PortKind::patch) {
            continue;
        }
        const bool is_dpdk = port.kind == PortKind::dpdk;
        const std::string device = is_dpdk ? device_of(port.devargs) : port.interface;
        const Subject about = subject(kPortSection, port);
        const auto [earlier, added] = (is_dpdk ? ethdevs : interfaces).emplace(device, about);
        if (!added) {
            return failure(
                about,
                (is_dpdk ? "devargs = " + quote(port.devargs)
                         : "interface = " + quote(port.interface)) +
                    " is the device of " + with_place(earlier->second) +
                    "; valid: a device that nothing else uses"
            );
        }
    }
    return {};
}

/// receive_match() in words.
std::string receive_text(const TunnelConfig& tunnel) {
    std::string text(tunnel.type);
    text += tunnel.packet_type == tunnels::Payload::ip ? " (l3)" : "";
    text += " from " + (tunnel.remote_flow ? "any peer" : tunnel.remote_ip.to_string());
    text += tunnel.dst_port == 0 ? "" : " to UDP port " + std::to_string(tunnel.dst_port);
    const std::uint32_t key = tunnel.in_key.value_or(0);
    if (tunnel.in_key_flow) {
        text += " with any key";
    } else if (tunnel.nvgre) {
        text += " with VSID " + std::to_string(key);
    } else {
        text += " with key " + std::to_string(key) + (key == 0 ? " or none" : "");
    }
    text += " for " + (tunnel.local_ip ? tunnel.local_ip->to_string() : "any local address");
    return text + (tunnel.local_flow ? " (flow)" : "");
}

Result<void> check_tunnels(const DesiredState& state) {
    std::map<decltype(receive_match(state.tunnels.front())), const TunnelConfig*> seen;
    for (const TunnelConfig& tunnel : state.tunnels) {
        const auto [earlier, added] = seen.emplace(receive_match(tunnel), &tunnel);
        if (!added) {
            return failure(
                subject(kTunnelSection, tunnel),
                "takes the same packets as " +
                    with_place(subject(kTunnelSection, *earlier->second)) + ": " +
                    receive_text(tunnel) +
                    "; valid: tunnels that differ in type, packet_type, remote_ip, local_ip, "
                    "in_key or dst_port"
            );
        }
    }
    return {};
}

Result<void> check_member(const BondConfig& bond, const PortConfig& port) {
    const Subject about = subject(kBondSection, bond);
    const std::string member = "member " + quote(port.name);
    if (port.bond != bond.name) {
        return failure(
            about, member + " is one of bond " + quote(port.bond) + "; valid: each port in one bond"
        );
    }
    if (port.bridge != bond.bridge) {
        return failure(
            about,
            member + " has bridge = " + quote(port.bridge) + "; valid: the bond's, " +
                quote(bond.bridge)
        );
    }
    if (port.kind == PortKind::patch) {
        return failure(about, member + " is a patch port; valid: ports with a device");
    }
    if (port.vlan != VlanConfig{}) {
        return failure(
            about, member + " has VLAN keys of its own; valid: VLAN keys of the bond only"
        );
    }
    return {};
}

Result<void> check_bonds(const DesiredState& state) {
    std::map<std::string_view, const PortConfig*> ports;
    for (const PortConfig& port : state.ports) {
        ports.emplace(port.name, &port);
    }
    for (const BondConfig& bond : state.bonds) {
        const Subject about = subject(kBondSection, bond);
        std::set<std::string_view> seen;
        for (const std::string& name : bond.members) {
            const auto found = ports.find(name);
            if (found == ports.end()) {
                return failure(
                    about, "member " + quote(name) + " does not exist; valid: names of [[port]]"
                );
            }
            if (!seen.insert(name).second) {
                return failure(about, "member " + quote(name) + " is listed twice; valid: once");
            }
            if (Result<void> result = check_member(bond, *found->second); !result) {
                return result;
            }
        }
    }
    return {};
}

/// What a UDP port carries is known before the tunnel is.
Result<void> check_udp_ports(const DesiredState& state) {
    std::map<std::uint16_t, const TunnelConfig*> seen;
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (tunnel.dst_port == 0) {
            continue;
        }
        const TunnelConfig& first = *seen.emplace(tunnel.dst_port, &tunnel).first->second;
        const std::string where = with_place(subject(kTunnelSection, first));
        const std::string port = "dst_port = " + std::to_string(tunnel.dst_port);
        if (first.type != tunnel.type) {
            std::string text = port;
            text += " is that of " + where + " with type = " + quote(first.type);
            return failure(
                subject(kTunnelSection, tunnel), text + "; valid: a UDP port for each type"
            );
        }
        if (first.gbp != tunnel.gbp) {
            std::string text = tunnel.gbp ? "gbp = true" : "gbp = false";
            text.append(" differs from ").append(where).append(", which has ").append(port);
            text += " too";
            return failure(
                subject(kTunnelSection, tunnel),
                text + "; valid: the same gbp in all tunnels of a UDP port"
            );
        }
    }
    return {};
}

/// The names of the ports and tunnels of each bridge; a local port counts under its bridge's name.
std::map<std::string_view, std::vector<std::string_view>> members_of(const DesiredState& state) {
    std::map<std::string_view, std::vector<std::string_view>> members;
    for (const BridgeConfig& bridge : state.bridges) {
        if (bridge.local) {
            members[bridge.name].emplace_back(bridge.name);
        }
    }
    for (const PortConfig& port : state.ports) {
        if (port.bond.empty()) {
            members[port.bridge].emplace_back(port.name);
        }
    }
    for (const BondConfig& bond : state.bonds) {
        members[bond.bridge].emplace_back(bond.name);
    }
    for (const TunnelConfig& tunnel : state.tunnels) {
        members[tunnel.bridge].emplace_back(tunnel.name);
    }
    return members;
}

Result<void> check_static_macs(const BridgeConfig& bridge, std::vector<std::string_view> members) {
    std::sort(members.begin(), members.end());
    std::map<std::pair<tunnels::MacAddress, std::uint16_t>, const StaticMac*> seen;
    for (const StaticMac& entry : bridge.static_macs) {
        const Subject about{kStaticMacSection.title() + " of " + quote(bridge.name), &entry.origin};
        if (!std::binary_search(members.begin(), members.end(), std::string_view(entry.port))) {
            return failure(
                about,
                "port = " + quote(entry.port) + " is no port of this bridge; valid: " +
                    (members.empty() ? "one of its ports, of which there is none" : listing(members)
                    )
            );
        }
        const auto [earlier, added] = seen.emplace(std::pair(entry.mac, entry.vlan), &entry);
        if (!added) {
            const std::string where = place(earlier->second->origin);
            return failure(
                about,
                "mac = " + quote(entry.mac.to_string()) + " stands twice in VLAN " +
                    std::to_string(entry.vlan) + (where.empty() ? "" : " (also " + where + ")") +
                    "; valid: each address once in a VLAN"
            );
        }
    }
    return {};
}

Result<void> check_all_static_macs(const DesiredState& state) {
    const auto members = members_of(state);
    for (const BridgeConfig& bridge : state.bridges) {
        const auto found = members.find(bridge.name);
        Result<void> result = check_static_macs(
            bridge, found == members.end() ? std::vector<std::string_view>{} : found->second
        );
        if (!result) {
            return result;
        }
    }
    return {};
}

/// The tunnels of each bridge over which EIDs can be reached.
std::map<std::string_view, std::vector<std::string_view>> rlocs_of(const DesiredState& state) {
    std::map<std::string_view, std::vector<std::string_view>> rlocs;
    for (const TunnelConfig& tunnel : state.tunnels) {
        // Without a remote address nothing can be sent.
        if (tunnel.packet_type == tunnels::Payload::ip && !tunnel.remote_flow) {
            rlocs[tunnel.bridge].emplace_back(tunnel.name);
        }
    }
    for (auto& [bridge, names] : rlocs) {
        std::sort(names.begin(), names.end());
    }
    return rlocs;
}

Result<void> check_rlocs(
    const EidConfig& eid, const Subject& about, const std::vector<std::string_view>& valid
) {
    std::set<std::string_view> seen;
    for (const RlocConfig& rloc : eid.rlocs) {
        const std::string text = "prefix = " + quote(prefix_text(eid)) +
                                 " has an RLOC with tunnel = " + quote(rloc.tunnel);
        if (!std::binary_search(valid.begin(), valid.end(), std::string_view(rloc.tunnel))) {
            return failure(
                about,
                text +
                    ", which is no tunnel of this bridge with packet_type = \"l3\" and a "
                    "remote_ip; valid: " +
                    (valid.empty() ? "one of these, of which there is none" : listing(valid))
            );
        }
        if (!seen.insert(rloc.tunnel).second) {
            return failure(about, text + " twice; valid: each tunnel once");
        }
    }
    return {};
}

Result<void>
check_bridge_eids(const BridgeConfig& bridge, const std::vector<std::string_view>& valid) {
    std::map<std::pair<tunnels::IpAddress, std::uint8_t>, const EidConfig*> seen;
    for (const EidConfig& eid : bridge.eids) {
        const Subject about{kEidSection.title() + " of " + quote(bridge.name), &eid.origin};
        const std::string prefix = "prefix = " + quote(prefix_text(eid));
        if (!bridge.local) {
            return failure(
                about,
                prefix + " needs a local port, which is the gateway to it; valid: a bridge with "
                         "[bridge.local]"
            );
        }
        const auto [earlier, added] = seen.emplace(std::pair(eid.prefix, eid.prefix_bits), &eid);
        if (!added) {
            const std::string where = place(earlier->second->origin);
            return failure(
                about,
                prefix + " stands twice" + (where.empty() ? "" : " (also " + where + ")") +
                    "; valid: each prefix once in a bridge"
            );
        }
        if (Result<void> result = check_rlocs(eid, about, valid); !result) {
            return result;
        }
    }
    return {};
}

Result<void> check_eids(const DesiredState& state) {
    auto rlocs = rlocs_of(state);
    for (const BridgeConfig& bridge : state.bridges) {
        if (Result<void> result = check_bridge_eids(bridge, rlocs[bridge.name]); !result) {
            return result;
        }
    }
    return {};
}

}  // namespace

Result<void> validate(const DesiredState& state) {
    for (const auto check :
         {check_counts,
          check_names,
          check_bridge_references,
          check_devices,
          check_patches,
          check_rx_workers,
          check_bonds,
          check_tunnels,
          check_udp_ports,
          check_all_static_macs,
          check_eids,
          validate_encryption}) {
        if (Result<void> result = check(state); !result) {
            return result;
        }
    }
    return {};
}

}  // namespace culvert::ctl
