// SPDX-License-Identifier: GPL-2.0-or-later
//
// Statements of nftables. Limits are taken as kept: a packet is within them. Statements that only
// look on (counter, log) or that touch nothing that a rule reads here (ct mark set) are no step;
// those that may refuse a packet (quota, set updates) are unknown, and so is every one that is not
// named here. Pure; one thread at a time.
#include "firewall/nft_rule.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "firewall/iptables_text.hpp"

namespace culvert::firewall {

namespace {

using nlohmann::json;

constexpr Value kMarkBits = 0xffffffffU;

struct Verdict {
    Action action = Action::none;
    std::uint32_t chain = 0;
    std::string unknown;
    bool operator==(const Verdict&) const = default;
};

// "The mark" as a function of what it was: (mark & keep) ^ flip.
struct MarkFunction {
    Value keep = kMarkBits;
    Value flip = 0;
};

std::optional<MarkFunction> mark_function(const json& value) {
    const json* meta = nft_member(value, "meta");
    if (meta != nullptr && nft_text(nft_member(*meta, "key")) == "mark") {
        return MarkFunction{};
    }
    if (const auto number = nft_value(value, NftKind::mark)) {
        return MarkFunction{0, *number};
    }
    for (const char* op : {"&", "|", "^"}) {
        const json* sides = nft_member(value, op);
        if (sides == nullptr || !sides->is_array() || sides->size() != 2) {
            continue;
        }
        const auto left = mark_function((*sides)[0]);
        const auto right = nft_value((*sides)[1], NftKind::mark);
        if (!left || !right) {
            return std::nullopt;
        }
        switch (*op) {
        case '&':
            return MarkFunction{left->keep & *right, left->flip & *right};
        case '|':
            return MarkFunction{left->keep & ~*right, (left->flip & ~*right) | *right};
        default:
            return MarkFunction{left->keep, left->flip ^ *right};
        }
    }
    return std::nullopt;
}

// Whether every packet has a value to set. A map may have none for it, and the fields of a header
// ask for their protocol without that being listed; the kernel goes on to the next rule then.
bool is_of_every_packet(const json& value, unsigned depth = 0) {
    constexpr unsigned kDepthMax = 16;
    if (!value.is_structured()) {
        return true;
    }
    if (!value.is_object() || value.size() != 1 || depth > kDepthMax) {
        return false;
    }
    const std::string& what = value.begin().key();
    const json& inner = value.begin().value();
    if (what == "meta" || what == "ct") {
        const std::string_view key = nft_text(nft_member(inner, "key"));
        return key == "mark" || (what == "meta" && key == "priority");
    }
    constexpr auto kOperators = std::to_array<std::string_view>({"&", "|", "^", "<<", ">>"});
    return std::find(kOperators.begin(), kOperators.end(), what) != kOperators.end() &&
           inner.is_array() && std::all_of(inner.begin(), inner.end(), [&](const json& side) {
               return is_of_every_packet(side, depth + 1);
           });
}

bool only_looks_on(std::string_view statement) {
    constexpr auto kStatements = std::to_array<std::string_view>(
        {"log", "comment", "notrack", "last", "ct helper", "ct timeout", "ct expectation"}
    );
    return std::find(kStatements.begin(), kStatements.end(), statement) != kStatements.end();
}

std::uint64_t count_of(const json* value) {
    return value != nullptr && value->is_number_unsigned() ? value->get<std::uint64_t>() : 0;
}

// "udp sport != 1 udp dport != 2": nft 1.0.6 and iptables-nft both compare such fields at once, so
// that the rule in the kernel asks that not both be equal, and list it as if each were compared.
bool may_be_merged(const json& statement) {
    const json* match = nft_member(statement, "match");
    const json* left = match == nullptr ? nullptr : nft_member(*match, "left");
    const json* right = match == nullptr ? nullptr : nft_member(*match, "right");
    const json* payload = left == nullptr ? nullptr : nft_member(*left, "payload");
    if (payload == nullptr || right == nullptr || nft_text(nft_member(*match, "op")) != "!=") {
        return false;
    }
    const std::string_view protocol = nft_text(nft_member(*payload, "protocol"));
    const bool is_plain = !right->is_object() && !nft_text(right).starts_with('@');
    return is_plain && protocol != "ip" && protocol != "ip6" && protocol != "ether";
}

class RuleReader {
public:
    RuleReader(const NftScope& scope, const json& rule, std::vector<Rule>& rules)
        : scope_(scope), rules_(rules), first_(rules.size()),
          conditions_(scope.families, *scope.sets), listed_comment_(nft_member(rule, "comment")) {
        rule_.handle = count_of(nft_member(rule, "handle"));
        rule_.comment = nft_text(nft_member(rule, "comment"));
    }

