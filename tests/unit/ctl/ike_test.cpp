// SPDX-License-Identifier: GPL-2.0-or-later
//
// Ike against a charon that is played: it remembers what is loaded and has the SAs that a test
// says.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "ctl/ike.hpp"
#include "ctl/ike_connection.hpp"
#include "tests/unit/ctl/ike_tunnels.hpp"
#include "tests/unit/ctl/vici/fake_charon.hpp"

namespace culvert::ctl {
namespace {

using namespace std::string_literals;
using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using vici::Message;
using vici::testing::FakeCharon;
using vici::testing::run_until;
using vici::testing::TemporaryFolder;

constexpr const char* kPeer = "192.0.2.2";

void write_certificate(const std::string& path) {
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, void (*)(X509*)> made(X509_new(), X509_free);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), key.get());
    ASSERT_NE(X509_sign(made.get(), key.get(), EVP_sha256()), 0);
    const std::unique_ptr<BIO, void (*)(BIO*)> file(BIO_new_file(path.c_str(), "w"), BIO_free_all);
    ASSERT_EQ(PEM_write_bio_X509(file.get(), made.get()), 1);
}

struct PlayedSa {
    std::string connection;
    unsigned id = 0;
    std::string state = "ESTABLISHED";
    std::vector<std::string> children;
    bool initiator = true;
    unsigned age_s = 100;
};

class IkeTest : public ::testing::Test {
protected:
    IkeTest() {
        ike.emplace(io, times());
        daemon.vici = path;
    }

    static IkeTimes times() {
        IkeTimes some;
        some.retry_min = milliseconds(20);
        some.retry_max = milliseconds(100);
        some.grace = milliseconds(300);
        some.settle = milliseconds(0);
        some.ask_again_min = milliseconds(50);
        some.ask_again_max = milliseconds(50);
        some.look_often = milliseconds(10);
        some.look_seldom = milliseconds(20);
        return some;
    }

    void play() {
        charon.emplace(io, path);
        auto& commands = charon->commands;
        const auto names = [](const std::map<std::string, Message>& of, const char* key) {
            Message::List list;
            for (const auto& [name, message] : of) {
                list.push_back(name);
            }
            return Message().add(key, list);
        };
        commands["get-conns"] = [this, names](const Message&) {
            return names(connections, "conns");
        };
        commands["get-shared"] = [this, names](const Message&) { return names(secrets, "keys"); };
        commands["load-conn"] = [this](const Message& message) {
            if (!refusal.empty()) {
                return FakeCharon::refusal(refusal);
            }
            connections[message.entries().at(0).name] = message;
            return FakeCharon::success();
        };
        commands["load-shared"] = [this](const Message& message) {
            secrets[std::string(message.text("id"))] = message;
            return FakeCharon::success();
        };
        commands["load-key"] = [](const Message&) {
            return FakeCharon::success().add("id", "cafe"s);
        };
        commands["unload-key"] = [](const Message&) { return FakeCharon::success(); };
        commands["unload-conn"] = [this](const Message& message) {
            connections.erase(std::string(message.text("name")));
            return FakeCharon::success();
        };
        commands["unload-shared"] = [this](const Message& message) {
            secrets.erase(std::string(message.text("id")));
            return FakeCharon::success();
        };
        commands["initiate"] = [this](const Message& message) {
            const std::string connection(message.text("ike"));
            if (on_initiate) {
                on_initiate(connection, std::string(message.text("child")));
            }
            return FakeCharon::success();
        };
        commands["terminate"] = [this](const Message& message) {
            std::erase_if(sas, [&](const PlayedSa& sa) {
                return sa.connection == message.text("ike") ||
                       std::to_string(sa.id) == message.text("ike-id");
            });
            return FakeCharon::success();
        };
        commands["list-sas"] = [this](const Message&) {
            ++lists;
            for (const PlayedSa& sa : sas) {
                charon->raise("list-sa", Message().add(sa.connection, describe(sa)));
            }
            return Message();
        };
    }

    static Message describe(const PlayedSa& sa) {
        Message children;
        unsigned id = sa.id * 10;
        for (const std::string& name : sa.children) {
            ++id;
            Message child;
            child.add("name", name).add("uniqueid", std::to_string(id));
            child.add("state", "INSTALLED"s).add("spi-in", "c00000"s + std::to_string(id));
            child.add("spi-out", "d00000"s + std::to_string(id));
            children.add(name + "-" + std::to_string(id), child);
        }
        Message message;
        message.add("uniqueid", std::to_string(sa.id)).add("state", sa.state);
        message.add("initiator", std::string(sa.initiator ? "yes" : "no"));
        message.add("remote-id", "the peer"s).add("established", std::to_string(sa.age_s));
        message.add("child-sas", children);
        return message;
    }

