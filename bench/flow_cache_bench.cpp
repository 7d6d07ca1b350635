// SPDX-License-Identifier: GPL-2.0-or-later
//
// Look-ups in the flow cache, that hit and that miss, one by one and 32 at a time, beside rte_hash
// and std::unordered_map with the same keys. Every look-up is timed with its hash, which rte_hash
// computes inside. Keys come in random order, which is the worst case for all of them. Main thread
// only.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include <rte_hash.h>

#include "bench/benches.hpp"
#include "bench/flow_set.hpp"
#include "bench/measure.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowEntry;
using dataplane::FlowKey;
using dataplane::kBurstMax;

constexpr std::size_t kFlowCounts[] = {1000, 100'000, 1'000'000};
constexpr const char* kWrongOutcome = "a look-up that should hit missed, or the reverse";

/// Whether look-ups are to find their keys.
enum class Expect : bool { miss, hit };

std::span<const FlowKey> keys_of(const FlowSet& flows, Expect expect) {
    return expect == Expect::hit ? flows.present() : flows.absent();
}

/// Times `lookup`, which takes 32 keys and returns how many it found.
template <class Lookup>
void measure_lookup(
    benchmark::State& state, const FlowSet& flows, Expect expect, const Lookup& lookup
) {
    const auto keys = keys_of(flows, expect);
    KeyRing ring(keys);
    std::size_t found = 0;
    for (std::size_t i = 0; i < keys.size(); i += kBurstMax) {
        found += lookup(ring.next());
    }
    if (!require(state, found == (expect == Expect::hit ? keys.size() : 0), kWrongOutcome)) {
        return;
    }
    measure(state, kBurstMax, [&] {
        std::size_t count = lookup(ring.next());
        benchmark::DoNotOptimize(count);
    });
}

using Burst = std::span<const FlowKey, kBurstMax>;

std::size_t find_each(const dataplane::FlowCache& cache, Burst keys) {
    std::size_t found = 0;
    for (const FlowKey& key : keys) {
        const FlowEntry* entry = cache.find(key, dataplane::hash(key));
        found += entry != nullptr && entry->action.out_port == kFlowEgress ? 1U : 0U;
    }
    return found;
}

std::size_t find_burst(const dataplane::FlowCache& cache, Burst keys) {
    std::array<std::uint32_t, kBurstMax> hashes;
    std::array<const FlowEntry*, kBurstMax> entries;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
        hashes[i] = dataplane::hash(keys[i]);
    }
    cache.find_burst(keys, hashes, entries);
    std::size_t found = 0;
    for (const FlowEntry* entry : entries) {
        found += entry != nullptr && entry->action.out_port == kFlowEgress ? 1U : 0U;
    }
    return found;
}

std::size_t hash_lookup_each(const rte_hash& table, Burst keys) {
    std::size_t found = 0;
    for (const FlowKey& key : keys) {
        found += ::rte_hash_lookup(&table, &key) >= 0 ? 1U : 0U;
    }
    return found;
}

std::size_t hash_lookup_bulk(const rte_hash& table, Burst keys) {
    std::array<const void*, kBurstMax> pointers;
    std::array<std::int32_t, kBurstMax> positions;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
        pointers[i] = &keys[i];
    }
    ::rte_hash_lookup_bulk(&table, pointers.data(), kBurstMax, positions.data());
    std::size_t found = 0;
    for (const std::int32_t position : positions) {
        found += position >= 0 ? 1U : 0U;
    }
    return found;
}

std::size_t map_find_each(const FlowMap& map, Burst keys) {
    std::size_t found = 0;
    for (const FlowKey& key : keys) {
        const auto entry = map.find(key);
        found += entry != map.end() && entry->second.out_port == kFlowEgress ? 1U : 0U;
    }
    return found;
}

void add_for(Suite& suite, std::size_t flows, Expect expect) {
    const std::string outcome = expect == Expect::hit ? "hit" : "miss";
    const std::string count = "/" + std::to_string(flows);
    const std::string single = "flow_cache/" + outcome + count;
    const std::string burst = "flow_cache/" + outcome + "_burst" + count;

    suite.add(single, [=](benchmark::State& state) {
        const auto& cache = flow_set(flows).cache();
        measure_lookup(state, flow_set(flows), expect, [&](Burst keys) {
            return find_each(cache, keys);
        });
    });
    suite.add_beside(single, "rival/rte_hash/" + outcome + count, [=](benchmark::State& state) {
        const auto& table = flow_set(flows).hash();
        measure_lookup(state, flow_set(flows), expect, [&](Burst keys) {
            return hash_lookup_each(table, keys);
        });
    });
    suite
        .add_beside(single, "rival/unordered_map/" + outcome + count, [=](benchmark::State& state) {
            const auto& map = flow_set(flows).map();
            measure_lookup(state, flow_set(flows), expect, [&](Burst keys) {
                return map_find_each(map, keys);
            });
        });
    suite.add(burst, [=](benchmark::State& state) {
        const auto& cache = flow_set(flows).cache();
        measure_lookup(state, flow_set(flows), expect, [&](Burst keys) {
            return find_burst(cache, keys);
        });
    });
    suite.add_beside(
        burst,
        "rival/rte_hash/" + outcome + "_bulk" + count,
        [=](benchmark::State& state) {
            const auto& table = flow_set(flows).hash();
            measure_lookup(state, flow_set(flows), expect, [&](Burst keys) {
                return hash_lookup_bulk(table, keys);
            });
        }
    );
    suite.add_beside(
        burst,
        "rival/rte_hash_lf/" + outcome + "_bulk" + count,
        [=](benchmark::State& state) {
            const auto& table = flow_set(flows).lock_free_hash();
            measure_lookup(state, flow_set(flows), expect, [&](Burst keys) {
                return hash_lookup_bulk(table, keys);
            });
        }
    );
}

}  // namespace

void add_flow_cache_benches(Suite& suite) {
    for (const Expect expect : {Expect::hit, Expect::miss}) {
        for (const std::size_t flows : kFlowCounts) {
            add_for(suite, flows, expect);
        }
    }
}

}  // namespace culvert::bench
