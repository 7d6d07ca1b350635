// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flow cache as its one writer and a single reader see it. Races are left to
// tests/stress/flow_cache_stress_test.cpp.
#include "dataplane/flow_cache.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <set>
#include <unordered_map>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::dataplane {
namespace {

/// A key that differs from that of every other number.
FlowKey numbered_key(std::uint64_t number) {
    FlowKey key;
    key.in_port = static_cast<std::uint16_t>(number % 5);
    key.vlan = static_cast<std::uint16_t>(number % 3);
    std::memcpy(key.destination.bytes.data(), &number, 6);
    std::memcpy(key.source.bytes.data(), "\x02source", 6);
    return key;
}

FlowAction to_port(std::uint16_t port) {
    return {.verdict = FlowVerdict::forward, .reason = tunnels::DropReason::none, .out_port = port};
}

const FlowEntry* find(const FlowCache& cache, const FlowKey& key) {
    return cache.find(key, hash(key));
}

/// Keys with equal hashes, which therefore compete for the same two buckets. The second word's CRC
/// state after four bytes is cancelled by its other four, so every such key ends in one state.
std::vector<FlowKey> keys_of_one_hash(std::uint32_t count) {
    std::vector<FlowKey> keys;
    for (std::uint32_t number = 0; number < count; ++number) {
        std::array<std::uint32_t, 4> words{0x00010002, 0x03040506, number, 0};
        std::uint64_t first = 0;
        std::memcpy(&first, words.data(), sizeof first);
        const auto state = static_cast<std::uint32_t>(_mm_crc32_u64(0x9e3779b9U, first));
        words[3] = _mm_crc32_u32(state, number) ^ 0x5a5a5a5aU;
        FlowKey key;
        std::memcpy(static_cast<void*>(&key), words.data(), sizeof key);
        keys.push_back(key);
    }
    return keys;
}

struct KeyHash {
    std::size_t operator()(const FlowKey& key) const noexcept { return hash(key); }
};

TEST(FlowCache, FindsWhatWasInserted) {
    FlowCache cache(kFlowsMin);
    const FlowKey key = numbered_key(1);
    EXPECT_EQ(find(cache, key), nullptr);

    const FlowCache::InsertResult result = cache.insert(key, to_port(7), 3, 100);
    EXPECT_TRUE(result.ok);
    EXPECT_FALSE(result.evicted);
    EXPECT_EQ(cache.size(), 1U);

    const FlowEntry* entry = find(cache, key);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->key, key);
    EXPECT_EQ(entry->action, to_port(7));
    EXPECT_EQ(entry->generation, 3U);
    EXPECT_EQ(entry->created_s, 100U);
    EXPECT_FALSE(entry->was_hit());
    FlowCache::touch(*entry, 100);
    EXPECT_TRUE(entry->was_hit()) << "in the second in which it was made";
    EXPECT_EQ(entry->last_used_s.load(), 100U);
    EXPECT_EQ(find(cache, numbered_key(2)), nullptr);
}

TEST(FlowCache, ComparesTheWholeKeyAndNotOnlyItsHash) {
    FlowCache cache(kFlowsMin);
    const std::vector<FlowKey> keys = keys_of_one_hash(17);
    for (std::size_t i = 0; i < 16; ++i) {
        ASSERT_EQ(hash(keys[i]), hash(keys[0]));
        ASSERT_TRUE(cache.insert(keys[i], to_port(static_cast<std::uint16_t>(i)), 0, 0).ok);
    }
    for (std::size_t i = 0; i < 16; ++i) {
        const FlowEntry* entry = find(cache, keys[i]);
        ASSERT_NE(entry, nullptr) << i;
        EXPECT_EQ(entry->action.out_port, i);
    }
    EXPECT_EQ(find(cache, keys[16]), nullptr);
    EXPECT_EQ(cache.evictions(), 0U);
}

