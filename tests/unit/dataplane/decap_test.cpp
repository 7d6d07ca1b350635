// SPDX-License-Identifier: GPL-2.0-or-later
//
// Decapsulation through process_burst: which tunnel a packet is of, what each tunnel admits, and
// ECN. Fragments and ICMP errors of the underlay are in outer_fragment_test.cpp.

#include <ostream>

#include "tests/unit/dataplane/tunnel_path_fixture.hpp"
#include "tunnels/ecn.hpp"

namespace culvert::testing {

namespace {

using tunnels::EcnAnomaly;

class DecapTest : public TunnelPath {
protected:
    /// Receives a tunnel packet; what kVif1 got of it.
    std::vector<Frame> arrive(const Frame& frame) {
        receive(kUplink, {frame});
        return devices[kVif1]->take_sent();
    }
};

TEST_F(DecapTest, EveryProtocolReachesItsPort) {
    for (const auto& descriptor : tunnels::kProtocols) {
        for (const bool v6 : {false, true}) {
            for (const bool l3_payload : {false, true}) {
                if (!(l3_payload ? descriptor.features.ip : descriptor.features.ethernet)) {
                    continue;
                }
                const std::string what = std::string(descriptor.name) + (v6 ? " over IPv6" : "") +
                                         (l3_payload ? " with IP" : "");
                TunnelSpec spec{.type = descriptor.name, .v6 = v6, .key = 321};
                spec.header.payload = l3_payload ? Payload::ip : Payload::ethernet;
                const std::uint16_t port = add(spec);
                l3->hosts.insert(ip("10.0.0.1"), mac(1));
                const Frame packet = make_ip({});
                const Frame inner = l3_payload ? packet : ethernet(mac(1), mac(9), packet);
                insert_flow(
                    {.in_port = port,
                     .destination = mac(1),
                     .source = l3_payload ? mac(0xee) : mac(9)},
                    forward(kVif1)
                );
                const auto sent = arrive(wrap(port, inner));
                ASSERT_EQ(sent.size(), 1U) << what;
                EXPECT_EQ(sent[0].size(), packet.size() + 14) << what;
                EXPECT_EQ(slice(sent[0], 14 + 20), slice(packet, 20)) << what;
                EXPECT_EQ(counters->ports[port].rx_packets.read(), 1U) << what;
                EXPECT_EQ(counters->ports[port].rx_bytes.read(), packet.size() + 14) << what;
            }
        }
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(DecapTest, KindOfPayloadTellsTunnelsOfTheSameHostsAndKeyApart) {
    const std::uint16_t bridged = add({.type = "gre", .key = 55});
    TunnelSpec spec{.type = "gre", .key = 55};
    spec.header.payload = Payload::ip;
    const std::uint16_t routed = add(spec);
    l3->hosts.insert(ip("10.0.0.1"), mac(1));
    admit_from(bridged);
    insert_flow({.in_port = routed, .destination = mac(1), .source = mac(0xee)}, forward(kVif2));
    EXPECT_EQ(arrive(wrap(bridged, inner_frame())).size(), 1U);
    EXPECT_TRUE(devices[kVif2]->take_sent().empty());
    EXPECT_TRUE(arrive(wrap(routed, make_ip({}))).empty());
    EXPECT_EQ(devices[kVif2]->take_sent().size(), 1U);
}

TEST_F(DecapTest, AKindOfPayloadThatNoTunnelHasIsAnUnknownKey) {
    const std::uint16_t bridged = add({.type = "gre", .key = 55});
    TunnelSpec other = specs[bridged];
    other.header.payload = Payload::ip;
    EXPECT_TRUE(arrive(wrap(other, make_ip({}), {})).empty());
    EXPECT_EQ(dropped(DropReason::tunnel_unknown_key, kUplink), 1U);
}

TEST_F(DecapTest, ZeroUdpChecksumOverIpv6IsUpToTheTunnel) {
    TunnelSpec spec{.v6 = true};
    spec.outer.udp6_zero_checksum = true;  // Of what wrap() makes.
    const std::uint16_t port = add(spec);
    admit_from(port);
    const Frame frame = wrap(port, inner_frame());
    ASSERT_EQ(word_at(frame, 14 + 40 + 6), 0U);
    EXPECT_TRUE(arrive(frame).empty());
    EXPECT_EQ(dropped(DropReason::udp6_zero_checksum, port), 1U);
    tunnel(port).receive.udp6_zero_checksum = true;
    EXPECT_EQ(arrive(frame).size(), 1U);
}

TEST_F(DecapTest, AWrongChecksumIsDroppedWhateverTheTunnelSends) {
    TunnelSpec udp{.v6 = true};
    const std::uint16_t vxlan = add(udp);
    TunnelSpec with_sum{.type = "gre"};
    with_sum.header.checksum = true;
    const std::uint16_t gre = add(with_sum);
    admit_from(vxlan);
    admit_from(gre);
    for (const std::uint16_t port : {vxlan, gre}) {
        Frame frame = wrap(port, inner_frame());
        EXPECT_EQ(arrive(frame).size(), 1U);
        frame.back() ^= std::byte{1};
        EXPECT_TRUE(arrive(frame).empty());
    }
    EXPECT_EQ(dropped(DropReason::udp_checksum, kUplink), 1U);
    EXPECT_EQ(dropped(DropReason::gre_checksum, kUplink), 1U);
}

TEST_F(DecapTest, AGroupPolicyNeedsATunnelThatCarriesIt) {
    TunnelSpec spec;
    spec.header.group_policy = std::uint16_t{77};
    const std::uint16_t port = add(spec);
    admit_from(port);
    const Frame frame = wrap(port, inner_frame());
    EXPECT_TRUE(arrive(frame).empty());
    EXPECT_EQ(dropped(DropReason::vxlan_flags, port), 1U);
    tunnel(port).receive.admits_group_policy = true;
    EXPECT_EQ(arrive(frame).size(), 1U);
    tunnel(port).receive.only_group = std::uint16_t{78};
    EXPECT_TRUE(arrive(frame).empty());
    EXPECT_EQ(dropped(DropReason::vxlan_group_policy, port), 1U);
    tunnel(port).receive.only_group = std::uint16_t{77};
    EXPECT_EQ(arrive(frame).size(), 1U);
}

TEST_F(DecapTest, AFrameWithoutGroupPolicyCountsAsGroupZero) {
    const std::uint16_t port = add({});
    admit_from(port);
    tunnel(port).receive.admits_group_policy = true;
    tunnel(port).receive.only_group = std::uint16_t{1};
    EXPECT_TRUE(arrive(wrap(port, inner_frame())).empty());
    EXPECT_EQ(dropped(DropReason::vxlan_group_policy, port), 1U);
    tunnel(port).receive.only_group = std::uint16_t{0};
    EXPECT_EQ(arrive(wrap(port, inner_frame())).size(), 1U);
}

TEST_F(DecapTest, AGroupPolicyGoesFromTunnelToTunnelAndNoFurther) {
    TunnelSpec spec;
    spec.header.group_policy = std::uint16_t{77};
    spec.receive.admits_group_policy = true;
    const std::uint16_t in = add(spec);
    spec.key = 501;
    spec.header.group_policy = std::uint16_t{5};  // For frames that come with none.
    spec.header.carry_group_policy = true;
    const std::uint16_t out = add(spec);
    insert_flow({.in_port = in, .destination = mac(1), .source = mac(9)}, forward(out));
    receive(kUplink, {wrap(in, inner_frame())});
    auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(word_at(sent[0], 14 + 20 + 8 + 2), 77U);
    lead_to(out);
    sent = send(outgoing());
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(word_at(sent[0], 14 + 20 + 8 + 2), 5U);
}

TEST_F(DecapTest, AFloodedFrameKeepsItsGroupPolicyInEachTunnel) {
    TunnelSpec spec;
    spec.header.group_policy = std::uint16_t{77};
    spec.receive.admits_group_policy = true;
    const std::uint16_t in = add(spec);
    spec.header.group_policy = std::uint16_t{5};
    spec.header.carry_group_policy = true;
    for (const std::uint32_t key : {501U, 502U}) {
        spec.key = key;
        snapshot.ports[add(spec)].vlan.untagged_vlan = key == 501 ? 0 : 20;
    }
    snapshot.bridges[1].members = {in, 9, 10, kVif1};
    insert_flow({.in_port = in, .destination = mac(1), .source = mac(9)}, flood());
    receive(kUplink, {wrap(in, inner_frame())});
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 2U);
    for (const Frame& frame : sent) {
        EXPECT_EQ(word_at(frame, 14 + 20 + 8 + 2), 77U);
    }
}

TEST_F(DecapTest, ACriticalGeneveOptionHasToBeKnown) {
    const Frame options = tests::from_hex("0102 81 01 00000007 0103 02 00");
    TunnelSpec spec{.type = "geneve"};
    spec.header.options = options;
    const std::uint16_t port = add(spec);
    admit_from(port);
    const Frame frame = wrap(port, inner_frame());
    EXPECT_TRUE(arrive(frame).empty());
    EXPECT_EQ(dropped(DropReason::geneve_critical_option, port), 1U);
    tunnel(port).receive.known_options = {{0x0102, 0x82}, {0x0103, 0x81}};
    EXPECT_TRUE(arrive(frame).empty());
    tunnel(port).receive.known_options = {{0x0102, 0x81}};
    EXPECT_EQ(arrive(frame), std::vector<Frame>{inner_frame()});
}

TEST_F(DecapTest, OptionsThatAreNotCriticalNeedNotBeKnown) {
    const Frame options = tests::from_hex("0102 01 01 00000007");
    TunnelSpec spec{.type = "geneve"};
    spec.header.options = options;
    const std::uint16_t port = add(spec);
    admit_from(port);
    EXPECT_EQ(arrive(wrap(port, inner_frame())), std::vector<Frame>{inner_frame()});
}

TEST_F(DecapTest, LateSequenceNumbersAreDroppedWhereTheTunnelSaysSo) {
    TunnelSpec spec{.type = "gre"};
    spec.header.sequence = true;
    spec.receive.drop_late = true;
    const std::uint16_t port = add(spec);
    admit_from(port);
    const auto take = [&](std::uint32_t sequence) {
        return arrive(wrap(port, inner_frame(), {.sequence = sequence})).size();
    };
    EXPECT_EQ(take(0xfffffff0), 1U) << "any number is a start";
    EXPECT_EQ(take(0xfffffff0), 0U) << "repeated";
    EXPECT_EQ(take(0xffffffef), 0U) << "late";
    EXPECT_EQ(take(0xffffffff), 1U) << "a gap";
    EXPECT_EQ(take(0), 1U) << "wrapped round";
    EXPECT_EQ(take(0xffffffff), 0U) << "late, before the wrap";
    EXPECT_EQ(take(0x7fffffff), 1U) << "the furthest that is ahead";
    EXPECT_EQ(dropped(DropReason::gre_sequence, port), 3U);
    tunnel(port).receive.drop_late = false;
    EXPECT_EQ(take(3), 1U);
}

TEST_F(DecapTest, WithoutASequenceNumberNothingIsLate) {
    TunnelSpec spec{.type = "gre"};
    spec.receive.drop_late = true;
    const std::uint16_t port = add(spec);
    admit_from(port);
    EXPECT_EQ(arrive(wrap(port, inner_frame())).size(), 1U);
    EXPECT_EQ(arrive(wrap(port, inner_frame())).size(), 1U);
}

TEST_F(DecapTest, APacketForAnotherHostIsNoTunnelPacket) {
    const std::uint16_t port = add({});
    admit_from(port);
    snapshot.local_addresses.erase(local_ip);
    insert_flow(
        {.in_port = kUplink, .destination = mac(0xfe), .source = mac(0xaa)}, forward(kLocal)
    );
    const Frame frame = wrap(port, inner_frame());
    EXPECT_TRUE(arrive(frame).empty());
    EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{frame});
}

TEST_F(DecapTest, PaddingBehindTheOuterPacketIsNotPartOfTheFrame) {
    const std::uint16_t port = add({.type = "gre"});
    admit_from(port);
    const Frame inner = inner_frame();
    Frame frame = wrap(port, inner);
    frame.resize(frame.size() + 9);
    EXPECT_EQ(arrive(frame), std::vector<Frame>{inner});
}

TEST_F(DecapTest, ATunnelPacketInSegmentsIsReadWhole) {
    TunnelSpec spec{.v6 = true};
    const std::uint16_t port = add(spec);
    admit_from(port);
    const Frame frame = wrap(port, inner_frame(), {.tos = tunnels::kEcnCe});
    // The cut is within the inner IP header.
    const std::size_t cut = tunnel(port).header.length + 20U;
    receive_packet(kUplink, make_chain(frame, cut));
    EXPECT_EQ(dropped(DropReason::ecn_illegal, port), 1U) << "the inner header was seen";
}

/// A cell of RFC 6040 figure 4, which is written out here once more.
struct Cell {
    std::uint8_t inner;
    std::uint8_t outer;
    int result;  ///< -1: dropped.
    EcnAnomaly anomaly = EcnAnomaly::none;
};

constexpr std::uint8_t kNot = 0;
constexpr std::uint8_t kOne = 1;
constexpr std::uint8_t kZero = 2;
constexpr std::uint8_t kMarked = 3;

void PrintTo(const Cell& cell, std::ostream* out) {
    *out << "inner " << int{cell.inner} << " outer " << int{cell.outer};
}

class DecapEcn : public TunnelPath, public ::testing::WithParamInterface<Cell> {
protected:
    void check(std::uint16_t port, const IpSpec& spec, int vlan, std::size_t ip_offset) {
        const Cell& cell = GetParam();
        IpSpec marked = spec;
        marked.tos = static_cast<std::uint8_t>(0xb8U | cell.inner);
        const Frame inner = inner_frame(marked, vlan);
        receive(kUplink, {wrap(port, inner, {.tos = cell.outer})});
        const auto sent = devices[kVif1]->take_sent();
        if (cell.result < 0) {
            EXPECT_TRUE(sent.empty());
            EXPECT_EQ(dropped(DropReason::ecn_illegal, port), 1U);
        } else {
            marked.tos = static_cast<std::uint8_t>(0xb8 | cell.result);
            // make_ip() computes the header checksum anew.
            EXPECT_EQ(sent, std::vector<Frame>{inner_frame(marked, vlan)});
            ASSERT_EQ(sent.size(), 1U);
            if (spec.destination.is_v4()) {
                EXPECT_EQ(naive_sum(std::span(sent[0]).subspan(ip_offset, 20)), 0xffffU);
            }
        }
        for (std::size_t i = 0; i < tunnels::kEcnAnomalyCount; ++i) {
            const bool counted =
                cell.anomaly != EcnAnomaly::none && i == static_cast<std::size_t>(cell.anomaly);
            EXPECT_EQ(counters->ecn[i][port].read(), counted ? 1U : 0U)
                << tunnels::kEcnAnomalyNames[i];
        }
    }
};

TEST_P(DecapEcn, OfAnIpv4PacketInVxlan) {
    const std::uint16_t port = add({});
    admit_from(port);
    check(port, {}, -1, 14);
}

TEST_P(DecapEcn, OfATaggedIpv4PacketOverIpv6) {
    const std::uint16_t port = add({.type = "geneve", .v6 = true});
    insert_flow(
        {.in_port = port, .vlan = 20, .destination = mac(1), .source = mac(9)}, forward(kVif1)
    );
    check(port, {}, 20, 18);
}

TEST_P(DecapEcn, OfAnIpv6PacketInGre) {
    const std::uint16_t port = add({.type = "gre"});
    admit_from(port);
    check(port, v6_spec(), -1, 14);
}

TEST_P(DecapEcn, OfARoutedPacket) {
    const std::uint16_t port = add({.type = "lisp"});
    l3->hosts.insert(ip("10.0.0.1"), mac(1));
    insert_flow({.in_port = port, .destination = mac(1), .source = mac(0xee)}, forward(kVif1));
    const Cell& cell = GetParam();
    IpSpec spec;
    spec.tos = cell.inner;
    receive(kUplink, {wrap(port, make_ip(spec), {.tos = cell.outer})});
    const auto sent = devices[kVif1]->take_sent();
    ASSERT_EQ(sent.size(), cell.result < 0 ? 0U : 1U);
    if (cell.result >= 0) {
        spec.tos = static_cast<std::uint8_t>(cell.result);
        spec.ttl = 63;
        EXPECT_EQ(slice(sent[0], 14), make_ip(spec));
    }
}

INSTANTIATE_TEST_SUITE_P(
    Figure4,
    DecapEcn,
    ::testing::Values(
        Cell{kNot, kNot, kNot},
        Cell{kNot, kZero, kNot, EcnAnomaly::not_ect_in_ect0},
        Cell{kNot, kOne, kNot, EcnAnomaly::not_ect_in_ect1},
        Cell{kNot, kMarked, -1, EcnAnomaly::not_ect_in_ce},
        Cell{kZero, kNot, kZero},
        Cell{kZero, kZero, kZero},
        Cell{kZero, kOne, kOne},
        Cell{kZero, kMarked, kMarked},
        Cell{kOne, kNot, kOne},
        Cell{kOne, kZero, kOne, EcnAnomaly::ect1_in_ect0},
        Cell{kOne, kOne, kOne},
        Cell{kOne, kMarked, kMarked},
        Cell{kMarked, kNot, kMarked},
        Cell{kMarked, kZero, kMarked},
        Cell{kMarked, kOne, kMarked, EcnAnomaly::ce_in_ect1},
        Cell{kMarked, kMarked, kMarked}
    ),
    [](const auto& test) {
        return "Inner" + std::to_string(test.param.inner) + "Outer" +
               std::to_string(test.param.outer);
    }
);

TEST_F(DecapTest, AMarkOnWhatIsNotIpIsIgnored) {
    const std::uint16_t port = add({});
    admit_from(port);
    const Frame inner = make_frame(mac(1), mac(9));
    EXPECT_EQ(arrive(wrap(port, inner, {.tos = tunnels::kEcnCe})), std::vector<Frame>{inner});
}

}  // namespace

}  // namespace culvert::testing
