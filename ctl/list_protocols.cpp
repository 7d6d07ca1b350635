// SPDX-License-Identifier: GPL-2.0-or-later
//
// list-protocols and check-protocol: what INPUT says of each tunnel type, and the rules about it.
#include <algorithm>
#include <utility>

#include "ctl/admission.hpp"
#include "ctl/firewall_commands.hpp"
#include "ctl/packet_options.hpp"
#include "firewall/describe.hpp"

namespace culvert::ctl {

using firewall::Chain;
using firewall::Family;
using firewall::Field;
using firewall::Interval;
using firewall::Policy;
using firewall::Prefix;
using firewall::Rule;
using firewall::Ruleset;
using firewall::Says;
using firewall::Selector;
using firewall::TunnelType;
using firewall::Value;

namespace {

/// A list of addresses in a rule is shown up to here.
constexpr std::size_t kSourcesShownMax = 8;

std::string_view word_of(Admission::Verdict verdict) {
    switch (verdict) {
    case Admission::Verdict::admitted:
        return "yes";
    case Admission::Verdict::dropped:
        return "no";
    case Admission::Verdict::depends:
        break;
    }
    return "depends";
}

/// Who put the rule there.
std::string_view installer_of(const Rule& rule, Family family) {
    const auto mark = firewall::parse_mark(rule.comment);
    if (!mark.has_value() || !firewall::selector_of(rule, family).has_value()) {
        return "operator";
    }
    return mark->automatic ? "culvert automatic" : "culvert";
}

/// The smallest prefix that is the interval, when there is one.
std::optional<Prefix> prefix_of(const Interval& interval, Family family) {
    const unsigned width = firewall::bits_of(family);
    for (unsigned bits = 1; bits <= width; ++bits) {
        const Value mask = firewall::prefix_mask(width, bits);
        if ((interval.low & mask) == interval.low &&
            (interval.low | firewall::max_value(width - bits)) == interval.high) {
            return Prefix{{family, interval.low}, static_cast<std::uint8_t>(bits)};
        }
    }
    return std::nullopt;
}

/// The senders that a rule asks for, where they are prefixes.
std::vector<Prefix> sources_of(const Rule& rule, Family family) {
    const Value all_ones = firewall::max_value(firewall::bits_of(family));
    std::vector<Prefix> sources;
    for (const firewall::Step& step : rule.steps) {
        const auto* match = std::get_if<firewall::Match>(&step);
        if (match == nullptr || match->negated || match->set == nullptr ||
            match->operands.size() != 1 || match->operands[0].field != Field::source) {
            continue;
        }
        const Value host_bits = ~match->operands[0].mask & all_ones;
        for (std::size_t i = 0; i < match->set->size() && i < kSourcesShownMax; ++i) {
            const Interval interval = match->set->tuple(i)[0];
            const auto prefix = prefix_of({interval.low, interval.high | host_bits}, family);
            if (prefix.has_value()) {
                sources.push_back(*prefix);
            }
        }
    }
    return sources;
}

/// A rule about a selector's packets.
struct About {
    firewall::RuleRef at;
    Says says = Says::nothing;
};

std::vector<About> rules_about(const Ruleset& rules, const Selector& selector) {
    std::vector<About> found;
    for (std::uint32_t chain = 0; chain < rules.chains.size(); ++chain) {
        if (!firewall::covers(rules.chains[chain].families, selector.family)) {
            continue;
        }
        for (std::uint32_t rule = 0; rule < rules.chains[chain].rules.size(); ++rule) {
            const Says what = firewall::says(rules.chains[chain].rules[rule], selector);
            if (what != Says::nothing) {
                found.push_back({{chain, rule}, what});
            }
        }
    }
    return found;
}

/// From whom packets are admitted, of the senders that rules name: "10.0.0.1, 10.2.0.0/16".
std::string limits_of(
    const Policy& policy,
    const Admissions& admissions,
    Selector selector,
    const std::vector<About>& about
) {
    std::vector<std::string> limits;
    for (const About& one : about) {
        if (one.says != Says::admits_partly) {
            continue;
        }
        const Rule& rule = policy.rules.chains[one.at.chain].rules[one.at.rule];
        for (const Prefix& source : sources_of(rule, selector.family)) {
            selector.source = source;
            std::string text = firewall::to_string(source);
            if (limits.size() < kSourcesShownMax &&
                std::find(limits.begin(), limits.end(), text) == limits.end() &&
                admissions.of(selector).verdict == Admission::Verdict::admitted) {
                limits.push_back(std::move(text));
            }
        }
    }
    std::string all;
    for (const std::string& limit : limits) {
        all += (all.empty() ? "" : ", ") + limit;
    }
    return all;
}

void add_rows(
    Table& table,
    const Policy& policy,
    const Admissions& admissions,
    const TunnelType& type,
    Family family
) {
    Selector selector;
    selector.family = family;
    selector.protocol = type.protocol;
    selector.destination_port = type.destination_port;
    const auto about = rules_about(policy.rules, selector);
    const Admission admission = admissions.of(selector);
    std::string admitted(word_of(admission.verdict));
    Cell from;
    if (admission.verdict == Admission::Verdict::admitted) {
        from = "any";
    } else if (std::string limits = limits_of(policy, admissions, selector, about);
               !limits.empty()) {
        admitted = admission.verdict == Admission::Verdict::dropped ? "some" : admitted;
        from = std::move(limits);
    }
    const auto add = [&](Cell by, Cell packets, Cell rule) {
        table.add_row(
            {type.name,
             name_of(family),
             admitted,
             from,
             std::move(by),
             std::move(packets),
             std::move(rule)}
        );
    };
    for (const About& one : about) {
        const Rule& rule = policy.rules.chains[one.at.chain].rules[one.at.rule];
        add(installer_of(rule, family), rule.packets, firewall::describe(policy.rules, one.at));
    }
    if (about.empty()) {
        add(std::nullopt, std::nullopt, std::nullopt);
    }
}

/// What is said in one line; of both families when it is the same.
struct Finding {
    Selector selector;
    Admission admission;
    std::string families;
};

void add(std::vector<Finding>& findings, const Selector& selector, const Admission& admission) {
    const std::string family(name_of(selector.family));
    for (Finding& known : findings) {
        if (firewall::to_string(known.selector) == firewall::to_string(selector) &&
            known.admission == admission) {
            known.families += " and " + family;
            return;
        }
    }
    findings.push_back({selector, admission, family});
}

}  // namespace

LocalAnswer list_protocols(const LocalCall& call, const MakeFirewall& make) {
    const auto choice = read_backend(call);
    if (!choice.has_value()) {
        return refuse(choice.error());
    }
    const Policy policy = make(*choice)->read();
    const Admissions admissions(policy, entrances());
    Table table(
        {{"type"}, {"family"}, {"admitted"}, {"from"}, {"by"}, {"packets", Align::right}, {"rule"}}
    );
    for (const TunnelType& type : firewall::tunnel_types()) {
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            add_rows(table, policy, admissions, type, family);
        }
    }
    LocalAnswer answer{kStatusDone, table.render(call.format), {}, false};
    complain_of(policy.troubles, answer);
    return answer;
}

