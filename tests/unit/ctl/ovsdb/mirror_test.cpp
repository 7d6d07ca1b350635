// SPDX-License-Identifier: GPL-2.0-or-later
//
// A replica that follows updates of both forms, and refuses those that do not fit as a whole.
#include "ctl/ovsdb/mirror.hpp"

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

const Uuid kA{"00000000-0000-4000-8000-00000000000a"};
const Uuid kB{"00000000-0000-4000-8000-00000000000b"};
constexpr std::size_t kPlenty = 1U << 20U;

const json& schema() {
    static const json& text = *new json(json::parse(R"({"name":"D","tables":{
        "T":{"columns":{
            "name":{"type":"string"},
            "up":{"type":{"key":"boolean"}},
            "load":{"type":{"key":{"type":"real"},"min":0,"max":"unlimited"}},
            "tag":{"type":{"key":{"type":"integer","minInteger":0},"min":0,"max":1}},
            "trunks":{"type":{"key":"integer","min":0,"max":4}},
            "ports":{"type":{"key":{"type":"uuid","refTable":"U"},"min":1,"max":"unlimited"}},
            "options":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}},
        "U":{"columns":{"name":{"type":"string"}}}}})"));
    return text;
}

Selection select(const Wanted& wanted) {
    auto selection = select_columns(schema(), wanted);
    EXPECT_TRUE(selection.has_value()) << selection.error();
    return selection.value_or(Selection());
}

Mirror mirror(std::size_t bytes_max = kPlenty) {
    Mirror made(bytes_max);
    made.select(select({{"T", {"name", "up", "load", "tag", "trunks", "options"}}, {"U", {"name"}}})
    );
    return made;
}

json row_update(const Uuid& uuid, const char* update) {
    return {{"T", {{uuid.text, json::parse(update)}}}};
}

/// A mirror with one row, A.
Mirror one_row() {
    Mirror made = mirror();
    json contents = row_update(
        kA,
        R"({"initial":{"name":"x","tag":5,"trunks":["set",[1,2]],"options":["map",[["k","v"],["l","w"]]]}})"
    );
    EXPECT_TRUE(made.replace(UpdateForm::difference, contents).has_value());
    return made;
}

const Row& row_a(const Mirror& of) {
    static const Row& none = *new Row();
    const Row* row = of.replica().find("T", kA);
    EXPECT_NE(row, nullptr);
    return row == nullptr ? none : *row;
}

void modify(Mirror& of, const char* changes) {
    json update = row_update(kA, (std::string(R"({"modify":)") + changes + "}").c_str());
    const auto applied = of.apply(UpdateForm::difference, update);
    ASSERT_TRUE(applied.has_value()) << applied.error();
    EXPECT_TRUE(*applied);
}

TEST(Schema, LeavesOutWhatItLacks) {
    const Selection selection = select({{"T", {"name", "none"}}, {"V", {"name"}}});
    EXPECT_THAT(selection, ElementsAre(Pair("T", ElementsAre(Pair("name", ColumnType{})))));
}

TEST(Schema, RefusesWhatIsNone) {
    for (const auto& [text, sentence] : std::vector<std::pair<const char*, const char*>>{
             {"null", "no object \"tables\""},
             {R"({"tables":5})", "no object \"tables\""},
             {R"({"tables":{"T":5}})", "no object \"columns\""},
             {R"({"tables":{"T":{"columns":[]}}})", "no object \"columns\""},
             {R"({"tables":{"T":{"columns":{"c":5}}}})", "column c of table T"},
             {R"({"tables":{"T":{"columns":{"c":{"type":"text"}}}}})", "no valid type"},
             {R"({"tables":{"T":{"columns":{"c":{"type":{}}}}}})", "no valid type"},
             {R"({"tables":{"T":{"columns":{"c":{"type":{"key":{"type":4}}}}}}})", "no valid type"},
             {R"({"tables":{"T":{"columns":{"c":{"type":{"key":"string","min":2}}}}}})",
              "valid type"},
             {R"({"tables":{"T":{"columns":{"c":{"type":{"key":"string","max":0}}}}}})",
              "valid type"},
             {R"({"tables":{"T":{"columns":{"c":{"type":{"key":"string","max":"x"}}}}}})",
              "valid type"},
             {R"({"tables":{"T":{"columns":{"c":{"type":{"key":"string","value":1}}}}}})",
              "valid type"}}) {
        const auto selection = select_columns(json::parse(text), {{"T", {"c"}}});
        ASSERT_FALSE(selection.has_value()) << text;
        EXPECT_THAT(selection.error(), HasSubstr(sentence)) << text;
    }
}

TEST(Mirror, AsksForTheSelectedColumns) {
    Mirror made(kPlenty);
    made.select(select({{"T", {"name", "up"}}, {"U", {"name"}}}));
    EXPECT_EQ(
        made.requests(),
        json::parse(R"({"T":[{"columns":["name","up"]}],"U":[{"columns":["name"]}]})")
    );
}

