// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flow cache under one writer and two readers, meant for ThreadSanitizer. What an entry holds
// is a function of its key, so that a reader recognises a torn entry, one of another key, or one
// that was reused before the reader's quiescent point.
#include "dataplane/flow_cache.hpp"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>

#include <gtest/gtest.h>
#include <rte_rcu_qsbr.h>

namespace culvert::dataplane {
namespace {

constexpr std::uint32_t kReaders = 2;
constexpr std::uint64_t kStableKeys = 64;
constexpr std::uint64_t kChurnKeys = 4096;
constexpr std::uint32_t kRounds = 800;
constexpr std::uint32_t kChangesPerRound = 64;
constexpr std::uint64_t kBurstsAtLeast = 1000;

FlowKey numbered_key(std::uint64_t number) {
    FlowKey key;
    key.in_port = static_cast<std::uint16_t>(number & 0xffffU);
    std::memcpy(key.destination.bytes.data(), &number, 6);
    return key;
}

/// What belongs to `key` for any `generation` the writer gives it.
std::uint16_t port_of(const FlowKey& key, std::uint32_t generation) {
    return static_cast<std::uint16_t>(hash(key) + generation);
}

struct FreeDeleter {
    void operator()(void* memory) const noexcept { std::free(memory); }
};

/// A grace-period tracker for `kReaders` threads, outside of the EAL's memory.
class Quiescence {
public:
    Quiescence() {
        const std::size_t bytes = rte_rcu_qsbr_get_memsize(kReaders);
        const std::size_t lines = (bytes + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE;
        memory_.reset(static_cast<rte_rcu_qsbr*>(
            std::aligned_alloc(RTE_CACHE_LINE_SIZE, lines * RTE_CACHE_LINE_SIZE)
        ));
        if (memory_ == nullptr || rte_rcu_qsbr_init(memory_.get(), kReaders) != 0) {
            std::abort();
        }
        for (std::uint32_t reader = 0; reader < kReaders; ++reader) {
            rte_rcu_qsbr_thread_register(memory_.get(), reader);
            rte_rcu_qsbr_thread_online(memory_.get(), reader);
        }
    }
    [[nodiscard]] rte_rcu_qsbr* get() const noexcept { return memory_.get(); }

private:
    std::unique_ptr<rte_rcu_qsbr, FreeDeleter> memory_;
};

struct Shared {
    FlowCache cache{kFlowsMin};
    Quiescence quiescence;
    std::atomic<bool> stop{false};
    std::array<std::atomic<std::uint64_t>, kReaders> bursts{};
    std::atomic<std::uint64_t> hits{0};
    std::atomic<std::uint64_t> wrong_entries{0};
    std::atomic<std::uint64_t> missed_stable_keys{0};
};

/// Looks up stable keys, which are replaced but never erased, and churning ones.
void read(Shared& shared, std::uint32_t reader) {
    std::mt19937_64 random(reader);
    std::array<FlowKey, kBurstMax> keys;
    std::array<std::uint32_t, kBurstMax> hashes{};
    std::array<const FlowEntry*, kBurstMax> found{};
    while (!shared.stop.load(std::memory_order_relaxed)) {
        for (std::size_t i = 0; i < kBurstMax; ++i) {
            const std::uint64_t number =
                i % 4 == 0 ? random() % kStableKeys : kStableKeys + random() % kChurnKeys;
            keys[i] = numbered_key(number);
            hashes[i] = hash(keys[i]);
        }
        const std::uint64_t burst = shared.bursts[reader].load(std::memory_order_relaxed);
        if (burst % 2 == 0) {
            shared.cache.find_burst(keys, hashes, found);
        } else {
            for (std::size_t i = 0; i < kBurstMax; ++i) {
                found[i] = shared.cache.find(keys[i], hashes[i]);
            }
        }
        // Twice over the results: an entry reused within the grace period changes in between.
        for (std::size_t i = 0; i < 2 * kBurstMax; ++i) {
            const FlowEntry* entry = found[i % kBurstMax];
            const FlowKey& key = keys[i % kBurstMax];
            if (entry == nullptr) {
                if (i % 4 == 0) {
                    shared.missed_stable_keys.fetch_add(1, std::memory_order_relaxed);
                }
                continue;
            }
            FlowCache::touch(*entry, static_cast<std::uint32_t>(burst / 64));
            shared.hits.fetch_add(1, std::memory_order_relaxed);
            if (entry->key != key || entry->created_s != ~entry->generation ||
                entry->action.out_port != port_of(key, entry->generation)) {
                shared.wrong_entries.fetch_add(1, std::memory_order_relaxed);
            }
        }
        rte_rcu_qsbr_quiescent(shared.quiescence.get(), reader);
        shared.bursts[reader].store(burst + 1, std::memory_order_relaxed);
    }
    rte_rcu_qsbr_thread_offline(shared.quiescence.get(), reader);
    rte_rcu_qsbr_thread_unregister(shared.quiescence.get(), reader);
}

class Writer {
public:
    explicit Writer(Shared& shared) : shared_(shared) {}

