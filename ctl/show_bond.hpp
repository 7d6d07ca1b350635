// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands about bonds, by Open vSwitch's names and with its texts, which other programs read
// (xapi polls bond/show). Control thread only.
#pragma once

#include <map>
#include <string>

#include "ctl/commands.hpp"

namespace culvert::ctl {

/// bond/..., lacp/show.
void add_bond_commands(std::map<std::string, Command>& commands, const CommandContext& context);

/// What bond/show says of a bond.
[[nodiscard]] std::string bond_text(const Bond& bond, std::uint64_t now_ms);

/// What lacp/show says of the bond `name`.
[[nodiscard]] std::string lacp_text(const std::string& name, const Lacp& lacp);

}  // namespace culvert::ctl