    bool run(const std::function<bool()>& holds) {
        return run_until(io, [&] {
            ike->tick();
            return holds();
        });
    }
    /// Until charon was asked for its SAs so many times more.
    bool run_lists(unsigned more) {
        const unsigned end = lists + more;
        return run([&] { return lists >= end; });
    }
    void say(const std::string& connection, const std::string& line) {
        charon->raise("log", Message().add("ikesa-name", connection).add("msg", line));
    }
    /// The name of the one loaded connection that begins like this.
    std::string name_of(const std::string& prefix) {
        for (const auto& [name, message] : connections) {
            if (name.starts_with(prefix)) {
                return name;
            }
        }
        return "";
    }
    /// Children that were to be started, in order.
    std::vector<std::string> initiated() {
        std::vector<std::string> names;
        for (const Message& message : charon->asked_for("initiate")) {
            names.emplace_back(message.text("child"));
        }
        return names;
    }
    /// charon succeeds at once in everything that begins like this.
    void agree(const std::string& prefix) {
        on_initiate = [this, prefix](const std::string& connection, const std::string& child) {
            if (!connection.starts_with(prefix)) {
                return;
            }
            for (PlayedSa& sa : sas) {
                if (sa.connection == connection) {
                    sa.children.push_back(child);
                    return;
                }
            }
            sas.push_back({connection, next_id++, "ESTABLISHED", {child}});
        };
    }
    IkeState state(const std::string& name) { return ike->status(name).state; }
    bool run_established(const std::string& name) {
        return run([&] { return state(name) == IkeState::established; });
    }

    TemporaryFolder folder;
    std::string path = folder.file("vici");
    boost::asio::io_context io;
    std::optional<FakeCharon> charon;
    std::map<std::string, Message> connections;
    std::map<std::string, Message> secrets;
    std::vector<PlayedSa> sas;
    std::string refusal;
    std::function<void(const std::string&, const std::string&)> on_initiate;
    unsigned lists = 0;
    unsigned next_id = 1;
    IkeDaemonConfig daemon;
    std::optional<Ike> ike;
};

TEST_F(IkeTest, LoadsWhatIsWantedAndStartsIt) {
    play();
    agree("culvert-t1~");
    unsigned changes = 0;
    std::vector<std::uint32_t> spis;
    ike->on_change = [&] { ++changes; };
    ike->on_listed = [&](const std::vector<std::uint32_t>& listed) { spis = listed; };
    ike->configure(daemon, {ike_tunnel("t1", "5", "secret")});
    EXPECT_EQ(state("t1"), IkeState::no_daemon);
    ASSERT_TRUE(run_established("t1"));
    EXPECT_THAT(connections, SizeIs(2));
    EXPECT_EQ(secrets.at(name_of("culvert-t1~")).text("data"), "secret");
    EXPECT_THAT(initiated(), ElementsAre(::testing::StartsWith("t1~")));
    EXPECT_GT(changes, 0U);
    EXPECT_THAT(spis, ElementsAre(0xc0000011, 0xd0000011));
    const IkeStatus status = ike->status("t1");
    EXPECT_EQ(status.trouble, "");
    EXPECT_EQ(status.peer_id, "the peer");
    EXPECT_TRUE(status.of_culvert);
    // What is up is left alone.
    ASSERT_TRUE(run_lists(5));
    EXPECT_THAT(initiated(), SizeIs(1));
    EXPECT_THAT(charon->asked_for("terminate"), IsEmpty());
}

TEST_F(IkeTest, SaysThatThereIsNoDaemonAndComesBackWithIt) {
    ike->configure(daemon, {ike_tunnel("t1", "5", "secret")});
    ASSERT_TRUE(run([&] { return !ike->status("t1").trouble.empty(); }));
    EXPECT_EQ(state("t1"), IkeState::no_daemon);
    EXPECT_THAT(ike->status("t1").trouble, HasSubstr("the vici socket \"" + path + "\" is not"));
    play();
    agree("culvert-t1~");
    ASSERT_TRUE(run_established("t1"));
    charon->hang_up();
    ASSERT_TRUE(run([&] { return state("t1") == IkeState::no_daemon; }));
    // One that was started anew knows nothing.
    connections.clear();
    secrets.clear();
    sas.clear();
    ASSERT_TRUE(run_established("t1"));
    EXPECT_THAT(connections, SizeIs(2));
    EXPECT_THAT(initiated(), SizeIs(2));
}

