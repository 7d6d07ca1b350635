// SPDX-License-Identifier: GPL-2.0-or-later
//
// Start and stop of DPDK. A failure to start throws std::runtime_error with one sentence. Main
// thread only.
#include "bench/environment.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "dataplane/limits.hpp"

namespace culvert::bench {

namespace {

constexpr unsigned kPackets = 4096;
constexpr unsigned kShares = 8192;
constexpr unsigned kPoolCache = 256;  // As the daemon's pools.

constexpr std::size_t kLargePageBytes = std::size_t{2} << 20U;
constexpr std::size_t kHeapBytes = std::size_t{384} << 20U;  // Touched only as far as it is used.
constexpr const char* kHeapName = "large_pages";

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + ::rte_strerror(rte_errno) + ".");
}

/// As a list for --lcores: the one lcore floats over them.
std::string allowed_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::string list;
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                list += (list.empty() ? "" : ",") + std::to_string(cpu);
            }
        }
    }
    return list.empty() ? "0" : list;
}

}  // namespace

const Environment* Environment::instance = nullptr;

Environment::Environment() {
    start_eal();
    pools_.packets = ::rte_pktmbuf_pool_create(
        "bench_packets",
        kPackets,
        kPoolCache,
        0,
        RTE_PKTMBUF_HEADROOM + dataplane::kMbufDataBytes,
        SOCKET_ID_ANY
    );
    pools_.shares =
        ::rte_pktmbuf_pool_create("bench_shares", kShares, kPoolCache, 0, 0, SOCKET_ID_ANY);
    if (pools_.packets == nullptr || pools_.shares == nullptr) {
        fail("There is no memory for the packet pools of the benches");
    }
    add_large_page_heap();
    instance = this;
}

void Environment::start_eal() {
    // --in-memory would be the natural choice, but the EAL refuses it together with --no-huge;
    // --no-shconf keeps this process as private.
    std::vector<std::string> words{
        "culvert_bench",
        "--no-huge",
        "--no-shconf",
        "-m",
        "512",
        "--no-pci",
        "--no-telemetry",
        "--lcores",
        "0@(" + allowed_cpus() + ")",
        "--file-prefix",
        "culvert_bench_" + std::to_string(::getpid()),
        "--log-level",
        "lib.eal:warning"};
    std::vector<char*> arguments;
    arguments.reserve(words.size());
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    if (::rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) {
        fail("DPDK does not start");
    }
}

void Environment::add_large_page_heap() {
    // One page more than is used, so that the heap can begin at the start of a large page.
    const std::size_t mapped = kHeapBytes + kLargePageBytes;
    heap_mapping_ =
        ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (heap_mapping_ == MAP_FAILED) {
        heap_mapping_ = nullptr;
        throw std::runtime_error("The heap for the rivals' tables cannot be mapped.");
    }
    const auto misplaced = reinterpret_cast<std::uintptr_t>(heap_mapping_) % kLargePageBytes;
    heap_ = static_cast<std::byte*>(heap_mapping_) + (kLargePageBytes - misplaced);
    // Advice, as in the flow cache: where the kernel refuses it, it refuses it to both.
    static_cast<void>(::madvise(heap_, kHeapBytes, MADV_HUGEPAGE));
    if (::rte_malloc_heap_create(kHeapName) != 0 ||
        ::rte_malloc_heap_memory_add(kHeapName, heap_, kHeapBytes, nullptr, 0, kLargePageBytes) !=
            0) {
        fail("The heap for the rivals' tables cannot be made");
    }
    large_page_socket_ = ::rte_malloc_heap_get_socket(kHeapName);
}

Environment::~Environment() {
    instance = nullptr;
    ::rte_mempool_free(pools_.shares);
    ::rte_mempool_free(pools_.packets);
    const std::string folder = ::rte_eal_get_runtime_dir();
    ::rte_eal_cleanup();
    // The EAL creates it even for a process that shares nothing, and leaves it behind.
    ::rmdir(folder.c_str());
}

}  // namespace culvert::bench
