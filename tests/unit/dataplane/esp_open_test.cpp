// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP packets of an independent sender: what comes out of them where they are right, and .

#include "tests/unit/dataplane/esp_path_fixture.hpp"
#include "tests/unit/dataplane/underlay_packets.hpp"

namespace culvert::testing {

namespace {

using dataplane::AdmissionQuestion;
using dataplane::Admitted;

using EspOpenTest = EspArrivals;

TEST_F(EspOpenTest, EveryCipherTunnelAndModeIsOpened) {
    for_each_form([&](const TunnelSpec& tunnel_spec, const EspSpec& spec) {
        const std::uint16_t port = add_open(tunnel_spec, spec);
        std::vector<Frame> inner;
        std::vector<Frame> frames;
        for (const std::size_t bytes : {46U, 47U, 61U, 100U, 1400U}) {
            inner.push_back(inner_frame({.bytes = bytes}));
            frames.push_back(arriving(port, inner.back()));
        }
        EXPECT_EQ(arrive(frames), inner);
        EXPECT_EQ(pairs.at(port).in->packets.load(), frames.size());
        EXPECT_EQ(pairs.at(port).in->highest(), frames.size());
        EXPECT_EQ(counters->ports[port].rx_packets.read(), frames.size());
    });
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(EspOpenTest, ABurstOfSeveralAssociationsKeepsTheOrderOfEach) {
    const std::uint16_t a = add_open({.type = "vxlan"});
    const std::uint16_t b = add_open({.type = "gre"}, {.algorithm = kCiphers[2]});
    std::vector<Frame> frames;
    std::vector<Frame> inner;
    for (std::size_t i = 0; i < dataplane::kBurstMax; ++i) {
        const Frame frame = inner_frame({.bytes = 100 + i});
        // Now and then a clear one of another tunnel.
        if (i % 5 == 4) {
            frames.push_back(encapsulate(frame, "vxlan", 100, remote_ip, 4789));
        } else {
            frames.push_back(arriving(i % 2 == 0 ? a : b, frame));
        }
        inner.push_back(frame);
    }
    admit_from(kVxlan);
    auto got = arrive(frames);
    const auto by_size = [](const Frame& x, const Frame& y) { return x.size() < y.size(); };
    std::sort(got.begin(), got.end(), by_size);
    EXPECT_EQ(got, inner);
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        bytes += i % 5 != 4 && i % 2 == 0 ? frames[i].size() - 14 : 0;
    }
    EXPECT_EQ(pairs.at(a).in->bytes.load(), bytes);
}

TEST_F(EspOpenTest, ChainsSharedBuffersAndTagsAreOpened) {
    snapshot.ports[kUplink].vlan.untagged_vlan = dataplane::kVlanNone;
    for (const EspAlgorithm algorithm : kCiphers) {
        for (const bool tunnel_mode : {false, true}) {
            const std::uint16_t port =
                add_open({.type = "geneve"}, {.algorithm = algorithm, .tunnel_mode = tunnel_mode});
            const Frame inner = inner_frame({.bytes = 1300});
            // Also so that the ICV lies in two buffers, or the padding does.
            for (const std::size_t segment : {61U, 200U, 1370U, 1375U, 1380U, 1385U, 1390U}) {
                receive_packet(kUplink, make_chain(arriving(port, inner), segment));
                EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner}) << segment;
            }
            const Frame sealed = arriving(port, inner);
            rte_mbuf* packet = make_packet(sealed);
            rte_mbuf* shared = dataplane::packet::share(packet, share_pool());
            receive_packet(kUplink, shared);
            EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner});
            EXPECT_EQ(std::memcmp(rte_pktmbuf_mtod(packet, void*), sealed.data(), sealed.size()), 0)
                << "the other packet with these bytes was changed";
            rte_pktmbuf_free(packet);
        }
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(EspOpenTest, PaddingIsOfAnyLengthThatIsWellFormed) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    Pair& pair = pairs.at(port);
    const Frame inner = inner_frame({.bytes = 100});
    const Frame clear = wrap(port, inner);
    const ReferencePayload payload{slice(clear, 34), 17};
    std::uint64_t sequence = 1;
    for (const std::size_t padding : {0U, 4U, 252U}) {
        const Frame esp = pair.sender->seal(sequence, payload, padding);
        EXPECT_EQ(arrive(sealed_as(pair, clear, sequence++, esp)), 1U) << padding;
    }
    EXPECT_EQ(sequence, 4U);
    // Padding that is not 1, 2, 3, ..., or longer than the packet: authentic and yet wrong.
    Frame plain = payload.bytes;
    while ((plain.size() + 2) % 4 != 0) {
        plain.push_back(std::byte{9});
    }
    plain.insert(plain.end(), {std::byte{9}, std::byte{9}, std::byte{9}, std::byte{9}});
    for (const unsigned pad : {4U, 255U}) {
        Frame wrong = plain;
        wrong.push_back(static_cast<std::byte>(pad));
        wrong.push_back(std::byte{17});
        const Frame esp = pair.sender->seal_plain(sequence, wrong);
        expect_refused(sealed_as(pair, clear, sequence++, esp), DropReason::esp_malformed);
    }
    EXPECT_EQ(pair.in->refusals.malformed.load(), 2U);
}

