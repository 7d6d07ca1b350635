// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bond's state machine with time of the test's: members e0, e1, ... at ports 10, 11, ...

#include "ctl/bond.hpp"

#include <map>
#include <set>

#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

using dataplane::BondHash;
using dataplane::kBondBuckets;
using dataplane::kPortNone;
using dataplane::MemberAdmits;

constexpr std::uint16_t kE0 = 10;
constexpr std::uint16_t kE1 = 11;

class BondTest : public ::testing::Test {
protected:
    BondTest() {
        config.name = "bond0";
        set_members(2);
    }

    void set_members(std::uint16_t count) {
        members.clear();
        for (std::uint16_t i = 0; i < count; ++i) {
            members.push_back(
                {.port = static_cast<std::uint16_t>(kE0 + i),
                 .name = "e" + std::to_string(i),
                 .mac = {{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(i + 1)}},
                 .up = true}
            );
        }
    }

    void start(BondMode mode, LacpStatus status = LacpStatus::off) {
        config.mode = mode;
        lacp = status;
        bond.configure(config, now_ms);
        run();
        static_cast<void>(bond.take_learning());
    }
    void run(std::uint64_t pass_ms = 0) {
        now_ms += pass_ms;
        bond.run(members, lacp, now_ms);
    }
    void send(std::size_t bucket, std::uint64_t bytes) {
        counters[bucket] += bytes;
        bond.account([&](std::size_t i) { return counters[i]; });
    }
    [[nodiscard]] MemberAdmits admits(std::uint16_t port) const {
        return bond.admits(*bond.find(port));
    }
    [[nodiscard]] std::map<std::uint16_t, std::size_t> shares() const {
        std::map<std::uint16_t, std::size_t> count;
        for (std::size_t i = 0; i < kBondBuckets; ++i) {
            ++count[bond.output(i)];
        }
        return count;
    }

    BondConfig config;
    Bond bond;
    std::vector<BondMemberInput> members;
    LacpStatus lacp = LacpStatus::off;
    std::uint64_t now_ms = 1000;
    std::map<std::size_t, std::uint64_t> counters;
};

TEST_F(BondTest, ActiveBackupUsesOneMemberAndFailsOverAtOnce) {
    start(BondMode::active_backup);
    EXPECT_EQ(bond.active()->input.port, kE0);
    EXPECT_EQ(bond.hash(), BondHash::none);
    EXPECT_EQ(bond.output(0), kE0);
    EXPECT_EQ(admits(kE0), MemberAdmits::everything);
    EXPECT_EQ(admits(kE1), MemberAdmits::nothing);
    members[0].up = false;
    run();
    EXPECT_EQ(bond.output(0), kE1);
    EXPECT_EQ(bond.active_mac(), members[1].mac);
    EXPECT_TRUE(bond.take_learning());
    EXPECT_FALSE(bond.take_learning());
}

TEST_F(BondTest, TheActiveMemberStaysWhenAnotherComesBack) {
    start(BondMode::active_backup);
    members[0].up = false;
    run();
    members[0].up = true;
    run(100);
    EXPECT_TRUE(bond.find(kE0)->enabled);
    EXPECT_EQ(bond.active()->input.port, kE1);
    EXPECT_FALSE(bond.find(kE0)->delay_ends_ms);
}

TEST_F(BondTest, ThePrimaryTakesOverWheneverItIsEnabled) {
    config.primary = "e1";
    start(BondMode::active_backup);
    EXPECT_EQ(bond.active()->input.port, kE1);
    members[1].up = false;
    run();
    EXPECT_EQ(bond.active()->input.port, kE0);
    members[1].up = true;
    run(100);
    EXPECT_EQ(bond.active()->input.port, kE1);
}

