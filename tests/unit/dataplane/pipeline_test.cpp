// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet path from burst to verdict: what is forwarded, held and dropped, and where it is
// counted.

#include "dataplane/offload.hpp"
#include "tests/unit/dataplane/packet_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::kPortNone;

FlowKey key_of(
    std::uint16_t port,
    const MacAddress& destination,
    const MacAddress& source,
    std::uint16_t vlan = 0
) {
    return {.in_port = port, .vlan = vlan, .destination = destination, .source = source};
}

TEST_F(PacketPath, ForwardsAKnownFlowUnchanged) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVif2));
    const Frame frame = make_frame(mac(2), mac(1));
    receive(kVif1, {frame, frame});
    EXPECT_EQ(devices[kVif2]->take_sent(), (std::vector<Frame>{frame, frame}));
    EXPECT_EQ(counters->ports[kVif1].rx_packets.read(), 2U);
    EXPECT_EQ(counters->ports[kVif1].rx_bytes.read(), 2 * frame.size());
    EXPECT_EQ(counters->ports[kVif2].tx_packets.read(), 2U);
    EXPECT_EQ(counters->ports[kVif2].tx_bytes.read(), 2 * frame.size());
    EXPECT_EQ(counters->loop.flow_hits.read(), 2U);
}

TEST_F(PacketPath, AsksOncePerFlowAndKeepsItsPacketsInOrder) {
    std::vector<Frame> frames;
    for (std::size_t i = 0; i < 5; ++i) {
        frames.push_back(make_frame(mac(2), mac(1), -1, 60 + i));
    }
    receive(kVif1, frames);
    EXPECT_TRUE(devices[kVif2]->take_sent().empty());
    EXPECT_EQ(upcalls->size(), 1U);
    EXPECT_EQ(answer_misses(forward(kVif2)), 1U);
    EXPECT_EQ(devices[kVif2]->take_sent(), frames);
    EXPECT_TRUE(context->pending.empty());
}

TEST_F(PacketPath, APacketDoesNotOvertakeHeldOnesOfItsFlow) {
    const Frame first = make_frame(mac(2), mac(1), -1, 60);
    const Frame second = make_frame(mac(2), mac(1), -1, 61);
    receive(kVif1, {first});
    // The slow path has made the flow, but its answer is still on the way.
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVif2));
    receive(kVif1, {second});
    EXPECT_TRUE(devices[kVif2]->take_sent().empty());
    EXPECT_EQ(answer_misses(forward(kVif2)), 1U);
    EXPECT_EQ(devices[kVif2]->take_sent(), (std::vector<Frame>{first, second}));
}

TEST_F(PacketPath, HoldsABoundedNumberOfPacketsPerFlow) {
    const Frame frame = make_frame(mac(2), mac(1));
    for (std::size_t i = 0; i < dataplane::kHeldPerFlowMax + 3; ++i) {
        receive(kVif1, {frame});
    }
    EXPECT_EQ(dropped(DropReason::upcall_held_full, kVif1), 3U);
    EXPECT_EQ(answer_misses(forward(kVif2)), 1U);
    EXPECT_EQ(devices[kVif2]->take_sent().size(), dataplane::kHeldPerFlowMax);
}

TEST_F(PacketPath, AStormOfNewFlowsDoesNotTouchEstablishedOnes) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVif2));
    for (unsigned i = 0; i < dataplane::kPendingFlowsMax + 50; ++i) {
        MacAddress source = mac(1);
        source.bytes[1] = 1;
        source.bytes[3] = static_cast<std::uint8_t>(i >> 8U);
        source.bytes[4] = static_cast<std::uint8_t>(i);
        receive(kVif1, {make_frame(mac(2), source)});
    }
    EXPECT_EQ(dropped(DropReason::upcall_held_full, kVif1), 50U);
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(devices[kVif2]->take_sent().size(), 1U);
    EXPECT_EQ(
        answer_misses({.verdict = FlowVerdict::drop, .reason = DropReason::hairpin}),
        dataplane::kPendingFlowsMax
    );
    EXPECT_EQ(dropped(DropReason::hairpin, kVif1), dataplane::kPendingFlowsMax);
}

TEST_F(PacketPath, AFlowOfAnOlderGenerationIsAMiss) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVif2));
    snapshot.ports[kVif1].generation = 2;
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_TRUE(devices[kVif2]->take_sent().empty());
    EXPECT_EQ(answer_misses(forward(kVif2)), 1U);
    EXPECT_EQ(devices[kVif2]->take_sent().size(), 1U);
}

