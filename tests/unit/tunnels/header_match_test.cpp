// SPDX-License-Identifier: GPL-2.0-or-later
//
// HeaderMatch against the parsers it stands for: each bit of the headers of each protocol is
// turned, and whatever still matches has to be parsed alike.
#include "tunnels/header_match.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;

struct Case {
    std::uint8_t protocol = 0;
    bool v6 = false;
    std::uint16_t vlan = 0;
    HeaderConfig header{.key = 0x1234};

    [[nodiscard]] std::string name() const {
        return std::string(kProtocols.at(protocol).name) + (v6 ? " over IPv6" : "") +
               (vlan != 0 ? " in a VLAN" : "");
    }
};

constexpr std::size_t kInnerBytes = 64;

Bytes make_frame(const Case& test) {
    OuterConfig outer;
    outer.local = *IpAddress::parse(test.v6 ? "fd20::2" : "172.20.0.2");
    outer.remote = *IpAddress::parse(test.v6 ? "fd20::1" : "172.20.0.1");
    outer.udp6_zero_checksum = true;
    const LinkHeader link{
        .destination = {{2, 0, 0, 0, 0, 1}}, .source = {{2, 0, 0, 0, 0, 2}}, .vlan = test.vlan};
    const EncapTemplate header = build_template(test.protocol, link, outer, test.header);
    Bytes frame(header.bytes.begin(), header.bytes.begin() + header.length);
    frame.resize(header.length + kInnerBytes, std::byte{0x5a});
    const OuterPatch patch{.frame_bytes = frame.size(), .entropy = 77, .ip_id = 9, .tos = 0x20};
    patch_outer(header, frame, patch);
    return frame;
}

struct Read {
    Outer outer;
    Parsed parsed;
};

Read read(std::uint8_t protocol, const Bytes& frame) {
    Read read;
    read.outer = parse_outer(frame, frame.size());
    if (read.outer.is_ip && read.outer.drop == DropReason::none) {
        read.parsed = parse_protocol(protocol, std::span(frame).subspan(read.outer.payload_offset));
    }
    return read;
}

std::optional<HeaderMatch> match_of(std::uint8_t protocol, const Bytes& frame) {
    const Read from = read(protocol, frame);
    EXPECT_EQ(from.outer.drop, DropReason::none);
    EXPECT_EQ(from.parsed.drop, DropReason::none);
    return make_match(frame, from.outer, from.parsed, protocol);
}

std::vector<Case> cases() {
    std::vector<Case> all;
    for (std::size_t i = 0; i < kProtocolCount; ++i) {
        for (const bool v6 : {false, true}) {
            for (const std::uint16_t vlan : {std::uint16_t{0}, std::uint16_t{9}}) {
                Case test{.protocol = static_cast<std::uint8_t>(i), .v6 = v6, .vlan = vlan};
                if (!kProtocols.at(i).features.ethernet) {
                    test.header.payload = Payload::ip;
                }
                all.push_back(test);
            }
        }
    }
    return all;
}

TEST(HeaderMatch, MatchesTheFrameItWasMadeFrom) {
    for (const Case& test : cases()) {
        const Bytes frame = make_frame(test);
        const auto match = match_of(test.protocol, frame);
        ASSERT_TRUE(match) << test.name();
        EXPECT_TRUE(matches(*match, frame)) << test.name();
        EXPECT_EQ(match->length + kInnerBytes, frame.size()) << test.name();
        EXPECT_EQ(outer_tos(*match, frame), 0x20) << test.name();
    }
}

