// SPDX-License-Identifier: GPL-2.0-or-later
//
// The slow path: what is learned, decided and forgotten, and what happens to packets of unresolved
// tunnels. The test plays the workers. Bridge 0 has ports 0-2 and tunnels 5 and 6; bridge 1 has
// port 3.

#include "ctl/slow_path.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataplane/clock.hpp"
#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/ctl/fake_workers.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakeWorkers;
using culvert::testing::packet_pool;
using dataplane::Decision;
using dataplane::DropReason;
using dataplane::FlowAction;
using dataplane::FlowCache;
using dataplane::FlowKey;
using dataplane::FlowVerdict;
using dataplane::Snapshot;
using dataplane::Upcall;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using tunnels::MacAddress;

constexpr std::uint16_t kTunnelPort = 5;
constexpr std::uint16_t kTunnelPort2 = 6;
constexpr std::uint32_t kIdleTimeout = 10;

FlowKey flow(
    std::uint16_t port,
    const MacAddress& source,
    const MacAddress& destination,
    std::uint16_t vlan = 0
) {
    return {.in_port = port, .vlan = vlan, .destination = destination, .source = source};
}

FlowAction forward(std::uint16_t port) {
    return {.verdict = FlowVerdict::forward, .reason = DropReason::none, .out_port = port};
}

const FlowAction kFlood{.verdict = FlowVerdict::flood, .reason = DropReason::none};

FlowAction dropping(DropReason reason) {
    return {.verdict = FlowVerdict::drop, .reason = reason};
}

class SlowPathTest : public ::testing::Test {
protected:
    SlowPathTest() {
        free_before_ = rte_mempool_avail_count(packet_pool());
        snapshot_.version = 41;
        snapshot_.bridges.resize(2);
        snapshot_.tunnels.resize(2);
        snapshot_.ports.resize(7);
        for (std::uint16_t port = 0; port < 7; ++port) {
            if (port == 4) {
                continue;  // Free.
            }
            snapshot_.ports[port].bridge = port == 3 ? 1 : 0;
            snapshot_.ports[port].generation = 100U + port;
        }
        snapshot_.ports[kTunnelPort].tunnel = 0;
        snapshot_.ports[kTunnelPort2].tunnel = 1;
        slow_path_->insert_bridge(0, 64, 300);
        slow_path_->insert_bridge(1, 64, 300);
        slow_path_->set_snapshot(&snapshot_);
        slow_path_->on_fdb_change = [this](std::uint16_t bridge, const FdbKey& key) {
            changes_.emplace_back(bridge, key);
        };
        slow_path_->on_unresolved = [this](std::uint16_t port) { unresolved_.push_back(port); };
    }
    ~SlowPathTest() override {
        slow_path_.reset();
        workers_.reset();
        EXPECT_EQ(rte_mempool_avail_count(packet_pool()), free_before_) << "a packet buffer leaked";
    }

    /// Until nobody waits, as one call takes no longer than kDrainUsMax. How many calls it took.
    unsigned drain_all() {
        unsigned calls = 0;
        do {
            slow_path_->drain();
            ++calls;
        } while (!workers_->asked.empty());
        return calls;
    }
    /// Asks for a decision as a worker does, and returns it.
    FlowAction ask(const FlowKey& key, unsigned worker = 0) {
        Upcall upcall;
        upcall.slot = next_slot_++;
        upcall.key = key;
        const std::size_t before = workers_->sent.size();
        workers_->asked.push_back({worker, upcall});
        slow_path_->drain();
        EXPECT_EQ(workers_->sent.size(), before + 1);
        const auto& answer = workers_->sent.back();
        EXPECT_EQ(answer.worker, worker);
        EXPECT_EQ(answer.decision.kind, Decision::Kind::decide);
        EXPECT_EQ(answer.decision.slot, upcall.slot);
        return answer.decision.action;
    }
    /// Gives the slow path a packet of a tunnel without next hop.
    rte_mbuf* punt(std::uint16_t port, unsigned worker = 0) {
        Upcall upcall;
        upcall.kind = Upcall::Kind::resolve;
        upcall.port = port;
        upcall.packet = rte_pktmbuf_alloc(packet_pool());
        EXPECT_NE(upcall.packet, nullptr);
        workers_->asked.push_back({worker, upcall});
        slow_path_->drain();
        return upcall.packet;
    }
    [[nodiscard]] const dataplane::FlowEntry* entry(const FlowKey& key) const {
        return flows_.find(key, dataplane::hash(key));
    }
    [[nodiscard]] bool cached(const FlowKey& key) const { return entry(key) != nullptr; }
    [[nodiscard]] std::uint64_t dropped(DropReason reason, std::uint16_t port) const {
        return slow_path_->counters().drops[static_cast<std::size_t>(reason)][port].read();
    }
    [[nodiscard]] std::size_t held() const {
        return free_before_ - rte_mempool_avail_count(packet_pool());
    }
    /// Makes a flow look unused for `seconds`, and its address with it.
    void make_old(const FlowKey& key, std::uint32_t seconds) {
        entry(key)->last_used_s.store(dataplane::coarse_clock_s() - seconds);
    }

