// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which worker polls which receive queue of a port. A queue keeps its worker while the port exists,
// however many others come and go, because moving it would have to stop the port for a moment.
// Nothing here has an effect outside its result, except that numa_node_of_cpu() reads sysfs.
#pragma once

#include <vector>

namespace culvert::ctl {

inline constexpr int kNumaNodeUnknown = -1;

/// A worker when queues are given out.
struct WorkerLoad {
    int numa_node = kNumaNodeUnknown;  ///< Of its CPU; not known when it is not pinned.
    unsigned queues = 0;               ///< Of other ports.
};

/// A worker for each of `queues` queues of a device on `numa_node`: of those on the same node, if
/// there are any, the one with the fewest queues of this port, then with the fewest of all, then
/// the first. Precondition: there are workers.
[[nodiscard]] std::vector<unsigned>
choose_workers(unsigned queues, int numa_node, std::vector<WorkerLoad> workers);

/// What `rx_workers` says: the i-th queue has the i-th worker, again from the front when there are
/// more queues. Precondition: `listed` is not empty.
[[nodiscard]] std::vector<unsigned>
listed_workers(unsigned queues, const std::vector<unsigned>& listed);

/// Which NUMA node the CPU belongs to.
[[nodiscard]] int numa_node_of_cpu(unsigned cpu);

}  // namespace culvert::ctl
