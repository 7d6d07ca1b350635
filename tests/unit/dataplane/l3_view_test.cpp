// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which EID prefix covers an address, and which of its RLOCs a flow takes.

#include "dataplane/l3_view.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/dataplane/addresses.hpp"

namespace culvert::dataplane {

namespace {

EidMap::Entry prefix(std::string_view text, std::uint8_t bits) {
    return {.prefix = ip(text), .prefix_bits = bits, .rlocs = {{.port = bits}}};
}

/// The length of the prefix that was found, or -1.
int found(const EidMap& map, std::string_view address) {
    const EidMap::Entry* entry = map.find(ip(address));
    return entry == nullptr ? -1 : entry->prefix_bits;
}

TEST(PrefixOf, ClearsTheBitsBehindIt) {
    EXPECT_EQ(prefix_of(ip("10.255.255.255"), 12), ip("10.240.0.0"));
    EXPECT_EQ(prefix_of(ip("10.1.2.3"), 32), ip("10.1.2.3"));
    EXPECT_EQ(prefix_of(ip("10.1.2.3"), 31), ip("10.1.2.2"));
    EXPECT_EQ(prefix_of(ip("10.1.2.3"), 0), ip("0.0.0.0"));
    EXPECT_EQ(prefix_of(ip("fd00:ffff::1"), 20), ip("fd00:f000::"));
    EXPECT_EQ(prefix_of(ip("fd00::1"), 128), ip("fd00::1"));
    EXPECT_EQ(prefix_of(ip("fd00::1"), 0), ip("::"));
}

TEST(EidMap, TheLongestPrefixCounts) {
    const EidMap map({
        prefix("10.0.0.0", 8),
        prefix("10.1.2.3", 32),
        prefix("10.1.0.0", 16),
        prefix("10.1.2.0", 24),
        prefix("172.16.0.0", 16),
    });
    EXPECT_EQ(found(map, "10.1.2.3"), 32);
    EXPECT_EQ(found(map, "10.1.2.4"), 24);
    EXPECT_EQ(found(map, "10.1.3.4"), 16);
    EXPECT_EQ(found(map, "10.2.3.4"), 8);
    EXPECT_EQ(found(map, "172.16.9.9"), 16);
    EXPECT_EQ(found(map, "172.17.9.9"), -1);
    EXPECT_EQ(found(map, "fd00::1"), -1);
    EXPECT_EQ(EidMap().find(ip("10.0.0.1")), nullptr);
}

TEST(EidMap, Ipv6LikeIpv4) {
    const EidMap map({
        prefix("fd00::", 8),
        prefix("fd00:1::", 32),
        prefix("fd00:1::1", 128),
        prefix("fd00:1:0:1::", 64),
    });
    EXPECT_EQ(found(map, "fd00:1::1"), 128);
    EXPECT_EQ(found(map, "fd00:1::2"), 32);
    EXPECT_EQ(found(map, "fd00:1:0:1::2"), 64);
    EXPECT_EQ(found(map, "fdff::1"), 8);
    EXPECT_EQ(found(map, "2001:db8::1"), -1);
    EXPECT_EQ(found(map, "10.0.0.1"), -1);
}

TEST(EidMap, ADefaultIsOfOneFamily) {
    const EidMap v4({prefix("0.0.0.0", 0), prefix("10.0.0.0", 8)});
    EXPECT_EQ(found(v4, "192.0.2.1"), 0);
    EXPECT_EQ(found(v4, "10.0.2.1"), 8);
    EXPECT_EQ(found(v4, "2001:db8::1"), -1);
    const EidMap v6({prefix("::", 0)});
    EXPECT_EQ(found(v6, "2001:db8::1"), 0);
    EXPECT_EQ(found(v6, "192.0.2.1"), -1);
}

TEST(EidMap, ManyPrefixesOfOneLength) {
    std::vector<EidMap::Entry> entries;
    for (int i = 0; i < 200; ++i) {
        entries.push_back(prefix(("10.7." + std::to_string(i) + ".0").c_str(), 24));
    }
    const EidMap map(entries);
    for (int i = 0; i < 256; ++i) {
        const EidMap::Entry* entry = map.find(ip(("10.7." + std::to_string(i) + ".9").c_str()));
        ASSERT_EQ(entry != nullptr, i < 200) << i;
        if (entry != nullptr) {
            EXPECT_EQ(entry->prefix, entries[static_cast<std::size_t>(i)].prefix);
        }
    }
}

TEST(SlotHash, NeighboursGetSlotsOfTheirOwn) {
    // A subnet is what most tables hold: its hosts must not all want one slot.
    std::set<std::uint32_t> slots;
    for (int i = 0; i < 256; ++i) {
        slots.insert(slot_hash(ip(("10.7.1." + std::to_string(i)).c_str()).words()) & 511U);
    }
    EXPECT_GT(slots.size(), 150U);
}

TEST(AddressSet, HoldsEachAddressOnce) {
    AddressSet set;
    EXPECT_FALSE(set.contains(ip("10.0.0.1")));
    for (const char* address : {"10.0.0.1", "fd00::1", "10.0.0.1"}) {
        set.insert(ip(address));
    }
    EXPECT_TRUE(set.contains(ip("10.0.0.1")) && set.contains(ip("fd00::1")));
    EXPECT_FALSE(set.contains(ip("10.0.0.2")));
    EXPECT_EQ(std::distance(set.begin(), set.end()), 2);
}

/// How many of `kFlows` flows take each port.
constexpr unsigned kFlows = 30000;

std::map<std::uint16_t, unsigned>
shares(const std::vector<Rloc>& rlocs, const std::vector<std::uint16_t>& unusable = {}) {
    const EidMap::Entry entry{.prefix = ip("0.0.0.0"), .prefix_bits = 0, .rlocs = rlocs};
    const auto usable = [&](std::uint16_t port) {
        return std::find(unusable.begin(), unusable.end(), port) == unusable.end();
    };
    std::mt19937 random(3);
    std::map<std::uint16_t, unsigned> counts;
    for (unsigned i = 0; i < kFlows; ++i) {
        const auto hash = static_cast<std::uint32_t>(random());
        const std::uint16_t port = EidMap::choose(entry, hash, usable);
        EXPECT_EQ(EidMap::choose(entry, hash, usable), port) << "a flow stays where it is";
        ++counts[port];
    }
    return counts;
}

void expect_share(unsigned count, unsigned part, unsigned whole) {
    const double wanted = static_cast<double>(kFlows) * part / whole;
    EXPECT_NEAR(count, wanted, wanted * 0.1);
}

TEST(ChooseRloc, FlowsSpreadByWeight) {
    auto counts =
        shares({{.port = 1, .weight = 10}, {.port = 2, .weight = 30}, {.port = 3, .weight = 60}});
    EXPECT_EQ(counts.size(), 3U);
    expect_share(counts[1], 10, 100);
    expect_share(counts[2], 30, 100);
    expect_share(counts[3], 60, 100);
}

TEST(ChooseRloc, FlowsWhoseHashesAreNeighboursSpreadToo) {
    const EidMap::Entry entry{
        .prefix = ip("0.0.0.0"), .prefix_bits = 0, .rlocs = {{.port = 1}, {.port = 2}}};
    unsigned first = 0;
    for (std::uint32_t hash = 0; hash < kFlows; ++hash) {
        first += EidMap::choose(entry, hash, [](std::uint16_t) { return true; }) == 1 ? 1U : 0U;
    }
    expect_share(first, 1, 2);
}

TEST(ChooseRloc, AWeightOfZeroTakesNothingUnlessAllAreZero) {
    auto counts = shares({{.port = 1, .weight = 0}, {.port = 2, .weight = 1}});
    EXPECT_EQ(counts[2], kFlows);
    counts = shares({{.port = 1, .weight = 0}, {.port = 2, .weight = 0}, {.port = 3, .weight = 0}});
    EXPECT_EQ(counts.size(), 3U);
    for (const auto& [port, count] : counts) {
        expect_share(count, 1, 3);
    }
}

TEST(ChooseRloc, TheLowestPriorityComesFirst) {
    auto counts = shares(
        {{.port = 1, .priority = 2, .weight = 90},
         {.port = 2, .priority = 1, .weight = 1},
         {.port = 3, .priority = 1, .weight = 1},
         {.port = 4, .priority = 3, .weight = 90}}
    );
    EXPECT_EQ(counts.size(), 2U);
    expect_share(counts[2], 1, 2);
    expect_share(counts[3], 1, 2);
}

TEST(ChooseRloc, UnusableOnesAreSkipped) {
    const std::vector<Rloc> rlocs{
        {.port = 1, .priority = 1, .weight = 50},
        {.port = 2, .priority = 1, .weight = 50},
        {.port = 3, .priority = 2, .weight = 1}};
    EXPECT_EQ(shares(rlocs, {1})[2], kFlows);
    EXPECT_EQ(shares(rlocs, {1, 2})[3], kFlows);
    EXPECT_EQ(shares(rlocs, {1, 2, 3})[kPortNone], kFlows);
}

TEST(ChooseRloc, Priority255IsNeverTaken) {
    EXPECT_EQ(shares({{.port = 1, .priority = 255}})[kPortNone], kFlows);
    EXPECT_EQ(shares({{.port = 1, .priority = 255}, {.port = 2, .priority = 254}})[2], kFlows);
    EXPECT_EQ(shares({})[kPortNone], kFlows);
}

TEST(HostTable, FindsEachOfManyHostsAndNoOther) {
    HostTable hosts;
    EXPECT_EQ(hosts.find(*IpAddress::parse("10.0.0.1")), nullptr);
    const auto host = [](std::uint32_t i) {
        IpAddress address = *IpAddress::parse("fd00::1");
        address.bytes[14] = static_cast<std::uint8_t>(i >> 8U);
        address.bytes[15] = static_cast<std::uint8_t>(i);
        return address;
    };
    const auto mac = [](std::uint32_t i) {
        return MacAddress{
            {2, 0, 0, 0, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)}};
    };
    for (std::uint32_t i = 0; i < 3000; ++i) {
        hosts.insert(host(i), mac(0));
        hosts.insert(host(i), mac(i));
    }
    EXPECT_EQ(hosts.size(), 3000U);
    for (std::uint32_t i = 0; i < 3000; ++i) {
        ASSERT_NE(hosts.find(host(i)), nullptr);
        EXPECT_EQ(*hosts.find(host(i)), mac(i));
    }
    EXPECT_EQ(hosts.find(host(3000)), nullptr);
}

}  // namespace

}  // namespace culvert::dataplane