    unsigned free_before_ = 0;
    std::uint16_t next_slot_ = 0;
    Snapshot snapshot_;
    FlowCache flows_{2048};
    std::unique_ptr<FakeWorkers> workers_ = std::make_unique<FakeWorkers>();
    std::unique_ptr<SlowPath> slow_path_ = std::make_unique<SlowPath>(*workers_, flows_);
    std::vector<std::pair<std::uint16_t, FdbKey>> changes_;
    std::vector<std::uint16_t> unresolved_;
};

TEST_F(SlowPathTest, FloodsTheUnknownAndForwardsToTheLearned) {
    EXPECT_EQ(ask(flow(0, mac(1), mac(2))), kFlood);
    EXPECT_EQ(ask(flow(1, mac(2), mac(1))), forward(0));
    EXPECT_EQ(ask(flow(0, mac(1), mac(2))), forward(1));
    ASSERT_TRUE(cached(flow(0, mac(1), mac(2))));
    EXPECT_EQ(entry(flow(0, mac(1), mac(2)))->action, forward(1));
    EXPECT_EQ(entry(flow(0, mac(1), mac(2)))->generation, 100U);
    EXPECT_EQ(slow_path_->locate(0, {0, mac(2)}), 1);
    EXPECT_EQ(slow_path_->locate(1, {0, mac(2)}), std::nullopt);
    EXPECT_EQ(slow_path_->locate(9, {0, mac(2)}), std::nullopt);
}

TEST_F(SlowPathTest, ArmsTheSignalOnceUpcallsHaveBeenAnswered) {
    slow_path_->drain();
    EXPECT_EQ(workers_->armed, 1U);
    Upcall upcall;
    upcall.key = flow(0, mac(1), mac(2));
    workers_->asked.assign(100, {0, upcall});
    EXPECT_EQ(workers_->armed, 1U + drain_all());
    EXPECT_EQ(workers_->waiting_when_armed, 0U);
}

TEST_F(SlowPathTest, BridgesAndVlansLearnApart) {
    static_cast<void>(ask(flow(0, mac(1), kBroadcast, 10)));
    EXPECT_EQ(ask(flow(1, mac(2), mac(1), 11)), kFlood);
    EXPECT_EQ(ask(flow(3, mac(2), mac(1), 10)), kFlood);
    EXPECT_EQ(ask(flow(1, mac(2), mac(1), 10)), forward(0));
}

TEST_F(SlowPathTest, AnswersCarryTheSnapshotsVersionAndTheAskingWorker) {
    static_cast<void>(ask(flow(0, mac(1), mac(2)), 1));
    EXPECT_EQ(workers_->sent.back().decision.version, 41U);
    Snapshot next = snapshot_;
    next.version = 42;
    slow_path_->set_snapshot(&next);
    static_cast<void>(ask(flow(0, mac(1), mac(3))));
    EXPECT_EQ(workers_->sent.back().decision.version, 42U);
    slow_path_->set_snapshot(&snapshot_);
}

TEST_F(SlowPathTest, LearningMayReplaceTheSnapshotUnderTheAnswer) {
    auto first = std::make_unique<Snapshot>(snapshot_);
    slow_path_->set_snapshot(first.get());
    slow_path_->on_fdb_change = [&](std::uint16_t /*bridge*/, const FdbKey& /*key*/) {
        slow_path_->set_snapshot(&snapshot_);
        first.reset();
    };
    EXPECT_EQ(ask(flow(0, mac(1), mac(2))), kFlood);
    EXPECT_EQ(workers_->sent.back().decision.version, 41U);
}