TEST_F(EspOpenTest, BareIpPacketsComeOut) {
    TunnelSpec spec{.type = "gre"};
    spec.header.payload = Payload::ip;
    for (const bool tunnel_mode : {false, true}) {
        const std::uint16_t port = add_open(spec, {.tunnel_mode = tunnel_mode});
        l3->hosts.insert(IpSpec{}.destination, mac(1));
        insert_flow({.in_port = port, .destination = mac(1), .source = mac(0xee)}, forward(kVif1));
        EXPECT_EQ(arrive(arriving(port, make_ip({}))), 1U);
    }
}

TEST_F(EspOpenTest, FragmentsOfEspAreReassembled) {
    create_reassembler();
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            // GRE, so that no listener waits for fragments of UDP.
            snapshot.listeners.clear();
            const std::uint16_t port =
                add_open({.type = "gre", .v6 = v6}, {.algorithm = kCiphers[2], .udp = udp});
            const Frame inner = inner_frame({.bytes = 1000});
            const Frame whole = arriving(port, inner);
            const auto pieces = v6 ? cut_v6(whole, 400) : cut_v4(whole, 400);
            EXPECT_EQ(arrive(pieces), std::vector<Frame>{inner});
        }
    }
}

TEST_F(EspOpenTest, IkeKeepalivesAndForeignEspAreTheHosts) {
    const std::uint16_t port = add_open({.type = "vxlan"}, {.udp = true});
    const auto udp = [&](std::uint16_t to, const Frame& payload, const IpAddress& from) {
        IpSpec spec;
        spec.source = from;
        spec.destination = local_ip;
        spec.bytes = 28 + payload.size();
        Frame packet = make_ip(spec);
        set_word(packet, 22, to);
        std::copy(payload.begin(), payload.end(), packet.begin() + 28);
        return ethernet(mac(0xfe), mac(0xaa), packet);
    };
    const Frame marked(40);  // Begins with the non-ESP marker.
    Frame esp(40);
    esp[0] = std::byte{0x77};
    expect_for_host(udp(500, marked, remote_ip));
    expect_for_host(udp(4500, marked, remote_ip));
    expect_for_host(udp(4500, Frame(1, std::byte{0xff}), remote_ip));
    expect_for_host(udp(4500, Frame(7, std::byte{0xff}), remote_ip));
    // From a host that no tunnel leads to.
    expect_for_host(udp(4500, esp, ip("172.20.0.99")));
    expect_refused(udp(4500, esp, remote_ip), DropReason::esp_unknown_spi);
    // An SA of the host's own with this peer.
    surroundings.host_spis = {0x77000000};
    publish();
    expect_for_host(udp(4500, esp, remote_ip));
    Frame raw = udp(4500, esp, remote_ip);
    raw = slice(raw, 0, 34);
    raw.insert(raw.end(), esp.begin(), esp.end());
    set_lengths(raw, 14, 50);
    expect_for_host(raw);
    // An SA in UDP is not one without.
    Frame bare = arriving(port, inner_frame());
    bare.erase(bare.begin() + 34, bare.begin() + 42);
    set_lengths(bare, 14, 50);
    expect_refused(bare, DropReason::esp_policy);
}

TEST_F(EspOpenTest, UnfinishedChecksumsOfTheOuterPacketDoNotMatter) {
    const std::uint16_t in_udp = add_open({.type = "vxlan"}, {.udp = true});
    rte_mbuf* packet = make_packet(arriving(in_udp, inner_frame()));
    dataplane::packet::set_offload(packet, {.checksum_start = 34, .checksum_offset = 6});
    receive_packet(kUplink, packet);
    EXPECT_EQ(devices[kVif1]->take_sent(), std::vector<Frame>{inner_frame()});
    const std::uint64_t before = dropped(DropReason::offload_malformed, kUplink);
    // Segmentation of the ESP packet, or a checksum inside of it.
    packet = make_packet(arriving(in_udp, inner_frame()));
    dataplane::packet::set_offload(
        packet,
        {.checksum_start = 34,
         .checksum_offset = 6,
         .gso_type = dataplane::GsoType::udp_l4,
         .gso_bytes = 60,
         .header_bytes = 42}
    );
    receive_packet(kUplink, packet);
    const std::uint16_t bare = add_open({.type = "vxlan"});
    packet = make_packet(arriving(bare, inner_frame()));
    dataplane::packet::set_offload(packet, {.checksum_start = 34, .checksum_offset = 6});
    receive_packet(kUplink, packet);
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::offload_malformed, kUplink), before + 2);
}

