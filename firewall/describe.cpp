// SPDX-License-Identifier: GPL-2.0-or-later
//
// One wording of rules for the commands, the log and the daemon's answers. Any index is survived:
// a reference may be older than the ruleset it is looked up in.
#include "firewall/describe.hpp"

#include <algorithm>

namespace culvert::firewall {
namespace {

/// A rule with long lists of addresses would fill the screen; what tells it apart stands in front.
constexpr std::size_t kTextBytesMax = 500;

const BaseChain* find_base(const Ruleset& rules, std::uint32_t chain) {
    const auto found =
        std::find_if(rules.input.begin(), rules.input.end(), [chain](const BaseChain& base) {
            return base.chain == chain;
        });
    return found == rules.input.end() ? nullptr : &*found;
}

}  // namespace

std::string on_one_line(std::string_view text) {
    constexpr std::string_view kHexDigits = "0123456789abcdef";
    std::string line;
    for (const char byte : text) {
        if (line.size() >= kTextBytesMax) {
            return line + "...";
        }
        const auto value = static_cast<unsigned char>(byte);
        if (value >= 0x20 && value != 0x7f) {
            line.push_back(byte);
        } else {
            line += "\\x";
            line.push_back(kHexDigits[value >> 4U]);
            line.push_back(kHexDigits[value & 0xfU]);
        }
    }
    return line;
}

std::string tool_of(const Chain& chain) {
    const std::string_view version = chain.families == Families::ipv6 ? "ip6tables" : "iptables";
    switch (chain.tool) {
    case Tool::iptables_legacy:
        return std::string(version) + "-legacy";
    case Tool::iptables_nft:
        return std::string(version) + "-nft";
    case Tool::nftables:
        break;
    }
    return "nftables";
}

std::string describe(const Chain& chain) {
    // The tools of iptables say the family by their name, nft in front of the table.
    const std::string name =
        chain.tool == Tool::nftables ? to_string(chain) : chain.table + " " + chain.name;
    return tool_of(chain) + " " + on_one_line(name);
}

std::string describe(const Ruleset& rules, const RuleRef& at) {
    if (at.chain >= rules.chains.size()) {
        return "a chain that is gone";
    }
    const Chain& chain = rules.chains[at.chain];
    if (at.rule < chain.rules.size()) {
        const Rule& rule = chain.rules[at.rule];
        const std::string number = chain.tool == Tool::nftables
                                       ? " rule with handle " + std::to_string(rule.handle)
                                       : " rule " + std::to_string(at.rule + 1);
        return describe(chain) + number + ": " + on_one_line(rule.text);
    }
    const BaseChain* base = find_base(rules, at.chain);
    if (base == nullptr) {
        return "the end of " + describe(chain);
    }
    const bool in_capitals = chain.tool != Tool::nftables;
    const std::string_view policy = base->drops_by_policy ? (in_capitals ? "DROP" : "drop")
                                                          : (in_capitals ? "ACCEPT" : "accept");
    return "the policy " + std::string(policy) + " of " + describe(chain);
}

}  // namespace culvert::firewall
