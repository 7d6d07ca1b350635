// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules as nft prints them, out of its text listing with handles. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "firewall/nft_json.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// By rule. Lines that belong to no rule are left out.
[[nodiscard]] std::map<NftRuleKey, std::string> nft_rule_texts(std::string_view listing);

/// The family of the table that a chain stands in.
[[nodiscard]] std::string_view nft_family_of(const Chain& chain);

/// Sets the text of each rule that is listed.
void set_nft_texts(std::string_view listing, Ruleset& rules);

}  // namespace culvert::firewall
