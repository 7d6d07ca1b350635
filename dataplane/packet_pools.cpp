// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sizes and makes the packet pools. See packet_pools.hpp.

#include "dataplane/packet_pools.hpp"

#include <algorithm>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <unistd.h>

#include "dataplane/limits.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kPoolCache = 256;
constexpr std::uint64_t kMemoryShare = 16;

// What a kernel port has ready for receiving, at most: see receive_slots.hpp.
constexpr std::uint64_t kKernelPortBuffers = 512;
constexpr std::uint64_t kDeviceQueueBuffers = 1024;  // Descriptors of a queue (port.hpp).
// Packets that wait for the slow path, in reassembly, in the queue to another worker, in the pool's
// caches and in bursts.
constexpr std::uint64_t kWorkerBuffers = kHeldPerWorkerMax + kReassemblyHeldMax +
                                         kSpreadQueueSlots + std::uint64_t{2} * kPoolCache + 2560;
static_assert(kWorkerBuffers == 8192);
// Packets that the control thread keeps.
constexpr std::uint64_t kControlBuffers = 2 * kNeighbourHeldMax;

}  // namespace

std::uint64_t packet_buffer_bytes() noexcept {
    constexpr std::uint64_t kPoolHeader = std::uint64_t{2} * RTE_CACHE_LINE_SIZE;
    return sizeof(rte_mbuf) + RTE_PKTMBUF_HEADROOM + kMbufDataBytes + kPoolHeader +
           sizeof(rte_mbuf) + kPoolHeader;
}

std::uint32_t automatic_packet_buffers(const PoolDemand& demand) noexcept {
    const std::uint64_t wanted = kControlBuffers + demand.workers * kWorkerBuffers +
                                 demand.kernel_ports * kKernelPortBuffers +
                                 demand.device_queues * kDeviceQueueBuffers;
    const std::uint64_t affordable = demand.memory_bytes / kMemoryShare / packet_buffer_bytes();
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
        std::min(wanted, affordable), kPacketBuffersMin, kPacketBuffersMax
    ));
}

std::uint64_t machine_memory_bytes() noexcept {
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGESIZE);
    return pages <= 0 || page_bytes <= 0
               ? 0
               : static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
}

rte_mempool* create_packet_pool(
    const char* name, std::uint32_t count, std::uint16_t data_room, bool contiguous
) {
    rte_mempool* pool = rte_mempool_create_empty(
        name,
        count,
        sizeof(rte_mbuf) + data_room,
        kPoolCache,
        sizeof(rte_pktmbuf_pool_private),
        SOCKET_ID_ANY,
        contiguous ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG
    );
    if (pool == nullptr) {
        return nullptr;
    }
    rte_pktmbuf_pool_private room{};
    room.mbuf_data_room_size = data_room;
    int result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr);
    if (result == 0) {
        rte_pktmbuf_pool_init(pool, &room);
        result = rte_mempool_populate_default(pool);
    }
    if (result < 0) {
        rte_mempool_free(pool);
        rte_errno = -result;
        return nullptr;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
    return pool;
}

}  // namespace culvert::dataplane
