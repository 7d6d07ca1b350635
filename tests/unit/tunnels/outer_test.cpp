// SPDX-License-Identifier: GPL-2.0-or-later
//
// Receive validation of outer headers, starting from frames that scapy made.
#include "tunnels/outer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/frames.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::fix_ipv4_checksum;
using tests::kIp;
using tests::prefix;
using tests::set_word;
using tests::vector_file;

Outer parse(const Bytes& frame) {
    return parse_outer(frame, frame.size());
}

TEST(OuterParse, ReadsVxlanOverIpv4) {
    const Outer outer = parse(vector_file("vxlan_ipv4"));
    EXPECT_EQ(outer.drop, DropReason::none);
    EXPECT_TRUE(outer.is_ip);
    EXPECT_EQ(outer.ip_protocol, 17);
    EXPECT_EQ(outer.tos, 0);
    EXPECT_EQ(outer.ttl, 64);
    EXPECT_FALSE(outer.udp_checksum_present);
    EXPECT_EQ(outer.udp_destination, 4789);
    EXPECT_EQ(outer.ip_offset, 14);
    EXPECT_EQ(outer.payload_offset, 42);
    EXPECT_EQ(outer.payload_bytes, 57);
    EXPECT_EQ(outer.source.to_string(), "172.20.0.1");
    EXPECT_EQ(outer.destination.to_string(), "172.20.0.2");
}

TEST(OuterParse, ReadsVxlanOverIpv6BehindAVlanTag) {
    const Outer outer = parse(vector_file("vxlan_ipv6_vlan"));
    EXPECT_EQ(outer.drop, DropReason::none);
    EXPECT_TRUE(outer.is_ip);
    EXPECT_EQ(outer.ip_protocol, 17);
    EXPECT_EQ(outer.tos, 0xb8);
    EXPECT_EQ(outer.ttl, 17);
    EXPECT_TRUE(outer.udp_checksum_present);
    EXPECT_EQ(outer.udp_destination, 4789);
    EXPECT_EQ(outer.ip_offset, 18);
    EXPECT_EQ(outer.payload_offset, 66);
    EXPECT_EQ(outer.payload_bytes, 57);
    EXPECT_EQ(outer.source.to_string(), "fd20::1");
    EXPECT_EQ(outer.destination.to_string(), "fd20::2");
}

TEST(OuterParse, ReadsGreOverBothFamilies) {
    const Outer v4 = parse(vector_file("gre_ipv4"));
    EXPECT_EQ(v4.drop, DropReason::none);
    EXPECT_EQ(v4.ip_protocol, 47);
    EXPECT_EQ(v4.tos, 0x28);
    EXPECT_EQ(v4.udp_destination, 0);
    EXPECT_EQ(v4.payload_offset, 34);
    EXPECT_EQ(v4.payload_bytes, 53);
    const Outer v6 = parse(vector_file("gre_key_ipv6"));
    EXPECT_EQ(v6.drop, DropReason::none);
    EXPECT_EQ(v6.ip_protocol, 47);
    EXPECT_EQ(v6.payload_offset, 54);
    EXPECT_EQ(v6.payload_bytes, 57);
}

TEST(OuterParse, SkipsIpOptionsAndLeavesEthernetPaddingOut) {
    const Outer outer = parse(vector_file("vxlan_ipv4_options_padded"));
    EXPECT_EQ(outer.drop, DropReason::none);
    EXPECT_EQ(outer.payload_offset, 46);
    EXPECT_EQ(outer.payload_bytes, 22);
}

TEST(OuterParse, ChecksumCoversTheOptions) {
    Bytes frame = vector_file("vxlan_ipv4_options_padded");
    frame[kIp + 20] ^= std::byte{1};
    EXPECT_EQ(parse(frame).drop, DropReason::outer_checksum);
}

