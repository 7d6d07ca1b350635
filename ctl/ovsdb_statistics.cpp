// SPDX-License-Identifier: GPL-2.0-or-later
//
// Counters as Open vSwitch writes them, from where the switch stands: of a device of ours the
// kernel's "received" is what the switch sent. A kernel interface has the kernel's own counters,
// which go on over restarts of the daemon; what only the switch knows of is added to them.
#include "ctl/ovsdb_report.hpp"

#include <utility>

namespace culvert::ctl {

namespace {

using Counters = std::map<std::string, std::int64_t>;
using tunnels::DropReason;

std::int64_t signed_of(std::uint64_t counter) {
    return static_cast<std::int64_t>(counter);
}

std::uint64_t count(const PortTotals& totals, DropReason reason) {
    return totals.drops[static_cast<std::size_t>(reason)];
}

/// Packets that the port was to send and did not.
std::uint64_t not_sent(const PortTotals& totals) {
    return count(totals, DropReason::port_down) + count(totals, DropReason::port_mtu_exceeded) +
           count(totals, DropReason::tx_failed);
}

Counters of_switch(const PortTotals& totals) {
    return {
        {"rx_packets", signed_of(totals.rx_packets)},
        {"rx_bytes", signed_of(totals.rx_bytes)},
        {"tx_packets", signed_of(totals.tx_packets)},
        {"tx_bytes", signed_of(totals.tx_bytes)}};
}

void add_losses(const PortTotals& totals, const dataplane::PortErrors& errors, Counters& counters) {
    counters["rx_dropped"] += signed_of(errors.rx_missed);
    counters["tx_dropped"] += signed_of(not_sent(totals));
    counters["rx_errors"] += signed_of(errors.rx_errors);
    counters["tx_errors"] += signed_of(errors.tx_errors);
}

/// As the other side of a device of ours sees it. Errors in detail are of receivers with wires.
LinkStatistics turned_round(LinkStatistics link) {
    std::swap(link.rx_packets, link.tx_packets);
    std::swap(link.rx_bytes, link.tx_bytes);
    std::swap(link.rx_errors, link.tx_errors);
    std::swap(link.rx_dropped, link.tx_dropped);
    link.rx_over_errors = 0;
    link.rx_crc_errors = 0;
    link.rx_frame_errors = 0;
    link.rx_missed_errors = 0;
    return link;
}

Counters of_kernel(const LinkStatistics& link) {
    return {
        {"collisions", signed_of(link.collisions)},
        {"rx_bytes", signed_of(link.rx_bytes)},
        {"rx_crc_err", signed_of(link.rx_crc_errors)},
        {"rx_dropped", signed_of(link.rx_dropped)},
        {"rx_errors", signed_of(link.rx_errors)},
        {"rx_frame_err", signed_of(link.rx_frame_errors)},
        {"rx_missed_errors", signed_of(link.rx_missed_errors)},
        {"rx_multicast_packets", signed_of(link.rx_multicast)},
        {"rx_over_err", signed_of(link.rx_over_errors)},
        {"rx_packets", signed_of(link.rx_packets)},
        {"tx_bytes", signed_of(link.tx_bytes)},
        {"tx_dropped", signed_of(link.tx_dropped)},
        {"tx_errors", signed_of(link.tx_errors)},
        {"tx_packets", signed_of(link.tx_packets)}};
}

Counters interface_counters(const SwitchPort& port, const CounterSource& source) {
    const PortTotals totals = source.totals(port);
    if (port.role == PortRole::tunnel || port.config.kind == PortKind::patch) {
        return of_switch(totals);
    }
    if (port.config.kind == PortKind::dpdk) {
        Counters counters = of_switch(totals);
        add_losses(totals, port.device->errors(), counters);
        return counters;
    }
    const auto link = source.links.find(port.ifindex);
    if (link == source.links.end()) {
        return of_switch(totals);
    }
    if (port.config.kind == PortKind::tap) {
        // Its errors() would ask the kernel once more, for what the dump has.
        Counters counters = of_kernel(turned_round(link->second));
        add_losses(totals, {}, counters);
        return counters;
    }
    Counters counters = of_kernel(link->second);
    add_losses(totals, port.device->errors(), counters);
    return counters;
}

bool has_counters(const OvsdbInterface& interface, const SwitchPort& port) {
    const bool needs_device = port.role != PortRole::tunnel && port.config.kind != PortKind::patch;
    return interface.in_state() && (!needs_device || port.device);
}

}  // namespace

Report statistics_report(const ReportSource& source, const CounterSource& counters) {
    Report report;
    const PortsByName ports(source.model);
    for (const OvsdbInterface& interface : source.configuration.interfaces) {
        const SwitchPort* port = ports.find(interface);
        report[{"Interface", interface.uuid}]["statistics"] = ovsdb::map_of(
            port != nullptr && has_counters(interface, *port) ? interface_counters(*port, counters)
                                                              : Counters{}
        );
    }
    for (const OvsdbPort& port : source.configuration.ports) {
        ovsdb::Row& row = report[{"Port", port.uuid}];
        row["statistics"] =
            ovsdb::map_of(Counters{});  // Of the spanning tree, which is not spoken.
        row["rstp_statistics"] = ovsdb::map_of(Counters{});
    }
    if (!source.configuration.root.text.empty()) {
        report[{"Open_vSwitch", source.configuration.root}]["statistics"] = ovsdb::map_of(
            source.configuration.enable_statistics ? counters.system : decltype(counters.system){}
        );
    }
    return report;
}

}  // namespace culvert::ctl
