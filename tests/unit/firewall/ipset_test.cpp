// SPDX-License-Identifier: GPL-2.0-or-later
//
// IP sets as ipset(8) makes them, read back from the kernel, in a network namespace of each test's
// own; then listings that no kernel would write. Needs root.
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firewall/ipset.hpp"
#include "firewall/ipset_attributes.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::firewall {
namespace {

using Part = Ipset::Part;
using culvert::test::run;

Value address(const std::string& text) {
    return parse_address(text).value().value;
}

class IpsetTest : public ::testing::Test {
protected:
    std::shared_ptr<const Ipset> made(const std::string& type, const std::string& elements) {
        std::string script = "create s " + type + "\n";
        std::size_t from = 0;
        while (from < elements.size()) {
            const std::size_t to = std::min(elements.find(';', from), elements.size());
            script += "add s " + elements.substr(from, to - from) + "\n";
            from = to + 1;
        }
        run("printf '" + script + "' | ipset restore");
        return sets.find("s");
    }

    static bool holds(const std::shared_ptr<const Ipset>& set, const std::vector<Value>& values) {
        return set && set->tuples && set->tuples->contains(values);
    }

    culvert::test::PrivateNetwork here;
    KernelIpsets sets;
};

TEST_F(IpsetTest, ReadsAddresses) {
    const auto set = made("hash:ip", "10.0.0.1;10.0.0.9");
    ASSERT_TRUE(set && set->tuples);
    EXPECT_EQ(set->name, "s");
    EXPECT_EQ(set->family, Family::ipv4);
    EXPECT_EQ(set->parts, std::vector{Part::address});
    EXPECT_EQ(set->tuples->size(), 2U);
    EXPECT_TRUE(holds(set, {address("10.0.0.9")}));
    EXPECT_FALSE(holds(set, {address("10.0.0.2")}));
}

TEST_F(IpsetTest, ReadsAddressesUnderANetmask) {
    const auto set = made("hash:ip netmask 24", "10.0.0.1");
    EXPECT_TRUE(holds(set, {address("10.0.0.77")}));
    EXPECT_FALSE(holds(set, {address("10.0.1.1")}));
}

TEST_F(IpsetTest, ReadsNetworksOfBothFamilies) {
    EXPECT_TRUE(holds(made("hash:net", "10.0.0.0/8;192.168.1.0/24"), {address("192.168.1.7")}));
    run("ipset destroy s");
    sets.forget();
    const auto set = made("hash:net family inet6", "fd00::/8");
    ASSERT_TRUE(set);
    EXPECT_EQ(set->family, Family::ipv6);
    EXPECT_TRUE(holds(set, {address("fdff::1")}));
    EXPECT_FALSE(holds(set, {address("fe80::1")}));
}

TEST_F(IpsetTest, ReadsPortsWithTheirProtocol) {
    const auto set = made("hash:net,port", "10.0.0.0/8,udp:4789-4791;10.0.0.0/8,gre:0");
    ASSERT_TRUE(set && set->tuples);
    EXPECT_EQ(set->parts, (std::vector{Part::address, Part::port}));
    EXPECT_EQ(set->tuples->width(), 3U);
    EXPECT_TRUE(holds(set, {address("10.9.9.9"), 17, 4790}));
    EXPECT_FALSE(holds(set, {address("10.9.9.9"), 6, 4790}));
    EXPECT_FALSE(holds(set, {address("10.9.9.9"), 17, 4792}));
    EXPECT_TRUE(holds(set, {address("10.9.9.9"), 47, 12345})) << "GRE has no port";
}

TEST_F(IpsetTest, ReadsThreeParts) {
    const auto pairs = made("hash:ip,port,net", "10.0.0.1,udp:53,10.1.0.0/16");
    EXPECT_TRUE(holds(pairs, {address("10.0.0.1"), 17, 53, address("10.1.2.3")}));
    EXPECT_FALSE(holds(pairs, {address("10.0.0.1"), 17, 53, address("10.2.2.3")}));
}

TEST_F(IpsetTest, ReadsInterfaces) {
    const auto set = made("hash:net,iface", "10.0.0.0/8,eth0");
    ASSERT_TRUE(set);
    EXPECT_EQ(set->parts, (std::vector{Part::address, Part::interface}));
    EXPECT_TRUE(holds(set, {address("10.0.0.1"), value_of_interface("eth0")}));
    EXPECT_FALSE(holds(set, {address("10.0.0.1"), value_of_interface("eth01")}));
}

TEST_F(IpsetTest, ReadsBitmaps) {
    const auto set = made("bitmap:ip range 10.0.0.0/16", "10.0.3.0/30");
    EXPECT_TRUE(holds(set, {address("10.0.3.3")}));
    EXPECT_FALSE(holds(set, {address("10.0.3.4")}));
    run("ipset destroy s");
    sets.forget();
    const auto ports = made("bitmap:port range 0-10000", "4789");
    ASSERT_TRUE(ports);
    EXPECT_FALSE(ports->family);
    EXPECT_TRUE(holds(ports, {17, 4789}));
    EXPECT_TRUE(holds(ports, {6, 4789}));
    EXPECT_FALSE(holds(ports, {132, 4789})) << "The kernel looks at TCP and UDP there only.";
}

TEST_F(IpsetTest, ReadsAnEmptySet) {
    const auto set = made("hash:ip", "");
    ASSERT_TRUE(set && set->tuples);
    EXPECT_EQ(set->tuples->size(), 0U);
}

TEST_F(IpsetTest, LeavesWhatItCannotReadWithoutTuples) {
    for (const auto& [type, elements] : std::vector<std::pair<std::string, std::string>>{
             {"hash:net", "10.0.0.0/8;10.1.0.0/16 nomatch"},
             {"bitmap:ip,mac range 10.0.0.0/24", "10.0.0.1"},
             {"list:set", ""},
             {"hash:net,iface", "10.0.0.0/8,physdev:eth0"}}) {
        const auto set = made(type, elements);
        ASSERT_TRUE(set) << type;
        EXPECT_FALSE(set->tuples) << type;
        run("ipset destroy s");
        sets.forget();
    }
}

TEST_F(IpsetTest, ReadsManyElementsWhole) {
    run("{ echo create s hash:ip; for i in $(seq 0 4999); do"
        " echo add s 10.1.$((i / 250)).$((i % 250)); done; } | ipset restore");
    const auto set = sets.find("s");
    ASSERT_TRUE(set && set->tuples);
    EXPECT_EQ(set->tuples->size(), 5000U);
}

TEST_F(IpsetTest, FindsBySetIndex) {
    const auto by_name = made("hash:ip", "10.0.0.1");
    run("ipset create other hash:net");
    const auto first = sets.find(std::uint16_t{0});
    const auto second = sets.find(std::uint16_t{1});
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first, by_name);
    EXPECT_EQ(second->name, "other");
    EXPECT_FALSE(sets.find(std::uint16_t{77}));
}

