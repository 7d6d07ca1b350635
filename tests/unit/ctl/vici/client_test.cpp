// SPDX-License-Identifier: GPL-2.0-or-later
//
// The client against a charon that is played, well and badly.
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/vici/client.hpp"
#include "tests/unit/ctl/vici/fake_charon.hpp"

namespace culvert::ctl::vici {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using testing::FakeCharon;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::run_until;
using testing::TemporaryFolder;

class ViciClient : public ::testing::Test {
protected:
    [[nodiscard]] ClientOptions options() const {
        return {
            .path = path,
            .events = {"ike-updown", "log"},
            .backoff_min = std::chrono::milliseconds(5),
            .backoff_max = std::chrono::milliseconds(20)};
    }
    void connect(ClientOptions with) {
        client.emplace(io, std::move(with));
        client->on_connected = [this] { ++connected; };
        client->on_lost = [this] { lost.push_back(client->failure()); };
        client->on_event = [this](const std::string& name, const Message& message) {
            events.push_back(name + " " + std::string(message.text("k")));
        };
    }
    bool run(const std::function<bool()>& holds) { return run_until(io, holds); }
    /// The answer to a command, or its error.
    std::string ask(const std::string& name) {
        std::optional<std::string> said;
        client->command(name, {}, [&](const Result<Message>& result) {
            said = result.has_value() ? "ok " + std::string(result->text("k")) : result.error();
        });
        EXPECT_FALSE(said.has_value());  // Not inside the call.
        EXPECT_TRUE(run([&] { return said.has_value(); }));
        return said.value_or("");
    }

    TemporaryFolder folder;
    std::string path = folder.file("s");
    boost::asio::io_context io;
    std::optional<Client> client;
    unsigned connected = 0;
    std::vector<std::string> lost;
    std::vector<std::string> events;
};

TEST_F(ViciClient, RegistersItsEventsAndThenAsks) {
    FakeCharon charon(io, path);
    charon.unknown_events = {"log"};
    charon.commands["get"] = [](const Message&) { return Message().add("k", "v"s); };
    charon.commands["refuse"] = [](const Message&) { return FakeCharon::refusal("no such thing"); };
    connect(options());
    EXPECT_FALSE(client->is_connected());
    ASSERT_TRUE(run([&] { return connected == 1; }));
    EXPECT_TRUE(client->is_connected());
    EXPECT_THAT(charon.registered, ElementsAre("ike-updown"));
    EXPECT_EQ(ask("get"), "ok v");
    EXPECT_EQ(ask("refuse"), "charon refuses \"refuse\": no such thing");
    EXPECT_EQ(ask("other"), "this charon does not know the command \"other\"");
    charon.raise("ike-updown", Message().add("k", "1"s));
    ASSERT_TRUE(run([&] { return !events.empty(); }));
    EXPECT_THAT(events, ElementsAre("ike-updown 1"));
    EXPECT_THAT(lost, IsEmpty());
}

TEST_F(ViciClient, CommandsAreAnsweredInOrderAndStreamsGoToTheirCommand) {
    FakeCharon charon(io, path);
    charon.commands["list"] = [&](const Message&) {
        charon.raise("item", Message().add("k", "1"s));
        charon.raise("ike-updown", Message().add("k", "between"s));
        charon.raise("item", Message().add("k", "2"s));
        return Message();
    };
    charon.commands["get"] = [](const Message&) { return Message(); };
    connect(options());
    ASSERT_TRUE(run([&] { return connected == 1; }));
    std::vector<std::string> order;
    client->command(
        "list",
        {},
        "item",
        [&](const Message& message) { order.push_back("item " + std::string(message.text("k"))); },
        [&](const Result<Message>&) { order.emplace_back("listed"); }
    );
    client->command("get", {}, [&](const Result<Message>&) { order.emplace_back("got"); });
    ASSERT_TRUE(run([&] { return order.size() == 4; }));
    EXPECT_THAT(order, ElementsAre("item 1", "item 2", "listed", "got"));
    EXPECT_THAT(events, ElementsAre("ike-updown between"));
    charon.raise("item", Message().add("k", "late"s));
    ASSERT_TRUE(run([&] { return events.size() == 2; }));
    EXPECT_EQ(order.size(), 4U);
}

TEST_F(ViciClient, SaysThatThereIsNoSocketAndConnectsOnceThereIs) {
    connect(options());
    ASSERT_TRUE(run([&] { return lost.size() >= 3; }));
    EXPECT_THAT(lost[0], HasSubstr("the vici socket \"" + path + "\" is not there: install"));
    EXPECT_THAT(lost[0], HasSubstr("strongswan-swanctl"));
    EXPECT_EQ(ask("get"), lost[0]);
    FakeCharon charon(io, path);
    ASSERT_TRUE(run([&] { return connected == 1; }));
    EXPECT_EQ(client->failure(), "");
}

TEST_F(ViciClient, SaysThatNobodyListens) {
    { const FakeCharon gone(io, path); }  // Leaves its socket.
    connect(options());
    ASSERT_TRUE(run([&] { return !lost.empty(); }));
    EXPECT_EQ(
        lost[0], "nobody listens at the vici socket \"" + path + "\": start strongSwan's charon"
    );
    client->on_lost = {};
    ClientOptions long_path = options();
    long_path.path = std::string(200, 'x');
    connect(long_path);
    ASSERT_TRUE(run([&] { return lost.size() == 2; }));
    EXPECT_EQ(lost[1], "the path of the vici socket has 200 bytes, not 1 to 107");
}

TEST_F(ViciClient, ALostConnectionFailsWhatWasAskedAndComesBack) {
    FakeCharon charon(io, path);
    charon.commands["silent"] = [](const Message&) { return std::nullopt; };
    connect(options());
    ASSERT_TRUE(run([&] { return connected == 1; }));
    std::vector<std::string> errors;
    for (const char* name : {"silent", "waits"}) {
        client->command(name, {}, [&](const Result<Message>& result) {
            errors.push_back(result.has_value() ? "ok" : result.error());
        });
    }
    ASSERT_TRUE(run([&] { return !charon.asked.empty(); }));
    charon.hang_up();
    ASSERT_TRUE(run([&] { return connected == 2; }));
    const std::string closed =
        "charon has closed the connection of its vici socket \"" + path + "\"";
    EXPECT_THAT(errors, ElementsAre(closed, closed));
    EXPECT_THAT(lost, ElementsAre(closed));
    EXPECT_THAT(charon.registered, ElementsAre("ike-updown", "log"));
    EXPECT_EQ(charon.asked.size(), 1U);
}

TEST_F(ViciClient, BadPacketsEndTheConnection) {
    FakeCharon charon(io, path);
    connect(options());
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"\x00\x00\x00\x01\x09"s, "a vici packet has operation 9"},
        {"\xff\x00\x00\x01"s, "a vici packet says that it has 4278190081 bytes"},
        {"\x00\x00\x00\x00"s, "a vici packet is empty"},
        {"\x00\x00\x00\x01\x01"s, "charon answers what it was not asked"},
    };
    for (const auto& [bytes, expected] : cases) {
        lost.clear();
        ASSERT_TRUE(run([&] { return client->is_connected(); }));
        const unsigned before = connected;
        charon.send(bytes);
        ASSERT_TRUE(run([&] { return !lost.empty(); })) << expected;
        EXPECT_THAT(lost[0], HasSubstr(expected));
        ASSERT_TRUE(run([&] { return connected > before; }));
    }
    charon.commands["odd"] = [&](const Message&) -> std::optional<Message> {
        charon.send(*encode({Operation::event_confirmed, {}, {}}));
        return std::nullopt;
    };
    EXPECT_EQ(ask("odd"), "charon answers something else than it was asked");
}

