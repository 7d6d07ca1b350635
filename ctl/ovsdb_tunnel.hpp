// SPDX-License-Identifier: GPL-2.0-or-later
//
// An Interface row of a tunnel type, as a tunnel of the desired state: which options Open vSwitch
// has for it (ovs-vswitchd.conf.db(5), "Tunnel Options"), which of its own Culvert adds, and which
// faults are errors and which only warnings. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/ovsdb_options.hpp"
#include "ctl/tunnel_config.hpp"

namespace culvert::ctl {

struct OvsdbTunnel {
    /// Without bridge and VLANs. Nothing: `error` says why.
    std::optional<TunnelConfig> tunnel;
    std::string error;  ///< With the warnings before it, a line each, as Open vSwitch reports them.
    std::vector<std::string> warnings;
};

/// "gre", "ip6gre", "vxlan", "geneve", "lisp".
[[nodiscard]] bool is_ovsdb_tunnel_type(std::string_view type);

/// Precondition: is_ovsdb_tunnel_type(type).
[[nodiscard]] OvsdbTunnel read_ovsdb_tunnel(
    const std::string& name,
    const std::string& type,
    const OvsdbOptions& options,
    const IkeDaemonConfig& daemon
);

}  // namespace culvert::ctl