TEST(Mirror, ColumnsNotMentionedHaveTheirDefault) {
    const Mirror made = one_row();
    EXPECT_EQ(column(row_a(made), "up").boolean(), false);
    EXPECT_EQ(column(row_a(made), "load"), empty_set());
    EXPECT_EQ(column(row_a(made), "tag").integer(), 5);
}

TEST(Mirror, ModifyGivesScalarsTheirNewValue) {
    Mirror made = one_row();
    modify(made, R"({"name":"y","tag":7})");
    EXPECT_EQ(column(row_a(made), "name").string(), "y");
    EXPECT_EQ(column(row_a(made), "tag").integer(), 7);
    modify(made, R"({"tag":["set",[]]})");
    EXPECT_EQ(column(row_a(made), "tag"), empty_set());
}

TEST(Mirror, ModifyTogglesElementsOfSets) {
    Mirror made = one_row();
    modify(made, R"({"trunks":["set",[3,1]]})");
    EXPECT_THAT(column(row_a(made), "trunks").integers(), ElementsAre(2, 3));
    modify(made, R"({"trunks":["set",[2,3]],"load":1})");
    EXPECT_EQ(column(row_a(made), "trunks"), empty_set());
    modify(made, R"({"load":["set",[0.5,2,10]]})");
    EXPECT_EQ(column(row_a(made), "load"), set_of(std::vector<Atom>{0.5, 1.0, 2.0, 10.0}));
}

TEST(Mirror, ModifyOfMapsAddsChangesAndRemoves) {
    Mirror made = one_row();
    modify(made, R"({"options":["map",[["k","other"],["l","w"],["a","b"]]]})");
    EXPECT_THAT(
        column(row_a(made), "options").map(), ElementsAre(Pair("a", "b"), Pair("k", "other"))
    );
    modify(made, R"({"options":["map",[["a","b"],["k","other"],["z",""]]]})");
    EXPECT_THAT(column(row_a(made), "options").map(), ElementsAre(Pair("z", "")));
}

TEST(Mirror, RowsComeAndGo) {
    Mirror made = one_row();
    json update = {
        {"T", {{kA.text, {{"delete", nullptr}}}, {kB.text, {{"insert", json::object()}}}}}};
    ASSERT_TRUE(made.apply(UpdateForm::difference, update).has_value());
    EXPECT_EQ(made.replica().find("T", kA), nullptr);
    EXPECT_NE(made.replica().find("T", kB), nullptr);
    json last = row_update(kB, R"({"delete":null})");
    ASSERT_TRUE(made.apply(UpdateForm::difference, last).has_value());
    EXPECT_EQ(made.replica(), Replica());
    EXPECT_EQ(made.bytes(), 0U);
    json nothing = json::object();
    EXPECT_EQ(made.apply(UpdateForm::difference, nothing), false);
}

TEST(Mirror, FollowsOldAndNew) {
    Mirror made = mirror();
    json contents = row_update(kA, R"({"new":{"name":"x","tag":["set",[]],"up":true}})");
    ASSERT_TRUE(made.replace(UpdateForm::old_and_new, contents).has_value());
    json change = row_update(kA, R"({"old":{"name":"x"},"new":{"name":"y","tag":3,"up":true}})");
    ASSERT_EQ(made.apply(UpdateForm::old_and_new, change), true);
    EXPECT_EQ(column(row_a(made), "name").string(), "y");
    EXPECT_EQ(column(row_a(made), "tag").integer(), 3);
    EXPECT_EQ(column(row_a(made), "up").boolean(), true);
    json end = row_update(kA, R"({"old":{"name":"y","tag":3,"up":true}})");
    ASSERT_EQ(made.apply(UpdateForm::old_and_new, end), true);
    EXPECT_EQ(made.replica(), Replica());
}