TEST_F(ViciClient, ACommandThatIsNotAnsweredEndsTheConnection) {
    FakeCharon charon(io, path);
    charon.commands["silent"] = [](const Message&) { return std::nullopt; };
    ClientOptions impatient = options();
    impatient.patience = std::chrono::milliseconds(100);
    connect(impatient);
    ASSERT_TRUE(run([&] { return connected == 1; }));
    EXPECT_EQ(ask("silent"), "charon has not answered \"silent\" for 100 ms");
    ASSERT_TRUE(run([&] { return connected == 2; }));
}

TEST_F(ViciClient, WhatCannotBeSentIsRefusedAndTheRestGoesOn) {
    FakeCharon charon(io, path);
    charon.commands["get"] = [](const Message&) { return Message(); };
    connect(options());
    ASSERT_TRUE(run([&] { return connected == 1; }));
    std::string error;
    client->command(
        "get",
        Message().add("data", PrivateText(std::string(70000, 's'))),
        [&](const Result<Message>& result) { error = result.error(); }
    );
    EXPECT_EQ(ask("get"), "ok ");
    EXPECT_THAT(error, HasSubstr("the value of \"data\" has 70000 bytes"));
}

TEST_F(ViciClient, IsSilentAfterItsEnd) {
    FakeCharon charon(io, path);
    charon.commands["silent"] = [](const Message&) { return std::nullopt; };
    connect(options());
    ASSERT_TRUE(run([&] { return connected == 1; }));
    bool answered = false;
    client->command("silent", {}, [&](const Result<Message>&) { answered = true; });
    ASSERT_TRUE(run([&] { return !charon.asked.empty(); }));
    client.reset();
    charon.raise("log", {});
    charon.hang_up();
    for (int i = 0; i < 5; ++i) {
        io.run_one_for(std::chrono::milliseconds(5));
    }
    EXPECT_FALSE(answered);
    EXPECT_THAT(lost, IsEmpty());
}

}  // namespace
}  // namespace culvert::ctl::vici