TEST_F(SlowPathTest, AMoveRemovesExactlyTheFlowsAboutThatAddress) {
    static_cast<void>(ask(flow(0, mac(1), kBroadcast)));
    static_cast<void>(ask(flow(1, mac(2), mac(1))));  // As destination.
    static_cast<void>(ask(flow(0, mac(1), mac(2))));  // As source.
    static_cast<void>(ask(flow(2, mac(3), mac(2))));  // Not about it.
    static_cast<void>(ask(flow(1, mac(2), mac(3))));
    // The same address in another VLAN is another address.
    static_cast<void>(ask(flow(1, mac(2), mac(1), 10)));
    changes_.clear();
    static_cast<void>(ask(flow(2, mac(1), mac(7))));
    EXPECT_FALSE(cached(flow(1, mac(2), mac(1))));
    EXPECT_FALSE(cached(flow(0, mac(1), mac(2))));
    EXPECT_FALSE(cached(flow(0, mac(1), kBroadcast)));
    EXPECT_TRUE(cached(flow(2, mac(3), mac(2))));
    EXPECT_TRUE(cached(flow(1, mac(2), mac(3))));
    EXPECT_TRUE(cached(flow(1, mac(2), mac(1), 10)));
    EXPECT_TRUE(cached(flow(2, mac(1), mac(7))));
    EXPECT_THAT(changes_, ElementsAre(Pair(0, FdbKey{0, mac(1)})));
    EXPECT_EQ(ask(flow(1, mac(2), mac(1))), forward(2));
}

TEST_F(SlowPathTest, LearningANewAddressEndsTheFloodToIt) {
    EXPECT_EQ(ask(flow(0, mac(1), mac(2))), kFlood);
    EXPECT_EQ(ask(flow(0, mac(1), mac(3))), kFlood);
    static_cast<void>(ask(flow(1, mac(2), kBroadcast)));
    EXPECT_FALSE(cached(flow(0, mac(1), mac(2))));
    EXPECT_TRUE(cached(flow(0, mac(1), mac(3))));
}

// What a machine that migrated here sends (RARP, gratuitous ARP).
TEST_F(SlowPathTest, ABroadcastFromANewPortMovesTheAddress) {
    static_cast<void>(ask(flow(kTunnelPort, mac(1), kBroadcast)));
    EXPECT_EQ(ask(flow(0, mac(2), mac(1))), forward(kTunnelPort));
    EXPECT_EQ(ask(flow(1, mac(1), kBroadcast)), kFlood);
    EXPECT_FALSE(cached(flow(0, mac(2), mac(1))));
    EXPECT_FALSE(cached(flow(kTunnelPort, mac(1), kBroadcast)));
    EXPECT_EQ(ask(flow(0, mac(2), mac(1))), forward(1));
    // And back: the flow that told of the first move is gone, so the second one is seen too.
    EXPECT_EQ(ask(flow(kTunnelPort, mac(1), kBroadcast)), kFlood);
    EXPECT_FALSE(cached(flow(1, mac(1), kBroadcast)));
    EXPECT_EQ(ask(flow(0, mac(2), mac(1))), forward(kTunnelPort));
}

TEST_F(SlowPathTest, DropsWhatWouldGoBackWhereItCameFrom) {
    static_cast<void>(ask(flow(0, mac(1), kBroadcast)));
    EXPECT_EQ(ask(flow(0, mac(2), mac(1))), dropping(DropReason::hairpin));
}

TEST_F(SlowPathTest, SplitHorizonKeepsTunnelsApartAndNothingElse) {
    static_cast<void>(ask(flow(kTunnelPort, mac(1), kBroadcast)));
    EXPECT_EQ(ask(flow(kTunnelPort2, mac(2), mac(1))), forward(kTunnelPort));
    snapshot_.bridges[0].split_horizon = true;
    EXPECT_EQ(ask(flow(kTunnelPort2, mac(2), mac(1))), dropping(DropReason::split_horizon));
    EXPECT_EQ(ask(flow(0, mac(3), mac(1))), forward(kTunnelPort));
    EXPECT_EQ(ask(flow(kTunnelPort2, mac(2), mac(3))), forward(0));
}

