// SPDX-License-Identifier: GPL-2.0-or-later
//
// A table that a command answers with. One description of columns and rows gives both the aligned
// text and the JSON array of objects, so that the two never differ. Does not wrap or truncate, and
// counts one column per Unicode code point (double-width characters are not known). Any thread may
// use its own table.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace culvert::ctl {

enum class OutputFormat : std::uint8_t { text, json };

enum class Align : std::uint8_t { left, right };

struct Column {
    std::string name;  ///< The text's heading and the JSON object's key.
    Align align = Align::left;
};

template <class T>
concept CellInteger = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>;

/// A string, an integer, or nothing: "-" in text, null in JSON.
class Cell {
public:
    using Value = std::variant<std::monostate, std::string, std::int64_t, std::uint64_t>;

    Cell() = default;
    Cell(std::nullopt_t) {}
    Cell(std::string text) : value_(std::move(text)) {}
    Cell(std::string_view text) : value_(std::string(text)) {}
    Cell(const char* text) : value_(std::string(text)) {}
    template <CellInteger T>
    Cell(T number) {
        if constexpr (std::signed_integral<T>) {
            value_ = static_cast<std::int64_t>(number);
        } else {
            value_ = static_cast<std::uint64_t>(number);
        }
    }
    template <class T>
    requires std::constructible_from<Cell, const T&> Cell(const std::optional<T>& optional) {
        if (optional.has_value()) {
            value_ = Cell(*optional).value_;
        }
    }

    [[nodiscard]] const Value& value() const noexcept { return value_; }
    /// As the text shows it; control characters are escaped, a cell never breaks a line.
    [[nodiscard]] std::string to_text() const;

private:
    Value value_;
};

class Table {
public:
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// One cell for each column; another count is a programming error and aborts.
    void add_row(std::vector<Cell> cells);
    [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }

    /// A line of headings and a line for each row, every line ended by '\n'; columns are two blanks
    /// apart, and no line ends in blanks.
    [[nodiscard]] std::string to_text() const;
    /// An array with one object for each row, its keys in the columns' order.
    [[nodiscard]] nlohmann::ordered_json to_json() const;
    /// to_text(), or to_json() as one line ended by '\n'.
    [[nodiscard]] std::string render(OutputFormat format) const;

private:
    std::vector<Column> columns_;
    std::vector<std::vector<Cell>> rows_;
};

/// The JSON text of `value` as one line ended by '\n'; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string render_json(const nlohmann::ordered_json& value);

}  // namespace culvert::ctl