TEST(FlowCache, ReplacesByANewEntryAndLeavesTheOldOneIntact) {
    FlowCache cache(kFlowsMin);
    const FlowKey key = numbered_key(1);
    ASSERT_TRUE(cache.insert(key, to_port(7), 3, 100).ok);
    const FlowEntry* old_entry = find(cache, key);

    const FlowCache::InsertResult result = cache.insert(key, to_port(8), 4, 101);
    EXPECT_TRUE(result.ok);
    EXPECT_FALSE(result.evicted);
    EXPECT_EQ(cache.size(), 1U);
    const FlowEntry* new_entry = find(cache, key);
    ASSERT_NE(new_entry, nullptr);
    EXPECT_NE(new_entry, old_entry);
    EXPECT_EQ(new_entry->action, to_port(8));
    EXPECT_EQ(new_entry->generation, 4U);
    // A reader that holds the old entry may go on reading it until its quiescent point.
    EXPECT_EQ(old_entry->action, to_port(7));
    EXPECT_EQ(old_entry->generation, 3U);
}

TEST(FlowCache, ErasesOnlyTheKeyAsked) {
    FlowCache cache(kFlowsMin);
    ASSERT_TRUE(cache.insert(numbered_key(1), to_port(1), 0, 0).ok);
    ASSERT_TRUE(cache.insert(numbered_key(2), to_port(2), 0, 0).ok);
    EXPECT_TRUE(cache.erase(numbered_key(1)));
    EXPECT_FALSE(cache.erase(numbered_key(1)));
    EXPECT_EQ(find(cache, numbered_key(1)), nullptr);
    EXPECT_NE(find(cache, numbered_key(2)), nullptr);
    EXPECT_EQ(cache.size(), 1U);
}

TEST(FlowCache, EvictsTheLeastRecentlyUsedOfSixteen) {
    FlowCache cache(kFlowsMin);
    const std::vector<FlowKey> keys = keys_of_one_hash(20);
    for (std::size_t i = 0; i < 16; ++i) {
        ASSERT_TRUE(cache.insert(keys[i], to_port(1), 0, 50).ok);
        FlowCache::touch(*find(cache, keys[i]), 100 + static_cast<std::uint32_t>(i * 7 % 16));
    }
    // Stamps are 100 + i * 7 mod 16: oldest are keys 0 (100), 7 (101), 14 (102) and 5 (103).
    const std::array<std::size_t, 4> victims{0, 7, 14, 5};
    for (std::size_t i = 0; i < victims.size(); ++i) {
        const FlowCache::InsertResult result = cache.insert(keys[16 + i], to_port(2), 0, 200);
        ASSERT_TRUE(result.ok);
        ASSERT_TRUE(result.evicted);
        EXPECT_EQ(result.removed_key, keys[victims[i]]);
        EXPECT_EQ(find(cache, keys[victims[i]]), nullptr);
        EXPECT_NE(find(cache, keys[16 + i]), nullptr);
    }
    EXPECT_EQ(cache.size(), 16U);
    EXPECT_EQ(cache.evictions(), 4U);
}

TEST(FlowCache, AFullTableEvictsWhatNoPacketHitBeforeWhatIsInUse) {
    FlowCache cache(kFlowsMin);
    constexpr std::uint64_t kUsed = kFlowsMin / 2;
    constexpr std::uint32_t kNow = 100;
    for (std::uint64_t number = 0; number < kUsed; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, kNow).ok);
        FlowCache::touch(*find(cache, numbered_key(number)), kNow);
    }
    for (std::uint64_t number = kUsed; number < 20 * kFlowsMin; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, kNow + 1).ok);
        cache.reclaim(cache.next_epoch());
    }
    EXPECT_EQ(cache.size(), cache.capacity());
    std::size_t kept = 0;
    for (std::uint64_t number = 0; number < kUsed; ++number) {
        kept += find(cache, numbered_key(number)) == nullptr ? 0 : 1;
    }
    EXPECT_EQ(kept, kUsed);
}

