// SPDX-License-Identifier: GPL-2.0-or-later
//
// Templates and their per-packet patching, byte for byte against frames that scapy made.
#include "tunnels/encap.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/frames.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::kIp;
using tests::naive_sum;
using tests::octet;
using tests::prefix;
using tests::vector_file;
using tests::word_at;

/// Of which the vectors are made.
constexpr std::uint16_t kSourcePort = 49152;

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
    config.udp_source_min = config.udp_source_max = kSourcePort;
    return config;
}

OuterConfig outer_v6() {
    OuterConfig config;
    config.local = *IpAddress::parse("fd20::1");
    config.remote = *IpAddress::parse("fd20::2");
    config.udp_source_min = config.udp_source_max = kSourcePort;
    return config;
}

EncapTemplate make(
    std::string_view protocol,
    const OuterConfig& outer,
    const HeaderConfig& header,
    std::uint16_t vlan = 0
) {
    return build_template(*find_protocol(protocol), link(vlan), outer, header);
}

EncapTemplate make(
    std::string_view protocol,
    const OuterConfig& outer,
    std::optional<std::uint32_t> key,
    std::uint16_t vlan = 0
) {
    return make(protocol, outer, HeaderConfig{.key = key}, vlan);
}

/// TOS and TTL as the tunnel has them.
OuterPatch patch_for(
    const EncapTemplate& header,
    std::size_t frame_bytes,
    std::uint32_t entropy = 0,
    std::uint16_t ip_id = 0
) {
    return {
        .frame_bytes = frame_bytes,
        .entropy = entropy,
        .ip_id = ip_id,
        .tos = header.tos,
        .ttl = header.ttl};
}

Bytes patched(const EncapTemplate& header, const OuterPatch& patch) {
    Bytes out = prefix(header.bytes, header.length);
    patch_outer(header, out, patch);
    return out;
}

/// The headers of `header`, patched for a frame of `frame_bytes`.
Bytes patched(
    const EncapTemplate& header,
    std::size_t frame_bytes,
    std::uint32_t entropy = 0,
    std::uint16_t ip_id = 0
) {
    return patched(header, patch_for(header, frame_bytes, entropy, ip_id));
}

TEST(Encap, VxlanOverIpv4EqualsScapysBytes) {
    const Bytes frame = vector_file("vxlan_ipv4");
    const EncapTemplate header = make("vxlan", outer_v4(), 0x123456U);
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
    const EncapTemplate header = make("vxlan", outer, 77U, 100);
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
    const EncapTemplate header = make("vxlan", outer, 0x123456U);
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
    const EncapTemplate header = make("gre", outer, HeaderConfig{});
    EXPECT_EQ(header.udp_offset, 0);
    EXPECT_EQ(header.length, 38);
    EXPECT_EQ(patched(header, plain.size()), prefix(plain, 38));

    const Bytes v6 = vector_file("gre_key_ipv6");
    const EncapTemplate header_v6 = make("gre", outer_v6(), 5U);
    EXPECT_FALSE(header_v6.udp_checksum) << "GRE has no UDP header";
    EXPECT_EQ(patched(header_v6, v6.size()), prefix(v6, 62));
}

/// A vector, and the tunnel whose headers it has.
struct Sample {
    const char* vector;
    const char* protocol;
    bool v6;
    HeaderConfig header;
    PacketFacts facts;
};

void PrintTo(const Sample& sample, std::ostream* out) {
    *out << sample.vector;
}

const Bytes& geneve_options() {
    static const Bytes options_on_wire =
        tests::from_hex("0102 80 01 1a2b3c4d 0103 01 00 ffff 7f 02 3132333435363738");
    return options_on_wire;
}

class EncapEqualsTheVector : public testing::TestWithParam<Sample> {};

TEST_P(EncapEqualsTheVector, OnceTheCallerCompletedTheChecksums) {
    const Sample& sample = GetParam();
    const Bytes frame = vector_file(sample.vector);
    const OuterConfig outer = sample.v6 ? outer_v6() : outer_v4();
    const EncapTemplate header = make(sample.protocol, outer, sample.header);
    Bytes out = patched(header, frame.size());
    patch_tunnel(header, out, sample.facts);
    out.insert(out.end(), frame.begin() + header.length, frame.end());
    if (header.checksum_offset != 0) {
        const auto packet = std::span(out).subspan(header.tunnel_offset);
        tests::set_word(packet, header.checksum_offset, ~naive_sum(packet) & 0xffffU);
    }
    if (header.udp_checksum) {
        const auto udp = std::span(out).subspan(header.udp_offset);
        const std::uint64_t pseudo = pseudo_header_sum(
            outer.local, outer.remote, kIpProtocolUdp, static_cast<std::uint32_t>(udp.size())
        );
        const auto checksum = static_cast<std::uint16_t>(~checksum_fold(checksum_add(pseudo, udp)));
        std::memcpy(&udp[6], &checksum, sizeof checksum);
    }
    EXPECT_EQ(out, frame);
}

