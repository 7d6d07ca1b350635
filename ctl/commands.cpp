// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tables that culvert-ctl shows. Text and JSON come from the same rows (table.hpp); `show`, which
// is a tree, is made by show.cpp.

#include "ctl/commands.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "ctl/log.hpp"
#include "ctl/sentence.hpp"
#include "ctl/show.hpp"
#include "ctl/show_bond.hpp"
#include "ctl/show_firewall.hpp"
#include "ctl/show_ovs.hpp"
#include "ctl/show_sa.hpp"
#include "ctl/table.hpp"
#include "ctl/vlog.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

using dataplane::FlowVerdict;
using tunnels::kDropReasons;

namespace {

constexpr const char* kFormatOption = "--format text|json";
constexpr std::uint64_t kFlowsShownDefault = 1000;

std::string port_name(const CommandContext& context, std::uint16_t index) {
    const SwitchPort* port = context.switch_.model().find_port(index);
    return port == nullptr ? fmt::format("#{}", index) : port->name;
}

bool has_port(const CommandContext& context, const std::string& name) {
    const auto& ports = context.switch_.model().ports;
    return std::any_of(ports.begin(), ports.end(), [&](const auto& entry) {
        return entry.second.name == name;
    });
}

tl::unexpected<std::string> no_such_port(const std::string& name) {
    return tl::unexpected(fmt::format("no port named {}; see show", quote(name)));
}

PortTotals totals_of(const CommandContext& context, const SwitchPort& port) {
    PortTotals totals = context.switch_.totals(port);
    if (port.device) {
        // The device drops these before a worker sees them.
        totals.drops[static_cast<std::size_t>(tunnels::DropReason::offload_malformed)] +=
            port.device->errors().rx_malformed;
    }
    return totals;
}

Result<std::string> show_one_tunnel(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    std::string names;
    for (const auto& [index, port] : context.switch_.model().ports) {
        if (port.role != PortRole::tunnel) {
            continue;
        }
        if (port.name == arguments[0]) {
            return show_tunnel(context, port, totals_of(context, port), *format);
        }
        names += (names.empty() ? "" : ", ") + port.name;
    }
    return tl::unexpected(fmt::format(
        "no tunnel named {}; there {}",
        quote(arguments[0]),
        names.empty() ? std::string("is none") : "are: " + names
    ));
}

/// The bridges a command is about: the one named, or all.
Result<std::vector<const SwitchBridge*>>
chosen_bridges(const CommandContext& context, const Arguments& arguments) {
    std::vector<const SwitchBridge*> chosen;
    std::string names;
    for (const auto& [name, bridge] : context.switch_.model().bridges) {
        names += (names.empty() ? "" : ", ") + name;
        if (arguments.empty() || arguments[0] == name) {
            chosen.push_back(&bridge);
        }
    }
    if (chosen.empty() && !arguments.empty()) {
        return tl::unexpected(
            fmt::format("no bridge named {}; there are: {}", quote(arguments[0]), names)
        );
    }
    return chosen;
}

Result<std::string> show_fdb(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    const auto bridges = chosen_bridges(context, arguments);
    if (!format || !bridges) {
        return tl::unexpected(!format ? format.error() : bridges.error());
    }
    Table table({{"bridge"}, {"port"}, {"vlan", Align::right}, {"mac"}, {"age_s", Align::right}});
    const std::uint32_t now_s = dataplane::coarse_clock_s();
    for (const SwitchBridge* bridge : *bridges) {
        const auto found = context.slow_path.bridges().find(bridge->index);
        if (found == context.slow_path.bridges().end()) {
            continue;
        }
        found->second->fdb.for_each([&](const FdbEntry& entry) {
            const Cell age =
                entry.fixed ? Cell("static")
                            : Cell(now_s - std::min(now_s, context.slow_path.last_seen_s(entry)));
            table.add_row(
                {bridge->config.name,
                 port_name(context, entry.port),
                 entry.key.vlan,
                 entry.key.mac.to_string(),
                 age}
            );
        });
    }
    return table.render(*format);
}

Result<std::uint64_t> parse_count(const std::string& text, std::string_view option) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return tl::unexpected(
            fmt::format("{} {} is not a number; valid: 0 (all) or more", option, quote(text))
        );
    }
    return value;
}