TEST_F(SlowPathTest, FloodsWhenTheLearnedPortNoLongerCarriesTheVlan) {
    static_cast<void>(ask(flow(0, mac(1), kBroadcast, 10)));
    auto carried = std::make_shared<std::bitset<4096>>();
    carried->set(20);
    snapshot_.ports[0].vlan.carried = carried;
    EXPECT_EQ(ask(flow(1, mac(2), mac(1), 10)), kFlood);
    snapshot_.ports[0].vlan.carried = nullptr;
    snapshot_.ports[0].bridge = 1;
    EXPECT_EQ(ask(flow(1, mac(2), mac(1), 10)), kFlood);
}

TEST_F(SlowPathTest, AnswersForRemovedPortsAndBridgesDrop) {
    EXPECT_EQ(ask(flow(4, mac(1), mac(2))), dropping(DropReason::port_removed));
    EXPECT_EQ(ask(flow(900, mac(1), mac(2))), dropping(DropReason::port_removed));
    slow_path_->erase_bridge(1);
    EXPECT_EQ(ask(flow(3, mac(1), mac(2))), dropping(DropReason::port_removed));
    slow_path_->set_snapshot(nullptr);
    EXPECT_EQ(ask(flow(0, mac(1), mac(2))), dropping(DropReason::port_removed));
    EXPECT_EQ(workers_->sent.back().decision.version, 0U);
    EXPECT_EQ(flows_.size(), 0U);
    EXPECT_THAT(changes_, IsEmpty());
}

TEST_F(SlowPathTest, FlushOfAPortForgetsItsAddressesAndFlows) {
    static_cast<void>(ask(flow(0, mac(1), kBroadcast)));
    static_cast<void>(ask(flow(1, mac(2), mac(1))));
    static_cast<void>(ask(flow(2, mac(3), mac(2))));
    slow_path_->flush_port(0, 0);
    EXPECT_EQ(slow_path_->locate(0, {0, mac(1)}), std::nullopt);
    EXPECT_FALSE(cached(flow(1, mac(2), mac(1))));
    EXPECT_TRUE(cached(flow(2, mac(3), mac(2))));
    EXPECT_EQ(slow_path_->flush_bridge(0), 2U);
    EXPECT_EQ(flows_.size(), 0U);
    EXPECT_EQ(slow_path_->flush_bridge(9), 0U);
}

TEST_F(SlowPathTest, AFixedEntryRedirectsFlowsAndIsNotLearnedAway) {
    static_cast<void>(ask(flow(0, mac(1), kBroadcast)));
    static_cast<void>(ask(flow(1, mac(2), mac(1))));
    EXPECT_TRUE(slow_path_->insert_fixed(0, {0, mac(1)}, 2));
    EXPECT_FALSE(slow_path_->insert_fixed(0, {0, mac(1)}, 2));
    EXPECT_FALSE(slow_path_->insert_fixed(9, {0, mac(1)}, 2));
    EXPECT_FALSE(cached(flow(1, mac(2), mac(1))));
    EXPECT_EQ(ask(flow(1, mac(2), mac(1))), forward(2));
    static_cast<void>(ask(flow(0, mac(1), kBroadcast)));
    EXPECT_EQ(slow_path_->locate(0, {0, mac(1)}), 2);
    EXPECT_TRUE(cached(flow(1, mac(2), mac(1))));
    slow_path_->erase_fixed(0, {0, mac(1)});
    EXPECT_FALSE(cached(flow(1, mac(2), mac(1))));
    EXPECT_EQ(slow_path_->locate(0, {0, mac(1)}), std::nullopt);
}

TEST_F(SlowPathTest, AnEvictedAddressLosesItsFlows) {
    slow_path_->insert_bridge(0, 2, 300);
    static_cast<void>(ask(flow(0, mac(1), mac(9))));
    static_cast<void>(ask(flow(1, mac(2), mac(9))));
    entry(flow(0, mac(1), mac(9)))->last_used_s.store(0);
    changes_.clear();
    static_cast<void>(ask(flow(2, mac(3), mac(9))));
    EXPECT_FALSE(cached(flow(0, mac(1), mac(9))));
    EXPECT_TRUE(cached(flow(1, mac(2), mac(9))));
    EXPECT_THAT(changes_, ElementsAre(Pair(0, FdbKey{0, mac(1)}), Pair(0, FdbKey{0, mac(3)})));
}

