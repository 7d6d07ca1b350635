// SPDX-License-Identifier: GPL-2.0-or-later
//
// The xt match "set": the packet's fields are an element of an ipset. Sets of another family, or
// with more parts than the rule names, hold no packet (ip_set_test() in the kernel). What depends
// on counters of elements is unknown. The thread of the IpsetReader.
#include "firewall/xt_match.hpp"

#include <utility>

#include <linux/netfilter/xt_set.h>

namespace culvert::firewall::xt {

namespace {

struct SetInfo {
    xt_set_info set{};
    bool asks_for_counters = false;
};

std::optional<SetInfo> set_info_of(const Extension& match) {
    SetInfo info;
    switch (match.revision) {
    case 1:
    case 2: {
        const auto read = info_of<xt_set_info_match_v1>(match.info);
        if (!read) {
            return std::nullopt;
        }
        info.set = read->match_set;
        return info;
    }
    case 3: {
        const auto read = info_of<xt_set_info_match_v3>(match.info);
        if (!read) {
            return std::nullopt;
        }
        info.set = read->match_set;
        info.asks_for_counters = read->packets.op != 0 || read->bytes.op != 0 ||
                                 (read->flags & IPSET_FLAG_RETURN_NOMATCH) != 0;
        return info;
    }
    case 4: {
        const auto read = info_of<xt_set_info_match_v4>(match.info);
        if (!read) {
            return std::nullopt;
        }
        info.set = read->match_set;
        info.asks_for_counters = read->packets.op != 0 || read->bytes.op != 0 ||
                                 (read->flags & IPSET_FLAG_RETURN_NOMATCH) != 0;
        return info;
    }
    default:
        return std::nullopt;
    }
}

bool is_source(const xt_set_info& info, std::size_t part) {
    return (info.flags >> (part + 1) & 1U) != 0;
}

std::string set_text(const xt_set_info& info, std::string_view name) {
    std::string text = (info.flags & IPSET_INV_MATCH) != 0 ? "! " : "";
    text += "--match-set " + printable(name) + ' ';
    for (std::size_t i = 0; i < info.dim; ++i) {
        text += i == 0 ? "" : ",";
        text += is_source(info, i) ? "src" : "dst";
    }
    return text;
}

// The fields that the set's tuples are compared with; nothing when a packet to the host has none
// of that kind: the interface that it leaves by.
std::optional<std::vector<Operand>> operands_of(const Ipset& set, const xt_set_info& info) {
    std::vector<Operand> operands;
    for (std::size_t i = 0; i < set.parts.size(); ++i) {
        const bool from_source = is_source(info, i);
        switch (set.parts[i]) {
        case Ipset::Part::address:
            operands.push_back({from_source ? Field::source : Field::destination});
            break;
        case Ipset::Part::port:
            operands.push_back({Field::protocol});
            operands.push_back({from_source ? Field::source_port : Field::destination_port});
            break;
        case Ipset::Part::interface:
            if (!from_source) {
                return std::nullopt;
            }
            operands.push_back({Field::interface_in});
            break;
        }
    }
    return operands;
}

}  // namespace

bool read_set(const Reading& reading) {
    const auto info = set_info_of(reading.match);
    if (!info || info->set.dim > IPSET_DIM_MAX) {
        return false;
    }
    const auto set = reading.sets.find(info->set.index);
    const bool negated = (info->set.flags & IPSET_INV_MATCH) != 0;
    const std::string name = set ? set->name : '#' + std::to_string(info->set.index);
    reading.say("-m set " + set_text(info->set, name));
    if (!set || !set->tuples) {
        reading.unknown(printable(name));
        return true;
    }
    const auto holds_no_packet = [&] {
        if (!negated) {
            reading.never();
        }
        return true;
    };
    if (info->set.dim < set->parts.size() || (set->family && *set->family != reading.family)) {
        return holds_no_packet();
    }
    if (info->asks_for_counters || (info->set.flags & IPSET_RETURN_NOMATCH) != 0) {
        reading.say("...");
        reading.unknown(printable(name) + " with counters");
        return true;
    }
    auto operands = operands_of(*set, info->set);
    if (!operands) {
        return holds_no_packet();
    }
    if (operands->size() != set->tuples->width()) {
        reading.unknown(printable(name));
        return true;
    }
    reading.rule.steps.emplace_back(Match{std::move(*operands), set->tuples, negated});
    return true;
}

}  // namespace culvert::firewall::xt
