// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that wait by key: their order, their bounds, and that none is lost or freed twice.

#include "ctl/held_packets.hpp"

#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::packet_pool;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HeldPacketsTest : public ::testing::Test {
protected:
    ~HeldPacketsTest() override {
        held_.reset();
        EXPECT_EQ(rte_mempool_avail_count(packet_pool()), free_before_) << "a packet buffer leaked";
    }
    /// `number` tells packets apart.
    bool insert(int key, std::uint16_t number, std::uint64_t since_ms = 0) {
        const HeldPacket packet{rte_pktmbuf_alloc(packet_pool()), 1, number, since_ms};
        EXPECT_NE(packet.packet, nullptr);
        if (held_->insert(key, packet)) {
            return true;
        }
        rte_pktmbuf_free(packet.packet);
        return false;
    }
    /// Notes a packet and frees it.
    auto noting() {
        return [this](const HeldPacket& packet) {
            taken_.push_back(packet.port);
            rte_pktmbuf_free(packet.packet);
        };
    }
    std::vector<std::uint16_t> taken() { return std::exchange(taken_, {}); }

    unsigned free_before_ = rte_mempool_avail_count(packet_pool());
    std::vector<std::uint16_t> taken_;
    std::optional<HeldPackets<int>> held_{std::in_place};
};

TEST_F(HeldPacketsTest, GivesThePacketsOfAKeyOnceAndInOrder) {
    for (std::uint16_t i = 0; i < 4; ++i) {
        ASSERT_TRUE(insert(i % 2, i));
    }
    EXPECT_TRUE(held_->contains(0));
    EXPECT_FALSE(held_->contains(2));
    held_->take(0, noting());
    EXPECT_THAT(taken(), ElementsAre(0, 2));
    EXPECT_FALSE(held_->contains(0));
    held_->take(0, noting());
    held_->take(2, noting());
    EXPECT_THAT(taken(), IsEmpty());
    held_->take(1, noting());
    EXPECT_THAT(taken(), ElementsAre(1, 3));
}

TEST_F(HeldPacketsTest, GivesThePacketsOfEveryKeyThatIsWanted) {
    for (std::uint16_t i = 0; i < 6; ++i) {
        ASSERT_TRUE(insert(i % 3, i));
    }
    held_->take_if([](int key) { return key != 1; }, noting());
    EXPECT_THAT(taken(), ElementsAre(0, 3, 2, 5));
    EXPECT_TRUE(held_->contains(1));
}

TEST_F(HeldPacketsTest, GivesWhatWaitedTooLong) {
    ASSERT_TRUE(insert(1, 1, 100));
    ASSERT_TRUE(insert(1, 2, 200));
    ASSERT_TRUE(insert(2, 3, 100));
    held_->expire(100, noting());
    EXPECT_THAT(taken(), IsEmpty());
    held_->expire(101, noting());
    EXPECT_THAT(taken(), ElementsAre(1, 3));
    EXPECT_TRUE(held_->contains(1));
    EXPECT_FALSE(held_->contains(2));
    held_->take(1, noting());
    EXPECT_THAT(taken(), ElementsAre(2));
}

TEST_F(HeldPacketsTest, AKeyHasItsBound) {
    for (std::size_t i = 0; i < dataplane::kNeighbourQueueMax; ++i) {
        ASSERT_TRUE(insert(1, 0));
    }
    EXPECT_FALSE(insert(1, 0));
    EXPECT_TRUE(insert(2, 0));
    held_->take(1, noting());
    EXPECT_TRUE(insert(1, 0));
}

TEST_F(HeldPacketsTest, AllKeysHaveTheirBoundWhicheverWayPacketsGo) {
    constexpr int kKeys = 100;
    std::size_t count = 0;
    const auto fill = [&] {
        while (insert(static_cast<int>(count % kKeys), 0, count)) {
            ++count;
        }
        return count;
    };
    EXPECT_EQ(fill(), dataplane::kNeighbourHeldMax);
    EXPECT_FALSE(insert(kKeys, 0));
    held_->expire(10, noting());
    EXPECT_EQ(fill(), dataplane::kNeighbourHeldMax + 10);
    held_->take(0, noting());
    const auto freed = taken().size() - 10;
    EXPECT_EQ(fill(), dataplane::kNeighbourHeldMax + 10 + freed);
    held_->take_if([](int) { return true; }, noting());
    EXPECT_EQ(taken().size(), dataplane::kNeighbourHeldMax);
    EXPECT_EQ(rte_mempool_avail_count(packet_pool()), free_before_);
    EXPECT_FALSE(held_->contains(1));
}

TEST_F(HeldPacketsTest, FreesWhatStillWaitsAtItsEnd) {
    ASSERT_TRUE(insert(1, 0));
    ASSERT_TRUE(insert(2, 0));
    held_.reset();
    EXPECT_EQ(rte_mempool_avail_count(packet_pool()), free_before_);
}

}  // namespace

}  // namespace culvert::ctl