    void read(const json& statements) {
        merged_ = std::count_if(statements.begin(), statements.end(), may_be_merged) > 1;
        joins_ranges_ =
            std::any_of(statements.begin(), statements.end(), nft_has_range) &&
            scope_.extensions != nullptr &&
            scope_.extensions->has_two_orders({scope_.table, scope_.chain, rule_.handle});
        left_ = statements.size();
        for (const json& statement : statements) {
            if (is_done_) {
                break;
            }
            --left_;
            read_statement(statement);
        }
        if (!is_expanded_) {
            finish(conditions_.steps(), verdict_);
        }
        if (scope_.tool == Tool::iptables_nft) {
            set_text(statements);
        }
    }

    /// Of a rule that is listed without statements.
    void doubt() { finish({}, {Action::unknown, 0, "a rule without statements"}); }

private:
    void read_statement(const json& statement) {
        if (!statement.is_object() || statement.size() != 1) {
            // A jump into a chain without a name, which is listed as text.
            end({Action::unknown, 0, "a chain without a name"});
            return;
        }
        const std::string& what = statement.begin().key();
        const json& value = statement.begin().value();
        if (const auto verdict = read_verdict(what, value)) {
            if (verdict->action != Action::none) {
                end(*verdict);
            }
        } else if (what == "match") {
            conditions_.read_match(
                value,
                (merged_ && may_be_merged(statement)) || (joins_ranges_ && nft_has_range(statement))
            );
        } else if (what != "synproxy" && nft_member(value, "map") != nullptr) {
            // "counter name ip saddr map { ... }": for the packets that have an element only.
            conditions_.unknown(what + " of a map");
        } else if (what == "counter") {
            rule_.packets = count_of(nft_member(value, "packets"));
            rule_.bytes = count_of(nft_member(value, "bytes"));
        } else if (what == "limit") {
            read_limit(value);
        } else if (what == "mangle") {
            read_mangle(value);
        } else if (what == "vmap") {
            read_map(value);
        } else if (what == "xt") {
            read_extension(value);
        } else if (what == "meter") {
            read_meter(value);
        } else if (what == "synproxy" || what == "tproxy" || what == "queue") {
            end({Action::unknown, 0, what});
        } else if (!only_looks_on(what)) {
            conditions_.unknown(what);
        }
    }

    // Statements that have a verdict, "continue" among them; nothing for others.
    std::optional<Verdict> read_verdict(const std::string& what, const json& value) {
        if (what == "accept") {
            return Verdict{Action::accept, 0, {}};
        }
        if (what == "drop") {
            return Verdict{Action::drop, 0, {}};
        }
        if (what == "return") {
            return Verdict{Action::return_, 0, {}};
        }
        if (what == "continue") {
            return Verdict{};
        }
        if (what == "reject") {
            // What a rejection is made of is asked for in the kernel's rule and not listed.
            const std::string_view type = nft_text(nft_member(value, "type"));
            if (type == "icmp" || type == "icmpv6") {
                conditions_.require_family(type == "icmp" ? Family::ipv4 : Family::ipv6);
            } else if (type == "tcp reset") {
                conditions_.require_protocol(kProtocolTcp);
            }
            return Verdict{Action::drop, 0, {}};
        }
        if (what == "jump" || what == "goto") {
            const std::string target(nft_text(nft_member(value, "target")));
            if (const auto chain = scope_.chain_index(target)) {
                return Verdict{what == "jump" ? Action::jump : Action::go_to, *chain, {}};
            }
            return Verdict{Action::unknown, 0, what + " " + target};
        }
        return std::nullopt;
    }

