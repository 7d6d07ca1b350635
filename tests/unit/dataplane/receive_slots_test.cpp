// SPDX-License-Identifier: GPL-2.0-or-later
//
// Receive slots: nothing is cut off, whatever comes and however few buffers are free.

#include <algorithm>
#include <cstring>
#include <numeric>

#include "dataplane/receive_slots.hpp"
#include "tests/unit/dataplane/port_packets.hpp"

namespace culvert::dataplane {
namespace {

using testing::packet_bytes;
using Bytes = std::vector<std::uint8_t>;

Bytes make_bytes(std::size_t size, std::uint8_t seed) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(i * 13 + i / 256 + seed);
    }
    return bytes;
}

/// Writes into a slot as the kernel does.
void fill(ReceiveSlots& slots, unsigned slot, const Bytes& frame) {
    std::size_t at = 0;
    for (const iovec& vector : slots.vectors(slot).subspan(1)) {
        const std::size_t part = std::min(vector.iov_len, frame.size() - at);
        if (part > 0) {
            std::memcpy(vector.iov_base, &frame[at], part);
        }
        at += part;
    }
    ASSERT_EQ(at, frame.size());
}

void expect_taken(ReceiveSlots& slots, unsigned slot, const Bytes& frame) {
    fill(slots, slot, frame);
    rte_mbuf* packet = slots.take(slot, frame.size());
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), frame);
    rte_pktmbuf_free(packet);
}

/// Takes buffers out of the pool until only `left` are free.
class Hoard {
public:
    explicit Hoard(unsigned left) {
        while (rte_mempool_avail_count(testing::packet_pool()) > left) {
            held_.push_back(rte_pktmbuf_alloc(testing::packet_pool()));
        }
    }
    ~Hoard() { rte_pktmbuf_free_bulk(held_.data(), static_cast<unsigned>(held_.size())); }
    Hoard(const Hoard&) = delete;
    Hoard& operator=(const Hoard&) = delete;

private:
    std::vector<rte_mbuf*> held_;
};

TEST(ReceiveSlots, EverySlotHoldsASuperFrame) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), kBurstMax);
    ASSERT_EQ(slots.prepare(kBurstMax), kBurstMax);
    EXPECT_EQ(slots.buffers(), kBurstMax);
    for (unsigned i = 0; i < kBurstMax; ++i) {
        EXPECT_GE(slots.capacity_bytes(i), kSuperFrameBytesMax);
        std::size_t sum = 0;
        for (const iovec& vector : slots.vectors(i).subspan(1)) {
            sum += vector.iov_len;
        }
        EXPECT_EQ(sum, slots.capacity_bytes(i));
    }
    for (unsigned i = 0; i < kBurstMax; ++i) {
        expect_taken(slots, i, make_bytes(kSuperFrameBytesMax, static_cast<std::uint8_t>(i)));
    }
    EXPECT_EQ(slots.buffers(), 0U);
}

TEST(ReceiveSlots, ASlotHoldsASuperFrameAgainAfterAShortFrame) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), 2);
    for (unsigned round = 0; round < 3; ++round) {
        ASSERT_EQ(slots.prepare(2), 2U);
        expect_taken(slots, 0, make_bytes(100, 1));
    }
    ASSERT_EQ(slots.prepare(2), 2U);
    expect_taken(slots, 0, make_bytes(kSuperFrameBytesMax, 2));
}

TEST(ReceiveSlots, LongSlotsTakeSuperFramesWithoutACopy) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), kBurstMax);
    ASSERT_EQ(slots.prepare(1), 1U);
    expect_taken(slots, 0, make_bytes(kMbufDataBytes + 1, 1));
    for (unsigned round = 0; round < 3; ++round) {
        ASSERT_EQ(slots.prepare(kBurstMax), ReceiveSlots::kLongSlots);
        EXPECT_LE(slots.buffers(), 300U);
        for (unsigned i = 0; i < ReceiveSlots::kLongSlots; ++i) {
            // The overflow area comes behind what a super-frame needs.
            EXPECT_GE(
                slots.capacity_bytes(i),
                kSegmentsPerPacketMax * kMbufDataBytes + kSuperFrameBytesMax
            );
            expect_taken(slots, i, make_bytes(kSuperFrameBytesMax, static_cast<std::uint8_t>(i)));
        }
    }
}

