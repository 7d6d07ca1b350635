// SPDX-License-Identifier: GPL-2.0-or-later
//
// The database of security associations with what a kernel has of an IKE daemon: which tunnel
// gets which, and rekeying.
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "tests/unit/ctl/sa_database_fixture.hpp"

namespace culvert::ctl {
namespace {

using namespace testing_sa;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using SaKernelTest = SaDatabaseTest;

// --- keys of an IKE daemon ---

TEST_F(SaKernelTest, AnIkeTunnelHasAPolicyBeforeItsKeys) {
    EXPECT_TRUE(configure({by_ike("t1")}));
    ASSERT_NE(database_->policy_of("t1"), nullptr);
    EXPECT_EQ(out(), nullptr);
    EXPECT_TRUE(database_->table().may_arrive(0x77));
    EXPECT_FALSE(database_->table().empty());
    EXPECT_THAT(trouble(), HasSubstr("no security association yet"));
}

TEST_F(SaKernelTest, TheReqidSaysWhoseAnSaIs) {
    configure({by_ike("t1"), by_ike("t2"), by_ike("t3")});
    EXPECT_TRUE(follow(
        {kernel_in(0x10, "t1"),
         kernel_out(0x11, "t1"),
         kernel_in(0x20, "t2"),
         kernel_out(0x21, "t2"),
         kernel_in(0x30, "t3"),
         kernel_out(0x31, "t3")}
    ));
    EXPECT_EQ(spi_out("t1"), 0x11U);
    EXPECT_EQ(spi_out("t2"), 0x21U);
    EXPECT_EQ(spi_out("t3"), 0x31U);
    for (const auto& [tunnel, spi] :
         std::map<std::string, std::uint32_t>{{"t1", 0x10}, {"t2", 0x20}, {"t3", 0x30}}) {
        EXPECT_THAT(database_->policy_of(tunnel)->accepts, ElementsAre(in(spi)->parameters().id));
    }
    EXPECT_TRUE(database_->encryption_of("t2").established);
}

TEST_F(SaKernelTest, SasThatWereThereBeforeTheTunnelAreTaken) {
    EXPECT_FALSE(follow({}));
    follow({kernel_in(0x10), kernel_out(0x11)});
    EXPECT_TRUE(configure({by_ike("t1")}));
    EXPECT_EQ(spi_out(), 0x11U);
    EXPECT_TRUE(accepts("t1", 0x10));
}

TEST_F(SaKernelTest, AnSaBetweenOtherAddressesIsNotTaken) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    association.destination = ip("10.0.0.9");
    follow({association});
    EXPECT_EQ(out(), nullptr);
    EXPECT_FALSE(database_->table().may_arrive(0x11)) << "it is the host's";
}

TEST_F(SaKernelTest, WithoutAReqidOfOursAddressesAndSelectorDecide) {
    EspTunnel gre = by_ike("gre");
    EspTunnel vxlan = by_ike("vxlan");
    vxlan.udp_port = 4789;
    gre.by_selector = vxlan.by_selector = true;
    EspTunnel second = vxlan;
    second.name = "vxlan2";
    second.reqid = reqid_of("vxlan2");
    configure({gre, vxlan, second});
    KernelSa for_gre = kernel_out(0x11, "");
    for_gre.selector.protocol = IPPROTO_GRE;
    KernelSa for_vxlan = kernel_out(0x21, "");
    for_vxlan.selector = {IPPROTO_UDP, 0, 4789};
    KernelSa from_vxlan = kernel_out(0x31, "");
    from_vxlan.selector = {IPPROTO_UDP, 4789, 0};
    follow({for_gre, for_vxlan, from_vxlan});
    EXPECT_EQ(spi_out("gre"), 0x11U);
    EXPECT_EQ(spi_out("vxlan"), 0x21U) << "one that takes any source port";
    EXPECT_EQ(out("vxlan2"), out("vxlan")) << "one SA serves several tunnels";
    KernelSa inbound = kernel_in(0x22, "");
    inbound.selector = {IPPROTO_UDP, 0, 4789};
    follow({inbound});
    EXPECT_TRUE(accepts("vxlan", 0x22));
    EXPECT_TRUE(accepts("vxlan2", 0x22));
    EXPECT_FALSE(accepts("gre", 0x22));
    EXPECT_EQ(status(0x22).tunnel, "vxlan, vxlan2");
}

TEST_F(SaKernelTest, ASelectorThatComesLaterCounts) {
    EspTunnel gre = by_ike("gre");
    gre.by_selector = true;
    configure({gre});
    KernelSa association = kernel_out(0x11, "");
    follow({association});
    EXPECT_EQ(spi_out("gre"), 0x11U);
    association.selector.protocol = IPPROTO_TCP;
    EXPECT_TRUE(follow({association}));
    EXPECT_EQ(out("gre"), nullptr);
}

TEST_F(SaKernelTest, SasOfTheHostAreNotTakenWithoutBeingAskedTo) {
    configure({by_ike("t1")});
    follow({kernel_out(0x11, ""), kernel_in(0x12, "")});
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(in(0x12), nullptr);
    EXPECT_FALSE(database_->table().may_arrive(0x12));
    EXPECT_THAT(database_->list(), IsEmpty());
}

TEST_F(SaKernelTest, NamesWithOneReqidGetNothing) {
    EspTunnel second = by_ike("t2");
    second.reqid = reqid_of("t1");
    configure({by_ike("t1"), second});
    follow({kernel_in(0x10, "t1"), kernel_out(0x11, "t1")});
    for (const char* tunnel : {"t1", "t2"}) {
        EXPECT_EQ(out(tunnel), nullptr);
        EXPECT_THAT(database_->policy_of(tunnel)->accepts, IsEmpty());
        EXPECT_THAT(trouble(tunnel), HasSubstr("reqid"));
    }
    configure({by_ike("t1")});
    EXPECT_EQ(spi_out("t1"), 0x11U);
}

TEST(ReqidOf, IsOfTheNameAlone) {
    EXPECT_EQ(reqid_of("t1"), reqid_of("t1"));
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 1000; ++i) {
        const std::uint32_t reqid = reqid_of("tunnel" + std::to_string(i));
        EXPECT_GE(reqid, 0x40000000U);
        EXPECT_LE(reqid, 0x7fffffffU);
        seen.insert(reqid);
    }
    EXPECT_THAT(seen, SizeIs(1000));
}

