// SPDX-License-Identifier: GPL-2.0-or-later
//
// What transmit writes into the headers of a tunnel, packet by packet. What does not fit is in
// oversize_test.cpp.

#include <set>

#include "tests/unit/dataplane/tunnel_path_fixture.hpp"
#include "tunnels/ecn.hpp"

namespace culvert::testing {

namespace {

using tunnels::EcnMode;

constexpr std::size_t kOuter = 14;
constexpr std::size_t kUdp = 34;
constexpr std::size_t kTunnelHeader = 42;  ///< In UDP over IPv4.

class TunnelEncap : public TunnelPath {
protected:
    /// What the tunnel makes of one frame.
    Frame sent(const Frame& frame) {
        auto all = send(frame);
        EXPECT_EQ(all.size(), 1U);
        return all.empty() ? Frame(200) : all[0];
    }
    static unsigned tos_of(const Frame& frame) {
        return octet(frame, kOuter) >> 4U == 4 ? octet(frame, kOuter + 1)
                                               : word_at(frame, kOuter) >> 4U & 0xffU;
    }
    static unsigned ttl_of(const Frame& frame) {
        return octet(frame, kOuter) >> 4U == 4 ? octet(frame, kOuter + 8)
                                               : octet(frame, kOuter + 7);
    }
};

TEST_F(TunnelEncap, TosAndTtlAreTheTunnelsNumbers) {
    for (const bool v6 : {false, true}) {
        TunnelSpec spec{.v6 = v6};
        spec.outer.tos = 0x48;
        spec.outer.ttl = 17;
        const std::uint16_t port = add(spec);
        lead_to(port);
        const Frame frame = sent(outgoing({.tos = 0xb8, .ttl = 5}));
        EXPECT_EQ(tos_of(frame), 0x48U);
        EXPECT_EQ(ttl_of(frame), 17U);
        EXPECT_EQ(unwrapped(port, frame), outgoing({.tos = 0xb8, .ttl = 5}));
    }
}

TEST_F(TunnelEncap, TosAndTtlAreInheritedFromWhatIsIp) {
    TunnelSpec spec;
    spec.transmit.inherit_tos = true;
    spec.transmit.inherit_ttl = true;
    lead_to(add(spec));
    Frame frame = sent(outgoing({.tos = 0xb8, .ttl = 5}));
    EXPECT_EQ(tos_of(frame), 0xb8U);
    EXPECT_EQ(ttl_of(frame), 5U);
    EXPECT_EQ(naive_sum(std::span(frame).subspan(kOuter, 20)), 0xffffU);
    IpSpec inner = v6_spec();
    inner.tos = 0x28;
    inner.ttl = 9;
    frame = sent(outgoing(inner));
    EXPECT_EQ(tos_of(frame), 0x28U);
    EXPECT_EQ(ttl_of(frame), 9U);
    frame = sent(make_frame(mac(9), mac(1)));
    EXPECT_EQ(tos_of(frame), 0U);
    EXPECT_EQ(ttl_of(frame), 64U);
}

TEST_F(TunnelEncap, TheEcnFieldIsCopiedOrNotByTheMode) {
    for (const bool inherit : {false, true}) {
        for (const EcnMode mode : {EcnMode::normal, EcnMode::compatibility}) {
            TunnelSpec spec;
            spec.transmit.ecn = mode;
            spec.transmit.inherit_tos = inherit;
            spec.outer.tos = 0x48;
            lead_to(add(spec));
            for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
                const auto tos = static_cast<std::uint8_t>(0xb8U | ecn);
                const unsigned wanted =
                    (inherit ? 0xb8U : 0x48U) | (mode == EcnMode::normal ? ecn : 0U);
                EXPECT_EQ(tos_of(sent(outgoing({.tos = tos}))), wanted);
                IpSpec inner = v6_spec();
                inner.tos = tos;
                EXPECT_EQ(tos_of(sent(outgoing(inner))), wanted);
            }
        }
    }
}

TEST_F(TunnelEncap, AFloodedFrameThatGetsATagIsReadToo) {
    TunnelSpec spec;
    spec.transmit.inherit_tos = true;
    spec.transmit.inherit_ttl = true;
    const std::uint16_t port = add(spec);
    // The frame gets a tag in a buffer of its own, as replicas share their bytes.
    snapshot.ports[kVif1].vlan.untagged_vlan = 20;
    snapshot.bridges[1].members = {kVif1, port, kVif2};
    insert_flow({.in_port = kVif1, .vlan = 20, .destination = mac(9), .source = mac(1)}, flood());
    const Frame frame = sent(outgoing({.tos = 0xb9, .ttl = 5}));
    EXPECT_EQ(tos_of(frame), 0xb9U);
    EXPECT_EQ(ttl_of(frame), 5U);
    EXPECT_EQ(
        unwrapped(port, frame), ethernet(mac(9), mac(1), make_ip({.tos = 0xb9, .ttl = 5}), 20)
    );
}

TEST_F(TunnelEncap, SourcePortsStayInTheirRangeAndWithTheirFlow) {
    TunnelSpec spec;
    spec.outer.udp_source_min = 40000;
    spec.outer.udp_source_max = 40009;
    lead_to(add(spec));
    std::set<unsigned> seen;
    for (std::uint16_t flow = 0; flow < 300; ++flow) {
        const unsigned port = word_at(sent(outgoing({.source_port = flow})), kUdp);
        EXPECT_GE(port, 40000U);
        EXPECT_LE(port, 40009U);
        EXPECT_EQ(word_at(sent(outgoing({.bytes = 400, .source_port = flow})), kUdp), port);
        seen.insert(port);
    }
    EXPECT_EQ(seen.size(), 10U) << "flows spread over the range";
}

TEST_F(TunnelEncap, GreChecksumsAreRight) {
    for (const bool v6 : {false, true}) {
        TunnelSpec spec{.type = "gre", .v6 = v6};
        spec.header.checksum = true;
        const std::uint16_t port = add(spec);
        lead_to(port);
        for (const std::size_t bytes : {100U, 101U, 1000U}) {
            const Frame frame = sent(outgoing({.bytes = bytes}));
            const std::size_t gre = tunnel(port).header.tunnel_offset;
            EXPECT_EQ(octet(frame, gre) & 0x80U, 0x80U);
            EXPECT_EQ(naive_sum(std::span(frame).subspan(gre)), 0xffffU);
        }
    }
}

TEST_F(TunnelEncap, UdpChecksumsAreAsTheTunnelWants) {
    TunnelSpec spec;
    lead_to(add(spec));
    EXPECT_EQ(word_at(sent(outgoing()), kUdp + 6), 0U);
    spec.outer.udp_checksum = true;
    spec.key = 501;
    lead_to(add(spec));
    Frame frame = sent(outgoing({.bytes = 101}));
    EXPECT_NE(word_at(frame, kUdp + 6), 0U);
    EXPECT_EQ(upper_sum(frame, kOuter), 0xffffU);
    spec.outer.udp_checksum = false;
    spec.v6 = true;
    lead_to(add(spec));
    frame = sent(outgoing({.bytes = 101}));
    EXPECT_NE(word_at(frame, kOuter + 40 + 6), 0U);
    EXPECT_EQ(upper_sum(frame, kOuter), 0xffffU) << "over IPv6 there is always one";
    spec.outer.udp6_zero_checksum = true;
    spec.key = 502;
    lead_to(add(spec));
    EXPECT_EQ(word_at(sent(outgoing()), kOuter + 40 + 6), 0U) << "unless RFC 6935 is asked for";
}

TEST_F(TunnelEncap, SequenceNumbersRiseAcrossWorkers) {
    TunnelSpec spec{.type = "gre"};
    spec.header.sequence = true;
    const std::uint16_t port = add(spec);
    lead_to(port);
    const std::size_t at = tunnel(port).header.tunnel_offset + 8U;
    const auto sequence = [&](const Frame& frame) {
        return word_at(frame, at) << 16U | word_at(frame, at + 2);
    };
    EXPECT_EQ(sequence(sent(outgoing())), 0U);
    EXPECT_EQ(sequence(sent(outgoing())), 1U);
    // Another worker, with the same snapshot.
    auto other = std::make_unique<dataplane::Context>();
    other->snapshot = &snapshot;
    other->flows = &flows;
    other->pools = context->pools;
    other->counters = counters.get();
    other->upcalls = upcalls.get();
    other->tx.resize(dataplane::kPortsMax);
    std::swap(context, other);
    EXPECT_EQ(sequence(sent(outgoing())), 2U);
    std::swap(context, other);
    EXPECT_EQ(sequence(sent(outgoing())), 3U);
    tunnel(port).sequence->next_sent = 0xffffffff;
    EXPECT_EQ(sequence(sent(outgoing())), 0xffffffffU);
    EXPECT_EQ(sequence(sent(outgoing())), 0U) << "it wraps round";
}

TEST_F(TunnelEncap, TheGroupPolicyOfTheTunnelIsForFramesThatHaveNone) {
    TunnelSpec spec;
    spec.header.group_policy = std::uint16_t{0x1234};
    lead_to(add(spec));
    const Frame frame = sent(outgoing());
    EXPECT_EQ(octet(frame, kTunnelHeader), 0x88U);
    EXPECT_EQ(word_at(frame, kTunnelHeader + 2), 0x1234U);
}

TEST_F(TunnelEncap, GeneveOptionsStandBehindTheHeader) {
    const Frame options = tests::from_hex("0102 81 01 00000007 0103 02 00");
    TunnelSpec spec{.type = "geneve"};
    spec.header.options = options;
    const std::uint16_t port = add(spec);
    lead_to(port);
    const Frame frame = sent(outgoing());
    EXPECT_EQ(octet(frame, kTunnelHeader) & 0x3fU, 3U) << "words of options";
    EXPECT_EQ(octet(frame, kTunnelHeader + 1), 0x40U) << "one is critical";
    EXPECT_EQ(slice(frame, kTunnelHeader + 8, 12), options);
    EXPECT_EQ(unwrapped(port, frame), outgoing());
}

TEST_F(TunnelEncap, AnUnresolvedTunnelAsksOrDrops) {
    const std::uint16_t port = add({});
    lead_to(port);
    tunnel(port).resolved = false;
    EXPECT_TRUE(send(outgoing()).empty());
    dataplane::Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    EXPECT_EQ(upcall.kind, Upcall::Kind::resolve);
    EXPECT_EQ(upcall.port, port);
    ASSERT_NE(upcall.packet, nullptr);
    tunnel(port).resolved = true;
    dataplane::Decision decision;
    decision.kind = dataplane::Decision::Kind::encap;
    decision.port = port;
    decision.packet = upcall.packet;
    dataplane::apply_decision(*context, decision);
    dataplane::flush(*context);
    const auto late = devices[kUplink]->take_sent();
    ASSERT_EQ(late.size(), 1U);
    EXPECT_EQ(unwrapped(port, late[0]), outgoing());
    tunnel(port).resolved = false;
    tunnel(port).unresolved = DropReason::tunnel_no_remote;
    EXPECT_TRUE(send(outgoing()).empty());
    EXPECT_EQ(dropped(DropReason::tunnel_no_remote, port), 1U);
}

}  // namespace

}  // namespace culvert::testing
