// SPDX-License-Identifier: GPL-2.0-or-later
//
// ICMP errors of the underlay: what is taken from them, and all that is refused.
#include "tunnels/too_big.hpp"

#include <algorithm>
#include <optional>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/outer.hpp"

namespace culvert::tunnels {
namespace {

using culvert::tests::Bytes;
using culvert::tests::fix_ipv4_checksum;
using culvert::tests::from_hex;
using culvert::tests::naive_sum;
using culvert::tests::octet;
using culvert::tests::prefix;
using culvert::tests::set_word;
using culvert::tests::word_at;

/// Router 203.0.113.9 to 192.0.2.1 about VXLAN from 192.0.2.1 to 198.51.100.2.
const std::string kIpv4Error = "45c0 0038 0000 0000 40 01 0000 cb007109 c0000201"
                               "0304 0000 0000 0578"
                               "4500 05dc abcd 4000 40 11 0000 c0000201 c6336402"
                               "c001 12b5 05c8 0000";
const std::string kIpv6Error =
    "60000000 0038 3a 40 20010db8000000000000000000000009 20010db8000000000000000000000001"
    "0200 0000 00000578"
    "60000000 05b4 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002"
    "c001 12b5 05b4 0000";

void fix_icmp(Bytes& packet) {
    const bool v6 = octet(packet, 0) >> 4U == 6;
    const std::size_t icmp = v6 ? 40 : (octet(packet, 0) & 0xfU) * 4;
    if (v6) {
        set_word(packet, 4, static_cast<unsigned>(packet.size() - 40));
    } else {
        set_word(packet, 2, static_cast<unsigned>(packet.size()));
        fix_ipv4_checksum(packet, 0);
    }
    set_word(packet, icmp + 2, 0);
    const unsigned pseudo =
        v6 ? naive_sum(std::span(packet).subspan(8, 32), word_at(packet, 4) + 58) : 0;
    set_word(packet, icmp + 2, ~naive_sum(std::span(packet).subspan(icmp), pseudo) & 0xffffU);
}

Bytes error(bool v6) {
    Bytes packet = from_hex(v6 ? kIpv6Error : kIpv4Error);
    fix_icmp(packet);
    return packet;
}

/// With `value` as the 16 bits at `at`, and checksums right.
std::optional<TooBig> parse_with(bool v6, std::size_t at, unsigned value) {
    Bytes packet = error(v6);
    set_word(packet, at, value);
    fix_icmp(packet);
    return parse_too_big(packet);
}

TEST(TooBigParse, ReadsTheQuotedHeadersAndTheMtu) {
    for (const bool v6 : {false, true}) {
        const auto result = parse_too_big(error(v6));
        ASSERT_TRUE(result.has_value());
        EXPECT_EQ(result->local.to_string(), v6 ? "2001:db8::1" : "192.0.2.1");
        EXPECT_EQ(result->remote.to_string(), v6 ? "2001:db8::2" : "198.51.100.2");
        EXPECT_EQ(result->ip_protocol, kIpProtocolUdp);
        EXPECT_EQ(result->udp_source, 0xc001);
        EXPECT_EQ(result->udp_destination, 4789);
        EXPECT_EQ(result->mtu, 1400U);
    }
}

TEST(TooBigParse, GreHasNoPorts) {
    for (const bool v6 : {false, true}) {
        const auto result = v6 ? parse_with(true, 54, 0x2f40) : parse_with(false, 36, 0x402f);
        ASSERT_TRUE(result.has_value());
        EXPECT_EQ(result->ip_protocol, kIpProtocolGre);
        EXPECT_EQ(result->udp_source, 0);
        EXPECT_EQ(result->udp_destination, 0);
    }
}

TEST(TooBigParse, EspHasNoPorts) {
    for (const bool v6 : {false, true}) {
        const auto result = v6 ? parse_with(true, 54, 0x3240) : parse_with(false, 36, 0x4032);
        ASSERT_TRUE(result.has_value());
        EXPECT_EQ(result->ip_protocol, 50);
        EXPECT_EQ(result->udp_source, 0);
        EXPECT_EQ(result->udp_destination, 0);
    }
}

TEST(TooBigParse, TakesThePlateauBelowWhenTheRouterNamesNoMtu) {
    const auto estimate = [](unsigned length) {
        Bytes packet = error(false);
        set_word(packet, 26, 0);
        set_word(packet, 30, length);
        fix_icmp(packet);
        const auto result = parse_too_big(packet);
        return result ? result->mtu : 0;
    };
    EXPECT_EQ(estimate(1500), 1492U);
    EXPECT_EQ(estimate(1492), 1006U);
    EXPECT_EQ(estimate(9000), 8166U);
    EXPECT_EQ(estimate(65535), 32000U);
    EXPECT_EQ(estimate(69), 68U);
    EXPECT_EQ(estimate(68), 0U);
    EXPECT_EQ(estimate(0), 0U);
}

TEST(TooBigParse, RefusesAnMtuBelowTheMinimum) {
    EXPECT_FALSE(parse_with(false, 26, 67));
    EXPECT_TRUE(parse_with(false, 26, 68));
    EXPECT_FALSE(parse_with(true, 46, 1279));
    EXPECT_TRUE(parse_with(true, 46, 1280));
    EXPECT_FALSE(parse_with(true, 46, 0));
}

TEST(TooBigParse, FollowsOptionsOfTheQuotedPacket) {
    Bytes packet = error(false);
    packet[28] = std::byte{0x46};
    const Bytes options = from_hex("01010101");
    packet.insert(packet.begin() + 48, options.begin(), options.end());
    fix_icmp(packet);
    const auto result = parse_too_big(packet);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->udp_source, 0xc001);
}

TEST(TooBigParse, FollowsTheFragmentHeaderOfAQuotedFirstFragment) {
    Bytes packet = error(true);
    packet[54] = std::byte{44};
    const Bytes fragment = from_hex("1100000100000007");
    packet.insert(packet.begin() + 88, fragment.begin(), fragment.end());
    fix_icmp(packet);
    const auto result = parse_too_big(packet);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->ip_protocol, kIpProtocolUdp);
    EXPECT_EQ(result->udp_destination, 4789);
    set_word(packet, 90, 0x0009);
    fix_icmp(packet);
    EXPECT_FALSE(parse_too_big(packet)) << "a later fragment";
    packet.resize(95);
    fix_icmp(packet);
    EXPECT_FALSE(parse_too_big(packet)) << "a fragment header cut off";
}

