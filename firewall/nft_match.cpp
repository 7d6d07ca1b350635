// SPDX-License-Identifier: GPL-2.0-or-later
//
// Left sides, operators and right sides of nftables' comparisons. Read are the addresses, protocol
// and ports of the packet, its interface, mark, family and conntrack state; "fib daddr type" and
// "meta pkttype" are those of a packet that is the host's own, and of "ct status" it is known that
// no address was translated. Pure; one thread at a time.
#include "firewall/nft_match.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

namespace culvert::firewall {

namespace {

using nlohmann::json;

constexpr std::size_t kFieldsMax = 8;

// A protocol above IP whose header rules read.
struct Transport {
    std::string_view name;
    std::uint8_t number;
    std::optional<Family> family;
    bool has_ports;
};

constexpr auto kTransports = std::to_array<Transport>({
    {"tcp", 6, {}, true},
    {"udp", 17, {}, true},
    {"udplite", 136, {}, true},
    {"sctp", 132, {}, true},
    {"dccp", 33, {}, true},
    {"icmp", 1, Family::ipv4, false},
    {"igmp", 2, Family::ipv4, false},
    {"icmpv6", 58, Family::ipv6, false},
    {"esp", 50, {}, false},
    {"ah", 51, {}, false},
    {"comp", 108, {}, false},
});

NftLeft field(Field field, NftKind kind) {
    return {{{{field, ~Value{0}}, kind}}, std::nullopt, {}};
}

NftLeft constant(Value value) {
    return {{{{Field::mark, ~Value{0}}, NftKind::mark}}, value, {}};
}

NftLeft unreadable(std::string what) {
    return {{}, std::nullopt, std::move(what)};
}

// "th sport" and the like, where the packet has a port at all; evaluate() sees to that.
std::optional<Field> port_field(std::string_view name) {
    if (name == "sport") {
        return Field::source_port;
    }
    return name == "dport" ? std::optional(Field::destination_port) : std::nullopt;
}

NftLeft read_meta(std::string_view key) {
    if (key == "iifname" || key == "iif") {
        return field(Field::interface_in, NftKind::interface);
    }
    if (key == "nfproto") {
        return field(Field::family, NftKind::nfproto);
    }
    if (key == "protocol") {
        return field(Field::family, NftKind::ethertype);
    }
    if (key == "l4proto") {
        return field(Field::protocol, NftKind::protocol);
    }
    if (key == "mark") {
        return field(Field::mark, NftKind::mark);
    }
    if (key == "pkttype") {
        return constant(0);  // PACKET_HOST
    }
    return unreadable("meta " + std::string(key));
}

// The type of the destination's address is that of one of the host's own, RTN_LOCAL.
NftLeft read_fib(const json& fib) {
    const json* flags = nft_member(fib, "flags");
    const bool is_one = flags != nullptr && flags->is_array() && flags->size() == 1;
    const std::string_view flag = nft_text(is_one ? &flags->front() : flags);
    const std::string_view result = nft_text(nft_member(fib, "result"));
    if (result == "type" && flag == "daddr") {
        return constant(2);
    }
    return unreadable("fib " + std::string(result));
}

// "ct status dnat", as firewalld has it in front of all: the answer that every tunnel packet has.
std::optional<bool> holds_status(const json& left, std::string_view op, const json& right) {
    constexpr Value kTranslated = 0x10U | 0x20U;  // IPS_SRC_NAT and IPS_DST_NAT.
    const json* ct = nft_member(left, "ct");
    const auto bits = nft_value(right, NftKind::mark);
    const bool is_known = ct != nullptr && nft_text(nft_member(*ct, "key")) == "status" && bits &&
                          *bits != 0 && (*bits & ~kTranslated) == 0;
    if (!is_known || (op != "in" && op != "!" && op != "==" && op != "!=")) {
        return std::nullopt;
    }
    return op == "!" || op == "!=";
}

bool is_ordering(std::string_view op) {
    return op == "<" || op == ">" || op == "<=" || op == ">=";
}

std::shared_ptr<const TupleSet> one_interval(const Interval& interval) {
    return std::make_shared<const TupleSet>(1, std::vector{interval});
}

// The values that `op` relates to `right`.
std::shared_ptr<const TupleSet> ordered(std::string_view op, const json& right, NftKind kind) {
    const Value highest = max_value(bits_of(kind));
    const auto value = nft_value(right, kind);
    const bool is_number =
        kind != NftKind::interface && kind != NftKind::nfproto && kind != NftKind::ethertype;
    if (!value || !is_number) {
        return nullptr;
    }
    if ((op == "<" && *value == 0) || (op == ">" && *value == highest)) {
        return std::make_shared<const TupleSet>(1, std::vector<Interval>{});
    }
    if (op == "<") {
        return one_interval({0, *value - 1});
    }
    if (op == "<=") {
        return one_interval({0, *value});
    }
    return one_interval({op == ">" ? *value + 1 : *value, highest});
}

// Of an element that times out, be it a set's or a map's.
std::optional<std::uint64_t> seconds_left(const json& element) {
    const json& key = element.is_array() && !element.empty() ? element.front() : element;
    const json* inner = nft_member(key, "elem");
    const json* expires = inner == nullptr ? nullptr : nft_member(*inner, "expires");
    return expires != nullptr && expires->is_number_unsigned()
               ? std::optional(expires->get<std::uint64_t>())
               : std::nullopt;
}

std::string name_of(const NftLeft& left) {
    std::string name;
    for (const NftField& part : left.fields) {
        name += (name.empty() ? "" : " . ") + std::string(to_string(part.operand.field));
    }
    return name;
}

}  // namespace

void NftSets::add(const std::string& name, const json* elements, bool is_dynamic) {
    sets_[name] = {elements, is_dynamic, false};
}

const json* NftSets::find(std::string_view name) {
    const auto found = sets_.find(name);
    if (found == sets_.end()) {
        return nullptr;
    }
    found->second.is_used = true;
    return found->second.elements;
}

std::optional<std::uint64_t> NftSets::keeps_for() const {
    std::optional<std::uint64_t> least;
    for (const auto& [name, set] : sets_) {
        if (!set.is_used) {
            continue;
        }
        if (set.is_dynamic) {
            return 0;
        }
        for (const json& element : *set.elements) {
            if (const auto seconds = seconds_left(element)) {
                least = std::min(*seconds, least.value_or(*seconds));
            }
        }
    }
    return least;
}

std::shared_ptr<const TupleSet>
NftSets::tuples(const std::string& name, std::span<const NftField> fields) {
    const json* elements = find(name);
    if (elements == nullptr) {
        return nullptr;
    }
    std::vector<NftKind> kinds;
    for (const NftField& part : fields) {
        kinds.push_back(part.kind);
    }
    const auto [made, is_new] = tuples_.try_emplace({name, kinds});
    if (is_new) {
        made->second = nft_tuples(*elements, fields);
    }
    return made->second;
}

void NftConditions::require(Field field, Value value) {
    const std::pair condition{field, value};
    const bool is_given =
        field == Field::family && families_ == (value == 4 ? Families::ipv4 : Families::ipv6);
    if (is_given || std::find(required_.begin(), required_.end(), condition) != required_.end()) {
        return;
    }
    required_.push_back(condition);
    steps_.push_back(Match{{{field, ~Value{0}}}, one_interval({value, value}), false});
}

void NftConditions::never() {
    const auto nothing = std::make_shared<const TupleSet>(1, std::vector<Interval>{});
    steps_.push_back(Match{{{Field::family, ~Value{0}}}, nothing, false});
}

void NftConditions::unknown(std::string what) {
    steps_.push_back(UnknownMatch{std::move(what)});
}

NftLeft NftConditions::read_payload(const json& payload) {
    const std::string_view protocol = nft_text(nft_member(payload, "protocol"));
    const std::string_view name = nft_text(nft_member(payload, "field"));
    const std::string what =
        protocol.empty() ? "raw payload" : std::string(protocol) + " " + std::string(name);
    if (protocol == "ip" || protocol == "ip6") {
        const bool is_ipv4 = protocol == "ip";
        require_family(is_ipv4 ? Family::ipv4 : Family::ipv6);
        const NftKind kind = is_ipv4 ? NftKind::ipv4 : NftKind::ipv6;
        if (name == "saddr" || name == "daddr") {
            return field(name == "saddr" ? Field::source : Field::destination, kind);
        }
        return name == (is_ipv4 ? "protocol" : "nexthdr")
                   ? field(Field::protocol, NftKind::protocol)
                   : unreadable(what);
    }
    const auto port = port_field(name);
    if (protocol == "th" && port) {
        return field(*port, NftKind::port);
    }
    for (const Transport& transport : kTransports) {
        if (protocol == transport.name) {
            if (transport.family) {
                require_family(*transport.family);
            }
            require_protocol(transport.number);
            return transport.has_ports && port ? field(*port, NftKind::port) : unreadable(what);
        }
    }
    return unreadable(what);
}

NftLeft NftConditions::read_concatenation(const json& parts) {
    NftLeft all;
    if (!parts.is_array() || parts.empty() || parts.size() > kFieldsMax) {
        return unreadable("concatenation");
    }
    for (const json& part : parts) {
        NftLeft left =
            nft_member(part, "concat") != nullptr ? unreadable("concatenation") : read_left(part);
        if (!left.unknown.empty()) {
            return left;
        }
        if (left.constant || left.fields.size() != 1) {
            return unreadable("concatenation");
        }
        all.fields.push_back(left.fields.front());
    }
    return all;
}

NftLeft NftConditions::read_masked(const json& sides) {
    if (!sides.is_array() || sides.size() != 2 || nft_member(sides[0], "concat") != nullptr) {
        return unreadable("&");
    }
    NftLeft left = read_left(sides[0]);
    if (!left.unknown.empty() || left.constant || left.fields.size() != 1) {
        return left.unknown.empty() ? unreadable("&") : left;
    }
    NftField& masked = left.fields.front();
    const bool is_number = masked.kind != NftKind::interface && masked.kind != NftKind::nfproto &&
                           masked.kind != NftKind::ethertype;
    const auto mask = nft_value(sides[1], masked.kind);
    if (!mask || !is_number) {
        return unreadable("& of " + name_of(left));
    }
    masked.operand.mask &= *mask;
    return left;
}

NftLeft NftConditions::read_other(const std::string& what, const json& value) {
    std::string_view name;
    for (const char* key : {"key", "name", "mode", "field"}) {
        name = name.empty() ? nft_text(nft_member(value, key)) : name;
    }
    if (what == "ip option") {
        require_family(Family::ipv4);
    } else if (what == "exthdr") {
        require_family(Family::ipv6);
    } else if (what == "tcp option") {
        require_protocol(kProtocolTcp);
    }
    return unreadable(name.empty() ? what : what + " " + std::string(name));
}

NftLeft NftConditions::read_left(const json& left) {
    if (!left.is_object() || left.size() != 1) {
        return unreadable("expression");
    }
    const std::string& what = left.begin().key();
    const json& value = left.begin().value();
    if (what == "payload") {
        return read_payload(value);
    }
    if (what == "meta") {
        return read_meta(nft_text(nft_member(value, "key")));
    }
    if (what == "ct" && nft_text(nft_member(value, "key")) == "state") {
        return field(Field::state, NftKind::state);
    }
    if (what == "fib") {
        return read_fib(value);
    }
    if (what == "concat") {
        return read_concatenation(value);
    }
    if (what == "&") {
        return read_masked(value);
    }
    return read_other(what, value);
}

void NftConditions::member(
    const NftLeft& left, std::shared_ptr<const TupleSet> set, bool is_negated
) {
    if (!set || set->width() != left.fields.size()) {
        unknown(name_of(left) + " of a set");
        return;
    }
    if (left.constant) {
        const Value value = *left.constant & left.fields.front().operand.mask;
        if (set->contains(std::span(&value, 1)) == is_negated) {
            never();
        }
        return;
    }
    Match match;
    for (const NftField& part : left.fields) {
        match.operands.push_back(part.operand);
    }
    match.set = std::move(set);
    match.negated = is_negated;
    steps_.push_back(std::move(match));
}

void NftConditions::compare(const NftLeft& left, std::string_view op, const json& right) {
    const bool is_negated = op == "!=" || op == "!";
    const bool is_bits = op == "in" || op == "!";
    const std::string_view text = nft_text(&right);
    if (text.starts_with('@')) {
        member(left, sets_.tuples(std::string(text.substr(1)), left.fields), is_negated);
        return;
    }
    if (const json* elements = nft_member(right, "set")) {
        const json one = elements->is_array() ? json() : json::array({*elements});
        member(left, nft_tuples(one.is_null() ? *elements : one, left.fields), is_negated);
        return;
    }
    if (is_bits || is_ordering(op)) {
        const NftKind kind = left.fields.front().kind;
        const auto bits = nft_value(right, kind);
        const bool has_bits = kind == NftKind::state || kind == NftKind::mark;
        if (left.fields.size() != 1 || (is_bits && (!bits || *bits == 0 || !has_bits))) {
            unknown(name_of(left) + " " + std::string(op));
            return;
        }
        NftLeft masked = left;
        if (is_bits) {
            masked.fields.front().operand.mask &= *bits;
        }
        member(masked, is_bits ? one_interval({1, *bits}) : ordered(op, right, kind), is_negated);
        return;
    }
    std::vector<Interval> tuple;
    if ((op != "==" && op != "!=") || !nft_append_tuple(right, left.fields, tuple)) {
        unknown(name_of(left) + " " + std::string(op));
        return;
    }
    member(
        left, std::make_shared<const TupleSet>(left.fields.size(), std::move(tuple)), is_negated
    );
}

void NftConditions::read_match(const json& match, bool is_doubtful) {
    const json* left = nft_member(match, "left");
    const json* right = nft_member(match, "right");
    if (left == nullptr || right == nullptr) {
        unknown("match");
        return;
    }
    if (const auto holds = holds_status(*left, nft_text(nft_member(match, "op")), *right)) {
        if (!*holds) {
            never();
        }
        return;
    }
    const NftLeft fields = read_left(*left);
    if (!fields.unknown.empty()) {
        unknown(fields.unknown);
    } else if (is_doubtful) {
        unknown(name_of(fields) + " !=");
    } else {
        compare(fields, nft_text(nft_member(match, "op")), *right);
    }
}

}  // namespace culvert::firewall
