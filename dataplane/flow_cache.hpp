// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flow cache: exact match on FlowKey, lock-free for readers (workers), one writer (the control
// thread).
//
// Layout: buckets of 8 slots in one cache line (16-bit tags, 32-bit entry indices); a key may stand
// in two buckets; an entry is one cache line, immutable while it is findable except for its
// `last_used_s` stamp. There is no displacement, so a reader never misses a present key. An erased
// entry is reused only after `reclaim` has been told that all readers passed a quiescent point.
//
// A full table evicts: the entry at a hand that goes round and passes over those in use, or, when
// both buckets of a key are full, one of the 16 entries there. Entries that no packet has hit go
// first, so that a scan, each of whose packets is a flow of its own, displaces itself. Memory is
// reserved for `capacity` entries and becomes resident as they are used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/flow_key.hpp"
#include "dataplane/limits.hpp"
#include "tunnels/drop_reason.hpp"

namespace culvert::dataplane {

enum class FlowVerdict : std::uint8_t {
    drop,     ///< `reason` says why.
    forward,  ///< To `out_port`.
    flood,    ///< To every other port of the bridge that carries the VLAN.
    route,    ///< By the bridge's EID map, or else to its local port, `out_port`.
};

struct FlowAction {
    FlowVerdict verdict = FlowVerdict::drop;
    tunnels::DropReason reason = tunnels::DropReason::no_destination;
    std::uint16_t out_port = kPortNone;

    bool operator==(const FlowAction&) const = default;
};

/// One cache line.
struct alignas(64) FlowEntry {
    FlowKey key;
    FlowAction action;
    std::uint32_t generation = 0;  ///< Valid while equal to the ingress port's generation.
    std::uint32_t created_s = 0;
    /// Coarse clock; written at most once a second. A new entry has the second before it was
    /// created, so that its first hit is told from none.
    mutable std::atomic<std::uint32_t> last_used_s{0};

    /// Whether a packet hit the entry since it was made.
    [[nodiscard]] bool was_hit() const noexcept {
        return last_used_s.load(std::memory_order_relaxed) >= created_s;
    }
};
static_assert(sizeof(FlowEntry) == 64);

class FlowCache {
public:
    /// `capacity` entries, rounded up to a power of two, within kFlowsMin..kFlowsMax. Throws
    /// std::bad_alloc when the memory cannot be mapped.
    explicit FlowCache(std::size_t capacity);
    ~FlowCache();
    FlowCache(const FlowCache&) = delete;
    FlowCache& operator=(const FlowCache&) = delete;

    // --- readers ---

    /// Starts loading the bucket of `hash`, which here and below is hash(key).
    void prefetch(std::uint32_t hash) const noexcept;

    /// The entry, or nullptr. Valid until the reader's next quiescent point. The caller compares
    /// `generation`.
    [[nodiscard]] const FlowEntry* find(const FlowKey& key, std::uint32_t hash) const noexcept;

    /// Looks up a burst: prefetches tags, then entries, then compares. `found[i]` is nullptr on a
    /// miss.
    void find_burst(
        std::span<const FlowKey> keys,
        std::span<const std::uint32_t> hashes,
        std::span<const FlowEntry*> found
    ) const noexcept;

    /// Stamps use; writes the line only when the second changed.
    static void touch(const FlowEntry& entry, std::uint32_t now_s) noexcept {
        if (entry.last_used_s.load(std::memory_order_relaxed) != now_s) {
            entry.last_used_s.store(now_s, std::memory_order_relaxed);
        }
    }

    // --- the writer ---

    struct InsertResult {
        bool ok =
            false;  ///< False: the table is full of entries that wait for reclaim(); try again.
        bool evicted = false;       ///< `removed_key` lost its entry to this one.
        bool replaced = false;      ///< The key had an entry, which this one follows.
        std::uint32_t entry = 0;    ///< The number of the new entry, below entry_limit(),
        std::uint32_t removed = 0;  ///< and that of the evicted or replaced one.
        FlowKey removed_key;
    };

    /// Starts loading what insert() of a key with this hash reads.
    void prefetch_insert(std::uint32_t hash) const noexcept;

    /// Inserts or replaces the entry of `key`; evicts when both buckets (or the table) are full.
    InsertResult insert(
        const FlowKey& key, const FlowAction& action, std::uint32_t generation, std::uint32_t now_s
    );

    /// Removes the entry of `key`; false when there was none.
    bool erase(const FlowKey& key);

    /// Entries have numbers below this.
    [[nodiscard]] std::size_t entry_limit() const noexcept;
    /// An entry by its number, and the other way round.
    [[nodiscard]] const FlowEntry& entry(std::uint32_t number) const noexcept;
    [[nodiscard]] std::uint32_t number_of(const FlowEntry& entry) const noexcept;
    void clear();

    /// Calls `visit` with each findable entry.
    void for_each(const std::function<void(std::uint32_t index, const FlowEntry&)>& visit) const;

    /// Erases up to `budget` entries that `expired` says are stale, continuing where the last call
    /// ended. `on_erase` is told of each before it goes. Returns how many were erased. Looks at
    /// each entry at most once, so a result below `budget` means that no stale one is left. With a
    /// `share` of n only an n-th of the table is looked at, but kSweepBucketsMin buckets in any
    /// case.
    std::size_t sweep(
        std::size_t budget,
        const std::function<bool(const FlowEntry&)>& expired,
        const std::function<void(const FlowEntry&)>& on_erase,
        std::uint32_t share = 1
    );
    static constexpr std::uint32_t kSweepBucketsMin = 4096;

    /// Erased entries that wait for their grace period carry the writer's `epoch`; `reclaim(epoch)`
    /// frees those erased at or before it. next_epoch() starts a new one and returns the one that
    /// it ended: the caller waits for all readers to be quiescent, then passes it to reclaim().
    [[nodiscard]] std::uint64_t next_epoch();
    void reclaim(std::uint64_t epoch);
    /// Erased in the current epoch.
    [[nodiscard]] bool has_retired() const noexcept;

    [[nodiscard]] std::size_t size() const noexcept;  ///< Findable entries.
    [[nodiscard]] std::size_t capacity() const noexcept;
    /// Reserved; the pages of entries become resident when they are first used.
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    [[nodiscard]] std::uint64_t evictions() const noexcept;

private:
    struct Table;
    std::unique_ptr<Table> table_;
};

}  // namespace culvert::dataplane
