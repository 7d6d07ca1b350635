// SPDX-License-Identifier: GPL-2.0-or-later
//
// The queue between a worker and the slow path: order, bounds, and what two threads see of each
// other (ThreadSanitizer runs this).

#include "dataplane/spsc_queue.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

namespace culvert::dataplane {

namespace {

TEST(SpscQueue, HoldsItsCapacityInOrder) {
    SpscQueue<int, 4> queue;
    EXPECT_EQ(queue.front(), nullptr);
    const std::array<int, 6> items{1, 2, 3, 4, 5, 6};
    EXPECT_EQ(queue.push(items.data(), 3), 3U);
    EXPECT_EQ(queue.push(items.data() + 3, 3), 1U) << "as many as there is room for";
    EXPECT_FALSE(queue.push(9));
    EXPECT_EQ(queue.size(), 4U);
    ASSERT_NE(queue.front(), nullptr);
    EXPECT_EQ(*queue.front(), 1);
    queue.pop();
    EXPECT_TRUE(queue.push(5)) << "room that the producer had not seen";
    std::array<int, 8> out{};
    EXPECT_EQ(queue.pop(out.data(), out.size()), 4U);
    EXPECT_EQ(out[0], 2);
    EXPECT_EQ(out[3], 5);
    EXPECT_TRUE(queue.empty());
    int item = 0;
    EXPECT_FALSE(queue.pop(item));
}

TEST(SpscQueue, PassesEverythingOnceAndInOrderBetweenThreads) {
    constexpr std::uint64_t kItems = 200000;
    const auto queue = std::make_unique<SpscQueue<std::uint64_t, 64>>();
    std::thread producer([&] {
        std::array<std::uint64_t, 7> items{};
        for (std::uint64_t next = 0; next < kItems;) {
            std::size_t count = 0;
            while (count < items.size() && next + count < kItems) {
                items[count] = next + count;
                ++count;
            }
            const std::size_t pushed = queue->push(items.data(), count);
            next += pushed;
            if (pushed == 0) {
                std::this_thread::yield();
            }
        }
    });
    std::array<std::uint64_t, 5> items{};
    bool in_order = true;
    for (std::uint64_t next = 0; next < kItems;) {
        std::size_t count = 0;
        if (const std::uint64_t* front = next % 2 == 0 ? queue->front() : nullptr) {
            items[0] = *front;
            queue->pop();
            count = 1;
        } else {
            count = queue->pop(items.data(), items.size());
        }
        for (std::size_t i = 0; i < count; ++i) {
            in_order = in_order && items[i] == next;
            ++next;
        }
        if (count == 0) {
            std::this_thread::yield();
        }
    }
    producer.join();
    EXPECT_TRUE(in_order);
    EXPECT_TRUE(queue->empty());
}

}  // namespace

}  // namespace culvert::dataplane
