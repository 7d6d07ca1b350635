// SPDX-License-Identifier: GPL-2.0-or-later
//
// The unixctl verbs that scripts know of ovs-vswitchd, with its output formats (ovs-appctl(8),
// ovs-vswitchd(8)); what differs is said in docs/openvswitch.md. Each show_ovs_*.cpp holds one
// subject. Control thread only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ctl/commands.hpp"

namespace culvert::ctl {

/// What the verbs read. References outlive the view.
struct OvsView {
    const SwitchModel& model;
    const Ofports& ofports;
    SlowPath& slow_path;
    const dataplane::Workers& workers;
    const dataplane::FlowCache& flows;
    Underlay& underlay;
    std::vector<unsigned> worker_cpus = {};  ///< Of pinned workers.
};

using OvsVerb = Result<std::string>(const OvsView& view, const Arguments& arguments);

// show_ovs_fdb.cpp
OvsVerb ovs_fdb_show;   ///< BRIDGE
OvsVerb ovs_fdb_flush;  ///< [BRIDGE]
OvsVerb ovs_fdb_add;    ///< BRIDGE PORT VLAN MAC
OvsVerb ovs_fdb_del;    ///< BRIDGE VLAN MAC
OvsVerb ovs_fdb_stats;  ///< BRIDGE

// show_ovs_underlay.cpp
OvsVerb ovs_route_show;
OvsVerb ovs_route_lookup;  ///< IP [pkt_mark=N]
OvsVerb ovs_neigh_show;

// show_ovs_tunnels.cpp
OvsVerb ovs_tnl_ports;  ///< [-v]
OvsVerb ovs_list_tunnels;
/// "vxlan: key=77, remote_ip=172.20.0.2", as dpif/show describes a port.
[[nodiscard]] std::string ovs_port_type(const SwitchPort& port);

// show_ovs_datapath.cpp
OvsVerb ovs_ofproto_list;
OvsVerb ovs_dpif_show;
OvsVerb ovs_dpif_dump_dps;
OvsVerb ovs_dpctl_show;  ///< [-s] [DP...]
OvsVerb ovs_upcall_show;
OvsVerb ovs_memory_show;
OvsVerb ovs_pmd_stats;
OvsVerb ovs_pmd_rxq;

// show_ovs_flows.cpp
OvsVerb ovs_dpctl_flows;  ///< [-m] [--names] [DP]
OvsVerb ovs_dpif_flows;   ///< [-m] [--names | --no-names] BRIDGE

// show_ovs_coverage.cpp
OvsVerb ovs_coverage_show;
OvsVerb ovs_coverage_read;  ///< COUNTER

/// The name that tools of OVS give the one userspace datapath.
inline constexpr const char* kOvsDatapath = "netdev@ovs-netdev";

/// The port's number in the datapath: never 0, which in OVS is the datapath's own port.
[[nodiscard]] inline unsigned ovs_dp_port(const SwitchPort& port) {
    return port.index + 1U;
}
/// The bridge, or null.
[[nodiscard]] const SwitchBridge* ovs_bridge(const OvsView& view, const std::string& name);
[[nodiscard]] tl::unexpected<std::string> ovs_no_such_bridge();
/// What the port counted since it is there.
[[nodiscard]] PortTotals ovs_totals(const OvsView& view, const SwitchPort& port);

/// All of the verbs by name, to be merged into make_commands().
[[nodiscard]] std::map<std::string, Command> make_ovs_commands(const CommandContext& context);

}  // namespace culvert::ctl
