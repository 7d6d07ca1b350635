// SPDX-License-Identifier: GPL-2.0-or-later
//
// The flow cache. Readers (workers) may call find, find_burst, prefetch and touch at any time
// between two of their quiescent points; everything else belongs to the one writer (control).
//
// Why a reader never sees a torn entry or another key's:
//  1. The writer fills an entry while no reader can reach it, stores its index into a slot
//     (release), then the tag (release). A reader loads tag, then index, both with acquire, so any
//     index it gets leads to a completely written entry.
//  2. Between these two loads the slot may be emptied and filled again. The reader then gets the
//     newer index (or still the older one). The newer entry is complete by 1. The older entry was
//     findable when the tag was loaded, thus after this reader's last quiescent point; it is
//     reused only when reclaim() was told that every reader passed a quiescent point after it
//     became unfindable, which this reader did not. Its bytes therefore have not changed.
//  3. Whichever entry it was, its whole key is compared. A recycled slot is a miss, or a valid
//     newer entry of the very key that was asked for.
//  4. A stale tag of an earlier grace period cannot be read: the writer cleared it before it waited
//     for the reader's quiescent report, and that report orders the two.
// Replacing a present key changes the slot's index only, so a reader finds the old or the new one.
#include "dataplane/flow_cache.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <new>

#include <emmintrin.h>
#include <sys/mman.h>

namespace culvert::dataplane {
namespace {

constexpr unsigned kSlotsPerBucket = 8;
constexpr unsigned kTagsPerWord = 4;
constexpr unsigned kTagBits = 16;
constexpr std::uint16_t kTagEmpty = 0;
constexpr std::uint32_t kNoEntry = 0xffffffff;

// There are twice as many slots as entries: with two choices and a mean of 4 of 8 slots in use,
// both buckets of a key are full too rarely to matter before the capacity is reached.
constexpr std::size_t kEntriesPerBucket = 4;

// Up to this fill a key goes to its primary bucket, so that a lookup mostly reads one line; above
// it the emptier of the two is taken.
constexpr unsigned kPrimaryFill = 5;

// How many entries the hand passes over before the least recently used of them goes.
constexpr unsigned kEvictionLooks = 48;

// An entry that was used so lately is in use. Stamps have seconds.
constexpr std::uint32_t kInUseS = 2;

// How much longer ago an entry that no packet has hit counts as used, beside others in its bucket.
constexpr std::uint32_t kNeverHitS = 4;

// Entries beyond `capacity`, as a fraction of it, so that inserts go on while erased entries wait
// for their grace period.
constexpr std::size_t kSpareDivisor = 8;

struct alignas(64) Bucket {
    std::array<std::atomic<std::uint64_t>, kSlotsPerBucket / kTagsPerWord> tags{};
    std::array<std::atomic<std::uint32_t>, kSlotsPerBucket> entries{};
};
static_assert(sizeof(Bucket) == 64);

[[nodiscard]] std::uint16_t tag_of(std::uint32_t hash) noexcept {
    const auto high = static_cast<std::uint16_t>(hash >> 16U);
    return high == kTagEmpty ? std::uint16_t{1} : high;
}

/// The slots of `bucket` that carry `tag`, as a bit mask. Two loads rather than one: 16 bytes are
/// not atomic on every x86-64, and slots are independent of each other.
[[nodiscard]] unsigned slots_with_tag(const Bucket& bucket, std::uint16_t tag) noexcept {
    const std::uint64_t low = bucket.tags[0].load(std::memory_order_acquire);
    const std::uint64_t high = bucket.tags[1].load(std::memory_order_acquire);
    const __m128i tags = _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
    const __m128i equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(static_cast<short>(tag)));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())));
}

[[nodiscard]] unsigned used_slots(const Bucket& bucket) noexcept {
    return ~slots_with_tag(bucket, kTagEmpty) & ((1U << kSlotsPerBucket) - 1U);
}

