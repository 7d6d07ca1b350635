// SPDX-License-Identifier: GPL-2.0-or-later
//
// firewall explain: the way of one packet through INPUT, rule by rule, and the one that decided.
#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/admission.hpp"
#include "ctl/escape.hpp"
#include "ctl/firewall_commands.hpp"
#include "ctl/packet_options.hpp"
#include "firewall/describe.hpp"

namespace culvert::ctl {

using firewall::Chain;
using firewall::Header;
using firewall::Judgement;
using firewall::Policy;
using firewall::State;
using firewall::Trace;
using firewall::TraceStep;

namespace {

constexpr std::size_t kIndent = 4;

struct StateName {
    std::string_view name;
    State state;
};
constexpr std::array<StateName, 5> kStates = {{
    {"NEW", State::fresh},
    {"ESTABLISHED", State::established},
    {"RELATED", State::related},
    {"INVALID", State::invalid},
    {"UNTRACKED", State::untracked},
}};

Checked<firewall::Address> read_address(const LocalCall& call, std::string_view option) {
    const auto address = firewall::parse_address(call.value(option).value_or(""));
    if (!address.has_value()) {
        return tl::unexpected(LocalRefusal{
            kStatusUsage, std::string(option) + ": " + escape_controls(address.error())});
    }
    return *address;
}

/// The interface that has the address, as tunnel packets come in by it.
std::string interface_with(const firewall::Address& address) {
    for (const Entrance& entrance : entrances()) {
        if (entrance.destination == address) {
            return entrance.interface;
        }
    }
    return "";
}

Checked<Header> read_ports(const LocalCall& call, Header header) {
    const auto to_port = read_port(call, "--dport");
    const auto from_port = read_port(call, "--sport");
    if (!to_port.has_value() || !from_port.has_value()) {
        return tl::unexpected(to_port.has_value() ? from_port.error() : to_port.error());
    }
    const std::string name = firewall::protocol_name(header.protocol);
    if (!header.has_ports() && (to_port->has_value() || from_port->has_value())) {
        return tl::unexpected(LocalRefusal{kStatusUsage, name + " has no ports"});
    }
    if (header.has_ports() && !to_port->has_value()) {
        return tl::unexpected(LocalRefusal{
            kStatusUsage, name + " has ports: --dport is needed, 1 to 65535"});
    }
    header.destination_port = to_port->value_or(0);
    header.source_port = from_port->value_or(header.has_ports() ? kSenderPort : 0);
    return header;
}

Checked<Header> read_header(const LocalCall& call) {
    Header header;
    const auto protocol = read_protocol(call.value("--protocol").value_or(""));
    if (!protocol.has_value()) {
        return tl::unexpected(LocalRefusal{kStatusUsage, protocol.error().sentence});
    }
    const auto source = read_address(call, "--src");
    const auto destination = read_address(call, "--dst");
    if (!source.has_value() || !destination.has_value()) {
        return tl::unexpected(source.has_value() ? destination.error() : source.error());
    }
    if (source->family != destination->family) {
        return tl::unexpected(LocalRefusal{
            kStatusUsage, "--src and --dst have to be of one family, IPv4 or IPv6"});
    }
    header.protocol = *protocol;
    header.source = *source;
    header.destination = *destination;
    const auto word = call.value("--state").value_or("NEW");
    const auto* state = std::find_if(kStates.begin(), kStates.end(), [&](const auto& entry) {
        return entry.name == word;
    });
    if (state == kStates.end()) {
        return tl::unexpected(LocalRefusal{
            kStatusUsage,
            "--state \"" + escape_controls(word) +
                "\" is none; valid: NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED"});
    }
    header.state = state->state;
    header.interface_in = firewall::value_of_interface(
        call.value("--interface").value_or(interface_with(*destination))
    );
    return read_ports(call, header);
}

std::string_view word_of(TraceStep::Outcome outcome) {
    switch (outcome) {
    case TraceStep::Outcome::matched:
        return "matched";
    case TraceStep::Outcome::not_matched:
        return "not matched";
    case TraceStep::Outcome::unknown:
        break;
    }
    return "unknown";
}

std::string_view word_of(const Judgement& judgement) {
    if (judgement.is_unknown()) {
        return "unknown";
    }
    return judgement.accepted() ? "accept" : "drop";
}

/// Names the chain in front of its rules, each time that the walk comes into it.
std::string text_of(const Policy& policy, const Trace& trace) {
    std::string text;
    std::vector<std::uint32_t> chains;  // The one of each depth.
    for (const TraceStep& step : trace) {
        const Chain& chain = policy.rules.chains[step.at.chain];
        const bool is_entered =
            step.depth >= chains.size() || chains[step.depth] != step.at.chain || step.at.rule == 0;
        chains.resize(step.depth);
        chains.push_back(step.at.chain);
        const std::string indent(kIndent * (step.depth * std::size_t{2}), ' ');
        if (is_entered) {
            text += indent + "chain " + firewall::describe(chain) + "\n";
        }
        const firewall::Rule& rule = chain.rules[step.at.rule];
        text += indent + std::string(kIndent, ' ') + "rule " + std::to_string(step.at.rule + 1) +
                ": " + firewall::on_one_line(rule.text) + " -> " +
                std::string(word_of(step.outcome));
        if (step.outcome == TraceStep::Outcome::unknown && !step.unknown.empty()) {
            text += " (" + firewall::on_one_line(step.unknown) + ")";
        }
        text += "\n";
    }
    return text;
}

std::string render(const Policy& policy, const Judgement& judgement, const Trace& trace) {
    // What cannot be read may filter the packet, whatever the rest says.
    const bool is_hidden = judgement.is_unknown() && !policy.troubles.empty();
    const std::string decider = is_hidden ? "rules that cannot be read"
                                : judgement.decider.has_value()
                                    ? firewall::describe(policy.rules, *judgement.decider)
                                    : "nothing filters this packet";
    return text_of(policy, trace) + "decided by: " + decider + "\n" +
           "verdict: " + std::string(word_of(judgement)) + "\n";
}

std::string render_as_json(const Policy& policy, const Judgement& judgement, const Trace& trace) {
    auto steps = nlohmann::ordered_json::array();
    for (const TraceStep& step : trace) {
        const Chain& chain = policy.rules.chains[step.at.chain];
        nlohmann::ordered_json entry = {
            {"tool", firewall::tool_of(chain)},
            {"table", chain.table},
            {"chain", chain.name},
            {"depth", step.depth},
            {"rule", step.at.rule + 1},
            {"text", chain.rules[step.at.rule].text},
            {"outcome", word_of(step.outcome)},
        };
        if (step.outcome == TraceStep::Outcome::unknown) {
            entry["unknown"] = step.unknown;
        }
        steps.push_back(std::move(entry));
    }
    nlohmann::ordered_json answer = {{"verdict", word_of(judgement)}, {"decided_by", nullptr}};
    if (judgement.decider.has_value()) {
        answer["decided_by"] = firewall::describe(policy.rules, *judgement.decider);
    }
    answer["steps"] = std::move(steps);
    return render_json(answer);
}

}  // namespace

LocalAnswer explain_packet(const LocalCall& call, const MakeFirewall& make) {
    const auto header = read_header(call);
    if (!header.has_value()) {
        return refuse(header.error());
    }
    const auto choice = read_backend(call);
    if (!choice.has_value()) {
        return refuse(choice.error());
    }
    const Policy policy = make(*choice)->read();
    Trace trace;
    const Judgement judgement = policy.judge(*header, &trace);
    LocalAnswer answer;
    answer.is_sentence = false;
    answer.text = call.format == OutputFormat::json ? render_as_json(policy, judgement, trace)
                                                    : render(policy, judgement, trace);
    complain_of(policy.troubles, answer);
    return answer;
}

}  // namespace culvert::ctl
