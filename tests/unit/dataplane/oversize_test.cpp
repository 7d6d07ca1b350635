// SPDX-License-Identifier: GPL-2.0-or-later
//
// What becomes of packets that do not fit their tunnel. The tunnel is VXLAN over an underlay of
// 1300 bytes, so that 1250 bytes of IP packet fit without fragments.

#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

namespace {

constexpr std::uint32_t kUnderlayMtu = 1300;
constexpr std::size_t kFits = kUnderlayMtu - 20 - 8 - 8 - 14;
constexpr std::size_t kHeaders = 14 + 20 + 8 + 8;
constexpr std::array kPolicies{
    Oversize::ptb,
    Oversize::fragment_outer,
    Oversize::fragment_inner,
    Oversize::clamp_mss,
    Oversize::drop};

class OversizeTest : public TunnelPath {
protected:
    std::uint16_t add_small(Oversize policy, TunnelSpec spec = {}) {
        spec.underlay_mtu = kUnderlayMtu;
        spec.transmit.oversize = policy;
        spec.key = next_key_++;
        const std::uint16_t port = add(spec);
        lead_to(port);
        return port;
    }
    static bool tells(Oversize policy) {
        return policy != Oversize::drop && policy != Oversize::fragment_outer;
    }
    static IpSpec large(bool df) { return {.df = df, .bytes = 1400}; }
    static IpSpec large_v6(std::size_t bytes) {
        IpSpec spec = v6_spec();
        spec.bytes = bytes;
        return spec;
    }