TEST_F(SaKernelTest, AnUnknownAlgorithmIsNamed) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    association.algorithm.reset();
    association.algorithm_name = "rfc4309(ccm(aes))";
    follow({association});
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(trouble(), "the algorithm rfc4309(ccm(aes)) is not known here");
    EXPECT_EQ(status(0x11).algorithm_name, "rfc4309(ccm(aes))");
    association.algorithm = EspAlgorithm::aes_gmac_128;
    association.spi = 0x12;
    association.key = secret("gmac", 20);
    follow({association});
    EXPECT_EQ(status(0x12).trouble, "the algorithm aes-gmac-128 does not encrypt");
}

TEST_F(SaKernelTest, WindowsOfTheKernelAreWidened) {
    configure({by_ike("t1")});
    std::uint32_t spi = 0x10;
    for (const auto& [kernels, ours] : std::map<std::uint32_t, std::uint32_t>{
             {0, 1024}, {32, 1024}, {1025, 1088}, {2048, 2048}, {8192, 4096}}) {
        KernelSa association = kernel_in(++spi);
        association.replay_window = kernels;
        follow({association});
        EXPECT_EQ(status(spi).replay_window, ours) << kernels;
    }
}

TEST_F(SaKernelTest, AnSaThatWasUsedElsewhereBeginsBehindThat) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    association.next_sequence = 500;
    follow({association});
    EXPECT_EQ(take_one(*out()), 501U);
    restart();
    configure({by_ike("t1")});
    follow({association});
    EXPECT_GT(take_one(*out()), kBlockExtended) << "or behind what the store says";
}

