// SPDX-License-Identifier: GPL-2.0-or-later
//
// The native expressions that iptables-nft 1.8 writes, in its words. Pure; any thread.
#include "firewall/iptables_text.hpp"

#include <nlohmann/json.hpp>

#include "firewall/nft_set.hpp"
#include "firewall/opening.hpp"
#include "firewall/xt_match.hpp"

namespace culvert::firewall {

namespace {

using nlohmann::json;

std::string in_brackets(const std::string& what) {
    return "[" + what + "]";
}

// A value, a range or a prefix; ranges and lists as the matches of ports write them.
std::string value_text(const json& value) {
    const json* prefix = nft_member(value, "prefix");
    const json* range = nft_member(value, "range");
    const json* set = nft_member(value, "set");
    if (prefix != nullptr && nft_member(*prefix, "addr") != nullptr &&
        nft_member(*prefix, "len") != nullptr) {
        return value_text((*prefix)["addr"]) + "/" + value_text((*prefix)["len"]);
    }
    if (range != nullptr && range->is_array() && range->size() == 2) {
        return value_text((*range)[0]) + ":" + value_text((*range)[1]);
    }
    if (set != nullptr && set->is_array()) {
        std::string list;
        for (const json& element : *set) {
            list += (list.empty() ? "" : ",") + value_text(element);
        }
        return list;
    }
    if (value.is_string()) {
        return value.get<std::string>();
    }
    return value.is_number() ? value.dump() : in_brackets("...");
}

std::string protocol_text(const json& value) {
    const auto number = nft_value(value, NftKind::protocol);
    return number && *number <= 255 ? protocol_name(static_cast<std::uint8_t>(*number))
                                    : value_text(value);
}

std::string mark_text(const json& value) {
    const auto mark = nft_value(value, NftKind::mark);
    return mark ? xt::hexadecimal(static_cast<std::uint32_t>(*mark)) : value_text(value);
}

// What stands on the left of a comparison that has no word: "meta skuid".
std::string left_text(const json& left) {
    if (!left.is_object() || left.empty()) {
        return "expression";
    }
    const json& value = left.begin().value();
    std::string text = left.begin().key();
    for (const char* name : {"protocol", "field", "key", "name", "result"}) {
        if (const auto word = nft_text(nft_member(value, name)); !word.empty()) {
            text += " " + std::string(word);
        }
    }
    return text;
}

std::string rate_text(const json& limit) {
    const json* rate = nft_member(limit, "rate");
    return (rate == nullptr ? "" : value_text(*rate)) + "/" +
           std::string(nft_text(nft_member(limit, "per")));
}

}  // namespace

void IptablesText::add_words(std::string_view words) {
    if (!words.empty()) {
        text_ += (text_.empty() ? "" : " ") + std::string(words);
    }
}

void IptablesText::add_comment(std::string_view comment) {
    add_words("-m comment --comment " + xt::quoted(comment));
}

void IptablesText::add_payload(
    const json& payload, const json& right, const std::string& negation
) {
    const std::string protocol(nft_text(nft_member(payload, "protocol")));
    const std::string field(nft_text(nft_member(payload, "field")));
    const std::string value = value_text(right);
    if (protocol == "ip" || protocol == "ip6") {
        if (field == "saddr" || field == "daddr") {
            add_words(negation + (field == "saddr" ? "-s " : "-d ") + value);
        } else if (field == "protocol" || field == "nexthdr") {
            protocol_ = protocol_text(right);
            add_words(negation + "-p " + protocol_);
        } else {
            add_words(in_brackets(protocol + " " + field));
        }
        return;
    }
    const bool is_port = field == "sport" || field == "dport";
    // The protocol is not listed where a later comparison implies it.
    if (protocol_.empty() && protocol != "th") {
        protocol_ = protocol == "icmpv6" ? "ipv6-icmp" : protocol;
        add_words("-p " + protocol_);
    }
    if (is_port && value.find(',') != std::string::npos) {
        add_words("-m multiport " + negation + "--" + field + "s " + value);
    } else if (is_port) {
        const std::string name = protocol == "th" ? protocol_ : protocol;
        if (ports_of_ != name) {
            ports_of_ = name;
            add_words("-m " + name);
        }
        add_words(negation + "--" + field + " " + value);
    } else if (field == "type" && protocol == "icmp") {
        add_words("-m icmp " + negation + "--icmp-type " + value);
    } else if (field == "type" && protocol == "icmpv6") {
        add_words("-m icmp6 " + negation + "--icmpv6-type " + value);
    } else {
        add_words(in_brackets(protocol + " " + field));
    }
}

void IptablesText::add_match(const json& match) {
    const json* left = nft_member(match, "left");
    const json* right = nft_member(match, "right");
    if (left == nullptr || right == nullptr) {
        return;
    }
    std::string mask;
    if (const json* sides = nft_member(*left, "&");
        sides != nullptr && sides->is_array() && sides->size() == 2) {
        left = &(*sides)[0];
        mask = "/" + mark_text((*sides)[1]);
    }
    const bool is_negated = nft_text(nft_member(match, "op")) == "!=";
    const std::string negation = is_negated ? "! " : "";
    if (const json* payload = nft_member(*left, "payload")) {
        add_payload(*payload, *right, negation);
        return;
    }
    const json* meta = nft_member(*left, "meta");
    const std::string_view key = meta == nullptr ? "" : nft_text(nft_member(*meta, "key"));
    if (key == "l4proto") {
        const std::string protocol = protocol_text(*right);
        protocol_ = is_negated ? "" : protocol;
        add_words(negation + "-p " + protocol);
    } else if (key == "iifname") {
        std::string name = value_text(*right);
        if (name.ends_with('*')) {
            name.back() = '+';
        }
        add_words(negation + "-i " + name);
    } else if (key == "mark") {
        add_words("-m mark " + negation + "--mark " + mark_text(*right) + mask);
    } else {
        add_words(in_brackets(left_text(*left)));
    }
}

void IptablesText::add_statement(const std::string& what, const json& value) {
    if (what == "match") {
        add_match(value);
    } else if (what == "accept" || what == "drop" || what == "return" || what == "reject" || what == "log" || what == "queue") {
        add_words(
            what == "accept"   ? "-j ACCEPT"
            : what == "drop"   ? "-j DROP"
            : what == "return" ? "-j RETURN"
            : what == "reject" ? "-j REJECT"
            : what == "log"    ? "-j LOG"
                               : "-j NFQUEUE"
        );
    } else if (what == "jump" || what == "goto") {
        add_words(
            (what == "jump" ? "-j " : "-g ") + std::string(nft_text(nft_member(value, "target")))
        );
    } else if (what == "limit") {
        add_words("-m limit --limit " + rate_text(value));
    } else if (what != "counter" && what != "continue" && what != "xt") {
        add_words(in_brackets(what));
    }
}

}  // namespace culvert::firewall
