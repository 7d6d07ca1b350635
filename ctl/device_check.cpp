// SPDX-License-Identifier: GPL-2.0-or-later
//
// See device_check.hpp.

#include "ctl/device_check.hpp"

#include <fmt/format.h>
#include <net/if.h>

#include "ctl/sentence.hpp"

namespace culvert::ctl {

namespace {

/// The host's interfaces, for messages.
std::string interface_list() {
    struct if_nameindex* all = if_nameindex();
    std::string text;
    for (const struct if_nameindex* at = all; at != nullptr && at->if_index != 0; ++at) {
        text += (text.empty() ? "" : ", ") + std::string(at->if_name);
    }
    if_freenameindex(all);
    return text;
}

}  // namespace

std::set<std::string> own_devices(const DesiredState& state) {
    std::set<std::string> names;
    for (const BridgeConfig& bridge : state.bridges) {
        if (bridge.local) {
            names.insert(bridge.name);
        }
    }
    for (const PortConfig& port : state.ports) {
        if (port.kind == PortKind::tap) {
            names.insert(port.interface);
        }
    }
    return names;
}

Result<void>
check_devices(const DesiredState& from, const DesiredState& to, const Underlay& underlay) {
    const auto own = own_devices(from);
    std::set<std::string> present;
    for (const PortConfig& port : from.ports) {
        if (port.kind == PortKind::linux_interface) {
            present.insert(port.interface);
        }
    }
    for (const PortConfig& port : to.ports) {
        if (port.kind == PortKind::linux_interface && !port.hotplug &&
            !present.contains(port.interface) && !underlay.link(port.interface)) {
            return tl::unexpected(sentence(
                port.origin,
                item("[[port]]", port.name),
                fmt::format(
                    "interface = {} does not exist; valid: an existing interface ({}), or hotplug "
                    "= true to wait for it",
                    quote(port.interface),
                    interface_list()
                )
            ));
        }
        if (port.kind == PortKind::tap && !own.contains(port.interface) &&
            underlay.link(port.interface)) {
            return tl::unexpected(sentence(
                port.origin,
                item("[[port]]", port.name),
                fmt::format(
                    "interface = {} is the name of an existing device; valid: a name that is free",
                    quote(port.interface)
                )
            ));
        }
    }
    for (const BridgeConfig& bridge : to.bridges) {
        if (bridge.local && !own.contains(bridge.name) && underlay.link(bridge.name)) {
            return tl::unexpected(sentence(
                bridge.origin,
                item("[[bridge]]", bridge.name),
                fmt::format(
                    "name = {} is the name of an existing device, so the local port cannot have "
                    "it; valid: a name that is free",
                    quote(bridge.name)
                )
            ));
        }
    }
    return {};
}

}  // namespace culvert::ctl