TEST_F(PacketPath, FloodsToEveryOtherPortOnce) {
    const Frame frame = make_frame({{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, mac(1));
    insert_flow(key_of(kVif1, {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, mac(1)), flood());
    receive(kVif1, {frame});
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{frame});
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    const auto on_wire = devices[kUplink]->take_sent();
    ASSERT_EQ(on_wire.size(), 2U);  // One for each tunnel.
    for (const Frame& packet : on_wire) {
        ASSERT_GT(packet.size(), frame.size());
        EXPECT_TRUE(std::equal(
            frame.begin(), frame.end(), packet.end() - static_cast<std::ptrdiff_t>(frame.size())
        ));
    }
}

TEST_F(PacketPath, FloodWithNobodyElseIsADropWithAReason) {
    snapshot.bridges[1].members = {kVif1};
    insert_flow(key_of(kVif1, mac(9), mac(1)), flood());
    receive(kVif1, {make_frame(mac(9), mac(1))});
    EXPECT_EQ(dropped(DropReason::no_destination, kVif1), 1U);
}

TEST_F(PacketPath, SplitHorizonKeepsFloodsFromGoingTunnelToTunnel) {
    const Frame inner = make_frame(mac(9), mac(1));
    insert_flow(key_of(kVxlan, mac(9), mac(1)), flood());
    const Frame outer = encapsulate(inner, "vxlan", 100, remote_ip, 4789);
    receive(kUplink, {outer});
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U)
        << "a star's hub forwards from tunnel to tunnel";
    snapshot.bridges[1].split_horizon = true;
    receive(kUplink, {outer});
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
    EXPECT_EQ(devices[kVif1]->take_sent().size(), 2U);
}

TEST_F(PacketPath, EncapsulatesAndDecapsulatesToTheSameFrame) {
    for (const std::uint16_t tunnel : {kVxlan, kGre}) {
        const Frame frame = make_frame(mac(2), mac(1), -1, 900);
        insert_flow(key_of(kVif1, mac(2), mac(1)), forward(tunnel));
        receive(kVif1, {frame});
        auto on_wire = devices[kUplink]->take_sent();
        ASSERT_EQ(on_wire.size(), 1U);
        // Reflect it: swap the addresses, as if the remote host had sent it to us.
        Frame& outer = on_wire[0];
        std::swap_ranges(outer.begin(), outer.begin() + 6, outer.begin() + 6);
        std::swap_ranges(outer.begin() + 26, outer.begin() + 30, outer.begin() + 30);
        insert_flow(key_of(tunnel, mac(2), mac(1)), forward(kVif2));
        receive(kUplink, {outer});
        EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{frame});
        EXPECT_EQ(counters->ports[tunnel].tx_bytes.read(), frame.size());
        EXPECT_EQ(counters->ports[tunnel].rx_bytes.read(), frame.size());
        flows.clear();
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(PacketPath, UnknownPeerAndUnknownKeyAreToldApartAndAskNobody) {
    const Frame inner = make_frame(mac(2), mac(1));
    receive(kUplink, {encapsulate(inner, "vxlan", 101, remote_ip, 4789)});
    receive(kUplink, {encapsulate(inner, "vxlan", 100, *IpAddress::parse("172.20.0.3"), 4789)});
    EXPECT_EQ(dropped(DropReason::tunnel_unknown_key, kUplink), 1U);
    EXPECT_EQ(dropped(DropReason::tunnel_unknown_peer, kUplink), 1U);
    EXPECT_EQ(upcalls->size(), 0U);
}

TEST_F(PacketPath, TunnelPacketsForSomebodyElseAreBridged) {
    const Frame inner = make_frame(mac(2), mac(1));
    Frame for_other_mac = encapsulate(inner, "vxlan", 100, remote_ip, 4789);
    for_other_mac[5] = std::byte{0x77};
    Frame other_port = encapsulate(inner, "vxlan", 100, remote_ip, 4790);
    insert_flow(key_of(kUplink, mac(0x77), mac(0xaa)), forward(kUplink2));
    insert_flow(key_of(kUplink, mac(0xfe), mac(0xaa)), forward(kLocal));
    receive(kUplink, {for_other_mac, other_port});
    EXPECT_EQ(devices[kUplink2]->take_sent(), std::vector<Frame>{for_other_mac});
    EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{other_port});
}

TEST_F(PacketPath, AFrameTooLargeForTheUnderlayIsCountedOnTheTunnel) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVxlan));
    receive(
        kVif1, {make_frame(mac(2), mac(1), -1, 1600 - 20 - 8 - 8 - 14)}
    );  // 1600 on the underlay.
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U);
    receive(kVif1, {make_frame(mac(2), mac(1), -1, 1600 - 20 - 8 - 8 - 14 + 1)});
    EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, kVxlan), 1U);
}

