// SPDX-License-Identifier: GPL-2.0-or-later
//
// Counters of a port, summed over the workers and the slow path. Control thread only.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/worker.hpp"
#include "tunnels/ecn.hpp"

namespace culvert::ctl {

struct PortTotals {
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_bytes = 0;
    std::array<std::uint64_t, tunnels::kDropReasonCount> drops{};
    std::array<std::uint64_t, tunnels::kEcnAnomalyCount> ecn{};  ///< By tunnels::EcnAnomaly.

    [[nodiscard]] std::uint64_t dropped() const;
    /// What was counted since `before`.
    [[nodiscard]] PortTotals since(const PortTotals& before) const;
};

[[nodiscard]] PortTotals port_totals(
    const dataplane::Workers& workers,
    const dataplane::WorkerCounters& slow_path,
    std::uint16_t port
);

}  // namespace culvert::ctl
