// SPDX-License-Identifier: GPL-2.0-or-later
//
// Types of columns, and values held to them.
#include "ctl/ovsdb/schema.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

struct TypeWord {
    AtomType type;
    const char* word;
};

constexpr std::array<TypeWord, 5> kTypeWords = {{
    {AtomType::integer, "integer"},
    {AtomType::real, "real"},
    {AtomType::boolean, "boolean"},
    {AtomType::string, "string"},
    {AtomType::uuid, "uuid"},
}};

const char* word_of(AtomType type) {
    return kTypeWords.at(static_cast<std::size_t>(type)).word;
}

/// <base-type>: a word, or an object whose "type" is one.
std::optional<AtomType> parse_base_type(const json& base) {
    const json* word = base.is_object() ? member(base, "type") : &base;
    if (word == nullptr || !word->is_string()) {
        return std::nullopt;
    }
    for (const TypeWord& entry : kTypeWords) {
        if (word->get_ref<const std::string&>() == entry.word) {
            return entry.type;
        }
    }
    return std::nullopt;
}

/// <type>, or nothing.
std::optional<ColumnType> parse_type(const json& sent) {
    ColumnType type;
    const auto* const key = sent.is_object() ? member(sent, "key") : &sent;
    const auto key_type = key == nullptr ? std::nullopt : parse_base_type(*key);
    if (!key_type.has_value()) {
        return std::nullopt;
    }
    type.key = *key_type;
    if (!sent.is_object()) {
        return type;
    }
    if (const auto* value = member(sent, "value")) {
        const auto value_type = parse_base_type(*value);
        if (!value_type.has_value()) {
            return std::nullopt;
        }
        type.value = *value_type;
        type.is_map = true;
    }
    if (const auto* minimum = member(sent, "min")) {
        if (!minimum->is_number_unsigned() || *minimum > 1) {
            return std::nullopt;
        }
        type.count_min = minimum->get<std::uint64_t>();
    }
    if (const auto* maximum = member(sent, "max")) {
        if (*maximum == "unlimited") {
            type.count_max = kUnlimited;
        } else if (maximum->is_number_unsigned() && *maximum >= 1) {
            type.count_max = maximum->get<std::uint64_t>();
        } else {
            return std::nullopt;
        }
    }
    return type;
}

tl::unexpected<std::string> refuse_type(const std::string& column, const std::string& table) {
    return tl::unexpected<std::string>(
        "column " + column + " of table " + table + " of the schema has no valid type"
    );
}

/// Makes an atom one of the type: a real may be written as an integer.
bool conform(Atom& atom, AtomType type) {
    switch (type) {
    case AtomType::integer:
        return std::holds_alternative<std::int64_t>(atom);
    case AtomType::real:
        if (const auto* integer = std::get_if<std::int64_t>(&atom)) {
            atom = static_cast<double>(*integer);
        }
        return std::holds_alternative<double>(atom);
    case AtomType::boolean:
        return std::holds_alternative<bool>(atom);
    case AtomType::string:
        return std::holds_alternative<std::string>(atom);
    case AtomType::uuid:
        return std::holds_alternative<Uuid>(atom);
    }
    return false;
}

Result<void> check_count(const Datum& datum, const ColumnType& type) {
    const std::size_t count = datum.keys.size();
    if (count < type.count_min || count > type.count_max) {
        return tl::unexpected(
            "it has " + std::to_string(count) + " elements, and may have " +
            std::to_string(type.count_min) + " to " +
            (type.count_max == kUnlimited ? "any number" : std::to_string(type.count_max))
        );
    }
    return {};
}

/// Sets: the elements of one of the two alone.
Datum toggle_elements(const Datum& before, Datum difference) {
    Datum after;
    after.keys.reserve(before.keys.size() + difference.keys.size());
    std::set_symmetric_difference(
        before.keys.begin(),
        before.keys.end(),
        std::make_move_iterator(difference.keys.begin()),
        std::make_move_iterator(difference.keys.end()),
        std::back_inserter(after.keys)
    );
    return after;
}

