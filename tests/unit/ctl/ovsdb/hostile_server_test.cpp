// SPDX-License-Identifier: GPL-2.0-or-later
//
// The client against a server that breaks the rules: each time the connection ends with a sentence,
// the replica stays, and the client comes back.
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ctl/ovsdb/client.hpp"
#include "tests/unit/ctl/ovsdb/client_fixture.hpp"

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;
using testing::fake_options;
using testing::FakeServer;
using testing::first_name;
using ::testing::HasSubstr;
using testing::run_until;
using testing::TemporaryFolder;

class HostileServer : public ::testing::Test {
protected:
    bool run(const std::function<bool()>& holds) { return run_until(io, holds); }
    void connect(ClientOptions options) {
        client.emplace(io, std::move(options));
        client->on_change = [this] {
            if (!client->is_synchronised()) {
                sentence = client->status();
            }
        };
    }
    bool synchronise() {
        return run([this] { return client->is_synchronised() && client->has_lock(); });
    }
    /// Sends bytes to a client that is synchronised; returns why it has left.
    std::string provoke(const std::string& bytes) {
        EXPECT_TRUE(synchronise());
        sentence.clear();
        server.send(bytes);
        EXPECT_TRUE(run([this] { return !sentence.empty(); })) << bytes.substr(0, 200);
        EXPECT_EQ(first_name(*client), "x");
        return sentence;
    }
    ClientOptions options() { return fake_options({"unix:" + path}); }

    TemporaryFolder folder;
    std::string path = folder.file("s");
    boost::asio::io_context io;
    FakeServer server{io, path};
    std::optional<Client> client;
    std::string sentence;
};

TEST_F(HostileServer, MessagesOutOfStepEndTheConnection) {
    ClientOptions limited = options();
    limited.message_bytes_max = 8000;
    connect(std::move(limited));
    std::string many = "[";
    for (int i = 0; i < 600; ++i) {
        many += "1,";
    }
    for (const auto& [bytes, expected] : std::vector<std::pair<std::string, const char*>>{
             {"GET / HTTP/1.1", "a message starts with \"G\", not with \"{\""},
             {std::string("\0\0", 2), "a message starts with byte 0x00"},
             {"{\"a\":" + std::string(9000, ' ') + "1}", "a message is longer than 8000 bytes"},
             {"{\"a\":\"" + std::string(9000, 'x'), "a message is longer than 8000 bytes"},
             {many, "a message has more than 500 values"},
             {std::string(33, '['), "a message nests more than 32 objects and arrays"},
             {"{nonsense}", "a message is not valid JSON"},
             {"{\"a\":\"\xff\"}", "a message is not valid JSON"},
             {"{\"a\":1e999}", "a message is not valid JSON"},
             {"[]", "a message is not an object"},
             {"{}", "a reply is to no request of ours"},
             {R"({"id":null,"result":{}})", "a reply is to no request of ours"},
             {R"({"id":"x","result":{}})", "a reply is to no request of ours"},
             {R"({"id":4711,"result":{},"error":null})", "a reply is to no request of ours"},
             {R"({"id":0,"result":{},"error":null})", "a reply is to no request of ours"},
             {R"({"method":5,"params":[],"id":null})",
              "the method of a message is 5, not a string"},
             {R"({"method":"update3","params":{},"id":null})", "are not an array"},
             {R"({"method":"update3","id":null})", "are not an array"},
             {R"({"method":"update3","params":[],"id":null})", "is of no monitor of ours"},
             {R"({"method":"update3","params":["x","t",{}],"id":null})",
              "is of no monitor of ours"},
             {R"({"method":"update2","params":["x",{}],"id":null})", "is of no monitor of ours"},
             {R"({"method":"update","params":["x",{}],"id":null})", "is of no monitor of ours"},
             {R"({"method":"monitor_canceled","params":["x"],"id":null})",
              "is of no monitor of ours"},
             {R"({"method":"locked","params":["x"],"id":null})", "is of no lock of ours"},
             {R"({"method":"stolen","params":[],"id":null})", "is of no lock of ours"}}) {
        EXPECT_THAT(provoke(bytes), HasSubstr(expected)) << bytes.substr(0, 200);
    }
}

