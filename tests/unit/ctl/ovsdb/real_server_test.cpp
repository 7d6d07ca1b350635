// SPDX-License-Identifier: GPL-2.0-or-later
//
// The client against Open vSwitch's own ovsdb-server: what it sees of changes, and what becomes of
// it when the server is killed, emptied, converted, or loses its leadership.
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ctl/ovsdb/client.hpp"
#include "tests/unit/ctl/ovsdb/client_fixture.hpp"
#include "tests/unit/ctl/ovsdb/real_server.hpp"

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::first_name;
using testing::free_port;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using testing::RealServer;
using testing::run_tool;
using testing::run_until;
using testing::small_schema;
using testing::TemporaryFolder;
using testing::write_file;

class OvsdbServer : public ::testing::Test {
protected:
    OvsdbServer() { write_file(schema, small_schema().dump()); }

    bool run(const std::function<bool()>& holds) { return run_until(io, holds); }
    void create() { run_tool("ovsdb-tool create " + database + " " + schema); }
    void start(std::vector<std::string> more = {}) {
        create();
        server = std::make_unique<RealServer>(path, database, std::move(more));
    }
    [[nodiscard]] ClientOptions options(std::vector<std::string> remotes) const {
        ClientOptions made;
        made.remotes = std::move(remotes);
        made.database = "D";
        made.wanted = {{"T", {"name", "count", "tag", "trunks", "options", "later"}}};
        made.backoff_min = std::chrono::milliseconds(5);
        made.backoff_max = std::chrono::milliseconds(100);
        return made;
    }
    void connect(ClientOptions with) { client = std::make_unique<Client>(io, std::move(with)); }
    void connect() { connect(options({"unix:" + path})); }
    bool synchronise() {
        return run([this] { return client->is_synchronised(); });
    }
    bool see(const std::string& name) {
        return run([&] { return client->is_synchronised() && first_name(*client) == name; });
    }
    [[nodiscard]] const Row& first() const { return client->replica().rows("T").begin()->second; }

    TemporaryFolder folder;
    std::string path = folder.file("s");
    std::string database = folder.file("d.db");
    std::string schema = folder.file("d.ovsschema");
    boost::asio::io_context io;
    std::unique_ptr<RealServer> server;
    std::unique_ptr<Client> client;
};

TEST_F(OvsdbServer, ChangesAreSeen) {
    start();
    server->transact(R"({"op":"insert","table":"T","row":{"name":"a","trunks":["set",[1,2]],
        "options":["map",[["k","v"],["l","w"]]]}})");
    connect();
    ASSERT_TRUE(see("a"));
    EXPECT_EQ(column(first(), "count").integer(), 0);
    EXPECT_EQ(column(first(), "tag"), empty_set());

    server->transact(
        R"({"op":"mutate","table":"T","where":[],"mutations":[["trunks","insert",["set",[3]]],)"
        R"(["trunks","delete",["set",[1]]],["options","delete",["set",["k"]]],)"
        R"(["options","insert",["map",[["m","x"]]]]]},)"
        R"({"op":"update","table":"T","where":[],"row":{"name":"b","tag":5,"count":-7}})"
    );
    ASSERT_TRUE(see("b"));
    EXPECT_THAT(column(first(), "trunks").integers(), ElementsAre(2, 3));
    EXPECT_THAT(column(first(), "options").map(), ElementsAre(Pair("l", "w"), Pair("m", "x")));
    EXPECT_EQ(column(first(), "tag").integer(), 5);
    EXPECT_EQ(column(first(), "count").integer(), -7);

    server->transact(R"({"op":"update","table":"T","where":[],"row":{"name":"c","tag":["set",[]],)"
                     R"("options":["map",[["l","other"]]]}})");
    ASSERT_TRUE(see("c"));
    EXPECT_EQ(column(first(), "tag"), empty_set());
    EXPECT_THAT(column(first(), "options").map(), ElementsAre(Pair("l", "other")));

    server->transact(R"({"op":"delete","table":"T","where":[]})");
    ASSERT_TRUE(run([&] { return client->replica() == Replica(); }));
}

