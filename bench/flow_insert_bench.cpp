// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the control thread does to the flow cache for each new flow: an insertion among a thousand
// flows, and its erasure with the grace period already over, the insertion beside rte_hash without
// concurrent readers. What was inserted is erased before the next insertions, which is not timed,
// and the reverse. Main thread only.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include <rte_hash.h>
#include <rte_hash_crc.h>

#include "bench/benches.hpp"
#include "bench/environment.hpp"
#include "bench/flow_set.hpp"
#include "bench/measure.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowKey;
using dataplane::kBurstMax;

constexpr std::size_t kFlows = 1000;
constexpr const char* kWrongOutcome = "a flow was not inserted, or was not there to be erased";

/// A table of our own with the flows of the set: the set's tables are for look-ups.
class Flows {
public:
    Flows() : cache_(2 * kFlows) {
        for (const FlowKey& key : flow_set(kFlows).present()) {
            insert(key);
        }
    }

    void insert(const FlowKey& key) {
        const dataplane::FlowAction action{
            .verdict = dataplane::FlowVerdict::forward,
            .reason = tunnels::DropReason::none,
            .out_port = kFlowEgress};
        right_ = cache_.insert(key, action, 1, 0).ok && right_;
    }
    void erase(const FlowKey& key) { right_ = cache_.erase(key) && right_; }
    void reclaim() { cache_.reclaim(cache_.next_epoch()); }

    [[nodiscard]] bool right() const noexcept { return right_; }

private:
    dataplane::FlowCache cache_;
    bool right_ = true;
};

void insert_flows(benchmark::State& state) {
    Flows flows;
    KeyRing ring(flow_set(kFlows).absent());
    auto burst = ring.next();
    bool inserted = false;
    measure_staged(
        state,
        kBurstMax,
        [&] {
            if (inserted) {
                std::for_each(burst.begin(), burst.end(), [&](const auto& key) {
                    flows.erase(key);
                });
                flows.reclaim();
            }
            burst = ring.next();
            inserted = true;
        },
        [&] {
            for (const FlowKey& key : burst) {
                flows.insert(key);
            }
        }
    );
    static_cast<void>(require(state, flows.right(), kWrongOutcome));
}

void erase_flows(benchmark::State& state) {
    Flows flows;
    KeyRing ring(flow_set(kFlows).absent());
    auto burst = ring.next();
    measure_staged(
        state,
        kBurstMax,
        [&] {
            burst = ring.next();
            std::for_each(burst.begin(), burst.end(), [&](const auto& key) { flows.insert(key); });
        },
        [&] {
            for (const FlowKey& key : burst) {
                flows.erase(key);
            }
            flows.reclaim();
        }
    );
    static_cast<void>(require(state, flows.right(), kWrongOutcome));
}

/// With room for as many flows as ours has.
RteHash make_table() {
    rte_hash_parameters parameters{};
    parameters.name = "insert";
    parameters.entries = 2 * kFlows;
    parameters.key_len = sizeof(FlowKey);
    parameters.hash_func = rte_hash_crc;
    parameters.socket_id = Environment::get().large_page_socket();
    RteHash table(::rte_hash_create(&parameters));
    for (const FlowKey& key : flow_set(kFlows).present()) {
        static_cast<void>(::rte_hash_add_key_data(table.get(), &key, nullptr));
    }
    return table;
}

void add_to_hash(benchmark::State& state) {
    const RteHash table = make_table();
    KeyRing ring(flow_set(kFlows).absent());
    auto burst = ring.next();
    bool right = true;
    measure_staged(
        state,
        kBurstMax,
        [&] {
            for (const FlowKey& key : burst) {
                static_cast<void>(::rte_hash_del_key(table.get(), &key));
            }
            burst = ring.next();
        },
        [&] {
            for (const FlowKey& key : burst) {
                right = ::rte_hash_add_key_data(table.get(), &key, nullptr) == 0 && right;
            }
        }
    );
    static_cast<void>(require(state, right, kWrongOutcome));
}

}  // namespace

void add_flow_insert_benches(Suite& suite) {
    const std::string count = "/" + std::to_string(kFlows);
    suite.add("flow_cache/insert" + count, insert_flows);
    suite.add_beside("flow_cache/insert" + count, "rival/rte_hash/insert" + count, add_to_hash);
    suite.add("flow_cache/erase" + count, erase_flows);
}

}  // namespace culvert::bench
