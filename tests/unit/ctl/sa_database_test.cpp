// SPDX-License-Identifier: GPL-2.0-or-later
//
// The database of security associations with configured keys, and numbers over restarts.
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/sa_database_fixture.hpp"

namespace culvert::ctl {
namespace {

using namespace testing_sa;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- configured keys ---

TEST_F(SaDatabaseTest, ATunnelInClearHasNoPolicy) {
    EXPECT_FALSE(configure({}));
    EXPECT_EQ(database_->policy_of("t1"), nullptr);
    EXPECT_TRUE(database_->table().empty());
    EXPECT_EQ(database_->plain_mtu("t1", 1500), 1500U);
}

TEST_F(SaDatabaseTest, AConfiguredPairIsThereAtOnce) {
    EXPECT_TRUE(configure({configured("t1")}));
    ASSERT_NE(out(), nullptr);
    EXPECT_EQ(spi_out(), 0x1001U);
    EXPECT_EQ(out()->parameters().source, ip("10.0.0.1"));
    EXPECT_EQ(out()->parameters().destination, ip("10.0.0.2"));
    EXPECT_TRUE(accepts("t1", 0x1000));
    EXPECT_EQ(take_one(*out()), 1U);
    const TunnelEncryption state = database_->encryption_of("t1");
    EXPECT_TRUE(state.established);
    EXPECT_EQ(state.spi_in, 0x1000U);
    EXPECT_EQ(state.spi_out, 0x1001U);
    EXPECT_EQ(state.trouble, "");
}

TEST_F(SaDatabaseTest, WhatStaysTheSameGoesOn) {
    configure({configured("t1")});
    const auto before = out();
    const auto policy = database_->policy_of("t1");
    InboundSa* const inbound = in(0x1000);
    take_one(*before);
    EXPECT_FALSE(configure({configured("t1")}));
    EXPECT_TRUE(configure({configured("t1"), configured("t2", 0x2000)}));
    EXPECT_EQ(out(), before);
    EXPECT_EQ(database_->policy_of("t1"), policy);
    EXPECT_EQ(in(0x1000), inbound);
    EXPECT_EQ(take_one(*out()), 2U);
}

TEST_F(SaDatabaseTest, AnotherKeyIsAnotherSaAndTheOldOneIsGoneAtOnce) {
    configure({configured("t1")});
    const auto before = out();
    const std::uint32_t old_id = in(0x1000)->parameters().id;
    EspTunnel tunnel = configured("t1");
    tunnel.esp->key_in = secret("new-in");
    tunnel.esp->key_out = secret("new-out");
    EXPECT_TRUE(configure({tunnel}));
    EXPECT_NE(out(), before);
    EXPECT_EQ(take_one(*out()), 1U) << "a new key has all its numbers";
    EXPECT_NE(in(0x1000)->parameters().id, old_id);
    EXPECT_THAT(database_->policy_of("t1")->accepts, ElementsAre(in(0x1000)->parameters().id));
}

TEST_F(SaDatabaseTest, AKeyThatComesBackGoesOnBehindItsNumbers) {
    configure({configured("t1")});
    take_one(*out());
    EspTunnel other = configured("t1");
    other.esp->key_out = secret("other");
    configure({other});
    configure({});
    configure({configured("t1")});
    EXPECT_GT(take_one(*out()), kBlockExtended);
}

TEST_F(SaDatabaseTest, AKeyWithAnotherSpiOrPeerGoesOnBehindItsNumbers) {
    configure({configured("t1")});
    const auto before = out();
    std::uint64_t last = 0;
    EspTunnel moved = configured("t1");
    moved.esp->spi_out = 0x9999;
    moved.remote = ip("10.0.0.3");
    configure({moved});
    while (const std::uint64_t number = take_one(*before)) {  // Workers go on for a moment.
        last = number;
        if (number > 100) {
            break;
        }
    }
    EXPECT_EQ(spi_out(), 0x9999U);
    const std::uint64_t first = take_one(*out());
    EXPECT_GE(first, before->end());
    EXPECT_GT(first, last);
}

TEST_F(SaDatabaseTest, WithoutAnAddressThereIsAPolicyAndNoSa) {
    EspTunnel tunnel = configured("t1");
    tunnel.local.reset();
    EXPECT_TRUE(configure({tunnel}));
    ASSERT_NE(database_->policy_of("t1"), nullptr);
    EXPECT_EQ(out(), nullptr);
    EXPECT_THAT(database_->policy_of("t1")->accepts, IsEmpty());
    EXPECT_FALSE(database_->encryption_of("t1").established);
    EXPECT_THAT(trouble(), HasSubstr("address"));
    EXPECT_TRUE(configure({configured("t1")}));
    EXPECT_NE(out(), nullptr);
}

TEST_F(SaDatabaseTest, ALostRouteDoesNotCostNumbers) {
    configure({configured("t1")});
    const auto before = out();
    EspTunnel tunnel = configured("t1");
    tunnel.local.reset();
    configure({tunnel});
    EXPECT_EQ(out(), before);
    configure({configured("t1")});
    EXPECT_EQ(out(), before);
}

TEST_F(SaDatabaseTest, ATunnelThatIsInTroubleGetsNoSa) {
    EspTunnel tunnel = configured("t1");
    tunnel.trouble = "it cannot be";
    configure({tunnel});
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(trouble(), "it cannot be");
}

TEST_F(SaDatabaseTest, OneKeyIsForOneSa) {
    EspTunnel first = configured("t1");
    EspTunnel second = configured("t2", 0x2000);
    second.esp->key_out = first.esp->key_out;
    configure({first, second});
    EXPECT_NE(out("t1"), nullptr);
    EXPECT_EQ(out("t2"), nullptr);
    EXPECT_THAT(
        trouble("t2"), HasSubstr("its key is the one of the outbound SA 0x00001001 of tunnel t1")
    );
    EspTunnel both_ways = configured("t1");
    both_ways.esp->key_in = both_ways.esp->key_out;
    configure({both_ways});
    EXPECT_FALSE(database_->encryption_of("t1").established);
    EXPECT_THAT(trouble(), HasSubstr("its key"));
}

TEST_F(SaDatabaseTest, OneInboundSpiIsForOneSa) {
    EspTunnel second = configured("t2", 0x2000);
    second.esp->spi_in = 0x1000;
    configure({configured("t1"), second});
    EXPECT_TRUE(accepts("t1", 0x1000));
    EXPECT_FALSE(accepts("t2", 0x1000));
    EXPECT_THAT(trouble("t2"), HasSubstr("SPI"));
    // When the first one is gone the SPI is free.
    configure({second});
    EXPECT_TRUE(accepts("t2", 0x1000));
}

TEST_F(SaDatabaseTest, GmacIsRefused) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->algorithm = EspAlgorithm::aes_gmac_256;
    configure({tunnel});
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(in(0x1000), nullptr);
    EXPECT_EQ(trouble(), "the algorithm aes-gmac-256 does not encrypt");
}

TEST_F(SaDatabaseTest, AKeyOfTheWrongSizeIsRefused) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->key_out = secret("short", 20);
    configure({tunnel});
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(trouble(), "its key has 20 bytes; aes-gcm-256 needs 36");
}