TEST_F(SlowPathTest, FlowsThatTheCacheEvictsTakeNoOtherOutOfTheIndex) {
    FlowCache small(dataplane::kFlowsMin);
    SlowPath slow_path(*workers_, small);
    slow_path.set_snapshot(&snapshot_);
    slow_path.insert_bridge(0, 100000, 300);
    for (unsigned number = 0; number < 3 * dataplane::kFlowsMin; ++number) {
        Upcall upcall;
        upcall.key = flow(0, mac(1), mac(1000 + number));
        workers_->asked.push_back({0, upcall});
        slow_path.drain();
        // Readers do not exist here, so every grace period is over at once.
        small.reclaim(small.next_epoch());
    }
    EXPECT_GT(small.evictions(), 0U);
    EXPECT_GT(small.size(), 0U);
    slow_path.flush_port(0, 0);
    EXPECT_EQ(small.size(), 0U);
}

// Each packet of a scan is a flow of its own, which no second packet ever uses.
TEST_F(SlowPathTest, AScanDisplacesItselfAndNotAFlowInUse) {
    FlowCache small(dataplane::kFlowsMin);
    SlowPath slow_path(*workers_, small);
    slow_path.set_snapshot(&snapshot_);
    slow_path.insert_bridge(0, 64, 300);
    const auto asks = [&](const FlowKey& key) {
        Upcall upcall;
        upcall.key = key;
        workers_->asked.push_back({0, upcall});
        slow_path.drain();
        small.reclaim(small.next_epoch());
    };
    std::vector<FlowKey> used;
    for (unsigned number = 0; number < 32; ++number) {
        used.push_back(flow(0, mac(number), mac(0x1000)));
        asks(used.back());
    }
    for (unsigned number = 0; number < 3 * dataplane::kFlowsMin; ++number) {
        for (const FlowKey& key : used) {
            const auto* made = small.find(key, dataplane::hash(key));
            ASSERT_NE(made, nullptr);
            FlowCache::touch(*made, dataplane::coarse_clock_s());
        }
        // By turns a destination that nobody is, and a source that nobody is.
        asks(
            number % 2 == 0 ? flow(2, mac(0x4000), mac(0x8000 + number))
                            : flow(2, mac(0x8000 + number), mac(0x1000))
        );
    }
    EXPECT_GT(small.evictions(), 0U);
    for (const FlowKey& key : used) {
        EXPECT_NE(small.find(key, dataplane::hash(key)), nullptr);
        EXPECT_EQ(slow_path.locate(0, {0, key.source}), 0);
    }
}

TEST_F(SlowPathTest, AnswersManyInTheOrderInWhichTheyWereAsked) {
    rte_mbuf* packet = nullptr;
    for (unsigned number = 0; number < 200; ++number) {
        Upcall upcall;
        upcall.slot = static_cast<std::uint16_t>(number);
        upcall.key = flow(0, mac(1), mac(100 + number));
        if (number == 100) {  // Among them one that is answered another way.
            snapshot_.tunnels[0].resolved = true;
            upcall.kind = Upcall::Kind::resolve;
            upcall.port = kTunnelPort;
            packet = upcall.packet = rte_pktmbuf_alloc(packet_pool());
        }
        workers_->asked.push_back({number / 150, upcall});
    }
    const unsigned polled = workers_->polled;
    drain_all();
    ASSERT_EQ(workers_->sent.size(), 200U);
    for (unsigned number = 0; number < 200; ++number) {
        const auto& answer = workers_->sent[number];
        EXPECT_EQ(answer.worker, number / 150);
        if (number == 100) {
            EXPECT_EQ(answer.decision.kind, Decision::Kind::encap);
            EXPECT_EQ(answer.decision.packet, packet);
        } else {
            EXPECT_EQ(answer.decision.slot, number);
        }
    }
    // Entries in their grace period come back while upcalls are answered, not with the next tick.
    EXPECT_GT(workers_->polled, polled);
}