    /// An ICMP error for mac(1) about `offending`, as a bridge tells it: from its destination.
    static void check_error_v4(const Frame& error, const Frame& offending, unsigned mtu) {
        ASSERT_GT(error.size(), 14U + 28U);
        EXPECT_EQ(slice(error, 0, 6), slice(offending, 6, 6));
        EXPECT_EQ(slice(error, 6, 6), slice(offending, 0, 6));
        EXPECT_EQ(word_at(error, 12), 0x0800U);
        EXPECT_EQ(naive_sum(std::span(error).subspan(14, 20)), 0xffffU);
        EXPECT_EQ(octet(error, 14 + 9), 1U);
        EXPECT_EQ(slice(error, 14 + 12, 4), slice(offending, 14 + 16, 4));
        EXPECT_EQ(slice(error, 14 + 16, 4), slice(offending, 14 + 12, 4));
        EXPECT_EQ(octet(error, 34), 3U);
        EXPECT_EQ(octet(error, 35), 4U);
        EXPECT_EQ(word_at(error, 40), mtu);
        EXPECT_EQ(naive_sum(std::span(error).subspan(34)), 0xffffU);
        const Frame quote = slice(error, 42);
        EXPECT_GE(quote.size(), 28U);
        EXPECT_EQ(quote, slice(offending, 14, quote.size()));
    }
    static void check_error_v6(const Frame& error, const Frame& offending, unsigned mtu) {
        ASSERT_GT(error.size(), 14U + 48U);
        EXPECT_EQ(slice(error, 0, 6), slice(offending, 6, 6));
        EXPECT_EQ(word_at(error, 12), 0x86ddU);
        EXPECT_EQ(octet(error, 14 + 6), 58U);
        EXPECT_EQ(slice(error, 14 + 8, 16), slice(offending, 14 + 24, 16));
        EXPECT_EQ(slice(error, 14 + 24, 16), slice(offending, 14 + 8, 16));
        EXPECT_EQ(octet(error, 54), 2U);
        EXPECT_EQ(word_at(error, 58) << 16U | word_at(error, 60), mtu);
        EXPECT_EQ(upper_sum(error, 14), 0xffffU);
    }
    void check_outer_fragments(const std::vector<Frame>& sent, const Frame& frame) {
        ASSERT_EQ(sent.size(), 2U);
        for (const Frame& piece : sent) {
            EXPECT_LE(piece.size() - 14, kUnderlayMtu);
        }
        EXPECT_EQ(slice(joined(sent), kHeaders - 34), frame);
    }

private:
    std::uint32_t next_key_ = 600;
};

TEST_F(OversizeTest, WhatJustFitsIsSentWhole) {
    for (const Oversize policy : kPolicies) {
        const std::uint16_t port = add_small(policy);
        const auto sent = send(outgoing({.bytes = kFits}));
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(sent[0].size() - 14, kUnderlayMtu);
        EXPECT_EQ(unwrapped(port, sent[0]), outgoing({.bytes = kFits}));
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(OversizeTest, TheSenderOfIpv4WithDfIsTold) {
    for (const Oversize policy : kPolicies) {
        const std::uint16_t port = add_small(policy);
        const Frame frame = outgoing({.bytes = kFits + 1});
        const auto sent = send(frame);
        const auto told = devices[kVif1]->take_sent();
        if (!tells(policy)) {
            EXPECT_TRUE(told.empty());
            continue;
        }
        EXPECT_TRUE(sent.empty());
        ASSERT_EQ(told.size(), 1U);
        check_error_v4(told[0], frame, kFits);
        EXPECT_EQ(dropped(DropReason::too_big_reported, port), 1U);
    }
}

TEST_F(OversizeTest, TheSenderOfIpv6IsToldNoLessThanTheMinimum) {
    for (const Oversize policy : kPolicies) {
        const std::uint16_t port = add_small(policy);
        const Frame frame = outgoing(large_v6(1281));
        const auto sent = send(frame);
        const auto told = devices[kVif1]->take_sent();
        if (!tells(policy)) {
            EXPECT_TRUE(told.empty());
            continue;
        }
        EXPECT_TRUE(sent.empty());
        ASSERT_EQ(told.size(), 1U);
        check_error_v6(told[0], frame, 1280);
        EXPECT_EQ(dropped(DropReason::too_big_reported, port), 1U);
    }
}

TEST_F(OversizeTest, TheMtuToldToIpv6IsTheTunnels) {
    const std::uint16_t port = add_small(Oversize::ptb);
    tunnel(port).underlay_mtu = 1400;
    const Frame frame = outgoing(large_v6(1400));
    EXPECT_TRUE(send(frame).empty());
    const auto told = devices[kVif1]->take_sent();
    ASSERT_EQ(told.size(), 1U);
    check_error_v6(told[0], frame, 1350);
}

TEST_F(OversizeTest, Ipv6PacketsOfTheMinimumAreCarriedInFragments) {
    for (const Oversize policy : kPolicies) {
        const std::uint16_t port = add_small(policy);
        const Frame frame = outgoing(large_v6(1280));
        const auto sent = send(frame);
        EXPECT_TRUE(devices[kVif1]->take_sent().empty());
        if (policy == Oversize::drop) {
            EXPECT_TRUE(sent.empty());
            EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, port), 1U);
            continue;
        }
        check_outer_fragments(sent, frame);
    }
}

TEST_F(OversizeTest, Ipv4WithoutDfIsCutInsideTheTunnel) {
    for (const Oversize policy : kPolicies) {
        if (!tells(policy)) {
            continue;
        }
        const std::uint16_t port = add_small(policy);
        const Frame frame = outgoing(large(false));
        const auto sent = send(frame);
        ASSERT_EQ(sent.size(), 2U);
        std::vector<Frame> inner;
        for (const Frame& outer : sent) {
            EXPECT_LE(outer.size() - 14, kUnderlayMtu);
            EXPECT_EQ(word_at(outer, 14 + 6) & 0x3fffU, 0U) << "the outer packet is whole";
            EXPECT_EQ(word_at(outer, 34), word_at(sent[0], 34)) << "one flow, one source port";
            inner.push_back(unwrapped(port, outer));
            EXPECT_EQ(slice(inner.back(), 0, 14), slice(frame, 0, 14));
        }
        EXPECT_EQ(joined(inner), slice(frame, 34));
        EXPECT_EQ(word_at(inner[0], 18), 0x1234U) << "the sender's identification";
        EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(OversizeTest, FragmentOuterCarriesEverything) {
    add_small(Oversize::fragment_outer);
    Frame other = make_frame(mac(9), mac(1), -1, 1400);
    for (const Frame& frame :
         {outgoing(large(true)), outgoing(large(false)), outgoing(large_v6(1400)), other}) {
        check_outer_fragments(send(frame), frame);
    }
    EXPECT_EQ(dropped_in_all(), 0U);
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
}

TEST_F(OversizeTest, FragmentOuterCarriesEverythingOverIpv6) {
    const std::uint16_t port = add_small(Oversize::fragment_outer, {.v6 = true});
    Frame first_id;
    for (const IpSpec& spec : {large(true), large_v6(1400)}) {
        const auto sent = send(outgoing(spec));
        ASSERT_EQ(sent.size(), 2U);
        const std::size_t headers = tunnel(port).header.length - 54U;
        EXPECT_EQ(slice(joined_v6(sent), headers), outgoing(spec));
        const Frame id = slice(sent[0], 58, 4);
        EXPECT_NE(id, first_id) << "of another packet";
        first_id = id;
    }
}

TEST_F(OversizeTest, DropAndWhatIsNotIpIsCounted) {
    const std::uint16_t port = add_small(Oversize::drop);
    for (const Frame& frame :
         {outgoing(large(true)), outgoing(large(false)), outgoing(large_v6(1400))}) {
        EXPECT_TRUE(send(frame).empty());
    }
    EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, port), 3U);
    for (const Oversize policy : kPolicies) {
        if (policy == Oversize::fragment_outer) {
            continue;
        }
        const std::uint16_t other = add_small(policy);
        EXPECT_TRUE(send(make_frame(mac(9), mac(1), -1, 1400)).empty());
        EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, other), 1U);
    }
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
}

