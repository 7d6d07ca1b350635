// SPDX-License-Identifier: GPL-2.0-or-later
//
// Applies plans. What follows the kernel's events is in switch_events.cpp.

#include "ctl/switch.hpp"

#include <algorithm>
#include <cstring>

#include "ctl/device_check.hpp"
#include "ctl/log.hpp"
#include "ctl/sentence.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

using dataplane::DropReason;
using dataplane::Port;

namespace {

/// The address of the lowest of the bridge's interfaces, as OVS chooses it: unlike a random one it
/// is the same after a restart, so that the neighbours of other hosts stay right. Interfaces that
/// come and go do not count.
std::optional<tunnels::MacAddress>
lowest_port_mac(const DesiredState& state, const std::string& bridge, const Underlay& underlay) {
    std::optional<tunnels::MacAddress> lowest;
    for (const PortConfig& port : state.ports) {
        if (port.bridge != bridge || port.kind != PortKind::linux_interface || port.hotplug) {
            continue;
        }
        const auto link = underlay.link(port.interface);
        if (link && !link->mac.is_zero() && !link->mac.is_group()) {
            lowest = lowest ? std::min(*lowest, link->mac) : link->mac;
        }
    }
    return lowest;
}

/// `to` with an address for each local port that has none configured: the one it has, or
/// lowest_port_mac().
DesiredState
with_local_macs(DesiredState to, const DesiredState& running, const Underlay& underlay) {
    for (BridgeConfig& bridge : to.bridges) {
        if (!bridge.local || bridge.local->mac) {
            continue;
        }
        const auto before = std::find_if(
            running.bridges.begin(),
            running.bridges.end(),
            [&](const BridgeConfig& other) { return other.name == bridge.name && other.local; }
        );
        bridge.local->mac = before != running.bridges.end()
                                ? before->local->mac
                                : lowest_port_mac(to, bridge.name, underlay);
    }
    return to;
}

/// Whether an action can change the local ports, by which every tunnel is resolved.
bool concerns_bridge(const Action& action) {
    return std::holds_alternative<AddBridge>(action) ||
           std::holds_alternative<ChangeBridge>(action) ||
           std::holds_alternative<RemoveBridge>(action);
}

/// What a device is known by: two open ports must not share it.
std::string device_key(const PortConfig& config) {
    return config.kind == PortKind::dpdk ? "dpdk:" + config.devargs : config.interface;
}

}  // namespace

Switch::Switch(const SwitchParts& parts, const DesiredState& running)
    : parts_(parts), running_(running), encryption_(parts.encryption) {
    take_policy(parts_.guard.take());
    parts_.slow_path.on_fdb_change = [this](std::uint16_t bridge, const FdbKey& key) {
        changed_ = changed_ || next_hops_.contains({bridge, key.mac});
    };
    parts_.slow_path.on_unresolved = [this](std::uint16_t tunnel_port) {
        const auto found = model_.ports.find(tunnel_port);
        if (found != model_.ports.end() && found->second.role == PortRole::tunnel) {
            probe(found->second);
        }
    };
    parts_.slow_path.on_unknown_host = [this](
                                           std::uint16_t tunnel_port, const tunnels::IpAddress& host
                                       ) { on_unknown_host(tunnel_port, host); };
    parts_.slow_path.on_path_mtu = [this](const tunnels::IpAddress& remote, std::uint32_t mtu) {
        on_path_mtu(remote, mtu);
    };
    parts_.slow_path.on_lacp = [this](std::uint16_t port, std::span<const std::byte> frame) {
        on_lacp(port, frame);
    };
}

Switch::~Switch() {
    for (auto& [index, port] : model_.ports) {
        if (port.claimed) {
            static_cast<void>(parts_.claims.release(port.config.interface));
        }
        if (!keep_devices_ && port.device && port.config.kind == PortKind::tap) {
            doomed_.push_back(port.ifindex);
        }
    }
    remove_devices();
    parts_.slow_path.on_fdb_change = nullptr;
    parts_.slow_path.on_unresolved = nullptr;
    parts_.slow_path.on_unknown_host = nullptr;
    parts_.slow_path.on_path_mtu = nullptr;
    parts_.slow_path.on_lacp = nullptr;
}