TEST_F(OvsdbServer, TransactionsAreCarriedOut) {
    start();
    connect();
    ASSERT_TRUE(run([&] { return client->is_synchronised() && client->has_lock(); }));
    std::optional<Result<json>> outcome;
    const auto keep = [&](Result<json> result) {
        outcome = std::move(result);
        // The update comes before the reply.
        EXPECT_EQ(first_name(*client), "a\xc3\xa9");
    };
    const Datum trunks = set_of(std::vector<Atom>{std::int64_t{4}, std::int64_t{2}});
    client->transact(
        json::array(
            {{{"op", "assert"}, {"lock", "ovs_vswitchd"}},
             {{"op", "insert"},
              {"table", "T"},
              {"row", {{"name", "a\xc3\xa9"}, {"trunks", to_json(trunks)}}}}}
        ),
        keep
    );
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    ASSERT_TRUE(outcome->has_value()) << outcome->error();
    EXPECT_EQ(column(first(), "trunks"), trunks);

    outcome.reset();
    client->transact(
        json::array({{{"op", "insert"}, {"table", "V"}, {"row", json::object()}}}), keep
    );
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    EXPECT_THAT(outcome->error(), HasSubstr("No table named V"));
}

TEST_F(OvsdbServer, TwoClientsContendForTheLock) {
    start();
    connect();
    ASSERT_TRUE(run([&] { return client->has_lock(); }));
    Client second(io, options({"unix:" + path}));
    ASSERT_TRUE(run([&] { return second.is_lock_contended(); }));
    client.reset();
    ASSERT_TRUE(run([&] { return second.has_lock(); }));
    connect();
    ASSERT_TRUE(run([&] { return client->is_lock_contended(); }));
    EXPECT_TRUE(second.has_lock());
    const std::string thief = folder.file("thief");
    run_tool(
        "ovsdb-client steal unix:" + path + " ovs_vswitchd >/dev/null 2>&1 & echo $! > " + thief
    );
    ASSERT_TRUE(run([&] { return second.is_lock_contended(); }));
    run_tool("kill $(cat " + thief + ")");
    ASSERT_TRUE(run([&] { return client->has_lock() || second.has_lock(); }));
}

TEST_F(OvsdbServer, KilledServerLeavesTheReplica) {
    start();
    server->transact(R"({"op":"insert","table":"T","row":{"name":"a"}})");
    connect();
    ASSERT_TRUE(see("a"));
    server->kill();
    ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
    EXPECT_EQ(first_name(*client), "a");
    EXPECT_FALSE(client->has_lock());
    server->start();
    ASSERT_TRUE(run([&] { return client->is_synchronised() && client->has_lock(); }));
    EXPECT_EQ(first_name(*client), "a");
    server->transact(R"({"op":"update","table":"T","where":[],"row":{"name":"b"}})");
    ASSERT_TRUE(see("b"));
}

TEST_F(OvsdbServer, EmptiedDatabaseEmptiesTheReplica) {
    start();
    server->transact(R"({"op":"insert","table":"T","row":{"name":"a"}})");
    connect();
    ASSERT_TRUE(see("a"));
    server->kill();
    std::filesystem::remove(database);
    create();
    ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
    EXPECT_EQ(first_name(*client), "a");
    server->start();
    ASSERT_TRUE(synchronise());
    EXPECT_EQ(client->replica(), Replica());
}

TEST_F(OvsdbServer, StoppedServerIsGivenUp) {
    start();
    server->transact(R"({"op":"insert","table":"T","row":{"name":"a"}})");
    ClientOptions hasty = options({"unix:" + path});
    hasty.probe_interval = std::chrono::milliseconds(300);
    connect(std::move(hasty));
    ASSERT_TRUE(see("a"));
    ::kill(server->pid(), SIGSTOP);
    ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
    EXPECT_EQ(first_name(*client), "a");
    ::kill(server->pid(), SIGCONT);
    ASSERT_TRUE(synchronise());
}

TEST_F(OvsdbServer, ConversionBringsTheNewColumns) {
    start();
    server->transact(R"({"op":"insert","table":"T","row":{"name":"a","tag":5}})");
    connect();
    ASSERT_TRUE(see("a"));
    json newer = small_schema("2.0.0");
    newer["tables"]["T"]["columns"].erase("tag");
    newer["tables"]["T"]["columns"]["later"] = {{"type", "integer"}};
    write_file(schema, newer.dump());
    run_tool("ovsdb-client convert unix:" + path + " " + schema);
    ASSERT_TRUE(run([&] {
        return client->is_synchronised() && !client->replica().rows("T").empty() &&
               column(first(), "later").integer() == 0;
    }));
    EXPECT_EQ(column(first(), "tag"), empty_set());
    server->transact(R"({"op":"update","table":"T","where":[],"row":{"name":"b","later":9}})");
    ASSERT_TRUE(see("b"));
    EXPECT_EQ(column(first(), "later").integer(), 9);
}