void set_tag(Bucket& bucket, unsigned slot, std::uint16_t tag) noexcept {
    std::atomic<std::uint64_t>& word = bucket.tags[slot / kTagsPerWord];
    const unsigned shift = slot % kTagsPerWord * kTagBits;
    const std::uint64_t others =
        word.load(std::memory_order_relaxed) & ~(std::uint64_t{0xffff} << shift);
    word.store(others | (std::uint64_t{tag} << shift), std::memory_order_release);
}

void prefetch_line(const void* address) noexcept {
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T0);
}

/// Anonymous memory: zero, page-aligned, without physical pages until it is touched.
class Pages {
public:
    explicit Pages(std::size_t bytes) : bytes_(bytes) {
        address_ =
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (address_ == MAP_FAILED) {
            throw std::bad_alloc();
        }
        // Lookups are random accesses: large pages save most TLB misses. Advice only, so that a
        // kernel without transparent huge pages may refuse it.
        static_cast<void>(::madvise(address_, bytes, MADV_HUGEPAGE));
    }
    ~Pages() { ::munmap(address_, bytes_); }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    [[nodiscard]] void* data() const noexcept { return address_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

private:
    void* address_ = nullptr;
    std::size_t bytes_;
};

/// Where a key may stand.
struct Choice {
    std::uint32_t primary;
    std::uint32_t secondary;
    std::uint16_t tag;
};

struct Slot {
    Bucket* bucket = nullptr;  ///< nullptr: no such slot.
    unsigned number = 0;
};

struct Hit {
    Slot slot;
    std::uint32_t entry = kNoEntry;
};

/// Entries erased in one epoch, a list through `links`.
struct Batch {
    std::uint64_t epoch;
    std::uint32_t first;
    std::uint32_t last;
};

}  // namespace

struct FlowCache::Table {
    explicit Table(std::size_t rounded_capacity);

    // --- readers and writer ---
    [[nodiscard]] Choice choose(std::uint32_t hash) const noexcept;
    [[nodiscard]] Hit locate(const FlowKey& key, std::uint32_t hash) const noexcept;
    [[nodiscard]] const FlowEntry*
    candidate(const Bucket& bucket, std::uint16_t tag) const noexcept;

    // --- the writer ---
    [[nodiscard]] std::uint32_t allocate() noexcept;
    [[nodiscard]] Slot free_slot(const Choice& choice) const noexcept;
    [[nodiscard]] Slot victim_of(const Choice& choice) const noexcept;
    [[nodiscard]] Slot victim_at_hand(std::uint32_t now_s) noexcept;
    [[nodiscard]] std::uint32_t entry_number(const Slot& slot) const noexcept;
    [[nodiscard]] const FlowEntry& entry_at(const Slot& slot) const noexcept;
    void publish(const Slot& slot, std::uint16_t tag, std::uint32_t entry) noexcept;
    void withdraw(const Slot& slot);
    void retire(std::uint32_t entry);
    void prefetch_entries(const Bucket& bucket) const noexcept;

    std::size_t capacity;
    std::uint32_t bucket_count;
    std::uint32_t entry_count;
    Pages bucket_pages;
    Pages entry_pages;
    Bucket* buckets;
    FlowEntry* entries;

    // From here on the writer's own, on other lines than what readers look at for each packet.
    // Successor of each free or retired entry.
    alignas(64) std::unique_ptr<std::uint32_t[]> links;
    std::uint32_t first_free = kNoEntry;
    std::uint32_t first_untouched = 0;  // From here on no entry was ever used.
    std::deque<Batch> retired;          // Oldest first, at most one for each epoch.
    std::uint64_t epoch = 1;

    std::size_t size = 0;
    std::uint64_t evictions = 0;
    std::uint32_t sweep_hand = 0;
    std::uint32_t evict_hand = 0;
    unsigned evict_slot = 0;  // The first slot of that bucket that the hand has not passed.
};

