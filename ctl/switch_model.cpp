// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the control thread's model to a snapshot for workers. Nothing here has an effect outside its
// result.

#include "ctl/switch_model.hpp"

#include <algorithm>

#include "tunnels/encap.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

using dataplane::BridgeView;
using dataplane::kPortNone;
using dataplane::Listener;
using dataplane::PeerTable;
using dataplane::PortView;
using dataplane::Snapshot;
using dataplane::TunnelView;
using dataplane::VlanView;
using tunnels::DropReason;

SwitchPort* SwitchModel::find_port(const std::string& name, bool local) {
    for (auto& [index, port] : ports) {
        if (port.name == name && (port.role == PortRole::local) == local) {
            return &port;
        }
    }
    return nullptr;
}

const SwitchPort* SwitchModel::find_port(std::uint16_t index) const {
    const auto found = ports.find(index);
    return found == ports.end() ? nullptr : &found->second;
}

const std::string* SwitchModel::bridge_name(std::uint16_t index) const {
    for (const auto& [name, bridge] : bridges) {
        if (bridge.index == index) {
            return &name;
        }
    }
    return nullptr;
}

SwitchPort* SwitchModel::local_port(std::uint16_t bridge) {
    for (auto& [index, port] : ports) {
        if (port.role == PortRole::local && port.bridge == bridge) {
            return &port;
        }
    }
    return nullptr;
}

std::map<int, LocalDevice> SwitchModel::local_devices() const {
    std::map<int, LocalDevice> devices;
    for (const auto& [index, port] : ports) {
        if (port.role == PortRole::local && port.device) {
            devices[port.ifindex] = {port.bridge, port.mac, port.mtu, untagged_vlan(port.vlan)};
        }
    }
    return devices;
}

std::uint16_t untagged_vlan(const VlanConfig& config) {
    return config.mode == VlanMode::trunk ? dataplane::kVlanNone : config.tag;
}

VlanView make_vlan_view(const VlanConfig& config) {
    VlanView view;
    view.untagged_vlan = untagged_vlan(config);
    view.accept_tagged = config.mode != VlanMode::access;
    view.send_untagged_vlan_tagged = config.mode == VlanMode::native_tagged;
    if (config.mode == VlanMode::access || !config.trunks.empty()) {
        auto carried = std::make_shared<std::bitset<4096>>();
        for (const std::uint16_t vlan : config.trunks) {
            carried->set(vlan);
        }
        if (config.mode != VlanMode::trunk) {
            carried->set(config.tag);
        }
        view.carried = std::move(carried);
    }
    return view;
}

