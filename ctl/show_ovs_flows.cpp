// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flow cache in the syntax of dpctl/dump-flows. A flow's key is what its bridge reads: port,
// VLAN and MAC addresses. Packets and bytes of a flow are not counted, so they read "?".

#include <algorithm>

#include <fmt/format.h>

#include "ctl/sentence.hpp"
#include "ctl/show_ovs.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

namespace {

/// More would keep the control thread busy for long.
constexpr std::size_t kFlowsShownMax = 100'000;

struct Choice {
    bool names = false;
    std::string rest;  ///< The word that is no option.
};

Result<Choice> parse_words(const Arguments& arguments) {
    Choice choice;
    for (const std::string& word : arguments) {
        if (word == "-m" || word == "--more" || word == "--names") {
            choice.names = true;
        } else if (word == "--no-names") {
            choice.names = false;
        } else if (word.starts_with("-") || !choice.rest.empty()) {
            return tl::unexpected(fmt::format(
                "unexpected word {}; valid: -m, --names, --no-names and one name", quote(word)
            ));
        } else {
            choice.rest = word;
        }
    }
    return choice;
}

std::string port_text(const OvsView& view, std::uint16_t index, bool names) {
    const SwitchPort* port = view.model.find_port(index);
    return names && port != nullptr ? port->name : std::to_string(index + 1U);
}

std::string action_text(const OvsView& view, const dataplane::FlowAction& action, bool names) {
    switch (action.verdict) {
    case dataplane::FlowVerdict::forward:
        return port_text(view, action.out_port, names);
    case dataplane::FlowVerdict::flood:
        return "flood";
    case dataplane::FlowVerdict::route:
        return "route";
    case dataplane::FlowVerdict::drop:
        break;
    }
    return "drop";
}

std::string flow_line(const OvsView& view, const dataplane::FlowEntry& entry, bool names) {
    const std::uint32_t now_s = dataplane::coarse_clock_s();
    const std::uint32_t used_s = entry.last_used_s.load(std::memory_order_relaxed);
    return fmt::format(
        "recirc_id(0),in_port({}),packet_type(ns=0,id=0),eth(src={},dst={}){}, packets:?, "
        "bytes:?, used:{}, actions:{}\n",
        port_text(view, entry.key.in_port, names),
        entry.key.source.to_string(),
        entry.key.destination.to_string(),
        entry.key.vlan == 0 ? "" : fmt::format(",vlan(vid={})", entry.key.vlan),
        entry.was_hit() ? fmt::format("{}.000s", now_s - std::min(now_s, used_s)) : "never",
        action_text(view, entry.action, names)
    );
}

std::string dump(const OvsView& view, const SwitchBridge* bridge, bool names) {
    std::string text;
    std::size_t shown = 0;
    std::size_t left_out = 0;
    view.flows.for_each([&](std::uint32_t, const dataplane::FlowEntry& entry) {
        const SwitchPort* port = view.model.find_port(entry.key.in_port);
        if (port == nullptr || (bridge != nullptr && port->bridge != bridge->index)) {
            return;
        }
        if (shown == kFlowsShownMax) {
            ++left_out;
            return;
        }
        ++shown;
        text += flow_line(view, entry, names);
    });
    if (left_out != 0) {
        text += fmt::format("({} more)\n", left_out);
    }
    return text;
}

}  // namespace

Result<std::string> ovs_dpctl_flows(const OvsView& view, const Arguments& arguments) {
    const auto choice = parse_words(arguments);
    if (!choice) {
        return tl::unexpected(choice.error());
    }
    return dump(view, nullptr, choice->names);
}

Result<std::string> ovs_dpif_flows(const OvsView& view, const Arguments& arguments) {
    const auto choice = parse_words(arguments);
    if (!choice) {
        return tl::unexpected(choice.error());
    }
    const SwitchBridge* bridge = ovs_bridge(view, choice->rest);
    if (bridge == nullptr) {
        return ovs_no_such_bridge();
    }
    return dump(view, bridge, choice->names);
}

}  // namespace culvert::ctl
