// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a real kernel says of a veth pair and its counters. Needs root.
#include "ctl/link_facts.hpp"

#include <gtest/gtest.h>
#include <net/if.h>

#include "ctl/link_statistics.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::ctl {

namespace {

using test::run;

class LinkFactsTest : public ::testing::Test {
protected:
    LinkFactsTest() {
        run("ip link add near type veth peer name far");
        peer.take("far");
        run("ip addr add 10.0.0.1/24 dev near");
        run("ip link set near up");
        peer.run("ip addr add 10.0.0.2/24 dev far");
        peer.run("ip link set far up");
    }

    test::PrivateNetwork network;
    test::PeerNetwork peer;
};

TEST_F(LinkFactsTest, AVethTellsDriverSpeedAndDuplexMode) {
    const LinkFacts facts = query_link_facts("near");
    EXPECT_EQ(facts.driver, (DriverFacts{"veth", "1.0", ""}));
    EXPECT_EQ(facts.speed_mbps, 10000U);
    EXPECT_EQ(facts.full_duplex, true);
}

TEST_F(LinkFactsTest, TheLoopbackHasNoSpeed) {
    EXPECT_EQ(query_link_facts("lo"), LinkFacts{});
}

TEST_F(LinkFactsTest, OfNoInterfaceNothingIsKnown) {
    EXPECT_EQ(query_link_facts("nowhere"), LinkFacts{});
    EXPECT_EQ(query_link_facts("a name of more than fifteen bytes"), LinkFacts{});
}

TEST_F(LinkFactsTest, CountersAreThoseOfTheKernel) {
    const auto index = static_cast<int>(if_nametoindex("near"));
    const auto before = read_link_statistics();
    ASSERT_TRUE(before) << before.error();
    ASSERT_TRUE(before->contains(index));
    run("ping -q -c 3 -i 0.01 -s 972 10.0.0.2 > /dev/null");  // Frames of 1014 bytes.
    const auto after = read_link_statistics();
    ASSERT_TRUE(after) << after.error();
    const LinkStatistics& first = before->at(index);
    const LinkStatistics& last = after->at(index);
    EXPECT_GE(last.tx_packets - first.tx_packets, 3U);
    EXPECT_GE(last.tx_bytes - first.tx_bytes, 3U * 1014);
    EXPECT_GE(last.rx_packets - first.rx_packets, 3U);
    EXPECT_GE(last.rx_bytes - first.rx_bytes, 3U * 1014);
    EXPECT_EQ(last.rx_errors, 0U);
    EXPECT_EQ(last.collisions, 0U);
    EXPECT_TRUE(after->contains(static_cast<int>(if_nametoindex("lo"))));
}

}  // namespace

}  // namespace culvert::ctl