TEST_F(OvsdbServer, SchemaOfTheSwitchIsUnderstood) {
    schema = "/usr/share/openvswitch/vswitch.ovsschema";
    start();
    ClientOptions all = options({"unix:" + path});
    all.database = "Open_vSwitch";
    all.wanted.clear();
    const json tables = json::parse(run_tool("cat " + schema)).at("tables");
    for (const auto& [table, described] : tables.items()) {
        for (const auto& [name, type] : described.at("columns").items()) {
            all.wanted[table].insert(name);
        }
    }
    connect(std::move(all));
    ASSERT_TRUE(synchronise());
    run_tool(
        "ovs-vsctl --db=unix:" + path +
        " --no-wait init -- add-br br0 -- add-port br0 v0 tag=3 "
        "-- set interface v0 type=vxlan options:remote_ip=10.0.0.1 options:key=flow"
    );
    ASSERT_TRUE(run([&] { return client->replica().rows("Interface").size() == 2; }));
    std::vector<std::string> remote;
    for (const auto& [uuid, row] : client->replica().rows("Interface")) {
        const auto pairs = column(row, "options").map();
        if (pairs.contains("remote_ip")) {
            remote.push_back(pairs.at("remote_ip"));
        }
    }
    EXPECT_THAT(remote, ElementsAre("10.0.0.1"));
    run_tool("ovs-vsctl --db=unix:" + path + " --no-wait del-br br0");
    ASSERT_TRUE(run([&] { return client->replica().rows("Interface").empty(); }));
}

TEST_F(OvsdbServer, TcpByNumberAndByName) {
    const std::string port = std::to_string(free_port());
    start({"--remote=ptcp:" + port + ":127.0.0.1"});
    server->transact(R"({"op":"insert","table":"T","row":{"name":"a"}})");
    for (const char* host : {"127.0.0.1", "localhost"}) {
        connect(options({std::string("tcp:") + host + ":" + port}));
        ASSERT_TRUE(see("a")) << client->status();
    }
    const std::string nowhere = "tcp:name.invalid:" + port;
    connect(options({nowhere}));
    ASSERT_TRUE(run([&] {
        return client->status().starts_with(nowhere + ": cannot find host \"name.invalid\": ");
    }));
}

// ---- TLS ----------------------------------------------------------------------------------------

class OvsdbServerTls : public OvsdbServer {
protected:
    OvsdbServerTls() {
        make_ca("ca");
        make_ca("stranger");
        make_certificate("server", "ca");
        make_certificate("client", "ca");
        port = std::to_string(free_port());
        start(
            {"--remote=pssl:" + port + ":127.0.0.1",
             "--private-key=" + folder.file("server.key"),
             "--certificate=" + folder.file("server.crt"),
             "--ca-cert=" + folder.file("ca.crt")}
        );
        server->transact(R"({"op":"insert","table":"T","row":{"name":"a"}})");
    }

    void make_ca(const std::string& name) const {
        run_tool(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 "
            "-subj /CN=" +
            name + " -keyout " + folder.file(name + ".key") + " -out " + folder.file(name + ".crt")
        );
    }
    void make_certificate(const std::string& name, const std::string& ca) const {
        run_tool(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" +
            name + " -keyout " + folder.file(name + ".key") + " -out " +
            folder.file(name + ".csr") + " && openssl x509 -req -days 30 -CAcreateserial -in " +
            folder.file(name + ".csr") + " -CA " + folder.file(ca + ".crt") + " -CAkey " +
            folder.file(ca + ".key") + " -out " + folder.file(name + ".crt")
        );
    }
    [[nodiscard]] TlsFiles files() const {
        return {folder.file("client.key"), folder.file("client.crt"), folder.file("ca.crt")};
    }
    void connect_with(const TlsFiles& tls) {
        ClientOptions with = options({"ssl:127.0.0.1:" + port});
        with.tls = tls;
        connect(std::move(with));
    }
    bool status_has(const std::string& part) {
        return run([&] { return client->status().find(part) != std::string::npos; });
    }

    std::string port;
};

TEST_F(OvsdbServerTls, ServerAndClientKnowEachOther) {
    connect_with(files());
    ASSERT_TRUE(see("a")) << client->status();
}

TEST_F(OvsdbServerTls, ServerOfAnotherCaIsNotTrusted) {
    TlsFiles tls = files();
    tls.ca_certificate = folder.file("stranger.crt");
    connect_with(tls);
    ASSERT_TRUE(status_has("the server's certificate is not trusted: "));
    // The right files, at once.
    client->set_tls(files());
    ASSERT_TRUE(see("a"));
}

