// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a router checks of an IP packet.
#include "tunnels/ip_packet.hpp"

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/frames.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::prefix;
using tests::with;

/// 10.0.0.1 to 10.9.1.2, UDP, 28 bytes; the header checksum is right.
Bytes ipv4() {
    return from_hex("4500001c 00000000 401165c6 0a000001 0a090102 0400003500080000");
}

/// fd00::1 to fd00::2, UDP, 48 bytes.
Bytes ipv6() {
    return from_hex("60000000 00081140 fd000000000000000000000000000001 "
                    "fd000000000000000000000000000002 0400003500080000");
}

std::optional<IpPacket> read(const Bytes& bytes) {
    return read_ip_packet(bytes, static_cast<std::uint32_t>(bytes.size()));
}

TEST(IpPacketRead, GivesAddressesAndLength) {
    const auto v4 = read(ipv4());
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->source.to_string(), "10.0.0.1");
    EXPECT_EQ(v4->destination.to_string(), "10.9.1.2");
    EXPECT_EQ(v4->bytes, 28U);
    const auto v6 = read(ipv6());
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->source.to_string(), "fd00::1");
    EXPECT_EQ(v6->destination.to_string(), "fd00::2");
    EXPECT_EQ(v6->bytes, 48U);
}

TEST(IpPacketRead, LeavesPaddingOut) {
    for (Bytes packet : {ipv4(), ipv6()}) {
        const std::size_t bytes = packet.size();
        packet.resize(bytes + 18);
        ASSERT_TRUE(read(packet));
        EXPECT_EQ(read(packet)->bytes, bytes);
    }
}

TEST(IpPacketRead, RefusesEveryTruncation) {
    for (const Bytes& packet : {ipv4(), ipv6()}) {
        for (std::size_t size = 0; size < packet.size(); ++size) {
            EXPECT_FALSE(read(prefix(packet, size))) << size;
        }
    }
}

TEST(IpPacketRead, NeedsOnlyTheHeaderToBeContiguous) {
    const Bytes packet = ipv4();
    EXPECT_TRUE(read_ip_packet(prefix(packet, 20), 28));
    EXPECT_FALSE(read_ip_packet(prefix(packet, 19), 28));
}

TEST(IpPacketRead, RefusesHeadersThatLie) {
    EXPECT_FALSE(read(with(ipv4(), 0, 0x42))) << "header shorter than the fixed one";
    EXPECT_FALSE(read(with(ipv4(), 0, 0x48))) << "header longer than the packet";
    EXPECT_FALSE(read(with(ipv4(), 3, 19))) << "packet shorter than its header";
    EXPECT_FALSE(read(with(ipv4(), 2, 4))) << "longer than what is there";
    EXPECT_FALSE(read(with(ipv4(), 10, 0x66))) << "checksum";
    EXPECT_FALSE(read(with(ipv4(), 0, 0x55))) << "version 5";
    EXPECT_FALSE(read(with(ipv6(), 5, 9))) << "longer than what is there";
    EXPECT_FALSE(read(with(ipv6(), 0, 0x70))) << "version 7";
}

TEST(IpPacketScope, OnlyAddressesOfHostsElsewhereAreRoutable) {
    const auto routable = [](const char* source, const char* destination) {
        return is_routable({*IpAddress::parse(source), *IpAddress::parse(destination), 0});
    };
    EXPECT_TRUE(routable("10.0.0.1", "203.0.113.9"));
    EXPECT_TRUE(routable("fd00::1", "2001:db8::1"));
    for (const char* bad :
         {"0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"}) {
        EXPECT_FALSE(routable(bad, "10.0.0.1")) << bad;
        EXPECT_FALSE(routable("10.0.0.1", bad)) << bad;
    }
    for (const char* bad : {"::", "::1", "fe80::1", "febf::1", "ff02::1"}) {
        EXPECT_FALSE(routable(bad, "fd00::1")) << bad;
        EXPECT_FALSE(routable("fd00::1", bad)) << bad;
    }
}

}  // namespace
}  // namespace culvert::tunnels
