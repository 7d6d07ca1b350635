// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bridges with L3 tunnels: from a host's frame for its gateway into a tunnel, and from a tunnel to
// the host. The gateway of bridge 1 has the MAC address 02:..:ee and the addresses 10.0.0.254 and
// fd10::fe.

#include "dataplane/route.hpp"

#include "dataplane/decap.hpp"
#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::Decision;
using dataplane::EidMap;
using dataplane::kPortNone;

const MacAddress kGatewayMac = mac(0xee);
const MacAddress kTunnelMac{{0x02, 0, 0, 0, 0, 0}};

class RouteTest : public TunnelPath {
protected:
    RouteTest() {
        tunnel_port = add({.type = "lisp"});
        TunnelSpec gre{.type = "gre"};
        gre.header.payload = Payload::ip;
        gre.remote = ip("172.20.0.3");
        second_port = add(gre);
        set_eids(
            {{ip("10.9.0.0"), 16, {{.port = tunnel_port}}},
             {ip("fd10:9::"), 32, {{.port = tunnel_port}}},
             {ip("10.8.0.0"), 16, {{.port = second_port}}}}
        );
        insert_flow(
            {.in_port = kVif1, .destination = kGatewayMac, .source = mac(1)},
            {.verdict = FlowVerdict::route, .reason = DropReason::none, .out_port = kGateway}
        );
        insert_flow(
            {.in_port = tunnel_port, .destination = mac(1), .source = kGatewayMac}, forward(kVif1)
        );
        for (const std::uint16_t port : {tunnel_port, second_port}) {
            insert_flow(
                {.in_port = port, .destination = kGatewayMac, .source = kTunnelMac},
                {.verdict = FlowVerdict::route, .reason = DropReason::none, .out_port = kGateway}
            );
        }
        l3->hosts.insert(ip("10.0.0.1"), mac(1));
        l3->hosts.insert(ip("fd10::1"), mac(1));
    }
    void set_eids(std::vector<EidMap::Entry> entries) { l3->eids = EidMap(std::move(entries)); }

    /// To a host behind the tunnel.
    static IpSpec there(std::string_view destination = "10.9.1.2") {
        IpSpec spec;
        spec.destination = ip(destination);
        spec.source = spec.destination.is_v4() ? ip("10.0.0.1") : ip("fd10::1");
        return spec;
    }
    static Frame to_gateway(const IpSpec& spec) {
        return ethernet(kGatewayMac, mac(1), make_ip(spec));
    }
    /// From a host behind the tunnel.
    static IpSpec here(std::string_view destination = "10.0.0.1") {
        IpSpec spec;
        spec.destination = ip(destination);
        spec.source = spec.destination.is_v4() ? ip("10.9.1.2") : ip("fd10:9::2");
        return spec;
    }
    static IpSpec aged(IpSpec spec) {
        --spec.ttl;
        return spec;
    }

    std::uint16_t tunnel_port = 0;
    std::uint16_t second_port = 0;
};

