// SPDX-License-Identifier: GPL-2.0-or-later
//
// GRE header rules (RFC 2784, RFC 2890) beyond the conformance suite.
#include "tunnels/gre.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
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
Bytes header_with(unsigned flags) {
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
    EXPECT_TRUE(parsed.verify_checksum);
    EXPECT_EQ(checksum_fold(checksum_add(0, packet)), 0xffff) << "the check verify_checksum asks";
}

TEST(GreParse, FindsTheKeyForEveryCombinationOfOptions) {
    for (unsigned options = 0; options < 8; ++options) {
        const bool checksum = (options & 4U) != 0;
        const bool key = (options & 2U) != 0;
        const bool sequence = (options & 1U) != 0;
        const unsigned flags =
            (checksum ? 0x8000U : 0U) | (key ? 0x2000U : 0U) | (sequence ? 0x1000U : 0U);
        const std::size_t bytes = 4 + 4 * (std::size_t{checksum} + key + sequence);
        const Bytes header = header_with(flags);
        const Parsed parsed = Gre::parse(header);
        EXPECT_EQ(parsed.drop, DropReason::none);
        EXPECT_EQ(parsed.header_bytes, bytes);
        EXPECT_EQ(parsed.verify_checksum, checksum);
        EXPECT_EQ(parsed.has_key, key);
        EXPECT_EQ(parsed.key, !key ? 0U : checksum ? 0x22222222U : 0x11111111U);
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
        EXPECT_EQ(Gre::parse(header_with(flags)).drop, expected) << bit;
        const DropReason with_key = Gre::parse(header_with(flags | 0x2000U)).drop;
        EXPECT_EQ(with_key, expected) << bit;
    }
}

TEST(GreParse, JudgesTheVersionBeforeTheBitsItDefines) {
    EXPECT_EQ(Gre::parse(header_with(0xffff)).drop, DropReason::gre_version);
    EXPECT_EQ(Gre::parse(header_with(0x4ff8)).drop, DropReason::gre_routing);
    Bytes pptp = header_with(0x3001);
    set_word(pptp, 2, 0x880b);
    EXPECT_EQ(Gre::parse(pptp).drop, DropReason::gre_version);
}

TEST(GreParse, AcceptsTransparentEthernetBridgingOnly) {
    for (const unsigned protocol : {0x0800U, 0x86ddU, 0x88beU, 0x5865U, 0x0000U}) {
        Bytes header = header_with(0x2000);
        set_word(header, 2, protocol);
        EXPECT_EQ(Gre::parse(header).drop, DropReason::gre_protocol) << protocol;
    }
}

TEST(GreWrite, SendsTheKeyFieldOnlyWithAKey) {
    Bytes plain(Gre::header_bytes({std::nullopt}), std::byte{0xff});
    Gre::write({std::nullopt}, plain);
    EXPECT_EQ(plain, from_hex("0000 6558"));
    Bytes zero(Gre::header_bytes({0U}), std::byte{0xff});
    Gre::write({0U}, zero);
    EXPECT_EQ(zero, from_hex("2000 6558 00000000"));
    Bytes keyed(Gre::header_bytes({0xdeadbeefU}), std::byte{0xff});
    Gre::write({0xdeadbeefU}, keyed);
    EXPECT_EQ(keyed, from_hex("2000 6558 deadbeef"));
}

}  // namespace
}  // namespace culvert::tunnels