    void read_limit(const json& limit) {
        const json* over = nft_member(limit, "inv");
        if (!limit.is_object()) {
            conditions_.unknown("limit of a name");
        } else if (over != nullptr && *over == true) {
            conditions_.never();
        }
    }

    void read_meter(const json& meter) {
        const json* key = nft_member(meter, "key");
        const json* inner = nft_member(meter, "stmt");
        const json* limit = inner == nullptr ? nullptr : nft_member(*inner, "limit");
        if (key == nullptr || limit == nullptr) {
            conditions_.unknown("meter");
            return;
        }
        // For what the key asks of a packet: "ip saddr" is of IPv4 only. Each packet has some value
        // of the fields that are known here, ports aside.
        const NftLeft left = conditions_.read_left(*key);
        if (!left.unknown.empty()) {
            conditions_.unknown("meter of " + left.unknown);
        }
        read_limit(*limit);
    }

    void read_mangle(const json& mangle) {
        const json* key = nft_member(mangle, "key");
        const json* value = nft_member(mangle, "value");
        const json* meta = key == nullptr ? nullptr : nft_member(*key, "meta");
        if (key == nullptr || value == nullptr) {
            conditions_.unknown("mangle");
            return;
        }
        if (!is_of_every_packet(*value)) {
            conditions_.unknown("a value that not every packet has");
        }
        if (meta != nullptr && nft_text(nft_member(*meta, "key")) == "mark") {
            if (const auto function = mark_function(*value)) {
                conditions_.append(SetMark{~function->keep & kMarkBits, function->flip});
            } else {
                conditions_.append(SetMark{kMarkBits, std::nullopt});
            }
            sets_mark_ = true;
        } else if (meta == nullptr && nft_member(*key, "ct") == nullptr) {
            // The packet is another one from here on.
            end({Action::unknown, 0, "a packet's header set"});
        }
    }

    void read_extension(const json& extension) {
        const std::string name(nft_text(nft_member(extension, "name")));
        const bool is_target = nft_text(nft_member(extension, "type")) == "target";
        const NftRuleKey key{scope_.table, scope_.chain, rule_.handle};
        Rule read;
        if (scope_.extensions == nullptr ||
            !scope_.extensions->read(key, extensions_, name, read)) {
            ++extensions_;
            words_.push_back((is_target ? "-j " : "-m ") + name + " ...");
            if (is_target) {
                end({Action::unknown, 0, "target " + name});
            } else {
                conditions_.unknown("match " + name);
            }
            return;
        }
        ++extensions_;
        for (Step& step : read.steps) {
            sets_mark_ = sets_mark_ || std::holds_alternative<SetMark>(step);
            conditions_.append(std::move(step));
        }
        words_.push_back(read.text);
        if (!read.comment.empty()) {
            rule_.comment = read.comment;
        }
        if (read.action != Action::none) {
            end({read.action, read.chain, read.unknown});
        }
    }

    struct MapPart {
        Verdict verdict;
        std::vector<Interval> intervals;
    };

    // The elements of a map, those of one verdict together; false when one cannot be read.
    bool read_parts(
        const json& elements,
        const NftLeft& key,
        std::vector<MapPart>& parts,
        std::optional<Verdict>& rest
    ) {
        if (!elements.is_array()) {
            return false;
        }
        for (const json& element : elements) {
            if (!element.is_array() || element.size() != 2 || !element[1].is_object() ||
                element[1].size() != 1) {
                return false;
            }
            const json* value = nft_unwrapped(element[0]);
            const auto verdict = read_verdict(element[1].begin().key(), element[1].begin().value());
            if (value == nullptr || !verdict) {
                return false;
            }
            if (nft_is_catch_all(*value)) {
                rest = *verdict;
                continue;
            }
            auto part = std::find_if(parts.begin(), parts.end(), [&](const MapPart& other) {
                return other.verdict == *verdict;
            });
            if (part == parts.end()) {
                part = parts.insert(parts.end(), MapPart{*verdict, {}});
            }
            if (!nft_append_tuple(*value, key.fields, part->intervals)) {
                return false;
            }
        }
        return true;
    }