Result<Applied> Switch::apply(const DesiredState& wanted, ApplyMode mode) {
    const DesiredState to = with_local_macs(wanted, running_, parts_.underlay);
    const auto actions = plan(running_, to);
    if (!actions) {
        return tl::unexpected(actions.error());
    }
    keep_devices_ = to.keep_devices;
    lets_go_ = mode == ApplyMode::let_go;
    remove_strays(to);
    Result<Devices> ahead;
    if (mode == ApplyMode::whole) {
        if (auto checked = check_devices(running_, to, parts_.underlay); !checked) {
            return tl::unexpected(checked.error());
        }
        ahead = open_ahead(*actions);
        if (!ahead) {
            return tl::unexpected(ahead.error());
        }
    }
    // From here on the state changes. A device that could not be opened ahead (its predecessor held
    // it) and now fails leaves its port without a device and is reported; everything else is
    // applied.
    std::vector<std::string> done;
    std::string trouble;
    for (const Action& action : *actions) {
        if (const auto executed = execute(action, *ahead); !executed) {
            trouble += (trouble.empty() ? "" : "; ") + executed.error();
        }
        done.push_back(describe(action));
        logger("switch").info("{}", done.back());
    }
    remove_devices();
    set_static_macs();
    running_ = to;
    // Devices made above are new links and addresses: the mirror has to know them before tunnels
    // are resolved.
    on_events(parts_.underlay.read_events());
    resolve_all(std::none_of(actions->begin(), actions->end(), concerns_bridge));
    keep_rules();
    changed_ = encryption_.read_files_anew() || changed_ || !actions->empty() || version_ == 0;
    publish_if_changed();
    return Applied{std::move(done), std::move(trouble)};
}

PortTotals Switch::totals(const SwitchPort& port) const {
    return port_totals(parts_.workers, parts_.slow_path.counters(), port.index).since(port.before);
}

std::map<std::string, std::string> Switch::failures() const {
    std::map<std::string, std::string> failures;
    for (const auto& [index, port] : model_.ports) {
        if (port.has_a_device() && !port.device && !port.trouble.empty()) {
            failures[port.name] = port.trouble;
        }
    }
    return failures;
}

Result<std::unique_ptr<Port>> Switch::open_device(const PortConfig& config) {
    const auto explain = [&](const std::string& error) {
        return tl::unexpected(sentence(config.origin, item("[[port]]", config.name), error));
    };
    Result<std::unique_ptr<Port>> port;
    switch (config.kind) {
    case PortKind::linux_interface:
        port = dataplane::open_linux_port({.interface = config.interface}, parts_.pools);
        break;
    case PortKind::tap:
        port = dataplane::open_tap_port(
            {.name = config.interface, .mac = config.mac, .mtu = config.mtu, .keep = keep_devices_},
            parts_.pools
        );
        break;
    case PortKind::dpdk:
        port = dataplane::open_ethdev_port(
            {.name = config.name,
             .devargs = config.devargs,
             .rx_queues = config.rx_queues,
             .tx_queues = parts_.workers.count(),
             .mtu = config.mtu},
            parts_.pools
        );
        break;
    case PortKind::patch:
        return explain("kind = \"patch\" has no device");
    }
    if (!port) {
        return explain(port.error());
    }
    return port;
}

/// The predecessor's device closes once no worker uses it.
void Switch::wait_for_release(const PortConfig& config) {
    if (released_.contains(device_key(config))) {
        remove_devices();
        wait_for_grace();
        released_.clear();
    }
}