TEST_F(RouteTest, AnEidGoesIntoItsTunnelAsABarePacketOneHopOlder) {
    for (const IpSpec& spec : {there(), there("fd10:9::2")}) {
        const auto sent = send(to_gateway(spec));
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(unwrapped(tunnel_port, sent[0]), make_ip(aged(spec)));
    }
    const auto sent = send(to_gateway(there("10.8.0.1")));
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(IpAddress::from_v4(&sent[0][14 + 16]), ip("172.20.0.3"));
    EXPECT_EQ(unwrapped(second_port, sent[0]), make_ip(aged(there("10.8.0.1"))));
    EXPECT_EQ(counters->ports[second_port].tx_bytes.read(), 100U);
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(RouteTest, TheChecksumOfAnAgedPacketIsRightForEveryTtlAndIdentification) {
    for (unsigned ttl = 2; ttl <= 255; ++ttl) {
        for (const unsigned identification : {0U, 0x1234U, 0xfeffU, 0xffffU}) {
            Frame frame = to_gateway([&] {
                IpSpec spec = there();
                spec.ttl = static_cast<std::uint8_t>(ttl);
                return spec;
            }());
            set_word(frame, 14 + 4, identification);
            fix_ipv4_checksum(frame, 14);
            rte_mbuf* packet = make_packet(frame);
            ASSERT_EQ(dataplane::age(*context, packet, 14), DropReason::none);
            const auto head = dataplane::packet::head(packet).subspan(14, 20);
            EXPECT_EQ(naive_sum(head), 0xffffU);
            EXPECT_EQ(octet(head, 8), ttl - 1);
            rte_pktmbuf_free(packet);
        }
    }
}

TEST_F(RouteTest, AgeingCopiesWhatIsShared) {
    const Frame frame = to_gateway(there());
    rte_mbuf* packet = make_packet(frame);
    rte_mbuf* replica = dataplane::packet::share(packet, share_pool());
    ASSERT_EQ(dataplane::age(*context, replica, 14), DropReason::none);
    const auto head = dataplane::packet::head(packet);
    EXPECT_EQ(Frame(head.begin(), head.end()), frame);
    rte_pktmbuf_free(replica);
    rte_pktmbuf_free(packet);
}

TEST_F(RouteTest, TheLastHopIsToldByTheGateway) {
    for (const auto& [spec, gateway_address] :
         {std::pair{there(), ip("10.0.0.254")}, std::pair{there("fd10:9::2"), ip("fd10::fe")}}) {
        IpSpec last = spec;
        last.ttl = 1;
        const Frame frame = to_gateway(last);
        EXPECT_TRUE(send(frame).empty());
        const auto told = devices[kVif1]->take_sent();
        ASSERT_EQ(told.size(), 1U);
        EXPECT_EQ(slice(told[0], 0, 6), slice(frame, 6, 6));
        EXPECT_EQ(slice(told[0], 6, 6), slice(frame, 0, 6));
        const bool is_v4 = spec.destination.is_v4();
        const Frame addresses = slice(told[0], 14 + (is_v4 ? 12 : 8));
        EXPECT_EQ(
            is_v4 ? IpAddress::from_v4(addresses.data()) : IpAddress::from_v6(addresses.data()),
            gateway_address
        );
        EXPECT_EQ(
            is_v4 ? IpAddress::from_v4(&addresses[4]) : IpAddress::from_v6(&addresses[16]),
            spec.source
        );
        const std::size_t icmp = 14 + (is_v4 ? 20 : 40);
        EXPECT_EQ(octet(told[0], icmp), is_v4 ? 11U : 3U);
        EXPECT_EQ(octet(told[0], icmp + 1), 0U);
        EXPECT_EQ(slice(told[0], icmp + 8, 28), slice(frame, 14, 28));
    }
    EXPECT_EQ(dropped(DropReason::ttl_exceeded, kVif1), 2U);
}

TEST_F(RouteTest, WhatIsTooBigIsToldByTheGateway) {
    tunnel(tunnel_port).underlay_mtu = 1400;
    IpSpec spec = there();
    spec.bytes = 1400 - 36;
    EXPECT_EQ(send(to_gateway(spec)).size(), 1U) << "the Ethernet header does not count";
    spec.bytes += 1;
    EXPECT_TRUE(send(to_gateway(spec)).empty());
    const auto told = devices[kVif1]->take_sent();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(IpAddress::from_v4(&told[0][14 + 12]), ip("10.0.0.254"));
    EXPECT_EQ(octet(told[0], 34), 3U);
    EXPECT_EQ(word_at(told[0], 40), 1364U);
    EXPECT_EQ(dropped(DropReason::too_big_reported, tunnel_port), 1U);
}

TEST_F(RouteTest, WhatIsTooBigAndMayBeCutIsCut) {
    tunnel(tunnel_port).underlay_mtu = 1400;
    IpSpec spec = there();
    spec.bytes = 1460;
    spec.df = false;
    const auto sent = send(to_gateway(spec));
    ASSERT_EQ(sent.size(), 2U);
    std::vector<Frame> inner;
    for (const Frame& frame : sent) {
        EXPECT_LE(frame.size() - 14, 1400U);
        inner.push_back(unwrapped(tunnel_port, frame));
    }
    EXPECT_EQ(joined(inner, 0), slice(make_ip(spec), 20));
}

TEST_F(RouteTest, WhatIsForTheHostGoesToItsLocalPort) {
    // The gateway is its own even where a prefix covers it.
    set_eids({{ip("10.0.0.0"), 8, {{.port = tunnel_port}}}});
    std::vector<Frame> frames{
        to_gateway(there("10.0.0.254")),
        to_gateway(there("fd10::fe")),
        to_gateway(there("192.0.2.1")),
        make_frame(kGatewayMac, mac(1))};
    receive(kVif1, frames);
    EXPECT_EQ(gateway->take_sent(), frames);
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(RouteTest, WhatARouterMustNotForwardIsTheHosts) {
    set_eids({{ip("0.0.0.0"), 0, {{.port = tunnel_port}}}, {ip("::"), 0, {{.port = tunnel_port}}}});
    std::vector<Frame> frames;
    const auto damaged = [&](std::size_t at, unsigned value, bool fix) {
        Frame frame = to_gateway(there());
        frame[14 + at] = static_cast<std::byte>(value);
        if (fix) {
            fix_ipv4_checksum(frame, 14);
        }
        frames.push_back(frame);
    };
    damaged(11, 0xff, false);  // Checksum.
    damaged(3, 120, true);     // More bytes than there are.
    damaged(0, 0x65, false);   // Version 6 under the EtherType of IPv4.
    damaged(12, 127, true);    // From 127.0.0.1.
    frames.push_back(to_gateway(there("169.254.1.1")));
    frames.push_back(to_gateway(there("224.0.0.5")));
    frames.push_back(to_gateway(there("fe80::1")));
    frames.push_back(to_gateway(there("ff02::1")));
    receive(kVif1, frames);
    EXPECT_EQ(gateway->take_sent(), frames);
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
}

TEST_F(RouteTest, ASecondTagIsNotLookedThrough) {
    Frame frame = to_gateway(there());
    const std::array<std::byte, 4> service{
        std::byte{0x88}, std::byte{0xa8}, std::byte{0}, std::byte{7}};
    frame.insert(frame.begin() + 12, service.begin(), service.end());
    receive(kVif1, {frame});
    EXPECT_EQ(gateway->take_sent(), std::vector<Frame>{frame});
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
}

TEST_F(RouteTest, PaddingStaysBehind) {
    IpSpec spec = there();
    spec.bytes = 28;
    Frame frame = to_gateway(spec);
    frame.resize(60, std::byte{0xdd});
    const auto sent = send(frame);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(unwrapped(tunnel_port, sent[0]), make_ip(aged(spec)));
}

TEST_F(RouteTest, ASubnetOfTheGatewayIsNotBehindATunnelWhosePrefixIsWider) {
    set_eids({{ip("10.0.0.0"), 8, {{.port = tunnel_port}}}});
    l3->on_link = EidMap({{ip("10.0.0.0"), 24, {}}});
    receive(kUplink, {wrap(tunnel_port, make_ip(here("10.0.0.77")))});
    dataplane::Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall)) << "a host that is not known yet";
    EXPECT_EQ(upcall.kind, dataplane::Upcall::Kind::host);
    rte_pktmbuf_free(upcall.packet);
    EXPECT_EQ(send(to_gateway(there("10.7.0.1"))).size(), 1U);
    const Frame near = to_gateway(there("10.0.0.77"));
    receive(kVif1, {near});
    EXPECT_EQ(gateway->take_sent(), std::vector<Frame>{near});
    l3->eids = EidMap({{ip("10.0.0.64"), 26, {{.port = tunnel_port}}}});
    EXPECT_EQ(send(near).size(), 1U) << "a longer prefix is a host that moved";
}

