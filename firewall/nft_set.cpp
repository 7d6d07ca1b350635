// SPDX-License-Identifier: GPL-2.0-or-later
//
// Elements of nftables' sets and right sides of its comparisons. Names stand where libnftables
// writes them in spite of NFT_CTX_OUTPUT_NUMERIC_ALL, or where another version does. Pure; any
// thread.
#include "firewall/nft_set.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "firewall/opening.hpp"

namespace culvert::firewall {

namespace {

using nlohmann::json;

constexpr unsigned kInterfaceBits = 128;
constexpr std::size_t kInterfaceBytesMax = 15;
constexpr std::size_t kFlagsMax = 64;
/// Elements of a set that is read; one with more is unknown.
constexpr std::size_t kElementsMax = std::size_t{1} << 20U;

struct Name {
    std::string_view text;
    Value value;
};

constexpr Name kStates[] = {
    {"invalid", 1}, {"established", 2}, {"related", 4}, {"new", 8}, {"untracked", 64}};

// A number, or one in a string.
std::optional<Value> number_of(const json& value) {
    if (value.is_number_unsigned()) {
        return value.get<std::uint64_t>();
    }
    if (value.is_number_integer()) {
        const auto number = value.get<std::int64_t>();
        return number < 0 ? std::nullopt : std::optional<Value>(static_cast<std::uint64_t>(number));
    }
    std::string_view text = nft_text(&value);
    const bool is_hexadecimal = text.starts_with("0x");
    text.remove_prefix(is_hexadecimal ? 2 : 0);
    std::uint64_t number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, is_hexadecimal ? 16 : 10);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

std::optional<Value> address_of(const json& value, Family family) {
    const std::string_view text = nft_text(&value);
    const auto address = parse_address(text);
    if (text.empty() || !address || address->family != family) {
        return std::nullopt;
    }
    return address->value;
}

// The version of IP that a number or name stands for; 0, which no packet has, for other protocols.
std::optional<Value> family_of(const json& value, NftKind kind) {
    const std::string_view text = nft_text(&value);
    const auto number = number_of(value);
    const auto is_one_of = [&](std::initializer_list<Value> numbers) {
        return number && std::find(numbers.begin(), numbers.end(), *number) != numbers.end();
    };
    if (kind == NftKind::nfproto) {
        if (text == "ipv4" || is_one_of({2})) {
            return 4;
        }
        return text == "ipv6" || is_one_of({10}) ? std::optional<Value>(6) : std::nullopt;
    }
    if (text == "ip" || is_one_of({0x0800, 0x0008})) {
        return 4;
    }
    if (text == "ip6" || is_one_of({0x86dd, 0xdd86})) {
        return 6;
    }
    return number ? std::optional<Value>(0) : std::nullopt;
}

// A whole name; one with '\' has an escape, and nothing but nft itself knows which.
std::optional<Value> interface_of(std::string_view name) {
    if (name.empty() || name.size() > kInterfaceBytesMax ||
        name.find_first_of("\\*") != std::string_view::npos) {
        return std::nullopt;
    }
    return value_of_interface(name);
}

std::optional<Value> state_of(const json& value) {
    const std::string_view text = nft_text(&value);
    for (const Name& state : kStates) {
        if (text == state.text) {
            return state.value;
        }
    }
    return number_of(value);
}

std::optional<Value> single_value(const json& value, NftKind kind) {
    switch (kind) {
    case NftKind::ipv4:
        return address_of(value, Family::ipv4);
    case NftKind::ipv6:
        return address_of(value, Family::ipv6);
    case NftKind::interface:
        return interface_of(nft_text(&value));
    case NftKind::nfproto:
    case NftKind::ethertype:
        return family_of(value, kind);
    case NftKind::state:
        return state_of(value);
    case NftKind::protocol:
        if (const auto number = number_of(value)) {
            return number;
        }
        if (const auto protocol = parse_protocol(nft_text(&value))) {
            return *protocol;
        }
        return std::nullopt;
    case NftKind::port:
    case NftKind::mark:
        break;
    }
    return number_of(value);
}

bool has_flags(NftKind kind) {
    return kind == NftKind::state || kind == NftKind::mark;
}

// Numbers, whose order means something.
bool is_ordered(NftKind kind) {
    return kind != NftKind::interface && kind != NftKind::nfproto && kind != NftKind::ethertype &&
           kind != NftKind::state;
}

// nft lists every comparison behind a mask of leading ones so, "ip saddr & 255.0.0.0 == 10.1.0.0"
// as 10.1.0.0/8, and that holds for no value.
std::optional<Interval> prefix_interval(const json& prefix, NftKind kind) {
    constexpr Interval kNothing{1, 0};
    const json* address = nft_member(prefix, "addr");
    const json* length = nft_member(prefix, "len");
    const auto low = address == nullptr ? std::nullopt : nft_value(*address, kind);
    const auto bits = length == nullptr ? std::nullopt : number_of(*length);
    const unsigned width = bits_of(kind);
    if (!is_ordered(kind) || !low || !bits || *bits > width) {
        return std::nullopt;
    }
    const Value rest = max_value(width) ^ prefix_mask(width, static_cast<unsigned>(*bits));
    return (*low & rest) != 0 ? kNothing : Interval{*low, *low | rest};
}

std::optional<Interval> range_interval(const json& range, NftKind kind) {
    if (!is_ordered(kind) || !range.is_array() || range.size() != 2) {
        return std::nullopt;
    }
    const auto low = nft_value(range[0], kind);
    const auto high = nft_value(range[1], kind);
    if (!low || !high || *high < *low) {
        return std::nullopt;
    }
    return Interval{*low, *high};
}

}  // namespace

unsigned bits_of(NftKind kind) {
    switch (kind) {
    case NftKind::ipv4:
    case NftKind::state:
    case NftKind::mark:
        return 32;
    case NftKind::ipv6:
        return 128;
    case NftKind::port:
        return 16;
    case NftKind::interface:
        return kInterfaceBits;
    case NftKind::protocol:
    case NftKind::nfproto:
    case NftKind::ethertype:
        break;
    }
    return 8;
}

const json* nft_member(const json& object, const char* name) {
    if (!object.is_object()) {
        return nullptr;
    }
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

std::string_view nft_text(const json* value) {
    const auto* text = value == nullptr ? nullptr : value->get_ptr<const std::string*>();
    return text == nullptr ? std::string_view() : std::string_view(*text);
}

std::optional<Value> nft_value(const json& value, NftKind kind) {
    const json* parts = nft_member(value, "|");
    parts = parts == nullptr && value.is_array() ? &value : parts;
    if (parts == nullptr) {
        const auto single = single_value(value, kind);
        return single && *single <= max_value(bits_of(kind)) ? single : std::nullopt;
    }
    if (!has_flags(kind) || !parts->is_array() || parts->empty() || parts->size() > kFlagsMax) {
        return std::nullopt;
    }
    Value all = 0;
    for (const json& part : *parts) {
        // Three flags and more are nested to the left: {"|": [{"|": [1, 2]}, 4]}.
        const json* inner = nft_member(part, "|");
        const auto flag = inner != nullptr ? nft_value(part, kind) : single_value(part, kind);
        if (!flag || *flag > max_value(bits_of(kind))) {
            return std::nullopt;
        }
        all |= *flag;
    }
    return all;
}

std::optional<Interval> nft_interval(const json& value, NftKind kind) {
    if (const json* prefix = nft_member(value, "prefix")) {
        return prefix_interval(*prefix, kind);
    }
    if (const json* range = nft_member(value, "range")) {
        return range_interval(*range, kind);
    }
    if (kind == NftKind::interface) {
        std::string_view name = nft_text(&value);
        if (name.ends_with('*') && !name.ends_with("\\*")) {
            name.remove_suffix(1);
            const auto low = interface_of(name);
            const auto bits = static_cast<unsigned>(8 * name.size());
            return low ? std::optional(Interval{*low, *low | max_value(kInterfaceBits - bits)})
                       : std::nullopt;
        }
    }
    const auto single = nft_value(value, kind);
    return single ? std::optional(Interval{*single, *single}) : std::nullopt;
}

const json* nft_unwrapped(const json& element) {
    const json* inner = nft_member(element, "elem");
    if (inner == nullptr) {
        return &element;
    }
    if (!inner->is_object()) {
        return nullptr;
    }
    for (const auto& [key, value] : inner->items()) {
        if (key != "val" && key != "timeout" && key != "expires" && key != "comment" &&
            key != "counter") {
            return nullptr;
        }
    }
    return nft_member(*inner, "val");
}

bool nft_is_catch_all(const json& element) {
    return nft_text(&element) == "*";
}

bool nft_append_tuple(
    const json& element, std::span<const NftField> fields, std::vector<Interval>& intervals
) {
    if (nft_is_catch_all(element)) {
        for (const NftField& field : fields) {
            intervals.push_back({0, max_value(bits_of(field.kind))});
        }
        return true;
    }
    const json* parts = nft_member(element, "concat");
    if (fields.size() == 1 && parts == nullptr) {
        const auto interval = nft_interval(element, fields[0].kind);
        if (interval) {
            intervals.push_back(*interval);
        }
        return interval.has_value();
    }
    if (parts == nullptr || !parts->is_array() || parts->size() != fields.size()) {
        return false;
    }
    const std::size_t before = intervals.size();
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const auto interval = nft_interval((*parts)[i], fields[i].kind);
        if (!interval) {
            intervals.resize(before);
            return false;
        }
        intervals.push_back(*interval);
    }
    return true;
}

std::shared_ptr<const TupleSet> nft_tuples(const json& elements, std::span<const NftField> fields) {
    if (fields.empty() || !elements.is_array() || elements.size() > kElementsMax) {
        return nullptr;
    }
    std::vector<Interval> intervals;
    intervals.reserve(elements.size() * fields.size());
    for (const json& element : elements) {
        const json* value = nft_unwrapped(element);
        if (value == nullptr || !nft_append_tuple(*value, fields, intervals)) {
            return nullptr;
        }
    }
    return std::make_shared<const TupleSet>(fields.size(), std::move(intervals));
}

}  // namespace culvert::firewall
