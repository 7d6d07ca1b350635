// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules made by hand, for tests of what is done with them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "firewall/evaluate.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall::test {

inline Match in(Field field, std::vector<Interval> intervals, bool negated = false) {
    return {{{field}}, std::make_shared<TupleSet>(1, std::move(intervals)), negated};
}
inline Match is(Field field, Value value, bool negated = false) {
    return in(field, {{value, value}}, negated);
}
inline Match is_not(Field field, Value value) {
    return is(field, value, true);
}
/// As iptables writes -s.
inline Match from(const std::string& prefix_text) {
    const Prefix prefix = parse_prefix(prefix_text).value();
    Match match = is(Field::source, prefix.address.value);
    match.operands[0].mask = prefix_mask(bits_of(prefix.address.family), prefix.bits);
    return match;
}
/// As nftables writes ip saddr.
inline Match from_range(const std::string& low, const std::string& high) {
    return in(
        Field::source, {{parse_address(low).value().value, parse_address(high).value().value}}
    );
}

inline Rule rule(std::vector<Step> steps, Action action, std::uint32_t chain = 0) {
    Rule made;
    made.steps = std::move(steps);
    made.action = action;
    made.chain = chain;
    return made;
}
inline Rule accept(std::vector<Step> steps = {}) {
    return rule(std::move(steps), Action::accept);
}
inline Rule drop(std::vector<Step> steps = {}) {
    return rule(std::move(steps), Action::drop);
}
inline Rule jump(std::uint32_t chain, std::vector<Step> steps = {}) {
    return rule(std::move(steps), Action::jump, chain);
}

inline Chain chain(
    std::vector<Rule> rules, Tool tool = Tool::iptables_legacy, Families families = Families::ipv4
) {
    Chain made;
    made.name = "INPUT";
    made.table = "filter";
    made.tool = tool;
    made.families = families;
    made.rules = std::move(rules);
    return made;
}

/// The first chain is INPUT's.
inline Ruleset ruleset(std::vector<Chain> chains, bool drops_by_policy = false) {
    Ruleset made;
    made.chains = std::move(chains);
    made.input = {{0, 0, drops_by_policy, true}};
    return made;
}

inline Header gre(const std::string& source) {
    Header header;
    header.source = parse_address(source).value();
    header.destination =
        parse_address(header.source.family == Family::ipv4 ? "10.0.0.1" : "2001:db8::1").value();
    header.protocol = kProtocolGre;
    header.interface_in = value_of_interface("br0");
    return header;
}
inline Header udp(const std::string& source, std::uint16_t from_port, std::uint16_t to_port) {
    Header header = gre(source);
    header.protocol = kProtocolUdp;
    header.source_port = from_port;
    header.destination_port = to_port;
    return header;
}

}  // namespace culvert::firewall::test
