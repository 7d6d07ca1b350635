// SPDX-License-Identifier: GPL-2.0-or-later
//
// The control thread's side of the workers: snapshots and grace periods (rte_rcu_qsbr), answers,
// counters.

#include "dataplane/worker.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <string>

#include <unistd.h>

#include "dataplane/worker_loop.hpp"

namespace culvert::dataplane {

namespace {

class WorkerGroup final : public Workers {
public:
    WorkerGroup(
        const WorkerOptions& options, FlowCache& flows, const PacketPools& pools, int wake_fd
    )
        : flows_(flows) {
        shared_.options = options;
        shared_.flows = &flows;
        shared_.pools = pools;
        shared_.upcall_wake_fd = wake_fd;
    }

    ~WorkerGroup() override {
        shared_.stop.store(true);
        for (const auto& loop : loops_) {
            loop->join();
        }
        loops_.clear();
        shared_.spread.clear();
        for (const Kept& kept : kept_) {
            rte_pktmbuf_free(kept.decision.packet);
        }
        kept_.clear();
        delete shared_.snapshot.load();
        retired_.clear();
        std::free(shared_.qsbr);
    }

    WorkerGroup(const WorkerGroup&) = delete;
    WorkerGroup& operator=(const WorkerGroup&) = delete;

    Result<void> start_threads() {
        const std::size_t bytes = rte_rcu_qsbr_get_memsize(kWorkersMax);
        shared_.qsbr = static_cast<rte_rcu_qsbr*>(
            std::aligned_alloc(RTE_CACHE_LINE_SIZE, (bytes + 63U) & ~std::size_t{63})
        );
        if (shared_.qsbr == nullptr || rte_rcu_qsbr_init(shared_.qsbr, kWorkersMax) != 0) {
            return tl::unexpected(std::string("workers: no memory for grace periods"));
        }
        if (shared_.options.spread && shared_.options.count > 1) {
            shared_.spread.resize(shared_.options.count);
            for (auto& queue : shared_.spread) {
                queue = std::make_unique<SpreadQueue>(shared_.options.count);
            }
        }
        for (unsigned i = 0; i < shared_.options.count; ++i) {
            loops_.push_back(std::make_unique<WorkerLoop>(shared_, i));
            shared_.loops.push_back(loops_.back().get());
        }
        for (const auto& loop : loops_) {
            if (auto started = loop->start(); !started) {
                return started;
            }
        }
        return {};
    }

    [[nodiscard]] unsigned count() const override { return static_cast<unsigned>(loops_.size()); }
    [[nodiscard]] const WorkerCounters& counters(unsigned worker) const override {
        return loops_[worker]->counters();
    }

    void publish(std::unique_ptr<const Snapshot> snapshot) override {
        const Snapshot* previous =
            shared_.snapshot.exchange(snapshot.release(), std::memory_order_acq_rel);
        if (previous != nullptr) {
            retired_.push_back(
                {rte_rcu_qsbr_start(shared_.qsbr), std::unique_ptr<const Snapshot>(previous), 0}
            );
        }
        for (const auto& loop : loops_) {
            loop->wake();
        }
        poll();
    }

    [[nodiscard]] Taken take_upcalls(std::span<Upcall> upcalls) override {
        // Round robin, so that one worker's storm does not keep another's flows waiting.
        for (std::size_t tried = 0; tried < loops_.size(); ++tried) {
            turn_ = (turn_ + 1) % loops_.size();
            if (const std::size_t count =
                    loops_[turn_]->upcalls.pop(upcalls.data(), upcalls.size());
                count != 0) {
                return {static_cast<unsigned>(turn_), count};
            }
        }
        return {};
    }

    void arm_wake() override {
        shared_.upcall_signalled.exchange(false, std::memory_order_seq_cst);
        // What a worker sent before it could see that: it has not signalled.
        const bool waits = std::any_of(loops_.begin(), loops_.end(), [](const auto& loop) {
            return !loop->upcalls.empty();
        });
        if (waits && !shared_.upcall_signalled.exchange(true, std::memory_order_seq_cst)) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t written =
                write(shared_.upcall_wake_fd, &one, sizeof one);
        }
    }

    void send(unsigned worker, std::span<const Decision> decisions) override {
        std::size_t sent = 0;
        if (kept_.empty()) {
            sent = loops_[worker]->decisions.push(decisions.data(), decisions.size());
        }
        for (const Decision& decision : decisions.subspan(sent)) {
            kept_.push_back({worker, decision});
        }
        if (sent != 0) {
            loops_[worker]->wake();
        }
    }

    void poll() override {
        while (!kept_.empty() &&
               loops_[kept_.front().worker]->decisions.push(kept_.front().decision)) {
            loops_[kept_.front().worker]->wake();
            kept_.pop_front();
        }
        while (!retired_.empty() &&
               rte_rcu_qsbr_check(shared_.qsbr, retired_.front().token, false) == 1) {
            if (retired_.front().flow_epoch != 0) {
                flows_.reclaim(retired_.front().flow_epoch);
                flow_epoch_waits_ = false;
            }
            retired_.pop_front();
        }
        if (!flow_epoch_waits_ && flows_.has_retired()) {
            const std::uint64_t epoch = flows_.next_epoch();
            retired_.push_back({rte_rcu_qsbr_start(shared_.qsbr), nullptr, epoch});
            flow_epoch_waits_ = true;
        }
    }

    [[nodiscard]] std::size_t spread_packets() const override {
        std::size_t packets = 0;
        for (const auto& queue : shared_.spread) {
            packets += queue->size();
        }
        return packets;
    }

    [[nodiscard]] std::size_t retired_snapshots() const override {
        return static_cast<std::size_t>(std::count_if(
            retired_.begin(),
            retired_.end(),
            [](const Retired& retired) { return retired.snapshot != nullptr; }
        ));
    }

private:
    struct Retired {
        std::uint64_t token = 0;
        std::unique_ptr<const Snapshot> snapshot;
        std::uint64_t flow_epoch = 0;  ///< 0: this is a snapshot.
    };
    struct Kept {
        unsigned worker = 0;
        Decision decision;
    };

    WorkerShared shared_;
    FlowCache& flows_;
    std::vector<std::unique_ptr<WorkerLoop>> loops_;
    std::deque<Retired> retired_;  ///< Oldest first; tokens grow.
    std::deque<Kept> kept_;
    std::size_t turn_ = 0;
    bool flow_epoch_waits_ = false;
};

}  // namespace

Result<std::unique_ptr<Workers>> Workers::start(
    const WorkerOptions& options, FlowCache& flows, const PacketPools& pools, int wake_fd
) {
    auto group = std::make_unique<WorkerGroup>(options, flows, pools, wake_fd);
    if (auto started = group->start_threads(); !started) {
        return tl::unexpected(started.error());
    }
    return group;
}

}  // namespace culvert::dataplane