/// Maps: a pair that is there already goes, another value for a key is its new one.
Datum toggle_pairs(const Datum& before, Datum difference) {
    Datum after;
    after.is_map = true;
    std::size_t old = 0;
    std::size_t changed = 0;
    while (old < before.keys.size() || changed < difference.keys.size()) {
        const bool take_old =
            changed == difference.keys.size() ||
            (old < before.keys.size() && before.keys[old] < difference.keys[changed]);
        if (take_old) {
            after.keys.push_back(before.keys[old]);
            after.values.push_back(before.values[old]);
            ++old;
            continue;
        }
        const bool both = old < before.keys.size() && before.keys[old] == difference.keys[changed];
        if (!both || before.values[old] != difference.values[changed]) {
            after.keys.push_back(std::move(difference.keys[changed]));
            after.values.push_back(std::move(difference.values[changed]));
        }
        old += both ? 1U : 0U;
        ++changed;
    }
    return after;
}

}  // namespace

Result<Selection> select_columns(const json& schema, const Wanted& wanted) {
    const json* tables = member(schema, "tables");
    if (tables == nullptr || !tables->is_object()) {
        return tl::unexpected(std::string("the schema has no object \"tables\""));
    }
    Selection selection;
    for (const auto& [table, columns] : wanted) {
        const json* described = member(*tables, table.c_str());
        if (described == nullptr) {
            continue;
        }
        const json* known = member(*described, "columns");
        if (known == nullptr || !known->is_object()) {
            return tl::unexpected("table " + table + " of the schema has no object \"columns\"");
        }
        for (const std::string& column : columns) {
            const json* described_column = member(*known, column.c_str());
            if (described_column == nullptr) {
                continue;
            }
            const json* type = member(*described_column, "type");
            const auto parsed = type == nullptr ? std::nullopt : parse_type(*type);
            if (!parsed.has_value()) {
                return refuse_type(column, table);
            }
            selection[table].emplace(column, *parsed);
        }
    }
    return selection;
}

Result<Datum> parse_column(const json& sent, const ColumnType& type, bool difference) {
    auto datum = parse_datum(sent);
    if (!datum.has_value()) {
        return datum;
    }
    if (datum->is_map != type.is_map) {
        return tl::unexpected(std::string(type.is_map ? "it is not a map" : "it is a map"));
    }
    for (Atom& key : datum->keys) {
        if (!conform(key, type.key)) {
            return tl::unexpected(
                std::string("an element of it is not of type ") + word_of(type.key)
            );
        }
    }
    for (Atom& value : datum->values) {
        if (!conform(value, type.value)) {
            return tl::unexpected(
                std::string("a value of it is not of type ") + word_of(type.value)
            );
        }
    }
    if (type.key == AtomType::real && datum->keys.size() > 1) {
        // The order may have been that of integers before reals, and 1 may equal 1.0.
        auto again = parse_datum(to_json(*datum));
        if (!again.has_value()) {
            return again;
        }
        datum = std::move(again);
    }
    if (!difference || !type.is_composite()) {
        if (auto fitting = check_count(*datum, type); !fitting.has_value()) {
            return tl::unexpected(std::move(fitting.error()));
        }
    }
    return datum;
}

Datum default_value(const ColumnType& type) {
    if (type.count_min == 0 || type.is_map) {
        Datum empty;
        empty.is_map = type.is_map;
        return empty;
    }
    switch (type.key) {
    case AtomType::integer:
        return set_of(Atom(std::int64_t{0}));
    case AtomType::real:
        return set_of(Atom(0.0));
    case AtomType::boolean:
        return set_of(Atom(false));
    case AtomType::string:
        return set_of(Atom(std::string()));
    case AtomType::uuid:
        return set_of(Atom(Uuid{"00000000-0000-0000-0000-000000000000"}));
    }
    return {};
}

Result<Datum> apply_difference(const Datum& before, Datum difference, const ColumnType& type) {
    if (!type.is_composite()) {
        return difference;
    }
    Datum after = type.is_map ? toggle_pairs(before, std::move(difference))
                              : toggle_elements(before, std::move(difference));
    if (auto fitting = check_count(after, type); !fitting.has_value()) {
        return tl::unexpected("the difference does not apply: " + fitting.error());
    }
    return after;
}

}  // namespace culvert::ctl::ovsdb
