// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which worker polls which queue of the switch's ports, and how a queue gets to another worker. The
// rules are in queue_map.hpp. Control thread only.

#include <chrono>
#include <thread>

#include "ctl/log.hpp"
#include "ctl/switch.hpp"

namespace culvert::ctl {

namespace {

// Queues between workers hold more only while they are filled faster than emptied; order is then
// not kept across the change.
constexpr auto kSpreadDrainMax = std::chrono::milliseconds(100);

}  // namespace

/// The device's queues get their workers: those configured, or those with the fewest queues.
void Switch::map_queues(SwitchPort& port) {
    const dataplane::PortInfo info = port.device->info();
    port.numa_node = info.numa_node;
    if (!port.config.rx_workers.empty()) {
        if (port.config.rx_workers.size() > info.rx_queues) {
            logger("switch").warn(
                "port \"{}\": rx_workers lists {} workers, and the device has {} receive queues",
                port.name,
                port.config.rx_workers.size(),
                info.rx_queues
            );
        }
        port.rx_workers = listed_workers(info.rx_queues, port.config.rx_workers);
        return;
    }
    std::vector<WorkerLoad> loads(parts_.workers.count());
    const std::vector<unsigned>& cpus = running_.workers.cpus;
    for (std::size_t i = 0; i < loads.size() && i < cpus.size(); ++i) {
        loads[i].numa_node = numa_node_of_cpu(cpus[i]);
    }
    for (const auto& [index, other] : model_.ports) {
        for (const unsigned worker : other.rx_workers) {
            loads[worker].queues += &other != &port ? 1 : 0;
        }
    }
    port.rx_workers = choose_workers(info.rx_queues, info.numa_node, std::move(loads));
}

/// Moves queues between workers. For a moment nobody polls them: two workers must never poll one
/// queue, and what the first has taken must be on its way before the second takes more, or packets
/// of a flow would overtake each other.
void Switch::remap_queues(SwitchPort& port) {
    using namespace std::chrono_literals;
    const std::vector<unsigned> before = port.rx_workers;
    port.rx_workers.clear();
    changed_ = true;
    wait_for_grace();
    if (parts_.workers.retired_snapshots() != 0) {
        logger("switch").warn(
            "port \"{}\": a worker has not answered for a second, its queues stay as they were",
            port.name
        );
        port.rx_workers = before;
        changed_ = true;
        return;
    }
    const auto deadline = std::chrono::steady_clock::now() + kSpreadDrainMax;
    while (parts_.workers.spread_packets() != 0 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(1ms);
    }
    map_queues(port);
    changed_ = true;
}

void Switch::wait_for_grace() {
    using namespace std::chrono_literals;
    publish_if_changed();
    const auto deadline = std::chrono::steady_clock::now() + 1s;
    while (parts_.workers.retired_snapshots() != 0 && std::chrono::steady_clock::now() < deadline) {
        parts_.workers.poll();
        std::this_thread::sleep_for(1ms);
    }
}

}  // namespace culvert::ctl