std::string describe_action(const CommandContext& context, const dataplane::FlowAction& action) {
    switch (action.verdict) {
    case FlowVerdict::forward:
        return "forward:" + port_name(context, action.out_port);
    case FlowVerdict::flood:
        return "flood";
    case FlowVerdict::route:
        return "route";
    case FlowVerdict::drop:
        break;
    }
    return fmt::format("drop:{}", tunnels::drop_reason_name(action.reason));
}

Result<std::string> show_flows(const CommandContext& context, Arguments arguments) {
    const auto port = take_option(arguments, "--port");
    const auto limit_text = take_option(arguments, "--limit");
    const auto format = take_format(arguments);
    if (port && !has_port(context, *port)) {
        return no_such_port(*port);
    }
    const Result<std::uint64_t> limit =
        limit_text ? parse_count(*limit_text, "--limit") : kFlowsShownDefault;
    if (!format || !limit) {
        return tl::unexpected(!format ? format.error() : limit.error());
    }
    Table table(
        {{"in_port"},
         {"vlan", Align::right},
         {"source"},
         {"destination"},
         {"action"},
         {"age_s", Align::right},
         {"idle_s", Align::right}}
    );
    const std::uint32_t now_s = dataplane::coarse_clock_s();
    std::size_t left_out = 0;
    context.flows.for_each([&](std::uint32_t, const dataplane::FlowEntry& entry) {
        const std::string in_port = port_name(context, entry.key.in_port);
        if (port && *port != in_port) {
            return;
        }
        if (*limit != 0 && table.size() >= *limit) {
            ++left_out;
            return;
        }
        const std::uint32_t used = entry.last_used_s.load(std::memory_order_relaxed);
        table.add_row(
            {in_port,
             entry.key.vlan,
             entry.key.source.to_string(),
             entry.key.destination.to_string(),
             describe_action(context, entry.action),
             now_s - std::min(now_s, entry.created_s),
             now_s - std::min(now_s, used)}
        );
    });
    std::string text = table.render(*format);
    if (left_out != 0 && *format == OutputFormat::text) {
        text += fmt::format("({} more; --limit 0 shows all)\n", left_out);
    }
    return text;
}

Result<std::string> flush_flows(const CommandContext& context) {
    const std::size_t flows = context.flows.size();
    context.slow_path.flush_flows();
    return fmt::format("{} flows removed\n", flows);
}

Result<std::string> show_drops(const CommandContext& context, Arguments arguments) {
    const bool all = take_flag(arguments, "--all");
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    Table table({{"reason"}, {"port"}, {"packets", Align::right}});
    for (const auto& [index, port] : context.switch_.model().ports) {
        const PortTotals totals = totals_of(context, port);
        for (std::size_t reason = 1; reason < kDropReasons.size(); ++reason) {
            if (totals.drops[reason] != 0 || all) {
                table.add_row({kDropReasons[reason].name, port.name, totals.drops[reason]});
            }
        }
    }
    if (table.size() == 0 && *format == OutputFormat::text) {
        return std::string("no drops\n");
    }
    return table.render(*format);
}

