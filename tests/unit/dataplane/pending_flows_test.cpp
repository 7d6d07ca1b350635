// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pending flows against a model, and the table of tunnel peers.

#include "dataplane/pending_flows.hpp"

#include <map>
#include <memory>
#include <random>
#include <vector>

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
    std::vector<HeldPacket> held;
    flows->for_each(*slot, [&](const HeldPacket& packet) { held.push_back(packet); });
    ASSERT_EQ(held.size(), 2U);
    EXPECT_EQ(held[0].packet, &packets[0]);
    EXPECT_FALSE(held[0].tagged);
    EXPECT_EQ(held[1].packet, &packets[1]);
    EXPECT_TRUE(held[1].tagged);
    for (std::size_t i = 2; i < kHeldPerFlowMax; ++i) {
        ASSERT_TRUE(flows->hold(*slot, {&packets[0], false}));
    }
    EXPECT_FALSE(flows->hold(*slot, {&packets[0], false}));
}

TEST(PendingFlows, HoldsSoManyPacketsOfAllFlowsAndTheSameAgainOnceTheyWent) {
    auto flows = std::make_unique<PendingFlows>();
    rte_mbuf packet{};
    for (int turn = 0; turn < 2; ++turn) {
        std::vector<std::uint16_t> slots;
        std::size_t held = 0;
        for (unsigned n = 0; held < kHeldPerWorkerMax; ++n) {
            const auto slot = flows->insert(key_of(n), n);
            ASSERT_TRUE(slot);
            slots.push_back(*slot);
            // Uneven shares.
            for (unsigned i = 0; i < 5 + n % 7 && held < kHeldPerWorkerMax; ++i) {
                ASSERT_TRUE(flows->hold(*slot, {&packet, false}));
                ++held;
            }
        }
        EXPECT_FALSE(flows->hold(slots.front(), {&packet, false}));
        std::size_t visited = 0;
        for (const std::uint16_t slot : slots) {
            flows->for_each(slot, [&](const HeldPacket&) { ++visited; });
            flows->erase(slot);
        }
        EXPECT_EQ(visited, kHeldPerWorkerMax);
        EXPECT_TRUE(flows->empty());
    }
}

}  // namespace

}  // namespace culvert::dataplane
