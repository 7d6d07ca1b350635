// SPDX-License-Identifier: GPL-2.0-or-later
//
// One rule of nftables, from the JSON of libnftables. Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "firewall/nft_json.hpp"
#include "firewall/nft_match.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// What a rule may refer to.
struct NftScope {
    NftTable table;
    std::string chain;
    Families families = Families::both;
    Tool tool = Tool::nftables;
    NftSets* sets = nullptr;
    NftExtensions* extensions = nullptr;
    /// The index in Ruleset::chains of a chain of the table.
    std::function<std::optional<std::uint32_t>(std::string_view)> chain_index;
};

/// Whether a statement compares with a range, as listed.
[[nodiscard]] bool nft_has_range(const nlohmann::json& statement);

/// Appends the rule, with its text where iptables-nft wrote it; one with a map of verdicts as a
/// rule for each verdict in it, as at most one element of a map holds a packet.
void read_nft_rule(const nlohmann::json& rule, const NftScope& scope, std::vector<Rule>& rules);

}  // namespace culvert::firewall
