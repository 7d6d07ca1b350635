// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hash table of addresses against std::map, over growing and shrinking.

#include "ctl/address_map.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

TEST(AddressMap, AgreesWithAMapWhileItGrowsAndShrinks) {
    AddressMap<std::uint32_t> table;
    std::map<std::uint64_t, std::uint32_t> model;
    std::mt19937_64 random(5);
    // The table fills, empties and fills again. Key 0 is a key as any other.
    for (const unsigned inserts_of_8 : {6U, 1U, 6U, 0U}) {
        for (unsigned step = 0; step < 40000; ++step) {
            const std::uint64_t key = random() % 20000;
            if (random() % 8 < inserts_of_8) {
                table.insert(key) = step;
                model[key] = step;
            } else {
                ASSERT_EQ(table.erase(key), model.erase(key) != 0);
            }
            const std::uint64_t other = random() % 20000;
            const std::uint32_t* found = table.find(other);
            ASSERT_EQ(found != nullptr, model.contains(other));
            if (found != nullptr) {
                ASSERT_EQ(*found, model[other]);
            }
            ASSERT_EQ(table.size(), model.size());
        }
    }
}

TEST(AddressMap, GivesMemoryBackOnceItsKeysAreGone) {
    AddressMap<std::uint32_t> table;
    const std::size_t empty = table.memory_bytes();
    for (std::uint64_t key = 0; key < 10000; ++key) {
        table.insert(key) = 1;
    }
    EXPECT_GE(table.memory_bytes(), 2 * std::size_t{10000} * sizeof(std::uint64_t));
    for (std::uint64_t key = 0; key < 10000; ++key) {
        EXPECT_TRUE(table.erase(key));
    }
    EXPECT_LE(table.memory_bytes(), 4 * empty);
    table.insert(1) = 2;
    table.clear();
    EXPECT_EQ(table.find(1), nullptr);
    EXPECT_EQ(table.size(), 0U);
}

}  // namespace

}  // namespace culvert::ctl