TEST_F(HostileServer, UpdatesThatDoNotFitEndTheConnection) {
    connect(options());
    const std::string row = std::string("\"") + FakeServer::kRow + "\"";
    const std::string other = "\"00000000-0000-4000-8000-00000000000b\"";
    for (const auto& [parameters, expected] : std::vector<std::pair<std::string, const char*>>{
             {R"("t2")", "the parameters of a message \"update3\""},
             {R"("t2",{},{})", "the parameters of a message \"update3\""},
             {R"(5,{})", "the parameters of a message \"update3\""},
             {'"' + std::string(65, 't') + "\",{}", "the parameters of a message \"update3\""},
             {R"("t2",5)", "the tables are not an object"},
             {R"("t2",{"T":{)" + other + R"(:{"modify":{"name":"y"}}}})", "it is not there"},
             {R"("t2",{"T":{)" + other + R"(:{"delete":null}}})", "it is not there"},
             {R"("t2",{"T":{)" + row + R"(:{"insert":{"name":"y"}}}})", "it is there already"},
             {R"("t2",{"T":{)" + row + R"(:{"modify":{"name":["set",[]]}}}})",
              "it has 0 elements"}}) {
        ASSERT_TRUE(synchronise());
        const std::string bytes = R"({"id":null,"method":"update3","params":[)" +
                                  server.monitor_id().dump() + "," + parameters + "]}";
        EXPECT_THAT(provoke(bytes), HasSubstr(expected)) << bytes;
        ASSERT_TRUE(synchronise());
        // The server's contents and the replica are no longer known to be the same.
        EXPECT_EQ(server.last("monitor_cond_since")->at("params")[3], kNoTransaction);
    }
}

TEST_F(HostileServer, BadRepliesEndTheConnection) {
    connect(options());
    ASSERT_TRUE(synchronise());
    const auto good_results = server.results;
    const json good_schema = server.schema;
    const std::vector<std::pair<std::function<void()>, const char*>> cases = {
        {[&] { server.schema = 5; }, "the schema has no object \"tables\""},
        {[&] {
             server.schema = {{"tables", {{"T", 5}}}};
         },
         "no object \"columns\""},
        {[&] { server.results["lock"] = 5; }, "a request for a lock"},
        {[&] {
             server.results["lock"] = {{"locked", "yes"}};
         },
         "a request for a lock"},
        {[&] { server.results.erase("lock"); }, "the server refuses the lock: unknown method"},
        {[&] { server.results["monitor_cond_since"] = 5; }, "the contents are not an array"},
        {[&] {
             server.results["monitor_cond_since"] = json::array({false, "t"});
         },
         "not an array"},
        {[&] {
             server.results["monitor_cond_since"] = json::array({1, "t", {}});
         },
         "not an array"},
        {[&] {
             server.results["monitor_cond_since"] = json::array({false, 1, {}});
         },
         "not an array"},
        {[&] {
             server.results["monitor_cond_since"] = json::array({false, "t", 5});
         },
         "the tables are"},
        {[&] {
             server.results["monitor_cond_since"] = json::array({true, "t", {}});
         },
         "was not named"},
        {[&] { server.results.erase("monitor_cond_since"); },
         "refuses the contents: unknown method"},
        {[&] { server.server_contents = 5; }, "the contents of database _Server"},
        {[&] {
             server.server_contents = {{"Database", {{"x", 5}}}};
         },
         "the contents of database _Server"},
    };
    for (const auto& [spoil, expected] : cases) {
        SCOPED_TRACE(expected);
        // So that there is no transaction to go on from.
        server.send("{}");
        ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
        ASSERT_TRUE(synchronise());
        server.results["monitor_cond_since"][1] = kNoTransaction;
        server.close();
        ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
        ASSERT_TRUE(synchronise());
        spoil();
        server.close();
        ASSERT_TRUE(run([&, words = expected] { return sentence.find(words) != std::string::npos; })
        ) << sentence;
        EXPECT_EQ(first_name(*client), "x");
        server.results = good_results;
        server.schema = good_schema;
        server.server_contents = nullptr;
        ASSERT_TRUE(synchronise());
    }
}

