// SPDX-License-Identifier: GPL-2.0-or-later
//
// coverage/show: drop reasons and the workers' events, by name. Rates over time are not kept, so
// they read "?".

#include <fmt/format.h>

#include "ctl/show_ovs.hpp"
#include "tunnels/drop_reason.hpp"

namespace culvert::ctl {

namespace {

std::map<std::string, std::uint64_t> events(const OvsView& view) {
    std::map<std::string, std::uint64_t> totals;
    const auto add_drops = [&](const dataplane::WorkerCounters& counters) {
        for (std::size_t reason = 1; reason < tunnels::kDropReasons.size(); ++reason) {
            std::uint64_t& total =
                totals[fmt::format("drop_{}", tunnels::kDropReasons[reason].name)];
            for (const dataplane::Counter& port : counters.drops[reason]) {
                total += port.read();
            }
        }
    };
    add_drops(view.slow_path.counters());
    for (unsigned worker = 0; worker < view.workers.count(); ++worker) {
        const dataplane::WorkerCounters& counters = view.workers.counters(worker);
        add_drops(counters);
        totals["flow_hit"] += counters.loop.flow_hits.read();
        totals["flow_miss"] += counters.loop.flow_misses.read();
        totals["upcall"] += counters.loop.upcalls.read();
        totals["netdev_received"] += counters.loop.packets.read();
        totals["worker_sleep"] += counters.loop.sleeps.read();
    }
    totals["flow_evicted"] = view.flows.evictions();
    return totals;
}

}  // namespace

Result<std::string> ovs_coverage_show(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text = "Event coverage, avg rate over last: 5 seconds, last minute, last hour:\n";
    std::size_t never = 0;
    for (const auto& [name, total] : events(view)) {
        if (total == 0) {
            ++never;
            continue;
        }
        text += fmt::format(
            "{:<24} {:>5}/sec {:>9}/sec {:>13}/sec   total: {}\n", name, "?", "?", "?", total
        );
    }
    return text + fmt::format("{} events never hit\n", never);
}

Result<std::string> ovs_coverage_read(const OvsView& view, const Arguments& arguments) {
    const auto totals = events(view);
    const auto found = totals.find(arguments[0]);
    if (found == totals.end()) {
        return tl::unexpected(std::string("No such counter"));
    }
    return std::to_string(found->second);
}

}  // namespace culvert::ctl