namespace {

/// The prebuilt headers of a tunnel and where they go.
TunnelView
make_tunnel_view(const SwitchModel& model, const SlowPath& slow_path, const SwitchPort& port) {
    TunnelView view;
    const Resolution& resolution = port.resolution;
    if (resolution.state != Resolution::State::resolved) {
        view.unresolved = resolution.state == Resolution::State::no_route
                              ? DropReason::tunnel_no_route
                              : DropReason::none;
        return view;
    }
    const LocalDevice& local = resolution.device;
    view.out_bridge = local.bridge;
    view.out_vlan = local.vlan;
    view.underlay_mtu = resolution.mtu;
    std::uint16_t tag = dataplane::kVlanNone;
    const auto located = slow_path.locate(local.bridge, {local.vlan, resolution.next_hop_mac});
    if (located) {
        const SwitchPort* out = model.find_port(*located);
        // A next hop behind a tunnel or behind the host itself is no way out.
        if (out == nullptr || out->role != PortRole::device) {
            view.unresolved = DropReason::tunnel_no_route;
            return view;
        }
        view.out_port = *located;
        tag = make_vlan_view(out->vlan).tags(local.vlan) ? local.vlan : dataplane::kVlanNone;
        if (out->mtu != 0) {
            view.underlay_mtu = std::min(view.underlay_mtu, out->mtu);
        }
    }
    const TunnelConfig& config = port.tunnel;
    view.header = tunnels::build_template(
        *tunnels::find_protocol(config.type),
        {.destination = resolution.next_hop_mac, .source = local.mac, .vlan = tag},
        {.local = resolution.source,
         .remote = config.remote_ip,
         .tos = config.tos,
         .ttl = config.ttl,
         .df = config.df,
         .udp_destination = config.dst_port,
         .udp_checksum = config.csum},
        {.key = config.out_key}
    );
    view.resolved = true;
    return view;
}

void add_listener(Snapshot& snapshot, const Listener& listener) {
    for (const Listener& known : snapshot.listeners) {
        if (known.protocol == listener.protocol && known.udp_port == listener.udp_port) {
            return;
        }
    }
    snapshot.listeners.push_back(listener);
}

void add_tunnel(
    Snapshot& snapshot,
    std::vector<PeerTable::Peer>& peers,
    const SwitchModel& model,
    const SlowPath& slow_path,
    const SwitchPort& port
) {
    const std::uint8_t protocol = *tunnels::find_protocol(port.tunnel.type);
    const auto& outer = tunnels::kProtocols[protocol].outer;
    snapshot.ports[port.index].tunnel = static_cast<std::uint16_t>(snapshot.tunnels.size());
    snapshot.tunnels.push_back(make_tunnel_view(model, slow_path, port));
    add_listener(snapshot, {outer.ip_protocol, protocol, port.tunnel.dst_port});
    peers.push_back(
        {{.local = port.tunnel.local_ip.value_or(tunnels::IpAddress{}),
          .remote = port.tunnel.remote_ip,
          .key = port.tunnel.in_key.value_or(0),
          .udp_port = port.tunnel.dst_port,
          .protocol = protocol},
         port.index}
    );
}

void add_device(Snapshot& snapshot, const SwitchPort& port, unsigned workers) {
    PortView& view = snapshot.ports[port.index];
    view.device = port.device;
    view.mtu = port.mtu;
    view.up = port.up;
    if (!port.device) {
        return;
    }
    view.carries_offloads = port.device->carries_offloads();
    const unsigned queues = port.device->info().rx_queues;
    for (unsigned queue = 0; queue < queues; ++queue) {
        // A port keeps its worker however many others come and go.
        snapshot.rx[(port.index + queue) % workers].push_back(
            {port.device, port.index, static_cast<std::uint16_t>(queue)}
        );
    }
}

}  // namespace

std::unique_ptr<Snapshot> build_snapshot(
    const SwitchModel& model,
    const SlowPath& slow_path,
    const std::map<int, std::set<tunnels::IpAddress>>& addresses,
    unsigned workers,
    std::uint64_t version
) {
    auto snapshot = std::make_unique<Snapshot>();
    snapshot->version = version;
    snapshot->rx.resize(workers);
    std::uint16_t bridges = 0;
    for (const auto& [name, bridge] : model.bridges) {
        bridges = std::max<std::uint16_t>(bridges, bridge.index + 1U);
    }
    snapshot->bridges.resize(bridges);
    for (const auto& [name, bridge] : model.bridges) {
        snapshot->bridges[bridge.index].split_horizon = bridge.config.split_horizon;
    }
    snapshot->ports.resize(model.ports.empty() ? 0 : model.ports.rbegin()->first + 1U);
    std::vector<PeerTable::Peer> peers;
    for (const auto& [index, port] : model.ports) {
        PortView& view = snapshot->ports[index];
        view.bridge = port.bridge;
        view.generation = port.generation;
        view.vlan = make_vlan_view(port.vlan);
        BridgeView& bridge = snapshot->bridges[port.bridge];
        bridge.members.push_back(index);
        if (port.role == PortRole::tunnel) {
            add_tunnel(*snapshot, peers, model, slow_path, port);
            continue;
        }
        add_device(*snapshot, port, workers);
        if (port.role == PortRole::local && port.device) {
            bridge.terminates_tunnels = true;
            bridge.local_mac = port.mac;
            bridge.local_vlan = untagged_vlan(port.vlan);
        }
    }
    snapshot->peers = PeerTable(peers);
    for (const auto& [ifindex, set] : addresses) {
        snapshot->local_addresses.insert(set.begin(), set.end());
    }
    return snapshot;
}

}  // namespace culvert::ctl
