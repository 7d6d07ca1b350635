// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an encrypted tunnel sends, read by an independent receiver.

#include <set>

#include "tests/unit/dataplane/esp_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::GsoType;

class EspSealTest : public EspPath {
protected:
    /// What stands behind the outer IP header of a clear packet of the tunnel at `port`.
    void expect_clear(std::uint16_t port, const Frame& clear, const Frame& inner) {
        const auto& header = tunnel(port).header;
        ASSERT_GE(clear.size(), header.length + inner.size());
        EXPECT_EQ(slice(clear, header.length), inner);
        const std::size_t addresses = header.ip_offset + (header.is_v4 ? 12U : 8U);
        const std::size_t addresses_bytes = header.is_v4 ? 8 : 32;
        const Frame expected(header.bytes.begin(), header.bytes.begin() + header.length);
        EXPECT_EQ(
            slice(clear, addresses, addresses_bytes), slice(expected, addresses, addresses_bytes)
        );
        EXPECT_EQ(slice(clear, 0, header.ip_offset), slice(expected, 0, header.ip_offset));
        const std::size_t tunnel_header = header.tunnel_offset;
        EXPECT_EQ(
            slice(clear, tunnel_header, header.length - tunnel_header),
            slice(expected, tunnel_header)
        );
        if (header.is_v4) {
            EXPECT_EQ(naive_sum(std::span(clear).subspan(header.ip_offset, 20)), 0xffffU);
            EXPECT_EQ(word_at(clear, header.ip_offset + 2U), clear.size() - header.ip_offset);
        }
        if (header.udp_offset != 0) {
            EXPECT_EQ(word_at(clear, header.udp_offset + 4U), clear.size() - header.udp_offset);
        }
    }
    /// Frames of one flow in a burst, each read by the receiver.
    void expect_sealed(std::uint16_t port, const std::vector<Frame>& frames) {
        lead_to(port);
        receive(kVif1, frames);
        const auto sent = devices[kUplink]->take_sent();
        ASSERT_EQ(sent.size(), frames.size());
        for (std::size_t i = 0; i < sent.size(); ++i) {
            expect_clear(port, opened(port, sent[i]), frames[i]);
        }
    }
    /// Whether any 16 bytes of `secret` are in `wire`.
    static bool shows(const Frame& wire, const Frame& secret) {
        for (std::size_t at = 0; at + 16 <= secret.size(); at += 16) {
            const Frame part = slice(secret, at, 16);
            if (std::search(wire.begin(), wire.end(), part.begin(), part.end()) != wire.end()) {
                return true;
            }
        }
        return false;
    }
    /// A TCP super-frame of `payload` bytes with `gso` in each segment, in several buffers.
    static rte_mbuf* super_frame(std::size_t payload, std::uint16_t gso) {
        IpSpec spec;
        spec.protocol = 6;
        spec.bytes = 40 + payload;
        Frame packet = make_ip(spec);
        packet[20 + 12] = std::byte{0x50};
        packet[20 + 13] = std::byte{0x10};
        rte_mbuf* made = make_chain(ethernet(mac(9), mac(1), packet));
        dataplane::packet::set_offload(
            made,
            {.checksum_start = 34,
             .checksum_offset = 16,
             .gso_type = GsoType::tcp4,
             .gso_bytes = gso,
             .header_bytes = 54}
        );
        return made;
    }
};