INSTANTIATE_TEST_SUITE_P(
    Vectors,
    EncapEqualsTheVector,
    testing::Values(
        Sample{
            "gre_checksum_sequence_ip6_ipv4",
            "gre",
            false,
            {.payload = Payload::ip, .checksum = true, .sequence = true},
            {.is_v6 = true, .sequence = 0x01020304}},
        Sample{"gre_ip4_ipv6", "gre", true, {.key = 6, .payload = Payload::ip}, {}},
        Sample{
            "gre_checksum_key_sequence_ipv4",
            "gre",
            false,
            {.key = 300, .checksum = true, .sequence = true},
            {.sequence = 9}},
        Sample{
            "gre_nvgre_ipv4",
            "gre",
            false,
            {.key = 0x123456, .nvgre_key = true},
            {.entropy = 0x5500aaa7}},
        Sample{
            "vxlan_group_policy_ipv4",
            "vxlan",
            false,
            {.key = 0x123456, .group_policy = std::uint16_t{0xbeef}},
            {}},
        Sample{
            "vxlan_group_policy_ipv4",
            "vxlan",
            false,
            {.key = 0x123456, .carry_group_policy = true, .group_policy = std::uint16_t{1}},
            {.group_policy = std::uint16_t{0xbeef}}},
        Sample{"vxlan_gpe_ipv4", "vxlan-gpe", false, {.key = 0x123456}, {}},
        Sample{
            "vxlan_gpe_ip6_ipv6",
            "vxlan-gpe",
            true,
            {.key = 77, .payload = Payload::ip},
            {.is_v6 = true}},
        Sample{"geneve_ipv4", "geneve", false, {.key = 0x123456}, {}},
        Sample{
            "geneve_options_ipv6", "geneve", true, {.key = 300, .options = geneve_options()}, {}},
        Sample{"lisp_ipv4", "lisp", false, {.key = 300, .payload = Payload::ip}, {}}
    ),
    [](const auto& test) {
        return std::to_string(test.index) + "_" + std::string(test.param.vector);
    }
);

TEST(Encap, WithoutDfTheIdentificationIsTheCallers) {
    const Bytes frame = vector_file("gre_key_ipv4_vlan");
    OuterConfig outer = outer_v4();
    outer.df = false;
    const EncapTemplate header = make("gre", outer, 0xdeadbeefU, 100);
    EXPECT_EQ(patched(header, frame.size(), 0, 7), prefix(frame, 46));
}

TEST(Encap, UdpDestinationFollowsTheConfigurationAndDefaultsToTheProtocols) {
    OuterConfig outer = outer_v4();
    EXPECT_EQ(word_at(make("vxlan", outer, 1U).bytes, 36), 4789U);
    outer.udp_destination = 8472;
    EXPECT_EQ(word_at(make("vxlan", outer, 1U).bytes, 36), 8472U);
}

TEST(Encap, IpProtocolIsAlwaysTheTunnels) {
    OuterConfig outer = outer_v4();
    outer.ip_protocol = kIpProtocolUdp;
    EXPECT_EQ(octet(make("gre", outer, 1U).bytes, 23), 47U);
    outer.ip_protocol = kIpProtocolGre;
    EXPECT_EQ(octet(make("vxlan", outer, 1U).bytes, 23), 17U);
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
    const EncapTemplate header = make("gre", outer_v4(), 1U);
    for (unsigned id = 0; id <= 0xffff; ++id) {
        const Bytes out = patched(header, 1500, 0, static_cast<std::uint16_t>(id));
        ASSERT_EQ(naive_sum(std::span(out).subspan(14, 20)), 0xffffU) << id;
    }
}

TEST(PatchOuter, WritesIpv6AndUdpLengths) {
    const EncapTemplate header = make("vxlan", outer_v6(), 1U);
    for (const unsigned payload : {16U, 1500U, 65535U}) {
        const Bytes out = patched(header, 14 + 40 + payload);
        EXPECT_EQ(word_at(out, 18), payload);
        EXPECT_EQ(word_at(out, 58), payload);
    }
}