TEST(FlowCache, AFullTableEvictsWhatIsNotInUseAnyMore) {
    FlowCache cache(kFlowsMin);
    constexpr std::uint32_t kNow = 100;
    for (std::uint64_t number = 0; number < kFlowsMin; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, 50).ok);
        // One in four went on.
        FlowCache::touch(*find(cache, numbered_key(number)), number % 4 == 0 ? kNow : 60);
    }
    for (std::uint64_t number = 0; number < kFlowsMin / 2; ++number) {
        const FlowKey key = numbered_key(kFlowsMin + number);
        const FlowCache::InsertResult result = cache.insert(key, {}, 0, kNow);
        ASSERT_TRUE(result.ok);
        ASSERT_TRUE(result.evicted);
        FlowCache::touch(*find(cache, key), kNow);
        EXPECT_EQ(cache.entry(result.entry).key, key);
        EXPECT_EQ(cache.entry(result.removed).key, result.removed_key);
        EXPECT_EQ(cache.entry(result.removed).last_used_s.load(), 60U);
        cache.reclaim(cache.next_epoch());
    }
}

TEST(FlowCache, ATableInUseThroughoutStillMakesRoom) {
    FlowCache cache(kFlowsMin);
    for (std::uint64_t number = 0; number < 2 * kFlowsMin; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, 100).ok);
        FlowCache::touch(*find(cache, numbered_key(number)), 100);
        cache.reclaim(cache.next_epoch());
    }
    EXPECT_EQ(cache.size(), cache.capacity());
    EXPECT_EQ(cache.evictions(), kFlowsMin);
}

TEST(FlowCache, NeverHoldsMoreThanItsCapacity) {
    FlowCache cache(kFlowsMin);
    std::uint64_t evictions = 0;
    for (std::uint64_t number = 0; number < 4 * kFlowsMin; ++number) {
        const auto now_s = static_cast<std::uint32_t>(number);
        const FlowCache::InsertResult result = cache.insert(numbered_key(number), {}, 0, now_s);
        ASSERT_TRUE(result.ok);
        evictions += result.evicted ? 1 : 0;
        if (result.evicted) {
            EXPECT_EQ(find(cache, result.removed_key), nullptr);
        }
        ASSERT_NE(find(cache, numbered_key(number)), nullptr);
        ASSERT_LE(cache.size(), cache.capacity());
        cache.reclaim(cache.next_epoch());
    }
    EXPECT_EQ(cache.evictions(), evictions);
    EXPECT_EQ(cache.size() + evictions, 4 * kFlowsMin);
}

TEST(FlowCache, RefusesWhenAllEntriesWaitForReclaimAndRecoversAfterIt) {
    FlowCache cache(kFlowsMin);
    const FlowKey key = numbered_key(1);
    ASSERT_TRUE(cache.insert(key, to_port(1), 0, 0).ok);
    std::uint32_t replaced = 0;
    FlowCache::InsertResult result;
    do {
        result = cache.insert(key, to_port(2), ++replaced, 0);
        ASSERT_LE(replaced, 2 * kFlowsMin);
    } while (result.ok);
    EXPECT_GE(replaced, kFlowsMin);
    EXPECT_FALSE(result.evicted);
    // The refused insert left the last one in place.
    ASSERT_NE(find(cache, key), nullptr);
    EXPECT_EQ(find(cache, key)->generation, replaced - 1);
    EXPECT_FALSE(cache.insert(numbered_key(2), to_port(1), 0, 0).ok);
    EXPECT_EQ(cache.size(), 1U);

    const std::uint64_t epoch = cache.next_epoch();
    EXPECT_FALSE(cache.insert(key, to_port(3), 0, 0).ok);
    cache.reclaim(epoch);
    for (std::uint64_t number = 1; number <= kFlowsMin; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), to_port(3), 0, 0).ok) << number;
    }
}