FlowCache::Table::Table(std::size_t rounded_capacity)
    : capacity(rounded_capacity),
      bucket_count(static_cast<std::uint32_t>(rounded_capacity / kEntriesPerBucket)),
      entry_count(static_cast<std::uint32_t>(rounded_capacity + rounded_capacity / kSpareDivisor)),
      bucket_pages(bucket_count * sizeof(Bucket)), entry_pages(entry_count * sizeof(FlowEntry)),
      buckets(static_cast<Bucket*>(bucket_pages.data())),
      entries(static_cast<FlowEntry*>(entry_pages.data())),
      links(std::make_unique_for_overwrite<std::uint32_t[]>(entry_count)) {
    // Buckets are not touched: fresh pages are zero, which is what an empty bucket consists of, and
    // a worker that reads them is given the kernel's page of zeros. So a table of a million flows
    // takes no memory before it has any. Entries are constructed by the writer when it first uses
    // them.
}

Choice FlowCache::Table::choose(std::uint32_t hash) const noexcept {
    const std::uint32_t mask = bucket_count - 1;
    const std::uint16_t tag = tag_of(hash);
    // The odd distance makes the two buckets differ. The multiply spreads the tag, whose low bits
    // are also bits of the bucket number in large tables.
    const std::uint32_t distance = ((tag * 0x9e3779b1U) >> 8U) | 1U;
    return {.primary = hash & mask, .secondary = (hash ^ distance) & mask, .tag = tag};
}

Hit FlowCache::Table::locate(const FlowKey& key, std::uint32_t hash) const noexcept {
    const Choice choice = choose(hash);
    for (const std::uint32_t number : {choice.primary, choice.secondary}) {
        Bucket& bucket = buckets[number];
        for (unsigned mask = slots_with_tag(bucket, choice.tag); mask != 0; mask &= mask - 1) {
            const auto slot = static_cast<unsigned>(std::countr_zero(mask));
            const std::uint32_t entry = bucket.entries[slot].load(std::memory_order_acquire);
            if (entries[entry].key == key) {
                return {.slot = {.bucket = &bucket, .number = slot}, .entry = entry};
            }
        }
    }
    return {};
}

/// The first entry of `bucket` with the tag, which nearly always is the key's; on its way to the
/// cache.
inline const FlowEntry*
FlowCache::Table::candidate(const Bucket& bucket, std::uint16_t tag) const noexcept {
    const unsigned slots = slots_with_tag(bucket, tag);
    if (slots == 0) {
        return nullptr;
    }
    const auto slot = static_cast<unsigned>(std::countr_zero(slots));
    const FlowEntry* entry = &entries[bucket.entries[slot].load(std::memory_order_acquire)];
    prefetch_line(entry);
    return entry;
}

std::uint32_t FlowCache::Table::allocate() noexcept {
    if (first_free != kNoEntry) {
        const std::uint32_t entry = first_free;
        first_free = links[entry];
        return entry;
    }
    return first_untouched < entry_count ? first_untouched++ : kNoEntry;
}

Slot FlowCache::Table::free_slot(const Choice& choice) const noexcept {
    Bucket& primary = buckets[choice.primary];
    Bucket& secondary = buckets[choice.secondary];
    const unsigned primary_free = slots_with_tag(primary, kTagEmpty);
    const unsigned secondary_free = slots_with_tag(secondary, kTagEmpty);
    const bool take_primary =
        std::popcount(primary_free) > static_cast<int>(kSlotsPerBucket - kPrimaryFill) ||
        std::popcount(primary_free) >= std::popcount(secondary_free);
    const unsigned free = take_primary ? primary_free : secondary_free;
    if (free == 0) {
        return {};
    }
    return {
        .bucket = take_primary ? &primary : &secondary,
        .number = static_cast<unsigned>(std::countr_zero(free))};
}

