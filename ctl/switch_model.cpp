// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the control thread's model to a snapshot for workers. Nothing here has an effect outside its
// result.

#include "ctl/switch_model.hpp"

#include <algorithm>
#include <set>

#include "ctl/patches.hpp"
#include "ctl/sa_database.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

using dataplane::BridgeView;
using dataplane::kPortNone;
using dataplane::Listener;
using dataplane::PeerMatch;
using dataplane::PeerTable;
using dataplane::PortView;
using dataplane::Snapshot;
using dataplane::TunnelView;
using dataplane::VlanView;
using tunnels::DropReason;

bool DeviceStatus::follow(const LinkEvent& link) {
    const bool same = enabled == link.enabled && running == link.running;
    link_resets += running != link.running ? 1 : 0;
    enabled = link.enabled;
    running = link.running;
    return !same;
}

SwitchPort* SwitchModel::find_port(const std::string& name, bool local) {
    for (auto& [index, port] : ports) {
        if (port.name == name && (port.role == PortRole::local) == local) {
            return &port;
        }
    }
    return nullptr;
}

std::vector<SwitchPort*> SwitchModel::members_of(const BondConfig& bond) {
    std::vector<SwitchPort*> members(bond.members.size());
    for (auto& [index, port] : ports) {
        if (port.role == PortRole::device && port.config.bond == bond.name) {
            const auto found = std::find(bond.members.begin(), bond.members.end(), port.name);
            if (found != bond.members.end()) {
                members[static_cast<std::size_t>(found - bond.members.begin())] = &port;
            }
        }
    }
    std::erase(members, nullptr);
    return members;
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

std::uint32_t effective_path_mtu(const SwitchPort& tunnel) {
    return tunnel.path_mtu == 0 ? tunnel.resolution.mtu
                                : std::min(tunnel.path_mtu, tunnel.resolution.mtu);
}

namespace {

std::vector<std::byte> options_on_wire(const std::vector<GeneveOption>& options) {
    std::vector<std::byte> bytes;
    for (const GeneveOption& option : options) {
        bytes.push_back(static_cast<std::byte>(option.option_class >> 8U));
        bytes.push_back(static_cast<std::byte>(option.option_class & 0xffU));
        bytes.push_back(static_cast<std::byte>(option.type));
        bytes.push_back(static_cast<std::byte>(option.data.size() / 4));
        for (const std::uint8_t octet : option.data) {
            bytes.push_back(static_cast<std::byte>(octet));
        }
    }
    return bytes;
}

tunnels::EncapTemplate make_template(const SwitchPort& port, std::uint16_t tag) {
    const TunnelConfig& config = port.tunnel;
    const Resolution& resolution = port.resolution;
    const std::vector<std::byte> options = options_on_wire(config.options);
    const bool fragments = config.effective_oversize() == dataplane::Oversize::fragment_outer;
    return tunnels::build_template(
        *tunnels::find_protocol(config.type),
        {.destination = resolution.next_hop_mac, .source = resolution.device.mac, .vlan = tag},
        {.local = resolution.source,
         .remote = config.remote_ip,
         .tos = config.tos,
         .ttl = config.ttl,
         .df = config.df && !fragments,
         .udp_destination = config.dst_port,
         .udp_checksum = config.csum,
         .udp6_zero_checksum = config.udp6_zero_csum_tx,
         .udp_source_min = config.src_port_min,
         .udp_source_max = config.src_port_max},
        {.key = config.out_key_flow ? std::optional(0U) : config.out_key,
         .payload = config.packet_type,
         .checksum = config.csum,
         .sequence = config.seq,
         .nvgre_key = config.nvgre,
         .carry_group_policy = config.gbp,
         .group_policy = config.gbp_id,
         .options = options}
    );
}

/// What does not depend on the next hop.
void set_options(TunnelView& view, const SwitchPort& port) {
    const TunnelConfig& config = port.tunnel;
    view.transmit = {
        .payload = config.packet_type,
        .inherit_tos = config.tos_inherit,
        .inherit_ttl = config.ttl_inherit,
        .ecn = config.ecn,
        .oversize = config.effective_oversize()};
    view.receive = {
        .payload = config.packet_type,
        .admits_group_policy = config.gbp,
        .only_group = config.gbp_admit,
        .udp6_zero_checksum = config.udp6_zero_csum_rx,
        .drop_late = config.late == LatePolicy::drop,
        .known_options = {}};
    for (const GeneveOption& option : config.options) {
        view.receive.known_options.push_back({option.option_class, option.type});
    }
    view.sequence = port.sequence;
}

/// The prebuilt headers of a tunnel and where they go.
TunnelView
make_tunnel_view(const SwitchModel& model, const SlowPath& slow_path, const SwitchPort& port) {
    TunnelView view;
    set_options(view, port);
    const Resolution& resolution = port.resolution;
    if (resolution.state != Resolution::State::resolved) {
        if (resolution.state == Resolution::State::no_route) {
            view.unresolved = port.tunnel.remote_flow ? DropReason::tunnel_no_remote
                                                      : DropReason::tunnel_no_route;
        }
        return view;
    }
    const LocalDevice& local = resolution.device;
    view.out_bridge = local.bridge;
    view.out_vlan = local.vlan;
    view.underlay_mtu = effective_path_mtu(port);
    std::uint16_t tag = dataplane::kVlanNone;
    const auto located = slow_path.locate(local.bridge, {local.vlan, resolution.next_hop_mac});
    if (located) {
        const SwitchPort* out = model.find_port(*located);
        // A next hop behind a tunnel or behind the host itself is no way out.
        if (out == nullptr || (out->role != PortRole::device && out->role != PortRole::bond)) {
            view.unresolved = DropReason::tunnel_no_route;
            return view;
        }
        view.out_port = *located;
        tag = make_vlan_view(out->vlan).tags(local.vlan) ? local.vlan : dataplane::kVlanNone;
        if (out->mtu != 0) {
            view.underlay_mtu = std::min(view.underlay_mtu, out->mtu);
        }
    }
    view.header = make_template(port, tag);
    view.resolved = true;
    return view;
}

/// What makes a tunnel's packets ESP. With no key, or before anything is known of it, it is shut.
void set_encryption(TunnelView& view, const SwitchPort& port, const SaDatabase* associations) {
    view.wire_mtu = view.underlay_mtu;
    if (!port.tunnel.is_encrypted()) {
        return;
    }
    if (associations != nullptr) {
        view.esp = associations->policy_of(port.name);
        view.underlay_mtu = associations->plain_mtu(port.name, view.wire_mtu);
    }
    if (!view.esp) {
        view.esp = std::make_shared<const dataplane::EspPolicy>();
    }
}

/// Whether the packets of a tunnel all come to one worker: no port by which they can arrive is
/// polled by several. Patch ports lead on to the ports of other bridges.
class Arrivals {
public:
    explicit Arrivals(const SwitchModel& model) : joined_(joined_bridges(model)) {
        several_.resize(joined_.size());
        for (const auto& [index, port] : model.ports) {
            const std::vector<unsigned>& workers = port.rx_workers;
            const bool several = port.role == PortRole::device &&
                                 std::any_of(workers.begin(), workers.end(), [&](unsigned worker) {
                                     return worker != workers.front();
                                 });
            if (several) {
                several_[joined_[port.bridge]] = true;
            }
        }
        for (const auto& [index, port] : model.ports) {
            if (port.role == PortRole::local && port.device) {
                anywhere_ = anywhere_ || several_[joined_[port.bridge]];
            }
        }
    }

    [[nodiscard]] bool at_one_worker(const SwitchPort& tunnel) const {
        const bool has_route = tunnel.resolution.state != Resolution::State::no_route;
        const std::uint16_t bridge = tunnel.resolution.device.bridge;
        return has_route && bridge < joined_.size() ? !several_[joined_[bridge]] : !anywhere_;
    }

private:
    std::vector<std::uint16_t> joined_;  ///< By bridge.
    std::vector<bool> several_;          ///< By joined_ of a bridge.
    bool anywhere_ = false;              ///< Of any bridge with a local port.
};

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
    const Arrivals& arrivals,
    const SwitchPort& port,
    const SaDatabase* associations
) {
    const std::uint8_t protocol = *tunnels::find_protocol(port.tunnel.type);
    const auto& outer = tunnels::kProtocols[protocol].outer;
    snapshot.ports[port.index].tunnel = static_cast<std::uint16_t>(snapshot.tunnels.size());
    snapshot.tunnels.push_back(make_tunnel_view(model, slow_path, port));
    set_encryption(snapshot.tunnels.back(), port, associations);
    add_listener(snapshot, {outer.ip_protocol, protocol, port.tunnel.dst_port});
    PeerMatch match;
    match.local = port.tunnel.local_flow ? PeerMatch::Local::flow
                  : port.tunnel.local_ip ? PeerMatch::Local::configured
                                         : PeerMatch::Local::any;
    match.any_remote = port.tunnel.remote_flow;
    match.any_key = port.tunnel.in_key_flow;
    match.nvgre_key = port.tunnel.nvgre;
    peers.push_back(
        {{.local = port.tunnel.local_ip.value_or(tunnels::IpAddress{}),
          .remote = port.tunnel.remote_ip,
          .key = port.tunnel.in_key.value_or(0),
          .udp_port = port.tunnel.dst_port,
          .protocol = protocol,
          .payload = port.tunnel.packet_type},
         port.index,
         match}
    );
    // GRE has no source port by which a NIC could tell inner flows apart, and ESP hides it.
    snapshot.ports[port.index].spread =
        outer.default_udp_port == 0 || port.tunnel.is_encrypted() || arrivals.at_one_worker(port);
    if (port.tunnel.packet_type == tunnels::Payload::ip) {
        snapshot.ports[port.index].is_l3 = true;
    }
}

/// fe80::/10 (RFC 4291 section 2.5.6).
bool is_link_local(const tunnels::IpAddress& address) {
    return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0U) == 0x80;
}

