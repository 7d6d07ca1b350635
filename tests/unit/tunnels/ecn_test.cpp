// SPDX-License-Identifier: GPL-2.0-or-later
//
// RFC 6040: each cell of figure 4 on decapsulation, both modes of encapsulation, and the rewrite of
// the field in IPv4 and IPv6 headers.
#include "tunnels/ecn.hpp"

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::naive_sum;

struct Cell {
    const char* name;
    std::uint8_t inner;
    std::uint8_t outer;
    EcnDecap expected;
};

void PrintTo(const Cell& cell, std::ostream* out) {
    *out << cell.name;
}

class EcnDecapFigure4 : public testing::TestWithParam<Cell> {};

TEST_P(EcnDecapFigure4, Cell) {
    const Cell& cell = GetParam();
    const EcnDecap decap = ecn_decap(cell.inner, cell.outer);
    EXPECT_EQ(decap.drop, cell.expected.drop);
    EXPECT_EQ(decap.anomaly, cell.expected.anomaly);
    if (!decap.drop) {
        EXPECT_EQ(decap.ecn, cell.expected.ecn);
    }
    // The rest of the TOS octets does not matter.
    EXPECT_EQ(
        ecn_decap(static_cast<std::uint8_t>(cell.inner | 0xb8U), cell.outer),
        ecn_decap(cell.inner, static_cast<std::uint8_t>(cell.outer | 0x28U))
    );
}

constexpr std::uint8_t kNot = 0;
constexpr std::uint8_t kOne = 1;
constexpr std::uint8_t kZero = 2;
constexpr std::uint8_t kMarked = 3;

INSTANTIATE_TEST_SUITE_P(
    Rfc6040,
    EcnDecapFigure4,
    testing::Values(
        Cell{"not_in_not", kNot, kNot, {kNot, false, EcnAnomaly::none}},
        Cell{"not_in_ect0", kNot, kZero, {kNot, false, EcnAnomaly::not_ect_in_ect0}},
        Cell{"not_in_ect1", kNot, kOne, {kNot, false, EcnAnomaly::not_ect_in_ect1}},
        Cell{"not_in_ce", kNot, kMarked, {kNot, true, EcnAnomaly::not_ect_in_ce}},
        Cell{"ect0_in_not", kZero, kNot, {kZero, false, EcnAnomaly::none}},
        Cell{"ect0_in_ect0", kZero, kZero, {kZero, false, EcnAnomaly::none}},
        Cell{"ect0_in_ect1", kZero, kOne, {kOne, false, EcnAnomaly::none}},
        Cell{"ect0_in_ce", kZero, kMarked, {kMarked, false, EcnAnomaly::none}},
        Cell{"ect1_in_not", kOne, kNot, {kOne, false, EcnAnomaly::none}},
        Cell{"ect1_in_ect0", kOne, kZero, {kOne, false, EcnAnomaly::ect1_in_ect0}},
        Cell{"ect1_in_ect1", kOne, kOne, {kOne, false, EcnAnomaly::none}},
        Cell{"ect1_in_ce", kOne, kMarked, {kMarked, false, EcnAnomaly::none}},
        Cell{"ce_in_not", kMarked, kNot, {kMarked, false, EcnAnomaly::none}},
        Cell{"ce_in_ect0", kMarked, kZero, {kMarked, false, EcnAnomaly::none}},
        Cell{"ce_in_ect1", kMarked, kOne, {kMarked, false, EcnAnomaly::ce_in_ect1}},
        Cell{"ce_in_ce", kMarked, kMarked, {kMarked, false, EcnAnomaly::none}}
    ),
    [](const auto& test) { return std::string(test.param.name); }
);

TEST(EcnEncap, NormalModeCopiesTheInnerField) {
    for (unsigned tos = 0; tos < 256; ++tos) {
        EXPECT_EQ(ecn_encap(EcnMode::normal, static_cast<std::uint8_t>(tos)), tos & 3U);
    }
}

TEST(EcnEncap, CompatibilityModeSendsNotEct) {
    for (unsigned tos = 0; tos < 256; ++tos) {
        EXPECT_EQ(ecn_encap(EcnMode::compatibility, static_cast<std::uint8_t>(tos)), 0);
    }
}

TEST(EcnAnomaly, EachHasItsName) {
    EXPECT_EQ(
        kEcnAnomalyNames[static_cast<std::size_t>(EcnAnomaly::not_ect_in_ce)],
        "inner_not_ect_outer_ce"
    );
    EXPECT_EQ(
        kEcnAnomalyNames[static_cast<std::size_t>(EcnAnomaly::ce_in_ect1)], "inner_ce_outer_ect1"
    );
}

TEST(SetEcn, KeepsTheIpv4ChecksumRightAndTheRestAsItWas) {
    std::mt19937 random(11);
    for (int i = 0; i < 100000; ++i) {
        Bytes packet = from_hex("45000023 00010000 40110000 0a000001 0a000002 ff");
        packet[1] = static_cast<std::byte>(random());
        tests::set_word(packet, 4, random() & 0xffffU);
        tests::fix_ipv4_checksum(packet, 0);
        const auto ecn = static_cast<std::uint8_t>(random() % 4);
        Bytes expected = packet;
        expected[1] = (expected[1] & std::byte{0xfc}) | std::byte{ecn};
        tests::fix_ipv4_checksum(expected, 0);
        set_ecn(packet, ecn);
        ASSERT_EQ(naive_sum(tests::prefix(packet, 20)), 0xffffU);
        // Two forms of zero are one checksum (RFC 1624 section 3).
        if (tests::word_at(expected, 10) % 0xffff != 0) {
            ASSERT_EQ(packet, expected);
        }
    }
}

TEST(SetEcn, LeavesAWrongIpv4ChecksumWrong) {
    Bytes packet = from_hex("45000023 00010000 4011abcd 0a000001 0a000002");
    set_ecn(packet, kEcnCe);
    EXPECT_NE(naive_sum(packet), 0xffffU) << "damage is not to be covered up";
}

TEST(SetEcn, WritesTheIpv6TrafficClassAndNothingElse) {
    for (unsigned first = 0; first < 16; ++first) {
        for (unsigned second = 0; second < 256; ++second) {
            for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
                Bytes packet(41, std::byte{0x5a});
                packet[0] = static_cast<std::byte>(0x60U | first);
                packet[1] = static_cast<std::byte>(second);
                Bytes expected = packet;
                expected[1] = static_cast<std::byte>((second & 0xcfU) | unsigned{ecn} << 4U);
                set_ecn(packet, ecn);
                ASSERT_EQ(packet, expected);
            }
        }
    }
}

}  // namespace
}  // namespace culvert::tunnels
