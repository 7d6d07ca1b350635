// SPDX-License-Identifier: GPL-2.0-or-later
//
// Values of an OVSDB database as RFC 7047 section 5.1 has them: atoms, and columns that are sets or
// maps of atoms; and a copy of the monitored part of a database. Plain values, any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "dataplane/result.hpp"

namespace culvert::ctl::ovsdb {

using dataplane::Result;

/// A row's identity: 36 characters, lower case ("550e8400-e29b-41d4-a716-446655440000").
struct Uuid {
    std::string text;
    auto operator<=>(const Uuid&) const = default;  // NOLINT(modernize-use-nullptr)
};

using Atom = std::variant<std::int64_t, double, bool, std::string, Uuid>;

/// A column's value. A set has `keys` alone, sorted and without repetition (a scalar is a set of
/// one); a map has a value for each key. An empty map equals an empty set: a row does not keep
/// either of them (column() below).
struct Datum {
    std::vector<Atom> keys;
    std::vector<Atom> values;
    bool is_map = false;
    [[nodiscard]] bool operator==(const Datum& other) const;

    // What a reader expects; nothing when it is empty or of another type.
    [[nodiscard]] std::optional<std::int64_t> integer() const;
    [[nodiscard]] std::optional<bool> boolean() const;
    [[nodiscard]] std::optional<std::string> string() const;
    // Elements of another type are left out.
    [[nodiscard]] std::vector<std::int64_t> integers() const;
    [[nodiscard]] std::vector<std::string> strings() const;
    [[nodiscard]] std::vector<Uuid> uuids() const;
    [[nodiscard]] std::map<std::string, std::string> map() const;
};

// Makers, for what is written back.
[[nodiscard]] Datum empty_set();
[[nodiscard]] Datum set_of(Atom atom);
[[nodiscard]] Datum set_of(std::vector<Atom> atoms);  ///< Sorts, removes repetitions.
[[nodiscard]] Datum map_of(const std::map<std::string, std::string>& pairs);
[[nodiscard]] Datum map_of(const std::map<std::string, std::int64_t>& pairs);

/// A member of a JSON object; null when it has none, or is no object.
[[nodiscard]] const nlohmann::json* member(const nlohmann::json& object, const char* name);

/// <value> of RFC 7047 section 5.1. The error names what does not fit.
[[nodiscard]] Result<Datum> parse_datum(const nlohmann::json& json);
[[nodiscard]] nlohmann::json to_json(const Datum& datum);

using Row = std::map<std::string, Datum, std::less<>>;  ///< By column.
using Rows = std::map<Uuid, Row>;

/// The monitored columns of the monitored tables.
struct Replica {
    std::map<std::string, Rows, std::less<>> tables;
    bool operator==(const Replica&) const = default;

    /// No rows when the table is not known.
    [[nodiscard]] const Rows& rows(std::string_view table) const;
    /// Null when there is none.
    [[nodiscard]] const Row* find(std::string_view table, const Uuid& uuid) const;
};

/// The column of a row; an empty set when it is empty or missing (of an older schema, say).
[[nodiscard]] const Datum& column(const Row& row, std::string_view name);

}  // namespace culvert::ctl::ovsdb
