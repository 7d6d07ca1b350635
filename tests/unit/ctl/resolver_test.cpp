// SPDX-License-Identifier: GPL-2.0-or-later
//
// Next hops of tunnels from what the kernel says of routes and neighbours.

#include "ctl/resolver.hpp"

#include <gtest/gtest.h>
#include <linux/neighbour.h>

#include "tests/unit/ctl/fake_underlay.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakeUnderlay;
using tunnels::IpAddress;
using tunnels::MacAddress;
using State = Resolution::State;

constexpr int kLocalIfindex = 12;

class Resolver : public ::testing::Test {
protected:
    Resolver() {
        tunnel_.name = "t1";
        tunnel_.remote_ip = *IpAddress::parse("192.0.2.9");
        route_.ifindex = kLocalIfindex;
        route_.source = *IpAddress::parse("198.51.100.1");
        route_.next_hop = gateway_;
        underlay_.answer = route_;
        locals_[kLocalIfindex] = {.bridge = 3, .mac = local_mac_, .mtu = 1600, .vlan = 20};
    }
    void set_neighbour(std::optional<MacAddress> mac, std::uint16_t state) {
        underlay_.known_neighbours[{kLocalIfindex, gateway_}] = {
            .ifindex = kLocalIfindex, .address = gateway_, .mac = mac, .state = state};
    }
    Resolution resolve_now() { return resolve(tunnel_, locals_, underlay_); }

    const IpAddress gateway_ = *IpAddress::parse("198.51.100.254");
    const MacAddress gateway_mac_{{0x02, 0, 0, 0, 0, 0xaa}};
    const MacAddress local_mac_{{0x02, 0, 0, 0, 0, 0xfe}};
    TunnelConfig tunnel_;
    Route route_;
    FakeUnderlay underlay_;
    std::map<int, LocalDevice> locals_;
};

TEST_F(Resolver, GivesTheNextHopOfTheRouteThroughTheLocalPort) {
    set_neighbour(gateway_mac_, NUD_REACHABLE);
    const Resolution result = resolve_now();
    EXPECT_EQ(result.state, State::resolved);
    EXPECT_EQ(result.trouble, "");
    EXPECT_EQ(result.ifindex, kLocalIfindex);
    EXPECT_EQ(result.source, route_.source);
    EXPECT_EQ(result.next_hop, gateway_);
    EXPECT_EQ(result.next_hop_mac, gateway_mac_);
    EXPECT_FALSE(result.stale);
    EXPECT_EQ(result.mtu, 1600U);
    EXPECT_EQ(result.device.bridge, 3);
    EXPECT_EQ(result.device.vlan, 20);
    EXPECT_EQ(result.device.mac, local_mac_);
    EXPECT_EQ(underlay_.asked_destination, tunnel_.remote_ip);
    EXPECT_EQ(underlay_.asked_source, std::nullopt);
}

TEST_F(Resolver, AConfiguredLocalAddressIsAskedForAndIsTheSource) {
    set_neighbour(gateway_mac_, NUD_REACHABLE);
    tunnel_.local_ip = *IpAddress::parse("198.51.100.77");
    EXPECT_EQ(resolve_now().source, *tunnel_.local_ip);
    EXPECT_EQ(underlay_.asked_source, tunnel_.local_ip);
}

TEST_F(Resolver, WithoutARouteSaysWhatTheKernelSaid) {
    underlay_.answer = tl::unexpected(std::string("Network is unreachable"));
    const Resolution result = resolve_now();
    EXPECT_EQ(result.state, State::no_route);
    EXPECT_EQ(result.trouble, "Network is unreachable");
    EXPECT_EQ(result.ifindex, 0);
}

TEST_F(Resolver, ARemoteThatIsAnAddressOfTheHostHasNoRoute) {
    route_.local = true;
    underlay_.answer = route_;
    set_neighbour(gateway_mac_, NUD_REACHABLE);
    const Resolution result = resolve_now();
    EXPECT_EQ(result.state, State::no_route);
    EXPECT_EQ(result.trouble, "192.0.2.9 is an address of this host");
}

