// SPDX-License-Identifier: GPL-2.0-or-later
//
// enable-protocol --compat=ovs-ctl: what `ovs-ctl enable-protocol` does, with its faults, for those
// whose scripts count on them. It is IPv4 only, knows protocols by their first name in
// /etc/protocols only, and takes a rule as existing when a line of `iptables -n -L INPUT` names the
// protocol and has "dpt:PORT" somewhere, whatever its target and its other conditions; so 4789 is
// found in 47890, and rules of user chains are not. Not like it: ports are numbers, not names or
// ranges, and no protocol stands for all of them.
#include <algorithm>
#include <array>
#include <utility>

#include <netdb.h>

#include "ctl/escape.hpp"
#include "ctl/firewall_commands.hpp"
#include "ctl/packet_options.hpp"
#include "firewall/describe.hpp"
#include "firewall/plan.hpp"

namespace culvert::ctl {

using firewall::Backend;
using firewall::BaseChain;
using firewall::Chain;
using firewall::Field;
using firewall::Plan;
using firewall::Rule;
using firewall::Ruleset;
using firewall::Selector;
using firewall::Trouble;

namespace {

/// The status of iptables that was given a wrong command line.
constexpr int kStatusOfIptables = 2;
constexpr std::size_t kProtocolBufferBytes = 4096;

/// Lines of /etc/protocols that begin with the name; neither aliases nor numbers.
std::optional<std::uint8_t> find_protocol(const std::string& name) {
    std::array<char, kProtocolBufferBytes> buffer{};
    std::optional<std::uint8_t> number;
    protoent entry{};
    protoent* found = nullptr;
    ::setprotoent(1);
    while (!number.has_value() &&
           ::getprotoent_r(&entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
        if (name == entry.p_name && entry.p_proto > 0 && entry.p_proto <= 255) {
            number = static_cast<std::uint8_t>(entry.p_proto);
        }
    }
    ::endprotoent();
    return number;
}

/// The one value that a rule wants of a field.
std::optional<firewall::Value> wanted_value(const Rule& rule, Field field) {
    for (const firewall::Step& step : rule.steps) {
        const auto* match = std::get_if<firewall::Match>(&step);
        if (match == nullptr || match->negated || match->set == nullptr ||
            match->operands.size() != 1 || match->operands[0].field != field ||
            match->set->size() != 1) {
            continue;
        }
        const firewall::Interval& interval = match->set->tuple(0)[0];
        if (interval.low == interval.high) {
            return interval.low;
        }
    }
    return std::nullopt;
}

/// Whether the line of the rule has "dpt:PORT" or "spt:PORT", with whatever digits behind.
bool line_has(const Rule& rule, std::string_view word, Field field, std::uint16_t port) {
    const std::string digits = std::to_string(port);
    if (rule.comment.find(std::string(word) + digits) != std::string::npos) {
        return true;
    }
    // "multiport dports 4789" is printed without the word.
    const auto value = wanted_value(rule, field);
    return value.has_value() && rule.text.find("multiport") == std::string::npos &&
           std::to_string(static_cast<unsigned>(*value)).starts_with(digits);
}

bool is_listed(const Chain& chain, const Selector& selector) {
    return std::any_of(chain.rules.begin(), chain.rules.end(), [&](const Rule& rule) {
        const auto to_port = selector.destination_port;
        const auto from_port = selector.source_port;
        return wanted_value(rule, Field::protocol) == selector.protocol &&
               (!to_port || line_has(rule, "dpt:", Field::destination_port, *to_port)) &&
               (!from_port || line_has(rule, "spt:", Field::source_port, *from_port));
    });
}

std::optional<std::uint32_t> find_input(const Ruleset& rules) {
    for (const BaseChain& base : rules.input) {
        const Chain& chain = rules.chains[base.chain];
        if (chain.tool != firewall::Tool::nftables && chain.families == firewall::Families::ipv4 &&
            chain.table == "filter" && chain.name == "INPUT") {
            return base.chain;
        }
    }
    return std::nullopt;
}

/// Opens in one backend, which makes the chain where there is none, as iptables does. Nothing when
/// the backend has no tables of iptables and makes none.
std::optional<LocalAnswer> enable_in(Backend& backend, const Selector& selector) {
    const std::string name = firewall::to_string(selector);
    bool exists = false;
    bool is_refused = false;
    bool is_there = false;
    const auto planner = [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
        exists = false;
        const auto input = find_input(rules);
        is_there = input.has_value();
        if (!is_there) {
            return Plan{};
        }
        exists = is_listed(rules.chains[*input], selector);
        is_refused = !exists && (selector.destination_port || selector.source_port) &&
                     !takes_ports(selector.protocol);
        if (exists || is_refused) {
            return Plan{};
        }
        firewall::Edit edit;
        edit.chain = *input;
        edit.selector = selector;
        return Plan{edit};
    };
    const auto done = backend.change(planner, true);
    const std::string failure = "enabling " + name + " with iptables failed: ";
    if (!done.has_value()) {
        if (done.error().kind == Trouble::Kind::absent) {
            return std::nullopt;
        }
        return LocalAnswer{
            kStatusRefused, {}, {failure + firewall::on_one_line(done.error().text)}};
    }
    if (!is_there) {
        return std::nullopt;
    }
    if (is_refused) {
        const std::string protocol = firewall::protocol_name(selector.protocol);
        return LocalAnswer{kStatusOfIptables, {}, {failure + protocol + " has no ports"}};
    }
    return LocalAnswer{
        kStatusDone,
        exists ? "iptables already has a rule for " + name + ", not explicitly enabling\n"
               : "Enabling " + name + " with iptables\n"};
}

}  // namespace

LocalAnswer enable_like_ovs_ctl(const LocalCall& call, const MakeFirewall& make) {
    const bool has_more = call.has("--source") || call.has("--comment") || call.has("--dry-run");
    if (!call.arguments.empty() || has_more) {
        return {
            kStatusUsage,
            {},
            {"--compat=ovs-ctl goes with --protocol, --dport, --sport and --backend only"}};
    }
    const std::string word = call.value("--protocol").value_or("gre");
    const auto protocol = find_protocol(word);
    if (!protocol.has_value()) {
        return {kStatusRefused, {}, {"unknown protocol " + escape_controls(word)}};
    }
    const auto to_port = read_port(call, "--dport");
    const auto from_port = read_port(call, "--sport");
    if (!to_port.has_value() || !from_port.has_value()) {
        return refuse(to_port.has_value() ? from_port.error() : to_port.error());
    }
    const auto choice = read_backend(call);
    if (!choice.has_value()) {
        return refuse(choice.error());
    }
    Selector selector;
    selector.protocol = *protocol;
    selector.destination_port = *to_port;
    selector.source_port = *from_port;
    const auto host = make(*choice);
    const auto targets = host->targets();
    LocalAnswer answer;
    answer.text =
        "cannot list iptables rules, not adding a rule for " + firewall::to_string(selector) + "\n";
    if (targets.targets.empty() && !targets.troubles.empty()) {
        answer.complaints.push_back(firewall::on_one_line(targets.troubles.front()));
        return answer;
    }
    if (!targets.targets.empty()) {
        return enable_in(*targets.targets.front().backend, selector).value_or(answer);
    }
    for (const auto& backend : host->backends()) {
        if (auto done = enable_in(*backend, selector)) {
            return *done;
        }
    }
    return answer;
}

}  // namespace culvert::ctl