TEST(OuterParse, AcceptsEveryHeaderLengthWithOptions) {
    for (unsigned ihl = 5; ihl <= 15; ++ihl) {
        Bytes frame = vector_file("vxlan_ipv4");
        frame.insert(frame.begin() + kIp + 20, (ihl - 5) * std::size_t{4}, std::byte{1});
        frame[kIp] = static_cast<std::byte>(0x40U | ihl);
        set_word(frame, kIp + 2, static_cast<unsigned>(frame.size() - kIp));
        fix_ipv4_checksum(frame, kIp);
        const Outer outer = parse(frame);
        EXPECT_EQ(outer.drop, DropReason::none) << ihl;
        EXPECT_EQ(outer.payload_offset, kIp + ihl * std::size_t{4} + 8) << ihl;
        EXPECT_EQ(outer.payload_bytes, 57) << ihl;
        EXPECT_EQ(parse_outer(prefix(frame, kOuterBytesMax), frame.size()).drop, DropReason::none)
            << "kOuterBytesMax contiguous bytes suffice";
    }
}

TEST(OuterParse, OtherEtherTypesAreNotJudged) {
    for (const unsigned ether_type : {0x0806U, 0x88a8U, 0x88b5U, 0x0000U, 0x05dcU}) {
        Bytes frame = vector_file("vxlan_ipv4");
        set_word(frame, 12, ether_type);
        const Outer outer = parse(frame);
        EXPECT_FALSE(outer.is_ip);
        EXPECT_EQ(outer.drop, DropReason::none);
        EXPECT_TRUE(outer.destination.is_unset());
    }
}

TEST(OuterParse, LooksThroughOneVlanTagOnly) {
    Bytes frame = vector_file("vxlan_ipv6_vlan");
    const Bytes tag = tests::from_hex("8100 0064");
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    EXPECT_FALSE(parse(frame).is_ip);
}

struct Damage {
    const char* name;
    const char* vector;
    std::function<void(Bytes&)> apply;
    DropReason expected;
    bool addressed;  ///< Addresses, protocol and (with UDP) the port are still reported.
};

void PrintTo(const Damage& damage, std::ostream* out) {
    *out << damage.name;
}

/// Changes the IPv4 header word at `at` and keeps the checksum right.
std::function<void(Bytes&)> ipv4_word(std::size_t at, unsigned value) {
    return [=](Bytes& frame) {
        set_word(frame, kIp + at, value);
        fix_ipv4_checksum(frame, kIp);
    };
}

std::function<void(Bytes&)> octet_at(std::size_t at, unsigned value) {
    return [=](Bytes& frame) { frame[at] = static_cast<std::byte>(value); };
}

std::function<void(Bytes&)> wire_word(std::size_t at, unsigned value) {
    return [=](Bytes& frame) { set_word(frame, at, value); };
}

class OuterParseRejects : public testing::TestWithParam<Damage> {};

TEST_P(OuterParseRejects, AndStillSaysForWhomThePacketWas) {
    const Damage& damage = GetParam();
    Bytes frame = vector_file(damage.vector);
    const Outer intact = parse(frame);
    damage.apply(frame);
    const Outer outer = parse(frame);
    EXPECT_TRUE(outer.is_ip);
    EXPECT_EQ(drop_reason_name(outer.drop), drop_reason_name(damage.expected));
    EXPECT_EQ(outer.payload_offset, 0);
    EXPECT_EQ(outer.payload_bytes, 0);
    if (damage.addressed) {
        EXPECT_EQ(outer.source, intact.source);
        EXPECT_EQ(outer.destination, intact.destination);
        EXPECT_EQ(outer.ip_protocol, intact.ip_protocol);
        EXPECT_EQ(outer.udp_destination, intact.udp_destination);
    } else {
        EXPECT_TRUE(outer.destination.is_unset());
    }
}

constexpr DropReason kMalformed = DropReason::outer_malformed;
constexpr std::size_t kUdp4 = 34;
constexpr std::size_t kIp6 = 18;
constexpr std::size_t kUdp6 = 58;

