// SPDX-License-Identifier: GPL-2.0-or-later
//
// The input policy in a listing of nftables ("nft -j list ruleset" with numbers for names): base
// chains of type filter on the hook input, in tables of ip, ip6 and inet, and the chains that they
// jump to. Pure; any thread. Any text is survived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

#include "firewall/ruleset.hpp"

namespace culvert::firewall {

struct NftTable {
    std::string family;  ///< "ip", "ip6", "inet".
    std::string name;
    bool operator==(const NftTable&) const = default;
    bool operator<(const NftTable& other) const {
        return std::tie(family, name) < std::tie(other.family, other.name);
    }
};

struct NftRuleKey {
    NftTable table;
    std::string chain;
    std::uint64_t handle = 0;
    bool operator<(const NftRuleKey& other) const {
        return std::tie(handle, chain, table) < std::tie(other.handle, other.chain, other.table);
    }
};

/// What the kernel says of rules and JSON does not: the extensions of iptables that rules of
/// iptables-nft have, which JSON only names, and what it lists as something else.
class NftExtensions {
public:
    NftExtensions() = default;
    virtual ~NftExtensions() = default;
    NftExtensions(const NftExtensions&) = delete;
    NftExtensions& operator=(const NftExtensions&) = delete;

    /// The `index`-th extension of a rule, named `name`: appends its steps to `rule`, or sets its
    /// action; false when it is not known.
    virtual bool
    read(const NftRuleKey& key, std::size_t index, std::string_view name, Rule& rule) = 0;
    /// Whether the rule compares two values by order. nft 1.0.6 lists "udp sport < 1 udp dport > 2"
    /// as "udp dport != 1-2", so a range in its listing need not be one.
    virtual bool has_two_orders(const NftRuleKey& key) = 0;
};

/// How deep a listing may be nested; libnftables stays below 16.
constexpr unsigned kNftNestingMax = 64;

/// The document in a listing; one sentence when it is none.
[[nodiscard]] tl::expected<nlohmann::json, std::string> parse_nft_json(std::string_view text);

/// The tables in the listing with rules that NftExtensions is asked about.
[[nodiscard]] std::set<NftTable> nft_tables_with_extensions(const nlohmann::json& document);

/// `extensions` may be null; what they would read is unknown then. `keeps_for` may be null; else it
/// is set to the seconds after which a set may have other elements although nobody changed it.
[[nodiscard]] Ruleset read_nft_json(
    const nlohmann::json& document,
    NftExtensions* extensions,
    std::optional<std::uint64_t>* keeps_for = nullptr
);

}  // namespace culvert::firewall
