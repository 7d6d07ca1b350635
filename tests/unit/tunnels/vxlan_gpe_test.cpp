// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN-GPE header rules (draft-ietf-nvo3-vxlan-gpe section 3) beyond the conformance suite.
#include "tunnels/vxlan_gpe.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;

Bytes gpe_header_with(unsigned flags, unsigned next_protocol = 3) {
    Bytes header = from_hex("00000000 12345600");
    header[0] = static_cast<std::byte>(flags);
    header[3] = static_cast<std::byte>(next_protocol);
    return header;
}

TEST(VxlanGpeParse, ReadsScapysHeaders) {
    const Bytes frame = tests::vector_file("vxlan_gpe_ipv4");
    const Parsed ethernet = VxlanGpe::parse(std::span(frame).subspan(42));
    EXPECT_EQ(ethernet.drop, DropReason::none);
    EXPECT_EQ(ethernet.payload, Payload::ethernet);
    EXPECT_EQ(ethernet.header_bytes, 8);
    EXPECT_EQ(ethernet.key, 0x123456U);

    const Bytes packet = tests::vector_file("vxlan_gpe_ip6_ipv6");
    const Parsed ip = VxlanGpe::parse(std::span(packet).subspan(62));
    EXPECT_EQ(ip.drop, DropReason::none);
    EXPECT_EQ(ip.payload, Payload::ip);
    EXPECT_EQ(ip.key, 77U);
}

TEST(VxlanGpeParse, NamesWhatIsWrongWithEachFlagsOctet) {
    for (unsigned flags = 0; flags < 256; ++flags) {
        DropReason expected = DropReason::vxlan_gpe_flags;
        if ((flags & 0xfdU) == 0x0c) {
            expected = DropReason::none;  // I and P, with or without B.
        } else if ((flags & 0xfdU) == 0x0d) {
            expected = DropReason::vxlan_gpe_oam;
        }
        EXPECT_EQ(VxlanGpe::parse(gpe_header_with(flags)).drop, expected) << flags;
    }
}

TEST(VxlanGpeParse, AcceptsEthernetAndIpOnly) {
    for (unsigned next = 0; next < 256; ++next) {
        const Parsed parsed = VxlanGpe::parse(gpe_header_with(0x0c, next));
        if (next < 1 || next > 3) {
            EXPECT_EQ(parsed.drop, DropReason::vxlan_gpe_protocol) << next;
            continue;
        }
        EXPECT_EQ(parsed.drop, DropReason::none) << next;
        EXPECT_EQ(parsed.payload, next == 3 ? Payload::ethernet : Payload::ip) << next;
    }
}

TEST(VxlanGpeParse, IgnoresTheReservedFields) {
    for (const std::size_t at : {1U, 2U, 7U}) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            Bytes header = gpe_header_with(0x0c);
            header[at] = static_cast<std::byte>(1U << bit);
            const Parsed parsed = VxlanGpe::parse(header);
            EXPECT_EQ(parsed.drop, DropReason::none);
            EXPECT_EQ(parsed.key, 0x123456U);
        }
    }
}

TEST(VxlanGpeParse, TruncationIsMalformedWhateverTheFlags) {
    for (std::size_t size = 0; size < 8; ++size) {
        EXPECT_EQ(
            VxlanGpe::parse(tests::prefix(from_hex("ffffffffffffffff"), size)).drop,
            DropReason::vxlan_gpe_malformed
        );
    }
}

TEST(VxlanGpeWrite, NamesThePayload) {
    Bytes out(8, std::byte{0xff});
    VxlanGpe::write({.key = 0xabcdefU}, out);
    EXPECT_EQ(out, from_hex("0c000003 abcdef00"));
    VxlanGpe::patch(out, {.is_v6 = true});
    EXPECT_EQ(out, from_hex("0c000003 abcdef00")) << "a frame stays a frame";
    VxlanGpe::write({.key = 0xabcdefU, .payload = Payload::ip}, out);
    VxlanGpe::patch(out, {.is_v6 = false});
    EXPECT_EQ(out, from_hex("0c000001 abcdef00"));
    VxlanGpe::patch(out, {.is_v6 = true});
    EXPECT_EQ(out, from_hex("0c000002 abcdef00"));
}

}  // namespace
}  // namespace culvert::tunnels
