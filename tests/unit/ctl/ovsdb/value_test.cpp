// SPDX-License-Identifier: GPL-2.0-or-later
//
// OVSDB values from and to JSON, and what readers of them get.
#include "ctl/ovsdb/value.hpp"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr const char* kUuid = "550e8400-e29b-41d4-a716-446655440000";
constexpr const char* kOtherUuid = "a50e8400-e29b-41d4-a716-446655440000";

Datum parsed(const std::string& text) {
    auto datum = parse_datum(json::parse(text));
    EXPECT_TRUE(datum.has_value()) << text << ": " << datum.error();
    return datum.value_or(Datum());
}

std::string refusal(const std::string& text) {
    const auto datum = parse_datum(json::parse(text));
    EXPECT_FALSE(datum.has_value()) << text;
    return datum.has_value() ? "" : datum.error();
}

TEST(Datum, ScalarsAreSetsOfOne) {
    EXPECT_EQ(parsed("5").integer(), 5);
    EXPECT_EQ(parsed("-9223372036854775808").integer(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(parsed("true").boolean(), true);
    EXPECT_EQ(parsed(R"("eth0")").string(), "eth0");
    EXPECT_EQ(parsed("1.5"), set_of(Atom(1.5)));
    EXPECT_EQ(parsed(R"(["set",[5]])"), parsed("5"));
    EXPECT_EQ(
        parsed(R"(["uuid","550E8400-E29B-41D4-A716-446655440000"])"), set_of(Atom(Uuid{kUuid}))
    );
}

TEST(Datum, ReadersGetNothingOfAnotherType) {
    EXPECT_EQ(parsed("5").string(), std::nullopt);
    EXPECT_EQ(parsed("5").boolean(), std::nullopt);
    EXPECT_EQ(parsed(R"("5")").integer(), std::nullopt);
    EXPECT_EQ(parsed(R"(["set",[]])").integer(), std::nullopt);
    EXPECT_EQ(parsed(R"(["set",[1,2]])").integer(), std::nullopt);
    EXPECT_EQ(parsed(R"(["map",[["a","b"]]])").string(), std::nullopt);
    EXPECT_THAT(parsed(R"(["map",[["a","b"]]])").strings(), IsEmpty());
    EXPECT_THAT(parsed(R"(["set",["a","b"]])").map(), IsEmpty());
}

TEST(Datum, SetsAreSorted) {
    EXPECT_THAT(parsed(R"(["set",[30,10,20]])").integers(), ElementsAre(10, 20, 30));
    EXPECT_THAT(parsed(R"(["set",["b","a"]])").strings(), ElementsAre("a", "b"));
    EXPECT_THAT(
        parsed(
            std::string(R"(["set",[["uuid",")") + kOtherUuid + R"("],["uuid",")" + kUuid + R"("]]])"
        )
            .uuids(),
        ElementsAre(Uuid{kUuid}, Uuid{kOtherUuid})
    );
    EXPECT_EQ(
        set_of(std::vector<Atom>{std::int64_t{2}, std::int64_t{1}, std::int64_t{2}}),
        parsed(R"(["set",[1,2]])")
    );
    EXPECT_EQ(empty_set(), parsed(R"(["set",[]])"));
}

TEST(Datum, MapsAreSortedByKey) {
    const Datum datum = parsed(R"(["map",[["key","7"],["csum","true"]]])");
    EXPECT_THAT(datum.map(), ElementsAre(Pair("csum", "true"), Pair("key", "7")));
    EXPECT_EQ(datum, map_of({{"key", std::string("7")}, {"csum", std::string("true")}}));
    EXPECT_EQ(
        parsed(R"(["map",[["rx_bytes",1]]])"),
        map_of(std::map<std::string, std::int64_t>{{"rx_bytes", 1}})
    );
    EXPECT_THAT(parsed(R"(["map",[["rx_bytes",1],["a","b"]]])").map(), ElementsAre(Pair("a", "b")));
    EXPECT_EQ(parsed(R"(["map",[]])"), parsed(R"(["set",[]])"));
    EXPECT_NE(parsed(R"(["map",[["a","b"]]])"), parsed(R"(["set",["a"]])"));
}

TEST(Datum, BecomesTheSameJsonAgain) {
    for (const char* text :
         {"5",
          "-1",
          "1.5",
          "false",
          R"("x")",
          R"(["set",[]])",
          R"(["set",[1,2]])",
          R"(["map",[]])",
          R"(["map",[["a","b"],["c","d"]]])",
          R"(["map",[[1,["uuid","550e8400-e29b-41d4-a716-446655440000"]]]])",
          R"(["uuid","550e8400-e29b-41d4-a716-446655440000"])"}) {
        EXPECT_EQ(to_json(parsed(text)), json::parse(text)) << text;
    }
    EXPECT_EQ(to_json(parsed(R"(["set",["a"]])")), json("a"));
}

TEST(Datum, RefusesWhatIsNoValue) {
    EXPECT_THAT(refusal("null"), HasSubstr("null is not a string, number, boolean or UUID"));
    EXPECT_THAT(refusal("{}"), HasSubstr("{} is not a string"));
    for (const char* text :
         {R"(["uuid","550e8400"])",
          R"(["uuid",5])",
          R"(["uuid"])",
          "[]",
          "[1,2]",
          R"(["uuid","550e8400-e29b-41d4-a716-44665544000g"])",
          R"(["uuid","550e8400ae29b-41d4-a716-446655440000"])",
          R"(["named-uuid","x"])",
          R"(["set"])",
          R"(["set",5])",
          R"(["map",{}])"}) {
        EXPECT_THAT(refusal(text), HasSubstr("an array is one only as")) << text;
    }
    EXPECT_THAT(refusal("18446744073709551615"), HasSubstr("64 bits"));
    EXPECT_THAT(refusal(R"(["set",[["set",[]]]])"), HasSubstr("set: "));
    EXPECT_EQ(refusal(R"(["set",[1,1]])"), "set: an element is there twice");
    EXPECT_THAT(refusal(R"(["map",[["a"]]])"), HasSubstr("is not a pair"));
    EXPECT_THAT(refusal(R"(["map",[["a",{}]]])"), HasSubstr("map: {}"));
    EXPECT_THAT(refusal(R"(["map",[[null,1]]])"), HasSubstr("map: null"));
    EXPECT_EQ(refusal(R"(["map",[["a",1],["a",2]]])"), "map: a key is there twice");
}

TEST(Datum, RefusalIsBounded) {
    const std::string text =
        "[" + std::string(100000, ' ') + "\"" + std::string(100000, 'x') + "\"]";
    EXPECT_LT(refusal(text).size(), 300U);
}

TEST(Replica, FindsRowsAndColumns) {
    Replica replica;
    replica.tables["Port"][Uuid{kUuid}]["name"] = set_of(Atom(std::string("p1")));
    const Row* row = replica.find("Port", Uuid{kUuid});
    ASSERT_NE(row, nullptr);
    EXPECT_EQ(column(*row, "name").string(), "p1");
    EXPECT_EQ(column(*row, "tag"), empty_set());
    EXPECT_EQ(replica.find("Port", Uuid{kOtherUuid}), nullptr);
    EXPECT_EQ(replica.find("Bridge", Uuid{kUuid}), nullptr);
    EXPECT_THAT(replica.rows("Bridge"), IsEmpty());
    EXPECT_EQ(replica.rows("Port").size(), 1U);
}

}  // namespace
}  // namespace culvert::ctl::ovsdb