    void read_map(const json& map) {
        const json* key = nft_member(map, "key");
        const json* data = nft_member(map, "data");
        if (key == nullptr || data == nullptr) {
            end({Action::unknown, 0, "vmap"});
            return;
        }
        const NftLeft left = conditions_.read_left(*key);
        const std::string_view name = nft_text(data);
        const json* elements = name.starts_with('@') ? conditions_.sets().find(name.substr(1))
                                                     : nft_member(*data, "set");
        std::vector<MapPart> parts;
        std::optional<Verdict> rest;
        // What stands behind a map is met where its verdict is "continue".
        if (!left.unknown.empty() || elements == nullptr || sets_mark_ || left_ > 0 ||
            !read_parts(*elements, left, parts, rest)) {
            end({Action::unknown, 0, left.unknown.empty() ? "vmap" : "vmap of " + left.unknown});
            return;
        }
        std::vector<Interval> all;
        for (const MapPart& part : parts) {
            all.insert(all.end(), part.intervals.begin(), part.intervals.end());
            expand(left, part.intervals, false, part.verdict);
        }
        if (rest) {
            expand(left, std::move(all), true, *rest);
        }
        is_expanded_ = true;
        is_done_ = true;
    }

    void expand(
        const NftLeft& left,
        std::vector<Interval> intervals,
        bool is_negated,
        const Verdict& verdict
    ) {
        NftConditions copy = conditions_;
        copy.member(
            left,
            std::make_shared<const TupleSet>(left.fields.size(), std::move(intervals)),
            is_negated
        );
        finish(copy.steps(), verdict);
    }

    // Extensions in the order in which they were read; those behind the verdict were not.
    void set_text(const json& statements) {
        IptablesText text;
        std::size_t extension = 0;
        const std::string listed_comment(nft_text(listed_comment_));
        bool is_comment_due = !listed_comment.empty();
        for (const json& statement : statements) {
            if (!statement.is_object() || statement.size() != 1) {
                continue;
            }
            const std::string& what = statement.begin().key();
            // Where iptables has it: behind the conditions.
            if (is_comment_due && what == "counter") {
                text.add_comment(listed_comment);
                is_comment_due = false;
            }
            text.add_statement(what, statement.begin().value());
            if (what == "xt" && extension < words_.size()) {
                text.add_words(words_[extension++]);
            }
        }
        if (is_comment_due) {
            text.add_comment(listed_comment);
        }
        for (std::size_t i = first_; i < rules_.size(); ++i) {
            rules_[i].text = text.text();
        }
    }

    void end(Verdict verdict) {
        verdict_ = std::move(verdict);
        is_done_ = true;
    }

    void finish(const std::vector<Step>& steps, const Verdict& verdict) {
        Rule rule = rule_;
        rule.steps = steps;
        rule.action = verdict.action;
        rule.chain = verdict.chain;
        rule.unknown = verdict.unknown;
        rules_.push_back(std::move(rule));
    }

    const NftScope& scope_;
    std::vector<Rule>& rules_;
    std::size_t first_;  ///< Of the rules that are made here.
    NftConditions conditions_;
    const json* listed_comment_;
    std::vector<std::string> words_;  ///< Of the extensions.
    Rule rule_;
    Verdict verdict_;
    std::size_t extensions_ = 0;
    std::size_t left_ = 0;  ///< Statements behind the one that is read.
    bool merged_ = false;
    bool joins_ranges_ = false;  ///< A range that is listed may be two comparisons.
    bool sets_mark_ = false;
    bool is_done_ = false;
    bool is_expanded_ = false;
};

}  // namespace

bool nft_has_range(const json& statement) {
    const json* match = nft_member(statement, "match");
    const json* right = match == nullptr ? nullptr : nft_member(*match, "right");
    return right != nullptr && nft_member(*right, "range") != nullptr;
}

void read_nft_rule(const json& rule, const NftScope& scope, std::vector<Rule>& rules) {
    RuleReader reader(scope, rule, rules);
    const json* statements = nft_member(rule, "expr");
    if (statements != nullptr && statements->is_array()) {
        reader.read(*statements);
    } else {
        reader.doubt();
    }
}

}  // namespace culvert::firewall