std::uint32_t FlowCache::Table::entry_number(const Slot& slot) const noexcept {
    return slot.bucket->entries[slot.number].load(std::memory_order_relaxed);
}

const FlowEntry& FlowCache::Table::entry_at(const Slot& slot) const noexcept {
    return entries[entry_number(slot)];
}

/// The entry that makes room in two full buckets: the least recently used one.
Slot FlowCache::Table::victim_of(const Choice& choice) const noexcept {
    Slot oldest{.bucket = &buckets[choice.primary], .number = 0};
    std::uint32_t oldest_s = UINT32_MAX;
    for (const std::uint32_t number : {choice.primary, choice.secondary}) {
        for (unsigned slot = 0; slot < kSlotsPerBucket; ++slot) {
            const Slot candidate{.bucket = &buckets[number], .number = slot};
            const FlowEntry& entry = entry_at(candidate);
            std::uint32_t used_s = entry.last_used_s.load(std::memory_order_relaxed);
            used_s -= entry.was_hit() ? 0 : std::min(used_s, kNeverHitS);
            if (used_s < oldest_s) {
                oldest = candidate;
                oldest_s = used_s;
            }
        }
    }
    return oldest;
}

/// The entry that makes room in a full table: the first one from the hand on that no packet has hit
/// or that is not in use any more. Its stamp is an entry's second chance. Precondition: size > 0.
Slot FlowCache::Table::victim_at_hand(std::uint32_t now_s) noexcept {
    Slot oldest;
    std::uint32_t oldest_s = 0;
    for (unsigned looks = 0; looks < kEvictionLooks || oldest.bucket == nullptr;) {
        Bucket& bucket = buckets[evict_hand];
        const unsigned behind = (1U << evict_slot) - 1;
        const unsigned used = used_slots(bucket) & ~behind;
        if (used == 0) {
            evict_hand = (evict_hand + 1) & (bucket_count - 1);
            evict_slot = 0;
            prefetch_line(&buckets[(evict_hand + 2) & (bucket_count - 1)]);
            prefetch_entries(buckets[(evict_hand + 1) & (bucket_count - 1)]);
            continue;
        }
        const Slot slot{.bucket = &bucket, .number = static_cast<unsigned>(std::countr_zero(used))};
        evict_slot = slot.number + 1;
        ++looks;
        const FlowEntry& entry = entry_at(slot);
        const std::uint32_t used_s = entry.last_used_s.load(std::memory_order_relaxed);
        if (!entry.was_hit() || used_s + kInUseS <= now_s) {
            return slot;
        }
        if (oldest.bucket == nullptr || used_s < oldest_s) {
            oldest = slot;
            oldest_s = used_s;
        }
    }
    return oldest;
}

void FlowCache::Table::publish(const Slot& slot, std::uint16_t tag, std::uint32_t entry) noexcept {
    slot.bucket->entries[slot.number].store(entry, std::memory_order_release);
    set_tag(*slot.bucket, slot.number, tag);
    ++size;
}

void FlowCache::Table::withdraw(const Slot& slot) {
    const std::uint32_t entry = slot.bucket->entries[slot.number].load(std::memory_order_relaxed);
    set_tag(*slot.bucket, slot.number, kTagEmpty);
    --size;
    retire(entry);
}

void FlowCache::Table::retire(std::uint32_t entry) {
    if (retired.empty() || retired.back().epoch != epoch) {
        retired.push_back({.epoch = epoch, .first = entry, .last = entry});
        return;
    }
    links[retired.back().last] = entry;
    retired.back().last = entry;
}

void FlowCache::Table::prefetch_entries(const Bucket& bucket) const noexcept {
    for (unsigned used = used_slots(bucket); used != 0; used &= used - 1) {
        const auto slot = static_cast<unsigned>(std::countr_zero(used));
        prefetch_line(&entries[bucket.entries[slot].load(std::memory_order_relaxed)]);
    }
}