TEST_F(SlowPathTest, IdleFlowsGoAndTellWhenTheirAddressWasLastSeen) {
    const FlowKey idle = flow(0, mac(1), mac(2));
    const FlowKey busy = flow(1, mac(2), mac(9));
    static_cast<void>(ask(idle));
    static_cast<void>(ask(busy));
    static_cast<void>(ask(idle));
    // Seen later than the entry says: what workers forwarded without asking.
    const std::uint32_t later = dataplane::coarse_clock_s() + 1000;
    entry(busy)->last_used_s.store(later);
    const FdbEntry* known = slow_path_->bridge(0)->fdb.find({0, mac(2)});
    ASSERT_NE(known, nullptr);
    EXPECT_EQ(slow_path_->last_seen_s(*known), later);
    make_old(idle, kIdleTimeout + 5);
    slow_path_->tick(kIdleTimeout);
    EXPECT_FALSE(cached(idle));
    EXPECT_TRUE(cached(busy));
    EXPECT_NE(slow_path_->locate(0, {0, mac(1)}), std::nullopt);
}

TEST_F(SlowPathTest, AnAddressAgesUnlessItsFlowsAreInUse) {
    const FlowKey one = flow(0, mac(1), mac(8));
    const FlowKey two = flow(1, mac(2), mac(9));
    static_cast<void>(ask(one));
    static_cast<void>(ask(two));
    // At once: whatever was not used later than it was learned is too old.
    slow_path_->bridge(0)->ageing_s = 0;
    entry(one)->last_used_s.store(dataplane::coarse_clock_s() + 1000);
    changes_.clear();
    slow_path_->tick(kIdleTimeout);
    EXPECT_EQ(slow_path_->locate(0, {0, mac(1)}), 0);
    EXPECT_EQ(slow_path_->locate(0, {0, mac(2)}), std::nullopt);
    EXPECT_TRUE(cached(one));
    EXPECT_FALSE(cached(two));
    EXPECT_THAT(changes_, ElementsAre(Pair(0, FdbKey{0, mac(2)})));
}

TEST_F(SlowPathTest, ANewFlowAfterFlushOfAllIsDecidedAnew) {
    static_cast<void>(ask(flow(0, mac(1), mac(2))));
    slow_path_->flush_flows();
    EXPECT_EQ(flows_.size(), 0U);
    EXPECT_EQ(slow_path_->locate(0, {0, mac(1)}), 0);
    EXPECT_EQ(ask(flow(0, mac(1), mac(2))), kFlood);
    EXPECT_TRUE(cached(flow(0, mac(1), mac(2))));
}

TEST_F(SlowPathTest, HeldPacketsAreReleasedInOrderToTheirWorkers) {
    std::vector<std::pair<unsigned, rte_mbuf*>> given;
    for (unsigned i = 0; i < 6; ++i) {
        given.emplace_back(i % 2, punt(kTunnelPort, i % 2));
    }
    rte_mbuf* other = punt(kTunnelPort2);
    EXPECT_THAT(workers_->sent, IsEmpty());
    EXPECT_THAT(
        unresolved_,
        ElementsAre(
            kTunnelPort,
            kTunnelPort,
            kTunnelPort,
            kTunnelPort,
            kTunnelPort,
            kTunnelPort,
            kTunnelPort2
        )
    );
    slow_path_->release(kTunnelPort, 77);
    ASSERT_EQ(workers_->sent.size(), given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
        const auto& [worker, decision] = workers_->sent[i];
        EXPECT_EQ(decision.kind, Decision::Kind::encap);
        EXPECT_EQ(decision.port, kTunnelPort);
        EXPECT_EQ(decision.version, 77U);
        EXPECT_EQ(worker, given[i].first);
        EXPECT_EQ(decision.packet, given[i].second);
    }
    slow_path_->release(kTunnelPort, 78);
    EXPECT_EQ(workers_->sent.size(), given.size());
    slow_path_->release(kTunnelPort2, 78);
    EXPECT_EQ(workers_->sent.back().decision.packet, other);
}

