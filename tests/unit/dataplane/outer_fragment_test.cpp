// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fragments of tunnel packets on their way in, and what routers of the underlay say about packets
// that did not fit (RFC 1191, RFC 8201).

#include "dataplane/fragment.hpp"
#include "tests/unit/dataplane/underlay_packets.hpp"

namespace culvert::testing {

namespace {

class OuterFragments : public TunnelPath {
protected:
    OuterFragments() { create_reassembler(); }
};

TEST_F(OuterFragments, AreReassembledAndDecapsulated) {
    TunnelSpec spec;
    spec.outer.udp_checksum = true;
    const std::uint16_t vxlan = add(spec);
    const std::uint16_t gre = add({.type = "gre"});
    const Frame inner = inner_frame({.bytes = 1200});
    for (const std::uint16_t port : {vxlan, gre}) {
        admit_from(port);
        auto pieces = cut_v4(wrap(port, inner), 400);
        ASSERT_EQ(pieces.size(), 4U);
        std::swap(pieces[0], pieces[2]);
        receive(kUplink, pieces);
        EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner});
        EXPECT_EQ(counters->ports[port].rx_packets.read(), 1U);
    }
    EXPECT_EQ(dropped_in_all(), 0U);
    EXPECT_EQ(context->reassembler->held(), 0U);
}

TEST_F(OuterFragments, OfIpv6AreReassembledToo) {
    const std::uint16_t port = add({.v6 = true});
    admit_from(port);
    const Frame inner = inner_frame({.bytes = 1300});
    receive(kUplink, cut_v6(wrap(port, inner), 640));
    EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner});
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(OuterFragments, WithOneMarkedMarkThePacket) {
    const std::uint16_t port = add({});
    admit_from(port);
    IpSpec spec{.tos = tunnels::kEcnEct0, .bytes = 900};
    auto pieces = cut_v4(wrap(port, inner_frame(spec), {.tos = tunnels::kEcnEct0}), 400);
    pieces[1][15] = std::byte{tunnels::kEcnCe};
    fix_ipv4_checksum(pieces[1], 14);
    receive(kUplink, pieces);
    spec.tos = tunnels::kEcnCe;
    EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner_frame(spec)});
}

TEST_F(OuterFragments, ThatContradictEachOtherAreCounted) {
    const std::uint16_t port = add({});
    auto pieces = cut_v4(wrap(port, inner_frame({.bytes = 1200})), 400);
    receive(kUplink, {pieces[0], pieces[0]});
    EXPECT_GE(dropped(DropReason::outer_fragment, kUplink), 1U);
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
}