TEST_F(RouteTest, WithoutAUsableRlocThePacketIsCounted) {
    tunnel(tunnel_port).resolved = false;
    tunnel(tunnel_port).unresolved = DropReason::tunnel_no_route;
    EXPECT_TRUE(send(to_gateway(there())).empty());
    EXPECT_EQ(dropped(DropReason::l3_no_mapping, kVif1), 1U);
    set_eids({{ip("10.9.0.0"), 16, {}}});
    EXPECT_TRUE(send(to_gateway(there())).empty());
    EXPECT_EQ(dropped(DropReason::l3_no_mapping, kVif1), 2U);
    // Another RLOC takes over.
    set_eids(
        {{ip("10.9.0.0"),
          16,
          {{.port = tunnel_port, .priority = 1}, {.port = second_port, .priority = 2}}}}
    );
    const auto sent = send(to_gateway(there()));
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(IpAddress::from_v4(&sent[0][14 + 16]), ip("172.20.0.3"));
}

TEST_F(RouteTest, APacketFromATunnelGoesToItsHost) {
    for (const IpSpec& spec : {here(), here("fd10::1")}) {
        receive(kUplink, {wrap(tunnel_port, make_ip(spec))});
        EXPECT_EQ(
            devices[kVif1]->take_sent(),
            std::vector<Frame>{ethernet(mac(1), kGatewayMac, make_ip(aged(spec)))}
        );
    }
    EXPECT_EQ(counters->ports[tunnel_port].rx_packets.read(), 2U);
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(RouteTest, APacketFromATunnelDoesNotLiveForEver) {
    IpSpec spec = here();
    spec.ttl = 1;
    receive(kUplink, {wrap(tunnel_port, make_ip(spec))});
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::ttl_exceeded, tunnel_port), 1U);
}