TEST_F(PacketPath, AFrameTooLargeForThePortIsCountedOnIt) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVif2));
    receive(kVif1, {make_frame(mac(2), mac(1), -1, 1500), make_frame(mac(2), mac(1), -1, 1501)});
    EXPECT_EQ(devices[kVif2]->take_sent().size(), 1U);
    EXPECT_EQ(dropped(DropReason::port_mtu_exceeded, kVif2), 1U);
}

TEST_F(PacketPath, VlanTagIsAddedAndTakenOffAtTheEdges) {
    snapshot.ports[kVif1].vlan = access(10);
    insert_flow(key_of(kVif1, mac(2), mac(1), 10), forward(kVif2));
    insert_flow(key_of(kVif2, mac(1), mac(2), 10), forward(kVif1));
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{make_frame(mac(2), mac(1), 10)});
    receive(kVif2, {make_frame(mac(1), mac(2), 10)});
    EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{make_frame(mac(1), mac(2))});
}

TEST_F(PacketPath, VlanRulesOfTheIngressPortFilter) {
    snapshot.ports[kVif1].vlan = access(10);
    receive(kVif1, {make_frame(mac(2), mac(1), 10), make_frame(mac(2), mac(1), 11)});
    EXPECT_EQ(dropped(DropReason::vlan_filtered, kVif1), 2U);
    auto carried = std::make_shared<std::bitset<4096>>();
    carried->set(20);
    snapshot.ports[kVif2].vlan = {.carried = carried};
    receive(kVif2, {make_frame(mac(2), mac(1)), make_frame(mac(2), mac(1), 21)});
    EXPECT_EQ(dropped(DropReason::vlan_filtered, kVif2), 2U);
}

TEST_F(PacketPath, NativeVlanLeavesUntaggedOrTagged) {
    snapshot.ports[kVif1].vlan = access(10);
    snapshot.ports[kVif2].vlan = {.untagged_vlan = 10};
    insert_flow(key_of(kVif1, mac(2), mac(1), 10), forward(kVif2));
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{make_frame(mac(2), mac(1))});
    snapshot.ports[kVif2].vlan.send_untagged_vlan_tagged = true;
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{make_frame(mac(2), mac(1), 10)});
}

TEST_F(PacketPath, TaggedAndUntaggedFramesOfAFlowKeepTheirOrder) {
    snapshot.ports[kVif1].vlan = {.untagged_vlan = 10};
    snapshot.ports[kVif2].vlan = {.untagged_vlan = 10};
    insert_flow(key_of(kVif1, mac(2), mac(1), 10), forward(kVif2));
    std::vector<Frame> burst;
    std::vector<Frame> sent;
    for (std::size_t number = 0; number < 6; ++number) {
        burst.push_back(make_frame(mac(2), mac(1), number % 2 == 0 ? -1 : 10, 60 + number));
        sent.push_back(make_frame(mac(2), mac(1), -1, 60 + number));
    }
    receive(kVif1, burst);
    EXPECT_EQ(devices[kVif2]->take_sent(), sent);
}

TEST_F(PacketPath, FloodTagsEachReplicaForItsPort) {
    snapshot.ports[kVif1].vlan = access(10);
    snapshot.bridges[1].members = {kVif1, kVif2, kVxlan};
    insert_flow(key_of(kVif1, mac(9), mac(1), 10), flood());
    receive(kVif1, {make_frame(mac(9), mac(1))});
    const Frame tagged = make_frame(mac(9), mac(1), 10);
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{tagged});
    const auto on_wire = devices[kUplink]->take_sent();
    ASSERT_EQ(on_wire.size(), 1U);
    EXPECT_EQ(on_wire[0].size(), tagged.size() + 50);
}

TEST_F(PacketPath, FramesThatNoBridgeMayForwardAreDroppedWithTheirReason) {
    Frame group_source = make_frame(mac(2), mac(1));
    group_source[6] |= std::byte{1};
    const Frame lldp = make_frame({{0x01, 0x80, 0xc2, 0, 0, 0x0e}}, mac(1));
    receive(kVif1, {group_source, lldp, Frame(10), Frame(13)});
    EXPECT_EQ(dropped(DropReason::source_multicast, kVif1), 1U);
    EXPECT_EQ(dropped(DropReason::link_local_multicast, kVif1), 1U);
    EXPECT_EQ(dropped(DropReason::malformed_frame, kVif1), 2U);
    EXPECT_EQ(dropped_in_all(), 4U);
}

