// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rules that a packet to the host meets (the netfilter hook INPUT), whichever tool wrote them:
// iptables and nftables are both read into this. A rule is the list of its conditions and effects
// in the order in which the kernel takes them, and what is done with a packet that got past them
// all.
//
// What a reader does not know it writes down as `unknown`, never leaves out: evaluate.hpp then says
// that the verdict depends on it. Values; any thread may read them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "firewall/header.hpp"
#include "firewall/value_set.hpp"

namespace culvert::firewall {

/// One field as a rule reads it: masked, then compared.
struct Operand {
    Field field = Field::source;
    Value mask = ~Value{0};
};

/// Holds when the operands' values are a tuple of `set`; `negated`, when they are not. A packet
/// without a field (the port of a GRE packet) has an unknown value: a reader puts the condition
/// on the protocol that the kernel checks in front.
struct Match {
    std::vector<Operand> operands;
    std::shared_ptr<const TupleSet> set;
    bool negated = false;
};

/// A condition that cannot be evaluated; `what` names it, e.g. "match recent".
struct UnknownMatch {
    std::string what;
};

/// mark = (mark & ~mask) ^ value; without a value the new mark is not known.
struct SetMark {
    Value mask = 0;
    std::optional<Value> value;
};

/// Conditions that hold for every packet (limits, comments, counters) are no step at all.
using Step = std::variant<Match, UnknownMatch, SetMark>;

enum class Action : std::uint8_t {
    none,     ///< The packet goes on to the next rule (LOG, counters).
    accept,   ///< Leaves the base chain; a later hook may still drop.
    drop,     ///< DROP and REJECT.
    jump,     ///< To `chain`, and back.
    go_to,    ///< To `chain`, and from its end to where this chain would return to.
    return_,  ///< Out of a user chain; in a base chain its policy.
    unknown,  ///< Ends the packet's way or does not, with any verdict (NFQUEUE, TARPIT).
};

struct Rule {
    std::vector<Step> steps;
    Action action = Action::none;
    std::uint32_t chain = 0;  ///< Of jump and go_to: index into Ruleset::chains.
    std::string unknown;      ///< Of Action::unknown: its name.
    std::string text;         ///< As its tool lists it, without the chain, for people.
    std::string comment;
    std::uint64_t handle =
        0;  ///< nftables: the rule's handle. iptables: its number in the chain, from 1.
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};

enum class Tool : std::uint8_t {
    iptables_legacy,
    nftables,      ///< Made with nft.
    iptables_nft,  ///< A table of nftables that iptables-nft looks after.
};

enum class Families : std::uint8_t { ipv4, ipv6, both };

struct Chain {
    std::string name;
    std::string table;
    Tool tool = Tool::iptables_legacy;
    Families families = Families::ipv4;  ///< nftables: ip, ip6, inet.
    std::vector<Rule> rules;
};

/// A chain that the hook calls, with what becomes of a packet that its rules let through.
struct BaseChain {
    std::uint32_t chain = 0;  ///< Index into Ruleset::chains.
    std::int32_t priority = 0;
    bool drops_by_policy = false;
    /// A filter chain of the usual priority (0), where an operator looks for what admits a packet:
    /// not mangle or security.
    bool is_filter = true;
    /// A chain of the type nat, which only the first packet of a connection meets.
    bool first_packet_only = false;
};

struct Ruleset {
    std::vector<Chain> chains;
    std::vector<BaseChain> input;  ///< By priority; each has to let a packet pass.

    /// Takes the chains of another reading in; `input` stays in order of priority.
    void add(Ruleset other);
    [[nodiscard]] bool has_policy() const;  ///< A rule, or a policy of drop, in any base chain.
};

[[nodiscard]] bool covers(Families families, Family family);
/// "filter INPUT", "inet filter input", "ip6 filter INPUT": as its tool says it.
[[nodiscard]] std::string to_string(const Chain& chain);
[[nodiscard]] std::string_view to_string(Tool tool);

}  // namespace culvert::firewall
