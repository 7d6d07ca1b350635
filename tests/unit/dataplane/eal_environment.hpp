// SPDX-License-Identifier: GPL-2.0-or-later
//
// DPDK for unit tests. Including this header makes GoogleTest start the EAL once, before the first
// test, without huge pages, devices or files that another process could see, and create one pool of
// packets and one of indirect buffers. The pools may be used in tests, not before; from the test's
// main thread or threads it started.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/limits.hpp"

namespace culvert::testing {

inline constexpr unsigned kTestPackets = 4096;
inline constexpr unsigned kTestShares = 16384;

class EalEnvironment : public ::testing::Environment {
public:
    void SetUp() override {
        const std::string lcores = "0@(" + allowed_cpus() + ")";
        const std::string prefix = "culvert_test_" + std::to_string(::getpid());
        // --in-memory would be the natural choice, but the EAL refuses it together with --no-huge;
        // --no-shconf keeps this process as private.
        std::vector<std::string> words{
            "culvert-test",
            "--no-huge",
            "--no-shconf",
            "-m",
            "128",
            "--no-pci",
            "--no-telemetry",
            "--lcores",
            lcores,
            "--file-prefix",
            prefix,
            "--log-level",
            "lib.eal:warning"};
        std::vector<char*> arguments;
        arguments.reserve(words.size());
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        ASSERT_GE(::rte_eal_init(static_cast<int>(arguments.size()), arguments.data()), 0)
            << "The EAL did not start: " << ::rte_strerror(rte_errno);
        packets_ = create_pool(
            "test_packets", kTestPackets, RTE_PKTMBUF_HEADROOM + dataplane::kMbufDataBytes
        );
        shares_ = create_pool("test_shares", kTestShares, 0);
        ASSERT_NE(packets_, nullptr) << "No packet pool: " << ::rte_strerror(rte_errno);
        ASSERT_NE(shares_, nullptr) << "No pool of indirect buffers: " << ::rte_strerror(rte_errno);
    }

    void TearDown() override {
        ::rte_mempool_free(shares_);
        ::rte_mempool_free(packets_);
        const std::string directory = ::rte_eal_get_runtime_dir();
        ::rte_eal_cleanup();
        // The EAL creates it even for a process that shares nothing, and leaves it behind.
        ::rmdir(directory.c_str());
    }

    /// A pool without per-core caches, so that rte_mempool_avail_count and exhaustion are exact.
    [[nodiscard]] static rte_mempool*
    create_pool(const char* name, unsigned count, std::uint16_t data_room) {
        return ::rte_pktmbuf_pool_create(name, count, 0, 0, data_room, SOCKET_ID_ANY);
    }

    [[nodiscard]] rte_mempool* packets() const noexcept { return packets_; }
    [[nodiscard]] rte_mempool* shares() const noexcept { return shares_; }

private:
    /// As a list for --lcores: the one lcore floats over them, as tests run beside each other.
    [[nodiscard]] static std::string allowed_cpus() {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (::sched_getaffinity(0, sizeof set, &set) != 0) {
            return "0";
        }
        std::string list;
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                list += (list.empty() ? "" : ",") + std::to_string(cpu);
            }
        }
        return list;
    }

    rte_mempool* packets_ = nullptr;
    rte_mempool* shares_ = nullptr;
};

/// Owned by GoogleTest.
inline EalEnvironment* const kEalEnvironment = [] {
    auto* environment = new EalEnvironment;
    ::testing::AddGlobalTestEnvironment(environment);
    return environment;
}();

/// Buffers as ports get them: data room RTE_PKTMBUF_HEADROOM + kMbufDataBytes.
[[nodiscard]] inline rte_mempool* packet_pool() {
    return kEalEnvironment->packets();
}
/// Indirect buffers without data room.
[[nodiscard]] inline rte_mempool* share_pool() {
    return kEalEnvironment->shares();
}

}  // namespace culvert::testing