TEST(TooBigParse, RefusesOtherMessages) {
    EXPECT_FALSE(parse_with(false, 20, 0x0303));
    EXPECT_FALSE(parse_with(false, 20, 0x0b04));
    EXPECT_FALSE(parse_with(true, 40, 0x0100));
    EXPECT_FALSE(parse_with(true, 40, 0x0201));
    EXPECT_FALSE(parse_with(false, 8, 0x4011)) << "not ICMP";
    EXPECT_FALSE(parse_with(true, 6, 0x1140)) << "not ICMPv6";
    EXPECT_FALSE(parse_with(false, 36, 0x4006)) << "TCP quoted";
    EXPECT_FALSE(parse_with(true, 54, 0x0640)) << "TCP quoted";
    EXPECT_FALSE(parse_with(false, 34, 0x0001)) << "a later fragment quoted";
    EXPECT_TRUE(parse_with(false, 34, 0x2000)) << "the first fragment quoted";
    EXPECT_FALSE(parse_with(false, 6, 0x2000)) << "a fragment";
    EXPECT_FALSE(parse_with(false, 28, 0x6500)) << "version 6 quoted";
    EXPECT_FALSE(parse_with(false, 28, 0x4400)) << "IHL 4 quoted";
    EXPECT_FALSE(parse_with(true, 48, 0x4000)) << "version 4 quoted";
    Bytes packet = error(false);
    packet[0] = std::byte{0x55};
    EXPECT_FALSE(parse_too_big(packet));
}

TEST(TooBigParse, RefusesAnyFlippedBit) {
    for (const bool v6 : {false, true}) {
        const Bytes packet = error(v6);
        for (std::size_t bit = 0; bit < packet.size() * 8; ++bit) {
            Bytes damaged = packet;
            damaged[bit / 8] ^= std::byte{1} << (bit % 8);
            // The flow label, traffic class and hop limit of IPv6 are in no checksum.
            const bool unchecked =
                v6 &&
                ((bit / 8 < 4 && bit != 4 && bit != 5 && bit != 6 && bit != 7) || bit / 8 == 7);
            EXPECT_EQ(parse_too_big(damaged).has_value(), unchecked) << v6 << " " << bit;
        }
    }
}

TEST(TooBigParse, RefusesWhatIsCutOffAndIgnoresWhatIsBehind) {
    for (const bool v6 : {false, true}) {
        const Bytes packet = error(v6);
        for (std::size_t size = 0; size < packet.size(); ++size) {
            EXPECT_FALSE(parse_too_big(prefix(packet, size))) << size;
            // Likewise when its lengths and checksums agree with it.
            if (size >= (v6 ? 44U : 24U)) {
                Bytes shorter = prefix(packet, size);
                fix_icmp(shorter);
                EXPECT_FALSE(parse_too_big(shorter)) << size;
            }
        }
        Bytes padded = packet;
        padded.resize(packet.size() + 7, std::byte{0xee});
        EXPECT_TRUE(parse_too_big(padded));
    }
}

}  // namespace
}  // namespace culvert::tunnels