TEST_F(BondTest, DelaysHoldAMemberBackOnlyWhileItsLinkStays) {
    config.updelay_ms = 500;
    config.downdelay_ms = 200;
    start(BondMode::active_backup);
    members[0].up = false;
    run();
    EXPECT_TRUE(bond.find(kE0)->enabled);
    EXPECT_EQ(bond.find(kE0)->delay_ends_ms, now_ms + 200);
    members[0].up = true;  // Back in time.
    run(100);
    EXPECT_FALSE(bond.find(kE0)->delay_ends_ms);
    members[0].up = false;
    run();
    run(200);
    EXPECT_FALSE(bond.find(kE0)->enabled);
    EXPECT_EQ(bond.active()->input.port, kE1);
    members[0].up = true;
    run();
    EXPECT_EQ(bond.find(kE0)->delay_ends_ms, now_ms + 500);
    run(499);
    EXPECT_FALSE(bond.find(kE0)->enabled);
    run(1);
    EXPECT_TRUE(bond.find(kE0)->enabled);
}

TEST_F(BondTest, WithNoMemberLeftTheUpdelayIsSkipped) {
    config.updelay_ms = 31000;
    start(BondMode::active_backup);
    members[0].up = members[1].up = false;
    run();
    EXPECT_EQ(bond.active(), nullptr);
    EXPECT_EQ(bond.output(0), kPortNone);
    members[1].up = true;
    run(100);
    EXPECT_EQ(bond.active()->input.port, kE1);
    EXPECT_TRUE(bond.find(kE1)->enabled);
}

TEST_F(BondTest, SlbSharesBucketsOutAndMovesThoseOfAFailedMemberAtOnce) {
    set_members(3);
    start(BondMode::balance_slb);
    EXPECT_EQ(bond.hash(), BondHash::source);
    for (const auto& [port, count] : shares()) {
        EXPECT_NEAR(static_cast<double>(count), 256.0 / 3, 1.0) << port;
    }
    EXPECT_EQ(admits(kE0), MemberAdmits::everything);
    EXPECT_EQ(admits(kE1), MemberAdmits::unicast);
    for (std::size_t i = 0; i < kBondBuckets; ++i) {
        send(i, 100);
    }
    std::vector<std::uint16_t> before;
    for (std::size_t i = 0; i < kBondBuckets; ++i) {
        before.push_back(bond.output(i));
    }
    members[1].up = false;
    run();
    std::set<std::uint16_t> heirs;
    for (std::size_t i = 0; i < kBondBuckets; ++i) {
        if (before[i] == kE1) {
            heirs.insert(bond.output(i));
        } else {
            EXPECT_EQ(bond.output(i), before[i]);
        }
    }
    EXPECT_EQ(heirs, (std::set<std::uint16_t>{10, 12}));
    EXPECT_TRUE(bond.take_learning());
}

TEST_F(BondTest, BucketsWithoutTrafficGoToAMemberThatJoins) {
    set_members(1);
    start(BondMode::balance_slb);
    send(0, 1000);
    set_members(2);
    run();
    EXPECT_EQ(bond.output(0), kE0);
    EXPECT_EQ(bond.output(1), kE1);
    EXPECT_GT(shares()[kE1], 100U);
}

TEST_F(BondTest, RebalancingMovesLoadTowardsTheMiddle) {
    start(BondMode::balance_slb);
    // Even buckets are e0's.
    for (std::size_t i = 0; i < 8; i += 2) {
        send(i, 1000000);
    }
    EXPECT_FALSE(bond.rebalance(now_ms));  // Not yet.
    EXPECT_TRUE(bond.rebalance(now_ms + 10000));
    std::map<std::uint16_t, unsigned> busy;
    for (std::size_t i = 0; i < 8; i += 2) {
        ++busy[bond.output(i)];
    }
    EXPECT_EQ(busy[kE0], 2U);
    EXPECT_EQ(busy[kE1], 2U);
    EXPECT_EQ(bond.buckets()[0].load_bytes, 500000U);  // Half is forgotten each time.
    EXPECT_FALSE(bond.rebalance(now_ms + 20000));
}