TEST_F(Resolver, ARouteByAForeignInterfaceNamesIt) {
    route_.ifindex = 5;
    underlay_.answer = route_;
    EXPECT_EQ(resolve_now().state, State::no_route);
    EXPECT_EQ(
        resolve_now().trouble,
        "the route to 192.0.2.9 leaves by interface 5, which is not the local port of a bridge"
    );
    underlay_.known_links[5].name = "eth7";
    EXPECT_EQ(
        resolve_now().trouble,
        "the route to 192.0.2.9 leaves by eth7, which is not the local port of a bridge"
    );
}

TEST_F(Resolver, WaitsForANeighbourThatTheKernelDoesNotKnowOrCannotReach) {
    const Resolution unknown = resolve_now();
    EXPECT_EQ(unknown.state, State::no_neighbour);
    EXPECT_EQ(unknown.trouble, "waiting for the MAC address of 198.51.100.254");
    EXPECT_EQ(unknown.ifindex, kLocalIfindex);
    EXPECT_EQ(unknown.next_hop, gateway_);
    set_neighbour(std::nullopt, NUD_FAILED);
    EXPECT_EQ(resolve_now().state, State::no_neighbour);
}

TEST_F(Resolver, ANeighbourOnAnotherInterfaceIsNotTheNextHop) {
    underlay_.known_neighbours[{kLocalIfindex + 1, gateway_}] = {
        .ifindex = kLocalIfindex + 1,
        .address = gateway_,
        .mac = gateway_mac_,
        .state = NUD_REACHABLE};
    EXPECT_EQ(resolve_now().state, State::no_neighbour);
}

TEST_F(Resolver, OnlyAStaleNeighbourIsFlaggedAndIsUsedMeanwhile) {
    set_neighbour(gateway_mac_, NUD_STALE);
    EXPECT_TRUE(resolve_now().stale);
    EXPECT_EQ(resolve_now().state, State::resolved);
    for (const int state : {NUD_REACHABLE, NUD_PERMANENT, NUD_NOARP, NUD_DELAY, NUD_PROBE}) {
        set_neighbour(gateway_mac_, static_cast<std::uint16_t>(state));
        EXPECT_FALSE(resolve_now().stale) << state;
    }
}

TEST_F(Resolver, StalenessAloneIsNoChange) {
    set_neighbour(gateway_mac_, NUD_STALE);
    const Resolution stale = resolve_now();
    set_neighbour(gateway_mac_, NUD_REACHABLE);
    EXPECT_EQ(stale, resolve_now());
    set_neighbour(local_mac_, NUD_REACHABLE);
    EXPECT_FALSE(stale == resolve_now());
}

TEST_F(Resolver, TheSmallerMtuOfRouteAndDeviceCounts) {
    set_neighbour(gateway_mac_, NUD_REACHABLE);
    route_.mtu = 1400;
    underlay_.answer = route_;
    EXPECT_EQ(resolve_now().mtu, 1400U);
    route_.mtu = 9000;
    underlay_.answer = route_;
    EXPECT_EQ(resolve_now().mtu, 1600U);
}

TEST_F(Resolver, TheKernelIsToldTheTunnelsMark) {
    static_cast<void>(resolve_now());
    EXPECT_EQ(underlay_.asked_mark, 0U);
    tunnel_.egress_mark = 0xdeadbeef;
    static_cast<void>(resolve_now());
    EXPECT_EQ(underlay_.asked_mark, 0xdeadbeefU);
}

TEST_F(Resolver, ARemoteOfTheFlowHasNoRouteAndTheKernelIsNotAsked) {
    set_neighbour(gateway_mac_, NUD_REACHABLE);
    tunnel_.remote_ip = {};
    tunnel_.remote_flow = true;
    const Resolution result = resolve_now();
    EXPECT_EQ(result.state, State::no_route);
    EXPECT_EQ(result.trouble, "remote_ip = \"flow\": it receives only");
    EXPECT_EQ(underlay_.asked_destination, std::nullopt);
}

}  // namespace

}  // namespace culvert::ctl
