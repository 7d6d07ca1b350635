// SPDX-License-Identifier: GPL-2.0-or-later
//
// ICMP errors, checked octet by octet against RFC 792, RFC 1191 and RFC 4443, and what no error may
// be about.
#include "tunnels/icmp_error.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/frames.hpp"

namespace culvert::tunnels {
namespace {

using culvert::tests::Bytes;
using culvert::tests::fix_ipv4_checksum;
using culvert::tests::from_hex;
using culvert::tests::kIp;
using culvert::tests::naive_sum;
using culvert::tests::octet;
using culvert::tests::prefix;
using culvert::tests::set_word;
using culvert::tests::word_at;

/// A frame whose IP payload has `bytes`; UDP from 10.0.0.1 to 10.0.0.2, or 2001:db8::1 to ::2.
Bytes frame(bool v6, std::size_t bytes, const std::string& tags = "") {
    Bytes result = from_hex(
        "020000000002 020000000001" + tags +
        (v6 ? "86dd 60000000 0000 11 40 20010db8000000000000000000000001"
              "20010db8000000000000000000000002"
            : "0800 4500 0000 abcd 4000 40 11 0000 0a000001 0a000002")
    );
    const std::size_t ip = kIp + tags.size() / 2;
    set_word(result, v6 ? ip + 4 : ip + 2, static_cast<unsigned>(v6 ? bytes : bytes + 20));
    if (!v6) {
        fix_ipv4_checksum(result, ip);
    }
    for (std::size_t i = 0; i < bytes; ++i) {
        result.push_back(static_cast<std::byte>(i * 7));
    }
    return result;
}

Bytes error_about(const Bytes& offending, const IcmpErrorRequest& request) {
    Bytes out(kIcmpErrorFrameBytesMax);
    out.resize(write_icmp_error(offending, request, out));
    return out;
}

Bytes too_big_about(const Bytes& offending, std::size_t ip_offset = kIp) {
    return error_about(
        offending,
        {.error = IcmpError::too_big,
         .ip_offset = static_cast<std::uint16_t>(ip_offset),
         .mtu = 1400,
         .source = std::nullopt}
    );
}

Bytes tail(const Bytes& bytes, std::size_t from) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.end()};
}

bool icmp_checksum_right(const Bytes& error, std::size_t ip, bool v6) {
    if (!v6) {
        return naive_sum(std::span(error).subspan(ip + 20)) == 0xffff &&
               naive_sum(std::span(error).subspan(ip, 20)) == 0xffff;
    }
    const unsigned pseudo =
        naive_sum(std::span(error).subspan(ip + 8, 32), word_at(error, ip + 4) + 58);
    return naive_sum(std::span(error).subspan(ip + 40), pseudo) == 0xffff;
}

TEST(IcmpErrorWrite, TooBigOverIpv4SeemsToComeFromTheDestination) {
    const Bytes offending = frame(false, 100);
    const Bytes error = too_big_about(offending);
    ASSERT_EQ(error.size(), kIp + 20 + 8 + 120);
    EXPECT_EQ(prefix(error, 16), from_hex("020000000001 020000000002 0800 45c0"));
    EXPECT_EQ(word_at(error, kIp + 2), 20U + 8 + 120);
    EXPECT_EQ(word_at(error, kIp + 6), 0U) << "no DF";
    EXPECT_EQ(word_at(error, kIp + 8), 0x4001U) << "TTL 64, ICMP";
    EXPECT_EQ(prefix(tail(error, kIp + 12), 8), from_hex("0a000002 0a000001"));
    EXPECT_EQ(word_at(error, kIp + 20), 0x0304U);
    EXPECT_EQ(word_at(error, kIp + 24), 0U);
    EXPECT_EQ(word_at(error, kIp + 26), 1400U);
    EXPECT_EQ(tail(error, kIp + 28), tail(offending, kIp));
    EXPECT_TRUE(icmp_checksum_right(error, kIp, false));
}

TEST(IcmpErrorWrite, TooBigOverIpv6SeemsToComeFromTheDestination) {
    const Bytes offending = frame(true, 101);
    const Bytes error = too_big_about(offending);
    ASSERT_EQ(error.size(), kIp + 40 + 8 + 141);
    EXPECT_EQ(prefix(error, 18), from_hex("020000000001 020000000002 86dd 6c000000"));
    EXPECT_EQ(word_at(error, kIp + 4), 8U + 141);
    EXPECT_EQ(word_at(error, kIp + 6), 0x3a40U);
    EXPECT_EQ(prefix(tail(error, kIp + 8), 16), prefix(tail(offending, kIp + 24), 16));
    EXPECT_EQ(prefix(tail(error, kIp + 24), 16), prefix(tail(offending, kIp + 8), 16));
    EXPECT_EQ(word_at(error, kIp + 40), 0x0200U);
    EXPECT_EQ(word_at(error, kIp + 44), 0U);
    EXPECT_EQ(word_at(error, kIp + 46), 1400U);
    EXPECT_EQ(tail(error, kIp + 48), tail(offending, kIp));
    EXPECT_TRUE(icmp_checksum_right(error, kIp, true));
}

