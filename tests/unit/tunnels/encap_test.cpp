// SPDX-License-Identifier: GPL-2.0-or-later
//
// Templates and their per-packet patching, byte for byte against frames that scapy made.
#include "tunnels/encap.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::naive_sum;
using tests::octet;
using tests::prefix;
using tests::vector_file;
using tests::word_at;

constexpr std::uint32_t kPort49152 = 0;  // entropy_port(0).

LinkHeader link(std::uint16_t vlan = 0) {
    return {
        .destination = *MacAddress::parse("02:00:00:00:00:02"),
        .source = *MacAddress::parse("02:00:00:00:00:01"),
        .vlan = vlan};
}

OuterConfig outer_v4() {
    OuterConfig config;
    config.local = *IpAddress::parse("172.20.0.1");
    config.remote = *IpAddress::parse("172.20.0.2");
    return config;
}

OuterConfig outer_v6() {
    OuterConfig config;
    config.local = *IpAddress::parse("fd20::1");
    config.remote = *IpAddress::parse("fd20::2");
    return config;
}

EncapTemplate make(
    std::string_view protocol,
    const OuterConfig& outer,
    std::optional<std::uint32_t> key,
    std::uint16_t vlan = 0
) {
    return build_template(*find_protocol(protocol), link(vlan), outer, HeaderConfig{key});
}

/// The headers of `header`, patched for a frame of `frame_bytes`.
Bytes patched(
    const EncapTemplate& header,
    std::size_t frame_bytes,
    std::uint32_t entropy = kPort49152,
    std::uint16_t ip_id = 0
) {
    Bytes out = prefix(header.bytes, header.length);
    patch_outer(header, out, frame_bytes, entropy, ip_id);
    return out;
}

TEST(Encap, VxlanOverIpv4EqualsScapysBytes) {
    const Bytes frame = vector_file("vxlan_ipv4");
    const EncapTemplate header = make("vxlan", outer_v4(), 0x123456);
    EXPECT_TRUE(header.is_v4);
    EXPECT_FALSE(header.udp_checksum);
    EXPECT_EQ(header.length, 50);
    EXPECT_EQ(header.ip_offset, 14);
    EXPECT_EQ(header.udp_offset, 34);
    EXPECT_EQ(patched(header, frame.size()), prefix(frame, 50));
}

TEST(Encap, VxlanOverIpv6BehindAVlanTagEqualsScapysBytesButForTheUdpChecksum) {
    Bytes frame = vector_file("vxlan_ipv6_vlan");
    OuterConfig outer = outer_v6();
    outer.tos = 0xb8;
    outer.ttl = 17;
    const EncapTemplate header = make("vxlan", outer, 77, 100);
    EXPECT_FALSE(header.is_v4);
    EXPECT_TRUE(header.udp_checksum) << "RFC 8200 section 8.1";
    EXPECT_EQ(header.length, 74);
    EXPECT_EQ(header.udp_offset, 58);
    const Bytes out = patched(header, frame.size());
    EXPECT_EQ(word_at(out, 64), 0U) << "left to the caller";
    tests::set_word(frame, 64, 0);
    EXPECT_EQ(out, prefix(frame, 74));
}

TEST(Encap, CallerCompletesTheUdpChecksumToScapysValue) {
    const Bytes frame = vector_file("vxlan_ipv4_udp_checksum");
    OuterConfig outer = outer_v4();
    outer.udp_checksum = true;
    const EncapTemplate header = make("vxlan", outer, 0x123456);
    ASSERT_TRUE(header.udp_checksum);
    Bytes out = patched(header, frame.size());
    out.insert(out.end(), frame.begin() + header.length, frame.end());
    const auto udp = std::span(out).subspan(header.udp_offset);
    const std::uint64_t pseudo = pseudo_header_sum(
        outer.local, outer.remote, kIpProtocolUdp, static_cast<std::uint32_t>(udp.size())
    );
    const auto checksum = static_cast<std::uint16_t>(~checksum_fold(checksum_add(pseudo, udp)));
    std::memcpy(&out[header.udp_offset + 6], &checksum, sizeof checksum);
    EXPECT_EQ(out, frame);
}