TEST(PatchOuter, WritesTheTosAndTtlOfThePacketWhateverTheTunnels) {
    OuterConfig outer = outer_v4();
    outer.tos = 0x1c;
    outer.ttl = 3;
    const EncapTemplate v4 = make("gre", outer, 1U);
    EXPECT_EQ(v4.tos, 0x1c);
    EXPECT_EQ(v4.ttl, 3);
    const EncapTemplate v6 = make("gre", outer_v6(), 1U);
    for (unsigned octet_value = 0; octet_value < 256; ++octet_value) {
        const auto tos = static_cast<std::uint8_t>(octet_value);
        const auto ttl = static_cast<std::uint8_t>(255 - octet_value);
        const OuterPatch patch{.frame_bytes = 1500, .tos = tos, .ttl = ttl};
        for (const EncapTemplate& header : {v4, v6}) {
            Bytes frame = patched(header, patch);
            frame.resize(1500);
            const Outer parsed = parse_outer(frame, frame.size());
            ASSERT_EQ(parsed.drop, DropReason::none);
            EXPECT_EQ(parsed.tos, tos);
            EXPECT_EQ(parsed.ttl, ttl);
        }
    }
}

TEST(Encap, OverIpv6TheUdpChecksumMayBeLeftOut) {
    OuterConfig outer = outer_v6();
    outer.udp6_zero_checksum = true;
    EXPECT_FALSE(make("vxlan", outer, 1U).udp_checksum) << "RFC 6935";
    outer.udp_checksum = true;
    EXPECT_TRUE(make("vxlan", outer, 1U).udp_checksum);
}

/// A whole packet of each protocol, with the IPv4 or IPv6 header at kIp.
Bytes packet_of(std::size_t index, bool v6) {
    const HeaderConfig config{
        .key = 42,
        .payload = kProtocols.at(index).features.ethernet ? Payload::ethernet : Payload::ip};
    const EncapTemplate header = build_template(
        static_cast<std::uint8_t>(index), link(), v6 ? outer_v6() : outer_v4(), config
    );
    Bytes frame = patched(header, header.length + std::size_t{60}, 99);
    frame.resize(header.length + std::size_t{60});
    return frame;
}

TEST(Encap, EveryProtocolIsFoundBehindIpOptions) {
    for (std::size_t index = 0; index < kProtocolCount; ++index) {
        for (unsigned ihl = 5; ihl <= 15; ++ihl) {
            Bytes frame = packet_of(index, false);
            const Outer plain = parse_outer(frame, frame.size());
            frame.insert(frame.begin() + kIp + 20, (ihl - 5) * std::size_t{4}, std::byte{1});
            frame[kIp] = static_cast<std::byte>(0x40U | ihl);
            tests::set_word(frame, kIp + 2, static_cast<unsigned>(frame.size() - kIp));
            tests::fix_ipv4_checksum(frame, kIp);
            const Outer outer = parse_outer(frame, frame.size());
            ASSERT_EQ(outer.drop, DropReason::none) << kProtocols.at(index).name;
            EXPECT_EQ(outer.ip_protocol, plain.ip_protocol);
            EXPECT_EQ(outer.udp_destination, plain.udp_destination);
            EXPECT_EQ(outer.payload_bytes, plain.payload_bytes);
            const auto tunnel = std::span(frame).subspan(outer.payload_offset);
            const Parsed parsed = parse_protocol(static_cast<std::uint8_t>(index), tunnel);
            EXPECT_EQ(parsed.drop, DropReason::none);
            EXPECT_EQ(parsed.key, 42U);
        }
    }
}

TEST(Encap, NoProtocolIsLookedForBehindAnIpv6ExtensionHeader) {
    for (std::size_t index = 0; index < kProtocolCount; ++index) {
        for (const unsigned extension : {0U, 43U, 44U, 51U, 60U, 135U}) {
            Bytes frame = packet_of(index, true);
            const Bytes header(8, frame[kIp + 6]);
            frame.insert(frame.begin() + kIp + 40, header.begin(), header.end());
            frame[kIp + 6] = static_cast<std::byte>(extension);
            tests::set_word(frame, kIp + 4, static_cast<unsigned>(frame.size() - kIp - 40));
            const Outer outer = parse_outer(frame, frame.size());
            EXPECT_EQ(outer.drop, DropReason::none);
            EXPECT_EQ(outer.ip_protocol, extension);
            EXPECT_EQ(outer.udp_destination, 0);
        }
    }
}