TEST_F(IkeTest, ARestartDisturbsNothingThatIsAsItWas) {
    play();
    agree("culvert-t");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "b")});
    ASSERT_TRUE(run_established("t1") && run_established("t2"));
    ike.emplace(io, times());
    charon->asked.clear();
    IkeTunnel changed = ike_tunnel("t2", "6", "b");
    changed.config.udp_encap = true;
    const std::string old = name_of("culvert-t2~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), changed});
    ASSERT_TRUE(run_established("t1") && run_established("t2"));
    EXPECT_THAT(initiated(), ElementsAre(::testing::StartsWith("t2~")));
    EXPECT_FALSE(connections.contains(old));
    EXPECT_FALSE(secrets.contains(old));
    const auto ended = charon->asked_for("terminate");
    ASSERT_THAT(ended, SizeIs(1));
    EXPECT_EQ(ended[0].text("ike-id"), "2");
    EXPECT_EQ(ended[0].text("force"), "yes");
}

TEST_F(IkeTest, WhatIsGoneIsUnloadedAndEndedAndNothingElse) {
    play();
    agree("culvert-t");
    connections["home"] = {};
    connections["culvert-vpn"] = {};
    secrets["home"] = {};
    sas.push_back({"home", 90, "ESTABLISHED", {"home"}});
    sas.push_back({"culvert-dead~01234567", 91, "ESTABLISHED", {"dead"}});
    connections["culvert-dead~01234567"] = {};
    secrets["culvert-dead~01234567"] = {};
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "b")});
    ASSERT_TRUE(run_established("t1") && run_established("t2"));
    EXPECT_FALSE(connections.contains("culvert-dead~01234567"));
    EXPECT_FALSE(secrets.contains("culvert-dead~01234567"));
    const std::string gone = name_of("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t2", "6", "b")});
    ASSERT_TRUE(run([&] { return !connections.contains(gone) && !secrets.contains(gone); }));
    ASSERT_TRUE(run_lists(2));
    EXPECT_EQ(state("t2"), IkeState::established);
    ike->configure(daemon, {});
    ASSERT_TRUE(run([&] { return connections.size() == 2 && secrets.size() == 1; }));
    EXPECT_TRUE(connections.contains("home") && connections.contains("culvert-vpn"));
    ASSERT_TRUE(run([&] { return sas.size() == 1; }));
    EXPECT_EQ(sas[0].connection, "home");
}

TEST_F(IkeTest, AfterARestartWhatIsNotWantedYetIsGivenTime) {
    play();
    agree("culvert-t");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "b")});
    ASSERT_TRUE(run_established("t1") && run_established("t2"));
    IkeTimes patient = times();
    patient.settle = std::chrono::hours(1);
    ike.emplace(io, patient);
    charon->asked.clear();
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run_established("t1"));
    ASSERT_TRUE(run_lists(2));
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "b")});
    ASSERT_TRUE(run_established("t2"));
    EXPECT_THAT(charon->asked_for("terminate"), IsEmpty());
    EXPECT_THAT(charon->asked_for("unload-conn"), IsEmpty());
    EXPECT_THAT(initiated(), IsEmpty());
}