Result<Switch::Devices> Switch::open_ahead(const std::vector<Action>& actions) {
    std::set<std::string> in_use;
    for (const auto& [index, port] : model_.ports) {
        if (port.device) {
            in_use.insert(device_key(port.config));
        }
    }
    Devices devices;
    const auto open = [&](const PortConfig& config) -> Result<void> {
        if (config.kind == PortKind::patch) {
            return {};
        }
        const std::string key = device_key(config);
        const bool waits =
            config.kind == PortKind::linux_interface && !parts_.underlay.link(config.interface);
        if (in_use.contains(key) || waits) {
            return {};
        }
        auto device = open_device(config);
        if (!device) {
            return tl::unexpected(device.error());
        }
        devices[key] = std::move(*device);
        return {};
    };
    for (const Action& action : actions) {
        Result<void> opened;
        if (const auto* port = std::get_if<AddPort>(&action)) {
            opened = open(port->config);
        } else if (const auto* bridge = std::get_if<AddBridge>(&action);
                   bridge != nullptr && bridge->config.local) {
            opened = open(local_port_config(bridge->config));
        } else if (const auto* change = std::get_if<ChangeBridge>(&action);
                   change != nullptr && change->to.local && !change->from.local) {
            opened = open(local_port_config(change->to));
        }
        if (!opened) {
            return tl::unexpected(opened.error());
        }
    }
    return devices;
}

Result<void> Switch::execute(const Action& action, Devices& ahead) {
    return std::visit(
        [&](const auto& a) -> Result<void> {
            using T = std::decay_t<decltype(a)>;
            if constexpr (std::is_same_v<T, AddBridge>) {
                return add_bridge(a.config, ahead);
            } else if constexpr (std::is_same_v<T, ChangeBridge>) {
                return change_bridge(a.from, a.to, ahead);
            } else if constexpr (std::is_same_v<T, RemoveBridge>) {
                remove_bridge(a.name);
            } else if constexpr (std::is_same_v<T, AddPort>) {
                return add_port(a.config, ahead);
            } else if constexpr (std::is_same_v<T, ChangePort>) {
                return change_port(a.from, a.to);
            } else if constexpr (std::is_same_v<T, AddTunnel>) {
                add_tunnel(a.config);
            } else if constexpr (std::is_same_v<T, ChangeTunnel>) {
                change_tunnel(a.to);
            } else if constexpr (std::is_same_v<T, AddBond>) {
                add_bond(a.config);
            } else if constexpr (std::is_same_v<T, ChangeBond>) {
                change_bond(a.from, a.to);
            } else if constexpr (std::is_same_v<T, ChangeRuntime>) {
                log_set_level(a.to.daemon.log_level);
                model_.hold = a.to.hold;
            } else if constexpr (std::is_same_v<T, ChangeFirewall> || std::is_same_v<T, ChangeIke>) {
                changed_ = true;  // By `running_`, once all is done.
            } else {
                remove_port(a.name);
            }
            return {};
        },
        action
    );
}

SwitchPort& Switch::insert_port(
    const std::string& name, PortRole role, const std::string& bridge, const VlanConfig& vlan
) {
    const std::uint16_t index = free_port_index();
    SwitchPort& port = model_.ports[index];
    port.name = name;
    port.index = index;
    port.role = role;
    port.bridge = model_.bridges.at(bridge).index;
    port.vlan = vlan;
    port.generation = ++generation_;
    port.before = port_totals(parts_.workers, parts_.slow_path.counters(), index);
    changed_ = true;
    return port;
}

std::uint16_t Switch::free_port_index() {
    // Lowest free first keeps tables small; going on behind the last one given out keeps an index
    // from meaning two ports within one reload.
    while (model_.ports.contains(next_port_index_)) {
        next_port_index_ =
            static_cast<std::uint16_t>((next_port_index_ + 1U) % dataplane::kPortsMax);
    }
    const std::uint16_t index = next_port_index_;
    next_port_index_ = static_cast<std::uint16_t>((next_port_index_ + 1U) % dataplane::kPortsMax);
    return index;
}