TEST_F(EspSealTest, EveryCipherTunnelAndModeIsReadByAnIndependentReceiver) {
    for_each_form([&](const TunnelSpec& tunnel_spec, const EspSpec& spec) {
        const std::uint16_t port = add_encrypted(tunnel_spec, spec);
        std::vector<Frame> frames;
        for (const std::size_t bytes : {46U, 47U, 61U, 100U, 1400U}) {
            frames.push_back(outgoing({.bytes = bytes}));
        }
        expect_sealed(port, frames);
        const auto& sa = *pairs.at(port).out;
        EXPECT_EQ(sa.next(), 1 + frames.size());
        EXPECT_EQ(sa.packets.load(), frames.size());
    });
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(EspSealTest, WhatLeavesShowsNothingOfTheFrame) {
    const std::uint16_t port = add_encrypted({.type = "vxlan"});
    lead_to(port);
    const Frame frame = outgoing({.bytes = 1000});
    const auto sent = send(frame);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_FALSE(shows(sent[0], slice(frame, 14)));
    EXPECT_TRUE(shows(opened(port, sent[0]), slice(frame, 14)));
}

TEST_F(EspSealTest, ABurstIsCountedOnceAtPortAndAssociation) {
    const std::uint16_t port = add_encrypted({.type = "vxlan"});
    lead_to(port);
    const Frame frame = outgoing({.bytes = 200});
    receive(kVif1, std::vector<Frame>(dataplane::kBurstMax, frame));
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), dataplane::kBurstMax);
    std::uint64_t bytes = 0;
    std::set<std::uint32_t> numbers;
    for (const Frame& wire : sent) {
        bytes += wire.size() - 14;
        numbers.insert(ReferenceEsp::low_sequence(slice(wire, 34)));
    }
    EXPECT_EQ(numbers.size(), sent.size());
    EXPECT_EQ(*numbers.begin(), 1U);
    EXPECT_EQ(*numbers.rbegin(), sent.size());
    const auto& sa = *pairs.at(port).out;
    EXPECT_EQ(sa.packets.load(), sent.size());
    EXPECT_EQ(sa.bytes.load(), bytes);
    EXPECT_EQ(counters->ports[port].tx_packets.read(), sent.size());
    EXPECT_EQ(counters->ports[port].tx_bytes.read(), sent.size() * frame.size());
}

TEST_F(EspSealTest, WithoutAKeyNothingLeaves) {
    const std::uint16_t port = add_encrypted({.type = "vxlan"});
    lead_to(port);
    use_no_key(port);
    EXPECT_TRUE(send(outgoing()).empty());
    receive_packet(kVif1, super_frame(4000, 1000));
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::esp_required, port), 1U + 4U);
    EXPECT_EQ(counters->ports[port].tx_packets.read(), 0U);
    EXPECT_EQ(counters->ports[port].tx_bytes.read(), 0U);
    // Nor while the next hop's port is not known, by any way.
    tunnel(port).out_port = dataplane::kPortNone;
    EXPECT_TRUE(send(outgoing()).empty());
    EXPECT_EQ(dropped(DropReason::esp_required, port), 6U);
}

TEST_F(EspSealTest, AnAssociationOfTheOtherFamilyIsNotUsed) {
    const std::uint16_t v4 = add_encrypted({.type = "vxlan"});
    const std::uint16_t v6 = add_encrypted({.type = "vxlan", .v6 = true});
    tunnel(v6).esp = tunnel(v4).esp;
    lead_to(v6);
    EXPECT_TRUE(send(outgoing()).empty());
    EXPECT_EQ(dropped(DropReason::esp_required, v6), 1U);
}

TEST_F(EspSealTest, SequenceNumbersEndWhereTheyMay) {
    const std::uint16_t port =
        add_encrypted({.type = "vxlan"}, {.next_sequence = 10, .end_sequence = 13});
    lead_to(port);
    receive(kVif1, std::vector<Frame>(5, outgoing()));
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 3U);
    EXPECT_EQ(dropped(DropReason::esp_sequence, port), 2U);
    EXPECT_EQ(counters->ports[port].tx_packets.read(), 3U);
    EXPECT_EQ(counters->ports[port].tx_bytes.read(), 3 * outgoing().size());
    pairs.at(port).out->allow_below(14);
    EXPECT_EQ(send(outgoing()).size(), 1U);
    EXPECT_EQ(pairs.at(port).out->next(), 14U);
}

TEST_F(EspSealTest, ShortSequenceNumbersAreNotUsedTwice) {
    constexpr std::uint64_t kLast = 0xffffffff;
    const std::uint16_t port = add_encrypted(
        {.type = "vxlan"},
        {.extended = false, .next_sequence = kLast, .end_sequence = std::uint64_t{1} << 40U}
    );
    lead_to(port);
    receive(kVif1, {outgoing(), outgoing()});
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U);
    EXPECT_EQ(dropped(DropReason::esp_sequence, port), 1U);
}

