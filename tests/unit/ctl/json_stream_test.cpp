// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where JSON texts end in a stream, in whatever pieces it arrives.
#include "ctl/json_stream.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Texts = std::vector<std::string>;

Texts feed_ok(JsonStream& stream, std::string_view bytes) {
    auto texts = stream.feed(bytes);
    EXPECT_TRUE(texts.has_value()) << texts.error();
    return texts.value_or(Texts());
}

std::string feed_error(JsonStream& stream, std::string_view bytes) {
    auto texts = stream.feed(bytes);
    EXPECT_FALSE(texts.has_value()) << "accepted " << bytes;
    return texts.has_value() ? "" : texts.error();
}

TEST(JsonStream, SplitsTextsWithoutDelimiter) {
    JsonStream stream(100);
    EXPECT_THAT(
        feed_ok(stream, R"({"a":1}{"b":[{}]} [2]
)"),
        ElementsAre(R"({"a":1})", R"({"b":[{}]})", "[2]")
    );
    EXPECT_FALSE(stream.pending());
}

TEST(JsonStream, JoinsTextsThatArriveByteByByte) {
    const std::string input = R"( {"m":"}\"{\\","p":[[]]}{"x":"é"})";
    JsonStream stream(100);
    Texts texts;
    for (const char byte : input) {
        for (std::string& text : feed_ok(stream, {&byte, 1})) {
            texts.push_back(std::move(text));
        }
    }
    EXPECT_THAT(texts, ElementsAre(R"({"m":"}\"{\\","p":[[]]})", R"({"x":"é"})"));
    EXPECT_FALSE(stream.pending());
}

TEST(JsonStream, BracketsAndEscapesInStringsDoNotCount) {
    JsonStream stream(100);
    EXPECT_THAT(feed_ok(stream, R"(["]}{[","\\","\""])"), ElementsAre(R"(["]}{[","\\","\""])"));
}

TEST(JsonStream, PendingWhileTextIsUnfinished) {
    JsonStream stream(100);
    EXPECT_FALSE(stream.pending());
    EXPECT_THAT(feed_ok(stream, " \n"), IsEmpty());
    EXPECT_FALSE(stream.pending());
    EXPECT_THAT(feed_ok(stream, R"({"a)"), IsEmpty());
    EXPECT_TRUE(stream.pending());
    EXPECT_THAT(feed_ok(stream, R"(":1})"), ElementsAre(R"({"a":1})"));
    EXPECT_FALSE(stream.pending());
}

TEST(JsonStream, RefusesTopLevelTextThatIsNotObjectOrArray) {
    for (const auto& [bytes, sentence] : std::vector<std::pair<std::string, std::string>>{
             {"GET / HTTP/1.1", "a message starts with \"G\", not with \"{\""},
             {"1", "a message starts with \"1\", not with \"{\""},
             {"}", "a message starts with \"}\", not with \"{\""},
             {std::string(1, '\0'), "a message starts with byte 0x00, not with \"{\""},
             {"\xff", "a message starts with byte 0xff, not with \"{\""}}) {
        JsonStream stream(100);
        EXPECT_EQ(feed_error(stream, bytes), sentence);
    }
}

TEST(JsonStream, RefusesTextsThatAreNotJson) {
    for (const char* bytes :
         {"{]", "{1:2}", "[1,]", "{\"a\":nul}", "[\"\x01\"]", "[\"\xff\"]", "[01]", "[NaN]"}) {
        JsonStream stream(100);
        EXPECT_EQ(feed_error(stream, bytes), "a message is not valid JSON") << bytes;
    }
}

TEST(JsonStream, BoundsTheLengthOfOneText) {
    const std::string text = R"({"a":"xyz"})";
    JsonStream exact(text.size());
    EXPECT_THAT(feed_ok(exact, text + text), ElementsAre(text, text));
    JsonStream shorter(text.size() - 1);
    EXPECT_EQ(feed_error(shorter, text), "a message is longer than 10 bytes");
}

TEST(JsonStream, BoundsAnUnfinishedText) {
    JsonStream stream(10);
    EXPECT_THAT(feed_ok(stream, R"({"a":"xxxx)"), IsEmpty());
    EXPECT_EQ(feed_error(stream, "x"), "a message is longer than 10 bytes");
    EXPECT_FALSE(stream.pending());
}

TEST(JsonStream, BlanksBetweenTextsAreNotBounded) {
    JsonStream stream(4);
    EXPECT_THAT(feed_ok(stream, std::string(1000, ' ') + "[]"), ElementsAre("[]"));
}

TEST(JsonStream, BoundsTheNesting) {
    const std::string deepest = std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']');
    JsonStream stream(1000);
    EXPECT_THAT(feed_ok(stream, deepest), ElementsAre(deepest));
    EXPECT_EQ(
        feed_error(stream, "[" + deepest + "]"), "a message nests more than 32 objects and arrays"
    );
}

TEST(JsonStream, BoundsTheValues) {
    // As many as there are brackets that open, and commas.
    JsonStream stream(JsonLimits{.bytes_max = 1000, .values_max = 4});
    EXPECT_THAT(feed_ok(stream, R"([1,{"a,":2},3])"), ElementsAre(R"([1,{"a,":2},3])"));
    EXPECT_THAT(feed_ok(stream, "[1,2,3"), IsEmpty());
    EXPECT_THAT(feed_ok(stream, ",4]"), ElementsAre("[1,2,3,4]"));
    EXPECT_EQ(feed_error(stream, "[1,2,3,4,5]"), "a message has more than 4 values");
}

TEST(JsonStream, ChecksNoGrammarWhereTheTextIsParsedAnyway) {
    JsonStream stream(JsonLimits{.bytes_max = 100, .brackets_only = true});
    EXPECT_THAT(feed_ok(stream, "[nul][1]"), ElementsAre("[nul]", "[1]"));
}

TEST(JsonStream, ReturnsGoodTextsBeforeTheError) {
    JsonStream stream(100);
    EXPECT_THAT(feed_ok(stream, "[1][2]x[3]"), ElementsAre("[1]", "[2]"));
    EXPECT_EQ(feed_error(stream, ""), "a message starts with \"x\", not with \"{\"");
}

TEST(JsonStream, ErrorStays) {
    JsonStream stream(100);
    const std::string error = feed_error(stream, "x");
    EXPECT_EQ(feed_error(stream, "[]"), error);
    EXPECT_EQ(feed_error(stream, ""), error);
}

}  // namespace
}  // namespace culvert::ctl