TEST(FlowCache, ReclaimFreesOnlyEpochsAtOrBeforeTheGivenOne) {
    FlowCache cache(kFlowsMin);
    const FlowKey key = numbered_key(1);
    ASSERT_TRUE(cache.insert(key, {}, 0, 0).ok);
    const FlowEntry* first = find(cache, key);
    ASSERT_TRUE(cache.erase(key));
    const std::uint64_t old_epoch = cache.next_epoch();
    ASSERT_TRUE(cache.insert(key, {}, 1, 0).ok);
    const FlowEntry* second = find(cache, key);
    EXPECT_NE(first, second);
    ASSERT_TRUE(cache.erase(key));
    const std::uint64_t young_epoch = cache.next_epoch();
    EXPECT_GT(young_epoch, old_epoch);

    // Only the first is free again: it is used before any entry that is still to wait.
    cache.reclaim(old_epoch);
    ASSERT_TRUE(cache.insert(numbered_key(2), {}, 2, 0).ok);
    ASSERT_TRUE(cache.insert(numbered_key(3), {}, 3, 0).ok);
    EXPECT_EQ(find(cache, numbered_key(2)), first);
    EXPECT_NE(find(cache, numbered_key(3)), second);
    EXPECT_EQ(second->generation, 1U);
    cache.reclaim(young_epoch);
    ASSERT_TRUE(cache.insert(numbered_key(4), {}, 4, 0).ok);
    EXPECT_EQ(find(cache, numbered_key(4)), second);
}

TEST(FlowCache, TouchStampsUse) {
    FlowCache cache(kFlowsMin);
    ASSERT_TRUE(cache.insert(numbered_key(1), {}, 0, 5).ok);
    const FlowEntry* entry = find(cache, numbered_key(1));
    FlowCache::touch(*entry, 9);
    EXPECT_EQ(entry->last_used_s.load(), 9U);
    EXPECT_EQ(entry->created_s, 5U);
}

TEST(FlowCache, ClearErasesEverything) {
    FlowCache cache(kFlowsMin);
    for (std::uint64_t number = 0; number < kFlowsMin; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, 0).ok);
    }
    cache.clear();
    EXPECT_EQ(cache.size(), 0U);
    for (std::uint64_t number = 0; number < kFlowsMin; ++number) {
        ASSERT_EQ(find(cache, numbered_key(number)), nullptr);
    }
    cache.clear();
    cache.reclaim(cache.next_epoch());
    EXPECT_TRUE(cache.insert(numbered_key(1), {}, 0, 0).ok);
    EXPECT_EQ(cache.size(), 1U);
}

TEST(FlowCache, ForEachVisitsEachEntryOnceUnderADistinctIndex) {
    FlowCache cache(kFlowsMin);
    std::set<std::uint64_t> expected;
    for (std::uint64_t number = 0; number < 300; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, static_cast<std::uint32_t>(number), 0).ok
        );
        expected.insert(number);
    }
    for (std::uint64_t number = 0; number < 300; number += 3) {
        ASSERT_TRUE(cache.erase(numbered_key(number)));
        expected.erase(number);
    }
    std::set<std::uint64_t> visited;
    std::set<std::uint32_t> indices;
    cache.for_each([&](std::uint32_t index, const FlowEntry& entry) {
        EXPECT_TRUE(visited.insert(entry.generation).second);
        EXPECT_TRUE(indices.insert(index).second);
        EXPECT_EQ(entry.key, numbered_key(entry.generation));
    });
    EXPECT_EQ(visited, expected);
}

