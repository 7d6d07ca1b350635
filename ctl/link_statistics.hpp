// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's counters of every interface, in one dump. Control thread.
#pragma once

#include <cstdint>
#include <map>

#include "dataplane/result.hpp"

namespace culvert::ctl {

/// As the kernel counts: since the interface was made, received being what came to the host.
struct LinkStatistics {
    std::uint64_t rx_packets = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t rx_errors = 0;
    std::uint64_t tx_errors = 0;
    std::uint64_t rx_dropped = 0;
    std::uint64_t tx_dropped = 0;
    std::uint64_t rx_multicast = 0;
    std::uint64_t collisions = 0;
    std::uint64_t rx_over_errors = 0;
    std::uint64_t rx_crc_errors = 0;
    std::uint64_t rx_frame_errors = 0;
    std::uint64_t rx_missed_errors = 0;
    bool operator==(const LinkStatistics&) const = default;
};

/// By interface index.
using LinkStatisticsMap = std::map<int, LinkStatistics>;

/// Of the network namespace of the calling thread (RTM_GETSTATS, Linux 4.7).
[[nodiscard]] dataplane::Result<LinkStatisticsMap> read_link_statistics();

}  // namespace culvert::ctl