/// What the bridge routes by; null when it has no L3 tunnel or no local port.
std::shared_ptr<const dataplane::L3View>
make_l3_view(const SwitchModel& model, const SwitchBridge& bridge, const HostFacts& facts) {
    if (!bridge.routes) {
        return nullptr;
    }
    const SwitchPort* gateway = nullptr;
    std::map<std::string_view, std::uint16_t> tunnels;
    for (const auto& [index, port] : model.ports) {
        if (port.bridge != bridge.index) {
            continue;
        }
        if (port.role == PortRole::local && port.device) {
            gateway = &port;
        } else if (port.role == PortRole::tunnel) {
            tunnels[port.name] = index;
        }
    }
    if (gateway == nullptr) {
        return nullptr;
    }
    auto view = std::make_shared<dataplane::L3View>();
    std::vector<dataplane::EidMap::Entry> entries;
    for (const EidConfig& eid : bridge.config.eids) {
        dataplane::EidMap::Entry entry{eid.prefix, eid.prefix_bits, {}};
        for (const RlocConfig& rloc : eid.rlocs) {
            const auto found = tunnels.find(rloc.tunnel);
            if (found != tunnels.end()) {
                entry.rlocs.push_back({found->second, rloc.priority, rloc.weight});
            }
        }
        entries.push_back(std::move(entry));
    }
    view->eids = dataplane::EidMap(std::move(entries));
    if (const auto hosts = facts.neighbours.find(gateway->ifindex);
        hosts != facts.neighbours.end()) {
        for (const auto& [host, mac] : hosts->second) {
            view->hosts.insert(host, mac);
        }
    }
    if (const auto subnets = facts.prefixes.find(gateway->ifindex);
        subnets != facts.prefixes.end()) {
        std::vector<dataplane::EidMap::Entry> on_link;
        for (const AddressEvent& subnet : subnets->second) {
            on_link.push_back(
                {dataplane::prefix_of(subnet.address, subnet.prefix_bits), subnet.prefix_bits, {}}
            );
        }
        view->on_link = dataplane::EidMap(std::move(on_link));
    }
    if (const auto own = facts.addresses.find(gateway->ifindex); own != facts.addresses.end()) {
        for (const tunnels::IpAddress& address : own->second) {
            view->gateway.insert(address);
            // Senders are behind tunnels too: an address of the link is the last choice.
            auto& chosen = address.is_v4() ? view->gateway_v4 : view->gateway_v6;
            if (!chosen || (is_link_local(*chosen) && !is_link_local(address))) {
                chosen = address;
            }
        }
    }
    return view;
}