    void insert(std::uint64_t number) {
        const FlowKey key = numbered_key(number);
        ++generation_;
        FlowAction action;
        action.verdict = FlowVerdict::forward;
        action.out_port = port_of(key, generation_);
        while (!shared_.cache.insert(key, action, generation_, ~generation_).ok) {
            wait_and_reclaim();
        }
    }
    void change_one() {
        const std::uint64_t churning = kStableKeys + random_() % kChurnKeys;
        switch (random_() % 8) {
        case 0:
            insert(random_() % kStableKeys);
            break;
        case 1:
        case 2:
        case 3:
            shared_.cache.erase(numbered_key(churning));
            break;
        default:
            insert(churning);
            break;
        }
    }
    /// Erases a few entries that are not stable keys.
    void sweep() {
        shared_.cache.sweep(
            16,
            [](const FlowEntry& entry) { return !is_stable(entry.key); },
            [](const FlowEntry&) {}
        );
    }
    void wait_and_reclaim() {
        const std::uint64_t epoch = shared_.cache.next_epoch();
        // Not rte_rcu_qsbr_synchronize: it is compiled into DPDK's library, where ThreadSanitizer
        // does not see the acquire that orders the readers' last accesses before the reuse.
        const std::uint64_t token = rte_rcu_qsbr_start(shared_.quiescence.get());
        while (rte_rcu_qsbr_check(shared_.quiescence.get(), token, false) == 0) {
            std::this_thread::yield();
        }
        shared_.cache.reclaim(epoch);
    }

private:
    static bool is_stable(const FlowKey& key) {
        std::uint64_t number = 0;
        std::memcpy(&number, key.destination.bytes.data(), 6);
        return number < kStableKeys;
    }

    Shared& shared_;
    std::mt19937_64 random_{99};
    std::uint32_t generation_ = 0;
};

// The churn keeps the table below its capacity (8 changes: 3 erase, 4 insert, then sweeps), so that
// a stable key is never evicted and must be found by every lookup.
TEST(FlowCacheStress, ReadersSeeWholeEntriesOfTheirKeyWhileTheWriterChurns) {
    const auto shared = std::make_unique<Shared>();
    Writer writer(*shared);
    for (std::uint64_t number = 0; number < kStableKeys; ++number) {
        writer.insert(number);
    }
    std::array<std::thread, kReaders> readers;
    for (std::uint32_t reader = 0; reader < kReaders; ++reader) {
        readers[reader] = std::thread(read, std::ref(*shared), reader);
    }
    const auto enough_reads = [&] {
        return shared->bursts[0].load() >= kBurstsAtLeast &&
               shared->bursts[1].load() >= kBurstsAtLeast;
    };
    for (std::uint32_t round = 0; round < kRounds || !enough_reads(); ++round) {
        for (std::uint32_t change = 0; change < kChangesPerRound; ++change) {
            writer.change_one();
        }
        while (shared->cache.size() > kFlowsMin / 2) {
            writer.sweep();
        }
        if (round % 2 == 0) {
            writer.wait_and_reclaim();
        }
    }
    shared->stop.store(true);
    for (std::thread& reader : readers) {
        reader.join();
    }
    EXPECT_EQ(shared->wrong_entries.load(), 0U);
    EXPECT_EQ(shared->missed_stable_keys.load(), 0U);
    EXPECT_EQ(shared->cache.evictions(), 0U);
    EXPECT_GT(shared->hits.load(), 0U);
}

// Four times as many keys as the table holds: nearly every insert takes the entry of another.
TEST(FlowCacheStress, ReadersSeeWholeEntriesOfTheirKeyWhileAFullTableEvicts) {
    const auto shared = std::make_unique<Shared>();
    Writer writer(*shared);
    for (std::uint64_t number = 0; number < kFlowsMin; ++number) {
        writer.insert(number);
    }
    std::array<std::thread, kReaders> readers;
    for (std::uint32_t reader = 0; reader < kReaders; ++reader) {
        readers[reader] = std::thread(read, std::ref(*shared), reader);
    }
    const auto enough_reads = [&] {
        return shared->bursts[0].load() >= kBurstsAtLeast &&
               shared->bursts[1].load() >= kBurstsAtLeast;
    };
    std::mt19937_64 random(17);
    for (std::uint32_t round = 0; round < kRounds || !enough_reads(); ++round) {
        for (std::uint32_t change = 0; change < kChangesPerRound; ++change) {
            writer.insert(kStableKeys + random() % kChurnKeys);
        }
        writer.wait_and_reclaim();
    }
    shared->stop.store(true);
    for (std::thread& reader : readers) {
        reader.join();
    }
    EXPECT_EQ(shared->wrong_entries.load(), 0U);
    EXPECT_GT(shared->cache.evictions(), 0U);
    EXPECT_LE(shared->cache.size(), shared->cache.capacity());
    EXPECT_GT(shared->hits.load(), 0U);
}

}  // namespace
}  // namespace culvert::dataplane
