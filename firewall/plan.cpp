// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plans over a ruleset. A rule that is reached through a jump counts with the conditions of the
// rules that jump to it.
#include "firewall/plan.hpp"

#include <algorithm>
#include <cstddef>

namespace culvert::firewall {

namespace {

/// Rules that a search looks at in one base chain; jumps that fork again and again end there.
constexpr unsigned kRulesSearchedMax = 100'000;

/// A rule that is about a selector's packets.
struct Found {
    Says says = Says::nothing;
    RuleRef at;
};

/// The first rule, from a base chain on, that admits or refuses all of a selector's packets.
class Search {
public:
    Search(const Ruleset& rules, const Selector& selector) : rules_(rules), selector_(selector) {}

    std::optional<Found> from(std::uint32_t chain) {
        look(chain, {}, 0);
        return found_;
    }

private:
    void look(std::uint32_t chain_index, const std::vector<Step>& conditions, unsigned depth) {
        const Chain& chain = rules_.chains[chain_index];
        for (std::uint32_t index = 0; index < chain.rules.size() && !found_; ++index) {
            if (++searched_ > kRulesSearchedMax) {
                return;
            }
            Rule rule = chain.rules[index];
            rule.steps.insert(rule.steps.begin(), conditions.begin(), conditions.end());
            if (rule.action == Action::jump || rule.action == Action::go_to) {
                if (depth + 1 < kChainDepthMax) {
                    look(rule.chain, rule.steps, depth + 1);
                }
                continue;
            }
            const Says what = says(rule, selector_);
            if (what == Says::admits || what == Says::refuses) {
                found_ = Found{what, {chain_index, index}};
            }
        }
    }

    const Ruleset& rules_;
    const Selector& selector_;
    std::optional<Found> found_;
    unsigned searched_ = 0;
};

/// Whether a chain lets the selector's packets pass as it stands. Their destination is the host's
/// own, whichever it is; a rule that asks for another makes no difference that matters here.
bool passes(const Ruleset& rules, const BaseChain& base, const Selector& selector) {
    return evaluate(rules, base, header_of(selector, Address{selector.family, 1})).accepted();
}

/// Whether an opening belongs into a chain. iptables' INPUT always takes one, as with ovs-ctl;
/// chains of nftables are many programs' and take one only where they would drop.
bool takes_openings(const Ruleset& rules, const BaseChain& base, const Selector& selector) {
    const Chain& chain = rules.chains[base.chain];
    if (!covers(chain.families, selector.family)) {
        return false;
    }
    return chain.tool == Tool::nftables ? !passes(rules, base, selector) : base.is_filter;
}

/// Appends the edits that open `selector`, and says what became of it.
Opening open(const Ruleset& rules, const Selector& selector, const Mark& mark, Plan& edits) {
    Opening opening{selector, Opening::Outcome::no_chain, std::nullopt};
    Plan made;
    for (const BaseChain& base : rules.input) {
        const Chain& chain = rules.chains[base.chain];
        if (!covers(chain.families, selector.family)) {
            continue;
        }
        const auto found = Search(rules, selector).from(base.chain);
        if (found && found->says == Says::refuses) {
            return {selector, Opening::Outcome::refused, found->at};
        }
        if (!found && takes_openings(rules, base, selector)) {
            Edit edit;
            edit.chain = base.chain;
            edit.selector = selector;
            edit.comment = mark.name.empty() ? "" : to_string(mark);
            made.push_back(edit);
        } else if (found || chain.tool == Tool::nftables) {
            opening.outcome = Opening::Outcome::exists;
            opening.rule = found ? std::optional(found->at) : opening.rule;
        }
    }
    if (!made.empty()) {
        opening.outcome = Opening::Outcome::inserted;
        opening.rule.reset();
        edits.insert(edits.end(), made.begin(), made.end());
    }
    return opening;
}

/// What a rule of Culvert's in `chain` opens.
std::optional<Selector> opened_by(const Chain& chain, const Rule& rule) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        if (covers(chain.families, family)) {
            if (auto selector = selector_of(rule, family)) {
                return selector;
            }
        }
    }
    return std::nullopt;
}

Edit erase(std::uint32_t chain, std::size_t rule) {
    Edit edit;
    edit.kind = Edit::Kind::erase;
    edit.chain = chain;
    edit.rule = static_cast<std::uint32_t>(rule);
    return edit;
}

/// Calls `visit(chain index, rule index, mark, selector)` for each rule that Culvert wrote.
template <class Visit>
void each_of_ours(const Ruleset& rules, Visit visit) {
    for (const BaseChain& base : rules.input) {
        const Chain& chain = rules.chains[base.chain];
        for (std::size_t index = 0; index < chain.rules.size(); ++index) {
            const auto mark = parse_mark(chain.rules[index].comment);
            const auto selector = mark ? opened_by(chain, chain.rules[index]) : std::nullopt;
            if (selector) {
                visit(base.chain, index, *mark, *selector);
            }
        }
    }
}

}  // namespace

EnablePlan
plan_enable(const Ruleset& rules, const std::vector<Selector>& wanted, const Mark& mark) {
    EnablePlan plan;
    for (const Selector& selector : wanted) {
        plan.openings.push_back(open(rules, selector, mark, plan.edits));
    }
    return plan;
}

Plan plan_disable(const Ruleset& rules, const std::vector<Selector>& unwanted) {
    Plan plan;
    each_of_ours(
        rules,
        [&](std::uint32_t chain, std::size_t rule, const Mark&, const Selector& selector) {
            const bool named =
                std::any_of(unwanted.begin(), unwanted.end(), [&](const Selector& other) {
                    return other.family == selector.family && other.protocol == selector.protocol &&
                           other.destination_port == selector.destination_port &&
                           other.source_port == selector.source_port;
                });
            if (named) {
                plan.push_back(erase(chain, rule));
            }
        }
    );
    return plan;
}

Plan plan_automatic(const Ruleset& rules, const std::vector<Selector>& wanted) {
    Plan plan;
    Ruleset rest = rules;  // Without the rules that go: they open nothing any more.
    std::vector<std::pair<std::uint32_t, Selector>> kept;  // By chain.
    each_of_ours(
        rules,
        [&](std::uint32_t chain, std::size_t rule, const Mark& mark, const Selector& selector) {
            if (!mark.automatic) {
                return;
            }
            const std::pair here{chain, selector};
            const bool is_wanted =
                std::find(wanted.begin(), wanted.end(), selector) != wanted.end();
            if (!is_wanted || std::find(kept.begin(), kept.end(), here) != kept.end()) {
                plan.push_back(erase(chain, rule));
                rest.chains[chain].rules[rule].action = Action::none;
            } else {
                kept.push_back(here);
            }
        }
    );
    for (const Selector& selector : wanted) {
        static_cast<void>(open(rest, selector, {true, mark_name(selector), {}}, plan));
    }
    return plan;
}

}  // namespace culvert::firewall