TEST(IcmpErrorWrite, TimeExceededNamesNoMtu) {
    for (const bool v6 : {false, true}) {
        const IcmpErrorRequest request{
            .error = IcmpError::ttl_exceeded, .ip_offset = kIp, .mtu = 1400, .source = {}};
        const Bytes error = error_about(frame(v6, 33), request);
        const std::size_t icmp = kIp + (v6 ? 40 : 20);
        ASSERT_GT(error.size(), icmp + 8);
        EXPECT_EQ(word_at(error, icmp), v6 ? 0x0300U : 0x0b00U);
        EXPECT_EQ(word_at(error, icmp + 4) | word_at(error, icmp + 6), 0U);
        EXPECT_TRUE(icmp_checksum_right(error, kIp, v6));
    }
}

TEST(IcmpErrorWrite, ARouterAnswersByItsOwnAddress) {
    for (const bool v6 : {false, true}) {
        IcmpErrorRequest request{.source = IpAddress::parse(v6 ? "2001:db8::fe" : "10.0.0.254")};
        const Bytes error = error_about(frame(v6, 33), request);
        ASSERT_FALSE(error.empty());
        EXPECT_EQ(octet(error, kIp + (v6 ? 23 : 15)), 0xfeU);
        EXPECT_EQ(octet(error, kIp + (v6 ? 39 : 19)), 0x01U);
        EXPECT_TRUE(icmp_checksum_right(error, kIp, v6));
    }
    IcmpErrorRequest other_family{.source = IpAddress::parse("2001:db8::fe")};
    EXPECT_TRUE(error_about(frame(false, 33), other_family).empty());
}

TEST(IcmpErrorWrite, KeepsVlanTags) {
    for (const std::string tags : {"81000064", "88a800c881000064"}) {
        const std::size_t ip = kIp + tags.size() / 2;
        for (const bool v6 : {false, true}) {
            const Bytes error = too_big_about(frame(v6, 33, tags), ip);
            ASSERT_GT(error.size(), ip);
            EXPECT_EQ(prefix(tail(error, 12), tags.size() / 2), from_hex(tags));
            EXPECT_TRUE(icmp_checksum_right(error, ip, v6));
        }
    }
}

TEST(IcmpErrorWrite, QuotesAsMuchAsTheLimitsAndTheHeadHave) {
    EXPECT_EQ(too_big_about(frame(false, 1480)).size(), kIp + 576);
    EXPECT_EQ(too_big_about(frame(true, 1460)).size(), kIp + 1280);
    const Bytes contiguous = prefix(frame(false, 1480), kIp + 200);
    EXPECT_EQ(too_big_about(contiguous).size(), kIp + 28 + 200);
    Bytes padded = frame(false, 10);
    padded.resize(60);
    EXPECT_EQ(too_big_about(padded).size(), kIp + 28 + 30) << "padding is not quoted";
    Bytes small(kIp + 28 + 29);
    EXPECT_EQ(write_icmp_error(frame(false, 10), {}, small), 0U);
}

TEST(IcmpErrorWrite, ReportsNoMoreThanTheFieldOfIpv4Holds) {
    const IcmpErrorRequest request{.mtu = 0x12345, .source = {}};
    EXPECT_EQ(word_at(error_about(frame(false, 10), request), kIp + 26), 0xffffU);
}

TEST(IcmpErrorWrite, IsSilentAboutGroupsAndUnusableAddresses) {
    for (const bool v6 : {false, true}) {
        Bytes bytes = frame(v6, 33);
        bytes[0] = std::byte{0x03};
        EXPECT_TRUE(too_big_about(bytes).empty()) << "group destination";
        bytes = frame(v6, 33);
        bytes[6] = std::byte{0x03};
        EXPECT_TRUE(too_big_about(bytes).empty()) << "group source";
    }
    for (const std::size_t field : {12, 16}) {
        for (const std::string address : {"00000000", "7f000001", "e0000001", "ffffffff"}) {
            Bytes bytes = frame(false, 33);
            std::ranges::copy(from_hex(address), bytes.begin() + static_cast<long>(kIp + field));
            fix_ipv4_checksum(bytes, kIp);
            EXPECT_TRUE(too_big_about(bytes).empty()) << address;
        }
    }
    for (const std::size_t field : {8, 24}) {
        for (const std::string start : {"00", "ff"}) {
            Bytes bytes = frame(true, 33);
            const auto at = bytes.begin() + static_cast<long>(kIp + field);
            std::fill(at, at + 15, std::byte{0});
            *at = from_hex(start)[0];
            at[15] = std::byte{1};
            EXPECT_TRUE(too_big_about(bytes).empty()) << start << "::1";
            at[15] = std::byte{0};
            EXPECT_TRUE(too_big_about(bytes).empty()) << start << "::";
        }
    }
}

