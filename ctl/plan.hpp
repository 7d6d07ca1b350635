// SPDX-License-Identifier: GPL-2.0-or-later
//
// The pure difference between two desired states: what has to be done, in order, to get from one to
// the other. Nothing here touches a device, so a plan can be tested and printed (`culvertd
// --check`) without root. Both states passed validate(). Control thread.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

struct AddBridge {
    BridgeConfig config;
};
struct ChangeBridge {
    BridgeConfig from;
    BridgeConfig to;
};  ///< In place: ageing, table size, static MACs, ...
struct RemoveBridge {
    std::string name;
};
struct AddPort {
    PortConfig config;
};
struct ChangePort {
    PortConfig from;
    PortConfig to;
};  ///< In place: VLANs, mtu, claim, hotplug, bridge.
struct RemovePort {
    std::string name;
};
struct AddBond {
    BondConfig config;
};
struct ChangeBond {
    BondConfig from;
    BondConfig to;
};  ///< In place: every option but name; members come and go by their ports' `bond`.
struct RemoveBond {
    std::string name;
};
struct AddTunnel {
    TunnelConfig config;
};
struct ChangeTunnel {
    TunnelConfig from;
    TunnelConfig to;
};  ///< In place: every option but name.
struct RemoveTunnel {
    std::string name;
};
struct ChangeRuntime {
    DesiredState to;
};  ///< log_level, flow_cache.idle_timeout_s, hold.

struct ChangeIke {
    IkeDaemonConfig from;
    IkeDaemonConfig to;
};

struct ChangeFirewall {
    FirewallConfig from;
    FirewallConfig to;
};  ///< enforce, unknown, manage.

using Action = std::variant<
    RemoveTunnel,
    RemovePort,
    RemoveBond,
    RemoveBridge,
    AddBridge,
    ChangeBridge,
    AddBond,
    ChangeBond,
    AddPort,
    ChangePort,
    AddTunnel,
    ChangeTunnel,
    ChangeRuntime,
    ChangeIke,
    ChangeFirewall>;

/// Actions in the order of application: removals (tunnels, ports, bonds, bridges) first, then
/// additions and changes (bridges, bonds, ports, tunnels). An item that is equal on both sides
/// appears in no action. A removed bridge that ports or tunnels leave for another one stands behind
/// their changes, so that an applied RemoveBridge never finds a member. A port whose device changes
/// (kind, interface, devargs, rx_queues, mac) is removed and added; a bridge that gains or loses
/// its local port is changed in place. Fails when a key changed that needs a restart, naming it.
[[nodiscard]] Result<std::vector<Action>> plan(const DesiredState& from, const DesiredState& to);

/// One line of text, e.g. "add tunnel t1: vxlan to 192.0.2.2 key 100 on bridge br0".
[[nodiscard]] std::string describe(const Action& action);

}  // namespace culvert::ctl
