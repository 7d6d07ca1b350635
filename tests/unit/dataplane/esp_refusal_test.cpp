// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP packets in which anything is wrong, and packets that are in clear where they must not be:
// nothing comes out of them, and each is counted.

#include "tests/unit/dataplane/esp_path_fixture.hpp"
#include "tests/unit/dataplane/underlay_packets.hpp"

namespace culvert::testing {

namespace {

using EspRefusalTest = EspArrivals;

TEST_F(EspRefusalTest, AChangedBitAnywhereIsNotAccepted) {
    for (const EspAlgorithm algorithm : kCiphers) {
        for (const bool udp : {false, true}) {
            SCOPED_TRACE(tunnels::row_of(algorithm).name);
            const std::uint16_t port =
                add_open({.type = "vxlan"}, {.algorithm = algorithm, .udp = udp});
            Pair& pair = pairs.at(port);
            const Frame good = arriving(port, inner_frame());
            for (std::size_t at = 14; at < good.size(); ++at) {
                Frame bad = good;
                bad[at] ^= static_cast<std::byte>(1U << at % 8);
                const bool of_ports = udp && at >= 34 && at < 42;
                const std::uint64_t drops = dropped_in_all();
                const bool checksum_mended = at < 34 && at != 24 && at != 25;
                if (checksum_mended) {
                    fix_ipv4_checksum(bad, 14);
                }
                // TOS, identification, DF and TTL are not protected in transport mode, nor are in
                // UDP the source address and port, which a NAT may change, and its checksum.
                const bool of_source = udp && at >= 26 && at < 30;
                const bool unprotected = of_source || at == 15 || at == 18 || at == 19 ||
                                         at == 22 || (at == 20 && at % 8 == 6) ||
                                         (of_ports && (at < 36 || at >= 40));
                if (unprotected) {
                    continue;
                }
                EXPECT_EQ(arrive(bad), 0U) << at;
                // It is counted, or another packet of another host, or none of ours: then the
                // host's, sealed as it is.
                const auto to_host = devices[kLocal]->take_sent();
                EXPECT_EQ(dropped_in_all() - drops + to_host.size(), 1U) << at;
                if (!to_host.empty()) {
                    EXPECT_LT(at, 42U);
                    EXPECT_EQ(to_host[0], bad);
                }
            }
            EXPECT_GT(pair.in->refusals.not_authentic.load(), 100U);
            EXPECT_EQ(pair.in->packets.load(), 0U);
            EXPECT_EQ(pair.in->highest(), 0U);
            // The one they were made of is still fresh.
            EXPECT_EQ(arrive(good), 1U);
        }
    }
}

TEST_F(EspRefusalTest, ATruncatedPacketIsNotAccepted) {
    for (const EspAlgorithm algorithm : kCiphers) {
        SCOPED_TRACE(tunnels::row_of(algorithm).name);
        const std::uint16_t port = add_open({.type = "vxlan"}, {.algorithm = algorithm});
        Pair& pair = pairs.at(port);
        const Frame good = arriving(port, inner_frame());
        std::uint64_t unauthentic = 0;
        std::uint64_t malformed = 0;
        for (std::size_t bytes = 34; bytes < good.size(); ++bytes) {
            Frame bad = slice(good, 0, bytes);
            set_lengths(bad, 14, 50);
            unauthentic = dropped(DropReason::esp_not_authentic, kUplink);
            malformed = dropped(DropReason::esp_malformed, kUplink);
            EXPECT_EQ(arrive(bad), 0U) << bytes;
            EXPECT_EQ(
                dropped(DropReason::esp_not_authentic, kUplink) +
                    dropped(DropReason::esp_malformed, kUplink),
                unauthentic + malformed + 1
            ) << bytes;
            // The same with a length that says that all is there.
            bad = slice(good, 0, bytes);
            EXPECT_EQ(arrive(bad), 0U) << bytes;
        }
        EXPECT_EQ(
            pair.in->refusals.malformed.load() + pair.in->refusals.not_authentic.load(),
            good.size() - 34 - tunnels::kEspHeaderBytes
        );
        EXPECT_TRUE(devices[kLocal]->take_sent().empty());
        EXPECT_EQ(arrive(good), 1U);
    }
}

TEST_F(EspRefusalTest, AWrongKeyOrSpiIsNotAccepted) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    Pair other = make_pair_of(port, {});
    Pair& pair = pairs.at(port);
    const Frame clear = wrap(port, inner_frame());
    // The SPI of one and the key of the other.
    Frame frame = sealed_as(other, clear, 1);
    set_word(frame, 34, pair.in->parameters().spi >> 16U);
    set_word(frame, 36, pair.in->parameters().spi & 0xffffU);
    expect_refused(frame, DropReason::esp_not_authentic);
    EXPECT_EQ(pair.in->refusals.not_authentic.load(), 1U);
    expect_refused(sealed_as(other, clear, 1), DropReason::esp_unknown_spi);
    // SPI 0 is nobody's.
    set_word(frame, 34, 0);
    set_word(frame, 36, 0);
    expect_refused(frame, DropReason::esp_unknown_spi);
}

TEST_F(EspRefusalTest, ARepeatedOrLatePacketIsNotAccepted) {
    const std::uint16_t port = add_open({.type = "vxlan"}, {.extended = false});
    Pair& pair = pairs.at(port);
    const Frame clear = wrap(port, inner_frame());
    const auto numbered = [&](std::uint64_t sequence) { return sealed_as(pair, clear, sequence); };
    EXPECT_EQ(arrive(numbered(100)), 1U);
    expect_refused(numbered(100), DropReason::esp_replay);
    // Out of order is fine, within the window of 64.
    EXPECT_EQ(arrive(numbered(37)), 1U);
    EXPECT_EQ(arrive(numbered(99)), 1U);
    expect_refused(numbered(99), DropReason::esp_replay);
    expect_refused(numbered(36), DropReason::esp_replay);
    expect_refused(numbered(0), DropReason::esp_replay);
    EXPECT_EQ(pair.in->refusals.late.load(), 1U);
    EXPECT_EQ(pair.in->refusals.replayed.load(), 3U);
    // Twice in one burst: one of them.
    EXPECT_EQ(arrive({numbered(200), numbered(200), numbered(201), numbered(200)}).size(), 2U);
    EXPECT_EQ(pair.in->refusals.replayed.load(), 5U);
    EXPECT_EQ(pair.in->highest(), 201U);
}

TEST_F(EspRefusalTest, WhatIsLateIsNotAuthenticWithExtendedNumbers) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    Pair& pair = pairs.at(port);
    const Frame clear = wrap(port, inner_frame());
    EXPECT_EQ(arrive(sealed_as(pair, clear, 100)), 1U);
    // Left of the window its low half means a number that is yet to come (RFC 4303 appendix A2).
    expect_refused(sealed_as(pair, clear, 36), DropReason::esp_not_authentic);
    expect_refused(sealed_as(pair, clear, 0), DropReason::esp_not_authentic);
    EXPECT_EQ(pair.in->highest(), 100U);
}

