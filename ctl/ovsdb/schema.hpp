// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of a <database-schema> (RFC 7047 section 3.2) that a client wants: which tables and
// columns there are and the type of each. Values are checked against it, because they come from
// anywhere. Plain values, any thread.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl::ovsdb {

/// Table -> columns.
using Wanted = std::map<std::string, std::set<std::string>>;

enum class AtomType : std::uint8_t { integer, real, boolean, string, uuid };

struct ColumnType {
    AtomType key = AtomType::string;
    AtomType value = AtomType::string;  ///< Of a map.
    bool is_map = false;
    std::uint64_t count_min = 1;
    std::uint64_t count_max = 1;  ///< The largest number: unlimited.
    bool operator==(const ColumnType&) const = default;

    /// Differences of it are told by element, not as its new value.
    [[nodiscard]] bool is_composite() const noexcept { return count_max > 1; }
};

/// Table -> column -> type.
using Selection =
    std::map<std::string, std::map<std::string, ColumnType, std::less<>>, std::less<>>;

/// What of `wanted` the schema has. A schema that is not one is an error.
[[nodiscard]] Result<Selection> select_columns(const nlohmann::json& schema, const Wanted& wanted);

/// A value of a column. `difference`: its number of elements is not held to the type.
[[nodiscard]] Result<Datum>
parse_column(const nlohmann::json& json, const ColumnType& type, bool difference);

/// What a column has that the server does not mention: the type's default, or an empty set.
[[nodiscard]] Datum default_value(const ColumnType& type);

/// Puts a difference on a value (ovsdb-server(7) section 4.1.14); fails when the result has too few
/// or too many elements, which the server's own value cannot have.
[[nodiscard]] Result<Datum>
apply_difference(const Datum& before, Datum difference, const ColumnType& type);

}  // namespace culvert::ctl::ovsdb
