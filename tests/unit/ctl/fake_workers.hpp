// SPDX-License-Identifier: GPL-2.0-or-later
//
// Workers without threads: the test asks in their place, and what was answered stays here in order.
// Frees the packets of answers when it goes. Test's thread only.
#pragma once

#include <deque>
#include <memory>
#include <optional>
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
    [[nodiscard]] std::optional<Asked> next_upcall() override {
        if (asked.empty()) {
            return std::nullopt;
        }
        const Asked next = asked.front();
        asked.pop_front();
        return next;
    }
    void arm_wake() override { ++armed; }
    void send(unsigned worker, const dataplane::Decision& decision) override {
        sent.push_back({worker, decision});
    }
    void poll() override {}
    [[nodiscard]] std::size_t spread_packets() const override { return 0; }
    [[nodiscard]] std::size_t retired_snapshots() const override { return 0; }

    std::deque<Asked> asked;
    std::vector<Sent> sent;
    unsigned armed = 0;

private:
    std::unique_ptr<dataplane::WorkerCounters> counters_;
    std::unique_ptr<const dataplane::Snapshot> snapshot_;
};

}  // namespace culvert::testing
