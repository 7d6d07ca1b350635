// SPDX-License-Identifier: GPL-2.0-or-later
//
// Starts and stops DPDK's environment and the packet pools. Control thread only.

#include "dataplane/eal.hpp"

#include <filesystem>
#include <fstream>
#include <sched.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mempool.h>
#include <rte_version.h>

#include "dataplane/packet_pools.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kDriverRoomMb = 96;  // Rings, vhost and memif regions, DPDK's own tables.

std::string join_cpus(const std::vector<unsigned>& cpus) {
    std::string text;
    for (const unsigned cpu : cpus) {
        text += (text.empty() ? "" : ",") + std::to_string(cpu);
    }
    return text;
}

std::vector<unsigned> allowed_cpus() {
    std::vector<unsigned> cpus;
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) {
            cpus.push_back(cpu);
        }
    }
    return cpus;
}

std::uint32_t wanted_memory_mb(const EalOptions& options) {
    if (options.memory_mb != 0) {
        return options.memory_mb;
    }
    const std::uint64_t pools_mb = (options.packet_buffers * packet_buffer_bytes()) >> 20U;
    return static_cast<std::uint32_t>(pools_mb + pools_mb / 8) + kDriverRoomMb;
}

bool contains_log_level(const std::vector<std::string>& args) {
    for (const std::string& arg : args) {
        if (arg.rfind("--log-level", 0) == 0) {
            return true;
        }
    }
    return false;
}

}  // namespace

std::uint64_t hugepages_free_mb() {
    std::uint64_t total_kb = 0;
    std::error_code error;
    const std::filesystem::path root = "/sys/kernel/mm/hugepages";
    for (const auto& size : std::filesystem::directory_iterator(root, error)) {
        const std::string name = size.path().filename();  // hugepages-2048kB
        std::uint64_t pages = 0;
        std::ifstream(size.path() / "free_hugepages") >> pages;
        const auto dash = name.find('-');
        if (dash != std::string::npos) {
            total_kb += pages * std::strtoull(name.c_str() + dash + 1, nullptr, 10);
        }
    }
    return total_kb / 1024;
}

std::string dpdk_version() {
    return rte_version();
}

std::vector<std::string> eal_arguments(const EalOptions& options, std::uint64_t free_mb) {
    const std::uint32_t memory_mb = wanted_memory_mb(options);
    const auto cpus = options.control_cpus.empty() ? allowed_cpus() : options.control_cpus;
    std::vector<std::string> args{
        "culvertd",
        "--file-prefix",
        options.file_prefix,
        "--lcores",
        "0@(" + join_cpus(cpus) + ")"};
    if (options.hugepages && free_mb >= memory_mb) {
        args.emplace_back("--in-memory");
    } else {
        // DPDK refuses --in-memory beside --no-huge, whose memory is anonymous anyway; what is left
        // of it is this.
        args.insert(args.end(), {"--no-huge", "--no-shconf", "-m", std::to_string(memory_mb)});
    }
    if (options.pci_devices.empty()) {
        args.emplace_back("--no-pci");
    }
    for (const std::string& device : options.pci_devices) {
        args.insert(args.end(), {"-a", device});
    }
    if (!contains_log_level(options.extra_args)) {
        args.emplace_back("--log-level=warning");
        args.emplace_back("--log-level=lib.telemetry:error");
    }
    args.insert(args.end(), options.extra_args.begin(), options.extra_args.end());
    return args;
}

Result<std::unique_ptr<Eal>> Eal::start(const EalOptions& options) {
    std::vector<std::string> args = eal_arguments(options, hugepages_free_mb());
    std::vector<char*> argv;
    std::string shown;
    bool no_huge = false;
    for (std::string& arg : args) {
        argv.push_back(arg.data());
        shown += (shown.empty() ? "" : " ") + arg;
        no_huge = no_huge || arg == "--no-huge";
    }
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
        return tl::unexpected(
            "DPDK does not start: " + std::string(rte_strerror(rte_errno)) +
            " (arguments: " + shown + ")"
        );
    }
    std::unique_ptr<Eal> eal(new Eal);
    eal->uses_hugepages_ = !no_huge;
    eal->runtime_folder_ = rte_eal_get_runtime_dir();
    eal->pools_.packets = create_packet_pool(
        "culvert_packets",
        options.packet_buffers,
        static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + kMbufDataBytes),
        !no_huge
    );
    eal->pools_.shares = create_packet_pool("culvert_shares", options.packet_buffers, 0, !no_huge);
    if (eal->pools_.packets == nullptr || eal->pools_.shares == nullptr) {
        return tl::unexpected(
            "no memory for " + std::to_string(options.packet_buffers) +
            " packet buffers: lower [dpdk] mbufs or raise [dpdk] memory_mb"
        );
    }
    return eal;
}

Eal::~Eal() {
    rte_mempool_free(pools_.shares);
    rte_mempool_free(pools_.packets);
    rte_eal_cleanup();
    std::error_code ignored;
    std::filesystem::remove_all(runtime_folder_, ignored);
}

}  // namespace culvert::dataplane