FlowCache::FlowCache(std::size_t capacity)
    : table_(std::make_unique<Table>(std::bit_ceil(std::clamp(capacity, kFlowsMin, kFlowsMax)))) {
    static_assert(std::has_single_bit(kFlowsMin) && std::has_single_bit(kFlowsMax));
    static_assert(kFlowsMax + kFlowsMax / kSpareDivisor < kNoEntry);
}

FlowCache::~FlowCache() = default;

void FlowCache::prefetch(std::uint32_t hash) const noexcept {
    prefetch_line(&table_->buckets[table_->choose(hash).primary]);
}

const FlowEntry* FlowCache::find(const FlowKey& key, std::uint32_t hash) const noexcept {
    const Hit hit = table_->locate(key, hash);
    return hit.entry == kNoEntry ? nullptr : &table_->entries[hit.entry];
}

void FlowCache::find_burst(
    std::span<const FlowKey> keys,
    std::span<const std::uint32_t> hashes,
    std::span<const FlowEntry*> found
) const noexcept {
    const Table& table = *table_;
    const Bucket* const buckets = table.buckets;
    const std::uint32_t mask = table.bucket_count - 1;
    for (const std::uint32_t hash : hashes) {
        prefetch_line(&buckets[hash & mask]);
    }
    bool all_primary = true;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        found[i] = table.candidate(buckets[hashes[i] & mask], tag_of(hashes[i]));
        if (found[i] == nullptr) [[unlikely]] {
            prefetch_line(&buckets[table.choose(hashes[i]).secondary]);
            all_primary = false;
        }
    }
    for (std::size_t i = 0; !all_primary && i < keys.size(); ++i) {
        if (found[i] == nullptr) {
            const Choice choice = table.choose(hashes[i]);
            found[i] = table.candidate(buckets[choice.secondary], choice.tag);
        }
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (found[i] != nullptr && found[i]->key != keys[i]) [[unlikely]] {
            found[i] = find(keys[i], hashes[i]);  // Another key with the same tag stood first.
        }
    }
}

FlowCache::InsertResult FlowCache::insert(
    const FlowKey& key, const FlowAction& action, std::uint32_t generation, std::uint32_t now_s
) {
    Table& table = *table_;
    InsertResult result;
    const std::uint32_t fresh = table.allocate();
    if (fresh == kNoEntry) {
        return result;
    }
    result.ok = true;
    FlowEntry& entry = *std::construct_at(&table.entries[fresh]);
    entry.key = key;
    entry.action = action;
    entry.generation = generation;
    entry.created_s = now_s;
    entry.last_used_s.store(now_s == 0 ? 0 : now_s - 1, std::memory_order_relaxed);
    result.entry = fresh;

    const std::uint32_t key_hash = hash(key);
    if (const Hit old = table.locate(key, key_hash); old.entry != kNoEntry) {
        // The tag stays, so the key is findable throughout.
        old.slot.bucket->entries[old.slot.number].store(fresh, std::memory_order_release);
        table.retire(old.entry);
        result.replaced = true;
        result.removed = old.entry;
        result.removed_key = key;
        return result;
    }
    const Choice choice = table.choose(key_hash);
    Slot slot = table.free_slot(choice);
    if (slot.bucket == nullptr || table.size == table.capacity) {
        const Slot victim =
            slot.bucket == nullptr ? table.victim_of(choice) : table.victim_at_hand(now_s);
        result.evicted = true;
        result.removed = table.entry_number(victim);
        result.removed_key = table.entries[result.removed].key;
        ++table.evictions;
        table.withdraw(victim);
        if (slot.bucket == nullptr) {
            slot = victim;
        }
    }
    table.publish(slot, choice.tag, fresh);
    return result;
}

