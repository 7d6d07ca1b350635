// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN header rules (RFC 7348 section 5, draft-smith-vxlan-group-policy) beyond the conformance
// suite.
#include "tunnels/vxlan.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;

TEST(VxlanParse, ReadsScapysHeader) {
    const Bytes frame = tests::vector_file("vxlan_ipv4");
    const Parsed parsed = Vxlan::parse(std::span(frame).subspan(42));
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_EQ(parsed.header_bytes, 8);
    EXPECT_TRUE(parsed.has_key);
    EXPECT_EQ(parsed.key, 0x123456U);
    EXPECT_FALSE(parsed.verify_checksum);
}

TEST(VxlanParse, RejectsClearIFlag) {
    EXPECT_EQ(Vxlan::parse(from_hex("00000000 00000100")).drop, DropReason::vxlan_flags);
}

TEST(VxlanParse, AcceptsTheIFlagAloneOrWithGroupPolicy) {
    for (unsigned flags = 0; flags < 256; ++flags) {
        Bytes header = from_hex("00000000 00000100");
        header[0] = static_cast<std::byte>(flags);
        const bool known = flags == 0x08 || flags == 0x88;
        const DropReason expected = known ? DropReason::none : DropReason::vxlan_flags;
        EXPECT_EQ(Vxlan::parse(header).drop, expected) << flags;
    }
}

TEST(VxlanParse, ReadsScapysGroupPolicy) {
    const Bytes frame = tests::vector_file("vxlan_group_policy_ipv4");
    const Parsed parsed = Vxlan::parse(std::span(frame).subspan(42));
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_TRUE(parsed.has_group_policy);
    EXPECT_EQ(parsed.group_policy, 0xbeef);
    EXPECT_EQ(parsed.key, 0x123456U);
}

TEST(VxlanParse, IgnoresTheBitsBesideTheGroupPolicyId) {
    for (unsigned bits = 0; bits < 256; ++bits) {
        Bytes header = from_hex("8800beef 123456ff");
        header[1] = static_cast<std::byte>(bits);
        const Parsed parsed = Vxlan::parse(header);
        EXPECT_EQ(parsed.drop, DropReason::none) << bits;
        EXPECT_EQ(parsed.group_policy, 0xbeef);
    }
}

TEST(VxlanParse, WithoutTheGFlagThereIsNoGroupPolicy) {
    const Parsed parsed = Vxlan::parse(from_hex("0848beef 12345600"));
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_FALSE(parsed.has_group_policy);
    EXPECT_EQ(parsed.group_policy, 0);
}

TEST(VxlanParse, IgnoresTheReservedFields) {
    for (const std::size_t at : {1U, 2U, 3U, 7U}) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            Bytes header = from_hex("08000000 12345600");
            header[at] = static_cast<std::byte>(1U << bit);
            const Parsed parsed = Vxlan::parse(header);
            EXPECT_EQ(parsed.drop, DropReason::none);
            EXPECT_EQ(parsed.key, 0x123456U);
        }
    }
}

TEST(VxlanParse, TruncationIsMalformedWhateverTheFlags) {
    for (std::size_t size = 0; size < 8; ++size) {
        EXPECT_EQ(
            Vxlan::parse(tests::prefix(from_hex("ffffffffffffffff"), size)).drop,
            DropReason::vxlan_malformed
        );
    }
}

TEST(VxlanWrite, ClearsReservedFieldsAndPutsTheVniInTheUpperBits) {
    Bytes out(8, std::byte{0xff});
    Vxlan::write({.key = 0xabcdefU}, out);
    EXPECT_EQ(out, from_hex("08000000 abcdef00"));
}

TEST(VxlanWrite, SendsVniZeroWithoutAKey) {
    Bytes out(8, std::byte{0xff});
    Vxlan::write({}, out);
    EXPECT_EQ(out, from_hex("08000000 00000000"));
}

TEST(VxlanWrite, SendsTheGroupPolicyIdOfTheTunnel) {
    Bytes out(8, std::byte{0xff});
    Vxlan::write({.key = 1U, .group_policy = std::uint16_t{0}}, out);
    EXPECT_EQ(out, from_hex("88000000 00000100"));
    Vxlan::write({.key = 1U, .group_policy = std::uint16_t{0xbeef}}, out);
    EXPECT_EQ(out, from_hex("8800beef 00000100"));
}

TEST(VxlanPatch, HandsTheGroupPolicyIdOfThePacketOn) {
    Bytes out = from_hex("88001234 00000100");
    Vxlan::patch(out, {});
    EXPECT_EQ(out, from_hex("88001234 00000100")) << "it came in with none";
    Vxlan::patch(out, {.group_policy = std::uint16_t{0xbeef}});
    EXPECT_EQ(out, from_hex("8800beef 00000100"));
    Bytes plain = from_hex("08000000 00000100");
    Vxlan::patch(plain, {});
    EXPECT_EQ(plain, from_hex("08000000 00000100"));
    Vxlan::patch(plain, {.group_policy = std::uint16_t{0xbeef}});
    EXPECT_EQ(plain, from_hex("8800beef 00000100")) << "the tunnel has none of its own";
}

}  // namespace
}  // namespace culvert::tunnels