// --- rekeying ---

TEST_F(SaKernelTest, TheOldOutboundSaIsUsedUntilItIsDeleted) {
    configure({by_ike("t1")});
    follow({kernel_in(0x10), kernel_out(0x11)});
    follow({kernel_in(0x20), kernel_out(0x21)});
    tick();
    EXPECT_EQ(spi_out(), 0x11U) << "the peer may not have the new one yet";
    EXPECT_TRUE(accepts("t1", 0x10));
    EXPECT_TRUE(accepts("t1", 0x20));
    EXPECT_TRUE(follow({removed(kernel_out(0x11))}));
    EXPECT_EQ(spi_out(), 0x21U);
    EXPECT_TRUE(accepts("t1", 0x10)) << "what is on its way still comes in";
    EXPECT_TRUE(follow({removed(kernel_in(0x10))}));
    EXPECT_FALSE(accepts("t1", 0x10));
    EXPECT_TRUE(accepts("t1", 0x20));
    EXPECT_TRUE(database_->encryption_of("t1").established);
}

TEST_F(SaKernelTest, ThePeersFirstPacketByTheNewSaSwitches) {
    configure({by_ike("t1")});
    follow({kernel_in(0x10), kernel_out(0x11)});
    receive(*in(0x10), 1);
    follow({kernel_in(0x20), kernel_out(0x21)});
    tick();
    EXPECT_EQ(spi_out(), 0x11U);
    receive(*in(0x20), 1);
    EXPECT_TRUE(tick());
    EXPECT_EQ(spi_out(), 0x21U);
}

TEST_F(SaKernelTest, AnOldSaThatNobodyDeletesIsLeftAfterAWhile) {
    configure({by_ike("t1")});
    follow({kernel_in(0x10), kernel_out(0x11)});
    tick(100);
    follow({kernel_in(0x20), kernel_out(0x21)});
    tick(9);
    EXPECT_EQ(spi_out(), 0x11U);
    EXPECT_TRUE(tick(1));
    EXPECT_EQ(spi_out(), 0x21U);
    tick(100);
    EXPECT_EQ(spi_out(), 0x21U);
}

TEST_F(SaKernelTest, OfSeveralFoundAtTheStartTheNewestIsUsed) {
    configure({by_ike("t1")});
    KernelSa older = kernel_out(0x11);
    KernelSa newer = kernel_out(0x21);
    newer.added_s = older.added_s + 1;
    follow({newer, older});
    EXPECT_EQ(spi_out(), 0x21U);
}

TEST_F(SaKernelTest, ARedundantNewSaThatIsDeletedChangesNothing) {
    configure({by_ike("t1")});
    follow({kernel_in(0x10), kernel_out(0x11)});
    follow({kernel_in(0x20), kernel_out(0x21), kernel_in(0x30), kernel_out(0x31)});
    follow({removed(kernel_out(0x11))});
    EXPECT_EQ(spi_out(), 0x31U);
    follow({removed(kernel_out(0x31))});
    EXPECT_EQ(spi_out(), 0x21U);
}

TEST_F(SaKernelTest, TheSameSaOnceMoreIsTheSame) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    follow({kernel_in(0x10), association});
    const auto before = out();
    take_one(*before);
    association.next_sequence = 1;
    EXPECT_FALSE(follow({kernel_in(0x10), association}));
    EXPECT_EQ(out(), before);
    EXPECT_EQ(take_one(*out()), 2U);
}

TEST_F(SaKernelTest, AnotherKeyUnderOneSpiIsAnotherSa) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    follow({association});
    const auto before = out();
    association.key = secret("another");
    EXPECT_TRUE(follow({association}));
    EXPECT_NE(out(), before);
    EXPECT_EQ(take_one(*out()), 1U);
}

