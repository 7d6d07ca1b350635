// SPDX-License-Identifier: GPL-2.0-or-later
//
// A bounded queue of one producer and one consumer that keep out of each other's way: each
// remembers how far it saw the other one, and looks again only when by that the queue is full or
// empty. So a push waits for no cache line that the other CPU has, which at some hundred thousand
// new flows a second would be a good part of a worker's time.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <type_traits>

namespace culvert::dataplane {

template <class T, std::size_t Capacity>
class SpscQueue {
    static_assert((Capacity & (Capacity - 1)) == 0);
    static_assert(std::is_trivially_copyable_v<T>);

public:
    SpscQueue() = default;
    SpscQueue(const SpscQueue&) = delete;
    SpscQueue& operator=(const SpscQueue&) = delete;

    // --- the producer ---

    [[nodiscard]] bool push(const T& item) noexcept { return push(&item, 1) == 1; }
    /// Adds items in order, as many as there is room for; returns how many.
    [[nodiscard]] std::size_t push(const T* items, std::size_t count) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (Capacity - (tail - seen_head_) < count) {
            seen_head_ = head_.load(std::memory_order_acquire);
        }
        count = std::min(count, Capacity - (tail - seen_head_));
        for (std::size_t i = 0; i < count; ++i) {
            slots_[(tail + i) % Capacity] = items[i];
        }
        tail_.store(tail + count, std::memory_order_release);
        return count;
    }

    // --- the consumer ---

    /// The oldest item, or nullptr. Good until it is popped.
    [[nodiscard]] const T* front() noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head == seen_tail_) {
            seen_tail_ = tail_.load(std::memory_order_acquire);
        }
        return head == seen_tail_ ? nullptr : &slots_[head % Capacity];
    }
    /// Precondition: front() is not nullptr.
    void pop() noexcept {
        head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    [[nodiscard]] bool pop(T& item) noexcept { return pop(&item, 1) == 1; }
    /// Takes up to `count` items; returns how many.
    [[nodiscard]] std::size_t pop(T* items, std::size_t count) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (seen_tail_ - head < count) {
            seen_tail_ = tail_.load(std::memory_order_acquire);
        }
        count = std::min(count, seen_tail_ - head);
        for (std::size_t i = 0; i < count; ++i) {
            items[i] = slots_[(head + i) % Capacity];
        }
        head_.store(head + count, std::memory_order_release);
        return count;
    }
    [[nodiscard]] std::size_t size() const noexcept {
        return tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

private:
    alignas(64) std::atomic<std::size_t> tail_{0};  ///< Pushed so far.
    std::size_t seen_head_ = 0;                     ///< By the producer.
    alignas(64) std::atomic<std::size_t> head_{0};  ///< Popped so far.
    std::size_t seen_tail_ = 0;                     ///< By the consumer.
    alignas(64) std::array<T, Capacity> slots_{};
};

}  // namespace culvert::dataplane