INSTANTIATE_TEST_SUITE_P(
    Table,
    OuterParseRejects,
    testing::Values(
        Damage{"version_6_as_ipv4", "vxlan_ipv4", ipv4_word(0, 0x6500), kMalformed, false},
        Damage{"version_0", "vxlan_ipv4", ipv4_word(0, 0x0500), kMalformed, false},
        Damage{"total_beyond_frame", "vxlan_ipv4", ipv4_word(2, 86), kMalformed, true},
        Damage{"total_maximum", "vxlan_ipv4", ipv4_word(2, 0xffff), kMalformed, true},
        Damage{"udp_beyond_ip", "vxlan_ipv4", wire_word(kUdp4 + 4, 66), kMalformed, true},
        Damage{"udp_length_7", "vxlan_ipv4", wire_word(kUdp4 + 4, 7), kMalformed, true},
        Damage{"udp_length_0", "vxlan_ipv4", wire_word(kUdp4 + 4, 0), kMalformed, true},
        Damage{"udp_port_only", "vxlan_ipv4", ipv4_word(2, 24), kMalformed, true},
        Damage{
            "checksum",
            "vxlan_ipv4",
            wire_word(kIp + 10, 0x1234),
            DropReason::outer_checksum,
            true},
        Damage{
            "checksum_zero",
            "vxlan_ipv4",
            wire_word(kIp + 10, 0),
            DropReason::outer_checksum,
            true},
        Damage{"checksum_by_ttl", "gre_ipv4", octet_at(22, 63), DropReason::outer_checksum, true},
        Damage{
            "more_fragments", "vxlan_ipv4", ipv4_word(6, 0x2000), DropReason::outer_fragment, true},
        Damage{
            "gre_last_fragment",
            "gre_ipv4",
            ipv4_word(6, 0x0001),
            DropReason::outer_fragment,
            true},
        Damage{
            "gre_offset_and_df",
            "gre_ipv4",
            ipv4_word(6, 0x5000),
            DropReason::outer_fragment,
            true},
        Damage{"v6_version_4", "vxlan_ipv6_vlan", octet_at(kIp6, 0x40), kMalformed, false},
        Damage{"v6_beyond_frame", "vxlan_ipv6_vlan", wire_word(kIp6 + 4, 66), kMalformed, true},
        Damage{"v6_udp_beyond_ip", "vxlan_ipv6_vlan", wire_word(kUdp6 + 4, 66), kMalformed, true},
        Damage{"v6_udp_length_0", "vxlan_ipv6_vlan", wire_word(kUdp6 + 4, 0), kMalformed, true},
        Damage{"v6_udp_cut_off", "vxlan_ipv6_vlan", wire_word(kIp6 + 4, 7), kMalformed, true}
    ),
    [](const auto& test) { return std::string(test.param.name); }
);

TEST(OuterParse, ShortHeaderLengthKeepsAddressesButGuessesNoPort) {
    for (const unsigned ihl : {0U, 1U, 4U}) {
        Bytes frame = vector_file("vxlan_ipv4");
        frame[kIp] = static_cast<std::byte>(0x40U | ihl);
        const Outer outer = parse(frame);
        EXPECT_EQ(outer.drop, kMalformed);
        EXPECT_EQ(outer.destination.to_string(), "172.20.0.2");
        EXPECT_EQ(outer.udp_destination, 0);
    }
}

TEST(OuterParse, TotalLengthBelowTheHeaderIsMalformed) {
    Bytes frame = vector_file("vxlan_ipv4");
    ipv4_word(2, 19)(frame);
    const Outer outer = parse(frame);
    EXPECT_EQ(outer.drop, kMalformed);
    EXPECT_EQ(outer.destination.to_string(), "172.20.0.2");
    EXPECT_EQ(outer.udp_destination, 0) << "the port lies outside of the IP packet";
}

