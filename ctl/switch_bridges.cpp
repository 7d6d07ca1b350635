// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of Switch that makes, changes and removes bridges and their local ports.

#include <algorithm>
#include <set>

#include "ctl/device_check.hpp"
#include "ctl/log.hpp"
#include "ctl/sentence.hpp"
#include "ctl/switch.hpp"

namespace culvert::ctl {

using dataplane::Port;

PortConfig local_port_config(const BridgeConfig& bridge) {
    PortConfig config;
    config.name = bridge.name;
    config.bridge = bridge.name;
    config.kind = PortKind::tap;
    config.interface = bridge.name;
    config.vlan = bridge.local->vlan;
    config.mac = bridge.local->mac;
    config.mtu = bridge.local->mtu;
    config.origin = bridge.origin;
    return config;
}

Result<void> Switch::add_bridge(const BridgeConfig& config, Devices& ahead) {
    std::set<std::uint16_t> taken;
    for (const auto& [name, bridge] : model_.bridges) {
        taken.insert(bridge.index);
    }
    std::uint16_t index = 0;
    while (taken.contains(index)) {
        ++index;
    }
    model_.bridges[config.name] = {index, config};
    parts_.slow_path.insert_bridge(index, config.mac_table_size, config.mac_ageing_s);
    changed_ = true;
    return config.local ? add_local_port(config, ahead) : Result<void>{};
}

Result<void> Switch::add_local_port(const BridgeConfig& config, Devices& ahead) {
    SwitchPort& port = insert_port(config.name, PortRole::local, config.name, config.local->vlan);
    port.config = local_port_config(config);
    const auto opened = ahead.find(config.name);
    Result<std::unique_ptr<Port>> device;
    if (opened != ahead.end()) {
        device = std::move(opened->second);
        ahead.erase(opened);
    } else {
        wait_for_release(port.config);
        device = open_device(port.config);
    }
    if (!device) {
        port.trouble = device.error();
        return tl::unexpected(device.error());
    }
    attach(port, std::move(*device));
    return set_up_local_device(port, config);
}

Result<void> Switch::set_up_local_device(const SwitchPort& port, const BridgeConfig& config) {
    for (const InterfaceAddress& address : config.local->addresses) {
        const auto added =
            parts_.underlay.add_address(port.ifindex, address.address, address.prefix_bits);
        if (!added) {
            return tl::unexpected(
                sentence(config.origin, item("[[bridge]]", config.name), added.error())
            );
        }
    }
    if (config.local->up) {
        return parts_.underlay.set_link_up(port.ifindex, true);
    }
    return {};
}

/// In place: the host's addresses and routes stay.
Result<void> Switch::change_mac(SwitchPort& port, const tunnels::MacAddress& mac) {
    if (auto set = parts_.underlay.set_link_mac(port.ifindex, mac); !set) {
        return set;
    }
    if (port.role == PortRole::local) {
        const std::uint16_t vlan = untagged_vlan(port.vlan);
        parts_.slow_path.erase_fixed(port.bridge, {vlan, port.mac});
        static_cast<void>(parts_.slow_path.insert_fixed(port.bridge, {vlan, mac}, port.index));
    }
    port.mac = mac;
    changed_ = true;
    return {};
}

/// Devices that a daemon before this one kept and that nothing wants any more.
void Switch::remove_strays(const DesiredState& to) {
    if (!to.keep_devices || strays_removed_ || lets_go_) {
        return;
    }
    strays_removed_ = true;
    const std::set<std::string> wanted = own_devices(to);
    for (const LinkEvent& link : parts_.underlay.links()) {
        if (link.alias == dataplane::tap_mark(link.name) && !wanted.contains(link.name)) {
            logger("switch").info("delete {}, which was kept and is wanted no more", link.name);
            doomed_.push_back(link.ifindex);
        }
    }
    remove_devices();
}

/// Deletes the devices of removed ports at once. They would go with their descriptors, but the
/// kernel waits for each that is closed.
void Switch::remove_devices() {
    if (doomed_.empty()) {
        return;
    }
    if (auto removed = parts_.underlay.remove_links(doomed_); !removed) {
        logger("switch").warn("{}", removed.error());
    }
    doomed_.clear();
}

void Switch::discard_devices() {
    keep_devices_ = false;
    for (auto& [index, port] : model_.ports) {
        if (port.device) {
            port.device->discard();
        }
    }
}

void Switch::change_addresses(
    const SwitchPort& port, const LocalPortConfig& from, const LocalPortConfig& to
) {
    const auto missing = [](const LocalPortConfig& in, const InterfaceAddress& address) {
        return std::find(in.addresses.begin(), in.addresses.end(), address) == in.addresses.end();
    };
    for (const InterfaceAddress& address : from.addresses) {
        if (missing(to, address)) {
            const auto removed =
                parts_.underlay.remove_address(port.ifindex, address.address, address.prefix_bits);
            if (!removed) {
                logger("switch").warn("{}", removed.error());
            }
        }
    }
    for (const InterfaceAddress& address : to.addresses) {
        if (missing(from, address)) {
            const auto added =
                parts_.underlay.add_address(port.ifindex, address.address, address.prefix_bits);
            if (!added) {
                logger("switch").warn("{}", added.error());
            }
        }
    }
}

Result<void>
Switch::change_bridge(const BridgeConfig& from, const BridgeConfig& to, Devices& ahead) {
    SwitchBridge& bridge = model_.bridges.at(to.name);
    bridge.config = to;
    changed_ = true;
    BridgeTable& table = *parts_.slow_path.bridge(bridge.index);
    table.ageing_s = to.mac_ageing_s;
    table.fdb.set_size_max(to.mac_table_size);
    if (from.split_horizon != to.split_horizon) {
        for (auto& [index, port] : model_.ports) {
            if (port.bridge == bridge.index && port.role == PortRole::tunnel) {
                port.generation = ++generation_;
            }
        }
    }
    SwitchPort* port = model_.local_port(bridge.index);
    if (port != nullptr && !to.local) {
        remove_port(to.name, true);
        publish_if_changed();
        port = nullptr;
    }
    if (!to.local) {
        return {};
    }
    if (port == nullptr) {
        return add_local_port(to, ahead);
    }
    port->config = local_port_config(to);
    if (to.local->mac && port->device && *to.local->mac != port->mac) {
        if (auto set = change_mac(*port, *to.local->mac); !set) {
            return set;
        }
    }
    change_addresses(*port, *from.local, *to.local);
    if (port->vlan != to.local->vlan) {
        port->vlan = to.local->vlan;
        port->generation = ++generation_;
        parts_.slow_path.flush_port(bridge.index, port->index);
        static_cast<void>(parts_.slow_path.insert_fixed(
            bridge.index, {untagged_vlan(port->vlan), port->mac}, port->index
        ));
    }
    if (to.local->mtu && from.local->mtu != to.local->mtu) {
        return parts_.underlay.set_link_mtu(port->ifindex, *to.local->mtu);
    }
    return {};
}

void Switch::remove_bridge(const std::string& name) {
    const auto found = model_.bridges.find(name);
    if (found == model_.bridges.end()) {
        return;
    }
    remove_port(name, true);
    parts_.slow_path.erase_bridge(found->second.index);
    std::erase_if(fixed_, [&](const auto& fixed) { return fixed.first == found->second.index; });
    model_.bridges.erase(found);
    changed_ = true;
}

}  // namespace culvert::ctl
