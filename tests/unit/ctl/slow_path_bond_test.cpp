// SPDX-License-Identifier: GPL-2.0-or-later
//
// What comes in by a balance-slb bond: news of hosts, or reflections of our own packets. Bridge 0
// has port 0 and the bond, port 1. The test plays the workers.

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/slow_path.hpp"
#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/ctl/fake_workers.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakeWorkers;
using culvert::testing::packet_pool;
using dataplane::DropReason;
using dataplane::FlowAction;
using dataplane::FlowKey;
using dataplane::FlowVerdict;
using dataplane::Upcall;
using tunnels::MacAddress;

constexpr std::uint16_t kVif = 0;
constexpr std::uint16_t kBondPort = 1;
constexpr std::uint16_t kMember = 2;
constexpr MacAddress kHostMac{{0x02, 0, 0, 0, 0, 0x01}};
constexpr MacAddress kPeerMac{{0x02, 0, 0, 0, 0, 0x02}};

class SlowPathBond : public ::testing::Test {
protected:
    SlowPathBond() {
        snapshot_.version = 7;
        snapshot_.bridges.resize(1);
        snapshot_.ports.resize(3);
        snapshot_.ports[kVif].bridge = 0;
        auto& bond = snapshot_.ports[kBondPort];
        bond.bridge = 0;
        bond.bond_role = dataplane::BondRole::bond;
        bond.bond = 0;
        snapshot_.bonds.resize(1);
        snapshot_.bonds[0].port = kBondPort;
        snapshot_.bonds[0].reflects = true;
        slow_path_.insert_bridge(0, 64, 300);
        slow_path_.set_snapshot(&snapshot_);
    }

    FlowAction
    ask(std::uint16_t port, const MacAddress& source, const MacAddress& to, bool arp = false) {
        Upcall upcall;
        upcall.key = {.in_port = port, .destination = to, .source = source};
        rte_mbuf* packet = rte_pktmbuf_alloc(packet_pool());
        auto* bytes = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(packet, 60));
        std::fill_n(bytes, 60, std::uint8_t{0});
        std::copy(to.bytes.begin(), to.bytes.end(), bytes);
        std::copy(source.bytes.begin(), source.bytes.end(), bytes + 6);
        if (arp) {
            const std::vector<std::uint8_t> head{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2};
            std::copy(head.begin(), head.end(), bytes + 12);
        }
        upcall.packet = packet;
        workers_.asked.push_back({0, upcall});
        slow_path_.drain();
        rte_pktmbuf_free(packet);  // Lent only.
        return workers_.sent.back().decision.action;
    }
    void announce(const MacAddress& source) {
        Upcall upcall;
        upcall.kind = Upcall::Kind::announced;
        upcall.key = {.in_port = kVif, .destination = kBroadcast, .source = source};
        workers_.asked.push_back({0, upcall});
        slow_path_.drain();
    }
    [[nodiscard]] bool cached(std::uint16_t port, const MacAddress& from, const MacAddress& to) {
        const FlowKey key{.in_port = port, .destination = to, .source = from};
        return flows_.find(key, dataplane::hash(key)) != nullptr;
    }
    static bool is_reflection(const FlowAction& action) {
        return action.verdict == FlowVerdict::drop && action.reason == DropReason::bond_reflection;
    }

    dataplane::FlowCache flows_{2048};
    FakeWorkers workers_;
    SlowPath slow_path_{workers_, flows_};
    dataplane::Snapshot snapshot_;
};

TEST_F(SlowPathBond, AHostOfAnotherPortIsReflected) {
    ask(kVif, kHostMac, kPeerMac);
    EXPECT_TRUE(is_reflection(ask(kBondPort, kHostMac, kPeerMac)));
    EXPECT_TRUE(cached(kBondPort, kHostMac, kPeerMac));
    EXPECT_EQ(slow_path_.locate(0, {0, kHostMac}), kVif);
    // Broadcasts are asked about each time, as an announcement is one too.
    EXPECT_TRUE(is_reflection(ask(kBondPort, kHostMac, kBroadcast)));
    EXPECT_FALSE(cached(kBondPort, kHostMac, kBroadcast));
}