TEST_F(SaDatabaseTest, ManyTunnelsBetweenTwoHostsDoNotMix) {
    configure({configured("t1"), configured("t2", 0x2000), configured("t3", 0x3000)});
    std::set<std::uint32_t> ids;
    for (const char* tunnel : {"t1", "t2", "t3"}) {
        ASSERT_THAT(database_->policy_of(tunnel)->accepts, SizeIs(1)) << tunnel;
        ids.insert(database_->policy_of(tunnel)->accepts.front());
        ids.insert(out(tunnel)->parameters().id);
    }
    EXPECT_THAT(ids, SizeIs(6)) << "each SA has an id of its own";
    EXPECT_TRUE(accepts("t2", 0x2000));
    EXPECT_FALSE(accepts("t1", 0x2000));
    EXPECT_FALSE(accepts("t3", 0x2000));
}

// --- numbers over restarts ---

TEST_F(SaDatabaseTest, AfterKillNineNoNumberComesTwice) {
    std::uint64_t last = 0;
    for (int life = 0; life < 4; ++life) {
        configure({configured("t1")});
        for (int i = 0; i < 1000; ++i) {
            const std::uint64_t number = take_one(*out());
            ASSERT_GT(number, last);
            last = number;
        }
        restart();
    }
}

TEST_F(SaDatabaseTest, NumbersAreWrittenDownAheadOfUse) {
    configure({configured("t1")});
    for (int i = 0; i < 40; ++i) {
        std::uint64_t first = 0;
        ASSERT_EQ(out()->take(kMillion, first), kMillion) << i;
        ASSERT_GE(store_->next(fingerprint_of(secret("t1-out"))), out()->end());
        ASSERT_LT(first + kMillion, out()->end());
        tick();
    }
    const std::uint64_t last = out()->next();
    restart();
    configure({configured("t1")});
    EXPECT_GE(take_one(*out()), last);
}

TEST_F(SaDatabaseTest, WhatIsNotWrittenDownIsNotGivenOut) {
    std::filesystem::create_directory(obstacle());
    configure({configured("t1")});
    EXPECT_EQ(out(), nullptr);
    EXPECT_THAT(trouble(), HasSubstr("esp-sequences"));
    tick();
    EXPECT_EQ(out(), nullptr);
    std::filesystem::remove(obstacle());
    EXPECT_TRUE(tick());
    ASSERT_NE(out(), nullptr);
    EXPECT_EQ(trouble(), "");
    EXPECT_EQ(take_one(*out()), 1U);
}

TEST_F(SaDatabaseTest, AStoreThatFailsLaterLeavesWhatWasWritten) {
    configure({configured("t1")});
    std::filesystem::create_directory(obstacle());
    std::uint64_t first = 0;
    std::uint64_t taken = 0;
    while (const std::uint32_t count = out()->take(kMillion, first)) {
        taken += count;
        tick();
    }
    EXPECT_EQ(taken, kBlockExtended);
    EXPECT_THAT(status(0x1001).trouble, HasSubstr("esp-sequences"));
    EXPECT_THAT(trouble(), HasSubstr("esp-sequences"));
    std::filesystem::remove(obstacle());
    tick();
    EXPECT_EQ(take_one(*out()), kBlockExtended + 1);
    EXPECT_EQ(trouble(), "");
}

