// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the host's INPUT would do with a packet. Three-valued: where a rule cannot be evaluated,
// both ways are followed, and the answer is definite only if they end alike. Pure; any thread.
// Without a trace it allocates nothing and takes time in proportion to the rules met.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firewall/header.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// Chains that a walk may be in at once. The kernel has limits of its own (16 in nftables; iptables
/// refuses loops); a deeper walk counts as unknown.
constexpr unsigned kChainDepthMax = 32;

struct RuleRef {
    std::uint32_t chain = 0;  ///< Index into Ruleset::chains.
    std::uint32_t rule = 0;   ///< Index into Chain::rules; as many as there are: the policy.
    bool operator==(const RuleRef&) const = default;
};

struct Judgement {
    bool may_pass = false;
    bool may_drop = false;
    FieldSet read;  ///< Packets that are alike in these fields get the same answer.
    /// The rule that dropped the packet, or the last one that accepted it. None: no base chain.
    std::optional<RuleRef> decider;

    [[nodiscard]] bool accepted() const { return may_pass && !may_drop; }
    [[nodiscard]] bool dropped() const { return may_drop && !may_pass; }
    [[nodiscard]] bool is_unknown() const { return may_pass && may_drop; }
};

/// One rule that was looked at.
struct TraceStep {
    enum class Outcome : std::uint8_t { matched, not_matched, unknown };
    RuleRef at;
    Outcome outcome = Outcome::not_matched;
    unsigned depth = 0;   ///< Of the chain: 0 in a base chain.
    std::string unknown;  ///< What could not be evaluated.
};
using Trace = std::vector<TraceStep>;

[[nodiscard]] Judgement
evaluate(const Ruleset& rules, const Header& header, Trace* trace = nullptr);
/// As if `only` were the one chain that the hook calls.
[[nodiscard]] Judgement evaluate(const Ruleset& rules, const BaseChain& only, const Header& header);

}  // namespace culvert::firewall