void add_device(Snapshot& snapshot, const SwitchPort& port) {
    PortView& view = snapshot.ports[port.index];
    view.device = port.device;
    view.mtu = port.mtu;
    view.up = port.up;
    if (port.patch_peer != kPortNone) {
        view.patch = port.patch_peer;
        view.carries_offloads = true;
    }
    if (!port.device) {
        return;
    }
    view.carries_offloads = port.device->carries_offloads();
    for (std::size_t queue = 0; queue < port.rx_workers.size(); ++queue) {
        snapshot.rx[port.rx_workers[queue]].push_back(
            {port.device, port.index, static_cast<std::uint16_t>(queue)}
        );
    }
}

/// The bond's port and what it makes of its members', once their views are there.
void add_bond(Snapshot& snapshot, const SwitchPort& port) {
    PortView& view = snapshot.ports[port.index];
    view.bond_role = dataplane::BondRole::bond;
    view.bond = static_cast<std::uint16_t>(snapshot.bonds.size());
    view.mtu = port.mtu;
    view.up = port.up;
    view.carries_offloads = true;
    const BondGroup& group = *port.bond;
    const bool by_lacp =
        group.bond.lacp() != LacpStatus::off || group.bond.config().mode == BondMode::balance_tcp;
    const bool falls_back = group.bond.falls_back();
    for (std::size_t i = 0; i < group.bond.members().size(); ++i) {
        PortView& member = snapshot.ports[group.bond.members()[i].input.port];
        member.bond_role = dataplane::BondRole::member;
        member.bond = view.bond;
        member.vlan = view.vlan;
        member.admits = group.admits[i];
        member.refusal = by_lacp && !falls_back ? DropReason::bond_lacp : DropReason::bond_standby;
        member.takes_lacp = group.lacp.has_value();
        view.carries_offloads = view.carries_offloads && member.carries_offloads;
    }
    snapshot.bonds.push_back(group.view);
}

}  // namespace