TEST_F(EspRefusalTest, AnotherSendersPacketIsNotAccepted) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    for (const std::string_view from : {"172.20.0.3", "172.20.0.99"}) {
        Frame frame = arriving(port, inner_frame());
        std::memcpy(&frame[14 + 12], ip(from).v4(), 4);
        fix_ipv4_checksum(frame, 14);
        expect_refused(frame, DropReason::esp_policy);
    }
    EXPECT_EQ(pairs.at(port).in->highest(), 0U);
}

TEST_F(EspRefusalTest, AForgedNumberMovesNoWindow) {
    const std::uint16_t port = add_open({.type = "vxlan"}, {.extended = false});
    Frame forged = arriving(port, inner_frame());
    set_word(forged, 38, 0x7fff);
    expect_refused(forged, DropReason::esp_not_authentic);
    EXPECT_EQ(pairs.at(port).in->highest(), 0U);
    EXPECT_EQ(arrive(arriving(port, inner_frame())), 1U);
}

TEST_F(EspRefusalTest, NothingIsAcceptedTwiceAcrossTheBoundaryOfExtendedNumbers) {
    constexpr std::uint64_t kBoundary = std::uint64_t{1} << 32U;
    const std::uint16_t port = add_open({.type = "vxlan"}, {.highest = kBoundary - 10});
    Pair& pair = pairs.at(port);
    const Frame clear = wrap(port, inner_frame());
    std::vector<Frame> frames;
    for (std::uint64_t sequence = kBoundary - 9; sequence < kBoundary + 10; ++sequence) {
        frames.push_back(sealed_as(pair, clear, sequence));
    }
    EXPECT_EQ(arrive(frames).size(), frames.size());
    EXPECT_EQ(arrive(frames).size(), 0U);
    EXPECT_EQ(dropped(DropReason::esp_replay, kUplink), frames.size());
    // The same low halves with another high half are other packets, and not authentic as these.
    expect_refused(
        sealed_as(pair, clear, kBoundary + kBoundary + 20), DropReason::esp_not_authentic
    );
    EXPECT_EQ(pair.in->highest(), kBoundary + 9);
}

