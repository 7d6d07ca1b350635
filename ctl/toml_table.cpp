// SPDX-License-Identifier: GPL-2.0-or-later
//
// Typed reading of one table of a TOML document. Checks what a single value can tell: its type, its
// range, its form. What depends on other keys or other items is checked elsewhere. One thread at a
// time.
#include "ctl/toml_table.hpp"

#include <algorithm>

#include "ctl/sentence.hpp"

namespace culvert::ctl {

namespace {

std::uint32_t line_of(const toml::node& node) {
    return static_cast<std::uint32_t>(node.source().begin.line);
}

/// The value as a message shows it.
std::string shown(const toml::node* node) {
    if (node == nullptr) {
        return "nothing";
    }
    if (const auto* text = node->as_string()) {
        return quote(text->get());
    }
    if (const auto* number = node->as_integer()) {
        return std::to_string(number->get());
    }
    if (const auto* flag = node->as_boolean()) {
        return flag->get() ? "true" : "false";
    }
    if (node->is_floating_point()) {
        return "a floating-point number";
    }
    if (node->is_array()) {
        return "a list";
    }
    return node->is_table() ? "a table" : "a date or time";
}

/// "the integer 5": a value with its type, where a value of another type was expected.
std::string shown_with_type(const toml::node& node) {
    if (node.is_string()) {
        return "the string " + shown(&node);
    }
    if (node.is_integer()) {
        return "the integer " + shown(&node);
    }
    return node.is_boolean() ? "the boolean " + shown(&node) : shown(&node);
}

std::string element_name(std::string_view key, std::size_t index) {
    return std::string(key) + "[" + std::to_string(index) + "]";
}

/// `, or "flow"`; nothing for no word.
std::string or_word(std::string_view word, std::string_view separator) {
    return word.empty() ? std::string{} : std::string(separator) + "or " + quote(word);
}

bool is_letter_or_digit(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool is_name(std::string_view text, std::size_t bytes_max) noexcept {
    return !text.empty() && text.size() <= bytes_max && is_letter_or_digit(text[0]) &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
           });
}

std::string name_rule(std::size_t bytes_max) {
    return "1-" + std::to_string(bytes_max) +
           " letters, digits, '.', '_' or '-', the first a letter or digit";
}

std::string_view unicast_problem(const tunnels::IpAddress& address) {
    static const tunnels::IpAddress any_v4 = tunnels::IpAddress::from_v4("\0\0\0\0");
    static const tunnels::IpAddress broadcast_v4 = tunnels::IpAddress::from_v4("\xff\xff\xff\xff");
    if (address.is_multicast()) {
        return "is a multicast address";
    }
    if (address.is_unset() || address == any_v4) {
        return "is the unspecified address";
    }
    return address == broadcast_v4 ? "is the broadcast address" : "";
}

void FirstError::report(std::uint32_t line, std::string_view subject, std::string_view text) {
    if (!found()) {
        text_ = sentence(Origin{file_, line}, subject, text);
    }
}

TomlTable::TomlTable(
    const toml::table& table, const Section& section, std::string_view owner, FirstError& error
)
    : table_(&table), subject_(section.title()), error_(&error) {
    if (!owner.empty()) {
        subject_ += " of " + quote(owner);
    } else if (const auto* name = table["name"].as_string()) {
        subject_ = item(section.title(), name->get());
    }
    check_keys(section);
}

void TomlTable::check_keys(const Section& section) const {
    for (const auto& [key, node] : *table_) {
        if (std::find(section.keys.begin(), section.keys.end(), key.str()) != section.keys.end()) {
            continue;
        }
        std::string text = "unknown key " + quote(key.str());
        if (const std::string_view meant = nearest(key.str(), section.keys); !meant.empty()) {
            text += " (did you mean " + quote(meant) + "?)";
        }
        const auto at = static_cast<std::uint32_t>(key.source().begin.line);
        error_->report(at, subject_, text + "; valid: " + join(section.keys));
    }
}

Origin TomlTable::origin() const {
    return {error_->file(), line_of(*table_)};
}

std::uint32_t TomlTable::line(std::string_view key) const {
    const toml::node* node = table_->get(key);
    return line_of(node != nullptr ? *node : *table_);
}

void TomlTable::fail(std::string_view key, std::string_view text) const {
    error_->report(line(key), subject_, text);
}

void TomlTable::invalid(std::string_view key, std::string_view problem, std::string_view valid)
    const {
    std::string text = std::string(key) + " = " + shown(table_->get(key));
    text.append(" ").append(problem).append("; valid: ").append(valid);
    fail(key, text);
}

void TomlTable::invalid_element(
    std::string_view key, std::size_t index, std::string_view problem, std::string_view valid
) const {
    const toml::array* list = (*table_)[key].as_array();
    const toml::node* node = list != nullptr ? list->get(index) : nullptr;
    std::string text = element_name(key, index) + " = " + shown(node);
    text.append(" ").append(problem).append("; valid: ").append(valid);
    error_->report(node != nullptr ? line_of(*node) : line(key), subject_, text);
}

void TomlTable::refuse(std::string_view key, std::string_view reason) const {
    if (has(key)) {
        fail(key, std::string(key) + " " + std::string(reason));
    }
}

bool TomlTable::take(std::string_view key, Alternative other) const {
    const auto* text = (*table_)[key].as_string();
    if (text == nullptr || text->get() != other.word) {
        return false;
    }
    *other.chosen = true;
    return true;
}

void TomlTable::require(std::string_view key, std::string_view valid) const {
    if (!has(key)) {
        fail(key, std::string(key) + " is missing; valid: " + std::string(valid));
    }
}

void TomlTable::wrong_type(std::string_view key, std::string_view expected, const toml::node& got)
    const {
    std::string text = quote(key) + " must be ";
    text.append(expected).append(", got ").append(shown_with_type(got));
    error_->report(line_of(got), subject_, text);
}

void TomlTable::read(std::string_view key, bool& out, std::string_view expected) const {
    const toml::node* node = table_->get(key);
    if (node == nullptr) {
        return;
    }
    if (const auto* flag = node->as_boolean()) {
        out = flag->get();
    } else {
        wrong_type(key, expected, *node);
    }
}

std::optional<std::string> TomlTable::string(std::string_view key, std::string_view valid) const {
    const toml::node* node = table_->get(key);
    if (node == nullptr) {
        return std::nullopt;
    }
    const auto* text = node->as_string();
    if (text == nullptr) {
        wrong_type(key, "a string (" + std::string(valid) + ")", *node);
        return std::nullopt;
    }
    return text->get();
}

void TomlTable::read(std::string_view key, std::string& out) const {
    static constexpr std::string_view kValid = "one or more printable characters";
    if (std::optional<std::string> text = string(key, kValid)) {
        if (text->empty() || !is_printable(*text)) {
            invalid(key, text->empty() ? "is empty" : "holds a control character", kValid);
            return;
        }
        out = std::move(*text);
    }
}

void TomlTable::read_name(std::string_view key, std::size_t bytes_max, std::string& out) const {
    if (std::optional<std::string> text = string(key, name_rule(bytes_max))) {
        if (!is_name(*text, bytes_max)) {
            invalid(key, "is not a valid name here", name_rule(bytes_max));
            return;
        }
        out = std::move(*text);
    }
}

void TomlTable::read(std::string_view key, std::optional<tunnels::MacAddress>& out) const {
    static constexpr std::string_view kValid =
        "six hexadecimal octets such as \"02:00:00:00:00:01\", the first one even";
    const std::optional<std::string> text = string(key, kValid);
    if (!text) {
        return;
    }
    const std::optional<tunnels::MacAddress> mac = tunnels::MacAddress::parse(*text);
    if (!mac) {
        invalid(key, "is not a MAC address", kValid);
    } else if (mac->is_group()) {
        invalid(key, "is a group MAC address", kValid);
    } else if (mac->is_zero()) {
        invalid(key, "is all zero", kValid);
    } else {
        out = mac;
    }
}

void TomlTable::read_address(
    std::string_view key, std::string_view word, std::optional<tunnels::IpAddress>& out
) const {
    const std::string valid =
        "the IPv4 or IPv6 address of one host, without prefix length or zone" + or_word(word, ", ");
    const std::optional<std::string> text = string(key, valid);
    if (!text) {
        return;
    }
    const std::optional<tunnels::IpAddress> address = tunnels::IpAddress::parse(*text);
    const std::string_view problem = address ? unicast_problem(*address) : "is not an IP address";
    if (!problem.empty()) {
        invalid(key, problem, valid);
        return;
    }
    out = address;
}

std::optional<std::uint64_t> TomlTable::integer(
    std::string_view key, Range range, std::string_view note, std::string_view word
) const {
    const toml::node* node = table_->get(key);
    if (node == nullptr) {
        return std::nullopt;
    }
    const auto* number = node->as_integer();
    if (number == nullptr) {
        wrong_type(key, "an integer (" + range.text() + ")" + or_word(word, " "), *node);
        return std::nullopt;
    }
    const auto value = static_cast<std::uint64_t>(number->get());
    if (number->get() < 0 || value < range.min || value > range.max) {
        invalid(key, "is out of range" + std::string(note), range.text() + or_word(word, ", "));
        return std::nullopt;
    }
    return value;
}

std::vector<std::uint64_t> TomlTable::integers(std::string_view key, Range range) const {
    std::vector<std::uint64_t> values;
    const toml::node* node = table_->get(key);
    if (node == nullptr) {
        return values;
    }
    const toml::array* list = node->as_array();
    if (list == nullptr) {
        wrong_type(key, "a list of integers (" + range.text() + ")", *node);
        return values;
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
        const auto* number = (*list)[i].as_integer();
        if (number == nullptr) {
            wrong_type(element_name(key, i), "an integer (" + range.text() + ")", *list->get(i));
            continue;
        }
        const auto value = static_cast<std::uint64_t>(number->get());
        if (number->get() < 0 || value < range.min || value > range.max) {
            invalid_element(key, i, "is out of range", range.text());
            continue;
        }
        values.push_back(value);
    }
    return values;
}

void TomlTable::read_list(
    std::string_view key, std::string_view what, std::vector<std::string>& out
) const {
    const toml::node* node = table_->get(key);
    if (node == nullptr) {
        return;
    }
    const toml::array* list = node->as_array();
    if (list == nullptr) {
        wrong_type(key, "a list of strings (" + std::string(what) + ")", *node);
        return;
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
        const auto* text = (*list)[i].as_string();
        if (text == nullptr) {
            wrong_type(element_name(key, i), "a string (" + std::string(what) + ")", *list->get(i));
        } else if (text->get().empty() || !is_printable(text->get())) {
            invalid_element(key, i, "is empty or holds a control character", what);
        } else {
            out.push_back(text->get());
        }
    }
}

std::optional<std::size_t>
TomlTable::choice(std::string_view key, std::span<const std::string_view> words) const {
    const std::string valid = listing(words);
    const std::optional<std::string> text = string(key, valid);
    if (!text) {
        return std::nullopt;
    }
    const auto found = std::find(words.begin(), words.end(), *text);
    if (found == words.end()) {
        invalid(key, "is unknown", valid);
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - words.begin());
}

std::vector<TomlTable> TomlTable::sections(
    const toml::table& table,
    std::string_view key,
    const Section& section,
    std::string_view owner,
    FirstError& error
) {
    std::vector<TomlTable> tables;
    const toml::node* node = table.get(key);
    if (node == nullptr) {
        return tables;
    }
    const auto add = [&](const toml::node& written) {
        if (const toml::table* found = written.as_table()) {
            tables.push_back(TomlTable(*found, section, owner, error));
        } else {
            error.report(
                line_of(written),
                section.title(),
                "must be a table, got " + shown_with_type(written)
            );
        }
    };
    const toml::array* list = node->as_array();
    if ((list != nullptr) != section.is_list) {
        error.report(
            line_of(*node),
            section.title(),
            section.is_list ? "must be a list of tables, each written " + section.title()
                            : "must be one table, not a list of them"
        );
    } else if (list == nullptr) {
        add(*node);
    } else {
        for (const toml::node& element : *list) {
            add(element);
        }
    }
    return tables;
}

}  // namespace culvert::ctl
