// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sums of counters. See totals.hpp.

#include "ctl/totals.hpp"

#include <numeric>

namespace culvert::ctl {

namespace {

void add(PortTotals& totals, const dataplane::WorkerCounters& counters, std::uint16_t port) {
    const dataplane::PortCounters& row = counters.ports[port];
    totals.rx_packets += row.rx_packets.read();
    totals.rx_bytes += row.rx_bytes.read();
    totals.tx_packets += row.tx_packets.read();
    totals.tx_bytes += row.tx_bytes.read();
    for (std::size_t reason = 0; reason < totals.drops.size(); ++reason) {
        totals.drops[reason] += counters.drops[reason][port].read();
    }
    for (std::size_t anomaly = 0; anomaly < totals.ecn.size(); ++anomaly) {
        totals.ecn[anomaly] += counters.ecn[anomaly][port].read();
    }
}

}  // namespace

std::uint64_t PortTotals::dropped() const {
    return std::accumulate(drops.begin(), drops.end(), std::uint64_t{0});
}

PortTotals PortTotals::since(const PortTotals& before) const {
    PortTotals totals = *this;
    totals.rx_packets -= before.rx_packets;
    totals.rx_bytes -= before.rx_bytes;
    totals.tx_packets -= before.tx_packets;
    totals.tx_bytes -= before.tx_bytes;
    for (std::size_t reason = 0; reason < drops.size(); ++reason) {
        totals.drops[reason] -= before.drops[reason];
    }
    for (std::size_t anomaly = 0; anomaly < ecn.size(); ++anomaly) {
        totals.ecn[anomaly] -= before.ecn[anomaly];
    }
    return totals;
}

PortTotals port_totals(
    const dataplane::Workers& workers,
    const dataplane::WorkerCounters& slow_path,
    std::uint16_t port
) {
    PortTotals totals;
    for (unsigned worker = 0; worker < workers.count(); ++worker) {
        add(totals, workers.counters(worker), port);
    }
    add(totals, slow_path, port);
    return totals;
}

}  // namespace culvert::ctl
