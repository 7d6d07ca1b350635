// SPDX-License-Identifier: GPL-2.0-or-later
//
// The forwarding database: learning, moves, ageing, eviction, fixed entries and flushes.

#include "ctl/fdb.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::uint32_t kAgeing = 300;

FdbKey key_of(unsigned number, std::uint16_t vlan = 0) {
    return {
        vlan,
        {{0x02,
          0,
          0,
          0,
          static_cast<std::uint8_t>(number >> 8U),
          static_cast<std::uint8_t>(number)}}};
}

class FdbTest : public ::testing::Test {
protected:
    Fdb::LearnResult learn(unsigned number, std::uint16_t port, std::uint32_t now_s) {
        return fdb_.learn(key_of(number), port, now_s, last_used_);
    }
    std::vector<FdbKey> expire(std::uint32_t now_s) {
        return fdb_.expire(now_s, kAgeing, last_used_);
    }
    /// Flows from this address were used then.
    void use(unsigned number, std::uint32_t at_s) { used_[key_of(number).to_u64()] = at_s; }

    Fdb fdb_{4};
    std::map<std::uint64_t, std::uint32_t> used_;
    Fdb::LastUsed last_used_ = [this](const FdbKey& key) -> std::optional<std::uint32_t> {
        const auto found = used_.find(key.to_u64());
        return found == used_.end() ? std::nullopt : std::optional(found->second);
    };
};

TEST_F(FdbTest, LearnsAnAddressPerVlan) {
    EXPECT_EQ(learn(1, 7, 0).learned, Fdb::Learned::added);
    EXPECT_EQ(fdb_.learn(key_of(1, 9), 8, 0, last_used_).learned, Fdb::Learned::added);
    ASSERT_NE(fdb_.find(key_of(1)), nullptr);
    EXPECT_EQ(fdb_.find(key_of(1))->port, 7);
    ASSERT_NE(fdb_.find(key_of(1, 9)), nullptr);
    EXPECT_EQ(fdb_.find(key_of(1, 9))->port, 8);
    EXPECT_EQ(fdb_.find(key_of(1, 10)), nullptr);
    EXPECT_EQ(fdb_.size(), 2U);
}

TEST_F(FdbTest, TellsAMoveFromARepetition) {
    static_cast<void>(learn(1, 7, 0));
    EXPECT_EQ(learn(1, 7, 1).learned, Fdb::Learned::unchanged);
    EXPECT_EQ(learn(1, 8, 2).learned, Fdb::Learned::moved);
    EXPECT_EQ(fdb_.find(key_of(1))->port, 8);
    EXPECT_EQ(fdb_.find(key_of(1))->last_seen_s, 2U);
    EXPECT_EQ(fdb_.size(), 1U);
}

TEST_F(FdbTest, ExpiresExactlyAtTheAgeingTime) {
    static_cast<void>(learn(1, 7, 100));
    EXPECT_THAT(expire(100 + kAgeing - 1), IsEmpty());
    EXPECT_THAT(expire(100 + kAgeing), ElementsAre(key_of(1)));
    EXPECT_EQ(fdb_.find(key_of(1)), nullptr);
    EXPECT_EQ(fdb_.learned(), 0U);
}

TEST_F(FdbTest, AFrameRestartsTheAgeing) {
    static_cast<void>(learn(1, 7, 0));
    static_cast<void>(learn(1, 7, 200));
    EXPECT_THAT(expire(kAgeing + 199), IsEmpty());
    EXPECT_THAT(expire(kAgeing + 200), ElementsAre(key_of(1)));
}

TEST_F(FdbTest, UseThatWorkersDidNotReportKeepsAnEntryAndNoOther) {
    static_cast<void>(learn(1, 7, 0));
    static_cast<void>(learn(2, 7, 0));
    use(1, 250);
    EXPECT_THAT(expire(kAgeing), ElementsAre(key_of(2)));
    ASSERT_NE(fdb_.find(key_of(1)), nullptr);
    EXPECT_EQ(fdb_.find(key_of(1))->last_seen_s, 250U);
    EXPECT_THAT(expire(249 + kAgeing), IsEmpty());
    EXPECT_THAT(expire(250 + kAgeing), ElementsAre(key_of(1)));
}

TEST_F(FdbTest, UseThatIsItselfTooOldKeepsNothing) {
    static_cast<void>(learn(1, 7, 100));
    use(1, 100);
    EXPECT_THAT(expire(100 + kAgeing), ElementsAre(key_of(1)));
}

TEST_F(FdbTest, AGoingFlowRefreshesOnlyTheEntryOfItsPort) {
    static_cast<void>(learn(1, 7, 0));
    fdb_.refresh_if_present(key_of(1), 8, 50);
    EXPECT_EQ(fdb_.find(key_of(1))->last_seen_s, 0U);
    fdb_.refresh_if_present(key_of(1), 7, 50);
    EXPECT_EQ(fdb_.find(key_of(1))->last_seen_s, 50U);
    fdb_.refresh_if_present(key_of(1), 7, 40);
    EXPECT_EQ(fdb_.find(key_of(1))->last_seen_s, 50U);
    fdb_.refresh_if_present(key_of(2), 7, 50);
    EXPECT_EQ(fdb_.find(key_of(2)), nullptr);
}

TEST_F(FdbTest, TheLeastRecentlySeenMakesRoom) {
    for (unsigned number = 1; number <= 4; ++number) {
        EXPECT_FALSE(learn(number, 7, number).evicted);
    }
    static_cast<void>(learn(1, 7, 5));
    EXPECT_EQ(learn(5, 7, 6).evicted, key_of(2));
    EXPECT_EQ(fdb_.find(key_of(2)), nullptr);
    EXPECT_NE(fdb_.find(key_of(1)), nullptr);
    EXPECT_EQ(fdb_.size(), 4U);
}

