// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of OVS's verbs, and what their files share. See show_ovs.hpp.

#include "ctl/show_ovs.hpp"

#include <utility>

namespace culvert::ctl {

namespace {

/// Verbs about protocols that are never configured here: nothing to show, no such object.
CommandHandler shows_nothing(std::string refusal) {
    return [refusal = std::move(refusal)](const Arguments& arguments) -> Result<std::string> {
        if (!arguments.empty() && !refusal.empty()) {
            return tl::unexpected(refusal);
        }
        return std::string();
    };
}

struct VerbEntry {
    const char* name;
    const char* usage;
    unsigned arguments_min;
    unsigned arguments_max;
    OvsVerb* verb;
};

constexpr VerbEntry kVerbs[] = {
    {"fdb/show", "bridge", 1, 1, ovs_fdb_show},
    {"fdb/flush", "[bridge]", 0, 1, ovs_fdb_flush},
    {"fdb/add", "bridge port vlan mac", 4, 4, ovs_fdb_add},
    {"fdb/del", "bridge vlan mac", 3, 3, ovs_fdb_del},
    {"fdb/stats-show", "bridge", 1, 1, ovs_fdb_stats},
    {"ovs/route/show", "", 0, 0, ovs_route_show},
    {"ovs/route/lookup", "ip_addr [pkt_mark=mark]", 1, 2, ovs_route_lookup},
    {"tnl/neigh/show", "", 0, 0, ovs_neigh_show},
    {"tnl/arp/show", "", 0, 0, ovs_neigh_show},
    {"tnl/ports/show", "-v", 0, 1, ovs_tnl_ports},
    {"ofproto/list", "", 0, 0, ovs_ofproto_list},
    {"ofproto/list-tunnels", "", 0, 0, ovs_list_tunnels},
    {"dpif/show", "", 0, 0, ovs_dpif_show},
    {"dpif/dump-dps", "", 0, 0, ovs_dpif_dump_dps},
    {"dpif/dump-flows", "[-m] [--names | --no-names] bridge", 1, 3, ovs_dpif_flows},
    {"dpctl/show", "[-s] [dp...]", 0, 2, ovs_dpctl_show},
    {"dpctl/dump-flows", "[-m] [--names] [dp]", 0, 3, ovs_dpctl_flows},
    {"upcall/show", "", 0, 0, ovs_upcall_show},
    {"memory/show", "", 0, 0, ovs_memory_show},
    {"coverage/show", "", 0, 0, ovs_coverage_show},
    {"coverage/read-counter", "COUNTER", 1, 1, ovs_coverage_read},
    {"dpif-netdev/pmd-stats-show", "", 0, 0, ovs_pmd_stats},
    {"dpif-netdev/pmd-rxq-show", "", 0, 0, ovs_pmd_rxq},
};

}  // namespace

const SwitchBridge* ovs_bridge(const OvsView& view, const std::string& name) {
    const auto found = view.model.bridges.find(name);
    return found == view.model.bridges.end() ? nullptr : &found->second;
}

tl::unexpected<std::string> ovs_no_such_bridge() {
    return tl::unexpected(std::string("no such bridge"));
}

PortTotals ovs_totals(const OvsView& view, const SwitchPort& port) {
    return port_totals(view.workers, view.slow_path.counters(), port.index).since(port.before);
}

std::map<std::string, Command> make_ovs_commands(const CommandContext& context) {
    std::map<std::string, Command> commands;
    for (const VerbEntry& entry : kVerbs) {
        commands[entry.name] = {
            entry.usage,
            entry.arguments_min,
            entry.arguments_max,
            [context, verb = entry.verb](const Arguments& arguments) {
                return verb(
                    {context.switch_.model(),
                     context.ofports,
                     context.slow_path,
                     context.workers,
                     context.flows,
                     context.underlay,
                     context.switch_.running().workers.cpus},
                    arguments
                );
            }};
    }
    commands["dpctl/dump-dps"] = {"", 0, 0, [](const Arguments&) -> Result<std::string> {
                                      return std::string(kOvsDatapath);
                                  }};
    commands["dpctl/dump-conntrack"] = {"[-m] [-s] [dp] [zone=N]", 0, 4, shows_nothing("")};
    commands["cfm/show"] = {"[interface]", 0, 1, shows_nothing("no such CFM object")};
    commands["bfd/show"] = {"[interface]", 0, 1, shows_nothing("no such bfd object")};
    // A change is in force when the call that made it returns.
    commands["revalidator/wait"] = {"", 0, 0, shows_nothing("")};
    commands["revalidator/purge"] = {"", 0, 0, [context](const Arguments&) -> Result<std::string> {
                                         context.slow_path.flush_flows();
                                         return std::string();
                                     }};
    return commands;
}

}  // namespace culvert::ctl
