// SPDX-License-Identifier: GPL-2.0-or-later
//
// DPDK as the benches need it: without huge pages of the host, devices, or files that another
// process could see; a pool of packets and one of indirect buffers with the per-thread caches that
// the daemon's pools have; and a heap of large pages for the rivals' tables, because the flow cache
// asks the kernel for large pages too. Main thread only.
#pragma once

#include <cstddef>

#include <rte_mempool.h>

#include "dataplane/port.hpp"

namespace culvert::bench {

class Environment {
public:
    Environment();
    ~Environment();
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

    [[nodiscard]] const dataplane::PacketPools& pools() const noexcept { return pools_; }
    /// Socket number of the heap of large pages.
    [[nodiscard]] int large_page_socket() const noexcept { return large_page_socket_; }

    /// The one that main() made.
    [[nodiscard]] static const Environment& get() noexcept { return *instance; }

private:
    void start_eal();
    void add_large_page_heap();

    static const Environment* instance;

    dataplane::PacketPools pools_;
    int large_page_socket_ = -1;
    void* heap_mapping_ = nullptr;
    void* heap_ = nullptr;
};

}  // namespace culvert::bench