TEST_F(FdbTest, EvictionSparesAnAddressWhoseFlowsAreInUse) {
    for (unsigned number = 1; number <= 4; ++number) {
        static_cast<void>(learn(number, 7, number));
    }
    use(1, 9);
    EXPECT_EQ(learn(5, 7, 10).evicted, key_of(2));
    EXPECT_NE(fdb_.find(key_of(1)), nullptr);
}

// Made-up addresses are seen once each.
TEST_F(FdbTest, AFloodOfNewAddressesDisplacesItselfAndNotThoseInUse) {
    Fdb fdb(64);
    for (unsigned number = 0; number < 32; ++number) {
        static_cast<void>(fdb.learn(key_of(number), 7, 10, last_used_));
        use(number, 10);
    }
    for (unsigned number = 100; number < 1100; ++number) {
        static_cast<void>(fdb.learn(key_of(number), 8, 10, last_used_));
    }
    EXPECT_EQ(fdb.size(), 64U);
    for (unsigned number = 0; number < 32; ++number) {
        EXPECT_NE(fdb.find(key_of(number)), nullptr) << number;
    }
    EXPECT_NE(fdb.find(key_of(1099)), nullptr);
}

TEST_F(FdbTest, AProvenAddressMakesRoomOnceItIsNotInUse) {
    Fdb fdb(64);
    for (unsigned number = 0; number < 64; ++number) {
        static_cast<void>(fdb.learn(key_of(number), 7, 10, last_used_));
        static_cast<void>(fdb.learn(key_of(number), 7, 11, last_used_));
    }
    // A few new ones find room, in place of old ones and not of each other.
    for (unsigned number = 100; number < 104; ++number) {
        static_cast<void>(fdb.learn(key_of(number), 8, 100, last_used_));
    }
    for (unsigned number = 100; number < 104; ++number) {
        EXPECT_NE(fdb.find(key_of(number)), nullptr) << number;
    }
    EXPECT_EQ(fdb.find(key_of(0)), nullptr);
    EXPECT_EQ(fdb.size(), 64U);
}

TEST_F(FdbTest, EvictsEvenWhenAllAreInUse) {
    for (unsigned number = 1; number <= 4; ++number) {
        static_cast<void>(learn(number, 7, number));
        use(number, 20);
    }
    EXPECT_TRUE(learn(5, 7, 21).evicted);
    EXPECT_EQ(fdb_.size(), 4U);
    EXPECT_NE(fdb_.find(key_of(5)), nullptr);
}

TEST_F(FdbTest, FixedEntriesNeitherMoveNorAgeNorMakeRoom) {
    EXPECT_TRUE(fdb_.insert_fixed(key_of(1), 7));
    EXPECT_FALSE(fdb_.insert_fixed(key_of(1), 7));
    EXPECT_EQ(learn(1, 8, 0).learned, Fdb::Learned::unchanged);
    EXPECT_EQ(fdb_.find(key_of(1))->port, 7);
    for (unsigned number = 2; number <= 6; ++number) {
        static_cast<void>(learn(number, 8, number));
    }
    EXPECT_EQ(fdb_.learned(), 4U);
    static_cast<void>(expire(100000));
    EXPECT_EQ(fdb_.learned(), 0U);
    EXPECT_THAT(fdb_.flush(), IsEmpty());
    ASSERT_NE(fdb_.find(key_of(1)), nullptr);
    EXPECT_TRUE(fdb_.find(key_of(1))->fixed);
}

TEST_F(FdbTest, AFixedEntryReplacesALearnedOneAndMayMove) {
    static_cast<void>(learn(1, 8, 0));
    EXPECT_TRUE(fdb_.insert_fixed(key_of(1), 7));
    EXPECT_EQ(fdb_.learned(), 0U);
    EXPECT_EQ(fdb_.size(), 1U);
    EXPECT_TRUE(fdb_.insert_fixed(key_of(1), 9));
    EXPECT_EQ(fdb_.find(key_of(1))->port, 9);
    EXPECT_TRUE(fdb_.erase(key_of(1)));
    EXPECT_FALSE(fdb_.erase(key_of(1)));
    EXPECT_EQ(learn(1, 8, 1).learned, Fdb::Learned::added);
}

TEST_F(FdbTest, FlushOfAPortTakesItsFixedEntriesToo) {
    static_cast<void>(fdb_.insert_fixed(key_of(1), 7));
    static_cast<void>(learn(2, 7, 0));
    static_cast<void>(learn(3, 8, 0));
    EXPECT_THAT(fdb_.flush_port(7), UnorderedElementsAre(key_of(1), key_of(2)));
    EXPECT_EQ(fdb_.size(), 1U);
    EXPECT_THAT(fdb_.flush(), ElementsAre(key_of(3)));
    EXPECT_EQ(fdb_.size(), 0U);
}

TEST_F(FdbTest, ALoweredSizeTakesEffectOnWhatWasLearnedOldestFirst) {
    for (unsigned number = 1; number <= 4; ++number) {
        static_cast<void>(learn(number, 7, number));
    }
    fdb_.set_size_max(2);
    EXPECT_THAT(expire(5), ElementsAre(key_of(1), key_of(2)));
    EXPECT_EQ(learn(5, 7, 6).evicted, key_of(3));
    EXPECT_EQ(fdb_.learned(), 2U);
}

}  // namespace

}  // namespace culvert::ctl
