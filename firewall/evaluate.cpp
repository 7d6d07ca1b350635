// SPDX-License-Identifier: GPL-2.0-or-later
//
// The walk keeps one state for all ways that are still open: after a condition that cannot be
// evaluated it goes on as if both outcomes had happened, and what differs between them (the mark)
// is not known from there on. So its time is that of one way.
#include "firewall/evaluate.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <variant>

namespace culvert::firewall {

namespace {

enum class Truth : std::uint8_t { no, yes, unknown };

/// Rules that one packet may meet, jumps repeated: a list of chains that fork again and again could
/// keep a walk busy for ever. A walk that gets there is unknown from there on.
constexpr unsigned kRulesMetMax = 1U << 20U;

struct MarkState {
    Value value = 0;
    bool known = true;

    void join(const MarkState& other) { known = known && other.known && value == other.value; }
};

void join(std::optional<MarkState>& marks, const MarkState& mark) {
    if (marks) {
        marks->join(mark);
    } else {
        marks = mark;
    }
}

/// How a packet may leave a chain.
struct Exits {
    bool pass = false;
    bool drop = false;
    bool fall = false;  ///< By the end of the chain, or a return.
};

class Walk {
public:
    Walk(const Ruleset& rules, const Header& header, Trace* trace)
        : rules_(rules), header_(header), trace_(trace) {}

    Judgement run(std::span<const BaseChain> hooks) {
        Judgement judgement;
        judgement.may_pass = true;
        for (const BaseChain& base : hooks) {
            const Chain& chain = rules_.chains[base.chain];
            read_.set(static_cast<std::size_t>(Field::family));
            if (!covers(chain.families, header_.source.family)) {
                continue;
            }
            if (base.first_packet_only && !is_first_packet()) {
                continue;
            }
            passed_.reset();
            Exits exits = walk(base.chain, 0);
            if (exits.fall && !base.drops_by_policy) {
                join(passed_, mark_);
            }
            if (exits.fall) {
                const auto policy =
                    RuleRef{base.chain, static_cast<std::uint32_t>(chain.rules.size())};
                (base.drops_by_policy ? dropper_ : acceptor_) = policy;
                exits.pass = exits.pass || !base.drops_by_policy;
                exits.drop = exits.drop || base.drops_by_policy;
            }
            mark_ = passed_.value_or(mark_);
            judgement.may_drop = judgement.may_drop || exits.drop;
            judgement.may_pass = exits.pass;
            if (!exits.pass) {
                break;
            }
            if (!exits.drop) {
                dropper_.reset();
            }
        }
        judgement.read = read_;
        judgement.decider = judgement.is_unknown() && doubt_ ? doubt_
                            : judgement.may_drop             ? dropper_
                                                             : acceptor_;
        return judgement;
    }

private:
    bool is_first_packet() {
        read_.set(static_cast<std::size_t>(Field::state));
        return header_.state == State::fresh || header_.state == State::related;
    }

    Exits walk(std::uint32_t chain_index, unsigned depth) {
        Exits exits;
        const Chain& chain = rules_.chains[chain_index];
        std::optional<MarkState> returned;  // The mark of packets that left by a return.
        const auto leave = [&](const MarkState& mark) {
            exits.fall = true;
            join(returned, mark);
        };
        for (std::uint32_t index = 0; index < chain.rules.size(); ++index) {
            const Rule& rule = chain.rules[index];
            const RuleRef at{chain_index, index};
            const MarkState before = mark_;
            Truth truth = Truth::unknown;
            if (rules_met_ < kRulesMetMax) {
                ++rules_met_;
                truth = match(rule, at, depth);
            }
            if (truth == Truth::no) {
                continue;
            }
            const bool certain = truth == Truth::yes;
            switch (rule.action) {
            case Action::none:
                break;
            case Action::accept:
                exits.pass = true;
                join(passed_, mark_);
                acceptor_ = at;
                break;
            case Action::drop:
                exits.drop = true;
                dropper_ = at;
                break;
            case Action::return_:
                leave(mark_);
                break;
            case Action::jump:
            case Action::go_to: {
                const Exits inner = enter(rule.chain, depth + 1, at);
                exits.pass = exits.pass || inner.pass;
                exits.drop = exits.drop || inner.drop;
                if (rule.action == Action::go_to) {
                    if (inner.fall) {
                        leave(mark_);
                    }
                } else if (certain && !inner.fall) {
                    return finish(exits, returned);
                }
                break;
            }
            case Action::unknown:
                mark_.known = false;
                join(passed_, mark_);
                exits.pass = true;
                exits.drop = true;
                doubt(at);
                break;
            }
            const bool ends = rule.action != Action::none && rule.action != Action::jump &&
                              rule.action != Action::unknown;
            if (certain && ends) {
                return finish(exits, returned);
            }
            if (!certain) {
                mark_.join(before);
            }
        }
        leave(mark_);
        return finish(exits, returned);
    }