TEST_F(OvsdbServerTls, FilesAreReadAgainAtEachConnection) {
    TlsFiles tls = files();
    tls.ca_certificate = folder.file("new.crt");
    connect_with(tls);
    ASSERT_TRUE(
        status_has("CA certificate \"" + tls.ca_certificate + "\" cannot be read: No such file")
    );
    std::filesystem::copy(folder.file("ca.crt"), tls.ca_certificate);
    ASSERT_TRUE(see("a"));
}

TEST_F(OvsdbServerTls, BadFilesAreNamed) {
    const std::string garbage = folder.file("garbage");
    write_file(garbage, "nonsense\n");
    const std::string locked = folder.file("locked.key");
    run_tool(
        "openssl ec -in " + folder.file("client.key") + " -aes256 -passout pass:secret -out " +
        locked
    );
    const TlsFiles good = files();
    for (const auto& [tls, sentence] : std::vector<std::pair<TlsFiles, std::string>>{
             {{}, "no private key is set"},
             {{good.private_key, "", good.ca_certificate}, "no certificate is set"},
             {{good.private_key, good.certificate, ""}, "no CA certificate is set"},
             {{garbage, good.certificate, good.ca_certificate},
              "private key \"" + garbage + "\" is no key in PEM that fits the certificate"},
             {{locked, good.certificate, good.ca_certificate},
              "private key \"" + locked + "\" is no key"},
             {{folder.file("ca.key"), good.certificate, good.ca_certificate},
              "fits the certificate"},
             {{good.private_key, garbage, good.ca_certificate},
              "certificate \"" + garbage + "\" is no certificate in PEM"},
             {{good.private_key, good.certificate, garbage},
              "CA certificate \"" + garbage + "\" is no certificate in PEM"},
             {{good.private_key, good.certificate, "/dev/zero"}, "is not a regular file"}}) {
        connect_with(tls);
        EXPECT_TRUE(status_has(sentence)) << sentence << ": " << client->status();
    }
}

// ---- A cluster ----------------------------------------------------------------------------------

TEST_F(OvsdbServer, ClusterSurvivesTheLossOfItsLeader) {
    std::vector<std::string> addresses;
    std::vector<std::string> remotes;
    std::vector<std::unique_ptr<RealServer>> nodes;
    for (int i = 0; i < 3; ++i) {
        addresses.push_back("tcp:127.0.0.1:" + std::to_string(free_port()));
        const std::string file = folder.file("n" + std::to_string(i) + ".db");
        run_tool(
            i == 0
                ? "ovsdb-tool create-cluster " + file + " " + schema + " " + addresses[0]
                : "ovsdb-tool join-cluster " + file + " D " + addresses.back() + " " + addresses[0]
        );
        const std::string socket = folder.file("n" + std::to_string(i));
        nodes.push_back(std::make_unique<RealServer>(socket, file));
        run_tool("ovsdb-client wait unix:" + socket + " D connected");
        remotes.push_back("unix:" + socket);
    }
    connect(options(remotes));
    ASSERT_TRUE(run([&] { return client->is_synchronised() && client->has_lock(); }));
    std::optional<Result<json>> outcome;
    client->transact(
        json::array({{{"op", "insert"}, {"table", "T"}, {"row", {{"name", "a"}}}}}),
        [&](Result<json> result) { outcome = std::move(result); }
    );
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    ASSERT_TRUE(outcome->has_value()) << outcome->error();
    ASSERT_TRUE(see("a"));

    const std::string before = client->status();
    for (const auto& node : nodes) {
        if (before.find(node->path() + ":") != std::string::npos) {
            node->kill();
        }
    }
    ASSERT_TRUE(run([&] { return !client->is_synchronised(); }));
    EXPECT_EQ(first_name(*client), "a");
    ASSERT_TRUE(run([&] { return client->is_synchronised() && client->has_lock(); }))
        << client->status();
    EXPECT_NE(client->status(), before);
    EXPECT_EQ(first_name(*client), "a");
    outcome.reset();
    client->transact(
        json::array(
            {{{"op", "update"}, {"table", "T"}, {"where", json::array()}, {"row", {{"name", "b"}}}}}
        ),
        [&](Result<json> result) { outcome = std::move(result); }
    );
    ASSERT_TRUE(run([&] { return outcome.has_value(); }));
    ASSERT_TRUE(outcome->has_value()) << outcome->error();
    ASSERT_TRUE(see("b"));
}

}  // namespace
}  // namespace culvert::ctl::ovsdb