TEST_F(SlowPathTest, APacketThatComesAfterTheResolutionGoesBackAtOnceButNotPastHeldOnes) {
    static_cast<void>(punt(kTunnelPort));
    snapshot_.tunnels[0].resolved = true;
    static_cast<void>(punt(kTunnelPort));
    EXPECT_THAT(workers_->sent, IsEmpty());
    slow_path_->release(kTunnelPort, 41);
    ASSERT_EQ(workers_->sent.size(), 2U);
    rte_mbuf* last = punt(kTunnelPort, 1);
    ASSERT_EQ(workers_->sent.size(), 3U);
    EXPECT_EQ(workers_->sent.back().worker, 1U);
    EXPECT_EQ(workers_->sent.back().decision.packet, last);
    EXPECT_EQ(workers_->sent.back().decision.version, 41U);
}

TEST_F(SlowPathTest, AbandonedPacketsAreCountedWithTheReason) {
    static_cast<void>(punt(kTunnelPort));
    static_cast<void>(punt(kTunnelPort));
    static_cast<void>(punt(kTunnelPort2));
    slow_path_->abandon(kTunnelPort, DropReason::tunnel_no_route);
    EXPECT_EQ(dropped(DropReason::tunnel_no_route, kTunnelPort), 2U);
    EXPECT_EQ(dropped(DropReason::tunnel_no_route, kTunnelPort2), 0U);
    EXPECT_EQ(held(), 1U);
    slow_path_->release(kTunnelPort, 50);
    EXPECT_THAT(workers_->sent, IsEmpty());
}

TEST_F(SlowPathTest, PacketsOfTunnelsWithoutRouteOrThatAreGoneAreDropped) {
    snapshot_.tunnels[0].unresolved = DropReason::tunnel_no_route;
    static_cast<void>(punt(kTunnelPort));
    static_cast<void>(punt(0));
    static_cast<void>(punt(900));
    EXPECT_EQ(dropped(DropReason::tunnel_no_route, kTunnelPort), 1U);
    EXPECT_EQ(dropped(DropReason::port_removed, 0), 1U);
    EXPECT_EQ(dropped(DropReason::port_removed, 900), 1U);
    EXPECT_EQ(held(), 0U);
    EXPECT_THAT(unresolved_, IsEmpty());
}

TEST_F(SlowPathTest, HoldsABoundedNumberOfPacketsForOneNextHop) {
    for (std::size_t i = 0; i < dataplane::kNeighbourQueueMax; ++i) {
        static_cast<void>(punt(kTunnelPort));
    }
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, kTunnelPort), 0U);
    static_cast<void>(punt(kTunnelPort));
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, kTunnelPort), 1U);
    EXPECT_EQ(held(), dataplane::kNeighbourQueueMax);
    static_cast<void>(punt(kTunnelPort2));
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, kTunnelPort2), 0U);
    slow_path_->abandon(kTunnelPort, DropReason::port_removed);
    static_cast<void>(punt(kTunnelPort));
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, kTunnelPort), 1U);
    EXPECT_EQ(held(), 2U);
}

TEST_F(SlowPathTest, HoldsABoundedNumberOfPacketsForAllNextHops) {
    constexpr std::size_t kTunnels = dataplane::kNeighbourHeldMax / dataplane::kNeighbourQueueMax;
    snapshot_.ports.resize(100);
    for (std::uint16_t port = 10; port <= 10 + kTunnels; ++port) {
        snapshot_.ports[port].bridge = 0;
        snapshot_.ports[port].tunnel = 0;
    }
    const std::uint16_t last = 10 + kTunnels;
    for (std::uint16_t port = 10; port < last; ++port) {
        for (std::size_t i = 0; i < dataplane::kNeighbourQueueMax; ++i) {
            static_cast<void>(punt(port));
        }
    }
    static_cast<void>(punt(last));
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, last), 1U);
    EXPECT_EQ(held(), dataplane::kNeighbourHeldMax);
    slow_path_->release(10, 50);
    static_cast<void>(punt(last));
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, last), 1U);
}

TEST_F(SlowPathTest, HeldPacketsTimeOut) {
    static_cast<void>(punt(kTunnelPort));
    static_cast<void>(punt(kTunnelPort));
    while (held() != 0) {
        slow_path_->tick(kIdleTimeout);
    }
    EXPECT_EQ(dropped(DropReason::neighbour_timeout, kTunnelPort), 2U);
    slow_path_->release(kTunnelPort, 50);
    EXPECT_THAT(workers_->sent, IsEmpty());
    static_cast<void>(punt(kTunnelPort));
    EXPECT_EQ(held(), 1U);
}

}  // namespace

}  // namespace culvert::ctl
