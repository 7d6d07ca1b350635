// SPDX-License-Identifier: GPL-2.0-or-later
//
// Matches and targets of iptables (xt_*), which stand in the kernel's tables as a name, a revision
// and bytes: in iptables' own tables, and as "xt" expressions in tables of iptables-nft. Turns them
// into steps of a rule. Pure but for the sets, which are read by name; any bytes are survived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "firewall/ipset.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

struct Extension {
    std::string_view name;
    std::uint8_t revision = 0;
    std::span<const std::byte>
        info;  ///< As in struct xt_entry_match / xt_entry_target, behind the header.
};

/// Appends to rule.steps what the match asks for, and to rule.text how iptables writes it; sets
/// rule.comment. What is not known, or of a wrong size, becomes an UnknownMatch.
void read_match(const Extension& match, Family family, IpsetReader& sets, Rule& rule);

/// Sets rule.action (and rule.unknown), or appends an effect, and appends to rule.text. Targets
/// that only look on (LOG, NFLOG, TRACE, ...) are Action::none. Jumps to chains are the caller's.
void read_target(const Extension& target, Rule& rule);

}  // namespace culvert::firewall