TEST_F(HostileServer, ManyRowsAreBounded) {
    ClientOptions limited = options();
    limited.replica_bytes_max = 100000;
    connect(std::move(limited));
    ASSERT_TRUE(synchronise());
    std::string bytes = R"({"id":null,"method":"update3","params":[)" + server.monitor_id().dump() +
                        R"(,"t2",{"T":{)";
    for (int i = 0; i < 200000; ++i) {
        bytes +=
            '"' + std::to_string(10000000 + i) + R"(-0000-4000-8000-000000000000":{"insert":{}},)";
    }
    bytes.pop_back();
    bytes += "}}]}";
    EXPECT_THAT(provoke(bytes), HasSubstr("the rows take more than 100000 bytes of memory"));
}

TEST_F(HostileServer, SilenceEndsTheConnection) {
    ClientOptions hasty = options();
    hasty.probe_interval = std::chrono::milliseconds(30);
    server.silent = {"set_db_change_aware", "monitor_cond", "echo"};
    connect(std::move(hasty));
    ASSERT_TRUE(run([&] {
        return sentence.find("no answer to a probe within 30 ms") != std::string::npos;
    }));
    EXPECT_GE(server.count("echo"), 1U);
    server.silent.clear();
    ASSERT_TRUE(synchronise());
}

TEST_F(HostileServer, ProbesKeepAQuietConnection) {
    ClientOptions hasty = options();
    hasty.probe_interval = std::chrono::milliseconds(400);
    connect(std::move(hasty));
    ASSERT_TRUE(run([&] { return server.count("echo") >= 2; }));
    EXPECT_EQ(server.accepted, 1U);
    EXPECT_TRUE(client->is_synchronised());
}

TEST_F(HostileServer, DribbleEndsTheConnection) {
    ClientOptions hasty = options();
    hasty.probe_interval = std::chrono::milliseconds(30);
    connect(std::move(hasty));
    ASSERT_TRUE(synchronise());
    sentence.clear();
    server.silent = {"echo"};
    server.send("{\"a\":\"");
    boost::asio::steady_timer timer(io);
    std::function<void()> dribble = [&] {
        timer.expires_after(std::chrono::milliseconds(5));
        timer.async_wait([&](boost::system::error_code error) {
            if (!error && server.open) {
                server.send("x");
                dribble();
            }
        });
    };
    dribble();
    ASSERT_TRUE(run([&] { return !sentence.empty(); }));
    EXPECT_THAT(sentence, HasSubstr("no answer to a probe"));
    EXPECT_EQ(first_name(*client), "x");
}

TEST_F(HostileServer, ProbesWithoutContentsEndTheConnection) {
    ClientOptions hasty = options();
    hasty.probe_interval = std::chrono::milliseconds(10);
    server.silent = {"get_schema"};
    connect(std::move(hasty));
    ASSERT_TRUE(run([&] { return sentence.find("does not send the contents") != std::string::npos; }
    ));
    server.silent.clear();
    ASSERT_TRUE(synchronise());
}

TEST_F(HostileServer, ServerThatDoesNotReadIsGivenUp) {
    ClientOptions small = options();
    small.output_bytes_max = 1000000;
    connect(std::move(small));
    ASSERT_TRUE(synchronise());
    server.reading = false;  // After the read that waits already.
    std::string echoes;
    for (int i = 0; i < 30; ++i) {
        echoes +=
            json({{"id", i}, {"method", "echo"}, {"params", {std::string(100000, 'x')}}}).dump();
    }
    EXPECT_THAT(provoke(echoes), HasSubstr("the server does not read what it asked for"));
    server.reading = true;
    ASSERT_TRUE(synchronise());
}

TEST_F(HostileServer, ConnectionThatEndsInAMessageIsForgotten) {
    connect(options());
    EXPECT_TRUE(synchronise());
    sentence.clear();
    server.send(R"({"id":null,"method":"upd)");
    server.close();
    ASSERT_TRUE(run([&] { return !sentence.empty(); }));
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(server.accepted, 2U);
}

}  // namespace
}  // namespace culvert::ctl::ovsdb