TEST_F(IkeTest, AnotherKeyEndsWhatTheOldOneAuthenticated) {
    play();
    agree("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run_established("t1"));
    const std::string name = name_of("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "b")});
    ASSERT_TRUE(run([&] { return initiated().size() == 2; }));
    EXPECT_EQ(name_of("culvert-t1~"), name);
    EXPECT_EQ(secrets.at(name).text("data"), "b");
    EXPECT_THAT(
        charon->asked_for("terminate"),
        Contains(
            ::testing::ResultOf([](const Message& m) { return std::string(m.text("ike")); }, name)
        )
    );
}

TEST_F(IkeTest, TheSameConfigurationAgainAsksForNothing) {
    play();
    agree("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run_established("t1"));
    charon->asked.clear();
    IkeTunnel moved = ike_tunnel("t1", "5", "a");
    moved.config.psk_file = "/another/file/with/the/same/key";
    ike->configure(daemon, {moved});
    ASSERT_TRUE(run_lists(2));
    for (const vici::Packet& packet : charon->asked) {
        EXPECT_EQ(packet.name, "list-sas");
    }
}

TEST_F(IkeTest, TheHigherAddressWaitsForTheOtherEnd) {
    play();
    IkeTunnel high = ike_tunnel("t1", "5", "a");
    std::swap(high.local, high.remote);
    const auto configured = std::chrono::steady_clock::now();
    ike->configure(daemon, {high});
    ASSERT_TRUE(run([&] { return !initiated().empty(); }));
    EXPECT_GE(std::chrono::steady_clock::now() - configured, times().grace);
}

TEST_F(IkeTest, TriesAgainAndSaysWhatIsWrong) {
    play();
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run([&] { return initiated().size() == 2; }));
    EXPECT_EQ(state("t1"), IkeState::negotiating);
    const std::string own = name_of("culvert-t1~");
    say("home", "received AUTHENTICATION_FAILED notify error");
    say(own, "retransmit 1 of request with message ID 0");
    ASSERT_TRUE(run([&] { return state("t1") == IkeState::failed; }));
    EXPECT_EQ(
        ike->status("t1").trouble,
        "192.0.2.2 does not answer: nothing comes back from its UDP ports 500 and 4500"
    );
    say(own, "tried 1 shared key for 'x' - 'y', but MAC mismatched");
    ASSERT_TRUE(run([&] { return ike->status("t1").trouble.starts_with("192.0.2.2 has"); }));
    EXPECT_EQ(ike->status("t1").trouble, "192.0.2.2 has another pre-shared key than this host");
    agree("culvert-t1~");
    ASSERT_TRUE(run_established("t1"));
    EXPECT_EQ(ike->status("t1").trouble, "");
}

TEST_F(IkeTest, WhileCharonIsAboutItNothingMoreIsStarted) {
    play();
    on_initiate = [this](const std::string& connection, const std::string&) {
        sas.push_back({connection, next_id++, "CONNECTING", {}, true, 0});
    };
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run([&] { return !sas.empty(); }));
    ASSERT_TRUE(run_lists(20));
    EXPECT_THAT(initiated(), SizeIs(1));
}

TEST_F(IkeTest, APeerThatRefusesIsMetAsOpenVSwitchWould) {
    play();
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "a")});
    ASSERT_TRUE(run([&] { return initiated().size() >= 2; }));
    agree("culvert-ovs-");
    say(name_of("culvert-t1~"), "received AUTHENTICATION_FAILED notify error");
    ASSERT_TRUE(run_established("t1") && run_established("t2"));
    EXPECT_FALSE(ike->status("t1").of_culvert);
    ASSERT_THAT(sas, SizeIs(1));
    EXPECT_THAT(sas[0].children, ElementsAre(::testing::StartsWith("gre~")));
    // Once it turns out to be a Culvert, each tunnel has SAs of its own.
    agree("culvert-t");
    ASSERT_TRUE(run([&] { return ike->status("t1").of_culvert && ike->status("t2").of_culvert; }));
    ASSERT_TRUE(run([&] {
        const auto ended = charon->asked_for("terminate");
        return std::any_of(ended.begin(), ended.end(), [&](const Message& message) {
            return message.text("child-id") == std::to_string(sas[0].id * 10 + 1);
        });
    }));
}

