// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flows that look-ups are timed with, the same for us and for the rivals: pairs of MAC
// addresses as a learning bridge of virtual machines meets them, in random order, and as many that
// no table has. A set is built when it is first asked for and lives until release_flow_sets(),
// since a million insertions would otherwise be repeated for every run. Main thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <rte_hash.h>

#include "dataplane/flow_cache.hpp"
#include "dataplane/limits.hpp"

namespace culvert::bench {

/// The ports that the flows lead from and to.
inline constexpr std::uint16_t kFlowIngress = 1;
inline constexpr std::uint16_t kFlowEgress = 2;

/// Our own hash, so that the map differs from the flow cache in its structure only.
struct FlowKeyHash {
    std::size_t operator()(const dataplane::FlowKey& key) const noexcept {
        return dataplane::hash(key);
    }
};
using FlowMap = std::unordered_map<dataplane::FlowKey, dataplane::FlowAction, FlowKeyHash>;

struct FreeHash {
    void operator()(rte_hash* table) const noexcept { ::rte_hash_free(table); }
};
using RteHash = std::unique_ptr<rte_hash, FreeHash>;

class FlowSet {
public:
    explicit FlowSet(std::size_t flows);

    /// Present and absent keys; a multiple of kBurstMax, so that some may come twice.
    [[nodiscard]] std::span<const dataplane::FlowKey> present() const noexcept { return present_; }
    [[nodiscard]] std::span<const dataplane::FlowKey> absent() const noexcept { return absent_; }

    [[nodiscard]] dataplane::FlowCache& cache();
    /// CRC hash and the same capacity. Without flags: readers and a writer exclude each other, so
    /// that the table could not stand in for the flow cache; it is the faster of the two.
    [[nodiscard]] rte_hash& hash();
    /// RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF: what the flow cache promises.
    [[nodiscard]] rte_hash& lock_free_hash();
    [[nodiscard]] FlowMap& map();

private:
    [[nodiscard]] RteHash make_hash(const char* prefix, std::uint8_t flags) const;

    std::size_t flows_;
    std::vector<dataplane::FlowKey> present_;
    std::vector<dataplane::FlowKey> absent_;
    std::unique_ptr<dataplane::FlowCache> cache_;
    RteHash hash_;
    RteHash lock_free_hash_;
    std::unique_ptr<FlowMap> map_;
};

/// The set with this many flows.
[[nodiscard]] FlowSet& flow_set(std::size_t flows);

/// Frees all sets; to be called before the EAL stops.
void release_flow_sets();

/// Hands out the keys of a set burst by burst, over and over.
class KeyRing {
public:
    explicit KeyRing(std::span<const dataplane::FlowKey> keys) : keys_(keys) {}

    [[nodiscard]] std::span<const dataplane::FlowKey, dataplane::kBurstMax> next() noexcept {
        const auto burst = keys_.subspan(at_).first<dataplane::kBurstMax>();
        at_ += dataplane::kBurstMax;
        at_ = at_ == keys_.size() ? 0 : at_;
        return burst;
    }

private:
    std::span<const dataplane::FlowKey> keys_;
    std::size_t at_ = 0;
};

}  // namespace culvert::bench