TEST_F(EspSealTest, ExtendedNumbersPassTheBoundary) {
    const std::uint64_t start = (std::uint64_t{3} << 32U) - 2;
    const std::uint16_t port = add_encrypted(
        {.type = "vxlan"}, {.next_sequence = start, .end_sequence = std::uint64_t{1} << 40U}
    );
    lead_to(port);
    receive(kVif1, std::vector<Frame>(4, outgoing()));
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 4U);
    for (std::size_t i = 0; i < sent.size(); ++i) {
        const auto payload = pairs.at(port).receiver->open(start + i, slice(sent[i], 34));
        ASSERT_TRUE(payload) << i;
        EXPECT_EQ(payload->next_header, 17U);
    }
}

TEST_F(EspSealTest, ChainedFramesAreSealedWhereTheyLie) {
    for (const EspAlgorithm algorithm : kCiphers) {
        SCOPED_TRACE(tunnels::row_of(algorithm).name);
        const std::uint16_t port =
            add_encrypted({.type = "vxlan", .underlay_mtu = 9000}, {.algorithm = algorithm});
        lead_to(port);
        for (const std::size_t segment : {60U, 333U, 1500U}) {
            const Frame frame = outgoing({.bytes = 4000});
            receive_packet(kVif1, make_chain(frame, segment));
            const auto sent = devices[kUplink]->take_sent();
            ASSERT_EQ(sent.size(), 1U) << segment;
            expect_clear(port, opened(port, sent[0]), frame);
        }
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(EspSealTest, AFullBufferGetsItsTrailerInAnother) {
    const std::uint16_t port = add_encrypted({.type = "vxlan", .underlay_mtu = 9000});
    lead_to(port);
    rte_mbuf* probe = rte_pktmbuf_alloc(packet_pool());
    const std::size_t room = rte_pktmbuf_tailroom(probe);
    rte_pktmbuf_free(probe);
    for (const std::size_t less : {0U, 5U, 17U, 18U, 40U}) {
        const Frame frame = outgoing({.bytes = room - 14 - less});
        const auto sent = send(frame);
        ASSERT_EQ(sent.size(), 1U) << less;
        expect_clear(port, opened(port, sent[0]), frame);
    }
}

TEST_F(EspSealTest, FramesWithoutHeadroomGetAnotherBuffer) {
    const std::uint16_t port = add_encrypted({.type = "geneve", .v6 = true});
    lead_to(port);
    for (const std::uint16_t headroom : std::array<std::uint16_t, 6>{0, 40, 60, 70, 80, 100}) {
        const Frame frame = outgoing({.bytes = 300});
        rte_mbuf* packet = make_packet(frame);
        std::memmove(
            static_cast<char*>(packet->buf_addr) + headroom,
            rte_pktmbuf_mtod(packet, char*),
            frame.size()
        );
        packet->data_off = headroom;
        receive_packet(kVif1, packet);
        const auto sent = devices[kUplink]->take_sent();
        ASSERT_EQ(sent.size(), 1U) << headroom;
        expect_clear(port, opened(port, sent[0]), frame);
    }
}

TEST_F(EspSealTest, ReplicasThatShareBytesAreSealedApart) {
    // One frame into a clear tunnel, an encrypted one, and to a guest.
    const std::uint16_t port = add_encrypted({.type = "vxlan"});
    const std::uint16_t other = add_encrypted({.type = "gre"}, {.algorithm = kCiphers[2]});
    snapshot.bridges[1].members = {kVif1, kVif2, kVxlan, port, other};
    insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, flood());
    const Frame frame = outgoing({.bytes = 700});
    const auto sent = send(frame);
    ASSERT_EQ(sent.size(), 3U);
    std::map<unsigned, Frame> by_protocol_and_port;
    unsigned found = 0;
    for (const Frame& wire : sent) {
        if (octet(wire, 14 + 9) != 50) {
            EXPECT_EQ(unwrapped(kVxlan, wire), frame);
            continue;
        }
        const std::uint32_t spi = word_at(wire, 34) << 16U | word_at(wire, 36);
        const std::uint16_t to = spi == pairs.at(port).out->parameters().spi ? port : other;
        expect_clear(to, opened(to, wire), frame);
        ++found;
    }
    EXPECT_EQ(found, 2U);
    const auto to_guest = devices[kVif2]->take_sent();
    ASSERT_EQ(to_guest.size(), 1U);
    EXPECT_EQ(to_guest[0], frame);
}

TEST_F(EspSealTest, SegmentsOfASuperFrameAreSealed) {
    const std::uint16_t port = add_encrypted({.type = "gre"});
    lead_to(port);
    receive_packet(kVif1, super_frame(48000, 1200));
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 40U);
    std::uint32_t number = 1;
    for (const Frame& wire : sent) {
        EXPECT_EQ(ReferenceEsp::low_sequence(slice(wire, 34)), number++);
        const Frame inner = unwrapped(port, opened(port, wire));
        ASSERT_EQ(inner.size(), 54U + 1200);
        EXPECT_EQ(upper_sum(inner, 14), 0xffffU);
    }
    EXPECT_EQ(counters->ports[port].tx_packets.read(), 40U);
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(EspSealTest, WhatIsSealedIsNoPacketOfATunnelToTheDevice) {
    const std::uint16_t port = add_encrypted({.type = "vxlan"});
    lead_to(port);
    rte_mbuf* packet = make_packet(outgoing());
    dataplane::process_burst(*context, kVif1, std::span(&packet, 1));
    ASSERT_EQ(context->tx[kUplink].count, 1U);
    EXPECT_FALSE(dataplane::packet::is_encapsulated(context->tx[kUplink].packets[0]));
    dataplane::flush(*context);
}

TEST_F(EspSealTest, OuterFragmentsAreOfTheSealedPacket) {
    for (const bool v6 : {false, true}) {
        TunnelSpec spec{.type = "vxlan", .v6 = v6, .underlay_mtu = 1300};
        spec.transmit.oversize = Oversize::fragment_outer;
        const std::uint16_t port = add_encrypted(spec);
        tunnel(port).wire_mtu = 1400;
        lead_to(port);
        const Frame frame = outgoing({.bytes = 1490});
        const auto sent = send(frame);
        ASSERT_EQ(sent.size(), 2U);
        const Frame payload = v6 ? joined_v6(sent) : joined(sent);
        Frame whole = slice(sent[0], 0, v6 ? 54 : 34);
        whole.insert(whole.end(), payload.begin(), payload.end());
        if (v6) {
            EXPECT_EQ(octet(sent[0], 54), 50U);
            set_lengths(whole, 14, 50);
        } else {
            set_word(whole, 14 + 6, 0);
            set_lengths(whole, 14, 50);
        }
        for (const Frame& piece : sent) {
            EXPECT_LE(piece.size() - 14, 1400U);
        }
        expect_clear(port, opened(port, whole), frame);
    }
}

TEST_F(EspSealTest, InnerFragmentsAreSealedEach) {
    TunnelSpec spec{.type = "vxlan", .underlay_mtu = 1000};
    spec.transmit.oversize = Oversize::fragment_inner;
    const std::uint16_t port = add_encrypted(spec);
    lead_to(port);
    const Frame frame = outgoing({.df = false, .bytes = 1400});
    const auto sent = send(frame);
    ASSERT_EQ(sent.size(), 2U);
    std::vector<Frame> pieces;
    for (const Frame& wire : sent) {
        pieces.push_back(unwrapped(port, opened(port, wire)));
    }
    EXPECT_EQ(joined(pieces), slice(frame, 34));
}

TEST_F(EspSealTest, APacketThatGetsTooLongForIpIsDropped) {
    TunnelSpec spec{.type = "vxlan", .underlay_mtu = 1300};
    spec.transmit.oversize = Oversize::fragment_outer;
    const std::uint16_t port = add_encrypted(spec);
    lead_to(port);
    receive_packet(kVif1, make_chain(outgoing({.bytes = 65470}), 2000));
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::tunnel_mtu_exceeded, port), 1U);
    EXPECT_EQ(counters->ports[port].tx_packets.read(), 0U);
}

