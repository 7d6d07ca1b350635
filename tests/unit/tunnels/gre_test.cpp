// SPDX-License-Identifier: GPL-2.0-or-later
//
// GRE header rules (RFC 2784, RFC 2890, RFC 7637) beyond the conformance suite.
#include "tunnels/gre.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::prefix;
using tests::set_word;

/// Flags, 0x6558 and twelve bytes of which each of the three option words is different.
Bytes gre_header_with(unsigned flags) {
    Bytes header = from_hex("0000 6558 11111111 22222222 33333333");
    set_word(header, 0, flags);
    return header;
}

TEST(GreParse, ReadsScapysHeaders) {
    const Bytes plain = tests::vector_file("gre_ipv4");
    const Parsed without_key = Gre::parse(std::span(plain).subspan(34));
    EXPECT_EQ(without_key.drop, DropReason::none);
    EXPECT_EQ(without_key.header_bytes, 4);
    EXPECT_FALSE(without_key.has_key);

    const Bytes keyed = tests::vector_file("gre_key_ipv4_vlan");
    const Parsed with_key = Gre::parse(std::span(keyed).subspan(38));
    EXPECT_EQ(with_key.header_bytes, 8);
    EXPECT_TRUE(with_key.has_key);
    EXPECT_EQ(with_key.key, 0xdeadbeefU);
}

TEST(GreParse, ReadsScapysChecksumKeyAndSequence) {
    const Bytes frame = tests::vector_file("gre_checksum_key_sequence_ipv4");
    const auto packet = std::span(frame).subspan(34);
    const Parsed parsed = Gre::parse(packet);
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_EQ(parsed.header_bytes, 16);
    EXPECT_EQ(parsed.key, 300U);
    EXPECT_TRUE(parsed.has_sequence);
    EXPECT_EQ(parsed.sequence, 9U);
    EXPECT_EQ(parsed.payload, Payload::ethernet);
    EXPECT_TRUE(parsed.verify_checksum);
    EXPECT_EQ(checksum_fold(checksum_add(0, packet)), 0xffff) << "the check verify_checksum asks";
}

TEST(GreParse, ReadsScapysIpPayloads) {
    const Bytes v6 = tests::vector_file("gre_checksum_sequence_ip6_ipv4");
    const auto packet = std::span(v6).subspan(34);
    const Parsed parsed = Gre::parse(packet);
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_EQ(parsed.payload, Payload::ip);
    EXPECT_EQ(parsed.header_bytes, 12);
    EXPECT_FALSE(parsed.has_key);
    EXPECT_EQ(parsed.sequence, 0x01020304U);
    EXPECT_TRUE(parsed.verify_checksum);
    EXPECT_EQ(checksum_fold(checksum_add(0, packet)), 0xffff);

    const Bytes v4 = tests::vector_file("gre_ip4_ipv6");
    const Parsed keyed = Gre::parse(std::span(v4).subspan(54));
    EXPECT_EQ(keyed.drop, DropReason::none);
    EXPECT_EQ(keyed.payload, Payload::ip);
    EXPECT_EQ(keyed.key, 6U);
    EXPECT_FALSE(keyed.has_sequence);
}

TEST(GreParse, ReturnsTheWholeKeyFieldOfNvgre) {
    const Bytes frame = tests::vector_file("gre_nvgre_ipv4");
    const Parsed parsed = Gre::parse(std::span(frame).subspan(34));
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_EQ(parsed.key, 0x123456a7U) << "whether its last octet is a flow id, the tunnel knows";
}

TEST(GreParse, FindsKeyAndSequenceForEveryCombinationOfOptions) {
    for (unsigned options = 0; options < 8; ++options) {
        const bool checksum = (options & 4U) != 0;
        const bool key = (options & 2U) != 0;
        const bool sequence = (options & 1U) != 0;
        const unsigned flags =
            (checksum ? 0x8000U : 0U) | (key ? 0x2000U : 0U) | (sequence ? 0x1000U : 0U);
        const std::size_t bytes = 4 + 4 * (std::size_t{checksum} + key + sequence);
        const Bytes header = gre_header_with(flags);
        const Parsed parsed = Gre::parse(header);
        EXPECT_EQ(parsed.drop, DropReason::none);
        EXPECT_EQ(parsed.header_bytes, bytes);
        EXPECT_EQ(parsed.verify_checksum, checksum);
        EXPECT_EQ(parsed.has_key, key);
        EXPECT_EQ(parsed.key, !key ? 0U : checksum ? 0x22222222U : 0x11111111U);
        EXPECT_EQ(parsed.has_sequence, sequence);
        const unsigned before = unsigned{checksum} + unsigned{key};
        EXPECT_EQ(parsed.sequence, sequence ? (before + 1) * 0x11111111U : 0U);
        for (std::size_t size = 0; size < bytes; ++size) {
            EXPECT_EQ(Gre::parse(prefix(header, size)).drop, DropReason::gre_malformed)
                << options << " " << size;
        }
    }
}

TEST(GreParse, NamesWhatIsWrongWithEachFlagBit) {
    for (unsigned bit = 0; bit < 16; ++bit) {
        const unsigned flags = 1U << bit;
        DropReason expected = DropReason::gre_reserved_bits;
        if (bit <= 2) {
            expected = DropReason::gre_version;
        } else if (bit == 14) {
            expected = DropReason::gre_routing;
        } else if (bit == 15 || bit == 13 || bit == 12) {
            expected = DropReason::none;
        }
        EXPECT_EQ(Gre::parse(gre_header_with(flags)).drop, expected) << bit;
        const DropReason with_key = Gre::parse(gre_header_with(flags | 0x2000U)).drop;
        EXPECT_EQ(with_key, expected) << bit;
    }
}

