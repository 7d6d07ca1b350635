// SPDX-License-Identifier: GPL-2.0-or-later
//
// Text and JSON from one table. Control characters are escaped in text, because names in cells may
// come from a peer or a database, and must not reach a terminal as commands.
#include "ctl/table.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "ctl/escape.hpp"

namespace culvert::ctl {
namespace {

constexpr std::string_view kColumnGap = "  ";

template <class... Functions>
struct Overloaded : Functions... {
    using Functions::operator()...;
};
// C++20 deduces this by itself, clang 14 does not yet.
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

/// Columns that `text` takes on a terminal: UTF-8 continuation bytes take none.
std::size_t display_width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
        return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U;
    }));
}

void append_aligned(
    std::string& line, std::string_view text, std::size_t width, const Column& column
) {
    const std::string padding(width - display_width(text), ' ');
    if (column.align == Align::right) {
        line += padding;
        line += text;
    } else {
        line += text;
        line += padding;
    }
}

}  // namespace

std::string Cell::to_text() const {
    return std::visit(
        Overloaded{
            [](std::monostate) { return std::string("-"); },
            [](const std::string& text) { return escape_controls(text); },
            [](auto number) { return std::to_string(number); },
        },
        value_
    );
}

void Table::add_row(std::vector<Cell> cells) {
    if (cells.size() != columns_.size()) {
        std::fprintf(
            stderr,
            "a row of %zu cells was added to a table of %zu columns\n",
            cells.size(),
            columns_.size()
        );
        std::abort();
    }
    rows_.push_back(std::move(cells));
}

std::string Table::to_text() const {
    std::vector<std::vector<std::string>> lines;
    lines.reserve(rows_.size() + 1);
    std::vector<std::string>& headings = lines.emplace_back();
    for (const Column& column : columns_) {
        headings.push_back(escape_controls(column.name));
    }
    for (const std::vector<Cell>& row : rows_) {
        std::vector<std::string>& line = lines.emplace_back();
        for (const Cell& cell : row) {
            line.push_back(cell.to_text());
        }
    }

    std::vector<std::size_t> widths(columns_.size(), 0);
    for (const std::vector<std::string>& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i) {
            widths[i] = std::max(widths[i], display_width(line[i]));
        }
    }

    std::string text;
    for (const std::vector<std::string>& line : lines) {
        const std::size_t line_start = text.size();
        for (std::size_t i = 0; i < line.size(); ++i) {
            if (i != 0) {
                text += kColumnGap;
            }
            append_aligned(text, line[i], widths[i], columns_[i]);
        }
        while (text.size() > line_start && text.back() == ' ') {
            text.pop_back();
        }
        text.push_back('\n');
    }
    return text;
}

nlohmann::ordered_json Table::to_json() const {
    auto array = nlohmann::ordered_json::array();
    for (const std::vector<Cell>& row : rows_) {
        auto object = nlohmann::ordered_json::object();
        for (std::size_t i = 0; i < row.size(); ++i) {
            object[columns_[i].name] = std::visit(
                Overloaded{
                    [](std::monostate) { return nlohmann::ordered_json(nullptr); },
                    [](const auto& value) { return nlohmann::ordered_json(value); },
                },
                row[i].value()
            );
        }
        array.push_back(std::move(object));
    }
    return array;
}

std::string Table::render(OutputFormat format) const {
    return format == OutputFormat::json ? render_json(to_json()) : to_text();
}

std::string render_json(const nlohmann::ordered_json& value) {
    std::string text = value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    text.push_back('\n');
    return text;
}

}  // namespace culvert::ctl