TEST_F(OuterFragments, ForTheHostComeOutInFragments) {
    TunnelSpec other = specs[add({})];
    other.outer.udp_destination = 9999;
    const Frame whole = wrap(other, inner_frame({.bytes = 3000}), {});
    receive(kUplink, cut_v4(whole, 1400));
    const auto sent = devices[kLocal]->take_sent();
    ASSERT_EQ(sent.size(), 2U) << "of a local port with an MTU of 1600";
    EXPECT_EQ(joined(sent), slice(whole, 34));
    EXPECT_EQ(word_at(sent[0], 18), 77U) << "the sender's identification";
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(OuterFragments, ForAHostWithoutMtuLimitComeOutWhole) {
    TunnelSpec other = specs[add({})];
    other.outer.udp_destination = 9999;
    snapshot.ports[kLocal].mtu = 0;
    const Frame whole = wrap(other, inner_frame({.bytes = 3000}), {});
    receive(kUplink, cut_v4(whole, 1400));
    const auto sent = devices[kLocal]->take_sent();
    EXPECT_EQ(sent.size(), 1U);
    EXPECT_EQ(joined(sent), slice(whole, 34));
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(OuterFragments, OfHostsWithoutTunnelAreNotHeld) {
    TunnelSpec other = specs[add({})];
    other.outer.remote = ip("172.20.0.99");
    insert_flow(
        {.in_port = kUplink, .destination = mac(0xfe), .source = mac(0xaa)}, forward(kLocal)
    );
    const auto pieces = cut_v4(wrap(other, inner_frame({.bytes = 900}), {}), 400);
    receive(kUplink, pieces);
    EXPECT_EQ(devices[kLocal]->take_sent(), pieces);
    EXPECT_EQ(context->reassembler->held(), 0U);
}

TEST_F(OuterFragments, OfProtocolsWithoutTunnelAreNotHeld) {
    const std::uint16_t port = add({});
    insert_flow(
        {.in_port = kUplink, .destination = mac(0xfe), .source = mac(0xaa)}, forward(kLocal)
    );
    Frame whole = wrap(port, inner_frame({.bytes = 900}));
    whole[14 + 9] = std::byte{6};
    fix_ipv4_checksum(whole, 14);
    const auto pieces = cut_v4(whole, 400);
    receive(kUplink, {pieces[0]});
    EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{pieces[0]});
    EXPECT_EQ(context->reassembler->held(), 0U);
}

class UnderlayErrors : public TunnelPath {
protected:
    UnderlayErrors() {
        insert_flow(
            {.in_port = kUplink, .destination = mac(0xfe), .source = mac(0xaa)}, forward(kLocal)
        );
    }
};

TEST_F(UnderlayErrors, AboutATunnelAreToldAndGoOnToTheHost) {
    for (const std::uint16_t port : {add({}), add({.type = "gre"})}) {
        insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, forward(port));
        const auto sent = send(outgoing());
        ASSERT_EQ(sent.size(), 1U);
        const Frame error = too_big_v4(sent[0], 1400);
        receive(kUplink, {error});
        const auto asked = take_upcalls();
        ASSERT_EQ(asked.size(), 1U);
        EXPECT_EQ(asked[0].kind, Upcall::Kind::path_mtu);
        EXPECT_EQ(asked[0].address, remote_ip);
        EXPECT_EQ(asked[0].mtu, 1400U);
        EXPECT_EQ(asked[0].packet, nullptr);
        EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{error});
    }
}

TEST_F(UnderlayErrors, OfIpv6AreToldAndGoOnToTheHost) {
    const std::uint16_t port = add({.v6 = true});
    lead_to(port);
    const auto sent = send(outgoing());
    ASSERT_EQ(sent.size(), 1U);
    const Frame error = too_big_v6(sent[0], 1300);
    receive(kUplink, {error});
    const auto asked = take_upcalls();
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(asked[0].kind, Upcall::Kind::path_mtu);
    EXPECT_EQ(asked[0].address, remote_ip6);
    EXPECT_EQ(asked[0].mtu, 1300U);
    EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{error});
}

TEST_F(UnderlayErrors, AboutNoTunnelAreOnlyForTheHost) {
    const std::uint16_t port = add({});
    lead_to(port);
    auto sent = send(outgoing());
    ASSERT_EQ(sent.size(), 1U);
    Frame elsewhere = sent[0];
    elsewhere[14 + 19] = std::byte{0x77};  // Another remote host.
    fix_ipv4_checksum(elsewhere, 14);
    Frame other_port = sent[0];
    set_word(other_port, 14 + 20 + 2, 4444);
    Frame other_source = sent[0];
    other_source[14 + 15] = std::byte{0x78};  // Not sent by the host that is told.
    fix_ipv4_checksum(other_source, 14);
    Frame told = too_big_v4(sent[0], 1400);
    const std::vector<Frame> errors{too_big_v4(elsewhere, 1400), too_big_v4(other_port, 1400), [&] {
                                        Frame error = too_big_v4(other_source, 1400);
                                        std::memcpy(&error[14 + 16], local_ip.v4(), 4);
                                        fix_ipv4_checksum(error, 14);
                                        return error;
                                    }()};
    receive(kUplink, errors);
    EXPECT_TRUE(take_upcalls().empty());
    EXPECT_EQ(devices[kLocal]->take_sent(), errors);
    told[14 + 20 + 2] ^= std::byte{1};  // A wrong checksum.
    receive(kUplink, {told});
    EXPECT_TRUE(take_upcalls().empty());
    EXPECT_EQ(devices[kLocal]->take_sent().size(), 1U);
}

}  // namespace

}  // namespace culvert::testing
