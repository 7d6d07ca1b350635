// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sequence numbers and windows that workers share, and the table of inbound SAs.

#include <memory>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/sa_table.hpp"

#include "tests/unit/dataplane/addresses.hpp"

namespace culvert::dataplane {

namespace {

using tunnels::EspAlgorithm;
using tunnels::IpAddress;
using tunnels::ReplayVerdict;
using tunnels::Secret;

Secret key() {
    return Secret(std::vector<std::byte>(20, std::byte{7}));
}
SaParameters numbered(bool extended) {
    SaParameters parameters;
    parameters.extended = extended;
    return parameters;
}
std::shared_ptr<InboundSa>
inbound(std::uint32_t spi, std::string_view to, std::uint16_t udp_port = 0) {
    return std::make_shared<InboundSa>(
        SaParameters{
            .id = spi,
            .spi = spi,
            .source = ip("192.0.2.9"),
            .destination = ip(to),
            .udp_destination = udp_port},
        EspAlgorithm::aes_gcm_128,
        key(),
        64
    );
}

TEST(OutboundSa, GivesOutNumbersUpToWhatIsAllowed) {
    OutboundSa sa(numbered(true), EspAlgorithm::aes_gcm_128, key(), 100);
    std::uint64_t first = 0;
    EXPECT_EQ(sa.take(1, first), 0U);
    sa.allow_below(110);
    EXPECT_EQ(sa.take(4, first), 4U);
    EXPECT_EQ(first, 100U);
    EXPECT_EQ(sa.take(32, first), 6U);
    EXPECT_EQ(first, 104U);
    EXPECT_EQ(sa.take(32, first), 0U);
    EXPECT_EQ(sa.next(), 110U);
    EXPECT_EQ(sa.end(), 110U);
}

TEST(OutboundSa, ShortNumbersEndBeforeTheyRepeat) {
    constexpr std::uint64_t kEnd = std::uint64_t{1} << 32U;
    OutboundSa sa(numbered(false), EspAlgorithm::aes_gcm_128, key(), kEnd - 2);
    sa.allow_below(kEnd + 100);
    std::uint64_t first = 0;
    EXPECT_EQ(sa.take(32, first), 2U);
    EXPECT_EQ(sa.take(32, first), 0U);
    OutboundSa extended(numbered(true), EspAlgorithm::aes_gcm_128, key(), kEnd - 2);
    extended.allow_below(kEnd + 100);
    EXPECT_EQ(extended.take(32, first), 32U);
}

TEST(InboundSa, JudgesAndAcceptsARunAtOnce) {
    const auto sa = inbound(1000, "192.0.2.1");
    std::vector<InboundSa::Judged> run(4);
    run[0].low = 5;
    run[1].low = 6;
    run[2].low = 5;
    run[3].low = 0;
    sa->judge(run);
    // Neither is received yet.
    EXPECT_EQ(run[0].verdict, ReplayVerdict::fresh);
    EXPECT_EQ(run[2].verdict, ReplayVerdict::fresh);
    EXPECT_EQ(run[3].verdict, ReplayVerdict::zero);
    EXPECT_EQ(run[1].sequence, 6U);
    sa->accept(std::span(run).first(3));
    EXPECT_EQ(run[0].verdict, ReplayVerdict::fresh);
    EXPECT_EQ(run[1].verdict, ReplayVerdict::fresh);
    EXPECT_EQ(run[2].verdict, ReplayVerdict::repeated);
    EXPECT_EQ(sa->highest(), 6U);
}

TEST(SaTable, FindsBySpiAndDestination) {
    std::vector<std::shared_ptr<InboundSa>> all;
    for (std::uint32_t spi = 256; spi < 256 + 1000; ++spi) {
        all.push_back(inbound(spi, "192.0.2.1"));
        all.push_back(inbound(spi, "2001:db8::1"));
    }
    const SaTable table(all, {});
    for (const auto& sa : all) {
        EXPECT_EQ(table.find(sa->parameters().spi, sa->parameters().destination), sa.get());
    }
    EXPECT_EQ(table.find(255, ip("192.0.2.1")), nullptr);
    EXPECT_EQ(table.find(256, ip("192.0.2.2")), nullptr);
    EXPECT_EQ(table.find(0, ip("192.0.2.1")), nullptr);
    EXPECT_TRUE(table.knows(ip("192.0.2.9")));
    EXPECT_FALSE(table.knows(ip("192.0.2.1")));
    EXPECT_FALSE(table.empty());
}

TEST(SaTable, WithoutAnythingFindsNothing) {
    const SaTable table;
    EXPECT_TRUE(table.empty());
    EXPECT_EQ(table.find(256, ip("192.0.2.1")), nullptr);
    EXPECT_FALSE(table.knows(ip("192.0.2.9")));
    EXPECT_FALSE(table.may_arrive(256));
    EXPECT_FALSE(table.has_udp_port(4500));
    EXPECT_TRUE(SaTable({}, {}).empty());
}

TEST(SaTable, KnowsTheEndsOfTunnelsWithoutKeysAndTheHostsOwn) {
    const SaTable table(
        {},
        {.remotes = {ip("192.0.2.8"), ip("192.0.2.3")}, .host_spis = {900, 300}, .may_grow = true}
    );
    EXPECT_FALSE(table.empty());
    EXPECT_TRUE(table.knows(ip("192.0.2.3")));
    EXPECT_TRUE(table.knows(ip("192.0.2.8")));
    EXPECT_FALSE(table.knows(ip("192.0.2.9")));
    EXPECT_TRUE(table.is_of_host(300));
    EXPECT_FALSE(table.may_arrive(900));
    EXPECT_TRUE(table.may_arrive(301));
    const SaTable fixed({}, {.remotes = {ip("192.0.2.8")}});
    EXPECT_FALSE(fixed.may_arrive(301));
    EXPECT_FALSE(fixed.empty());
}

TEST(SaTable, KnowsThePortsOfEspInUdp) {
    const SaTable table({inbound(256, "192.0.2.1", 5000), inbound(257, "192.0.2.1")}, {});
    EXPECT_TRUE(table.has_udp_port(4500));
    EXPECT_TRUE(table.has_udp_port(5000));
    EXPECT_FALSE(table.has_udp_port(0));
    EXPECT_FALSE(table.has_udp_port(4789));
}

}  // namespace
}  // namespace culvert::dataplane