/// A TCP packet of 4000 bytes that its sender's kernel wants cut into segments of `gso` bytes.
rte_mbuf* make_super_frame(rte_mbuf* chain, std::uint16_t gso) {
    dataplane::packet::set_offload(
        chain,
        {.checksum_start = 34,
         .checksum_offset = 16,
         .gso_type = dataplane::GsoType::tcp4,
         .gso_bytes = gso,
         .header_bytes = 54}
    );
    return chain;
}

Frame tcp_frame(bool df) {
    IpSpec spec{.df = df, .protocol = 6, .bytes = 4000};
    Frame packet = make_ip(spec);
    packet[20 + 12] = std::byte{0x50};
    packet[20 + 13] = std::byte{0x10};
    // The pseudo-header's sum: the rest is left to whoever cuts.
    set_word(packet, 20 + 16, naive_sum(std::span(packet).subspan(12, 8), 6 + 3980));
    return packet;
}

TEST_F(OversizeTest, ASuperFrameIsJudgedByItsSegments) {
    for (const Oversize policy : kPolicies) {
        const std::uint16_t port = add_small(policy);
        const Frame frame = ethernet(mac(9), mac(1), tcp_frame(true));
        receive_packet(kVif1, make_super_frame(make_chain(frame), 1200));
        const auto segments = devices[kUplink]->take_sent();
        EXPECT_EQ(segments.size(), 4U) << "3960 bytes of TCP payload";
        for (const Frame& segment : segments) {
            EXPECT_EQ(upper_sum(unwrapped(port, segment), 14), 0xffffU);
        }
        receive_packet(kVif1, make_super_frame(make_chain(frame), 1300));
        const auto sent = devices[kUplink]->take_sent();
        const auto told = devices[kVif1]->take_sent();
        if (policy == Oversize::fragment_outer) {
            EXPECT_EQ(sent.size(), 7U) << "three segments in two fragments, and a small one";
            EXPECT_TRUE(told.empty());
            continue;
        }
        EXPECT_TRUE(sent.empty());
        ASSERT_EQ(told.size(), tells(policy) ? 1U : 0U);
        if (tells(policy)) {
            EXPECT_EQ(word_at(told[0], 40), kFits);
            EXPECT_EQ(slice(told[0], 42, 28), slice(frame, 14, 28));
            EXPECT_EQ(dropped(DropReason::too_big_reported, port), 1U);
        }
    }
}

