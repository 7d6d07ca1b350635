// SPDX-License-Identifier: GPL-2.0-or-later
//
// Text forms and properties of MAC and IP addresses.
#include "tunnels/address.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include <gtest/gtest.h>

namespace culvert::tunnels {
namespace {

TEST(MacAddressText, RoundTrips) {
    for (const std::string text :
         {"00:00:00:00:00:00", "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "09:af:90:fa:1b:c2"}) {
        const auto mac = MacAddress::parse(text);
        ASSERT_TRUE(mac.has_value()) << text;
        EXPECT_EQ(mac->to_string(), text);
    }
}

TEST(MacAddressText, AcceptsUpperCaseAndWritesLowerCase) {
    const auto mac = MacAddress::parse("0A:BC:DE:Fa:00:19");
    ASSERT_TRUE(mac.has_value());
    EXPECT_EQ(mac->to_string(), "0a:bc:de:fa:00:19");
    EXPECT_EQ(mac->to_u64(), 0x0abcdefa0019U);
}

TEST(MacAddressText, RejectsEverythingElse) {
    for (const std::string_view text : {
             "",
             "02:00:00:00:00",
             "02:00:00:00:00:0",
             "02:00:00:00:00:01:",
             "02:00:00:00:00:01:02",
             "02-00-00-00-00-01",
             "020000000001",
             "02:00:00:00:00:0g",
             "02:00:00:00:00 01",
             " 2:00:00:00:00:01",
             "2:0:0:0:0:1",
             "0x:00:00:00:00:01",
             "02:00:00:00:00:1 ",
         }) {
        EXPECT_FALSE(MacAddress::parse(text).has_value()) << text;
    }
}

TEST(MacAddress, TellsGroupAndZeroAddresses) {
    EXPECT_TRUE(MacAddress::parse("ff:ff:ff:ff:ff:ff")->is_group());
    EXPECT_TRUE(MacAddress::parse("01:80:c2:00:00:00")->is_group());
    EXPECT_FALSE(MacAddress::parse("02:00:00:00:00:01")->is_group());
    EXPECT_TRUE(MacAddress{}.is_zero());
    EXPECT_FALSE(MacAddress::parse("00:00:00:00:00:01")->is_zero());
}

TEST(IpAddressText, RoundTripsCanonicalForms) {
    for (const std::string text : {
             "0.0.0.0",
             "172.20.0.1",
             "255.255.255.255",
             "::",
             "::1",
             "fd20::1",
             "2001:db8::8:800:200c:417a",
             "2001:db8:1:2:3:4:5:6",
             "ff02::1",
             "1:0:0:2::3",
         }) {
        const auto ip = IpAddress::parse(text);
        ASSERT_TRUE(ip.has_value()) << text;
        EXPECT_EQ(ip->to_string(), text);
    }
}

TEST(IpAddressText, WritesTheCanonicalFormOfOtherSpellings) {
    EXPECT_EQ(IpAddress::parse("FD20:0:0:0:0:0:0:1")->to_string(), "fd20::1");
    EXPECT_EQ(IpAddress::parse("64:ff9b::192.0.2.33")->to_string(), "64:ff9b::c000:221");
    EXPECT_EQ(IpAddress::parse("::ffff:10.1.2.3")->to_string(), "10.1.2.3");
}

TEST(IpAddressText, RejectsEverythingElse) {
    for (const std::string_view text : {
             std::string_view(""),
             std::string_view("1.2.3"),
             std::string_view("1.2.3.4.5"),
             std::string_view("1.2.3.256"),
             std::string_view("01.2.3.4"),
             std::string_view("0x1.2.3.4"),
             std::string_view("1.2.3.4/24"),
             std::string_view(" 1.2.3.4"),
             std::string_view("1.2.3.4 "),
             std::string_view("fd20::1/64"),
             std::string_view("fe80::1%eth0"),
             std::string_view("1::2::3"),
             std::string_view("1:2:3:4:5:6:7:8:9"),
             std::string_view("12345::"),
             std::string_view(":::"),
             std::string_view("host"),
             std::string_view("1.2.3.4\0", 8),
             std::string_view("1.2.3.4\0junk", 12),
         }) {
        EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
    }
    EXPECT_FALSE(IpAddress::parse(std::string(100, '1')).has_value());
    EXPECT_FALSE(IpAddress::parse(std::string(46, ':')).has_value());
}

TEST(IpAddress, HoldsIpv4AsMapped) {
    const std::array<std::uint8_t, 4> octets{172, 20, 0, 1};
    const IpAddress ip = IpAddress::from_v4(octets.data());
    EXPECT_TRUE(ip.is_v4());
    EXPECT_EQ(ip, IpAddress::parse("172.20.0.1"));
    EXPECT_EQ(ip, IpAddress::parse("::ffff:172.20.0.1"));
    EXPECT_EQ(ip.v4()[0], 172);
    EXPECT_EQ(ip.v4()[3], 1);
    EXPECT_FALSE(IpAddress::parse("fd20::1")->is_v4());
    EXPECT_FALSE(IpAddress::parse("::172.20.0.1")->is_v4());
}

TEST(IpAddress, OnlyTheAllZeroAddressIsUnset) {
    EXPECT_TRUE(IpAddress{}.is_unset());
    EXPECT_TRUE(IpAddress::parse("::")->is_unset());
    EXPECT_FALSE(IpAddress::parse("0.0.0.0")->is_unset());
}

TEST(IpAddress, TellsMulticastOfBothFamilies) {
    EXPECT_TRUE(IpAddress::parse("224.0.0.1")->is_multicast());
    EXPECT_TRUE(IpAddress::parse("239.255.255.255")->is_multicast());
    EXPECT_FALSE(IpAddress::parse("240.0.0.1")->is_multicast());
    EXPECT_FALSE(IpAddress::parse("223.255.255.255")->is_multicast());
    EXPECT_TRUE(IpAddress::parse("ff02::1")->is_multicast());
    EXPECT_FALSE(IpAddress::parse("fe80::1")->is_multicast());
}

TEST(Addresses, CanBeKeysOfHashTables) {
    std::unordered_set<IpAddress> ips;
    std::unordered_set<MacAddress> macs;
    for (int i = 0; i < 100; ++i) {
        ips.insert(*IpAddress::parse("10.0.0." + std::to_string(i % 50)));
        macs.insert(*MacAddress::parse("02:00:00:00:00:" + std::to_string(10 + i % 50)));
    }
    EXPECT_EQ(ips.size(), 50U);
    EXPECT_EQ(macs.size(), 50U);
}

TEST(MacAddress, EqualityCoversEveryBit) {
    const MacAddress mac{{1, 2, 3, 4, 5, 6}};
    EXPECT_EQ(mac, (MacAddress{{1, 2, 3, 4, 5, 6}}));
    for (std::size_t bit = 0; bit < 48; ++bit) {
        MacAddress other = mac;
        other.bytes.at(bit / 8) ^= static_cast<std::uint8_t>(1U << bit % 8);
        EXPECT_FALSE(mac == other) << bit;
        EXPECT_TRUE(mac != other) << bit;
    }
}

TEST(IpAddress, EqualityCoversEveryBit) {
    const IpAddress ip = *IpAddress::parse("fd01:203:405:607:809:a0b:c0d:e0f");
    EXPECT_EQ(ip, *IpAddress::parse("fd01:203:405:607:809:a0b:c0d:e0f"));
    for (std::size_t bit = 0; bit < 128; ++bit) {
        IpAddress other = ip;
        other.bytes.at(bit / 8) ^= static_cast<std::uint8_t>(1U << bit % 8);
        EXPECT_FALSE(ip == other) << bit;
        EXPECT_TRUE(ip != other) << bit;
    }
}

TEST(IpAddress, IsV4WithTheWholeMappedPrefixWhateverFollows) {
    for (std::size_t bit = 0; bit < 128; ++bit) {
        IpAddress ip = *IpAddress::parse("1.2.3.4");
        ip.bytes.at(bit / 8) ^= static_cast<std::uint8_t>(1U << bit % 8);
        EXPECT_EQ(ip.is_v4(), bit >= 96) << bit;
    }
    static_assert(!IpAddress{}.is_v4() && IpAddress{}.is_unset());
}

}  // namespace
}  // namespace culvert::tunnels
