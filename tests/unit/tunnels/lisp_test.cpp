// SPDX-License-Identifier: GPL-2.0-or-later
//
// LISP data header rules (RFC 9300 sections 5.1 to 5.3) beyond the conformance suite.
#include "tunnels/lisp.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;

TEST(LispParse, ReadsTheVectors) {
    const Bytes v4 = tests::vector_file("lisp_ipv4");
    const Parsed plain = Lisp::parse(std::span(v4).subspan(42));
    EXPECT_EQ(plain.drop, DropReason::none);
    EXPECT_EQ(plain.payload, Payload::ip);
    EXPECT_EQ(plain.header_bytes, 8);
    EXPECT_TRUE(plain.has_key);
    EXPECT_EQ(plain.key, 300U);

    const Bytes v6 = tests::vector_file("lisp_nonce_ip6_ipv6");
    const Parsed nonce = Lisp::parse(std::span(v6).subspan(62));
    EXPECT_EQ(nonce.drop, DropReason::none);
    EXPECT_EQ(nonce.payload, Payload::ip);
    EXPECT_EQ(nonce.key, 0x123456U) << "neither the nonce nor the locator status is part of it";
}

TEST(LispParse, JudgesEachFlagsOctet) {
    for (unsigned flags = 0; flags < 256; ++flags) {
        Bytes header = from_hex("00ffffff 12345699");
        header[0] = static_cast<std::byte>(flags);
        const Parsed parsed = Lisp::parse(header);
        const bool nonce_and_version = (flags & 0x90U) == 0x90;
        const bool encrypted = (flags & 0x03U) != 0;
        if (nonce_and_version || encrypted) {
            EXPECT_EQ(parsed.drop, DropReason::lisp_flags) << flags;
            continue;
        }
        EXPECT_EQ(parsed.drop, DropReason::none) << flags << ": N, L, E, V, I and R are tolerated";
        const bool instance = (flags & 0x08U) != 0;
        EXPECT_EQ(parsed.has_key, instance) << flags;
        EXPECT_EQ(parsed.key, instance ? 0x123456U : 0U) << flags;
    }
}

TEST(LispParse, WithoutTheIBitAllOfTheWordIsLocatorStatus) {
    const Parsed parsed = Lisp::parse(from_hex("40000000 ffffffff"));
    EXPECT_EQ(parsed.drop, DropReason::none);
    EXPECT_FALSE(parsed.has_key);
    EXPECT_EQ(parsed.key, 0U);
}

TEST(LispParse, TruncationIsMalformedWhateverTheFlags) {
    for (std::size_t size = 0; size < 8; ++size) {
        EXPECT_EQ(
            Lisp::parse(tests::prefix(from_hex("ffffffffffffffff"), size)).drop,
            DropReason::lisp_malformed
        );
    }
}

TEST(LispWrite, SendsTheInstanceIdAndOneLocatorUp) {
    Bytes out(8, std::byte{0xff});
    Lisp::write({.key = 0xabcdefU}, out);
    EXPECT_EQ(out, from_hex("48000000 abcdef01"));
    Lisp::write({}, out);
    EXPECT_EQ(out, from_hex("48000000 00000001"));
}

}  // namespace
}  // namespace culvert::tunnels
