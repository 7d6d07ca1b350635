// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a single rule says of the packets that a selector means, by comparing the selector's values,
// which are intervals, with what each condition holds for.
#include <algorithm>
#include <variant>

#include "firewall/opening.hpp"

namespace culvert::firewall {

namespace {

/// For which of the selector's packets a condition holds.
enum class Share : std::uint8_t { none, some, all };

Value width_of(Field field, Family family) {
    return max_value(bits_of(field, family));
}

Interval interval_of(const Prefix& prefix) {
    const Value hosts =
        max_value(bits_of(prefix.address.family) - static_cast<unsigned>(prefix.bits));
    return {prefix.address.value, prefix.address.value | hosts};
}

/// The values that the selector's packets have in a field.
Interval values_of(const Selector& selector, Field field) {
    const auto one = [](Value value) { return Interval{value, value}; };
    const Interval any{0, width_of(field, selector.family)};
    switch (field) {
    case Field::family:
        return one(selector.family == Family::ipv4 ? 4 : 6);
    case Field::protocol:
        return one(selector.protocol);
    case Field::source:
        return selector.source ? interval_of(*selector.source) : any;
    case Field::source_port:
        return selector.source_port ? one(*selector.source_port) : any;
    case Field::destination_port:
        return selector.destination_port ? one(*selector.destination_port) : any;
    case Field::state:
        return one(static_cast<Value>(State::fresh));
    case Field::destination:
    case Field::interface_in:
    case Field::mark:
    case Field::count_:
        break;
    }
    return any;
}

Share share_of(const Interval& condition, const Operand& operand, const Selector& selector) {
    const Interval values = values_of(selector, operand.field);
    const Value width = width_of(operand.field, selector.family);
    if ((operand.mask & width) != width) {
        if (values.low == values.high) {
            return condition.contains(values.low & operand.mask) ? Share::all : Share::none;
        }
        // A prefix, as iptables writes it: all of the selector's values, or perhaps some.
        const Value inverse = ~operand.mask & width;
        const bool is_prefix = (inverse & (inverse + 1)) == 0;
        const Interval masked{values.low & operand.mask, values.high & operand.mask};
        const bool alike = is_prefix && masked.low == masked.high;
        return !alike ? Share::some : condition.contains(masked.low) ? Share::all : Share::none;
    }
    if (condition.low <= values.low && values.high <= condition.high) {
        return Share::all;
    }
    return condition.low <= values.high && values.low <= condition.high ? Share::some : Share::none;
}

Share share_of(const Match& match, const Selector& selector) {
    if (!match.set || match.set->width() != match.operands.size()) {
        return Share::some;
    }
    Share best = Share::none;
    for (std::size_t index = 0; index < match.set->size(); ++index) {
        const auto tuple = match.set->tuple(index);
        Share worst = Share::all;
        for (std::size_t i = 0; i < tuple.size(); ++i) {
            worst = std::min(worst, share_of(tuple[i], match.operands[i], selector));
        }
        best = std::max(best, worst);
    }
    if (!match.negated || best == Share::some) {
        return best;
    }
    return best == Share::all ? Share::none : Share::all;
}

bool reads(const Match& match, Field field) {
    return !match.negated &&
           std::any_of(match.operands.begin(), match.operands.end(), [&](const Operand& operand) {
               return operand.field == field;
           });
}

/// A condition on one field that one interval fulfils.
const Interval* only_interval(const Match& match) {
    return !match.negated && match.operands.size() == 1 && match.set && match.set->width() == 1 &&
                   match.set->size() == 1
               ? match.set->tuple(0).data()
               : nullptr;
}

/// The prefix that a condition on an address asks for.
std::optional<Prefix> prefix_of(const Interval& interval, Value mask, Family family) {
    const unsigned width = bits_of(family);
    for (unsigned bits = 0; bits <= width; ++bits) {
        const Prefix prefix{{family, interval.low}, static_cast<std::uint8_t>(bits)};
        const bool by_mask =
            interval.low == interval.high && (mask & max_value(width)) == prefix_mask(width, bits);
        const bool by_range = (mask & max_value(width)) == max_value(width) &&
                              (interval.low & ~prefix_mask(width, bits) & max_value(width)) == 0 &&
                              interval_of(prefix) == interval;
        if (by_mask || by_range) {
            return prefix;
        }
    }
    return std::nullopt;
}

/// Takes one condition of a rule into `selector`; false when an opening has none of that kind.
bool take(const Match& match, Selector& selector, bool& has_protocol) {
    const Interval* interval = only_interval(match);
    if (interval == nullptr) {
        return false;
    }
    const Operand& operand = match.operands.front();
    const Value width = width_of(operand.field, selector.family);
    const bool is_value = interval->low == interval->high && (operand.mask & width) == width;
    switch (operand.field) {
    case Field::family:
        return is_value && interval->low == (selector.family == Family::ipv4 ? 4U : 6U);
    case Field::protocol:
        if (!is_value || (has_protocol && selector.protocol != interval->low)) {
            return false;
        }
        has_protocol = true;
        selector.protocol = static_cast<std::uint8_t>(interval->low);
        return true;
    case Field::source_port:
        selector.source_port = static_cast<std::uint16_t>(interval->low);
        return is_value;
    case Field::destination_port:
        selector.destination_port = static_cast<std::uint16_t>(interval->low);
        return is_value;
    case Field::source:
        selector.source = prefix_of(*interval, operand.mask, selector.family);
        return selector.source.has_value();
    case Field::destination:
    case Field::interface_in:
    case Field::state:
    case Field::mark:
    case Field::count_:
        break;
    }
    return false;
}

}  // namespace

Says says(const Rule& rule, const Selector& selector) {
    if (rule.action != Action::accept && rule.action != Action::drop) {
        return Says::nothing;
    }
    bool names_protocol = false;
    bool names_port = !selector.destination_port;
    Share share = Share::all;
    for (const Step& step : rule.steps) {
        if (const auto* match = std::get_if<Match>(&step)) {
            share = std::min(share, share_of(*match, selector));
            names_protocol = names_protocol || reads(*match, Field::protocol);
            names_port = names_port || reads(*match, Field::destination_port);
        } else if (std::holds_alternative<UnknownMatch>(step)) {
            share = std::min(share, Share::some);
        }
    }
    // A rule that drops the whole of UDP is not about a tunnel; one that admits it does admit it.
    const bool accepts = rule.action == Action::accept;
    if (share == Share::none || !names_protocol || (!names_port && !accepts)) {
        return Says::nothing;
    }
    if (share == Share::all) {
        return accepts ? Says::admits : Says::refuses;
    }
    return accepts ? Says::admits_partly : Says::refuses_partly;
}

std::optional<Selector> selector_of(const Rule& rule, Family family) {
    Selector selector;
    selector.family = family;
    bool has_protocol = false;
    if (rule.action != Action::accept) {
        return std::nullopt;
    }
    for (const Step& step : rule.steps) {
        const auto* match = std::get_if<Match>(&step);
        if (match == nullptr || !take(*match, selector, has_protocol)) {
            return std::nullopt;
        }
    }
    return has_protocol ? std::optional(selector) : std::nullopt;
}

bool is_opening(const Rule& rule, const Selector& selector) {
    return selector_of(rule, selector.family) == selector;
}

}  // namespace culvert::firewall