TEST(Encap, GreEqualsScapysBytes) {
    OuterConfig outer = outer_v4();
    outer.tos = 0x28;
    const Bytes plain = vector_file("gre_ipv4");
    const EncapTemplate header = make("gre", outer, std::nullopt);
    EXPECT_EQ(header.udp_offset, 0);
    EXPECT_EQ(header.length, 38);
    EXPECT_EQ(patched(header, plain.size()), prefix(plain, 38));

    const Bytes v6 = vector_file("gre_key_ipv6");
    const EncapTemplate header_v6 = make("gre", outer_v6(), 5);
    EXPECT_FALSE(header_v6.udp_checksum) << "GRE has no UDP header";
    EXPECT_EQ(patched(header_v6, v6.size()), prefix(v6, 62));
}

TEST(Encap, WithoutDfTheIdentificationIsTheCallers) {
    const Bytes frame = vector_file("gre_key_ipv4_vlan");
    OuterConfig outer = outer_v4();
    outer.df = false;
    const EncapTemplate header = make("gre", outer, 0xdeadbeef, 100);
    EXPECT_EQ(patched(header, frame.size(), kPort49152, 7), prefix(frame, 46));
}

TEST(Encap, UdpDestinationFollowsTheConfigurationAndDefaultsToTheProtocols) {
    OuterConfig outer = outer_v4();
    EXPECT_EQ(word_at(make("vxlan", outer, 1).bytes, 36), 4789U);
    outer.udp_destination = 8472;
    EXPECT_EQ(word_at(make("vxlan", outer, 1).bytes, 36), 8472U);
}

TEST(Encap, IpProtocolIsAlwaysTheTunnels) {
    OuterConfig outer = outer_v4();
    outer.ip_protocol = kIpProtocolUdp;
    EXPECT_EQ(octet(make("gre", outer, 1).bytes, 23), 47U);
    outer.ip_protocol = kIpProtocolGre;
    EXPECT_EQ(octet(make("vxlan", outer, 1).bytes, 23), 17U);
}

TEST(PatchOuter, Ipv4ChecksumIsRightForEveryLength) {
    std::mt19937 random(5);
    for (unsigned ip_bytes = 50; ip_bytes <= 65535; ++ip_bytes) {
        OuterConfig outer = outer_v4();
        outer.tos = static_cast<std::uint8_t>(random());
        outer.ttl = static_cast<std::uint8_t>(random());
        outer.df = random() % 2 == 0;
        const auto remote = static_cast<std::uint32_t>(random());
        outer.remote = IpAddress::from_v4(&remote);
        const EncapTemplate header = make("vxlan", outer, random() & 0xffffffU);
        const auto ip_id = static_cast<std::uint16_t>(random());
        const Bytes out =
            patched(header, 14 + ip_bytes, static_cast<std::uint32_t>(random()), ip_id);
        ASSERT_EQ(naive_sum(std::span(out).subspan(14, 20)), 0xffffU) << ip_bytes;
        ASSERT_EQ(word_at(out, 16), ip_bytes);
        ASSERT_EQ(word_at(out, 18), ip_id);
        ASSERT_EQ(word_at(out, 38), ip_bytes - 20);
        ASSERT_EQ(word_at(out, 40), 0U);
    }
}

TEST(PatchOuter, Ipv4ChecksumIsRightForEveryIdentification) {
    // Walking one word through all its values passes every carry of the folding.
    const EncapTemplate header = make("gre", outer_v4(), 1);
    for (unsigned id = 0; id <= 0xffff; ++id) {
        const Bytes out = patched(header, 1500, kPort49152, static_cast<std::uint16_t>(id));
        ASSERT_EQ(naive_sum(std::span(out).subspan(14, 20)), 0xffffU) << id;
    }
}

