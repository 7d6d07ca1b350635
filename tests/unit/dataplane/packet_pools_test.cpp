// SPDX-License-Identifier: GPL-2.0-or-later
//
// How many packet buffers a host gets, and that a pool takes no more memory than its buffers need.
#include "dataplane/packet_pools.hpp"

#include <memory>

#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

TEST(AutomaticPacketBuffers, GrowWithWorkersPortsAndQueues) {
    const PoolDemand one{
        .workers = 1, .kernel_ports = 2, .device_queues = 0, .memory_bytes = 64 * kGiB};
    const std::uint32_t base = automatic_packet_buffers(one);
    PoolDemand more = one;
    more.workers = 2;
    EXPECT_EQ(automatic_packet_buffers(more), base + 8192);
    more = one;
    more.kernel_ports = 12;
    EXPECT_EQ(automatic_packet_buffers(more), base + 10 * 512);
    more = one;
    more.device_queues = 4;
    EXPECT_EQ(automatic_packet_buffers(more), base + 4 * 1024);
}

TEST(AutomaticPacketBuffers, HoldWhatAWorkerMayKeepWaiting) {
    const PoolDemand none{
        .workers = 1, .kernel_ports = 0, .device_queues = 0, .memory_bytes = 64 * kGiB};
    EXPECT_GT(
        automatic_packet_buffers(none),
        kHeldPerWorkerMax + kReassemblyHeldMax + kSpreadQueueSlots + kNeighbourHeldMax
    );
}

TEST(AutomaticPacketBuffers, TakeASixteenthOfTheMachineAtMost) {
    PoolDemand large{.workers = 32, .kernel_ports = 4000, .device_queues = 0, .memory_bytes = kGiB};
    EXPECT_LE(automatic_packet_buffers(large) * packet_buffer_bytes(), kGiB / 16);
    EXPECT_GT(automatic_packet_buffers(large) * packet_buffer_bytes(), kGiB / 17);
    large.memory_bytes = 0;  // Not known.
    EXPECT_EQ(automatic_packet_buffers(large), kPacketBuffersMin);
    large.memory_bytes = 1024 * kGiB;
    EXPECT_EQ(automatic_packet_buffers(large), kPacketBuffersMax);
}

/// Bytes of memory chunks that hold the pool's buffers.
std::uint64_t memory_of(rte_mempool* pool) {
    std::uint64_t bytes = 0;
    rte_mempool_mem_iter(
        pool,
        [](rte_mempool*, void* sum, rte_mempool_memhdr* chunk, unsigned) {
            *static_cast<std::uint64_t*>(sum) += chunk->len;
        },
        &bytes
    );
    return bytes;
}

TEST(PacketPool, BuffersLieAcrossPagesWhereNoDeviceNeedsThemWhole) {
    constexpr std::uint32_t kCount = 1024;
    constexpr std::uint16_t kRoom = RTE_PKTMBUF_HEADROOM + kMbufDataBytes;
    const std::unique_ptr<rte_mempool, decltype(&rte_mempool_free)> pool(
        create_packet_pool("dense", kCount, kRoom, false), rte_mempool_free
    );
    ASSERT_NE(pool, nullptr) << rte_strerror(rte_errno);
    EXPECT_EQ(rte_mempool_avail_count(pool.get()), kCount);
    EXPECT_EQ(rte_pktmbuf_data_room_size(pool.get()), kRoom);
    EXPECT_LT(memory_of(pool.get()), kCount * (packet_buffer_bytes() + 64));
    rte_mbuf* packet = rte_pktmbuf_alloc(pool.get());
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(rte_pktmbuf_tailroom(packet), kMbufDataBytes);
    rte_pktmbuf_free(packet);
}

TEST(PacketPool, SaysWhenThereIsNoMemory) {
    EXPECT_EQ(
        create_packet_pool("huge", kPacketBuffersMax, RTE_PKTMBUF_HEADROOM + 2048, false), nullptr
    );
    EXPECT_NE(rte_errno, 0);
}

}  // namespace

}  // namespace culvert::dataplane