TEST_F(PacketPath, UnresolvedTunnelAsksTheSlowPathAndKeepsThePacket) {
    snapshot.tunnels[snapshot.ports[kVxlan].tunnel].resolved = false;
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVxlan));
    receive(kVif1, {make_frame(mac(2), mac(1))});
    dataplane::Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    EXPECT_EQ(upcall.kind, dataplane::Upcall::Kind::resolve);
    EXPECT_EQ(upcall.port, kVxlan);
    snapshot.tunnels[snapshot.ports[kVxlan].tunnel].resolved = true;
    dataplane::apply_decision(
        *context,
        {.kind = dataplane::Decision::Kind::encap, .port = kVxlan, .packet = upcall.packet}
    );
    dataplane::flush(*context);
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U);
}

TEST_F(PacketPath, TunnelWithoutRouteDropsWithItsReason) {
    auto& tunnel = snapshot.tunnels[snapshot.ports[kVxlan].tunnel];
    tunnel.resolved = false;
    tunnel.unresolved = DropReason::tunnel_no_route;
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVxlan));
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(dropped(DropReason::tunnel_no_route, kVxlan), 1U);
}

TEST_F(PacketPath, UnknownNextHopPortFloodsTheUnderlayButNotTheHost) {
    auto& tunnel = snapshot.tunnels[snapshot.ports[kVxlan].tunnel];
    tunnel.out_port = kPortNone;
    tunnel.out_bridge = 0;
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVxlan));
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U);
    EXPECT_EQ(devices[kUplink2]->take_sent().size(), 1U);
}

TEST_F(PacketPath, DecisionForAPortThatWentAwayDropsWhatWasHeld) {
    receive(kVif1, {make_frame(mac(2), mac(1))});
    dataplane::Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    snapshot.ports[kVif2] = {};
    dataplane::apply_decision(*context, {.slot = upcall.slot, .action = forward(kVif2)});
    EXPECT_EQ(dropped(DropReason::port_removed, kVif1), 1U);
}

TEST_F(PacketPath, DownPortAndRefusingDeviceAreCountedOnTheEgressPort) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVif2));
    devices[kVif2]->refuse = true;
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(dropped(DropReason::tx_failed, kVif2), 1U);
    snapshot.ports[kVif2].up = false;
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(dropped(DropReason::port_down, kVif2), 1U);
    EXPECT_EQ(counters->ports[kVif2].tx_packets.read(), 0U);
}

TEST_F(PacketPath, FullUpcallQueueIsCountedAndHoldsNothing) {
    while (upcalls->push({})) {
    }
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(dropped(DropReason::upcall_queue_full, kVif1), 1U);
    EXPECT_TRUE(context->pending.empty());
    for (dataplane::Upcall filler; upcalls->pop(filler);) {
    }
}

TEST_F(PacketPath, BadOuterChecksumIsDroppedOnTheUplink) {
    Frame outer = encapsulate(make_frame(mac(2), mac(1)), "vxlan", 100, remote_ip, 4789);
    outer[24] ^= std::byte{0xff};
    receive(kUplink, {outer});
    EXPECT_EQ(dropped(DropReason::outer_checksum, kUplink), 1U);
}

TEST_F(PacketPath, TruncatedTunnelPacketsOfEveryLengthAreDroppedOrBridgedNeverForwardedIn) {
    const Frame outer = encapsulate(make_frame(mac(2), mac(1)), "vxlan", 100, remote_ip, 4789);
    insert_flow(key_of(kUplink, mac(0xfe), mac(0xaa)), forward(kLocal));
    insert_flow(key_of(kVxlan, mac(2), mac(1)), forward(kVif1));
    for (std::size_t bytes = 1; bytes < outer.size(); ++bytes) {
        receive(
            kUplink, {Frame(outer.begin(), outer.begin() + static_cast<std::ptrdiff_t>(bytes))}
        );
    }
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped_in_all() + devices[kLocal]->take_sent().size(), outer.size() - 1);
}

/// Ethernet, IPv4 and TCP with `payload` bytes, checksum left to the device.
Frame make_tcp_frame(std::size_t payload) {
    Frame frame = make_frame(mac(2), mac(1), -1, 20 + 20 + payload);
    const auto put = [&](std::size_t at, std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes) {
            frame[at++] = static_cast<std::byte>(byte);
        }
    };
    const std::size_t total = 40 + payload;
    put(12,
        {0x08,
         0x00,
         0x45,
         0,
         static_cast<unsigned>(total >> 8U),
         static_cast<unsigned>(total & 0xffU)});
    put(18, {0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2});
    put(34, {0x30, 0x39, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0});
    return frame;
}