TEST_F(EspRefusalTest, ShortNumbersDoNotWrap) {
    const std::uint16_t port =
        add_open({.type = "vxlan"}, {.extended = false, .highest = 0xfffffffe});
    Pair& pair = pairs.at(port);
    const Frame clear = wrap(port, inner_frame());
    EXPECT_EQ(arrive(sealed_as(pair, clear, 0xffffffff)), 1U);
    expect_refused(sealed_as(pair, clear, 1), DropReason::esp_replay);
    expect_refused(sealed_as(pair, clear, 0), DropReason::esp_replay);
}

TEST_F(EspRefusalTest, AClearPacketOfAnEncryptedTunnelIsNotAccepted) {
    for (const std::string_view type : kTunnelTypes) {
        const std::uint16_t port = add_open({.type = type});
        const Frame clear = wrap(port, inner_frame());
        const std::uint64_t before = dropped(DropReason::esp_required, port);
        for (unsigned i = 1; i <= 2; ++i) {
            EXPECT_EQ(arrive(clear), 0U);
            EXPECT_EQ(dropped(DropReason::esp_required, port), before + i);
        }
        // A sealed one in between changes nothing, though its headers then look the same.
        EXPECT_EQ(arrive(arriving(port, inner_frame())), 1U);
        EXPECT_EQ(arrive({arriving(port, inner_frame()), clear}).size(), 1U);
        EXPECT_EQ(dropped(DropReason::esp_required, port), before + 3);
        use_no_key(port);
        EXPECT_EQ(arrive(clear), 0U);
        EXPECT_EQ(dropped(DropReason::esp_required, port), before + 4);
    }
    EXPECT_TRUE(devices[kLocal]->take_sent().empty());
}

TEST_F(EspRefusalTest, AClearFragmentedPacketIsNotAcceptedEither) {
    create_reassembler();
    const std::uint16_t port = add_open({.type = "vxlan"});
    receive(kUplink, cut_v4(wrap(port, inner_frame({.bytes = 1000})), 400));
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::esp_required, port), 1U);
}

TEST_F(EspRefusalTest, AnAssociationOpensItsOwnTunnelOnly) {
    const std::uint16_t a = add_open({.type = "vxlan"});
    const std::uint16_t b = add_open({.type = "vxlan"});
    const std::uint16_t clear_tunnel = add({.type = "vxlan", .key = 900});
    admit_from(clear_tunnel);
    EXPECT_EQ(arrive(arriving(a, inner_frame())), 1U);
    EXPECT_EQ(arrive(arriving(b, inner_frame())), 1U);
    EXPECT_EQ(arrive(wrap(clear_tunnel, inner_frame())), 1U);
    // Sealed with the key of `a`, a packet of others.
    for (const std::uint16_t other : {b, clear_tunnel}) {
        for (unsigned i = 1; i <= 2; ++i) {
            EXPECT_EQ(arrive(sealed(a, wrap(other, inner_frame()))), 0U);
            EXPECT_EQ(dropped(DropReason::esp_policy, other), i);
        }
    }
    EXPECT_TRUE(devices[kLocal]->take_sent().empty());
}