std::unique_ptr<Snapshot> build_snapshot(
    const SwitchModel& model,
    const SlowPath& slow_path,
    const HostFacts& facts,
    unsigned workers,
    std::uint64_t version,
    const SaDatabase* associations
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
        snapshot->bridges[bridge.index].l3 = make_l3_view(model, bridge, facts);
    }
    snapshot->ports.resize(model.ports.empty() ? 0 : model.ports.rbegin()->first + 1U);
    std::vector<PeerTable::Peer> peers;
    const Arrivals arrivals(model);
    for (const auto& [index, port] : model.ports) {
        PortView& view = snapshot->ports[index];
        view.bridge = port.bridge;
        view.generation = port.generation;
        view.vlan = make_vlan_view(port.vlan);
        if (!port.config.bond.empty()) {
            view.bridge = kPortNone;
            add_device(*snapshot, port);
            continue;
        }
        BridgeView& bridge = snapshot->bridges[port.bridge];
        bridge.members.push_back(index);
        if (port.role == PortRole::tunnel) {
            add_tunnel(*snapshot, peers, model, slow_path, arrivals, port, associations);
            continue;
        }
        add_device(*snapshot, port);
        if (port.role == PortRole::local && port.device) {
            bridge.terminates_tunnels = true;
            bridge.local_mac = port.mac;
            bridge.local_vlan = untagged_vlan(port.vlan);
            bridge.local_port = index;
        }
    }
    for (const auto& [index, port] : model.ports) {
        if (port.role == PortRole::bond) {
            add_bond(*snapshot, port);
        }
    }
    for (PortView& view : snapshot->ports) {
        if (view.is_l3) {  // Its packets are where their gateway is.
            view.vlan = VlanView{};
            view.vlan.untagged_vlan = snapshot->bridges[view.bridge].local_vlan;
        }
    }
    snapshot->peers = PeerTable(peers);
    if (associations != nullptr) {
        snapshot->associations = associations->table();
    }
    for (const auto& [ifindex, set] : facts.addresses) {
        snapshot->local_addresses.insert(set.begin(), set.end());
    }
    if (model.hold) {
        for (auto& queues : snapshot->rx) {
            queues.clear();
        }
    }
    return snapshot;
}

}  // namespace culvert::ctl
