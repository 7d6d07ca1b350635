// SPDX-License-Identifier: GPL-2.0-or-later
//
// Patch ports: what leaves by one arrives at its peer, tagged, shared, unfinished or in a tunnel as
// it is, and loops end.

#include <cstring>
#include <utility>

#include "dataplane/train.hpp"
#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::kPatchHopsMax;

/// Bridge 0 and 1 of the fixture, joined by two pairs of patch ports (the second is away at first).
class Patches : public PacketPath {
protected:
    static constexpr std::uint16_t kUnderEnd = 7;
    static constexpr std::uint16_t kOverEnd = 8;
    static constexpr std::uint16_t kUnderEnd2 = 9;
    static constexpr std::uint16_t kOverEnd2 = 10;

    Patches() {
        snapshot.ports.resize(11);
        join(kUnderEnd, kOverEnd);
    }

    void join(std::uint16_t under, std::uint16_t over) {
        for (const auto& [port, peer, bridge] :
             {std::tuple{under, over, 0}, std::tuple{over, under, 1}}) {
            auto& view = snapshot.ports[port];
            view.bridge = static_cast<std::uint16_t>(bridge);
            view.generation = 1;
            view.up = true;
            view.patch = peer;
            view.carries_offloads = true;
            snapshot.bridges[view.bridge].members.push_back(port);
        }
    }

    void insert_forward(
        std::uint16_t in,
        unsigned destination,
        unsigned source,
        std::uint16_t out,
        std::uint16_t vlan = 0
    ) {
        insert_flow(
            {.in_port = in, .vlan = vlan, .destination = mac(destination), .source = mac(source)},
            forward(out)
        );
    }
    void insert_flood(std::uint16_t in, unsigned source, std::uint16_t vlan = 0) {
        insert_flow(
            {.in_port = in, .vlan = vlan, .destination = broadcast_, .source = mac(source)}, flood()
        );
    }
    void give(std::uint16_t port, rte_mbuf* packet) {
        dataplane::process_received(*context, port, std::span(&packet, 1));
        dataplane::flush(*context);
    }

    const MacAddress broadcast_{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
};

TEST_F(Patches, AFrameGoesOnIntoTheOtherBridgeAndIsCountedAtBothEnds) {
    insert_forward(kVif1, 2, 1, kOverEnd);
    insert_forward(kUnderEnd, 2, 1, kUplink2);
    const Frame frame = make_frame(mac(2), mac(1));
    receive(kVif1, {frame, frame, frame});
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{frame, frame, frame}));
    EXPECT_EQ(counters->ports[kOverEnd].tx_packets.read(), 3U);
    EXPECT_EQ(counters->ports[kOverEnd].tx_bytes.read(), 3 * frame.size());
    EXPECT_EQ(counters->ports[kUnderEnd].rx_packets.read(), 3U);
    EXPECT_EQ(counters->ports[kUnderEnd].rx_bytes.read(), 3 * frame.size());
    EXPECT_EQ(counters->ports[kUplink2].tx_packets.read(), 3U);
    EXPECT_EQ(counters->loop.packets.read(), 3U) << "packets are taken from devices once";
    EXPECT_TRUE(context->patched.empty());
}

TEST_F(Patches, ThePeerLearnsAndItsFramesWaitForTheSlowPath) {
    insert_forward(kVif1, 2, 1, kOverEnd);
    const Frame frame = make_frame(mac(2), mac(1));
    receive(kVif1, {frame});
    dataplane::Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    EXPECT_EQ(upcall.key.in_port, kUnderEnd);
    dataplane::Decision decision;
    decision.slot = upcall.slot;
    decision.action = forward(kUplink2);
    dataplane::apply_decision(*context, decision);
    dataplane::flush(*context);
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{frame}));
}

TEST_F(Patches, WhatWasHeldCrossesWhenItIsDecided) {
    const Frame frame = make_frame(mac(2), mac(1));
    insert_forward(kUnderEnd, 2, 1, kUplink2);
    receive(kVif1, {frame, frame});
    EXPECT_EQ(answer_misses(forward(kOverEnd)), 1U);
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{frame, frame}));
}

TEST_F(Patches, EachEndTagsByItsOwnVlanMode) {
    snapshot.ports[kVif1].vlan = access(10);
    snapshot.ports[kUnderEnd].vlan = access(20);
    snapshot.ports[kOverEnd].vlan = access(10);
    insert_forward(kVif1, 2, 1, kOverEnd, 10);
    insert_forward(kUnderEnd, 2, 1, kUplink2, 20);
    const Frame untagged = make_frame(mac(2), mac(1));
    receive(kVif1, {untagged});
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{make_frame(mac(2), mac(1), 20)}));
}