TEST(PatchOuter, WritesIpv6AndUdpLengths) {
    const EncapTemplate header = make("vxlan", outer_v6(), 1);
    for (const unsigned payload : {16U, 1500U, 65535U}) {
        const Bytes out = patched(header, 14 + 40 + payload);
        EXPECT_EQ(word_at(out, 18), payload);
        EXPECT_EQ(word_at(out, 58), payload);
    }
}

TEST(PatchOuter, OverwritesWhatAnEarlierPacketLeft) {
    const EncapTemplate header = make("vxlan", outer_v4(), 9);
    Bytes out = patched(header, 1514, 0x1234, 77);
    tests::set_word(out, 40, 0xabcd);
    patch_outer(header, out, 100, kPort49152, 0);
    EXPECT_EQ(out, patched(header, 100));
}

TEST(PatchOuter, WhatItWritesParsesBack) {
    for (const char* protocol : {"gre", "vxlan"}) {
        for (const bool v6 : {false, true}) {
            for (const std::uint16_t vlan : {std::uint16_t{0}, std::uint16_t{100}}) {
                const OuterConfig outer = v6 ? outer_v6() : outer_v4();
                const EncapTemplate header = make(protocol, outer, 42, vlan);
                Bytes frame = patched(header, header.length + std::size_t{60}, 99);
                frame.resize(header.length + std::size_t{60});
                const Outer parsed = parse_outer(frame, frame.size());
                ASSERT_EQ(parsed.drop, DropReason::none);
                EXPECT_EQ(parsed.source, outer.local);
                EXPECT_EQ(parsed.destination, outer.remote);
                const auto tunnel = std::span(frame).subspan(parsed.payload_offset);
                const Parsed key = parse_protocol(*find_protocol(protocol), tunnel);
                EXPECT_EQ(key.drop, DropReason::none);
                EXPECT_EQ(key.key, 42U);
                EXPECT_EQ(parsed.payload_offset + key.header_bytes, header.length);
                EXPECT_EQ(parsed.payload_bytes - key.header_bytes, 60);
            }
        }
    }
}

TEST(EncapTemplate, LeavesTheRestOfTheBufferZero) {
    const EncapTemplate header = make("vxlan", outer_v6(), 1, 100);
    EXPECT_TRUE(std::all_of(
        header.bytes.begin() + header.length,
        header.bytes.end(),
        [](std::byte b) { return b == std::byte{0}; }
    ));
}

TEST(EncapTemplateDeathTest, RefusesMoreHeaderThanFits) {
    EncapTemplate header = build_outer(link(), outer_v6());
    const std::size_t room = kTemplateBytesMax - header.length;
    EXPECT_DEATH(static_cast<void>(append_tunnel_header(header, room + 1)), "");
    EXPECT_EQ(append_tunnel_header(header, room).size(), room);
    EXPECT_EQ(header.length, kTemplateBytesMax);
}

TEST(EntropyPort, StaysInTheDynamicRangeAndUsesAllOfIt) {
    std::mt19937 random(6);
    std::set<unsigned> seen;
    for (int i = 0; i < 400000; ++i) {
        const unsigned port = entropy_port(static_cast<std::uint32_t>(random()));
        ASSERT_GE(port, 49152U);
        seen.insert(port);
    }
    EXPECT_EQ(seen.size(), 16384U);
    EXPECT_EQ(entropy_port(0), 49152);
    EXPECT_EQ(entropy_port(0x3fff), 65535);
}

TEST(EntropyPort, DependsOnBothHalvesOfTheHash) {
    EXPECT_NE(entropy_port(0x00010000), entropy_port(0));
    EXPECT_NE(entropy_port(0x00000001), entropy_port(0));
}

}  // namespace
}  // namespace culvert::tunnels
