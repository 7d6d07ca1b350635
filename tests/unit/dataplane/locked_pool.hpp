// SPDX-License-Identifier: GPL-2.0-or-later
//
// A pool of packet buffers whose free list is a locked vector compiled with the test. DPDK's own
// pools synchronise within its libraries, where ThreadSanitizer does not see that a buffer was
// freed before it was allocated again. Any thread.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <vector>

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

namespace culvert::testing {

namespace locked_pool {

struct FreeList {
    std::mutex mutex;
    std::vector<void*> objects;
};

inline FreeList& list_of(const rte_mempool* pool) {
    return *static_cast<FreeList*>(pool->pool_data);
}

inline int open(rte_mempool* pool) {
    auto list = std::make_unique<FreeList>();
    list->objects.reserve(pool->size);
    pool->pool_data = list.release();
    return 0;
}

inline void close(rte_mempool* pool) {
    delete &list_of(pool);
}

inline int put(rte_mempool* pool, void* const* objects, unsigned count) {
    FreeList& list = list_of(pool);
    const std::scoped_lock lock(list.mutex);
    list.objects.insert(list.objects.end(), objects, objects + count);
    return 0;
}

inline int take(rte_mempool* pool, void** objects, unsigned count) {
    FreeList& list = list_of(pool);
    const std::scoped_lock lock(list.mutex);
    if (list.objects.size() < count) {
        return -ENOBUFS;
    }
    for (unsigned i = 0; i < count; ++i) {
        objects[i] = list.objects.back();
        list.objects.pop_back();
    }
    return 0;
}

inline unsigned count(const rte_mempool* pool) {
    FreeList& list = list_of(pool);
    const std::scoped_lock lock(list.mutex);
    return static_cast<unsigned>(list.objects.size());
}

inline const int kRegistered = [] {
    rte_mempool_ops ops{};
    static_cast<void>(std::snprintf(ops.name, sizeof ops.name, "test_locked"));
    ops.alloc = open;
    ops.free = close;
    ops.enqueue = put;
    ops.dequeue = take;
    ops.get_count = count;
    return rte_mempool_register_ops(&ops);
}();

}  // namespace locked_pool

/// Such a pool. Everything that was taken from it has to be back when it goes.
class LockedPool {
public:
    LockedPool(const char* name, unsigned packets, std::uint16_t data_room)
        : packets_(packets), pool_(rte_pktmbuf_pool_create_by_ops(
                                 name, packets, 0, 0, data_room, SOCKET_ID_ANY, "test_locked"
                             )) {
        EXPECT_GE(locked_pool::kRegistered, 0);
        EXPECT_NE(pool_, nullptr) << name;
    }
    ~LockedPool() {
        EXPECT_EQ(rte_mempool_avail_count(pool_), packets_) << pool_->name << ": a buffer leaked";
        rte_mempool_free(pool_);
    }
    LockedPool(const LockedPool&) = delete;
    LockedPool& operator=(const LockedPool&) = delete;

    [[nodiscard]] rte_mempool* get() const noexcept { return pool_; }

private:
    unsigned packets_;
    rte_mempool* pool_;
};

}  // namespace culvert::testing
