// SPDX-License-Identifier: GPL-2.0-or-later
//
// The two forms of an OVSDB value: JSON as RFC 7047 section 5.1 writes it, and a sorted Datum, so
// that two values are equal when their Datums are.
#include "ctl/ovsdb/value.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/ovsdb/uuid_text.hpp"

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;

constexpr std::size_t kQuotedBytesMax = 80;

/// A value in an error sentence: bounded, and valid UTF-8 whatever it holds.
std::string quote(const json& value) {
    std::string text = value.is_structured() && value.size() > 8
                           ? std::string(value.is_array() ? "a long array" : "a long object")
                           : value.dump(-1, ' ', true, json::error_handler_t::replace);
    if (text.size() > kQuotedBytesMax) {
        text = text.substr(0, kQuotedBytesMax) + "...";
    }
    return text;
}

Result<Atom> parse_uuid(const json& value) {
    if (value.size() == 2 && value[0].is_string() && value[1].is_string() &&
        value[0].get_ref<const std::string&>() == "uuid") {
        if (auto uuid = parse_uuid_text(value[1].get_ref<const std::string&>())) {
            return Atom(std::move(*uuid));
        }
    }
    return tl::unexpected(
        quote(value) + R"( is not an atom: an array is one only as ["uuid", "8-4-4-4-12 digits"])"
    );
}

Result<Atom> parse_atom(const json& value) {
    switch (value.type()) {
    case json::value_t::string:
        return Atom(value.get<std::string>());
    case json::value_t::boolean:
        return Atom(value.get<bool>());
    case json::value_t::number_integer:
        return Atom(value.get<std::int64_t>());
    case json::value_t::number_unsigned: {
        const auto number = value.get<std::uint64_t>();
        if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
            return tl::unexpected(quote(value) + " is not an integer of 64 bits with a sign");
        }
        return Atom(static_cast<std::int64_t>(number));
    }
    case json::value_t::number_float:
        return Atom(value.get<double>());
    case json::value_t::array:
        return parse_uuid(value);
    default:
        return tl::unexpected(quote(value) + " is not a string, number, boolean or UUID");
    }
}

/// The elements of ["set", [...]] or ["map", [...]], or null when it is neither.
const json* elements_of(const json& value, const char* word) {
    if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_array() &&
        value[0].get_ref<const std::string&>() == word) {
        return &value[1];
    }
    return nullptr;
}

Result<Datum> parse_set(const json& elements) {
    std::vector<Atom> atoms;
    atoms.reserve(elements.size());
    for (const json& element : elements) {
        auto atom = parse_atom(element);
        if (!atom.has_value()) {
            return tl::unexpected("set: " + atom.error());
        }
        atoms.push_back(std::move(*atom));
    }
    const std::size_t sent = atoms.size();
    Datum datum = set_of(std::move(atoms));
    if (datum.keys.size() != sent) {
        return tl::unexpected(std::string("set: an element is there twice"));
    }
    return datum;
}

Result<Datum> parse_map(const json& elements) {
    std::vector<std::pair<Atom, Atom>> pairs;
    pairs.reserve(elements.size());
    for (const json& element : elements) {
        if (!element.is_array() || element.size() != 2) {
            return tl::unexpected("map: " + quote(element) + " is not a pair [key, value]");
        }
        auto key = parse_atom(element[0]);
        auto value = parse_atom(element[1]);
        if (!key.has_value() || !value.has_value()) {
            return tl::unexpected("map: " + (key.has_value() ? value.error() : key.error()));
        }
        pairs.emplace_back(std::move(*key), std::move(*value));
    }
    std::sort(pairs.begin(), pairs.end());
    Datum datum;
    datum.is_map = true;
    datum.keys.reserve(pairs.size());
    datum.values.reserve(pairs.size());
    for (auto& [key, value] : pairs) {
        if (!datum.keys.empty() && datum.keys.back() == key) {
            return tl::unexpected(std::string("map: a key is there twice"));
        }
        datum.keys.push_back(std::move(key));
        datum.values.push_back(std::move(value));
    }
    return datum;
}

json to_json(const Atom& atom) {
    if (const Uuid* uuid = std::get_if<Uuid>(&atom)) {
        return json::array({"uuid", uuid->text});
    }
    return std::visit(
        [](const auto& value) -> json {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Uuid>) {
                return value.text;
            } else {
                return value;
            }
        },
        atom
    );
}

template <class T>
std::optional<T> scalar(const Datum& datum) {
    if (datum.is_map || datum.keys.size() != 1) {
        return std::nullopt;
    }
    const T* value = std::get_if<T>(&datum.keys.front());
    return value == nullptr ? std::nullopt : std::optional<T>(*value);
}