TEST_F(OversizeTest, SegmentsOfASuperFrameWithoutDfAreCutInside) {
    const std::uint16_t port = add_small(Oversize::fragment_inner);
    const Frame frame = ethernet(mac(9), mac(1), tcp_frame(false));
    receive_packet(kVif1, make_super_frame(make_chain(frame), 1300));
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 7U);
    Frame all;
    for (std::size_t i = 0; i < 6; i += 2) {
        const Frame segment = joined({unwrapped(port, sent[i]), unwrapped(port, sent[i + 1])});
        const Frame payload = slice(segment, 20);
        all.insert(all.end(), payload.begin(), payload.end());
    }
    const Frame last = slice(unwrapped(port, sent[6]), 54);
    all.insert(all.end(), last.begin(), last.end());
    EXPECT_EQ(all, slice(frame, 54));
}

TEST_F(OversizeTest, ErrorsAreLimitedInTheirRate) {
    const std::uint16_t port = add_small(Oversize::ptb);
    const Frame frame = outgoing(large(true));
    EXPECT_TRUE(send(frame).empty());
    EXPECT_EQ(devices[kVif1]->take_sent().size(), 1U);
    // All credit is taken far in the future, so that none comes back within the test.
    while (context->icmp_limiter.take(std::uint64_t{1} << 60U)) {
    }
    EXPECT_TRUE(send(frame).empty());
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::too_big_reported, port), 1U);
    EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, port), 1U);
}

TEST_F(OversizeTest, ErrorsAboutErrorsAreNotSent) {
    const std::uint16_t port = add_small(Oversize::ptb);
    Frame packet = make_ip({.protocol = 1, .bytes = 1400});
    packet[20] = std::byte{3};
    for (std::size_t i = 0; i < 2 * dataplane::kIcmpErrorsBurst; ++i) {
        EXPECT_TRUE(send(ethernet(mac(9), mac(1), packet)).empty());
    }
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, port), 2 * dataplane::kIcmpErrorsBurst);
    EXPECT_TRUE(context->icmp_limiter.take(1)) << "what is not answered takes no credit";
}

TEST_F(OversizeTest, AnErrorGoesBackInTheVlanOfThePacket) {
    const std::uint16_t port = add_small(Oversize::ptb);
    snapshot.ports[port].vlan.untagged_vlan = 20;  // An access port.
    const FlowKey key{.in_port = kVif1, .vlan = 20, .destination = mac(9), .source = mac(1)};
    insert_flow(key, forward(port));
    const Frame frame = ethernet(mac(9), mac(1), make_ip(large(true)), 20);
    EXPECT_TRUE(send(frame).empty());
    auto told = devices[kVif1]->take_sent();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(word_at(told[0], 12), 0x8100U);
    EXPECT_EQ(word_at(told[0], 14), 20U);
    EXPECT_EQ(word_at(told[0], 16), 0x0800U);
    // The other way round: the tunnel has tags, the sender's port has none.
    snapshot.ports[port].vlan.untagged_vlan = 0;
    snapshot.ports[kVif1].vlan.untagged_vlan = 20;
    EXPECT_TRUE(send(outgoing(large(true))).empty());
    told = devices[kVif1]->take_sent();
    ASSERT_EQ(told.size(), 1U);
    check_error_v4(told[0], outgoing(large(true)), kFits - 4);
}

TEST_F(OversizeTest, AnErrorGoesBackThroughTheTunnelThatThePacketCameBy) {
    TunnelSpec wide;
    wide.remote = ip("172.20.0.3");
    const std::uint16_t from = add(wide);
    const std::uint16_t to = add_small(Oversize::ptb);
    insert_flow({.in_port = from, .destination = mac(1), .source = mac(9)}, forward(to));
    const Frame frame = inner_frame(large(true));
    receive(kUplink, {wrap(from, frame)});
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(IpAddress::from_v4(&sent[0][14 + 16]), wide.remote);
    check_error_v4(unwrapped(from, sent[0]), frame, kFits);
}

