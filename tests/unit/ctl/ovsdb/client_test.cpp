// SPDX-License-Identifier: GPL-2.0-or-later
//
// The client against a server that plays by the rules, in each of the ways that there are.
#include "ctl/ovsdb/client.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/ctl/ovsdb/client_fixture.hpp"

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::fake_options;
using testing::FakeServer;
using testing::first_name;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::run_until;
using testing::TemporaryFolder;

class OvsdbClient : public ::testing::Test {
protected:
    bool run(const std::function<bool()>& holds) { return run_until(io, holds); }
    void connect(ClientOptions options) {
        client.emplace(io, std::move(options));
        client->on_change = [this] { ++changes; };
    }
    void connect() { connect(fake_options({"unix:" + path})); }
    bool synchronise() {
        return run([this] { return client->is_synchronised(); });
    }
    static json row(const json& update) { return {{"T", {{FakeServer::kRow, update}}}}; }
    static json modified(const char* name) { return row({{"modify", {{"name", name}}}}); }

    TemporaryFolder folder;
    std::string path = folder.file("s");
    boost::asio::io_context io;
    std::optional<FakeServer> server{std::in_place, io, path};
    std::optional<Client> client;
    unsigned changes = 0;
};

TEST_F(OvsdbClient, MirrorsTheServer) {
    connect();
    EXPECT_EQ(client->status(), "unix:" + path + ": connecting");
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(client->status(), "unix:" + path + ": connected");
    EXPECT_EQ(first_name(*client), "x");
    EXPECT_EQ(
        server->last("monitor_cond_since")->at("params")[2],
        json::parse(R"({"T":[{"columns":["name","options"]}]})")
    );
    EXPECT_EQ(server->last("monitor_cond_since")->at("params")[3], kNoTransaction);
    server->update3("t2", modified("y"));
    ASSERT_TRUE(run([&] { return first_name(*client) == "y"; }));
    server->update3("t3", row({{"delete", nullptr}}));
    ASSERT_TRUE(run([&] { return client->replica() == Replica(); }));
}

TEST_F(OvsdbClient, BurstOfMessagesIsOneChange) {
    connect();
    ASSERT_TRUE(run([&] { return client->is_synchronised() && client->has_lock(); }));
    const unsigned before = changes;
    std::string burst;
    for (int i = 0; i < 100; ++i) {
        burst += json({{"id", nullptr},
                       {"method", "update3"},
                       {"params", {server->monitor_id(), "t", modified(std::to_string(i).c_str())}}}
        ).dump();
    }
    server->send(burst);
    ASSERT_TRUE(run([&] { return first_name(*client) == "99"; }));
    EXPECT_EQ(changes, before + 1);
}

TEST_F(OvsdbClient, FallsBackToMonitorCond) {
    server->results.erase("monitor_cond_since");
    server->results["monitor_cond"] = FakeServer::one_row("initial");
    connect();
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(first_name(*client), "x");
    server->notify("update2", json::array({server->monitor_id(), modified("y")}));
    ASSERT_TRUE(run([&] { return first_name(*client) == "y"; }));
}

TEST_F(OvsdbClient, FallsBackToMonitor) {
    server->results.erase("monitor_cond_since");
    server->results["monitor"] = FakeServer::one_row("new");
    connect();
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(first_name(*client), "x");
    server->notify(
        "update",
        json::array(
            {server->monitor_id(), row({{"old", {{"name", "x"}}}, {"new", {{"name", "y"}}}})}
        )
    );
    ASSERT_TRUE(run([&] { return first_name(*client) == "y"; }));
    EXPECT_EQ(server->count("monitor_cond"), 2U);  // _Server's, and the one in vain.
}

TEST_F(OvsdbClient, GoesOnFromItsTransactionAfterReconnect) {
    connect();
    ASSERT_TRUE(synchronise());
    server->update3("t2", modified("y"));
    ASSERT_TRUE(run([&] { return first_name(*client) == "y"; }));
    server->results["monitor_cond_since"] =
        json::array({true, "t3", row(json::parse(R"({"modify":{"options":["map",[["k","v"]]]}})"))}
        );
    server->close();
    ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
    EXPECT_EQ(first_name(*client), "y");
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(server->last("monitor_cond_since")->at("params")[3], "t2");
    EXPECT_EQ(first_name(*client), "y");
    EXPECT_THAT(
        column(client->replica().rows("T").begin()->second, "options").map(),
        ElementsAre(Pair("k", "v"))
    );
}

TEST_F(OvsdbClient, ReplacesTheReplicaOnceNewContentsAreThere) {
    connect();
    ASSERT_TRUE(synchronise());
    server->silent.insert("monitor_cond_since");
    server->close();
    ASSERT_TRUE(run([&] { return server->count("monitor_cond_since") == 2; }));
    EXPECT_FALSE(client->is_synchronised());
    EXPECT_EQ(first_name(*client), "x");
    server->silent.clear();
    server->results["monitor_cond_since"] = {false, "t9", json::object()};
    server->close();
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(client->replica(), Replica());
}