TEST(GreParse, JudgesTheVersionBeforeTheBitsItDefines) {
    EXPECT_EQ(Gre::parse(gre_header_with(0xffff)).drop, DropReason::gre_version);
    EXPECT_EQ(Gre::parse(gre_header_with(0x4ff8)).drop, DropReason::gre_routing);
    Bytes pptp = gre_header_with(0x3001);
    set_word(pptp, 2, 0x880b);
    EXPECT_EQ(Gre::parse(pptp).drop, DropReason::gre_version);
}

TEST(GreParse, AcceptsTransparentEthernetBridgingAndIpOnly) {
    for (unsigned protocol = 0; protocol <= 0xffff; ++protocol) {
        Bytes header = gre_header_with(0x2000);
        set_word(header, 2, protocol);
        const Parsed parsed = Gre::parse(header);
        if (protocol == 0x6558) {
            ASSERT_EQ(parsed.payload, Payload::ethernet);
        } else if (protocol == 0x0800 || protocol == 0x86dd) {
            ASSERT_EQ(parsed.payload, Payload::ip);
        } else {
            ASSERT_EQ(parsed.drop, DropReason::gre_protocol) << protocol;
            continue;
        }
        ASSERT_EQ(parsed.drop, DropReason::none) << protocol;
    }
}

Bytes gre_written(const HeaderConfig& config) {
    Bytes out(Gre::header_bytes(config), std::byte{0xff});
    Gre::write(config, out);
    return out;
}

Bytes patched(const HeaderConfig& config, const PacketFacts& facts) {
    Bytes out = gre_written(config);
    Gre::patch(out, facts);
    return out;
}

TEST(GreWrite, SendsTheKeyFieldOnlyWithAKey) {
    EXPECT_EQ(gre_written({}), from_hex("0000 6558"));
    EXPECT_EQ(gre_written({.key = 0U}), from_hex("2000 6558 00000000"));
    EXPECT_EQ(gre_written({.key = 0xdeadbeefU}), from_hex("2000 6558 deadbeef"));
}

TEST(GreWrite, PutsChecksumKeyAndSequenceInTheOrderOfTheRfc) {
    EXPECT_EQ(gre_written({.checksum = true}), from_hex("8000 6558 00000000"));
    EXPECT_EQ(gre_written({.sequence = true}), from_hex("1000 6558 00000000"));
    const HeaderConfig all{.key = 0xdeadbeefU, .checksum = true, .sequence = true};
    EXPECT_EQ(gre_written(all), from_hex("b000 6558 00000000 deadbeef 00000000"));
    EXPECT_EQ(Gre::checksum_offset(all), 4U);
}

TEST(GreWrite, AnNvgreKeyIsShiftedAndAlwaysThere) {
    EXPECT_EQ(gre_written({.key = 0x123456U, .nvgre_key = true}), from_hex("2000 6558 12345600"));
    EXPECT_EQ(gre_written({.nvgre_key = true}), from_hex("2000 6558 00000000"))
        << "RFC 7637: K is 1";
}

TEST(GrePatch, NumbersThePacketWhereverTheFieldIs) {
    const PacketFacts facts{.sequence = 0x01020304};
    EXPECT_EQ(patched({.sequence = true}, facts), from_hex("1000 6558 01020304"));
    EXPECT_EQ(
        patched({.key = 7, .sequence = true}, facts), from_hex("3000 6558 00000007 01020304")
    );
    EXPECT_EQ(
        patched({.checksum = true, .sequence = true}, facts),
        from_hex("9000 6558 00000000 01020304")
    );
    EXPECT_EQ(
        patched({.key = 7, .checksum = true, .sequence = true}, facts),
        from_hex("b000 6558 00000000 00000007 01020304")
    );
}

TEST(GrePatch, SaysWhichIpVersionFollows) {
    const HeaderConfig config{.key = 1, .payload = Payload::ip};
    EXPECT_EQ(patched(config, {.is_v6 = false}), from_hex("2000 0800 00000001"));
    EXPECT_EQ(patched(config, {.is_v6 = true}), from_hex("2000 86dd 00000001"));
    EXPECT_EQ(patched({.key = 1}, {.is_v6 = true}), from_hex("2000 6558 00000001"))
        << "a frame stays a frame";
}

TEST(GrePatch, WritesTheFlowIdIntoTheLastOctetOfAnNvgreKeyOnly) {
    const PacketFacts nvgre{.entropy = 0x112233a7, .nvgre_key = true};
    const PacketFacts plain{.entropy = 0x112233a7};
    const HeaderConfig config{.key = 0x123456, .nvgre_key = true};
    EXPECT_EQ(patched(config, nvgre), from_hex("2000 6558 123456a7"));
    EXPECT_EQ(patched({.key = 0x12345600}, plain), from_hex("2000 6558 12345600"));
    const HeaderConfig checked{.key = 0x123456, .checksum = true, .nvgre_key = true};
    EXPECT_EQ(patched(checked, nvgre), from_hex("a000 6558 00000000 123456a7"));
}

}  // namespace
}  // namespace culvert::tunnels