TEST_F(EspOpenTest, TheOuterMarkOfTunnelModeIsMerged) {
    const std::uint16_t port = add_open({.type = "gre"}, {.tunnel_mode = true});
    const std::uint16_t v6 = add_open({.type = "gre", .v6 = true}, {.tunnel_mode = true});
    for (const std::uint16_t tunnel_port : {port, v6}) {
        const bool is_v6 = tunnel_port == v6;
        // The packet of the tunnel is ECT(0) as its frame is; a router marks the ESP packet.
        Frame frame =
            sealed(tunnel_port, wrap(tunnel_port, inner_frame({.tos = 2}), WrapOptions{.tos = 2}));
        if (is_v6) {
            set_word(frame, 14, word_at(frame, 14) | 0x30U);
        } else {
            frame[15] = std::byte{3};
            fix_ipv4_checksum(frame, 14);
        }
        const auto got = arrive(std::vector<Frame>{frame});
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(octet(got[0], 15) & 3U, 3U);
        // Nobody who cannot be told: dropped.
        frame = sealed(tunnel_port, wrap(tunnel_port, inner_frame()));
        if (is_v6) {
            set_word(frame, 14, word_at(frame, 14) | 0x30U);
        } else {
            frame[15] = std::byte{3};
            fix_ipv4_checksum(frame, 14);
        }
        expect_refused(frame, DropReason::ecn_illegal);
    }
}

TEST_F(EspOpenTest, TrafficFlowPaddingOfTunnelModeIsCut) {
    const std::uint16_t port = add_open({.type = "vxlan"}, {.tunnel_mode = true});
    const Frame inner = inner_frame();
    const Frame clear = wrap(port, inner);
    Frame padded = slice(clear, 14);
    padded.resize(padded.size() + 300);
    const Frame esp = pairs.at(port).sender->seal(1, {padded, 4});
    EXPECT_EQ(
        arrive(std::vector<Frame>{sealed_as(pairs.at(port), clear, 1, esp)}),
        std::vector<Frame>{inner}
    );
}

/// Refuses one protocol, and notes what it is asked.
class ProtocolFirewall final : public dataplane::Admission {
public:
    [[nodiscard]] Admitted judge(const AdmissionQuestion& question) const noexcept override {
        questions.push_back(question);
        return {.yes = question.protocol != refused, .holds_for_peer = true};
    }
    std::uint8_t refused = 0;
    mutable std::vector<AdmissionQuestion> questions;
};

TEST_F(EspOpenTest, TheHostsFirewallIsAskedOnceAboutEachOfBothPackets) {
    const std::uint16_t port = add_open({.type = "gre"});
    auto firewall = std::make_shared<ProtocolFirewall>();
    snapshot.admission = firewall;
    EXPECT_EQ(arrive({arriving(port, inner_frame()), arriving(port, inner_frame())}).size(), 2U);
    EXPECT_EQ(arrive(arriving(port, inner_frame())), 1U);
    ASSERT_EQ(firewall->questions.size(), 2U);
    EXPECT_EQ(firewall->questions[0].protocol, 50);
    EXPECT_EQ(firewall->questions[0].source, remote_ip);
    EXPECT_EQ(firewall->questions[0].destination, local_ip);
    EXPECT_EQ(firewall->questions[1].protocol, 47);
    firewall->refused = 50;
    ++snapshot.version;
    expect_refused(arriving(port, inner_frame()), DropReason::firewall);
    // It got nowhere: not even the window has moved.
    EXPECT_EQ(pairs.at(port).in->highest(), 3U);
    firewall->refused = 47;
    ++snapshot.version;
    EXPECT_EQ(arrive(arriving(port, inner_frame())), 0U);
    EXPECT_EQ(dropped(DropReason::firewall, port), 1U);
}

TEST_F(EspOpenTest, AboutEspInUdpTheFirewallIsAskedByItsPorts) {
    const std::uint16_t port = add_open({.type = "gre"}, {.udp = true});
    auto firewall = std::make_shared<ProtocolFirewall>();
    snapshot.admission = firewall;
    EXPECT_EQ(arrive(arriving(port, inner_frame())), 1U);
    ASSERT_FALSE(firewall->questions.empty());
    EXPECT_EQ(firewall->questions[0].protocol, 17);
    EXPECT_EQ(firewall->questions[0].source_port, kUdpThere);
    EXPECT_EQ(firewall->questions[0].destination_port, kUdpHere);
}