TEST_F(OvsdbClient, AnswersEchoesAndRefusesOtherRequests) {
    connect();
    ASSERT_TRUE(synchronise());
    server->send(R"({"id":"e","method":"echo","params":["a",1]}{"id":7,"method":"x","params":[]})");
    ASSERT_TRUE(run([&] { return !server->received.empty() && server->received.back()["id"] == 7; })
    );
    EXPECT_EQ(server->received.back()["error"], "unknown method");
    const json& echo = *(server->received.end() - 2);
    EXPECT_EQ(echo, json::parse(R"({"id":"e","result":["a",1],"error":null})"));
}

TEST_F(OvsdbClient, LockIsGainedAndLost) {
    server->results["lock"] = {{"locked", false}};
    connect();
    ASSERT_TRUE(run([&] { return client->is_lock_contended(); }));
    EXPECT_FALSE(client->has_lock());
    EXPECT_EQ(server->last("lock")->at("params"), json::array({"ovs_vswitchd"}));
    server->notify("locked", json::array({"ovs_vswitchd"}));
    ASSERT_TRUE(run([&] { return client->has_lock(); }));
    EXPECT_FALSE(client->is_lock_contended());
    server->notify("stolen", json::array({"ovs_vswitchd"}));
    ASSERT_TRUE(run([&] { return client->is_lock_contended(); }));
    EXPECT_FALSE(client->has_lock());
    server->results["lock"] = {{"locked", true}};
    server->close();
    ASSERT_TRUE(run([&] { return client->has_lock(); }));
    EXPECT_EQ(server->count("lock"), 2U);
}

TEST_F(OvsdbClient, NoLockIsTakenWithoutName) {
    ClientOptions options = fake_options({"unix:" + path});
    options.lock = "";
    connect(std::move(options));
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(server->count("lock"), 0U);
}

TEST_F(OvsdbClient, TransactionsAreAnswered) {
    connect();
    ASSERT_TRUE(synchronise());
    server->results["transact"] = json::array({{{"count", 1}}, json::object()});
    std::optional<Result<json>> outcome;
    const auto keep = [&](Result<json> result) { outcome = std::move(result); };
    client->transact(json::array({{{"op", "comment"}}}), keep);
    EXPECT_FALSE(outcome.has_value());
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    EXPECT_EQ(outcome->value()[0]["count"], 1);
    EXPECT_EQ(server->last("transact")->at("params"), json::parse(R"(["D",{"op":"comment"}])"));

    outcome.reset();
    server->results["transact"] =
        json::parse(R"([{"count":1},{"error":"constraint violation","details":"too many"},null])");
    client->transact(json::array(), keep);
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    EXPECT_EQ(outcome->error(), "operation 2: constraint violation: too many");

    outcome.reset();
    server->results.erase("transact");
    client->transact(json::array(), keep);
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    EXPECT_EQ(outcome->error(), "unknown method");
}

TEST_F(OvsdbClient, TransactionsFailWithTheConnection) {
    connect();
    std::optional<Result<json>> outcome;
    const auto keep = [&](Result<json> result) { outcome = std::move(result); };
    client->transact(json::array(), keep);
    EXPECT_FALSE(outcome.has_value());  // Not inside the call.
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    EXPECT_THAT(outcome->error(), HasSubstr("no transaction is possible"));

    ASSERT_TRUE(synchronise());
    outcome.reset();
    server->silent.insert("transact");
    client->transact(json::array(), keep);
    ASSERT_TRUE(run([&] { return server->count("transact") == 1; }));
    EXPECT_FALSE(outcome.has_value());
    server->close();
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    EXPECT_THAT(outcome->error(), HasSubstr("the connection was lost: the server closed"));
}

TEST_F(OvsdbClient, TransactionsAreBounded) {
    ClientOptions options = fake_options({"unix:" + path});
    options.output_bytes_max = 100000;
    connect(std::move(options));
    ASSERT_TRUE(synchronise());
    unsigned refused = 0;
    const json operations =
        json::array({{{"op", "comment"}, {"comment", std::string(60000, 'x')}}});
    for (int i = 0; i < 4; ++i) {
        client->transact(operations, [&](const Result<json>& result) {
            refused += result.has_value() ? 0U : 1U;
        });
    }
    ASSERT_TRUE(run([&] { return refused == 2; }));
    EXPECT_TRUE(client->is_synchronised());
}

TEST_F(OvsdbClient, NothingIsCalledAfterItsEnd) {
    connect();
    ASSERT_TRUE(synchronise());
    bool called = false;
    client->transact(json::array(), [&](const Result<json>&) { called = true; });
    client.reset();
    ASSERT_TRUE(run([&] { return !server->open; }));
    EXPECT_FALSE(called);
}