Result<std::string> show_workers(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    Table table(
        {{"worker", Align::right},
         {"packets", Align::right},
         {"batches", Align::right},
         {"packets_per_batch", Align::right},
         {"cycles_per_packet", Align::right},
         {"idle_percent", Align::right},
         {"sleeps", Align::right},
         {"flow_hits", Align::right},
         {"flow_misses", Align::right},
         {"upcalls", Align::right}}
    );
    for (unsigned worker = 0; worker < context.workers.count(); ++worker) {
        const dataplane::LoopCounters& loop = context.workers.counters(worker).loop;
        const std::uint64_t packets = loop.packets.read();
        const std::uint64_t batches = loop.batches.read();
        const std::uint64_t busy = loop.busy_cycles.read();
        const std::uint64_t idle = loop.idle_cycles.read();
        const auto ratio = [](std::uint64_t a, std::uint64_t b) { return b == 0 ? 0 : a / b; };
        table.add_row(
            {worker,
             packets,
             batches,
             ratio(packets, batches),
             ratio(busy, packets),
             ratio(idle * 100, busy + idle),
             loop.sleeps.read(),
             loop.flow_hits.read(),
             loop.flow_misses.read(),
             loop.upcalls.read()}
        );
    }
    return table.render(*format);
}

Result<std::string> show_queues(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    Table table(
        {{"worker", Align::right},
         {"port"},
         {"queue", Align::right},
         {"chosen"},
         {"numa_node", Align::right},
         {"tx_queues", Align::right}}
    );
    for (unsigned worker = 0; worker < context.workers.count(); ++worker) {
        for (const auto& [index, port] : context.switch_.model().ports) {
            for (std::size_t queue = 0; queue < port.rx_workers.size(); ++queue) {
                if (port.rx_workers[queue] != worker || !port.device) {
                    continue;
                }
                table.add_row(
                    {worker,
                     port.name,
                     queue,
                     port.config.rx_workers.empty() ? "automatic" : "rx_workers",
                     port.numa_node == kNumaNodeUnknown ? Cell(std::nullopt) : Cell(port.numa_node),
                     port.device->info().tx_queues}
                );
            }
        }
    }
    return table.render(*format);
}

Result<std::string> show_stages(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    Table table({{"worker", Align::right}, {"stage"}, {"cycles_per_packet", Align::right}});
    for (unsigned worker = 0; worker < context.workers.count(); ++worker) {
        const dataplane::LoopCounters& loop = context.workers.counters(worker).loop;
        const std::uint64_t packets = loop.timed_packets.read();
        for (std::size_t stage = 0; stage < dataplane::kStageCount; ++stage) {
            const std::uint64_t cycles = loop.stage_cycles.at(stage).read();
            table.add_row(
                {worker,
                 std::string(dataplane::kStageNames.at(stage)),
                 packets == 0 ? Cell(std::nullopt) : Cell(cycles / packets)}
            );
        }
    }
    return table.render(*format);
}

Result<std::string> show_counters(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    Table table(
        {{"port"},
         {"rx_packets", Align::right},
         {"rx_bytes", Align::right},
         {"tx_packets", Align::right},
         {"tx_bytes", Align::right},
         {"drops", Align::right},
         {"device_rx_missed", Align::right},
         {"device_rx_errors", Align::right},
         {"device_tx_errors", Align::right}}
    );
    for (const auto& [index, port] : context.switch_.model().ports) {
        if (!arguments.empty() && arguments[0] != port.name) {
            continue;
        }
        const PortTotals totals = totals_of(context, port);
        const dataplane::PortErrors errors =
            port.device ? port.device->errors() : dataplane::PortErrors{};
        table.add_row(
            {port.name,
             totals.rx_packets,
             totals.rx_bytes,
             totals.tx_packets,
             totals.tx_bytes,
             totals.dropped(),
             errors.rx_missed,
             errors.rx_errors,
             errors.tx_errors}
        );
    }
    if (table.size() == 0 && !arguments.empty()) {
        return no_such_port(arguments[0]);
    }
    return table.render(*format);
}

