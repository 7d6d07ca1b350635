// SPDX-License-Identifier: GPL-2.0-or-later
//
// One worker thread: adopt the newest snapshot, take answers of the slow path, poll ports, flush,
// sleep when idle. Kernel ports are watched with epoll, so that only those with packets are read;
// DPDK devices are polled each round, and while they are busy and kernel ports are not, the latter
// are looked at in some rounds only, which spares a system call for each burst. A worker without
// polled ports sleeps until a packet comes; with polled ports it sleeps for growing, bounded times.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <rte_rcu_qsbr.h>

#include "dataplane/context.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dataplane {

class WorkerLoop;

/// What all workers and the control thread share.
struct WorkerShared {
    WorkerOptions options;
    const FlowCache* flows = nullptr;
    PacketPools pools;
    int upcall_wake_fd = -1;  ///< Written by workers.
    alignas(64) std::atomic<const Snapshot*> snapshot{nullptr};
    alignas(64) std::atomic<bool> upcall_signalled{false};
    alignas(64) std::atomic<bool> stop{false};
    rte_rcu_qsbr* qsbr = nullptr;
    std::vector<std::unique_ptr<SpreadQueue>> spread;  ///< By worker; empty: nothing is spread.
    std::vector<WorkerLoop*> loops;                    ///< By worker; set before any starts.
};

class WorkerLoop {
public:
    WorkerLoop(WorkerShared& shared, unsigned index);
    ~WorkerLoop();  ///< The thread has been joined, or was never started.
    WorkerLoop(const WorkerLoop&) = delete;
    WorkerLoop& operator=(const WorkerLoop&) = delete;

    [[nodiscard]] Result<void> start();
    void join();
    void wake() noexcept;  ///< Any thread: ends a sleep.

    [[nodiscard]] const WorkerCounters& counters() const noexcept { return *counters_; }
    alignas(RTE_CACHE_LINE_SIZE) UpcallQueue upcalls;      ///< Worker -> control.
    alignas(RTE_CACHE_LINE_SIZE) DecisionQueue decisions;  ///< Control -> worker.

private:
    /// A queue of the adopted snapshot, which keeps the device: a worker that sleeps must not keep
    /// it open.
    struct Polled {
        Port* device = nullptr;
        std::uint16_t port = kPortNone;
        std::uint16_t queue = 0;
        int fd = -1;
    };

    void run() noexcept;
    bool adopt() noexcept;
    bool exchanges_now(std::uint64_t now_cycles) noexcept;
    void expire_fragments(std::uint64_t now_cycles) noexcept;
    void watch_ports();
    std::size_t take_decisions() noexcept;
    std::size_t poll_ports() noexcept;
    std::size_t take_spread() noexcept;
    void wake_spread() noexcept;
    std::size_t poll_queue(const Polled& queue) noexcept;
    void signal_upcalls() noexcept;
    void idle() noexcept;

    WorkerShared& shared_;
    std::unique_ptr<WorkerCounters> counters_;
    std::unique_ptr<Context> context_;
    std::vector<Polled> polled_;   ///< Queues without a descriptor.
    std::vector<Polled> watched_;  ///< Queues in the epoll set, by event data.
    std::thread thread_;
    /// Written by whoever has something for this worker, so not beside what only it uses.
    alignas(RTE_CACHE_LINE_SIZE) std::atomic<bool> sleeping_{false};
    alignas(RTE_CACHE_LINE_SIZE) int epoll_fd_ = -1;
    int wake_fd_ = -1;
    std::uint64_t version_ = 0;  ///< Of the adopted snapshot; 0: none.
    unsigned idle_rounds_ = 0;
    unsigned rounds_unwatched_ = 0;  ///< Since watched_ was looked at.
    bool watched_quiet_ = false;     ///< It had nothing then.
    std::uint64_t exchange_cycles_;
    std::uint64_t exchanged_at_ = 0;
    std::size_t received_ = 0;  ///< In the last round.
};

}  // namespace culvert::dataplane