TEST(FlowCache, SweepErasesTheStaleWithinItsBudgetAndGoesOnWhereItStopped) {
    FlowCache cache(kFlowsMin);
    constexpr std::uint64_t kCount = 600;
    for (std::uint64_t number = 0; number < kCount; ++number) {
        const std::uint32_t now_s = number % 2 == 0 ? 10 : 20;
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, now_s).ok);
    }
    const auto expired = [](const FlowEntry& entry) { return entry.created_s < 20; };
    std::size_t told = 0;
    const auto on_erase = [&](const FlowEntry& entry) {
        EXPECT_EQ(entry.created_s, 10U);
        // Still findable while it is told of.
        EXPECT_EQ(find(cache, entry.key), &entry);
        ++told;
    };
    EXPECT_EQ(cache.sweep(0, expired, on_erase), 0U);
    std::size_t erased = 0;
    for (std::size_t round = 0; round < 3; ++round) {
        EXPECT_EQ(cache.sweep(100, expired, on_erase), 100U);
        erased += 100;
        EXPECT_EQ(told, erased);
        EXPECT_EQ(cache.size(), kCount - erased);
    }
    EXPECT_EQ(cache.sweep(100, expired, on_erase), 0U);
    for (std::uint64_t number = 0; number < kCount; ++number) {
        EXPECT_EQ(find(cache, numbered_key(number)) != nullptr, number % 2 == 1);
    }
}

TEST(FlowCache, SweepGoesOnBehindWhereItsBudgetRanOut) {
    FlowCache cache(kFlowsMin);
    for (std::uint64_t number = 0; number < 500; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, 0).ok);
    }
    // What was erased comes back at once, so a sweep that started over with each call, or stayed at
    // one place until nothing is stale there, would meet the same few entries for ever.
    std::set<std::uint64_t> erased;
    for (std::uint64_t round = 0; round < 500; ++round) {
        FlowKey key;
        const std::size_t count = cache.sweep(
            1,
            [](const FlowEntry&) { return true; },
            [&](const FlowEntry& entry) { key = entry.key; }
        );
        ASSERT_EQ(count, 1U);
        erased.insert(key.destination.to_u64());
        cache.reclaim(cache.next_epoch());
        ASSERT_TRUE(cache.insert(key, {}, 0, 0).ok);
    }
    EXPECT_GT(erased.size(), 100U);
}

TEST(FlowCache, ASharedSweepLooksAtAllOfALargeTableInSoManyTurns) {
    FlowCache cache(std::size_t{16} * FlowCache::kSweepBucketsMin);
    constexpr std::uint64_t kCount = 10000;
    constexpr std::uint32_t kShare = 2;
    for (std::uint64_t number = 0; number < kCount; ++number) {
        ASSERT_TRUE(cache.insert(numbered_key(number), {}, 0, 0).ok);
    }
    std::size_t looked = 0;
    const auto sweep = [&] {
        return cache.sweep(
            kCount, [&](const FlowEntry&) { return ++looked != 0; }, [](const FlowEntry&) {}, kShare
        );
    };
    const std::size_t first = sweep();
    EXPECT_GT(first, kCount / 4);
    EXPECT_LT(first, kCount * 3 / 4);
    EXPECT_EQ(first + sweep(), kCount);
    EXPECT_EQ(looked, kCount);
}

TEST(FlowCache, FindsAllKeysAtHalfLoadAndAtCapacity) {
    FlowCache cache(65536);
    std::mt19937_64 random(7);
    std::vector<FlowKey> keys(cache.capacity());
    const auto all_findable = [&](std::size_t count) {
        return std::all_of(
            keys.begin(),
            keys.begin() + static_cast<std::ptrdiff_t>(count),
            [&](const FlowKey& key) { return find(cache, key) != nullptr; }
        );
    };
    for (std::size_t i = 0; i < keys.size(); ++i) {
        keys[i] = numbered_key(random());
        ASSERT_TRUE(cache.insert(keys[i], {}, 0, 0).ok);
        if (i + 1 == keys.size() / 2) {
            EXPECT_TRUE(all_findable(i + 1));
        }
    }
    EXPECT_TRUE(all_findable(keys.size()));
    EXPECT_EQ(cache.evictions(), 0U);
}

