// SPDX-License-Identifier: GPL-2.0-or-later
//
// Values, ranges, prefixes and sets as libnftables writes them in JSON, turned into intervals. What
// is of another shape gives nothing, and its reader writes it down as unknown. Pure; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "firewall/header.hpp"
#include "firewall/ruleset.hpp"
#include "firewall/value_set.hpp"

namespace culvert::firewall {

/// How nft writes the values of a field.
enum class NftKind : std::uint8_t {
    ipv4,
    ipv6,
    port,
    protocol,
    interface,
    nfproto,    ///< 2 and 10, for Field::family.
    ethertype,  ///< The same as ETH_P_IP and ETH_P_IPV6, in either byte order.
    state,
    mark,
};

struct NftField {
    Operand operand;
    NftKind kind = NftKind::mark;
};

/// The width of a field's values.
[[nodiscard]] unsigned bits_of(NftKind kind);

/// The member `name` of an object, or null.
[[nodiscard]] const nlohmann::json* nft_member(const nlohmann::json& object, const char* name);
/// Empty when it is no string.
[[nodiscard]] std::string_view nft_text(const nlohmann::json* value);

/// A single value. Flags that stand together ([2, 4], {"|": [2, 4]}) are one value.
[[nodiscard]] std::optional<Value> nft_value(const nlohmann::json& value, NftKind kind);
/// A value, a range, a prefix, or the beginning of an interface's name ("eth*").
[[nodiscard]] std::optional<Interval> nft_interval(const nlohmann::json& value, NftKind kind);

/// An element without its comment, counter and timeout; null when it has a statement that may
/// refuse a packet (limit, quota), or more wrapping than there is.
[[nodiscard]] const nlohmann::json* nft_unwrapped(const nlohmann::json& element);
/// "*": what no other element holds.
[[nodiscard]] bool nft_is_catch_all(const nlohmann::json& element);
/// Appends the tuple of an element that nft_unwrapped() gave; false when it cannot be read.
[[nodiscard]] bool nft_append_tuple(
    const nlohmann::json& element,
    std::span<const NftField> fields,
    std::vector<Interval>& intervals
);
/// The elements of a set; null when one of them cannot be read.
[[nodiscard]] std::shared_ptr<const TupleSet>
nft_tuples(const nlohmann::json& elements, std::span<const NftField> fields);

}  // namespace culvert::firewall
