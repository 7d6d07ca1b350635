// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a start of the daemon settles, as a value: its process, DPDK, workers and the flow cache.
// Any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/limits.hpp"

namespace culvert::ctl {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

struct DaemonConfig {  // [daemon]: changes need a restart, except log_level
    std::string socket = "/run/culvert/culvertd.ctl";  ///< Control socket.
    LogLevel log_level = LogLevel::info;
    std::string log_file;                        ///< Empty: stderr.
    std::vector<unsigned> control_cpus;          ///< Empty: every CPU the process may use.
    std::string state_dir = "/var/lib/culvert";  ///< What must outlive the daemon.
    bool operator==(const DaemonConfig&) const = default;
};

enum class Hugepages : std::uint8_t { automatic, never };

struct DpdkConfig {                       // [dpdk]: changes need a restart
    std::string file_prefix;              ///< Empty: culvert-PID.
    std::vector<std::string> extra_args;  ///< Appended to the EAL arguments.
    std::uint32_t memory_mb = 0;          ///< 0: what the pools need.
    Hugepages hugepages = Hugepages::automatic;
    std::uint32_t mbufs = 0;  ///< Packet buffers, 4096-1048576; 0: automatic (packet_pools.hpp).
    bool operator==(const DpdkConfig&) const = default;
};

struct WorkerConfig {            // [workers]: changes need a restart
    std::uint32_t count = 0;     ///< 0: one per entry of cpus, or 1.
    std::vector<unsigned> cpus;  ///< Worker i is pinned to cpus[i]; empty: not pinned.
    bool idle_sleep = true;      ///< False: busy-poll.
    std::uint32_t idle_sleep_us =
        200;             ///< Longest sleep while a polled (DPDK) port exists, 1-10000.
    bool spread = true;  ///< Inner flows of tunnels whose packets all come to one worker are shared
                         ///< out over workers.
    bool operator==(const WorkerConfig&) const = default;

    /// Workers there will be.
    [[nodiscard]] std::uint32_t threads() const {
        const auto pinned = static_cast<std::uint32_t>(cpus.size());
        return count != 0 ? count : std::max(1U, pinned);
    }
};

struct FlowCacheConfig {                                 // [flow_cache]: max_flows needs a restart
    std::uint32_t max_flows = dataplane::kFlowsDefault;  ///< kFlowsMin-kFlowsMax.
    std::uint32_t idle_timeout_s = 10;  ///< An entry unused for this long is removed, 1-3600.
    bool operator==(const FlowCacheConfig&) const = default;
};

}  // namespace culvert::ctl