TEST_F(RouteTest, APacketForTheGatewayGoesToItsLocalPortAsItIs) {
    for (const IpSpec& spec : {here("10.0.0.254"), here("fd10::fe")}) {
        receive(kUplink, {wrap(tunnel_port, make_ip(spec))});
        EXPECT_EQ(
            gateway->take_sent(),
            std::vector<Frame>{ethernet(kGatewayMac, kTunnelMac, make_ip(spec))}
        );
    }
}

TEST_F(RouteTest, APacketForAnEidBehindAnotherTunnelGoesOnThere) {
    receive(kUplink, {wrap(tunnel_port, make_ip(here("10.8.0.1")))});
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(unwrapped(second_port, sent[0]), make_ip(aged(here("10.8.0.1"))));
}

TEST_F(RouteTest, TheSlowPathIsAskedForAnUnknownHost) {
    const IpSpec spec = here("10.0.0.77");
    receive(kUplink, {wrap(tunnel_port, make_ip(spec))});
    Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    EXPECT_EQ(upcall.kind, Upcall::Kind::host);
    EXPECT_EQ(upcall.port, tunnel_port);
    EXPECT_EQ(upcall.address, ip("10.0.0.77"));
    ASSERT_NE(upcall.packet, nullptr);
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());

    l3->hosts.insert(ip("10.0.0.77"), mac(1));
    Decision decision;
    decision.kind = Decision::Kind::deliver;
    decision.port = tunnel_port;
    decision.packet = upcall.packet;
    dataplane::apply_decision(*context, decision);
    dataplane::flush(*context);
    EXPECT_EQ(
        devices[kVif1]->take_sent(),
        std::vector<Frame>{ethernet(mac(1), kGatewayMac, make_ip(aged(spec)))}
    );
    EXPECT_EQ(counters->ports[tunnel_port].rx_packets.read(), 1U) << "it is counted once";
}

TEST_F(RouteTest, ADecisionForATunnelThatIsGoneEndsThePacket) {
    Decision decision;
    decision.kind = Decision::Kind::deliver;
    for (const std::uint16_t port : {std::uint16_t{kVif1}, std::uint16_t{kVxlan}, kPortNone}) {
        decision.port = port;
        decision.packet = make_packet(make_ip(here()));
        dataplane::apply_decision(*context, decision);
    }
    EXPECT_EQ(dropped(DropReason::port_removed, kVif1), 1U);
    EXPECT_EQ(dropped(DropReason::port_removed, kVxlan), 1U);
}