TEST_F(EspOpenTest, APacketWaitsForAKeyThatMayArrive) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    surroundings.may_grow = true;
    publish();
    Pair next = make_pair_of(port, {});
    std::vector<Frame> frames;
    for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
        frames.push_back(
            sealed_as(next, wrap(port, inner_frame({.bytes = 100 + sequence})), sequence)
        );
    }
    EXPECT_TRUE(arrive(frames).empty());
    receive_packet(kUplink, make_chain(sealed_as(next, wrap(port, inner_frame()), 4), 60));
    EXPECT_EQ(context->waiting.count(), 4U);
    EXPECT_EQ(dropped_in_all(), 0U);
    // A snapshot with something else new.
    ++snapshot.version;
    EXPECT_EQ(dataplane::process_waiting(*context, true), 0U);
    use(port, std::move(next));
    admit_from(port);
    EXPECT_EQ(dataplane::process_waiting(*context, true), 4U);
    dataplane::flush(*context);
    const auto got = devices[kVif1]->take_sent();
    ASSERT_EQ(got.size(), 4U);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(got[i], inner_frame({.bytes = 101 + i}));
    }
    EXPECT_EQ(counters->ports[kUplink].rx_packets.read(), 4U);
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(EspOpenTest, AKeyThatDoesNotArriveIsNotWaitedForLong) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    surroundings.may_grow = true;
    publish();
    const Pair never = make_pair_of(port, {});
    EXPECT_EQ(arrive(sealed_as(never, wrap(port, inner_frame()), 1)), 0U);
    while (dataplane::process_waiting(*context, false) == 0) {
    }
    EXPECT_TRUE(context->waiting.empty());
    EXPECT_EQ(dropped(DropReason::esp_unknown_spi, kUplink), 1U);
    dataplane::flush(*context);
    EXPECT_TRUE(devices[kLocal]->take_sent().empty());
}

TEST_F(EspOpenTest, TheHostGetsWhatWaitedAndTurnsOutToBeIts) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    surroundings.may_grow = true;
    publish();
    const Pair foreign = make_pair_of(port, {});
    const Frame frame = sealed_as(foreign, wrap(port, inner_frame()), 1);
    EXPECT_EQ(arrive(frame), 0U);
    surroundings.host_spis = {foreign.in->parameters().spi};
    publish();
    EXPECT_EQ(dataplane::process_waiting(*context, true), 1U);
    dataplane::flush(*context);
    EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{frame});
}

TEST_F(EspOpenTest, NoMoreWaitThanThereIsRoomFor) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    surroundings.may_grow = true;
    publish();
    const Pair never = make_pair_of(port, {});
    const Frame frame = sealed_as(never, wrap(port, inner_frame()), 1);
    for (std::size_t i = 0; i < dataplane::kEspWaitingMax + 10; ++i) {
        EXPECT_EQ(arrive(frame), 0U);
    }
    EXPECT_EQ(context->waiting.count(), dataplane::kEspWaitingMax);
    EXPECT_EQ(dropped(DropReason::esp_unknown_spi, kUplink), 10U);
    // The tunnel is not encrypted any more: they are the host's.
    snapshot.associations = {};
    ++snapshot.version;
    EXPECT_EQ(dataplane::process_waiting(*context, true), dataplane::kEspWaitingMax);
    dataplane::flush(*context);
    EXPECT_EQ(devices[kLocal]->take_sent().size(), dataplane::kEspWaitingMax);
}

TEST_F(EspOpenTest, ErrorsOfTheUnderlayAboutEspAreTold) {
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            const std::uint16_t port = add_open({.type = "gre", .v6 = v6}, {.udp = udp});
            lead_to(port);
            const auto sent = send(outgoing());
            ASSERT_EQ(sent.size(), 1U);
            const Frame error = v6 ? too_big_v6(sent[0], 1400) : too_big_v4(sent[0], 1400);
            receive(kUplink, {error});
            const auto asked = take_upcalls();
            ASSERT_EQ(asked.size(), 1U);
            EXPECT_EQ(asked[0].kind, Upcall::Kind::path_mtu);
            EXPECT_EQ(asked[0].address, v6 ? remote_ip6 : remote_ip);
            EXPECT_EQ(asked[0].mtu, 1400U);
            EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{error});
        }
    }
}

}  // namespace
}  // namespace culvert::testing
