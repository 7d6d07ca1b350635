// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which tunnel a received packet belongs to.
#include "dataplane/peer_table.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::dataplane {
namespace {

PeerTable::Peer peer(const char* local, const char* remote, std::uint32_t key, std::uint16_t port) {
    return {
        {.local = local == nullptr ? IpAddress{} : *IpAddress::parse(local),
         .remote = *IpAddress::parse(remote),
         .key = key,
         .udp_port = 4789,
         .protocol = 1},
        port,
        {.local = local == nullptr ? PeerMatch::Local::any : PeerMatch::Local::configured}};
}

TEST(PeerTable, ASpecificLocalAddressWinsOverAny) {
    const PeerTable table({peer(nullptr, "10.0.0.2", 5, 1), peer("10.0.0.1", "10.0.0.2", 5, 2)});
    EXPECT_EQ(table.find(peer("10.0.0.1", "10.0.0.2", 5, 0).key), 2);
    EXPECT_EQ(table.find(peer("10.0.0.9", "10.0.0.2", 5, 0).key), 1);
    EXPECT_EQ(table.find(peer("10.0.0.1", "10.0.0.2", 6, 0).key), kPortNone);
    EXPECT_TRUE(table.knows(1, *IpAddress::parse("10.0.0.2")));
    EXPECT_FALSE(table.knows(0, *IpAddress::parse("10.0.0.2")));
    EXPECT_FALSE(table.knows(1, *IpAddress::parse("10.0.0.3")));
}

TEST(PeerTable, FindsEachOfManyPeersAndNoOther) {
    std::vector<PeerTable::Peer> peers;
    for (std::uint32_t key = 0; key < 3000; ++key) {
        peers.push_back(peer(nullptr, "fd00::2", key, static_cast<std::uint16_t>(key)));
    }
    const PeerTable table(peers);
    for (std::uint32_t key = 0; key < 3000; ++key) {
        EXPECT_EQ(table.find(peer("fd00::1", "fd00::2", key, 0).key), key);
    }
    EXPECT_EQ(table.find(peer("fd00::1", "fd00::2", 3000, 0).key), kPortNone);
    EXPECT_EQ(PeerTable().find(peer("fd00::1", "fd00::2", 1, 0).key), kPortNone);
}

/// The tunnels of all levels that match a packet from 10.0.0.2 to 10.0.0.1 with key 5, the most
/// specific first (Open vSwitch's order); port i has level i.
std::vector<PeerTable::Peer> every_level() {
    std::vector<PeerTable::Peer> peers;
    for (const bool any_key : {false, true}) {
        for (const bool any_remote : {false, true}) {
            for (const auto local :
                 {PeerMatch::Local::configured, PeerMatch::Local::any, PeerMatch::Local::flow}) {
                PeerTable::Peer one = peer("10.0.0.1", "10.0.0.2", 5, 0);
                one.match = {.local = local, .any_remote = any_remote, .any_key = any_key};
                one.port = static_cast<std::uint16_t>(peers.size());
                peers.push_back(one);
            }
        }
    }
    return peers;
}

TEST(PeerTable, TheMostSpecificOfTwelveLevelsWins) {
    const PeerKey packet = peer("10.0.0.1", "10.0.0.2", 5, 0).key;
    std::vector<PeerTable::Peer> peers = every_level();
    ASSERT_EQ(peers.size(), 12U);
    std::mt19937 random(3);
    while (!peers.empty()) {
        const std::uint16_t best =
            std::ranges::min(peers, {}, [](const PeerTable::Peer& p) { return p.port; }).port;
        std::ranges::shuffle(peers, random);
        EXPECT_EQ(PeerTable(peers).find(packet), best);
        std::erase_if(peers, [&](const PeerTable::Peer& p) { return p.port == best; });
    }
}

TEST(PeerTable, EachLevelLeavesOpenWhatItSays) {
    const PeerKey packet = peer("10.0.0.1", "10.0.0.2", 5, 0).key;
    for (const PeerTable::Peer& one : every_level()) {
        const PeerTable table({one});
        ASSERT_EQ(table.find(packet), one.port);
        PeerKey other = packet;
        other.local = *IpAddress::parse("10.0.0.7");
        const bool any_local = one.match.local != PeerMatch::Local::configured;
        EXPECT_EQ(table.find(other), any_local ? one.port : kPortNone);
        other = packet;
        other.remote = *IpAddress::parse("10.0.0.7");
        EXPECT_EQ(table.find(other), one.match.any_remote ? one.port : kPortNone);
        EXPECT_EQ(table.knows(1, other.remote), one.match.any_remote);
        other = packet;
        other.key = 6;
        EXPECT_EQ(table.find(other), one.match.any_key ? one.port : kPortNone);
        other = packet;
        other.udp_port = 4790;
        EXPECT_EQ(table.find(other), kPortNone);
        other = packet;
        other.payload = tunnels::Payload::ip;
        EXPECT_EQ(table.find(other), kPortNone);
    }
}

TEST(PeerTable, AnNvgreKeyIsTheUpper24Bits) {
    PeerTable::Peer plain = peer(nullptr, "10.0.0.2", 0x1234, 1);
    PeerTable::Peer nvgre = peer(nullptr, "10.0.0.2", 0x12, 2);
    nvgre.match.nvgre_key = true;
    const PeerTable table({nvgre, plain});
    EXPECT_EQ(table.find(peer("10.0.0.1", "10.0.0.2", 0x1234, 0).key), 1) << "all 32 bits";
    EXPECT_EQ(table.find(peer("10.0.0.1", "10.0.0.2", 0x1235, 0).key), 2) << "any flow id";
    EXPECT_EQ(table.find(peer("10.0.0.1", "10.0.0.2", 0x1335, 0).key), kPortNone);
    EXPECT_EQ(table.find(peer("10.0.0.1", "10.0.0.2", 0x12, 0).key), kPortNone);
}

}  // namespace
}  // namespace culvert::dataplane