template <class T>
std::vector<T> elements(const Datum& datum) {
    std::vector<T> found;
    if (!datum.is_map) {
        for (const Atom& atom : datum.keys) {
            if (const T* value = std::get_if<T>(&atom)) {
                found.push_back(*value);
            }
        }
    }
    return found;
}

template <class Value>
Datum make_map(const std::map<std::string, Value>& pairs) {
    Datum datum;
    datum.is_map = true;
    for (const auto& [key, value] : pairs) {
        datum.keys.emplace_back(key);
        datum.values.emplace_back(value);
    }
    return datum;
}

}  // namespace

std::optional<Uuid> parse_uuid_text(std::string_view text) {
    constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (text.size() != kForm.size()) {
        return std::nullopt;
    }
    Uuid uuid{std::string(text)};
    for (std::size_t i = 0; i < kForm.size(); ++i) {
        char& byte = uuid.text[i];
        if (byte >= 'A' && byte <= 'F') {
            byte = static_cast<char>(byte - 'A' + 'a');
        }
        const bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
        if (kForm[i] == '-' ? byte != '-' : !digit) {
            return std::nullopt;
        }
    }
    return uuid;
}

bool Datum::operator==(const Datum& other) const {
    return keys == other.keys && values == other.values && (is_map == other.is_map || keys.empty());
}

std::optional<std::int64_t> Datum::integer() const {
    return scalar<std::int64_t>(*this);
}

std::optional<bool> Datum::boolean() const {
    return scalar<bool>(*this);
}

std::optional<std::string> Datum::string() const {
    return scalar<std::string>(*this);
}

std::vector<std::int64_t> Datum::integers() const {
    return elements<std::int64_t>(*this);
}

std::vector<std::string> Datum::strings() const {
    return elements<std::string>(*this);
}

std::vector<Uuid> Datum::uuids() const {
    return elements<Uuid>(*this);
}

std::map<std::string, std::string> Datum::map() const {
    std::map<std::string, std::string> pairs;
    for (std::size_t i = 0; is_map && i < keys.size() && i < values.size(); ++i) {
        const auto* key = std::get_if<std::string>(&keys[i]);
        const auto* value = std::get_if<std::string>(&values[i]);
        if (key != nullptr && value != nullptr) {
            pairs.emplace(*key, *value);
        }
    }
    return pairs;
}

Datum empty_set() {
    return {};
}

Datum set_of(Atom atom) {
    Datum datum;
    datum.keys.push_back(std::move(atom));
    return datum;
}

Datum set_of(std::vector<Atom> atoms) {
    std::sort(atoms.begin(), atoms.end());
    atoms.erase(std::unique(atoms.begin(), atoms.end()), atoms.end());
    Datum datum;
    datum.keys = std::move(atoms);
    return datum;
}

Datum map_of(const std::map<std::string, std::string>& pairs) {
    return make_map(pairs);
}

Datum map_of(const std::map<std::string, std::int64_t>& pairs) {
    return make_map(pairs);
}

const json* member(const json& object, const char* name) {
    const auto found = object.find(name);
    return object.is_object() && found != object.end() ? &*found : nullptr;
}

Result<Datum> parse_datum(const json& json) {
    if (const auto* elements = elements_of(json, "set")) {
        return parse_set(*elements);
    }
    if (const auto* elements = elements_of(json, "map")) {
        return parse_map(*elements);
    }
    auto atom = parse_atom(json);
    if (!atom.has_value()) {
        return tl::unexpected(std::move(atom.error()));
    }
    return set_of(std::move(*atom));
}

json to_json(const Datum& datum) {
    if (!datum.is_map && datum.keys.size() == 1) {
        return to_json(datum.keys.front());
    }
    json elements = json::array();
    for (std::size_t i = 0; i < datum.keys.size(); ++i) {
        json key = to_json(datum.keys[i]);
        elements.push_back(
            datum.is_map ? json::array({std::move(key), to_json(datum.values[i])}) : std::move(key)
        );
    }
    return json::array({datum.is_map ? "map" : "set", std::move(elements)});
}

const Rows& Replica::rows(std::string_view table) const {
    static const Rows& none = *new Rows();
    const auto found = tables.find(table);
    return found == tables.end() ? none : found->second;
}

const Row* Replica::find(std::string_view table, const Uuid& uuid) const {
    const Rows& in = rows(table);
    const auto found = in.find(uuid);
    return found == in.end() ? nullptr : &found->second;
}

const Datum& column(const Row& row, std::string_view name) {
    static const Datum& none = *new Datum();
    const auto found = row.find(name);
    return found == row.end() ? none : found->second;
}

}  // namespace culvert::ctl::ovsdb