TEST(OuterParse, TotalLengthZeroIsMalformed) {
    Bytes frame = vector_file("vxlan_ipv4");
    ipv4_word(2, 0)(frame);
    EXPECT_EQ(parse(frame).drop, kMalformed);
}

TEST(OuterParse, PaddingIsNotTakenForAUdpHeader) {
    Bytes frame = vector_file("vxlan_ipv4");
    ipv4_word(2, 20)(frame);
    const Outer outer = parse(frame);
    EXPECT_EQ(outer.drop, kMalformed);
    EXPECT_EQ(outer.udp_destination, 0);
}

TEST(OuterParse, FirstFragmentReportsThePortAndLaterOnesNone) {
    const Outer first = parse(vector_file("fragment_first_ipv4"));
    EXPECT_EQ(first.drop, DropReason::outer_fragment);
    EXPECT_EQ(first.ip_protocol, 17);
    EXPECT_EQ(first.udp_destination, 4789);
    const Outer last = parse(vector_file("fragment_last_ipv4"));
    EXPECT_EQ(last.drop, DropReason::outer_fragment);
    EXPECT_EQ(last.ip_protocol, 17);
    EXPECT_EQ(last.udp_destination, 0);
    EXPECT_EQ(last.source.to_string(), "172.20.0.1");
    EXPECT_EQ(last.destination.to_string(), "172.20.0.2");
}

TEST(OuterParse, DontFragmentAndReservedBitAreNoFragment) {
    for (const unsigned flags : {0x4000U, 0x8000U, 0x0000U}) {
        Bytes frame = vector_file("vxlan_ipv4");
        ipv4_word(6, flags)(frame);
        EXPECT_EQ(parse(frame).drop, DropReason::none) << flags;
    }
}

TEST(OuterParse, UdpLengthMayBeBelowTheIpPayload) {
    Bytes frame = vector_file("vxlan_ipv4");
    set_word(frame, kUdp4 + 4, 8);
    const Outer outer = parse(frame);
    EXPECT_EQ(outer.drop, DropReason::none);
    EXPECT_EQ(outer.payload_offset, 42);
    EXPECT_EQ(outer.payload_bytes, 0);
}

TEST(OuterParse, ReportsAZeroUdpChecksumOverIpv6WithoutJudgingIt) {
    Bytes frame = vector_file("vxlan_ipv6_vlan");
    set_word(frame, kUdp6 + 6, 0);
    const Outer outer = parse(frame);
    EXPECT_EQ(outer.drop, DropReason::none);
    EXPECT_FALSE(outer.udp_checksum_present);
}

TEST(OuterParse, TakesAnIpv6ExtensionHeaderForTheProtocol) {
    for (const unsigned next_header : {0U, 43U, 44U, 60U}) {
        Bytes frame = vector_file("vxlan_ipv6_vlan");
        frame[kIp6 + 6] = static_cast<std::byte>(next_header);
        const Outer outer = parse(frame);
        EXPECT_EQ(outer.drop, DropReason::none);
        EXPECT_EQ(outer.ip_protocol, next_header);
        EXPECT_EQ(outer.udp_destination, 0);
        EXPECT_EQ(outer.payload_offset, 58);
        EXPECT_EQ(outer.payload_bytes, 65);
    }
}

TEST(OuterParse, AcceptsSuperFramesUpToTheLargestIpPacket) {
    const Bytes v4_head = prefix(vector_file("vxlan_ipv4"), 64);
    for (const unsigned ip_bytes : {9000U, 65535U}) {
        Bytes head = v4_head;
        set_word(head, kUdp4 + 4, ip_bytes - 20);
        ipv4_word(2, ip_bytes)(head);
        const Outer outer = parse_outer(head, kIp + ip_bytes);
        EXPECT_EQ(outer.drop, DropReason::none) << ip_bytes;
        EXPECT_EQ(outer.payload_bytes, ip_bytes - 28);
    }
    Bytes v6_head = prefix(vector_file("gre_key_ipv6"), 64);
    set_word(v6_head, kIp + 4, 65535);
    const Outer outer = parse_outer(v6_head, kIp + 40 + 65535);
    EXPECT_EQ(outer.drop, DropReason::none);
    EXPECT_EQ(outer.payload_offset, 54);
    EXPECT_EQ(outer.payload_bytes, 65535);
}

