// SPDX-License-Identifier: GPL-2.0-or-later
//
// A hash table from a VLAN and MAC address to a small value, for the tables that the slow path
// reads and writes for every new flow. Open addressing with linear probing: a look-up is mostly one
// cache line, and nothing is allocated but when the table doubles or halves. References are good
// until the next insert or erase. Control thread only.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include <xmmintrin.h>

namespace culvert::ctl {

template <class Value>
class AddressMap {
public:
    AddressMap() : slots_(kSlotsMin), multiplier_(std::random_device{}()) {
        multiplier_ = (multiplier_ << 32U | std::random_device{}()) | 1U;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return slots_.capacity() * sizeof(Slot);
    }

    /// Starts loading what find() of the key reads.
    void prefetch(std::uint64_t key) const noexcept {
        _mm_prefetch(reinterpret_cast<const char*>(&slots_[home(key)]), _MM_HINT_T0);
    }

    [[nodiscard]] Value* find(std::uint64_t key) noexcept {
        Slot& slot = slots_[locate(key)];
        return slot.key == key ? &slot.value : nullptr;
    }
    [[nodiscard]] const Value* find(std::uint64_t key) const noexcept {
        const Slot& slot = slots_[locate(key)];
        return slot.key == key ? &slot.value : nullptr;
    }

    /// The value of the key; a new one when there was none.
    [[nodiscard]] Value& insert(std::uint64_t key) {
        std::size_t at = locate(key);
        if (slots_[at].key == key) {
            return slots_[at].value;
        }
        if (++size_ * 2 > slots_.size()) {
            resize(slots_.size() * 2);
            at = locate(key);
        }
        slots_[at].key = key;
        return slots_[at].value;
    }

    bool erase(std::uint64_t key) {
        std::size_t hole = locate(key);
        if (slots_[hole].key != key) {
            return false;
        }
        // Backward-shift deletion: move up every later member of the run that may stand in the
        // hole.
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = (hole + 1) & mask; slots_[at].key != kNoKey; at = (at + 1) & mask) {
            if (((at - home(slots_[at].key)) & mask) >= ((at - hole) & mask)) {
                slots_[hole] = slots_[at];
                hole = at;
            }
        }
        slots_[hole] = {};
        --size_;
        if (slots_.size() > kSlotsMin && size_ * 16 < slots_.size()) {
            resize(slots_.size() / 4);
        }
        return true;
    }

    void clear() {
        slots_ = std::vector<Slot>(kSlotsMin);
        size_ = 0;
    }

private:
    // Not the integer of any address: its upper 16 bits are no VLAN.
    static constexpr std::uint64_t kNoKey = ~std::uint64_t{0};
    static constexpr std::size_t kSlotsMin = 64;

    struct Slot {
        std::uint64_t key = kNoKey;
        Value value{};
    };

    /// Where the search for a key begins. The multiplier is drawn by lot, so that a guest cannot
    /// choose addresses that all begin at one place.
    [[nodiscard]] std::size_t home(std::uint64_t key) const noexcept {
        const auto shift = static_cast<unsigned>(64 - std::countr_zero(slots_.size()));
        return ((key ^ key >> 29U) * multiplier_) >> shift;
    }
    /// The key's slot, or the empty one at which the search for it ends.
    [[nodiscard]] std::size_t locate(std::uint64_t key) const noexcept {
        std::size_t at = home(key);
        while (slots_[at].key != key && slots_[at].key != kNoKey) {
            at = (at + 1) & (slots_.size() - 1);
        }
        return at;
    }
    void resize(std::size_t slots) {
        const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
        for (const Slot& slot : old) {
            if (slot.key != kNoKey) {
                slots_[locate(slot.key)] = slot;
            }
        }
    }

    std::vector<Slot> slots_;  ///< A power of two of them, at most half of them in use.
    std::size_t size_ = 0;
    std::uint64_t multiplier_;
};

}  // namespace culvert::ctl