TEST_F(Patches, ATrunkCarriesTheTagOver) {
    snapshot.ports[kVif1].vlan = access(10);
    insert_forward(kVif1, 2, 1, kOverEnd, 10);
    insert_forward(kUnderEnd, 2, 1, kUplink2, 10);
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{make_frame(mac(2), mac(1), 10)}));
}

TEST_F(Patches, AFloodReachesPortsOfBothBridgesWithBytesOfItsOwnForEachTag) {
    snapshot.bridges[1].members = {kVif1, kVif2, kOverEnd};
    snapshot.ports[kUplink].vlan = access(5);
    snapshot.ports[kUnderEnd].vlan = access(5);
    snapshot.ports[kUplink2].vlan.send_untagged_vlan_tagged = true;
    insert_flood(kVif1, 1);
    insert_flood(kUnderEnd, 1, 5);
    const Frame frame = make_frame(broadcast_, mac(1));
    receive(kVif1, {frame});
    EXPECT_EQ(devices[kVif2]->take_sent(), (std::vector<Frame>{frame}));
    EXPECT_EQ(devices[kUplink]->take_sent(), (std::vector<Frame>{frame}));
    const Frame tagged = make_frame(broadcast_, mac(1), 5);
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{tagged}));
    EXPECT_EQ(devices[kLocal]->take_sent(), (std::vector<Frame>{tagged}));
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(Patches, ATunnelPacketThatWasFloodedIsMarkedInACopy) {
    // The tunnel packet reaches the local port's bridge over the patch, and another port shares it.
    snapshot.bridges[1].members = {kVif1, kVif2, kOverEnd};
    outer_tos = 3;  // Congestion experienced, which changes the inner packet.
    insert_flow(
        {.in_port = kVif1, .vlan = 0, .destination = mac(0xfe), .source = mac(0xaa)}, flood()
    );
    const Frame inner = ethernet(mac(2), mac(3), make_ip({.tos = 2}));
    const Frame outer = encapsulate(inner, "vxlan", 100, remote_ip, 4789);
    receive(kVif1, {outer});
    EXPECT_EQ(devices[kVif2]->take_sent(), (std::vector<Frame>{outer})) << "written over";
    EXPECT_EQ(counters->ports[kVxlan].rx_packets.read(), 1U);
    EXPECT_EQ(answer_misses({.verdict = FlowVerdict::drop, .reason = DropReason::hairpin}), 1U);
}

TEST_F(Patches, ATunnelBehindAPatchIsDecapsulatedAndEncapsulated) {
    // The NIC is kVif1 of bridge 1, the local port with the endpoint is in bridge 0.
    insert_forward(kVif1, 0xfe, 0xaa, kOverEnd);
    const Frame inner = make_frame(mac(2), mac(3));
    for (int round = 0; round < 2; ++round) {
        receive(kVif1, {encapsulate(inner, "vxlan", 100, remote_ip, 4789)});
    }
    EXPECT_EQ(counters->ports[kVxlan].rx_packets.read(), 2U);
    EXPECT_EQ(answer_misses(forward(kVif2)), 1U);
    EXPECT_EQ(devices[kVif2]->take_sent(), (std::vector<Frame>{inner, inner}));

    for (auto& tunnel : snapshot.tunnels) {
        tunnel.out_port = kUnderEnd;
    }
    insert_forward(kVif2, 3, 2, kVxlan);
    insert_forward(kOverEnd, 0xaa, 0xfe, kVif1);
    receive(kVif2, {make_frame(mac(3), mac(2)), make_frame(mac(3), mac(2))});
    const auto sent = devices[kVif1]->take_sent();
    ASSERT_EQ(sent.size(), 2U);
    EXPECT_EQ(sent[0].size(), make_frame(mac(3), mac(2)).size() + 50);
}

TEST_F(Patches, AnUnderlayThatFloodsReachesThePatchToo) {
    for (auto& tunnel : snapshot.tunnels) {
        tunnel.out_port = dataplane::kPortNone;
    }
    insert_forward(kVif2, 3, 2, kVxlan);
    insert_forward(kOverEnd, 0xaa, 0xfe, kVif1);
    receive(kVif2, {make_frame(mac(3), mac(2))});
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U);
    EXPECT_EQ(devices[kVif1]->take_sent().size(), 1U);
}

