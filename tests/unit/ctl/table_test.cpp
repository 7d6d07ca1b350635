// SPDX-License-Identifier: GPL-2.0-or-later
//
// Text and JSON of the same table.
#include "ctl/table.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace culvert::ctl {
namespace {

Table make_ports() {
    Table table({{"port"}, {"packets", Align::right}, {"vlan", Align::right}, {"state"}});
    table.add_row({"eth0", 7U, std::nullopt, "up"});
    table.add_row({std::string("vxlan100"), std::uint64_t{1234567890123}, 20, ""});
    return table;
}

TEST(TableText, AlignsColumnsAndTrimsLineEnds) {
    EXPECT_EQ(
        make_ports().to_text(),
        "port            packets  vlan  state\n"
        "eth0                  7     -  up\n"
        "vxlan100  1234567890123    20\n"
    );
}

TEST(TableText, ShowsHeadingsWithoutRows) {
    const Table table({{"a"}, {"b"}});
    EXPECT_EQ(table.to_text(), "a  b\n");
    EXPECT_EQ(table.size(), 0U);
}

TEST(TableText, CountsCodePointsNotBytes) {
    Table table({{"n"}, {"x"}});
    table.add_row({"\xc3\xa4\xc3\xb6", 1});
    EXPECT_EQ(table.to_text(), "n   x\n\xc3\xa4\xc3\xb6  1\n");
}

TEST(TableText, EscapesControlCharacters) {
    Table table({{"n"}});
    table.add_row({"a\nb\x1b[2J\x7f"});
    EXPECT_EQ(table.to_text(), "n\na\\x0ab\\x1b[2J\\x7f\n");
}

TEST(TableJson, KeepsColumnOrderAndTypes) {
    EXPECT_EQ(
        make_ports().to_json().dump(),
        R"([{"port":"eth0","packets":7,"vlan":null,"state":"up"},)"
        R"({"port":"vxlan100","packets":1234567890123,"vlan":20,"state":""}])"
    );
}

TEST(TableJson, IsEmptyArrayWithoutRows) {
    EXPECT_EQ(Table({{"a"}}).render(OutputFormat::json), "[]\n");
}

TEST(TableJson, KeepsFullIntegerRange) {
    Table table({{"u"}, {"i"}});
    table.add_row(
        {std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::int64_t>::min()}
    );
    EXPECT_EQ(
        table.render(OutputFormat::json),
        "[{\"u\":18446744073709551615,\"i\":-9223372036854775808}]\n"
    );
    EXPECT_EQ(
        table.render(OutputFormat::text),
        "u                     i\n18446744073709551615  -9223372036854775808\n"
    );
}

TEST(TableJson, ReplacesBytesThatAreNotUtf8) {
    Table table({{"n"}});
    table.add_row({"a\xff"});
    EXPECT_EQ(table.render(OutputFormat::json), "[{\"n\":\"a\xef\xbf\xbd\"}]\n");
}

TEST(TableCell, TakesOptionals) {
    EXPECT_EQ(Cell(std::optional<std::uint32_t>(5)).to_text(), "5");
    EXPECT_EQ(Cell(std::optional<std::string>()).to_text(), "-");
    EXPECT_EQ(Cell(std::uint8_t{65}).to_text(), "65");
    EXPECT_EQ(Cell(-1).to_text(), "-1");
}

TEST(TableDeathTest, AbortsOnWrongCellCount) {
    Table table({{"a"}, {"b"}});
    EXPECT_DEATH(table.add_row({"only one"}), "a row of 1 cells was added to a table of 2 columns");
}

}  // namespace
}  // namespace culvert::ctl
