// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bridges, the ports of the datapath, workers and memory as dpif/show, dpctl/show and their like
// have them. All bridges are of the one datapath.

#include <fmt/format.h>

#include "ctl/sentence.hpp"
#include "ctl/show_ovs.hpp"

namespace culvert::ctl {

namespace {

struct Lookups {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t lost = 0;
};

Lookups lookups_of(const OvsView& view) {
    Lookups sum;
    for (unsigned worker = 0; worker < view.workers.count(); ++worker) {
        const dataplane::WorkerCounters& counters = view.workers.counters(worker);
        sum.hits += counters.loop.flow_hits.read();
        sum.misses += counters.loop.flow_misses.read();
        for (const auto reason :
             {tunnels::DropReason::upcall_queue_full, tunnels::DropReason::upcall_held_full}) {
            for (const dataplane::Counter& port :
                 counters.drops[static_cast<std::size_t>(reason)]) {
                sum.lost += port.read();
            }
        }
    }
    return sum;
}

std::map<std::string, const SwitchPort*>
ports_by_name(const OvsView& view, const SwitchBridge& bridge) {
    std::map<std::string, const SwitchPort*> ports;
    for (const auto& [index, port] : view.model.ports) {
        if (port.bridge == bridge.index) {
            ports[port.name] = &port;
        }
    }
    return ports;
}

std::string ofport_text(const OvsView& view, const SwitchPort& port) {
    if (port.role == PortRole::local) {
        return std::to_string(Ofports::kLocal);
    }
    const auto number = view.ofports.find(port.name);
    return number ? std::to_string(*number) : "-";
}

/// " (1.4 KiB)" from 1024 bytes on.
std::string human_bytes(std::uint64_t bytes) {
    constexpr double kStep = 1024.0;
    if (bytes < 1024) {
        return "";
    }
    double value = static_cast<double>(bytes) / kStep;
    std::string_view unit = "KiB";
    for (const std::string_view larger : {"MiB", "GiB", "TiB"}) {
        if (value < kStep) {
            break;
        }
        value /= kStep;
        unit = larger;
    }
    return fmt::format(" ({:.1f} {})", value, unit);
}

/// "?" for what a port of this kind does not count, as in OVS.
std::string statistics_text(const OvsView& view, const SwitchPort& port) {
    const PortTotals totals = ovs_totals(view, port);
    std::string errors = "?";
    std::string missed = "?";
    std::string tx_errors = "?";
    if (port.device) {
        const dataplane::PortErrors counted = port.device->errors();
        errors = std::to_string(counted.rx_errors);
        missed = std::to_string(counted.rx_missed);
        tx_errors = std::to_string(counted.tx_errors);
    }
    return fmt::format(
        "    RX packets:{} errors:{} dropped:{} overruns:{} frame:?\n"
        "    TX packets:{} errors:{} dropped:? aborted:? carrier:?\n"
        "    collisions:?\n"
        "    RX bytes:{}{}  TX bytes:{}{}\n",
        totals.rx_packets,
        errors,
        totals.dropped(),
        missed,
        totals.tx_packets,
        tx_errors,
        totals.rx_bytes,
        human_bytes(totals.rx_bytes),
        totals.tx_bytes,
        human_bytes(totals.tx_bytes)
    );
}

std::string worker_title(const OvsView& view, unsigned worker) {
    return worker < view.worker_cpus.size()
               ? fmt::format("pmd thread worker {} core_id {}:\n", worker, view.worker_cpus[worker])
               : fmt::format("pmd thread worker {}:\n", worker);
}

}  // namespace

Result<std::string> ovs_ofproto_list(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text;
    for (const auto& [name, bridge] : view.model.bridges) {
        text += name + "\n";
    }
    return text;
}

Result<std::string> ovs_dpif_dump_dps(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text;
    for (const auto& [name, bridge] : view.model.bridges) {
        text += "netdev@" + name + "\n";
    }
    return text;
}

Result<std::string> ovs_dpif_show(const OvsView& view, const Arguments& /*arguments*/) {
    const Lookups lookups = lookups_of(view);
    std::string text =
        fmt::format("{}: hit:{} missed:{}\n", kOvsDatapath, lookups.hits, lookups.misses);
    for (const auto& [name, bridge] : view.model.bridges) {
        text += fmt::format("  {}:\n", name);
        for (const auto& [port_name, port] : ports_by_name(view, bridge)) {
            text += fmt::format(
                "    {} {}/{}: ({})\n",
                port_name,
                ofport_text(view, *port),
                ovs_dp_port(*port),
                ovs_port_type(*port)
            );
        }
    }
    return text;
}

Result<std::string> ovs_dpctl_show(const OvsView& view, const Arguments& arguments) {
    bool statistics = false;
    for (const std::string& word : arguments) {
        if (word == "-s" || word == "--statistics") {
            statistics = true;
        } else if (word != kOvsDatapath && word != "ovs-netdev") {
            return tl::unexpected(
                fmt::format("no datapath named {}; there is {}", quote(word), kOvsDatapath)
            );
        }
    }
    const Lookups lookups = lookups_of(view);
    std::string text = fmt::format(
        "{}:\n  lookups: hit:{} missed:{} lost:{}\n  flows: {}\n",
        kOvsDatapath,
        lookups.hits,
        lookups.misses,
        lookups.lost,
        view.flows.size()
    );
    for (const auto& [index, port] : view.model.ports) {
        const std::string type = ovs_port_type(port);
        text += fmt::format(
            "  port {}: {}{}\n",
            ovs_dp_port(port),
            port.name,
            type == "system" ? "" : " (" + type + ")"
        );
        if (statistics) {
            text += statistics_text(view, port);
        }
    }
    return text;
}

Result<std::string> ovs_upcall_show(const OvsView& view, const Arguments& /*arguments*/) {
    return fmt::format(
        "{}:\n  flows         : (current {}) (limit {})\n",
        kOvsDatapath,
        view.flows.size(),
        view.flows.capacity()
    );
}

Result<std::string> ovs_memory_show(const OvsView& view, const Arguments& /*arguments*/) {
    std::size_t macs = 0;
    for (const auto& [index, table] : view.slow_path.bridges()) {
        macs += table->fdb.size();
    }
    return fmt::format(
        "flow cache bytes:{} handlers:1 macs:{} ports:{} rules:{} udpif keys:{}\n",
        view.flows.memory_bytes(),
        macs,
        view.model.ports.size(),
        view.model.bridges.size(),
        view.flows.size()
    );
}

Result<std::string> ovs_pmd_stats(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text;
    for (unsigned worker = 0; worker < view.workers.count(); ++worker) {
        const dataplane::LoopCounters& loop = view.workers.counters(worker).loop;
        const std::uint64_t packets = loop.packets.read();
        const std::uint64_t busy = loop.busy_cycles.read();
        const std::uint64_t idle = loop.idle_cycles.read();
        const auto share = [&](std::uint64_t part) {
            const double all = static_cast<double>(busy) + static_cast<double>(idle);
            return all == 0 ? 0.0 : static_cast<double>(part) * 100.0 / all;
        };
        text += worker_title(view, worker);
        text += fmt::format(
            "  packets received: {}\n"
            "  packet recirculations: 0\n"
            "  megaflow hits: {}\n"
            "  miss with success upcall: {}\n"
            "  idle cycles: {} ({:.2f}%)\n"
            "  processing cycles: {} ({:.2f}%)\n",
            packets,
            loop.flow_hits.read(),
            loop.upcalls.read(),
            idle,
            share(idle),
            busy,
            share(busy)
        );
        if (packets != 0) {
            text += fmt::format(
                "  avg processing cycles per packet: {:.2f} ({}/{})\n",
                static_cast<double>(busy) / static_cast<double>(packets),
                busy,
                packets
            );
        }
    }
    return text;
}

Result<std::string> ovs_pmd_rxq(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text;
    for (unsigned worker = 0; worker < view.workers.count(); ++worker) {
        text += worker_title(view, worker) + "  isolated : false\n";
        for (const auto& [index, port] : view.model.ports) {
            for (std::size_t queue = 0; queue < port.rx_workers.size(); ++queue) {
                if (port.rx_workers[queue] == worker) {
                    text += fmt::format(
                        "  port: {:<16}  queue-id: {:>2} (enabled)   pmd usage: ? %\n",
                        port.name,
                        queue
                    );
                }
            }
        }
    }
    return text;
}

}  // namespace culvert::ctl
