// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules of several readings as one list, and the names of chains.
#include "firewall/ruleset.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace culvert::firewall {

namespace {

std::string_view family_word(const Chain& chain) {
    switch (chain.families) {
    case Families::ipv4:
        return "ip ";
    case Families::ipv6:
        return "ip6 ";
    case Families::both:
        return "inet ";
    }
    return "";
}

}  // namespace

void Ruleset::add(Ruleset other) {
    const auto offset = static_cast<std::uint32_t>(chains.size());
    for (Chain& chain : other.chains) {
        for (Rule& rule : chain.rules) {
            if (rule.action == Action::jump || rule.action == Action::go_to) {
                rule.chain += offset;
            }
        }
        chains.push_back(std::move(chain));
    }
    for (BaseChain base : other.input) {
        base.chain += offset;
        input.push_back(base);
    }
    std::stable_sort(input.begin(), input.end(), [](const BaseChain& a, const BaseChain& b) {
        return a.priority < b.priority;
    });
}

bool Ruleset::has_policy() const {
    return std::any_of(input.begin(), input.end(), [&](const BaseChain& base) {
        return base.drops_by_policy || !chains[base.chain].rules.empty();
    });
}

bool covers(Families families, Family family) {
    return families == Families::both || (families == Families::ipv4) == (family == Family::ipv4);
}

std::string to_string(const Chain& chain) {
    if (chain.tool == Tool::nftables) {
        return std::string(family_word(chain)) + chain.table + " " + chain.name;
    }
    return (chain.families == Families::ipv6 ? "ip6 " : "") + chain.table + " " + chain.name;
}

std::string_view to_string(Tool tool) {
    switch (tool) {
    case Tool::iptables_legacy:
        return "iptables-legacy";
    case Tool::nftables:
        return "nftables";
    case Tool::iptables_nft:
        return "iptables-nft";
    }
    return "";
}

}  // namespace culvert::firewall