Result<std::string> end_daemon(const CommandContext& context, const Arguments& arguments) {
    if (!arguments.empty() && arguments[0] != "--cleanup") {
        return tl::unexpected(
            "\"exit\" command takes " + quote(arguments[0]) + " for an argument (valid: --cleanup)"
        );
    }
    if (!arguments.empty()) {
        context.switch_.discard_devices();
    }
    context.exit();
    return std::string();
}

Result<std::string> set_log_level(const Arguments& arguments) {
    const auto level = parse_log_level(arguments[0]);
    if (!level) {
        return tl::unexpected(level.error());
    }
    log_set_level(*level);
    return std::string();
}

}  // namespace

std::map<std::string, Command> make_commands(const CommandContext& context) {
    const auto with = [context](Result<std::string> (*run)(const CommandContext&, Arguments)) {
        return [context, run](const Arguments& arguments) { return run(context, arguments); };
    };
    std::map<std::string, Command> commands = make_ovs_commands(context);
    commands["show"] = {"", 0, 0, with(show_switch), {kFormatOption}};
    commands["show/tunnel"] = {"TUNNEL", 1, 1, with(show_one_tunnel), {kFormatOption}};
    commands["fdb/table"] = {"[BRIDGE]", 0, 1, with(show_fdb), {kFormatOption}};
    commands["flows/show"] = {
        "", 0, 0, with(show_flows), {"--port PORT", "--limit N", kFormatOption}};
    commands["flows/flush"] = {
        "", 0, 0, [context](const Arguments&) { return flush_flows(context); }};
    commands["drops"] = {"", 0, 0, with(show_drops), {"--all", kFormatOption}};
    commands["workers"] = {"", 0, 0, with(show_workers), {kFormatOption}};
    commands["workers/queues"] = {"", 0, 0, with(show_queues), {kFormatOption}};
    commands["workers/stages"] = {"", 0, 0, with(show_stages), {kFormatOption}};
    commands["counters"] = {"[PORT]", 0, 1, with(show_counters), {kFormatOption}};
    add_bond_commands(commands, context);
    commands["sa/list"] = {"", 0, 0, with(list_associations), {kFormatOption}};
    commands["sa/show"] = {"[TUNNEL | SPI]", 0, 1, with(show_associations), {kFormatOption}};
    commands["firewall/show"] = {"", 0, 0, with(show_firewall), {kFormatOption}};
    commands["reload"] = {"", 0, 0, [context](const Arguments&) { return context.reload(); }};
    commands["log/set"] = {"LEVEL", 1, 1, set_log_level};
    commands["log/reopen"] = {"", 0, 0, [](const Arguments&) -> Result<std::string> {
                                  if (auto reopened = log_reopen(); !reopened) {
                                      return tl::unexpected(reopened.error());
                                  }
                                  return std::string();
                              }};
    commands["version"] = {
        "", 0, 0, [context](const Arguments&) -> Result<std::string> { return context.version; }};
    commands["exit"] = {"[--cleanup]", 0, 1, [context](const Arguments& arguments) {
                            return end_daemon(context, arguments);
                        }};
    commands.merge(make_vlog_commands());
    return commands;
}

std::string drop_reasons_document() {
    std::string text = "# Drop reasons\n\n"
                       "<!-- Made by `culvertd --drop-reasons`; do not edit. -->\n\n"
                       "Every packet that does not leave by a port is counted once, under one of "
                       "these reasons, on the port or\n"
                       "tunnel where the decision fell. `culvert-ctl drops` shows the counters. A "
                       "reason about arrival or\n"
                       "forwarding is counted on the port the packet came in by (the tunnel, once "
                       "it is decapsulated); a reason\n"
                       "about output on the port it was to leave by.\n\n"
                       "| Reason | Meaning |\n|---|---|\n";
    for (std::size_t reason = 1; reason < kDropReasons.size(); ++reason) {
        text += fmt::format(
            "| `{}` | {} |\n", kDropReasons[reason].name, kDropReasons[reason].description
        );
    }
    return text;
}

}  // namespace culvert::ctl
