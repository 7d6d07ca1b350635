// SPDX-License-Identifier: GPL-2.0-or-later
//
// The Internet checksum against a word-by-word reference, published examples and scapy's packets.
#include "tunnels/checksum.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::naive_sum;
using tests::vector_file;

/// The folded sum as the number that stands on the wire.
unsigned wire_value(std::uint64_t sum) {
    const std::uint16_t folded = checksum_fold(sum);
    std::array<std::byte, 2> octets{};
    std::memcpy(octets.data(), &folded, sizeof folded);
    return tests::word_at(octets, 0);
}

Bytes random_bytes(std::mt19937_64& random, std::size_t size) {
    Bytes bytes(size);
    for (std::byte& b : bytes) {
        b = static_cast<std::byte>(random());
    }
    return bytes;
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {
    EXPECT_EQ(wire_value(checksum_add(0, from_hex("0001f203f4f5f6f7"))), 0xddf2U);
}

TEST(Checksum, OfNothingIsTheSumGiven) {
    EXPECT_EQ(checksum_add(0, {}), 0U);
    EXPECT_EQ(checksum_add(1234, {}), 1234U);
    EXPECT_EQ(checksum_add(1234, {}, true), 1234U);
}

TEST(Checksum, MatchesTheReferenceAtEveryLengthAndAlignment) {
    std::mt19937_64 random(1);
    const Bytes data = random_bytes(random, 400);
    for (std::size_t start = 0; start < 17; ++start) {
        for (std::size_t length = 0; start + length <= data.size(); ++length) {
            const auto part = std::span(data).subspan(start, length);
            ASSERT_EQ(wire_value(checksum_add(0, part)), naive_sum(part))
                << "start " << start << " length " << length;
        }
    }
}

TEST(Checksum, MatchesTheReferenceForLargePackets) {
    std::mt19937_64 random(2);
    for (int i = 0; i < 50; ++i) {
        const Bytes data = random_bytes(random, random() % 70000);
        ASSERT_EQ(wire_value(checksum_add(0, data)), naive_sum(data)) << data.size();
    }
}

TEST(Checksum, LosesNoCarryWhenEveryBitIsSet) {
    const Bytes ones(65535, std::byte{0xff});
    EXPECT_EQ(wire_value(checksum_add(0, ones)), naive_sum(ones));
    constexpr std::uint64_t kAllOnes = std::numeric_limits<std::uint64_t>::max();
    EXPECT_EQ(checksum_fold(kAllOnes), 0xffff);
    EXPECT_EQ(wire_value(checksum_add(kAllOnes, ones)), naive_sum(ones));
    EXPECT_EQ(
        wire_value(checksum_add(kAllOnes - 1, from_hex("ffffffffffffffff"))),
        wire_value(kAllOnes - 1)
    );
}

TEST(Checksum, OfPiecesIsThatOfTheWholeWhenOddStartIsGiven) {
    std::mt19937_64 random(3);
    for (int i = 0; i < 2000; ++i) {
        const Bytes data = random_bytes(random, 1 + random() % 300);
        std::uint64_t sum = 0;
        std::size_t at = 0;
        while (at < data.size()) {
            const std::size_t length = std::min<std::size_t>(random() % 80, data.size() - at);
            sum = checksum_add(sum, std::span(data).subspan(at, length), at % 2 != 0);
            at += length;
        }
        ASSERT_EQ(wire_value(sum), naive_sum(data)) << "iteration " << i;
    }
}

TEST(Checksum, OddStartPutsTheFirstByteInTheLowHalf) {
    EXPECT_EQ(wire_value(checksum_add(0, from_hex("ab"), false)), 0xab00U);
    EXPECT_EQ(wire_value(checksum_add(0, from_hex("ab"), true)), 0x00abU);
}

TEST(PseudoHeader, MatchesScapysUdpChecksumOverIpv4) {
    const Bytes frame = vector_file("vxlan_ipv4_udp_checksum");
    const auto udp = std::span(frame).subspan(34);
    const std::uint64_t pseudo = pseudo_header_sum(
        *IpAddress::parse("172.20.0.1"),
        *IpAddress::parse("172.20.0.2"),
        17,
        static_cast<std::uint32_t>(udp.size())
    );
    EXPECT_EQ(checksum_fold(checksum_add(pseudo, udp)), 0xffff);
}

TEST(PseudoHeader, MatchesScapysUdpChecksumOverIpv6) {
    const Bytes frame = vector_file("vxlan_ipv6_vlan");
    const auto udp = std::span(frame).subspan(58);
    const std::uint64_t pseudo = pseudo_header_sum(
        *IpAddress::parse("fd20::1"),
        *IpAddress::parse("fd20::2"),
        17,
        static_cast<std::uint32_t>(udp.size())
    );
    EXPECT_EQ(checksum_fold(checksum_add(pseudo, udp)), 0xffff);
}

TEST(PseudoHeader, IsTheSumOfItsFields) {
    const Bytes v4 = from_hex("c0a80001 c0a80002 0011 1234");
    EXPECT_EQ(
        wire_value(pseudo_header_sum(
            *IpAddress::parse("192.168.0.1"), *IpAddress::parse("192.168.0.2"), 17, 0x1234
        )),
        naive_sum(v4)
    );
    const Bytes v6 = from_hex(
        "20010db8000000000000000000000001 ff020000000000000000000000000002 00015678 0000003a"
    );
    EXPECT_EQ(
        wire_value(pseudo_header_sum(
            *IpAddress::parse("2001:db8::1"), *IpAddress::parse("ff02::2"), 58, 0x15678
        )),
        naive_sum(v6)
    );
}

}  // namespace
}  // namespace culvert::tunnels