TEST_F(SaDatabaseTest, AClosedStoreIsTroubleForAll) {
    SequenceStore closed;
    SaDatabase database(closed);
    database.set_trouble("the state folder is of somebody else");
    EXPECT_TRUE(database.configure({configured("t1"), by_ike("t2")}));
    EXPECT_TRUE(database.follow({kernel_out(0x50, "t2"), kernel_in(0x51, "t2")}));
    for (const char* tunnel : {"t1", "t2"}) {
        ASSERT_NE(database.policy_of(tunnel), nullptr);
        EXPECT_EQ(database.policy_of(tunnel)->out, nullptr);
        EXPECT_THAT(database.policy_of(tunnel)->accepts, IsEmpty());
        EXPECT_EQ(database.encryption_of(tunnel).trouble, "the state folder is of somebody else");
    }
    ASSERT_TRUE(closed.open(folder_.file("other")));
    database.set_trouble("");
    EXPECT_TRUE(database.tick(kMillion, 1));
    EXPECT_NE(database.policy_of("t1")->out, nullptr);
    EXPECT_NE(database.policy_of("t2")->out, nullptr);
}

TEST_F(SaDatabaseTest, AFastSaGetsLargerBlocks) {
    configure({configured("t1")});
    std::uint64_t first = 0;
    for (int i = 0; i < 3; ++i) {
        const std::uint64_t ahead = out()->end() - out()->next();
        ASSERT_EQ(out()->take(static_cast<std::uint32_t>(ahead), first), ahead);
        tick();
    }
    EXPECT_EQ(out()->end() - out()->next(), kBlockExtended * 8);
    // A slow one does not.
    tick(kBlockLastsS);
    const std::uint64_t ahead = out()->end() - out()->next();
    EXPECT_NE(out()->take(static_cast<std::uint32_t>(ahead), first), 0U);
    tick();
    EXPECT_EQ(out()->end() - out()->next(), kBlockExtended * 8);
}

TEST_F(SaDatabaseTest, ShortNumbersEndAtTheirLast) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->esn = false;
    const std::uint64_t last = 0xffffffff;
    ASSERT_TRUE(store_->reserve({{fingerprint_of(tunnel.esp->key_out), last - 1, false}}));
    configure({tunnel});
    EXPECT_EQ(take_one(*out()), last - 1);
    EXPECT_EQ(take_one(*out()), last);
    EXPECT_EQ(take_one(*out()), 0U);
    EXPECT_TRUE(tick());
    EXPECT_EQ(out(), nullptr);
    EXPECT_THAT(trouble(), HasSubstr("its last sequence number is used: it needs a new key"));
    restart();
    configure({tunnel});
    EXPECT_EQ(out(), nullptr);
    EXPECT_THAT(trouble(), HasSubstr("its last sequence number is used"));
}

TEST_F(SaDatabaseTest, WhatWasReceivedBeforeARestartStaysReceived) {
    EspTunnel tunnel = configured("t1");
    configure({tunnel});
    const std::uint64_t highest = (std::uint64_t{5} << 32U) + 70;
    receive(*in(0x1000), highest);
    tick();
    restart();
    configure({tunnel});
    InboundSa* const after = in(0x1000);
    EXPECT_EQ(after->highest(), highest);
    std::array<InboundSa::Judged, 4> packets{};
    packets[0].low = 70;  // Received.
    packets[1].low = 69;  // Left of the window's fresh part.
    packets[2].low = 71;
    packets[3].low = 0xfffffff0;  // Of the high half before.
    after->judge(packets);
    EXPECT_EQ(packets[0].verdict, tunnels::ReplayVerdict::repeated);
    EXPECT_EQ(packets[1].verdict, tunnels::ReplayVerdict::repeated);
    EXPECT_EQ(packets[2].verdict, tunnels::ReplayVerdict::fresh);
    EXPECT_EQ(packets[2].sequence, highest + 1) << "the high half goes on";
    EXPECT_NE(packets[3].verdict, tunnels::ReplayVerdict::fresh);
}

TEST_F(SaDatabaseTest, AKeyThatThePeerSentByGoesOnBehindItsNumbers) {
    EspTunnel tunnel = configured("t1");
    configure({tunnel});
    receive(*in(0x1000), 5000);
    tick();
    std::swap(tunnel.esp->key_in, tunnel.esp->key_out);
    configure({tunnel});
    EXPECT_GT(take_one(*out()), 5000U);
}

TEST_F(SaDatabaseTest, AnOrderlyEndNotesTheLastPacket) {
    configure({configured("t1")});
    tick();
    receive(*in(0x1000), 5);
    database_->flush();
    restart();
    configure({configured("t1")});
    EXPECT_EQ(in(0x1000)->highest(), 5U);
}

}  // namespace
}  // namespace culvert::ctl