TEST_F(PacketPath, SuperFrameInsideAKernelTunnelStaysWholeUpToAPortThatCarriesIt) {
    devices[kVif1] = std::make_shared<FakePort>(true);
    snapshot.ports[kVif1].device = devices[kVif1];
    snapshot.ports[kVif1].carries_offloads = true;
    insert_flow(key_of(kVxlan, mac(2), mac(1)), forward(kVif1));
    const Frame inner = make_tcp_frame(1800);
    rte_mbuf* packet = make_packet(encapsulate(inner, "vxlan", 100, remote_ip, 4789));
    // As the kernel's vxlan device hands it over: the request is about the inner TCP segment.
    dataplane::Offload offload{
        .checksum_start = 50 + 34,
        .checksum_offset = 16,
        .gso_type = dataplane::GsoType::tcp4,
        .gso_bytes = 900};
    ASSERT_EQ(dataplane::validate_offload(packet, offload), DropReason::none);
    dataplane::packet::set_offload(packet, offload);
    dataplane::process_burst(*context, kUplink, std::array{packet});
    dataplane::flush(*context);
    EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner});
    EXPECT_EQ(devices[kVif1]->last_offload.checksum_start, 34);
    EXPECT_EQ(devices[kVif1]->last_offload.header_bytes, 54);
    EXPECT_EQ(devices[kVif1]->last_offload.gso_bytes, 900);
}

TEST_F(PacketPath, SuperFrameIsSegmentedForATunnel) {
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVxlan));
    rte_mbuf* packet = make_packet(make_tcp_frame(1800));
    dataplane::Offload offload{
        .checksum_start = 34,
        .checksum_offset = 16,
        .gso_type = dataplane::GsoType::tcp4,
        .gso_bytes = 900};
    ASSERT_EQ(dataplane::validate_offload(packet, offload), DropReason::none);
    dataplane::packet::set_offload(packet, offload);
    dataplane::process_burst(*context, kVif1, std::array{packet});
    dataplane::flush(*context);
    const auto on_wire = devices[kUplink]->take_sent();
    ASSERT_EQ(on_wire.size(), 2U);
    EXPECT_EQ(on_wire[0].size(), 50U + 54U + 900U);
    EXPECT_EQ(on_wire[1].size(), 50U + 54U + 900U);
}

TEST_F(PacketPath, SuperFrameOfTunnelPacketsIsDropped) {
    rte_mbuf* packet =
        make_packet(encapsulate(make_frame(mac(2), mac(1), -1, 1000), "vxlan", 100, remote_ip, 4789)
        );
    dataplane::packet::set_offload(
        packet,
        {.checksum_start = 34,
         .checksum_offset = 6,
         .gso_type = dataplane::GsoType::udp_l4,
         .gso_bytes = 500,
         .header_bytes = 42}
    );
    dataplane::process_burst(*context, kUplink, std::array{packet});
    EXPECT_EQ(dropped(DropReason::offload_malformed, kVxlan), 1U);
}

TEST_F(PacketPath, OuterUdpChecksumsAreVerifiedForManyContents) {
    insert_flow(key_of(kVxlan, mac(2), mac(1)), forward(kVif1));
    auto& tunnel = snapshot.tunnels[snapshot.ports[kVxlan].tunnel];
    tunnel.header.udp_checksum = true;
    insert_flow(key_of(kVif1, mac(2), mac(1)), forward(kVxlan));
    for (unsigned i = 0; i < 600; ++i) {
        // All-ones words make the 64-bit sums overflow.
        Frame frame = make_frame(mac(2), mac(1), -1, 100 + i);
        std::fill(frame.begin() + 14, frame.end(), std::byte{0xff});
        frame.back() = static_cast<std::byte>(i);
        receive(kVif1, {frame});
        auto on_wire = devices[kUplink]->take_sent();
        ASSERT_EQ(on_wire.size(), 1U);
        Frame& outer = on_wire[0];
        EXPECT_TRUE(outer[40] != std::byte{0} || outer[41] != std::byte{0}) << "no UDP checksum";
        std::swap_ranges(outer.begin(), outer.begin() + 6, outer.begin() + 6);
        std::swap_ranges(outer.begin() + 26, outer.begin() + 30, outer.begin() + 30);
        receive(kUplink, {outer});
        ASSERT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{frame});
        outer.back() ^= std::byte{1};
        receive(kUplink, {outer});
    }
    EXPECT_EQ(dropped(DropReason::udp_checksum, kUplink), 600U);
}

}  // namespace

}  // namespace culvert::testing