Bytes with_icmp(bool v6, unsigned type) {
    Bytes bytes = frame(v6, 33);
    bytes[kIp + (v6 ? 6 : 9)] = static_cast<std::byte>(v6 ? 58 : 1);
    bytes[kIp + (v6 ? 40 : 20)] = static_cast<std::byte>(type);
    if (!v6) {
        fix_ipv4_checksum(bytes, kIp);
    }
    return bytes;
}

TEST(IcmpErrorWrite, AnswersIcmpQueriesAndNoErrors) {
    for (const unsigned type : {0, 8, 13, 14, 15, 16, 17, 18}) {
        EXPECT_FALSE(too_big_about(with_icmp(false, type)).empty()) << type;
    }
    for (const unsigned type : {3, 4, 5, 11, 12, 9, 10, 1, 30, 255}) {
        EXPECT_TRUE(too_big_about(with_icmp(false, type)).empty()) << type;
    }
    for (unsigned type = 0; type < 256; ++type) {
        EXPECT_EQ(too_big_about(with_icmp(true, type)).empty(), type < 128) << type;
    }
    // The type is not within the head.
    EXPECT_TRUE(too_big_about(prefix(with_icmp(false, 8), kIp + 20)).empty());
    EXPECT_TRUE(too_big_about(prefix(with_icmp(true, 128), kIp + 40)).empty());
}

TEST(IcmpErrorWrite, FindsIcmpv6BehindExtensionHeaders) {
    for (const unsigned type : {3, 128}) {
        for (const unsigned extension : {0, 43, 44, 60}) {
            Bytes bytes = frame(true, 64);
            bytes[kIp + 6] = static_cast<std::byte>(extension);
            std::ranges::copy(
                from_hex("3c00000000000000 3a00000000000000"), bytes.begin() + kIp + 40
            );
            bytes[kIp + 56] = static_cast<std::byte>(type);
            EXPECT_EQ(too_big_about(bytes).empty(), type == 3) << extension;
            EXPECT_TRUE(too_big_about(prefix(bytes, kIp + 56)).empty());
            EXPECT_TRUE(too_big_about(prefix(bytes, kIp + 47)).empty());
        }
    }
    Bytes endless = frame(true, 400);
    std::fill(endless.begin() + kIp + 40, endless.end(), std::byte{0});
    endless[kIp + 6] = std::byte{0};
    EXPECT_TRUE(too_big_about(endless).empty());
}

TEST(IcmpErrorWrite, IsAboutTheFirstFragmentOnly) {
    Bytes bytes = frame(false, 33);
    set_word(bytes, kIp + 6, 0x2000);
    fix_ipv4_checksum(bytes, kIp);
    EXPECT_FALSE(too_big_about(bytes).empty());
    set_word(bytes, kIp + 6, 0x0001);
    fix_ipv4_checksum(bytes, kIp);
    EXPECT_TRUE(too_big_about(bytes).empty());

    Bytes six = frame(true, 33);
    six[kIp + 6] = std::byte{44};
    std::ranges::copy(from_hex("1100000100000001"), six.begin() + kIp + 40);
    EXPECT_FALSE(too_big_about(six).empty());
    set_word(six, kIp + 42, 0x0009);
    EXPECT_TRUE(too_big_about(six).empty());
}

TEST(IcmpErrorWrite, IsSilentAboutMalformedHeaders) {
    const auto damaged = [](std::size_t at, unsigned value) {
        Bytes bytes = frame(false, 33);
        set_word(bytes, kIp + at, value);
        fix_ipv4_checksum(bytes, kIp);
        return too_big_about(bytes).empty();
    };
    EXPECT_TRUE(damaged(0, 0x4400)) << "IHL 4";
    EXPECT_TRUE(damaged(0, 0x6500)) << "version 6";
    EXPECT_TRUE(damaged(2, 19)) << "total length";
    Bytes bytes = frame(false, 33);
    bytes[kIp + 8] ^= std::byte{1};
    EXPECT_TRUE(too_big_about(bytes).empty()) << "checksum";
    bytes = frame(true, 33);
    bytes[kIp] = std::byte{0x40};
    EXPECT_TRUE(too_big_about(bytes).empty()) << "version 4";
    bytes = frame(false, 33);
    set_word(bytes, 12, 0x0806);
    EXPECT_TRUE(too_big_about(bytes).empty()) << "ARP";
    EXPECT_TRUE(too_big_about(frame(false, 33), 13).empty()) << "offset within Ethernet";
}

TEST(IcmpErrorWrite, ReadsNothingBehindTheHead) {
    for (const bool v6 : {false, true}) {
        const Bytes whole = frame(v6, 33);
        const std::size_t headers = kIp + (v6 ? 40 : 20);
        for (std::size_t size = 0; size <= whole.size(); ++size) {
            EXPECT_EQ(too_big_about(prefix(whole, size)).empty(), size < headers) << size;
        }
    }
}

}  // namespace
}  // namespace culvert::tunnels