TEST(HeaderMatch, WhatMatchesIsParsedAlike) {
    for (const Case& test : cases()) {
        const Bytes frame = make_frame(test);
        const auto match = match_of(test.protocol, frame);
        ASSERT_TRUE(match) << test.name();
        const Read original = read(test.protocol, frame);
        unsigned alike = 0;
        for (std::size_t bit = 0; bit < (match->length + std::size_t{1}) * 8; ++bit) {
            for (const bool mend_checksum : {false, true}) {
                Bytes turned = frame;
                turned[bit / 8] ^= std::byte{1} << (bit % 8);
                if (mend_checksum && match->is_v4) {
                    tests::fix_ipv4_checksum(turned, match->ip_offset);
                }
                if (!matches(*match, turned)) {
                    continue;
                }
                ++alike;
                const Read now = read(test.protocol, turned);
                const std::string what = test.name() + " bit " + std::to_string(bit);
                ASSERT_EQ(now.outer.drop, DropReason::none) << what;
                ASSERT_EQ(now.parsed.drop, DropReason::none) << what;
                EXPECT_EQ(now.outer.payload_offset, original.outer.payload_offset) << what;
                EXPECT_EQ(now.outer.payload_bytes, original.outer.payload_bytes) << what;
                EXPECT_EQ(now.outer.source, original.outer.source) << what;
                EXPECT_EQ(now.outer.destination, original.outer.destination) << what;
                EXPECT_EQ(now.outer.udp_destination, original.outer.udp_destination) << what;
                EXPECT_EQ(now.outer.udp_checksum_present, false) << what;
                EXPECT_EQ(now.parsed.key, original.parsed.key) << what;
                EXPECT_EQ(now.parsed.payload, original.parsed.payload) << what;
                EXPECT_EQ(now.parsed.header_bytes, original.parsed.header_bytes) << what;
                EXPECT_EQ(now.parsed.has_group_policy, false) << what;
                EXPECT_EQ(outer_tos(*match, turned), now.outer.tos) << what;
            }
        }
        // TTL and DSCP at least, and with UDP the source port.
        EXPECT_GT(alike, 8U) << test.name();
    }
}

TEST(HeaderMatch, OtherLengthsOfTheSameTunnelMatch) {
    for (const Case& test : cases()) {
        const auto match = match_of(test.protocol, make_frame(test));
        ASSERT_TRUE(match);
        for (const std::size_t more : {std::size_t{1}, std::size_t{1000}}) {
            Bytes frame = make_frame(test);
            frame.resize(frame.size() + more);
            EXPECT_FALSE(matches(*match, frame)) << test.name() << ": bytes behind the packet";
            const std::size_t udp = match->udp_length_at;
            const std::size_t ip = match->ip_length_at;
            tests::set_word(frame, ip, tests::word_at(frame, ip) + static_cast<unsigned>(more));
            if (udp != ip) {
                EXPECT_FALSE(matches(*match, frame)) << test.name() << ": UDP length";
                tests::set_word(
                    frame, udp, tests::word_at(frame, udp) + static_cast<unsigned>(more)
                );
            }
            if (match->is_v4) {
                EXPECT_FALSE(matches(*match, frame)) << test.name() << ": IPv4 checksum";
                tests::fix_ipv4_checksum(frame, match->ip_offset);
            }
            EXPECT_TRUE(matches(*match, frame)) << test.name();
        }
    }
}

TEST(HeaderMatch, FieldsThatChangeFromPacketToPacketAreNotMatched) {
    const std::uint8_t gre = find_protocol("gre").value();
    Case with_checksum{.protocol = gre};
    with_checksum.header.checksum = true;
    EXPECT_FALSE(match_of(gre, make_frame(with_checksum)));
    Case with_sequence{.protocol = gre};
    with_sequence.header.sequence = true;
    EXPECT_FALSE(match_of(gre, make_frame(with_sequence)));

    const std::uint8_t vxlan = find_protocol("vxlan").value();
    Case with_policy{.protocol = vxlan};
    with_policy.header.group_policy = std::uint16_t{7};
    EXPECT_FALSE(match_of(vxlan, make_frame(with_policy)));

    const std::uint8_t geneve = find_protocol("geneve").value();
    const Bytes option = tests::from_hex("0102 0001 00000001");
    Case with_option{.protocol = geneve};
    with_option.header.options = option;
    EXPECT_FALSE(match_of(geneve, make_frame(with_option)));

    Bytes with_udp_checksum = make_frame({.protocol = vxlan});
    tests::set_word(with_udp_checksum, 14 + 20 + 6, 0x1234);
    EXPECT_FALSE(match_of(vxlan, with_udp_checksum));
}

TEST(HeaderMatch, ShortFramesAreNotMatched) {
    const std::uint8_t gre = find_protocol("gre").value();
    Bytes frame = make_frame({.protocol = gre});
    const auto match = match_of(gre, frame);
    ASSERT_TRUE(match);
    frame.resize(HeaderMatch::kBytesMax - 1);
    tests::set_word(frame, 14 + 2, static_cast<unsigned>(frame.size() - 14));
    tests::fix_ipv4_checksum(frame, 14);
    EXPECT_FALSE(matches(*match, frame));
    EXPECT_FALSE(match_of(gre, frame));
}

}  // namespace
}  // namespace culvert::tunnels