TEST(FlowCache, BurstLookupAgreesWithSingleLookups) {
    FlowCache cache(kFlowsMin);
    std::vector<FlowKey> keys = keys_of_one_hash(16);
    for (std::uint64_t number = 0; number < 100; ++number) {
        keys.push_back(numbered_key(number));
    }
    for (std::size_t i = 0; i < keys.size(); i += 2) {
        ASSERT_TRUE(cache.insert(keys[i], {}, 0, 0).ok);
    }
    std::vector<std::uint32_t> hashes;
    for (const FlowKey& key : keys) {
        hashes.push_back(hash(key));
        cache.prefetch(hashes.back());
    }
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, kBurstMax, keys.size()}) {
        // A stale pointer shows whether every element was written.
        const FlowEntry stale;
        std::vector<const FlowEntry*> found(keys.size(), &stale);
        cache.find_burst(
            std::span(keys).first(count),
            std::span(hashes).first(count),
            std::span(found).first(count)
        );
        for (std::size_t i = 0; i < count; ++i) {
            EXPECT_EQ(found[i], find(cache, keys[i])) << i;
            EXPECT_EQ(found[i] != nullptr, i % 2 == 0) << i;
        }
        for (std::size_t i = count; i < keys.size(); ++i) {
            EXPECT_EQ(found[i], &stale);
        }
    }
}

TEST(FlowCache, RoundsAndBoundsItsCapacity) {
    EXPECT_EQ(FlowCache(0).capacity(), kFlowsMin);
    EXPECT_EQ(FlowCache(kFlowsMin + 1).capacity(), 2 * kFlowsMin);
    EXPECT_EQ(FlowCache(kFlowsMax + 1).capacity(), kFlowsMax);
    // At least the entries; at most twice as much with tags, links and entries in their grace
    // period.
    const FlowCache cache(65536);
    EXPECT_GE(cache.memory_bytes(), cache.capacity() * sizeof(FlowEntry));
    EXPECT_LE(cache.memory_bytes(), 2 * cache.capacity() * sizeof(FlowEntry));
}

/// A million operations beside a map. Evictions are the cache's choice, so the model follows them;
/// that the victim was findable and is gone is checked.
TEST(FlowCache, BehavesLikeAMapOverAMillionRandomOperations) {
    FlowCache cache(kFlowsMin);
    std::unordered_map<FlowKey, FlowAction, KeyHash> model;
    std::mt19937_64 random(42);
    std::uint64_t refusals = 0;
    for (std::uint32_t step = 0; step < 1'000'000; ++step) {
        const FlowKey key = numbered_key(random() % 3000);
        const auto choice = random() % 100;
        if (choice < 40) {
            const FlowEntry* entry = find(cache, key);
            const auto expected = model.find(key);
            ASSERT_EQ(entry != nullptr, expected != model.end());
            if (entry != nullptr) {
                ASSERT_EQ(entry->action, expected->second);
                FlowCache::touch(*entry, step / 1000);
            }
        } else if (choice < 80) {
            const FlowAction action = to_port(static_cast<std::uint16_t>(random()));
            const FlowCache::InsertResult result = cache.insert(key, action, 0, step / 1000);
            refusals += result.ok ? 0 : 1;
            if (result.evicted) {
                ASSERT_TRUE(result.ok);
                ASSERT_NE(result.removed_key, key);
                ASSERT_EQ(model.erase(result.removed_key), 1U);
                ASSERT_EQ(find(cache, result.removed_key), nullptr);
            }
            if (result.ok) {
                model[key] = action;
            }
        } else if (choice < 99) {
            ASSERT_EQ(cache.erase(key), model.erase(key) == 1);
        } else {
            cache.reclaim(cache.next_epoch());
        }
        ASSERT_EQ(cache.size(), model.size());
        ASSERT_LE(cache.size(), cache.capacity());
    }
    EXPECT_GT(cache.evictions(), 0U);
    EXPECT_GT(refusals, 0U);
    std::size_t visited = 0;
    cache.for_each([&](std::uint32_t, const FlowEntry& entry) {
        ++visited;
        ASSERT_EQ(model.at(entry.key), entry.action);
    });
    EXPECT_EQ(visited, model.size());
}

}  // namespace
}  // namespace culvert::dataplane