LocalAnswer check_protocol(const LocalCall& call, const MakeFirewall& make) {
    const auto selectors = read_selectors(call);
    if (!selectors.has_value()) {
        return refuse(selectors.error());
    }
    const auto choice = read_backend(call);
    if (!choice.has_value()) {
        return refuse(choice.error());
    }
    const Policy policy = make(*choice)->read();
    auto ways_in = entrances();
    if (const auto interface = call.value("--interface")) {
        for (Entrance& entrance : ways_in) {
            entrance.interface = *interface;
        }
    }
    const Admissions admissions(policy, std::move(ways_in));
    LocalAnswer answer;
    answer.is_sentence = false;
    Table table({{"protocol"}, {"family"}, {"from"}, {"admitted"}, {"rule"}});
    std::vector<Finding> findings;
    for (const Selector& selector : *selectors) {
        const Admission admission = admissions.of(selector);
        if (admission.verdict != Admission::Verdict::admitted) {
            answer.status = kStatusRefused;
        }
        Cell rule;
        if (admission.decider.has_value()) {
            rule = firewall::describe(policy.rules, *admission.decider);
        }
        const std::string from = selector.source ? firewall::to_string(*selector.source) : "any";
        table.add_row(
            {name_of(selector), name_of(selector.family), from, word_of(admission.verdict), rule}
        );
        add(findings, selector, admission);
    }
    if (call.format == OutputFormat::json) {
        answer.text = table.render(call.format);
    } else {
        for (const Finding& one : findings) {
            answer.text += admissions.sentence(one.selector, one.admission, one.families) + "\n";
        }
    }
    complain_of(policy.troubles, answer);
    return answer;
}

}  // namespace culvert::ctl
