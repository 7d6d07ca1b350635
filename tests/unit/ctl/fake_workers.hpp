// SPDX-License-Identifier: GPL-2.0-or-later
//
// Workers without threads: the test asks in their place, and what was answered stays here in order.
// Frees the packets of answers when it goes. Test's thread only.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/worker.hpp"

namespace culvert::testing {

class FakeWorkers final : public dataplane::Workers {
public:
    struct Sent {
        unsigned worker = 0;
        dataplane::Decision decision;
    };

    FakeWorkers() : counters_(std::make_unique<dataplane::WorkerCounters>()) {}
    ~FakeWorkers() override {
        for (const Sent& answer : sent) {
            rte_pktmbuf_free(answer.decision.packet);
        }
    }
    FakeWorkers(const FakeWorkers&) = delete;
    FakeWorkers& operator=(const FakeWorkers&) = delete;

    [[nodiscard]] unsigned count() const override { return 2; }
    [[nodiscard]] const dataplane::WorkerCounters& counters(unsigned /*worker*/) const override {
        return *counters_;
    }
    void publish(std::unique_ptr<const dataplane::Snapshot> snapshot) override {
        snapshot_ = std::move(snapshot);
    }
    [[nodiscard]] Taken take_upcalls(std::span<dataplane::Upcall> upcalls) override {
        Taken taken{asked.empty() ? 0 : asked.front().worker};
        while (taken.count < upcalls.size() && !asked.empty() &&
               asked.front().worker == taken.worker) {
            upcalls[taken.count++] = asked.front().upcall;
            asked.pop_front();
        }
        return taken;
    }
    void arm_wake() override {
        ++armed;
        waiting_when_armed = asked.size();
    }
    [[nodiscard]] std::size_t spread_packets() const override { return 0; }
    using Workers::send;
    void send(unsigned worker, std::span<const dataplane::Decision> decisions) override {
        for (const dataplane::Decision& decision : decisions) {
            sent.push_back({worker, decision});
        }
    }
    void poll() override { ++polled; }
    [[nodiscard]] std::size_t retired_snapshots() const override { return 0; }

    std::deque<Asked> asked;
    std::vector<Sent> sent;
    unsigned armed = 0;
    unsigned polled = 0;
    std::size_t waiting_when_armed = 0;  ///< Upcalls, when the signal was armed last.

private:
    std::unique_ptr<dataplane::WorkerCounters> counters_;
    std::unique_ptr<const dataplane::Snapshot> snapshot_;
};

}  // namespace culvert::testing