TEST_F(SaKernelTest, NoNumberIsUsedTwiceWhenAKeyComesBack) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    follow({association});
    std::uint64_t last = take_one(*out());
    association.udp_source = 4500;
    association.udp_destination = 1024;
    follow({association});
    EXPECT_GT(take_one(*out()), last) << "changed at once";
    last = out()->end() - 1;
    follow({removed(association)});
    association.udp_destination = 1025;
    follow({association});
    EXPECT_GT(take_one(*out()), last) << "removed and added";
    tick(60);
    EXPECT_GT(store_->next(fingerprint_of(association.key)), last) << "it is used";
}

TEST_F(SaKernelTest, WhenAllAreGoneNothingIsSent) {
    configure({by_ike("t1")});
    follow({kernel_in(0x10), kernel_out(0x11)});
    follow({removed(kernel_in(0x10)), removed(kernel_out(0x11))});
    ASSERT_NE(database_->policy_of("t1"), nullptr);
    EXPECT_EQ(out(), nullptr);
    EXPECT_THAT(database_->policy_of("t1")->accepts, IsEmpty());
    EXPECT_EQ(in(0x10), nullptr);
}

TEST_F(SaKernelTest, KeysThatTheKernelRemovedAreForgotten) {
    configure({by_ike("t1")});
    const KernelSa first = kernel_out(0x11);
    const KernelSa second = kernel_out(0x21);
    follow({first, second});
    EXPECT_GT(store_->next(fingerprint_of(first.key)), 1U);
    follow({removed(first)});
    EXPECT_GT(store_->next(fingerprint_of(first.key)), 1U) << "it may come back";
    tick(60);
    EXPECT_EQ(store_->next(fingerprint_of(first.key)), 1U);
    restart();  // And the second one goes in the meantime.
    configure({by_ike("t1"), configured("t2")});
    database_->forget_removed();
    EXPECT_EQ(store_->next(fingerprint_of(second.key)), 1U);
    EXPECT_GT(store_->next(fingerprint_of(secret("t2-out"))), 1U);
}

TEST_F(SaKernelTest, APeerThatIsNoCulvertHasOnePairForAllItsTunnels) {
    EspTunnel first = by_ike("t1");
    EspTunnel second = by_ike("t2");
    EspTunnel other = by_ike("t3");
    first.foreign_reqid = second.foreign_reqid = 0x20000010;
    other.foreign_reqid = 0x20000020;
    configure({first, second, other});
    KernelSa outward = kernel_out(0x11);
    KernelSa inward = kernel_in(0x12);
    outward.reqid = inward.reqid = 0x20000010;
    KernelSa second_out = kernel_out(0x21);
    KernelSa second_in = kernel_in(0x22);
    second_out.reqid = second_in.reqid = 0x20000011;
    follow({second_out, second_in});
    EXPECT_EQ(out("t1"), nullptr) << "the second pair is received by only";
    EXPECT_TRUE(accepts("t1", 0x22));
    follow({outward, inward});
    for (const char* tunnel : {"t1", "t2"}) {
        EXPECT_EQ(spi_out(tunnel), 0x11U);
        EXPECT_TRUE(accepts(tunnel, 0x12));
    }
    EXPECT_EQ(out("t3"), nullptr);
    EXPECT_FALSE(accepts("t3", 0x12));
}

TEST_F(SaKernelTest, WhatTheIkeDaemonDoesNotListTwiceIsStale) {
    configure({by_ike("t1"), configured("t2", 0x2000)});
    follow({kernel_in(0x10), kernel_out(0x11), kernel_out(0x99, "")});
    EXPECT_THAT(database_->unlisted({0x10}), IsEmpty()) << "it may have come since";
    EXPECT_THAT(database_->unlisted({0x10, 0x11}), IsEmpty());
    EXPECT_THAT(database_->unlisted({0x10}), IsEmpty());
    EXPECT_THAT(database_->unlisted({0x10}), ElementsAre(removed(kernel_out(0x11))));
}

}  // namespace
}  // namespace culvert::ctl
