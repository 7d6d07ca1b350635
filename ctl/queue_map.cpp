// SPDX-License-Identifier: GPL-2.0-or-later
//
// Gives receive queues to workers. See queue_map.hpp.

#include "ctl/queue_map.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <tuple>

namespace culvert::ctl {

std::vector<unsigned>
choose_workers(unsigned queues, int numa_node, std::vector<WorkerLoad> workers) {
    const auto is_near = [numa_node](const WorkerLoad& worker) {
        return worker.numa_node == numa_node;
    };
    const bool only_near =
        numa_node != kNumaNodeUnknown && std::any_of(workers.begin(), workers.end(), is_near);
    std::vector<unsigned> own(workers.size());
    std::vector<unsigned> chosen;
    for (unsigned queue = 0; queue < queues; ++queue) {
        unsigned best = static_cast<unsigned>(workers.size());
        for (unsigned i = 0; i < workers.size(); ++i) {
            if (only_near && !is_near(workers[i])) {
                continue;
            }
            if (best == workers.size() ||
                std::tie(own[i], workers[i].queues) < std::tie(own[best], workers[best].queues)) {
                best = i;
            }
        }
        ++own[best];
        ++workers[best].queues;
        chosen.push_back(best);
    }
    return chosen;
}

std::vector<unsigned> listed_workers(unsigned queues, const std::vector<unsigned>& listed) {
    std::vector<unsigned> chosen;
    for (unsigned queue = 0; queue < queues; ++queue) {
        chosen.push_back(listed[queue % listed.size()]);
    }
    return chosen;
}

int numa_node_of_cpu(unsigned cpu) {
    const std::filesystem::path folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename();
        int node = kNumaNodeUnknown;
        if (name.starts_with("node") &&
            std::from_chars(name.data() + 4, name.data() + name.size(), node).ec == std::errc{}) {
            return node;
        }
    }
    return kNumaNodeUnknown;
}

}  // namespace culvert::ctl