TEST(ReceiveSlots, KeepsWhatAFrameDidNotUse) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), 1);
    ASSERT_EQ(slots.prepare(1), 1U);
    expect_taken(slots, 0, make_bytes(5000, 1));
    for (const std::size_t bytes :
         {0UL, 1UL, 2048UL, 2049UL, 40000UL, 60UL, 65792UL, 33000UL, 9014UL}) {
        ASSERT_EQ(slots.prepare(1), 1U);
        EXPECT_EQ(slots.buffers(), kSegmentsPerPacketMax);
        expect_taken(slots, 0, make_bytes(bytes, 7));
        const std::size_t used = std::max<std::size_t>(1, (bytes + 2047) / 2048);
        EXPECT_EQ(slots.buffers(), kSegmentsPerPacketMax - used);
    }
}

TEST(ReceiveSlots, BecomesShortAgainAfterManyShortFrames) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), kBurstMax);
    ASSERT_EQ(slots.prepare(1), 1U);
    expect_taken(slots, 0, make_bytes(3000, 1));
    unsigned frames = 0;
    unsigned ready = slots.prepare(kBurstMax);
    while (ready != kBurstMax) {
        ASSERT_LT(frames, 1000U);
        for (unsigned i = 0; i < ready; ++i) {
            expect_taken(slots, i, make_bytes(100, 2));
            ++frames;
        }
        ready = slots.prepare(kBurstMax);
    }
    EXPECT_GE(frames, ReceiveSlots::kShortFramesInRow);
    EXPECT_LE(slots.buffers(), 300U);
    // Slots with a chain from before and those without serve alike.
    for (unsigned i = 0; i < kBurstMax; ++i) {
        expect_taken(slots, i, make_bytes(30000, static_cast<std::uint8_t>(i)));
    }
}

TEST(ReceiveSlots, ASlotThatIsNotTakenIsUsedAgain) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), 2);
    ASSERT_EQ(slots.prepare(2), 2U);
    fill(slots, 0, make_bytes(500, 1));
    ASSERT_EQ(slots.prepare(2), 2U);
    EXPECT_EQ(slots.buffers(), 2U);
    expect_taken(slots, 0, make_bytes(400, 2));
}

TEST(ReceiveSlots, ReadiesOnlyWhatBuffersAreThereFor) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), kBurstMax);
    {
        const Hoard hoard(5);
        EXPECT_EQ(slots.prepare(kBurstMax), 5U);
        EXPECT_EQ(slots.prepare(kBurstMax), 5U);
        for (unsigned i = 0; i < 5; ++i) {
            expect_taken(slots, i, make_bytes(100, 1));
        }
    }
    EXPECT_EQ(slots.prepare(kBurstMax), kBurstMax);
}

TEST(ReceiveSlots, ReadiesNothingWithoutBuffers) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), kBurstMax);
    const Hoard hoard(0);
    EXPECT_EQ(slots.prepare(kBurstMax), 0U);
}

TEST(ReceiveSlots, DropsWhatSpilledWhenNoBufferIsFree) {
    const testing::LeakCheck leak_check;
    ReceiveSlots slots(testing::packet_pool(), 2);
    ASSERT_EQ(slots.prepare(2), 2U);
    {
        const Hoard hoard(3);
        const Bytes frame = make_bytes(20000, 1);
        fill(slots, 0, frame);
        EXPECT_EQ(slots.take(0, frame.size()), nullptr);
        // What it held is free again: its own buffer and the three of the pool.
        EXPECT_EQ(rte_mempool_avail_count(testing::packet_pool()), 4U);
        // Long slots with few buffers spill sooner, and still hold everything.
        ASSERT_EQ(slots.prepare(2), 2U);
        EXPECT_EQ(slots.buffers(), 5U);
        expect_taken(slots, 0, make_bytes(8192, 3));
    }
    ASSERT_EQ(slots.prepare(2), 2U);
    expect_taken(slots, 0, make_bytes(60000, 4));
}

}  // namespace
}  // namespace culvert::dataplane