void FlowCache::prefetch_insert(std::uint32_t hash) const noexcept {
    const Choice choice = table_->choose(hash);
    prefetch_line(&table_->buckets[choice.primary]);
    prefetch_line(&table_->buckets[choice.secondary]);
}

std::size_t FlowCache::entry_limit() const noexcept {
    return table_->entry_count;
}

const FlowEntry& FlowCache::entry(std::uint32_t number) const noexcept {
    return table_->entries[number];
}

std::uint32_t FlowCache::number_of(const FlowEntry& entry) const noexcept {
    return static_cast<std::uint32_t>(&entry - table_->entries);
}

bool FlowCache::erase(const FlowKey& key) {
    const Hit hit = table_->locate(key, hash(key));
    if (hit.entry == kNoEntry) {
        return false;
    }
    table_->withdraw(hit.slot);
    return true;
}

void FlowCache::clear() {
    sweep(
        table_->size, [](const FlowEntry&) { return true; }, [](const FlowEntry&) {}
    );
}

void FlowCache::for_each(const std::function<void(std::uint32_t index, const FlowEntry&)>& visit
) const {
    for (std::uint32_t number = 0; number < table_->bucket_count; ++number) {
        const Bucket& bucket = table_->buckets[number];
        for (unsigned used = used_slots(bucket); used != 0; used &= used - 1) {
            const auto slot = static_cast<unsigned>(std::countr_zero(used));
            const std::uint32_t entry = bucket.entries[slot].load(std::memory_order_relaxed);
            visit(entry, table_->entries[entry]);
        }
    }
}

std::size_t FlowCache::sweep(
    std::size_t budget,
    const std::function<bool(const FlowEntry&)>& expired,
    const std::function<void(const FlowEntry&)>& on_erase,
    std::uint32_t share
) {
    Table& table = *table_;
    const std::uint32_t mask = table.bucket_count - 1;
    const std::uint32_t most =
        std::min(table.bucket_count, std::max(table.bucket_count / share, kSweepBucketsMin));
    std::size_t erased = 0;
    for (std::uint32_t visited = 0; table.size != 0 && visited < most && erased < budget;
         ++visited) {
        Bucket& bucket = table.buckets[table.sweep_hand];
        table.prefetch_entries(table.buckets[(table.sweep_hand + 1) & mask]);
        for (unsigned used = used_slots(bucket); used != 0 && erased < budget; used &= used - 1) {
            const Slot slot{
                .bucket = &bucket, .number = static_cast<unsigned>(std::countr_zero(used))};
            const FlowEntry& entry = table.entry_at(slot);
            if (expired(entry)) {
                on_erase(entry);
                table.withdraw(slot);
                ++erased;
            }
        }
        // Also past a bucket in which the budget ran out: it is looked at again a round later,
        // while staying could starve the others.
        table.sweep_hand = (table.sweep_hand + 1) & mask;
    }
    return erased;
}

std::uint64_t FlowCache::next_epoch() {
    return table_->epoch++;
}

bool FlowCache::has_retired() const noexcept {
    return !table_->retired.empty() && table_->retired.back().epoch == table_->epoch;
}

void FlowCache::reclaim(std::uint64_t epoch) {
    Table& table = *table_;
    while (!table.retired.empty() && table.retired.front().epoch <= epoch) {
        const Batch& batch = table.retired.front();
        table.links[batch.last] = table.first_free;
        table.first_free = batch.first;
        table.retired.pop_front();
    }
}

std::size_t FlowCache::size() const noexcept {
    return table_->size;
}

std::size_t FlowCache::capacity() const noexcept {
    return table_->capacity;
}

std::size_t FlowCache::memory_bytes() const noexcept {
    return sizeof(Table) + table_->bucket_pages.bytes() + table_->entry_pages.bytes() +
           table_->entry_count * sizeof(std::uint32_t);
}

std::uint64_t FlowCache::evictions() const noexcept {
    return table_->evictions;
}

}  // namespace culvert::dataplane