TEST_F(OvsdbClient, MayEndInItsOwnCallbacks) {
    connect();
    client->on_change = [this] { client.reset(); };
    ASSERT_TRUE(run([&] { return !client.has_value(); }));

    connect();
    ASSERT_TRUE(synchronise());
    client->transact(json::array(), [this](const Result<json>&) { client.reset(); });
    ASSERT_TRUE(run([&] { return !client.has_value(); }));
    ASSERT_TRUE(run([&] { return !server->open; }));
}

TEST_F(OvsdbClient, ConversionLeadsToFreshContents) {
    connect();
    ASSERT_TRUE(synchronise());
    server->schema["tables"]["T"]["columns"].erase("options");
    server->results["monitor_cond_since"] = {
        false, "t1", row({{"initial", {{"name", "converted"}}}})};
    server->notify("monitor_canceled", json::array({server->monitor_id()}));
    ASSERT_TRUE(run([&] { return first_name(*client) == "converted"; }));
    EXPECT_EQ(server->accepted, 1U);
    EXPECT_EQ(
        server->last("monitor_cond_since")->at("params")[2],
        json::parse(R"({"T":[{"columns":["name"]}]})")
    );
    EXPECT_EQ(server->last("monitor_cond_since")->at("params")[3], kNoTransaction);
}

json database(const char* model, bool connected, bool leader) {
    return {
        {"Database",
         {{FakeServer::kRow,
           {{"initial",
             {{"name", "D"}, {"model", model}, {"connected", connected}, {"leader", leader}}}}}}}};
}

TEST_F(OvsdbClient, AServerThatEndsCancelsTheMonitorOfItselfToo) {
    server->server_contents = database("standalone", true, true);
    connect();
    ASSERT_TRUE(synchronise());
    server->notify("monitor_canceled", json::array({server->server_monitor_id()}));
    server->results["monitor_cond_since"] = {
        false, "t1", row({{"initial", {{"name", "converted"}}}})};
    server->notify("monitor_canceled", json::array({server->monitor_id()}));
    ASSERT_TRUE(run([&] { return first_name(*client) == "converted"; }));
    EXPECT_EQ(server->accepted, 1U);
}

TEST_F(OvsdbClient, OnlyTheLeaderOfAClusterIsUsed) {
    const std::string other = folder.file("other");
    FakeServer leader(io, other);
    server->server_contents = database("clustered", true, false);
    leader.server_contents = database("clustered", true, true);
    connect(fake_options({"unix:" + path, "unix:" + other}));
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(client->status(), "unix:" + other + ": connected");
    EXPECT_EQ(server->count("get_schema"), 0U);

    // It stops being the leader, and the other one becomes it.
    server->server_contents = database("clustered", true, true);
    leader.server_contents = database("clustered", true, false);
    leader.notify(
        "update2",
        json::array(
            {leader.server_monitor_id(),
             {{"Database", {{FakeServer::kRow, {{"modify", {{"leader", false}}}}}}}}}
        )
    );
    ASSERT_TRUE(run([&] { return client->status() == "unix:" + path + ": connected"; }));
    EXPECT_EQ(first_name(*client), "x");

    // It loses its cluster.
    leader.server_contents = database("clustered", true, true);
    server->server_contents = database("clustered", false, true);
    server->notify(
        "update2",
        json::array(
            {server->server_monitor_id(),
             {{"Database", {{FakeServer::kRow, {{"modify", {{"connected", false}}}}}}}}}
        )
    );
    ASSERT_TRUE(run([&] { return client->status() == "unix:" + other + ": connected"; }));
}

TEST_F(OvsdbClient, StandaloneServerNeedsNoLeader) {
    server->server_contents = database("standalone", false, false);
    connect();
    ASSERT_TRUE(synchronise());
}

TEST_F(OvsdbClient, ServerWithoutTheDatabaseIsLeft) {
    const std::string other = folder.file("other");
    FakeServer second(io, other);
    server->server_contents = {{"Database", json::object()}};
    connect(fake_options({"unix:" + path, "unix:" + other}));
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(client->status(), "unix:" + other + ": connected");
    client.reset();
    connect();
    ASSERT_TRUE(run([&] {
        return client->status() == "unix:" + path + ": the server has no database \"D\"";
    }));
}

TEST_F(OvsdbClient, WaitsForAServerThatIsNotThere) {
    server->stop();
    server.reset();
    std::filesystem::remove(path);
    connect();
    ASSERT_TRUE(run([&] {
        return client->status() == "unix:" + path + ": cannot connect: No such file or directory";
    }));
    server.emplace(io, path);
    ASSERT_TRUE(synchronise());
}

TEST_F(OvsdbClient, BadRemotesAreSaid) {
    connect(fake_options({"nonsense"}));
    ASSERT_TRUE(run([&] {
        return client->status().starts_with("nonsense: remote \"nonsense\" is not");
    }));
    client.reset();
    connect(fake_options({}));
    EXPECT_EQ(client->status(), "no remote");
}

}  // namespace
}  // namespace culvert::ctl::ovsdb
