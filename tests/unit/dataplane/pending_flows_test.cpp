// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pending flows against a model, and the table of tunnel peers.

#include "dataplane/pending_flows.hpp"

#include <map>
#include <memory>
#include <random>

#include <gtest/gtest.h>

namespace culvert::dataplane {

namespace {

FlowKey key_of(unsigned n) {
    FlowKey key;
    key.in_port = static_cast<std::uint16_t>(n);
    return key;
}

TEST(PendingFlows, AgreesWithAMapUnderRandomUse) {
    auto flows = std::make_unique<PendingFlows>();
    std::map<unsigned, std::uint16_t> model;
    std::mt19937 random(1);
    for (int step = 0; step < 200000; ++step) {
        const auto n = static_cast<unsigned>(random() % 900);
        // Few hash values, so that runs of the index collide and wrap.
        const std::uint32_t hash = (n % 37) * 31 + 1000;
        const auto found = flows->find(key_of(n), hash);
        ASSERT_EQ(found.has_value(), model.contains(n));
        if (found) {
            ASSERT_EQ(*found, model[n]);
            flows->erase(*found);
            model.erase(n);
        } else if (const auto slot = flows->insert(key_of(n), hash)) {
            ASSERT_EQ(flows->key(*slot), key_of(n));
            model[n] = *slot;
        } else {
            ASSERT_EQ(model.size(), kPendingFlowsMax);
        }
        ASSERT_EQ(flows->size(), model.size());
    }
}

TEST(PendingFlows, HoldsInOrderUpToItsBound) {
    auto flows = std::make_unique<PendingFlows>();
    const auto slot = flows->insert(key_of(1), 5);
    ASSERT_TRUE(slot);
    std::array<rte_mbuf, 2> packets{};
    ASSERT_TRUE(flows->hold(*slot, {&packets[0], false}));
    ASSERT_TRUE(flows->hold(*slot, {&packets[1], true}));
    ASSERT_EQ(flows->held(*slot).size(), 2U);
    EXPECT_EQ(flows->held(*slot)[0].packet, &packets[0]);
    EXPECT_TRUE(flows->held(*slot)[1].tagged);
    for (std::size_t i = 2; i < kHeldPerFlowMax; ++i) {
        ASSERT_TRUE(flows->hold(*slot, {&packets[0], false}));
    }
    EXPECT_FALSE(flows->hold(*slot, {&packets[0], false}));
}

}  // namespace

}  // namespace culvert::dataplane
