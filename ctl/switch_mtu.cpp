// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of Switch that keeps the MTU of the host's own interfaces on a bridge, unless they have
// one configured, at what all of the bridge's other devices carry, as Open vSwitch does (ofproto.c:
// update_mtu).

#include <algorithm>

#include "ctl/log.hpp"
#include "ctl/switch.hpp"

namespace culvert::ctl {

namespace {

/// An interface of the host: a bridge's own, or an internal one.
bool is_hosts(const SwitchPort& port) {
    return port.role == PortRole::local ||
           (port.role == PortRole::device && port.config.kind == PortKind::tap);
}

}  // namespace

void Switch::follow_mtus() {
    // A file says so itself where the kernel's own is not wanted.
    if (!running_.keep_devices) {
        return;
    }
    std::map<std::uint16_t, std::uint32_t> lowest;  // By bridge.
    for (const auto& [index, port] : model_.ports) {
        const bool carries =
            port.role == PortRole::bond || (port.device && (!is_hosts(port) || port.config.mtu));
        if (carries && port.mtu != 0) {
            const auto entry = lowest.emplace(port.bridge, port.mtu).first;
            entry->second = std::min(entry->second, port.mtu);
        }
    }
    for (const auto& [index, port] : model_.ports) {
        const auto found = lowest.find(port.bridge);
        if (!is_hosts(port) || !port.device || port.config.mtu || found == lowest.end() ||
            port.mtu == found->second) {
            continue;
        }
        if (auto set = parts_.underlay.set_link_mtu(port.ifindex, found->second); !set) {
            logger("switch").warn("port {}: {}", port.name, set.error());
        }
    }
}

}  // namespace culvert::ctl