TEST(Mirror, RefusedUpdateChangesNothingAndForgetsTheTransaction) {
    const std::string a = "\"" + kA.text + "\"";
    const std::string b = "\"" + kB.text + "\"";
    const std::string both = R"({"T":{)" + b + R"(:{"insert":{}},)" + a + R"(:{"insert":{}}}})";
    for (const auto& [text, sentence] : std::vector<std::pair<std::string, const char*>>{
             {"[]", "the tables are not an object"},
             {R"({"X":{}})", "table \"X\" was not asked for"},
             {R"({"T":[]})", "rows of table T are not an object"},
             {R"({"T":{"x":{"delete":null}}})", "has no UUID but \"x\""},
             {R"({"T":{"00000000-0000-4000-8000-00000000000A":{"delete":null}}})", "has no UUID"},
             {R"({"T":{)" + a + ":5}}", "not an object with one member"},
             {R"({"T":{)" + a + R"(:{"delete":null,"modify":{}}}})",
              "not an object with one member"},
             {R"({"T":{)" + a + R"(:{"remove":null}}})", "\"remove\" is not one of initial"},
             {R"({"T":{)" + a + R"(:{"insert":{}}}})", "it is there already"},
             {R"({"T":{)" + b + R"(:{"modify":{}}}})", "it is not there, and has a \"modify\""},
             {R"({"T":{)" + b + R"(:{"delete":null}}})", "it is not there, and has a \"delete\""},
             {R"({"T":{)" + b + R"(:{"insert":5}}})", "it is not an object"},
             {R"({"T":{)" + a + R"(:{"modify":5}}})", "it is not an object"},
             {R"({"T":{)" + a + R"(:{"modify":{"nil":5}}}})", "column \"nil\" was not asked for"},
             {R"({"T":{)" + a + R"(:{"modify":{"name":5}}}})",
              "column name: an element of it is not of type string"},
             {R"({"T":{)" + a + R"(:{"modify":{"name":["map",[]]}}}})", "column name: it is a map"},
             {R"({"T":{)" + a + R"(:{"modify":{"options":"x"}}}})",
              "column options: it is not a map"},
             {R"({"T":{)" + a + R"(:{"modify":{"options":["map",[["k",1]]]}}}})",
              "a value of it is not of type string"},
             {R"({"T":{)" + a + R"(:{"modify":{"name":["set",[]]}}}})",
              "column name: it has 0 elements"},
             {R"({"T":{)" + a + R"(:{"modify":{"tag":["set",[1,2]]}}}})",
              "it has 2 elements, and may have 0 to 1"},
             {R"({"T":{)" + a + R"(:{"modify":{"trunks":["set",[3,4,5]]}}}})",
              "the difference does not apply: it has 5"},
             {both, "it is there already"}}) {
        Mirror made = one_row();
        made.set_transaction("t1");
        const Replica before = made.replica();
        const std::size_t bytes = made.bytes();
        json update = json::parse(text);
        const auto applied = made.apply(UpdateForm::difference, update);
        ASSERT_FALSE(applied.has_value()) << text;
        EXPECT_THAT(applied.error(), HasSubstr(sentence)) << text;
        EXPECT_EQ(made.replica(), before) << text;
        EXPECT_EQ(made.bytes(), bytes) << text;
        EXPECT_EQ(made.transaction(), kNoTransaction);
    }
}

TEST(Mirror, RefusesOldAndNewThatDoNotFit) {
    for (const auto& [uuid, update, sentence] :
         std::vector<std::tuple<Uuid, const char*, const char*>>{
             {kA, "{}", "neither"},
             {kA, "5", "neither"},
             {kA, R"({"new":{}})", "it is there already, and is new"},
             {kB, R"({"old":{}})", "it is not there, and is changed"},
             {kB, R"({"old":{},"new":{}})", "it is not there, and is changed"},
             {kA, R"({"old":{},"new":5})", "it is not an object"}}) {
        Mirror made = one_row();
        json updates = row_update(uuid, update);
        const auto applied = made.apply(UpdateForm::old_and_new, updates);
        ASSERT_FALSE(applied.has_value()) << update;
        EXPECT_THAT(applied.error(), HasSubstr(sentence)) << update;
    }
}

TEST(Mirror, ReplacedContentsReplaceAll) {
    Mirror made = one_row();
    json contents = row_update(kB, R"({"initial":{"name":"z"}})");
    ASSERT_TRUE(made.replace(UpdateForm::difference, contents).has_value());
    EXPECT_EQ(made.replica().find("T", kA), nullptr);
    EXPECT_NE(made.replica().find("T", kB), nullptr);

    const Replica before = made.replica();
    json bad = {
        {"T", {{kA.text, {{"initial", json::object()}}}, {kB.text, {{"modify", json::object()}}}}}};
    ASSERT_FALSE(made.replace(UpdateForm::difference, bad).has_value());
    EXPECT_EQ(made.replica(), before);
}

TEST(Mirror, BoundsItsMemory) {
    Mirror made = mirror(2000);
    json contents = json::object();
    for (int i = 10; i < 30; ++i) {
        contents["T"]["00000000-0000-4000-8000-0000000000" + std::to_string(i)] = {
            {"initial", {{"name", "x"}}}};
    }
    const auto replaced = made.replace(UpdateForm::difference, contents);
    ASSERT_FALSE(replaced.has_value());
    EXPECT_EQ(replaced.error(), "the rows take more than 2000 bytes of memory");
    EXPECT_EQ(made.replica(), Replica());

    json row = row_update(kA, R"({"insert":{"name":"x"}})");
    ASSERT_TRUE(made.apply(UpdateForm::difference, row).has_value());
    EXPECT_EQ(made.bytes(), bytes_of(row_a(made)));
    json grow = row_update(kA, R"({"modify":{}})");
    grow["T"][kA.text]["modify"]["name"] = std::string(3000, 'x');
    EXPECT_FALSE(made.apply(UpdateForm::difference, grow).has_value());
    EXPECT_EQ(column(row_a(made), "name").string(), "x");
}

TEST(Mirror, OtherColumnsForgetTheTransaction) {
    Mirror made = one_row();
    made.set_transaction("t1");
    made.select(Selection(made.selection()));
    EXPECT_EQ(made.transaction(), "t1");
    made.select(select({{"T", {"name"}}}));
    EXPECT_EQ(made.transaction(), kNoTransaction);
}

}  // namespace
}  // namespace culvert::ctl::ovsdb