TEST_F(IpsetTest, SaysThatThereIsNone) {
    EXPECT_EQ(sets.generation(), 0U);
    EXPECT_FALSE(sets.find("s"));
    EXPECT_FALSE(sets.find(std::string(100, 'x')));
    const auto before = sets.generation();
    run("ipset create s hash:ip");
    EXPECT_NE(sets.generation(), before) << "it can be read by now";
}

TEST_F(IpsetTest, TellsWhenElementsChange) {
    made("hash:ip counters", "10.0.0.1");
    const auto before = sets.generation();
    EXPECT_NE(before, 0U);
    EXPECT_EQ(sets.generation(), before);
    run("ipset add s 10.0.0.2");
    EXPECT_NE(sets.generation(), before);
    run("ipset del s 10.0.0.2");
    EXPECT_EQ(sets.generation(), before);
    run("ipset destroy s");
    EXPECT_NE(sets.generation(), before);
}

TEST_F(IpsetTest, RemembersUntilToldToForget) {
    made("hash:ip", "10.0.0.1");
    run("ipset add s 10.0.0.2");
    EXPECT_EQ(sets.find("s")->tuples->size(), 1U);
    sets.forget();
    EXPECT_EQ(sets.find("s")->tuples->size(), 2U);
}

std::vector<std::byte> bytes_of(const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    return {bytes.begin(), bytes.end()};
}

TEST(IpsetListing, LeavesASetUnreadWhoseListingIsCutShort) {
    // SETNAME "s", TYPENAME "hash:ip", and an ADT that claims more than there is.
    const std::string text("\x06\0\x02\0s\0\0\0\x0c\0\x03\0hash:ip\0\xff\0\x08\x80\x04\0", 26);
    IpsetListing listing;
    listing.add(bytes_of(text));
    const Ipset set = listing.finish();
    EXPECT_EQ(set.name, "s");
    EXPECT_FALSE(set.tuples) << "an element may be in the rest";
}

TEST(IpsetListing, LeavesATypeOfAnotherMakeUnread) {
    const std::string text("\x06\0\x02\0s\0\0\0\x0c\0\x03\0tree:ip\0", 20);
    IpsetListing listing;
    listing.add(bytes_of(text));
    EXPECT_FALSE(listing.finish().tuples);
}

}  // namespace
}  // namespace culvert::firewall
