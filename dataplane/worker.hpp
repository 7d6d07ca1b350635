// SPDX-License-Identifier: GPL-2.0-or-later
//
// The worker threads and what the control thread may ask of them: publish a snapshot, answer
// upcalls, wait for a grace period, read counters. All functions here are for the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/counters.hpp"
#include "dataplane/flow_cache.hpp"
#include "dataplane/snapshot.hpp"
#include "dataplane/upcall.hpp"

namespace culvert::dataplane {

struct WorkerOptions {
    unsigned count = 1;
    std::vector<unsigned>
        cpus;  ///< Worker i runs on cpus[i] only; empty: wherever the kernel likes.
    bool idle_sleep = true;
    bool spread = true;  ///< Share out the inner flows of tunnels that all come to one worker.
    std::uint32_t idle_sleep_us = 200;  ///< Longest sleep while some port has to be polled.
};

class Workers {
public:
    /// Starts the threads; they forward nothing until the first publish(). `wake_fd` is an eventfd
    /// that a worker writes when it has sent upcalls.
    [[nodiscard]] static Result<std::unique_ptr<Workers>>
    start(const WorkerOptions& options, FlowCache& flows, const PacketPools& pools, int wake_fd);
    virtual ~Workers() = default;  ///< Stops and joins; frees what they held.

    [[nodiscard]] virtual unsigned count() const = 0;
    [[nodiscard]] virtual const WorkerCounters& counters(unsigned worker) const = 0;

    /// Hands over a new snapshot; the previous one is freed after its grace period.
    virtual void publish(std::unique_ptr<const Snapshot> snapshot) = 0;

    /// Takes upcalls of one worker, in order, as many as there are and fit; each worker has its
    /// turn. `count` is 0 when there are none of any.
    struct Taken {
        unsigned worker = 0;
        std::size_t count = 0;
    };
    [[nodiscard]] virtual Taken take_upcalls(std::span<Upcall> upcalls) = 0;
    struct Asked {
        unsigned worker = 0;
        Upcall upcall;
    };
    /// The next one.
    [[nodiscard]] std::optional<Asked> next_upcall() {
        Asked asked;
        const Taken taken = take_upcalls({&asked.upcall, 1});
        asked.worker = taken.worker;
        return taken.count == 0 ? std::nullopt : std::optional(asked);
    }
    /// Called once upcalls have been taken: from now on workers signal `wake_fd` again. If some
    /// wait already it is signalled at once.
    virtual void arm_wake() = 0;

    /// Queues answers, in order. What does not fit is kept and sent by poll().
    virtual void send(unsigned worker, std::span<const Decision> decisions) = 0;
    void send(unsigned worker, const Decision& decision) { send(worker, std::span(&decision, 1)); }

    /// Frees what passed its grace period and sends what was kept. Cheap; call it at least a few
    /// times a second.
    virtual void poll() = 0;

    /// Packets in queues from worker to worker, about.
    [[nodiscard]] virtual std::size_t spread_packets() const = 0;

    /// Snapshots that wait for their grace period.
    [[nodiscard]] virtual std::size_t retired_snapshots() const = 0;

protected:
    Workers() = default;
};

}  // namespace culvert::dataplane