TEST_F(OversizeTest, AnswersAboutAFloodedPacketAreOne) {
    const std::uint16_t port = add_small(Oversize::ptb);
    snapshot.bridges[1].members = {kVif1, port, kVif2};
    insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, flood());
    const Frame frame = outgoing(large(true));
    EXPECT_TRUE(send(frame).empty());
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{frame});
    const auto told = devices[kVif1]->take_sent();
    ASSERT_EQ(told.size(), 1U);
    check_error_v4(told[0], frame, kFits);
}

unsigned mss_of(const Frame& packet) {
    return word_at(packet, (octet(packet, 0) >> 4U == 4 ? 20U : 40U) + 22U);
}

TEST_F(OversizeTest, ClampLowersTheSegmentSizeInBothDirections) {
    const std::uint16_t port = add_small(Oversize::clamp_mss);
    admit_from(port);
    for (const IpSpec& spec : {IpSpec{}, v6_spec()}) {
        const unsigned limit = kFits - (spec.destination.is_v4() ? 40 : 60);
        const Frame syn = make_syn(spec, 1460);
        auto sent = send(ethernet(mac(9), mac(1), syn));
        ASSERT_EQ(sent.size(), 1U);
        Frame packet = slice(unwrapped(port, sent[0]), 14);
        EXPECT_EQ(mss_of(packet), limit);
        EXPECT_EQ(upper_sum(packet, 0), 0xffffU);
        receive(kUplink, {wrap(port, ethernet(mac(1), mac(9), syn))});
        sent = devices[kVif1]->take_sent();
        ASSERT_EQ(sent.size(), 1U);
        packet = slice(sent[0], 14);
        EXPECT_EQ(mss_of(packet), limit);
        EXPECT_EQ(upper_sum(packet, 0), 0xffffU);
    }
}

TEST_F(OversizeTest, ClampSeesASynInSegments) {
    const std::uint16_t port = add_small(Oversize::clamp_mss);
    admit_from(port);
    const Frame frame = wrap(port, ethernet(mac(1), mac(9), make_syn({}, 1460)));
    receive_packet(kUplink, make_chain(frame, 60));
    const auto sent = devices[kVif1]->take_sent();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(mss_of(slice(sent[0], 14)), kFits - 40);
}

TEST_F(OversizeTest, ClampLeavesTheRestAlone) {
    const std::uint16_t port = add_small(Oversize::clamp_mss);
    for (const Frame& frame :
         {ethernet(mac(9), mac(1), make_syn({}, 900)),
          outgoing(),
          make_frame(mac(9), mac(1)),
          ethernet(mac(9), mac(1), make_ip({.protocol = 6, .bytes = 21}))}) {
        const auto sent = send(frame);
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(unwrapped(port, sent[0]), frame);
    }
    const std::uint16_t other = add_small(Oversize::ptb);
    const Frame syn = ethernet(mac(9), mac(1), make_syn({}, 1460));
    const auto sent = send(syn);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(unwrapped(other, sent[0]), syn);
}

TEST_F(OversizeTest, ClampOfASynThatIsFloodedChangesNoOtherCopy) {
    const std::uint16_t port = add_small(Oversize::clamp_mss);
    snapshot.bridges[1].members = {kVif1, port, kVif2};
    insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, flood());
    const Frame syn = ethernet(mac(9), mac(1), make_syn({}, 1460));
    const auto sent = send(syn);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(mss_of(slice(unwrapped(port, sent[0]), 14)), kFits - 40);
    EXPECT_EQ(devices[kVif2]->take_sent(), std::vector<Frame>{syn});
}

}  // namespace

}  // namespace culvert::testing