TEST_F(EspSealTest, BareIpPacketsAreSealed) {
    TunnelSpec spec{.type = "gre"};
    spec.header.payload = Payload::ip;
    const std::uint16_t port = add_encrypted(spec, {.tunnel_mode = true});
    lead_to(port);
    const auto sent = send(outgoing({.bytes = 333}));
    ASSERT_EQ(sent.size(), 1U);
    const Frame clear = opened(port, sent[0]);
    EXPECT_EQ(unwrapped(port, clear), slice(outgoing({.bytes = 333}), 14));
}

TEST_F(EspSealTest, ATaggedUnderlayKeepsItsTagInClear) {
    for (const bool tunnel_mode : {false, true}) {
        const std::uint16_t port = add_encrypted({.type = "vxlan"}, {.tunnel_mode = tunnel_mode});
        tunnel(port).header = tunnels::build_template(
            *tunnels::find_protocol("vxlan"),
            {.destination = mac(0xaa), .source = mac(0xfe), .vlan = 77},
            specs.at(port).outer,
            {.key = 500}
        );
        lead_to(port);
        const auto sent = send(outgoing());
        ASSERT_EQ(sent.size(), 1U);
        EXPECT_EQ(word_at(sent[0], 12), 0x8100U);
        EXPECT_EQ(word_at(sent[0], 14), 77U);
        expect_clear(port, opened(port, sent[0]), outgoing());
    }
}

