// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules, policies and the tools that they belong to, as people are told of them. Bytes of comments
// and names that a terminal would take for commands are escaped. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "firewall/evaluate.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// The tool that lists the chain: "iptables-legacy", "ip6tables-nft", "nftables".
[[nodiscard]] std::string tool_of(const Chain& chain);
/// The chain with its tool: "iptables-legacy filter INPUT", "nftables inet filter input".
[[nodiscard]] std::string describe(const Chain& chain);
/// "iptables-legacy filter INPUT rule 3: -p gre -j DROP", or "the policy DROP of iptables-legacy
/// filter INPUT". Rules of nft are named by handle, as `nft delete rule` wants them.
[[nodiscard]] std::string describe(const Ruleset& rules, const RuleRef& at);

/// Control characters become \xNN; a longer text is cut. For one line of a terminal or a log.
[[nodiscard]] std::string on_one_line(std::string_view text);

}  // namespace culvert::firewall