TEST_F(BondTest, SmallDifferencesAndASingleBusyBucketStay) {
    start(BondMode::balance_slb);
    send(0, 30000);
    send(2, 60000);
    EXPECT_FALSE(bond.rebalance(now_ms + 10000));  // Less than 100000 bytes.
    start(BondMode::balance_tcp, LacpStatus::negotiated);
    send(4, 5000000);
    EXPECT_FALSE(bond.rebalance(now_ms + 30000));  // One bucket would be as heavy elsewhere.
    EXPECT_EQ(bond.output(4), kE0);
}

TEST_F(BondTest, AThirtySecondOfTheLoadIsNotWorthAMove) {
    start(BondMode::balance_slb);
    send(0, 5100000);
    send(2, 5100000);
    send(1, 5000000);
    send(3, 5000000);
    EXPECT_FALSE(bond.rebalance(now_ms + 10000));
}

TEST_F(BondTest, WithoutRebalancingBucketsStay) {
    config.rebalance_ms = 0;
    start(BondMode::balance_slb);
    EXPECT_FALSE(bond.rebalances());
    send(0, 9000000);
    send(2, 9000000);
    EXPECT_FALSE(bond.rebalance(now_ms + 100000));
}

TEST_F(BondTest, BalanceTcpNeedsLacp) {
    start(BondMode::balance_tcp);
    EXPECT_EQ(bond.output(0), kPortNone);
    EXPECT_EQ(admits(kE0), MemberAdmits::nothing);
    lacp = LacpStatus::configured;
    run();
    EXPECT_EQ(bond.output(0), kPortNone);
    EXPECT_EQ(admits(kE0), MemberAdmits::nothing);
    lacp = LacpStatus::negotiated;
    run();
    EXPECT_EQ(bond.hash(), BondHash::flow);
    EXPECT_EQ(shares().size(), 2U);
    EXPECT_EQ(admits(kE0), MemberAdmits::everything);
    EXPECT_EQ(admits(kE1), MemberAdmits::everything);
    EXPECT_FALSE(bond.take_learning());
}

TEST_F(BondTest, FallingBackIsActiveBackup) {
    config.lacp_fallback_ab = true;
    start(BondMode::balance_tcp, LacpStatus::configured);
    EXPECT_TRUE(bond.falls_back());
    EXPECT_EQ(bond.output(7), kE0);
    EXPECT_EQ(admits(kE0), MemberAdmits::everything);
    EXPECT_EQ(admits(kE1), MemberAdmits::nothing);
    members[0].up = false;
    run();
    EXPECT_TRUE(bond.take_learning());
}

TEST_F(BondTest, AMemberThatLacpHasNotBroughtUpIsDisabled) {
    members[1].lacp_may_enable = false;
    start(BondMode::balance_tcp, LacpStatus::negotiated);
    EXPECT_EQ(shares(), (std::map<std::uint16_t, std::size_t>{{kE0, 256}}));
    EXPECT_EQ(admits(kE1), MemberAdmits::nothing);
}

TEST_F(BondTest, AMemberThatLeavesHandsOver) {
    start(BondMode::active_backup);
    members.erase(members.begin());
    run();
    EXPECT_EQ(bond.active()->input.port, kE1);
    EXPECT_TRUE(bond.take_learning());
}

TEST_F(BondTest, ByHandTheActiveMemberChangesAndBucketsMove) {
    start(BondMode::balance_slb);
    bond.set_active(kE1);
    EXPECT_EQ(bond.active()->input.port, kE1);
    EXPECT_TRUE(bond.take_learning());
    bond.migrate(0, kE1);
    run();
    EXPECT_EQ(bond.output(0), kE1);
    bond.enable(kE1, false);
    EXPECT_FALSE(bond.find(kE1)->enabled);
    run();  // Its link says otherwise.
    EXPECT_TRUE(bond.find(kE1)->enabled);
}

}  // namespace

}  // namespace culvert::ctl
