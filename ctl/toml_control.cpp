// SPDX-License-Identifier: GPL-2.0-or-later
//
// See toml_control.hpp.

#include "ctl/toml_control.hpp"

#include <utility>

#include "ctl/toml_source.hpp"

namespace culvert::ctl {

namespace {

/// In the order of the file.
std::vector<Ofports::Request> ofport_requests(const DesiredState& state) {
    std::vector<Ofports::Request> requests;
    for (const BridgeConfig& bridge : state.bridges) {
        if (bridge.local) {
            requests.push_back({.bridge = bridge.name, .interface = bridge.name, .local = true});
        }
    }
    for (const PortConfig& port : state.ports) {
        requests.push_back({.bridge = port.bridge, .interface = port.name});
    }
    for (const TunnelConfig& tunnel : state.tunnels) {
        requests.push_back({.bridge = tunnel.bridge, .interface = tunnel.name});
    }
    return requests;
}

}  // namespace

TomlControl::TomlControl(std::string path, DesiredState state, Switch& to, Ofports& ofports)
    : path_(std::move(path)), start_(std::move(state)), switch_(to), ofports_(ofports) {}

Result<void> TomlControl::start(std::function<void()> on_ready) {
    const auto applied = switch_.apply(start_);
    if (!applied || !applied->trouble.empty()) {
        return tl::unexpected(applied ? applied->trouble : applied.error());
    }
    finish(start_);
    on_ready();
    return {};
}

/// Follows the switch, to which the state was applied.
void TomlControl::finish(const DesiredState& state) {
    ofports_.assign(ofport_requests(state));
    tell_configured();
}

Result<std::string> TomlControl::reload() {
    auto next = load_toml(path_);
    if (!next) {
        return tl::unexpected(next.error() + "; the running configuration stays");
    }
    if (next->dpdk.file_prefix.empty()) {
        next->dpdk.file_prefix = start_.dpdk.file_prefix;
    }
    const auto applied = switch_.apply(*next);
    if (!applied) {
        return tl::unexpected(applied.error() + "; the running configuration stays");
    }
    finish(*next);
    if (!applied->trouble.empty()) {
        return tl::unexpected("applied, except: " + applied->trouble);
    }
    std::string text;
    for (const std::string& line : applied->done) {
        text += line + "\n";
    }
    return text.empty() ? "nothing changed\n" : text;
}

}  // namespace culvert::ctl