const std::vector<std::string> kIntactVectors{
    "vxlan_ipv4",
    "vxlan_ipv4_udp_checksum",
    "vxlan_ipv6_vlan",
    "gre_ipv4",
    "gre_key_ipv4_vlan",
    "gre_key_ipv6",
    "gre_checksum_key_sequence_ipv4",
    "vxlan_ipv4_options_padded",
};

TEST(OuterParse, AFrameCutOffAnywhereIsNeverAccepted) {
    for (const std::string& name : kIntactVectors) {
        const Bytes frame = vector_file(name);
        const Outer whole = parse(frame);
        const std::size_t ip_end =
            name == "vxlan_ipv4_options_padded" ? frame.size() - 4 : frame.size();
        for (std::size_t size = 0; size < ip_end; ++size) {
            const Bytes cut = prefix(frame, size);
            const Outer outer = parse(cut);
            if (size < whole.ip_offset) {
                EXPECT_FALSE(outer.is_ip) << name << " " << size;
                EXPECT_EQ(outer.drop, DropReason::none) << name << " " << size;
            } else {
                EXPECT_TRUE(outer.is_ip) << name << " " << size;
                EXPECT_EQ(outer.drop, kMalformed) << name << " " << size;
            }
        }
    }
}

TEST(OuterParse, NeedsOnlyTheHeadersToBeContiguous) {
    for (const std::string& name : kIntactVectors) {
        const Bytes frame = vector_file(name);
        const Outer whole = parse(frame);
        ASSERT_EQ(whole.drop, DropReason::none);
        for (std::size_t size = whole.ip_offset; size <= frame.size(); ++size) {
            const Outer outer = parse_outer(prefix(frame, size), frame.size());
            const bool enough = size >= whole.payload_offset;
            EXPECT_EQ(outer.drop, enough ? DropReason::none : kMalformed) << name << " " << size;
            if (enough) {
                EXPECT_EQ(outer.payload_bytes, whole.payload_bytes) << name << " " << size;
            }
        }
    }
}

TEST(OuterParse, IgnoresBytesBehindFrameBytes) {
    const Bytes frame = vector_file("vxlan_ipv4");
    EXPECT_EQ(parse_outer(frame, 40).drop, kMalformed);
    EXPECT_FALSE(parse_outer(frame, 13).is_ip);
}

TEST(OuterParse, RandomDamageNeverYieldsAPayloadOutsideTheFrame) {
    std::vector<Bytes> frames;
    for (const std::string& name : kIntactVectors) {
        frames.push_back(vector_file(name));
    }
    std::mt19937 random(4);
    std::size_t accepted = 0;
    for (int i = 0; i < 200000; ++i) {
        const Bytes& intact = frames[random() % frames.size()];
        const std::size_t cut = random() % 4 == 0 ? random() % intact.size() : 0;
        Bytes frame = prefix(intact, intact.size() - cut);
        for (unsigned flips = random() % 4; flips != 0 && !frame.empty(); --flips) {
            frame[random() % std::min<std::size_t>(frame.size(), 70)] =
                static_cast<std::byte>(random());
        }
        const Outer outer = parse(frame);
        if (outer.is_ip && outer.drop == DropReason::none) {
            ++accepted;
            ASSERT_LE(std::size_t{outer.payload_offset} + outer.payload_bytes, frame.size());
            ASSERT_GT(outer.payload_offset, outer.ip_offset);
        }
    }
    EXPECT_GT(accepted, 10000U) << "the damage must leave enough frames to say something about";
}

}  // namespace
}  // namespace culvert::tunnels