TEST_F(EspSealTest, WhileTheNextHopsPortIsNotKnownSealedReplicasGoToAll) {
    const std::uint16_t port = add_encrypted({.type = "vxlan"});
    tunnel(port).out_port = dataplane::kPortNone;
    tunnel(port).out_bridge = 0;
    lead_to(port);
    receive(kVif1, {outgoing()});
    for (const std::uint16_t member : {kUplink, kUplink2, kLocal}) {
        const auto sent = devices[member]->take_sent();
        ASSERT_EQ(sent.size(), 1U);
        expect_clear(port, opened(port, sent[0]), outgoing());
    }
    EXPECT_EQ(pairs.at(port).out->next(), 2U);
}

TEST_F(EspSealTest, TheOuterHeaderOfTunnelModeTellsTheSameOfTosTtlAndDf) {
    for (const bool v6 : {false, true}) {
        for (const bool df : {false, true}) {
            TunnelSpec spec{.type = "gre", .v6 = v6};
            spec.outer.ttl = 33;
            spec.outer.df = df;
            spec.transmit.inherit_tos = true;
            const std::uint16_t port = add_encrypted(spec, {.tunnel_mode = true});
            lead_to(port);
            const auto sent = send(outgoing({.tos = 0xb9}));  // EF and ECT(1).
            ASSERT_EQ(sent.size(), 1U);
            const Frame clear = opened(port, sent[0]);
            for (const Frame* frame : {&sent[0], &clear}) {
                EXPECT_EQ(v6 ? word_at(*frame, 14) >> 4U & 0xffU : octet(*frame, 15), 0xb9U);
                EXPECT_EQ(octet(*frame, v6 ? 14 + 7 : 14 + 8), 33U);
                if (!v6) {
                    EXPECT_EQ(word_at(*frame, 14 + 6), df ? 0x4000U : 0U);
                }
            }
        }
    }
}

TEST_F(EspSealTest, NoBufferMeansNoPacket) {
    const std::uint16_t port = add_encrypted({.type = "vxlan", .underlay_mtu = 9000});
    lead_to(port);
    rte_mbuf* packet = make_chain(outgoing({.bytes = 4000}));
    rte_mbuf* shared = dataplane::packet::share(packet, share_pool());
    ASSERT_NE(shared, nullptr);
    std::vector<rte_mbuf*> taken;
    while (rte_mbuf* buffer = rte_pktmbuf_alloc(packet_pool())) {
        taken.push_back(buffer);
    }
    receive_packet(kVif1, shared);
    for (rte_mbuf* buffer : taken) {
        rte_pktmbuf_free(buffer);
    }
    rte_pktmbuf_free(packet);
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::no_buffer, port), 1U);
    EXPECT_EQ(counters->ports[port].tx_packets.read(), 0U);
}

}  // namespace
}  // namespace culvert::testing
