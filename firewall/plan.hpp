// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which rules are to be inserted and erased, from what is wanted and what is there. Pure: the
// tables are read before and written after, by a Backend. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firewall/evaluate.hpp"
#include "firewall/opening.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// One change of a chain.
struct Edit {
    enum class Kind : std::uint8_t { insert, erase };
    Kind kind = Kind::insert;
    std::uint32_t chain = 0;  ///< Index into Ruleset::chains.
    std::uint32_t rule = 0;   ///< erase: index into Chain::rules. Inserted rules become the first.
    Selector selector;        ///< insert: accepts these.
    std::string comment;      ///< insert.
};
/// Applied in order, as one transaction; rule indices are those of the ruleset that was planned on.
using Plan = std::vector<Edit>;

/// What became of a wish to open.
struct Opening {
    enum class Outcome : std::uint8_t {
        inserted,
        exists,    ///< A rule admits it already; it stays as it is.
        refused,   ///< A rule drops it: the operator's decision, which stays as it is.
        no_chain,  ///< Nothing filters input of this family with this tool.
    };
    Selector selector;
    Outcome outcome = Outcome::inserted;
    std::optional<RuleRef> rule;  ///< exists, refused: the rule.
};

struct EnablePlan {
    Plan edits;
    std::vector<Opening> openings;  ///< One for each selector wanted, in order.
};

/// Opens each of `wanted` at the head of every filter chain on the hook that covers its family,
/// other than where a rule that is reached from the chain is about it already (says()). `tool`
/// limits it to chains of one tool; an nftables ruleset is written as the chain's own tool reads
/// it.
[[nodiscard]] EnablePlan
plan_enable(const Ruleset& rules, const std::vector<Selector>& wanted, const Mark& mark);
/// Erases each rule that Culvert wrote for packets of the selectors' protocol and ports, from
/// whichever source, and no other.
[[nodiscard]] Plan plan_disable(const Ruleset& rules, const std::vector<Selector>& unwanted);
/// Makes the automatic rules be those for `wanted`: inserts what is missing, erases what is too
/// much.
[[nodiscard]] Plan plan_automatic(const Ruleset& rules, const std::vector<Selector>& wanted);

}  // namespace culvert::firewall