TEST_F(IkeTest, ACulvertThatRefusesATunnelIsNotAskedOtherwise) {
    play();
    agree("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "a")});
    ASSERT_TRUE(run_established("t1"));
    for (int i = 0; i < 3; ++i) {
        say(name_of("culvert-t2~"), "received AUTHENTICATION_FAILED notify error");
        ASSERT_TRUE(run_lists(3));
    }
    EXPECT_EQ(state("t2"), IkeState::failed);
    EXPECT_THAT(
        ike->status("t2").trouble, HasSubstr("192.0.2.2 refuses this host: it has another")
    );
    EXPECT_THAT(initiated(), Not(Contains(::testing::StartsWith("gre~"))));
}

TEST_F(IkeTest, OfTwoThatBeganAtOnceTheLowerAddressEndsOne) {
    play();
    agree("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run_established("t1"));
    sas.push_back({sas[0].connection, 7, "ESTABLISHED", sas[0].children, false});
    ASSERT_TRUE(run([&] { return sas.size() == 1; }));
    EXPECT_TRUE(sas[0].initiator);
    EXPECT_EQ(state("t1"), IkeState::established);

    IkeTunnel high = ike_tunnel("t1", "5", "a");
    std::swap(high.local, high.remote);
    sas.clear();
    ike->configure(daemon, {high});
    ASSERT_TRUE(run_established("t1"));
    sas.push_back({sas[0].connection, 8, "ESTABLISHED", sas[0].children, false});
    ASSERT_TRUE(run_lists(5));
    EXPECT_THAT(sas, SizeIs(2));
}

TEST_F(IkeTest, WhatAPeerBeganAnewTakesThePlaceOfWhatItLost) {
    play();
    agree("culvert-t1~");
    IkeTunnel high = ike_tunnel("t1", "5", "a");
    std::swap(high.local, high.remote);
    ike->configure(daemon, {high});
    ASSERT_TRUE(run_established("t1"));
    // Not before there is a new pair of SAs as well.
    sas.push_back({sas[0].connection, 7, "ESTABLISHED", {}, false, 1});
    ASSERT_TRUE(run_lists(5));
    EXPECT_THAT(sas, SizeIs(2));
    sas[1].children = sas[0].children;
    ASSERT_TRUE(run([&] { return sas.size() == 1; }));
    EXPECT_EQ(sas[0].id, 7U);
    EXPECT_EQ(state("t1"), IkeState::established);
    EXPECT_THAT(initiated(), SizeIs(1));
}

TEST_F(IkeTest, WhatCharonRefusesToLoadIsSaid) {
    play();
    refusal = "unknown option: policies, config discarded";
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run([&] { return state("t1") == IkeState::failed; }));
    EXPECT_EQ(
        ike->status("t1").trouble,
        "charon refuses \"load-conn\": unknown option: policies, config discarded"
    );
    EXPECT_THAT(initiated(), IsEmpty());
}

TEST_F(IkeTest, ReplacedSasAreCounted) {
    play();
    agree("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run_established("t1"));
    const Message children = Message().add(sas[0].children[0], Message());
    charon->raise(
        "child-rekey", Message().add(sas[0].connection, Message().add("child-sas", children))
    );
    ASSERT_TRUE(run([&] { return ike->status("t1").rekeyed == 1; }));
    ASSERT_TRUE(run_lists(2));
    EXPECT_EQ(ike->status("t1").rekeyed, 1U);
}

TEST_F(IkeTest, CertificatesThatCannotBeReadAreSaid) {
    play();
    IkeTunnel some = ike_tunnel("t1", "5", "");
    some.config.remote_name = "host2";
    daemon.certificate = folder.file("absent.pem");
    daemon.private_key = folder.file("key.pem");
    daemon.ca_cert = folder.file("ca.pem");
    ike->configure(daemon, {some});
    ASSERT_TRUE(run_lists(1));
    EXPECT_EQ(state("t1"), IkeState::failed);
    EXPECT_EQ(
        ike->status("t1").trouble,
        "certificate \"" + daemon.certificate + "\" cannot be read: No such file or directory"
    );
    std::ofstream(daemon.certificate) << "nothing\n";
    ike->configure(daemon, {some});
    EXPECT_EQ(
        ike->status("t1").trouble,
        "certificate \"" + daemon.certificate + "\" has no certificate in PEM"
    );
    EXPECT_THAT(connections, IsEmpty());
}

TEST_F(IkeTest, CertificatesAreReadAnewWhenThatIsAskedFor) {
    play();
    IkeTunnel some = ike_tunnel("t1", "5", "");
    some.config.remote_name = "host2";
    daemon.certificate = daemon.ca_cert = folder.file("host.pem");
    daemon.private_key = folder.file("key.pem");
    write_certificate(daemon.certificate);
    ike->configure(daemon, {some});
    ASSERT_TRUE(run_lists(1));
    std::filesystem::remove(daemon.certificate);
    ike->configure(daemon, {some});
    EXPECT_THAT(ike->status("t1").trouble, Not(HasSubstr("certificate \"")));
    ike->read_files_anew();
    ike->configure(daemon, {some});
    EXPECT_THAT(ike->status("t1").trouble, HasSubstr("certificate \""));
}

TEST_F(IkeTest, SomebodyElsesControlIsLeftToHim) {
    play();
    daemon.control = IkeControl::follow;
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    for (int i = 0; i < 5; ++i) {
        ike->tick();
        io.restart();
        io.run_one_for(milliseconds(5));
    }
    EXPECT_EQ(charon->connections, 0U);
    daemon.control = IkeControl::vici;
    agree("culvert-t1~");
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run_established("t1"));
    daemon.control = IkeControl::follow;
    ike->configure(daemon, {ike_tunnel("t1", "5", "a")});
    ASSERT_TRUE(run([&] { return connections.empty() && secrets.empty() && sas.empty(); }));
}

}  // namespace
}  // namespace culvert::ctl