TEST_F(Patches, ASuperFrameCrossesWhole) {
    auto carrying = std::make_shared<FakePort>(true);
    snapshot.ports[kUplink2].device = carrying;
    snapshot.ports[kUplink2].carries_offloads = true;
    insert_forward(kVif1, 2, 1, kOverEnd);
    insert_forward(kUnderEnd, 2, 1, kUplink2);
    const Frame frame = make_frame(mac(2), mac(1), -1, 1400);
    rte_mbuf* packet = make_packet(frame);
    dataplane::packet::set_offload(
        packet,
        {.checksum_start = 34,
         .checksum_offset = 16,
         .gso_type = dataplane::GsoType::tcp4,
         .gso_bytes = 500,
         .header_bytes = 54}
    );
    give(kVif1, packet);
    EXPECT_EQ(carrying->take_sent(), (std::vector<Frame>{frame}));
    EXPECT_EQ(carrying->last_offload.gso_bytes, 500);
}

TEST_F(Patches, ALoopOfPatchesEnds) {
    // Two pairs between the same bridges: what one brings, the other takes back.
    join(kUnderEnd2, kOverEnd2);
    insert_forward(kVif1, 2, 1, kOverEnd);
    insert_forward(kUnderEnd, 2, 1, kUnderEnd2);
    insert_forward(kOverEnd2, 2, 1, kOverEnd);
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(
        dropped(DropReason::patch_loop, kOverEnd) + dropped(DropReason::patch_loop, kUnderEnd2), 1U
    );
    EXPECT_EQ(
        counters->ports[kUnderEnd].rx_packets.read() + counters->ports[kOverEnd2].rx_packets.read(),
        kPatchHopsMax
    );
}

TEST_F(Patches, ALoopThatMultipliesIsBoundedByTheQueue) {
    snapshot.ports.resize(60);
    for (std::uint16_t i = 20; i < 60; i = static_cast<std::uint16_t>(i + 2)) {
        join(i, static_cast<std::uint16_t>(i + 1));
        insert_flood(i, 1);
        insert_flood(static_cast<std::uint16_t>(i + 1), 1);
    }
    insert_flood(kVif1, 1);
    insert_flood(kUnderEnd, 1);
    insert_flood(kOverEnd, 1);
    for (auto& tunnel : snapshot.tunnels) {
        tunnel.resolved = false;
        tunnel.unresolved = DropReason::tunnel_no_route;
    }
    receive(kVif1, {make_frame(broadcast_, mac(1))});
    std::uint64_t full = 0;
    for (std::uint16_t port = 0; port < 60; ++port) {
        full += dropped(DropReason::patch_queue_full, port);
    }
    EXPECT_GT(full, 0U);
    std::uint64_t arrived = 0;
    for (std::uint16_t port = 7; port < 60; ++port) {
        arrived += counters->ports[port].rx_packets.read();
    }
    EXPECT_LE(arrived, dataplane::kPatchedPerBurstMax);
    EXPECT_TRUE(context->patched.empty());
}

TEST_F(Patches, AnEndWithoutAPeerIsDown) {
    snapshot.ports[kOverEnd].patch = dataplane::kPortNone;
    snapshot.ports[kOverEnd].up = false;
    insert_forward(kVif1, 2, 1, kOverEnd);
    receive(kVif1, {make_frame(mac(2), mac(1))});
    EXPECT_EQ(dropped(DropReason::port_down, kOverEnd), 1U);
    // And nothing is flooded to it.
    snapshot.bridges[1].members = {kVif1, kOverEnd};
    insert_flood(kVif1, 1);
    receive(kVif1, {make_frame(broadcast_, mac(1))});
    EXPECT_EQ(dropped(DropReason::no_destination, kVif1), 1U);
}

TEST_F(Patches, APacketOfTheControlThreadCrosses) {
    insert_forward(kUnderEnd, 2, 1, kUplink2);
    dataplane::Decision decision;
    decision.kind = dataplane::Decision::Kind::transmit;
    decision.port = kOverEnd;
    const Frame frame = make_frame(mac(2), mac(1));
    decision.packet = make_packet(frame);
    dataplane::apply_decision(*context, decision);
    dataplane::flush(*context);
    EXPECT_EQ(devices[kUplink2]->take_sent(), (std::vector<Frame>{frame}));
}

}  // namespace

}  // namespace culvert::testing