TEST(PatchOuter, OverwritesWhatAnEarlierPacketLeft) {
    const EncapTemplate header = make("vxlan", outer_v4(), 9U);
    Bytes out = patched(header, 1514, 0x1234, 77);
    tests::set_word(out, 40, 0xabcd);
    patch_outer(header, out, patch_for(header, 100));
    EXPECT_EQ(out, patched(header, 100));
}

TEST(PatchOuter, WhatItWritesParsesBack) {
    for (std::size_t index = 0; index < kProtocolCount; ++index) {
        for (const bool v6 : {false, true}) {
            for (const std::uint16_t vlan : {std::uint16_t{0}, std::uint16_t{100}}) {
                const OuterConfig outer = v6 ? outer_v6() : outer_v4();
                const auto protocol = static_cast<std::uint8_t>(index);
                const EncapTemplate header =
                    build_template(protocol, link(vlan), outer, {.key = 42});
                Bytes frame = patched(header, header.length + std::size_t{60}, 99);
                frame.resize(header.length + std::size_t{60});
                const Outer parsed = parse_outer(frame, frame.size());
                ASSERT_EQ(parsed.drop, DropReason::none);
                EXPECT_EQ(parsed.source, outer.local);
                EXPECT_EQ(parsed.destination, outer.remote);
                const auto tunnel = std::span(frame).subspan(parsed.payload_offset);
                const Parsed key = parse_protocol(protocol, tunnel);
                EXPECT_EQ(key.drop, DropReason::none);
                EXPECT_EQ(key.key, 42U);
                EXPECT_EQ(parsed.payload_offset + key.header_bytes, header.length);
                EXPECT_EQ(parsed.payload_bytes - key.header_bytes, 60);
            }
        }
    }
}

TEST(EncapTemplate, LeavesTheRestOfTheBufferZero) {
    const EncapTemplate header = make("vxlan", outer_v6(), 1U, 100);
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

EncapTemplate with_ports(std::uint16_t min, std::uint16_t max) {
    OuterConfig outer = outer_v4();
    outer.udp_source_min = min;
    outer.udp_source_max = max;
    return make("vxlan", outer, 1U);
}

TEST(EntropyPort, StaysInItsRangeAndUsesAllOfIt) {
    constexpr std::pair<unsigned, unsigned> kRanges[] = {
        {32768, 61000}, {49152, 65535}, {1, 65535}, {5000, 5000}, {65535, 65535}, {0, 1}, {0, 2}};
    for (const auto& [min, max] : kRanges) {
        const EncapTemplate header =
            with_ports(static_cast<std::uint16_t>(min), static_cast<std::uint16_t>(max));
        std::mt19937 random(6);
        std::set<unsigned> seen;
        for (int i = 0; i < 1000000; ++i) {
            const unsigned port = entropy_port(header, static_cast<std::uint32_t>(random()));
            ASSERT_GE(port, min);
            ASSERT_LE(port, max);
            seen.insert(port);
        }
        EXPECT_EQ(seen.size(), max - min + 1) << min << "-" << max;
        for (const std::uint32_t hash : {0U, 1U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
            EXPECT_GE(entropy_port(header, hash), min);
            EXPECT_LE(entropy_port(header, hash), max);
        }
    }
}

TEST(EntropyPort, IsTheDefaultRangeOfLinuxWhenNoneIsGiven) {
    const OuterConfig config;
    EXPECT_EQ(config.udp_source_min, 32768);
    EXPECT_EQ(config.udp_source_max, 61000);
}

TEST(EntropyPort, IsThePortThatPacketsOfAFlowGet) {
    const EncapTemplate header = with_ports(40000, 50000);
    for (const std::uint32_t hash : {0U, 7U, 0x12345678U, 0xffffffffU}) {
        for (const std::size_t bytes : {100U, 1500U}) {
            EXPECT_EQ(word_at(patched(header, bytes, hash), 34), entropy_port(header, hash));
        }
    }
}

TEST(EntropyPort, DependsOnBothHalvesOfTheHash) {
    const EncapTemplate header = with_ports(32768, 61000);
    EXPECT_NE(entropy_port(header, 0x00010000), entropy_port(header, 0));
    EXPECT_NE(entropy_port(header, 0x00000001), entropy_port(header, 0));
}

}  // namespace
}  // namespace culvert::tunnels
