// SPDX-License-Identifier: GPL-2.0-or-later
//
// What outer headers inherit from the packet in a tunnel; its hash is tested in flow_hash_test.cpp.
#include "tunnels/inner.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/frames.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::kMacs;
using tests::prefix;

/// TOS 0xb9, DF, TTL 17.
constexpr std::string_view kIpv4 = "45b90014000140001106 0000 0a000001 0a000002";
/// Traffic class 0xb9, hop limit 17.
constexpr std::string_view kIpv6 = "6b900000 0000 3b 11 fd000000000000000000000000000001"
                                   "fd000000000000000000000000000002";

Bytes frame_of(std::string_view type, std::string_view packet) {
    return from_hex(std::string(kMacs) + std::string(type) + std::string(packet));
}

void expect_inherited(const Inner& inner, unsigned version, std::size_t offset) {
    EXPECT_EQ(inner.version, version);
    EXPECT_EQ(inner.ip_offset, offset);
    EXPECT_EQ(inner.tos, 0xb9);
    EXPECT_EQ(inner.ttl, 17);
    EXPECT_TRUE(inner.dont_fragment);
}

TEST(InspectInner, ReadsThePacketOfAFrame) {
    expect_inherited(inspect_inner(frame_of("0800", kIpv4), Payload::ethernet), 4, 14);
    expect_inherited(inspect_inner(frame_of("86dd", kIpv6), Payload::ethernet), 6, 14);
}

TEST(InspectInner, LooksThroughTwoTagsAndNoMore) {
    expect_inherited(inspect_inner(frame_of("8100 0001 0800", kIpv4), Payload::ethernet), 4, 18);
    expect_inherited(
        inspect_inner(frame_of("88a8 0001 8100 0002 86dd", kIpv6), Payload::ethernet), 6, 22
    );
    const Bytes three = frame_of("88a8 0001 8100 0002 8100 0003 0800", kIpv4);
    EXPECT_EQ(inspect_inner(three, Payload::ethernet).version, 0);
}

TEST(InspectInner, ReadsAPacketWithoutFrame) {
    expect_inherited(inspect_inner(from_hex(kIpv4), Payload::ip), 4, 0);
    expect_inherited(inspect_inner(from_hex(kIpv6), Payload::ip), 6, 0);
}

TEST(InspectInner, ReportsAClearDontFragmentBit) {
    Bytes packet = from_hex(kIpv4);
    packet[6] = std::byte{0x20};
    EXPECT_FALSE(inspect_inner(packet, Payload::ip).dont_fragment);
}

TEST(InspectInner, TakesThePayloadAtItsWordAndNotAtItsNibble) {
    const Bytes arp = frame_of("0806", kIpv4);
    EXPECT_EQ(inspect_inner(arp, Payload::ethernet).version, 0);
    EXPECT_EQ(inspect_inner(arp, Payload::ethernet).tos, 0);
    for (unsigned version = 0; version < 16; ++version) {
        Bytes packet = from_hex(kIpv6);
        packet[0] = static_cast<std::byte>(version << 4U | 0xbU);
        const unsigned expected = version == 4 || version == 6 ? version : 0;
        EXPECT_EQ(inspect_inner(packet, Payload::ip).version, expected);
    }
}

TEST(InspectInner, SaysNothingOfAPacketWhoseFixedHeaderIsCutOff) {
    const Bytes v4 = frame_of("0800", kIpv4);
    const Bytes v6 = frame_of("86dd", kIpv6);
    for (std::size_t size = 0; size < v6.size(); ++size) {
        EXPECT_EQ(inspect_inner(prefix(v6, size), Payload::ethernet).version, 0) << size;
        EXPECT_EQ(inspect_inner(prefix(v6, size), Payload::ethernet).tos, 0) << size;
    }
    for (std::size_t size = 0; size < v4.size(); ++size) {
        EXPECT_EQ(inspect_inner(prefix(v4, size), Payload::ethernet).version, 0) << size;
    }
    for (const std::string_view text : {kIpv4, kIpv6}) {
        const Bytes packet = from_hex(text);
        for (std::size_t size = 0; size < packet.size(); ++size) {
            EXPECT_EQ(inspect_inner(prefix(packet, size), Payload::ip).version, 0) << size;
        }
    }
}

}  // namespace
}  // namespace culvert::tunnels