TEST_F(EspRefusalTest, WhatIsNoTunnelPacketInsideReachesNobody) {
    const std::uint16_t transport = add_open({.type = "vxlan"});
    const std::uint16_t tunnel_mode = add_open({.type = "vxlan"}, {.tunnel_mode = true});
    IpSpec spec;
    spec.source = remote_ip;
    spec.destination = local_ip;
    const Frame to_host = ethernet(mac(0xfe), mac(0xaa), make_ip(spec));
    expect_refused(sealed(transport, to_host), DropReason::esp_policy);
    expect_refused(sealed(tunnel_mode, to_host), DropReason::esp_policy);
    spec.destination = ip("10.9.9.9");
    expect_refused(
        sealed_as(
            pairs.at(tunnel_mode),
            wrap(tunnel_mode, {}),
            50,
            pairs.at(tunnel_mode).sender->seal(50, {make_ip(spec), 4})
        ),
        DropReason::esp_policy
    );
    // A dummy packet (RFC 4303 section 2.6), ESP again, and no IP at all.
    for (const std::uint16_t port : {transport, tunnel_mode}) {
        Pair& pair = pairs.at(port);
        std::uint64_t sequence = 60;
        for (const std::uint8_t next : std::array<std::uint8_t, 3>{59, 50, 6}) {
            const Frame esp = pair.sender->seal(sequence, {Frame(40), next});
            expect_refused(
                sealed_as(pair, wrap(port, {}), sequence++, esp), DropReason::esp_policy
            );
        }
    }
    for (const std::uint8_t next : std::array<std::uint8_t, 2>{4, 41}) {
        Pair& pair = pairs.at(tunnel_mode);
        const std::uint64_t sequence = 70U + next;
        const Frame esp = pair.sender->seal(sequence, {Frame(10), next});
        expect_refused(
            sealed_as(pair, wrap(tunnel_mode, {}), sequence, esp), DropReason::outer_malformed
        );
    }
}

TEST_F(EspRefusalTest, AFragmentThatWasSealedIsNotPutTogetherWithOthers) {
    create_reassembler();
    const std::uint16_t port = add_open({.type = "vxlan"}, {.tunnel_mode = true});
    const auto pieces = cut_v4(wrap(port, inner_frame({.bytes = 1000})), 400);
    Frame frame = sealed(port, pieces[0]);
    set_word(frame, 14 + 6, 0);
    fix_ipv4_checksum(frame, 14);
    expect_refused(frame, DropReason::outer_fragment);
    EXPECT_EQ(context->reassembler->held(), 0U);
}

TEST_F(EspRefusalTest, WhatIsInsideFragmentsIsNotSentOnInFragmentsInClear) {
    create_reassembler();
    const std::uint16_t port = add_open({.type = "vxlan"});
    IpSpec spec;
    spec.source = remote_ip;
    spec.destination = local_ip;
    spec.bytes = 1000;
    const Frame to_host = ethernet(mac(0xfe), mac(0xaa), make_ip(spec));
    EXPECT_TRUE(arrive(cut_v4(sealed(port, to_host), 400)).empty());
    EXPECT_TRUE(devices[kLocal]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::esp_policy, kUplink), 1U);
}

TEST_F(EspRefusalTest, OnlyFramesOfTheLocalVlanAreOpened) {
    const std::uint16_t port = add_open({.type = "vxlan"});
    // The local port is in VLAN 5; the uplink's frames without a tag are in VLAN 6.
    snapshot.bridges[0].local_vlan = 5;
    snapshot.ports[kUplink].vlan.untagged_vlan = 6;
    ++snapshot.version;
    const auto in_vlan = [](const Frame& frame, unsigned vlan) {
        Frame tagged = slice(frame, 0, 12);
        tagged.resize(16);
        set_word(tagged, 12, 0x8100);
        set_word(tagged, 14, vlan);
        const Frame rest = slice(frame, 12);
        tagged.insert(tagged.end(), rest.begin(), rest.end());
        return tagged;
    };
    for (const std::uint16_t vlan : std::array<std::uint16_t, 2>{6, 7}) {
        insert_flow(
            {.in_port = kUplink, .vlan = vlan, .destination = mac(0xfe), .source = mac(0xaa)},
            forward(kLocal)
        );
    }
    const Frame untagged = arriving(port, inner_frame());
    EXPECT_EQ(arrive(untagged), 0U);
    EXPECT_EQ(arrive(in_vlan(arriving(port, inner_frame()), 7)), 0U);
    EXPECT_EQ(devices[kLocal]->take_sent().size(), 2U);
    EXPECT_EQ(pairs.at(port).in->packets.load(), 0U);
    EXPECT_EQ(arrive(in_vlan(arriving(port, inner_frame()), 5)), 1U);
    // Not let in at all.
    snapshot.ports[kUplink].vlan.accept_tagged = false;
    EXPECT_EQ(arrive(in_vlan(arriving(port, inner_frame()), 5)), 0U);
    EXPECT_EQ(dropped(DropReason::vlan_filtered, kUplink), 1U);
    EXPECT_EQ(pairs.at(port).in->packets.load(), 1U);
}

}  // namespace
}  // namespace culvert::testing
