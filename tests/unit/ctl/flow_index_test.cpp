// SPDX-License-Identifier: GPL-2.0-or-later
//
// The index from addresses to flows: by both addresses, in any order of coming and going, against a
// model.

#include "ctl/flow_index.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/addresses.hpp"

namespace culvert::ctl {

namespace {

using dataplane::FlowKey;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tunnels::MacAddress;

constexpr std::uint32_t kEntries = 512;

FlowKey flow(unsigned source, unsigned destination, std::uint16_t vlan = 0) {
    return {.in_port = 0, .vlan = vlan, .destination = mac(destination), .source = mac(source)};
}

std::vector<std::uint32_t> flows_from(const FlowIndex& index, const FdbKey& address) {
    std::vector<std::uint32_t> entries;
    index.visit_from(address, [&](std::uint32_t entry) {
        entries.push_back(entry);
        return true;
    });
    return entries;
}

TEST(FlowIndex, ForgetsAnErasedFlowUnderBothItsAddresses) {
    FlowIndex index(kEntries);
    index.insert(7, flow(1, 2));
    index.insert(8, flow(2, 1));
    EXPECT_TRUE(index.any_about({0, mac(1)}));
    EXPECT_FALSE(index.any_about({10, mac(1)})) << "another VLAN";
    index.erase(7, flow(1, 2));
    EXPECT_EQ(index.any_about({0, mac(1)}), 8U);
    EXPECT_EQ(index.any_about({0, mac(2)}), 8U);
    EXPECT_THAT(flows_from(index, {0, mac(1)}), IsEmpty());
    index.erase(8, flow(2, 1));
    EXPECT_FALSE(index.any_about({0, mac(1)}));
    EXPECT_FALSE(index.any_about({0, mac(2)}));
}

TEST(FlowIndex, FlowsToGroupsStandUnderTheirSourceAlone) {
    FlowIndex index(kEntries);
    FlowKey group = flow(1, 2);
    group.destination.bytes[0] |= 1U;
    index.insert(3, group);
    EXPECT_FALSE(index.any_about({0, group.destination}));
    EXPECT_EQ(index.any_about({0, mac(1)}), 3U);
    index.erase(3, group);
    EXPECT_FALSE(index.any_about({0, mac(1)}));
}

TEST(FlowIndex, VisitsTheNewestFirstAndStopsWhenAsked) {
    FlowIndex index(kEntries);
    for (std::uint32_t entry = 0; entry < 4; ++entry) {
        index.insert(entry, flow(1, 10 + entry));
    }
    EXPECT_THAT(flows_from(index, {0, mac(1)}), ElementsAre(3U, 2U, 1U, 0U));
    unsigned visited = 0;
    index.visit_from({0, mac(1)}, [&](std::uint32_t) { return ++visited < 2; });
    EXPECT_EQ(visited, 2U);
    index.clear();
    EXPECT_THAT(flows_from(index, {0, mac(1)}), IsEmpty());
}

TEST(FlowIndex, AgreesWithAModelUnderRandomUse) {
    FlowIndex index(kEntries);
    std::map<std::uint32_t, FlowKey> model;
    std::mt19937 random(3);
    const auto number = [&] { return static_cast<unsigned>(random() % 20); };
    for (unsigned step = 0; step < 100000; ++step) {
        const auto entry = static_cast<std::uint32_t>(random() % kEntries);
        if (const auto found = model.find(entry); found != model.end()) {
            index.erase(entry, found->second);
            model.erase(found);
        } else {
            // An address may talk to itself.
            const FlowKey key = flow(number(), number());
            index.insert(entry, key);
            model[entry] = key;
        }
        const MacAddress address = mac(number());
        std::vector<std::uint32_t> entries = flows_from(index, {0, address});
        std::sort(entries.begin(), entries.end());
        std::vector<std::uint32_t> expected;
        bool about = false;
        for (const auto& [held, key] : model) {
            if (key.source == address) {
                expected.push_back(held);
            }
            about = about || key.source == address || key.destination == address;
        }
        ASSERT_EQ(entries, expected) << step;
        ASSERT_EQ(index.any_about({0, address}).has_value(), about) << step;
    }
}

}  // namespace

}  // namespace culvert::ctl