TEST_F(RouteTest, AnUnknownHostWithAFullQueueIsCounted) {
    Upcall filler;
    filler.kind = Upcall::Kind::path_mtu;
    while (upcalls->push(filler)) {
    }
    receive(kUplink, {wrap(tunnel_port, make_ip(here("10.0.0.77")))});
    EXPECT_EQ(dropped(DropReason::upcall_queue_full, tunnel_port), 1U);
}

TEST_F(RouteTest, LengthsThatContradictThePacketAreMalformed) {
    const Frame v4 = make_ip(here());
    const Frame v6 = make_ip(here("fd10::1"));
    std::vector<Frame> bad(6, v4);
    set_word(bad[0], 2, 101);     // Longer than the packet.
    set_word(bad[1], 2, 19);      // Shorter than its header.
    bad[2][0] = std::byte{0x44};  // A header of 16 bytes.
    bad[3] = slice(v4, 0, 19);    // Cut off.
    bad[4] = v6;
    set_word(bad[4], 4, 61);
    bad[5] = slice(v6, 0, 39);
    Frame neither = v4;
    neither[0] = std::byte{0x55};
    bad.push_back(neither);
    for (const Frame& packet : bad) {
        receive(kUplink, {wrap(tunnel_port, packet)});
    }
    EXPECT_EQ(dropped(DropReason::inner_malformed, tunnel_port), bad.size());
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_TRUE(gateway->take_sent().empty());
}

TEST_F(RouteTest, BytesBehindThePacketAreCutOff) {
    Frame padded = make_ip(here());
    padded.resize(padded.size() + 11);
    receive(kUplink, {wrap(tunnel_port, padded)});
    EXPECT_EQ(
        devices[kVif1]->take_sent(),
        std::vector<Frame>{ethernet(mac(1), kGatewayMac, make_ip(aged(here())))}
    );
}

TEST_F(RouteTest, MulticastAndBridgesWithoutGatewayHaveNoHost) {
    receive(kUplink, {wrap(tunnel_port, make_ip(here("224.0.0.5")))});
    receive(kUplink, {wrap(tunnel_port, make_ip(here("ff02::5")))});
    snapshot.bridges[1].l3 = nullptr;
    receive(kUplink, {wrap(tunnel_port, make_ip(here()))});
    EXPECT_EQ(dropped(DropReason::l3_no_host, tunnel_port), 3U);
}

TEST_F(RouteTest, FloodsDoNotEnterTunnelsOfBarePackets) {
    snapshot.bridges[1].members = {kVif1, kVif2, tunnel_port, second_port};
    const Frame frame = ethernet(mac(9), mac(1), make_ip({}));
    insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, flood());
    EXPECT_TRUE(send(frame).empty());
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{frame});
    snapshot.bridges[1].members = {kVif1, tunnel_port};
    EXPECT_TRUE(send(frame).empty());
    EXPECT_EQ(dropped(DropReason::no_destination, kVif1), 1U);
}

TEST_F(RouteTest, AnAddressFixedToSuchATunnelTakesIpOnly) {
    lead_to(tunnel_port);
    const auto sent = send(outgoing());
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(unwrapped(tunnel_port, sent[0]), make_ip({}));
    EXPECT_TRUE(send(make_frame(mac(9), mac(1))).empty());
    EXPECT_EQ(dropped(DropReason::l3_not_ip, tunnel_port), 1U);
}

TEST_F(RouteTest, TheKindOfPacketIsInTheTunnelHeader) {
    for (const std::string_view type : {"gre", "vxlan-gpe"}) {
        TunnelSpec spec{.type = type, .key = 900};
        spec.header.payload = Payload::ip;
        const std::uint16_t port = add(spec);
        lead_to(port);
        const bool is_gre = type == "gre";
        // The protocol type of GRE, the reserved octet and next protocol of VXLAN-GPE.
        const std::size_t at = tunnel(port).header.tunnel_offset + 2U;
        auto sent = send(outgoing());
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(word_at(sent[0], at), is_gre ? 0x0800U : 1U);
        sent = send(outgoing(v6_spec()));
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(word_at(sent[0], at), is_gre ? 0x86ddU : 2U);
    }
}

}  // namespace

}  // namespace culvert::testing