Result<void> Switch::add_port(const PortConfig& config, Devices& ahead) {
    SwitchPort& port = insert_port(config.name, PortRole::device, config.bridge, config.vlan);
    port.config = config;
    if (config.kind == PortKind::patch) {
        port.driver = "patch";
        return {};
    }
    const auto opened = ahead.find(device_key(config));
    if (opened != ahead.end()) {
        auto device = std::move(opened->second);
        ahead.erase(opened);
        attach(port, std::move(device));
        return {};
    }
    if (config.kind == PortKind::linux_interface && !parts_.underlay.link(config.interface)) {
        port.trouble = "the interface " + config.interface + " does not exist";
        return {};
    }
    wait_for_release(config);
    auto device = open_device(config);
    if (!device) {
        port.trouble = device.error();
        return tl::unexpected(device.error());
    }
    attach(port, std::move(*device));
    return {};
}

Result<void> Switch::change_port(const PortConfig& from, const PortConfig& to) {
    SwitchPort& port = *model_.find_port(to.name);
    port.config = to;
    changed_ = true;
    if (from.bridge != to.bridge || from.vlan != to.vlan || from.bond != to.bond ||
        from.peer != to.peer) {
        parts_.slow_path.flush_port(port.bridge, port.index);
        port.bridge = model_.bridges.at(to.bridge).index;
        port.vlan = to.vlan;
        port.generation = ++generation_;
        port.lacp_current.reset();  // A bond's new member has it from the bond.
    }
    if (port.device && from.rx_workers != to.rx_workers) {
        remap_queues(port);
    }
    if (port.device && to.kind == PortKind::linux_interface) {
        update_claim(port, to.claim);
    }
    if (to.mac && from.mac != to.mac && port.ifindex != 0) {
        if (auto set = change_mac(port, *to.mac); !set) {
            return set;
        }
    }
    if (to.mtu && from.mtu != to.mtu && port.ifindex != 0) {
        return parts_.underlay.set_link_mtu(port.ifindex, *to.mtu);
    }
    return {};
}

void Switch::add_tunnel(const TunnelConfig& config) {
    SwitchPort& port = insert_port(config.name, PortRole::tunnel, config.bridge, config.vlan);
    port.tunnel = config;
    port.resolve_due = true;
    port.sequence = std::make_shared<dataplane::TunnelSequence>();
}

void Switch::change_tunnel(const TunnelConfig& to) {
    SwitchPort& port = *model_.find_port(to.name);
    const std::uint16_t bridge = model_.bridges.at(to.bridge).index;
    if (port.bridge != bridge || port.vlan != to.vlan) {
        parts_.slow_path.flush_port(port.bridge, port.index);
        port.bridge = bridge;
        port.vlan = to.vlan;
        port.generation = ++generation_;
    }
    if (port.tunnel.remote_ip != to.remote_ip) {
        port.path_mtu = 0;
        port.sequence = std::make_shared<dataplane::TunnelSequence>();
    }
    if (port.tunnel.packet_type != to.packet_type) {
        // What was learned behind it, or waits for it, is of the other kind.
        parts_.slow_path.flush_port(port.bridge, port.index);
        parts_.slow_path.abandon(port.index, DropReason::port_removed);
        port.generation = ++generation_;
    }
    port.tunnel = to;
    port.resolve_due = true;
    port.probe_at_s = 0;
    port.probe_interval_s = 1;
    changed_ = true;
}

void Switch::remove_port(const std::string& name, bool local) {
    SwitchPort* port = model_.find_port(name, local);
    if (port == nullptr) {
        return;
    }
    if (port->claimed) {
        update_claim(*port, false);
    }
    if (port->device) {
        released_.insert(device_key(port->config));
        if (!lets_go_) {
            port->device->discard();
            if (port->config.kind == PortKind::tap) {
                doomed_.push_back(port->ifindex);
            }
        }
    }
    parts_.slow_path.flush_port(port->bridge, port->index);
    parts_.slow_path.abandon(port->index, DropReason::port_removed);
    model_.ports.erase(port->index);
    changed_ = true;
}

}  // namespace culvert::ctl