TEST_F(SlowPathBond, AHostThatIsNotKnownElsewhereIsLearned) {
    EXPECT_FALSE(is_reflection(ask(kBondPort, kHostMac, kPeerMac)));
    EXPECT_EQ(slow_path_.locate(0, {0, kHostMac}), kBondPort);
    EXPECT_FALSE(is_reflection(ask(kBondPort, kHostMac, kBroadcast)));
}

TEST_F(SlowPathBond, AGratuitousArpMovesTheHostUnlessItIsTheEchoOfItsOwn) {
    ask(kVif, kHostMac, kPeerMac);
    announce(kHostMac);
    EXPECT_TRUE(is_reflection(ask(kBondPort, kHostMac, kBroadcast, true)));
    EXPECT_EQ(slow_path_.locate(0, {0, kHostMac}), kVif);
    ask(kVif, kPeerMac, kHostMac);
    EXPECT_FALSE(is_reflection(ask(kBondPort, kPeerMac, kBroadcast, true)));
    EXPECT_EQ(slow_path_.locate(0, {0, kPeerMac}), kBondPort);
}

TEST_F(SlowPathBond, AFixedAddressNeverMoves) {
    ASSERT_TRUE(slow_path_.insert_fixed(0, {0, kHostMac}, kVif));
    EXPECT_TRUE(is_reflection(ask(kBondPort, kHostMac, kBroadcast, true)));
}

TEST_F(SlowPathBond, WhenTheHostMovesTheDropGoes) {
    ask(kVif, kHostMac, kPeerMac);
    ask(kBondPort, kHostMac, kPeerMac);
    ASSERT_TRUE(cached(kBondPort, kHostMac, kPeerMac));
    ask(kBondPort, kHostMac, kBroadcast, true);
    EXPECT_FALSE(cached(kBondPort, kHostMac, kPeerMac));
    EXPECT_FALSE(is_reflection(ask(kBondPort, kHostMac, kPeerMac)));
}

TEST_F(SlowPathBond, BondsOfOtherModesLearnWhatComesIn) {
    snapshot_.bonds[0].reflects = false;
    ask(kVif, kHostMac, kPeerMac);
    EXPECT_FALSE(is_reflection(ask(kBondPort, kHostMac, kPeerMac)));
    EXPECT_EQ(slow_path_.locate(0, {0, kHostMac}), kBondPort);
}

TEST_F(SlowPathBond, ReflectionsDoNotKeepAnAddressFromAgeing) {
    ask(kVif, kHostMac, kPeerMac);
    ask(kBondPort, kHostMac, kPeerMac);
    const FlowKey key{.in_port = kBondPort, .destination = kPeerMac, .source = kHostMac};
    const auto* entry = flows_.find(key, dataplane::hash(key));
    ASSERT_NE(entry, nullptr);
    const FdbEntry& host = *slow_path_.bridge(0)->fdb.find({0, kHostMac});
    const std::uint32_t seen_s = slow_path_.last_seen_s(host);
    dataplane::FlowCache::touch(*entry, seen_s + 100);
    EXPECT_EQ(slow_path_.last_seen_s(host), seen_s);
}

TEST_F(SlowPathBond, LacpdusAreHandedOnAndFreed) {
    std::vector<std::uint16_t> heard;
    slow_path_.on_lacp = [&](std::uint16_t port, std::span<const std::byte> frame) {
        heard.push_back(port);
        EXPECT_EQ(frame.size(), 124U);
    };
    const unsigned before = rte_mempool_avail_count(packet_pool());
    Upcall upcall;
    upcall.kind = Upcall::Kind::lacp;
    upcall.port = kMember;
    upcall.packet = rte_pktmbuf_alloc(packet_pool());
    ASSERT_NE(rte_pktmbuf_append(upcall.packet, 124), nullptr);
    workers_.asked.push_back({0, upcall});
    slow_path_.drain();
    EXPECT_EQ(heard, std::vector<std::uint16_t>{kMember});
    EXPECT_EQ(rte_mempool_avail_count(packet_pool()), before);
}

}  // namespace

}  // namespace culvert::ctl
