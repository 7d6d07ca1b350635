// SPDX-License-Identifier: GPL-2.0-or-later
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/vici/message.hpp"

namespace culvert::ctl::vici {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Message example() {
    return Message()
        .add("key1", "value1"s)
        .add(
            "section1",
            Message()
                .add("sub-section", Message().add("key2", "value2"s))
                .add("list1", Message::List{"item1", "item2"})
        );
}

// The example of strongSwan's description of the protocol, byte by byte.
const std::string kExample = "\x03\x04key1\x00\x06value1"
                             "\x01\x08section1"
                             "\x01\x0bsub-section"
                             "\x03\x04key2\x00\x06value2"
                             "\x02"
                             "\x04\x05list1"
                             "\x05\x00\x05item1"
                             "\x05\x00\x05item2"
                             "\x06"
                             "\x02"s;

std::string error_of(const std::string& bytes) {
    const auto packet = decode(bytes);
    return packet.has_value() ? "" : packet.error();
}

TEST(ViciMessage, IsWrittenAsCharonReadsIt) {
    EXPECT_EQ(
        encode({Operation::request, "load", example()}).value(),
        "\x00\x00\x00\x53\x00\x04load"s + kExample
    );
    EXPECT_EQ(
        encode({Operation::register_event, "log", example()}).value(),
        "\x00\x00\x00\x05\x03\x03log"s
    );
    EXPECT_EQ(encode({Operation::response, "ignored", {}}).value(), "\x00\x00\x00\x01\x01"s);
}

TEST(ViciMessage, IsReadAsItWasWritten) {
    const auto packet = decode("\x07\x07list-sa"s + kExample);
    ASSERT_TRUE(packet.has_value()) << packet.error();
    EXPECT_EQ(packet->operation, Operation::event);
    EXPECT_EQ(packet->name, "list-sa");
    EXPECT_EQ(packet->message, example());

    const Message& message = packet->message;
    EXPECT_EQ(message.text("key1"), "value1");
    EXPECT_EQ(message.text("key2"), "");
    EXPECT_EQ(message.text("section1"), "");
    EXPECT_EQ(message.list("key1"), nullptr);
    ASSERT_NE(message.section("section1"), nullptr);
    const Message& section = *message.section("section1");
    EXPECT_THAT(*section.list("list1"), ElementsAre("item1", "item2"));
    EXPECT_EQ(section.section("sub-section")->text("key2"), "value2");
    EXPECT_EQ(section.section("list1"), nullptr);
}

TEST(ViciMessage, ASecretIsSentAsAnyOtherValue) {
    EXPECT_EQ(
        encode({Operation::request, "x", Message().add("data", PrivateText("hidden"))}),
        encode({Operation::request, "x", Message().add("data", "hidden"s)})
    );
}

TEST(ViciMessage, WhatIsTooLongIsNotSentAndNotShown) {
    const std::string secret(65536, 's');
    const auto value =
        encode({Operation::request, "x", Message().add("data", PrivateText(secret))});
    ASSERT_FALSE(value.has_value());
    EXPECT_EQ(
        value.error(),
        "the value of \"data\" has 65536 bytes, which is more than the vici protocol can carry"
    );
    const auto name = encode({Operation::request, "x", Message().add(std::string(256, 'n'), ""s)});
    ASSERT_FALSE(name.has_value());
    EXPECT_THAT(name.error(), HasSubstr("has 256 bytes, which is more than"));
    EXPECT_FALSE(encode({Operation::request, std::string(256, 'n'), {}}).has_value());
    Message many;
    for (int i = 0; i < 9; ++i) {
        many.add("data", std::string(65535, 'x'));
    }
    EXPECT_THAT(encode({Operation::request, "x", many}).error(), HasSubstr("\"x\" has 589"));
    EXPECT_TRUE(encode({Operation::request, "x", Message().add("data", std::string(65535, 'x'))})
                    .has_value());
}

TEST(ViciMessage, EveryTruncationIsRefused) {
    const std::string whole = "\x01"s + kExample;
    // Between two pairs of the outermost section a message may end.
    const std::size_t first_pair = 1 + 14;
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
        const bool complete = bytes == 1 || bytes == first_pair;
        EXPECT_EQ(decode(whole.substr(0, bytes)).has_value(), complete) << bytes;
    }
}

TEST(ViciMessage, ElementsOutOfPlaceAreRefused) {
    EXPECT_EQ(error_of(""), "a vici packet is empty");
    EXPECT_EQ(error_of("\x08"), "a vici packet has operation 8, not 0 to 7");
    EXPECT_THAT(error_of("\x01\x02"), HasSubstr("element 2 where a pair, a list or a section"));
    EXPECT_THAT(error_of("\x01\x05"), HasSubstr("element 5 where a pair"));
    EXPECT_THAT(error_of("\x01\x06"), HasSubstr("element 6 where a pair"));
    EXPECT_THAT(error_of("\x01\x09"), HasSubstr("element 9 where a pair"));
    EXPECT_THAT(
        error_of("\x01\x04\x01l\x03\x01k"s), HasSubstr("a list of a vici message has element 3")
    );
    std::string deep = "\x01";
    for (std::size_t i = 0; i < kDepthMax; ++i) {
        deep += "\x01\x01s";
    }
    EXPECT_EQ(error_of(deep), "a vici message is cut short");
    EXPECT_THAT(error_of(deep + "\x01\x01s"), HasSubstr("sections in more than 16 sections"));
}

TEST(ViciPacketStream, PacketsAreCutHoweverTheyArrive) {
    const std::string bytes = encode({Operation::event, "log", example()}).value() +
                              encode({Operation::event_confirmed, {}, {}}).value() +
                              encode({Operation::response, {}, example()}).value();
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
        PacketStream stream;
        std::vector<Packet> all;
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            const auto packets = stream.feed(std::string_view(bytes).substr(at, piece));
            ASSERT_TRUE(packets.has_value()) << packets.error();
            all.insert(all.end(), packets->begin(), packets->end());
        }
        ASSERT_EQ(all.size(), 3U) << piece;
        EXPECT_EQ(all[0].name, "log");
        EXPECT_EQ(all[1].operation, Operation::event_confirmed);
        EXPECT_EQ(all[2].message, example());
    }
}

TEST(ViciPacketStream, APacketThatIsTooLongIsRefusedBeforeItArrives) {
    PacketStream stream;
    EXPECT_THAT(stream.feed("\x00\x08\x00\x00"s).value(), IsEmpty());
    PacketStream other;
    const auto packets = other.feed("\x00\x08\x00\x01"s);
    ASSERT_FALSE(packets.has_value());
    EXPECT_EQ(packets.error(), "a vici packet says that it has 524289 bytes, not up to 524288");
}

}  // namespace
}  // namespace culvert::ctl::vici
