// SPDX-License-Identifier: GPL-2.0-or-later
//
// See patches.hpp.

#include "ctl/patches.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "ctl/sentence.hpp"

namespace culvert::ctl {

using dataplane::kPortNone;

namespace {

bool is_patch(const SwitchPort& port) {
    return port.role == PortRole::device && port.config.kind == PortKind::patch;
}

/// Why a patch port is down; empty: it is up.
std::string trouble_of(const SwitchPort& port, const SwitchPort* peer) {
    if (peer == nullptr) {
        return "its peer " + quote(port.config.peer) + " is no patch port here";
    }
    if (peer->config.peer != port.name) {
        return "its peer " + quote(peer->name) + " has the peer " + quote(peer->config.peer);
    }
    return {};
}

}  // namespace

bool link_patches(SwitchModel& model) {
    std::map<std::string_view, SwitchPort*> patches;
    for (auto& [index, port] : model.ports) {
        if (is_patch(port)) {
            patches.emplace(port.name, &port);
        }
    }
    bool changed = false;
    for (const auto& [name, port] : patches) {
        const auto found = patches.find(port->config.peer);
        const SwitchPort* peer = found == patches.end() ? nullptr : found->second;
        std::string trouble = trouble_of(*port, peer);
        const bool up = peer != nullptr && trouble.empty();
        const std::uint16_t index = up ? peer->index : kPortNone;
        changed = changed || up != port->up || index != port->patch_peer;
        port->up = up;
        port->patch_peer = index;
        port->trouble = std::move(trouble);
    }
    return changed;
}

std::vector<std::uint16_t> joined_bridges(const SwitchModel& model) {
    std::vector<std::uint16_t> lowest;
    for (const auto& [name, bridge] : model.bridges) {
        while (lowest.size() <= bridge.index) {
            lowest.push_back(static_cast<std::uint16_t>(lowest.size()));
        }
    }
    const auto root = [&](std::uint16_t bridge) {
        while (lowest[bridge] != bridge) {
            bridge = lowest[bridge];
        }
        return bridge;
    };
    for (const auto& [index, port] : model.ports) {
        if (port.patch_peer != kPortNone) {
            const std::uint16_t one = root(port.bridge);
            const std::uint16_t other = root(model.ports.at(port.patch_peer).bridge);
            lowest[std::max(one, other)] = std::min(one, other);
        }
    }
    for (std::uint16_t& bridge : lowest) {
        bridge = root(bridge);
    }
    return lowest;
}

}  // namespace culvert::ctl
