// SPDX-License-Identifier: GPL-2.0-or-later
//
// Remotes as they are written, and the waits between connections to them.
#include "ctl/ovsdb/remote.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/backoff.hpp"
#include "ctl/ovsdb/client.hpp"

namespace culvert::ctl::ovsdb {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Remote, IsRead) {
    const auto unix_socket = parse_remote("unix:/run/openvswitch/db.sock");
    ASSERT_TRUE(unix_socket.has_value());
    EXPECT_EQ(unix_socket->kind, Remote::Kind::unix_socket);
    EXPECT_EQ(unix_socket->host, "/run/openvswitch/db.sock");

    for (const auto& [text, kind, host, port] :
         std::vector<std::tuple<const char*, Remote::Kind, const char*, int>>{
             {"tcp:127.0.0.1", Remote::Kind::tcp, "127.0.0.1", 6640},
             {"tcp:db.example:6632", Remote::Kind::tcp, "db.example", 6632},
             {"ssl:[::1]", Remote::Kind::ssl, "::1", 6640},
             {"ssl:[fe80::1%eth0]:1", Remote::Kind::ssl, "fe80::1%eth0", 1}}) {
        const auto remote = parse_remote(text);
        ASSERT_TRUE(remote.has_value()) << remote.error();
        EXPECT_EQ(remote->kind, kind);
        EXPECT_EQ(remote->host, host);
        EXPECT_EQ(remote->port, port);
        EXPECT_EQ(remote->text, text);
    }
}

TEST(Remote, OthersAreRefused) {
    for (const auto& [text, sentence] : std::vector<std::pair<std::string, const char*>>{
             {"", "is not unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]"},
             {"/run/db.sock", "is not unix:PATH"},
             {"punix:/run/db.sock", "is not unix:PATH"},
             {"ptcp:6640", "is not unix:PATH"},
             {"unix:", "has a path of 0 characters"},
             {"unix:" + std::string(108, 'x'),
              "has a path of 108 characters; a socket's path has 1 to 107"},
             {"tcp:", "names no host"},
             {"tcp:[]", "names no host"},
             {"tcp:[::1", "with an IPv6 address in brackets"},
             {"tcp:[::1]6640", "with an IPv6 address in brackets"},
             {"tcp:::1:6640", "names no host"},
             {"tcp:fe80::1", "with an IPv6 address in brackets"},
             {"tcp:h:", "has a port that is not a number from 1 to 65535"},
             {"tcp:h:0", "has a port"},
             {"tcp:h:65536", "has a port"},
             {"tcp:h:1x", "has a port"}}) {
        const auto remote = parse_remote(text);
        ASSERT_FALSE(remote.has_value()) << text;
        EXPECT_THAT(remote.error(), HasSubstr("remote \"" + text + "\" ")) << text;
        EXPECT_THAT(remote.error(), HasSubstr(sentence)) << text;
    }
}

TEST(Remote, SeveralAreSplitAtCommas) {
    EXPECT_THAT(
        parse_remotes("unix:a,tcp:[::1]:1,ssl:h").value(),
        ElementsAre("unix:a", "tcp:[::1]:1", "ssl:h")
    );
    EXPECT_FALSE(parse_remotes("").has_value());
    EXPECT_FALSE(parse_remotes("unix:a,").has_value());
    EXPECT_THAT(parse_remotes("unix:a,x").error(), HasSubstr("remote \"x\""));
}

TEST(Backoff, DoublesUpToItsBound) {
    Backoff backoff(milliseconds(200), milliseconds(8000));
    std::vector<int> waits;
    for (int i = 0; i < 8; ++i) {
        waits.push_back(static_cast<int>(backoff.take().count()));
    }
    EXPECT_THAT(waits, ElementsAre(200, 400, 800, 1600, 3200, 6400, 8000, 8000));
}

TEST(Backoff, StartsAgainAfterConnectionThatLasted) {
    Backoff backoff(milliseconds(200), milliseconds(800));
    static_cast<void>(backoff.take());
    backoff.connection_lasted(milliseconds(799));
    EXPECT_EQ(backoff.take(), milliseconds(400));
    backoff.connection_lasted(milliseconds(800));
    EXPECT_EQ(backoff.take(), milliseconds(200));
}

}  // namespace
}  // namespace culvert::ctl::ovsdb