    Exits enter(std::uint32_t chain, unsigned depth, const RuleRef& at) {
        if (depth >= kChainDepthMax || rules_met_ >= kRulesMetMax) {
            doubt(at);
            mark_.known = false;
            join(passed_, mark_);
            return {true, true, true};
        }
        return walk(chain, depth);
    }

    Exits finish(const Exits& exits, const std::optional<MarkState>& returned) {
        if (returned) {
            mark_ = *returned;
        }
        return exits;
    }

    void doubt(const RuleRef& at) {
        if (!doubt_) {
            doubt_ = at;
        }
    }

    Truth match(const Rule& rule, const RuleRef& at, unsigned depth) {
        Truth truth = Truth::yes;
        const std::string* unknown = nullptr;
        for (const Step& step : rule.steps) {
            if (const auto* condition = std::get_if<Match>(&step)) {
                const Truth holds = evaluate(*condition);
                if (holds == Truth::no) {
                    truth = Truth::no;
                    break;
                }
                truth = holds == Truth::unknown ? holds : truth;
            } else if (const auto* other = std::get_if<UnknownMatch>(&step)) {
                truth = Truth::unknown;
                unknown = unknown == nullptr ? &other->what : unknown;
            } else if (const auto* set = std::get_if<SetMark>(&step)) {
                set_mark(*set, truth == Truth::yes);
            }
        }
        if (truth == Truth::unknown && rule.action != Action::none) {
            doubt(at);
        }
        if (trace_ != nullptr) {
            const auto outcome = truth == Truth::yes  ? TraceStep::Outcome::matched
                                 : truth == Truth::no ? TraceStep::Outcome::not_matched
                                                      : TraceStep::Outcome::unknown;
            trace_->push_back({at, outcome, depth, unknown == nullptr ? rule.unknown : *unknown});
        }
        return truth;
    }

    void set_mark(const SetMark& set, bool certain) {
        MarkState made = mark_;
        if (set.value) {
            made.value = ((mark_.value & ~set.mask) ^ *set.value) & max_value(32);
        } else {
            made.known = false;
        }
        if (!certain) {
            made.join(mark_);
        }
        mark_ = made;
    }

    Truth evaluate(const Match& condition) {
        constexpr std::size_t kOperandsMax = 8;
        std::array<Value, kOperandsMax> values{};
        const std::size_t count = condition.operands.size();
        if (count == 0 || count > kOperandsMax || !condition.set ||
            condition.set->width() != count) {
            return Truth::unknown;
        }
        std::uint32_t known = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Operand& operand = condition.operands[i];
            if (const auto value = value_of(operand.field)) {
                values.at(i) = *value & operand.mask;
                known |= 1U << i;
            }
        }
        // A tuple of another protocol or address is none of a packet without ports either.
        const bool contains = condition.set->may_contain(std::span(values).first(count), known);
        if (contains && known != (1U << count) - 1) {
            return Truth::unknown;
        }
        return contains != condition.negated ? Truth::yes : Truth::no;
    }

    std::optional<Value> value_of(Field field) {
        read_.set(static_cast<std::size_t>(field));
        switch (field) {
        case Field::family:
            return header_.source.family == Family::ipv4 ? 4 : 6;
        case Field::source:
            return header_.source.value;
        case Field::destination:
            return header_.destination.value;
        case Field::protocol:
            return header_.protocol;
        case Field::source_port:
        case Field::destination_port:
            // Whether a packet has ports is the protocol's.
            read_.set(static_cast<std::size_t>(Field::protocol));
            if (!header_.has_ports()) {
                return std::nullopt;
            }
            return field == Field::source_port ? header_.source_port : header_.destination_port;
        case Field::interface_in:
            return header_.interface_in;
        case Field::state:
            return static_cast<Value>(header_.state);
        case Field::mark:
            return mark_.known ? std::optional(mark_.value) : std::nullopt;
        case Field::count_:
            break;
        }
        return std::nullopt;
    }

    const Ruleset& rules_;
    const Header& header_;
    Trace* trace_;
    MarkState mark_;
    std::optional<MarkState> passed_;  ///< Of the packets that the base chain accepted so far.
    FieldSet read_;
    unsigned rules_met_ = 0;
    std::optional<RuleRef> acceptor_;
    std::optional<RuleRef> dropper_;
    std::optional<RuleRef> doubt_;
};

}  // namespace

Judgement evaluate(const Ruleset& rules, const Header& header, Trace* trace) {
    return Walk(rules, header, trace).run(rules.input);
}

Judgement evaluate(const Ruleset& rules, const BaseChain& only, const Header& header) {
    return Walk(rules, header, nullptr).run(std::span(&only, 1));
}

}  // namespace culvert::firewall
