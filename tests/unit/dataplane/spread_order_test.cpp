// SPDX-License-Identifier: GPL-2.0-or-later
//
// Numbered packets of many flows that come in by one queue and are shared out over two workers:
// each flow leaves in order, also while the queue goes from worker to worker. Real threads.

#include <array>
#include <deque>
#include <vector>

#include "tests/unit/dataplane/worker_fixture.hpp"

namespace culvert::testing {

namespace {

constexpr unsigned kFlows = 64;
constexpr std::uint32_t kPacketsPerFlow = 400;
/// Fewer than a queue between workers holds, so that none is dropped.
constexpr std::size_t kInFlightMax = dataplane::kSpreadQueueSlots / 2;
constexpr unsigned kSourceMac = 1000;
constexpr unsigned kDestinationMac = 1;

class SpreadOrder : public WorkerThreads {
protected:
    void start_two_workers() {
        start(2, 200);
        for (unsigned flow = 0; flow < kFlows; ++flow) {
            dataplane::FlowKey key;
            key.in_port = 0;
            key.destination = numbered_mac(kDestinationMac);
            key.source = numbered_mac(kSourceMac + flow);
            ASSERT_TRUE(flows.insert(key, forward_to(1), 0, 0).ok);
        }
    }

    /// Port 0, whose queue `worker` polls (or nobody), is shared out over both.
    void publish_map(std::optional<unsigned> worker) {
        auto snapshot = make_snapshot(++version_, {{0, in}, {1, out}});
        snapshot->ports[0].spread = true;
        snapshot->rx.assign(2, {});
        if (worker) {
            snapshot->rx[*worker].push_back({in, 0, 0});
        }
        workers->publish(std::move(snapshot));
    }

    /// As the control thread does it: nobody polls the queue until the last worker is done with it.
    [[nodiscard]] bool move_queue(unsigned worker) {
        publish_map(std::nullopt);
        const bool moved = wait_until([&] { return workers->retired_snapshots() == 0; }) &&
                           wait_until([&] { return workers->spread_packets() == 0; });
        publish_map(worker);
        return moved;
    }

    void take_sent() {
        for (const auto& frame : out->take_sent()) {
            const unsigned flow = std::to_integer<unsigned>(frame[10]) * 256 +
                                  std::to_integer<unsigned>(frame[11]) - kSourceMac;
            ASSERT_LT(flow, kFlows);
            ASSERT_EQ(number_of(frame), next_[flow]) << "flow " << flow;
            ++next_[flow];
            ++arrived_;
        }
    }

    /// Gives packets of all flows in turn, with a call of `between` after each turn.
    template <class Between>
    void run(const Between& between) {
        std::size_t given = 0;
        for (std::uint32_t number = 0; number < kPacketsPerFlow; ++number) {
            for (unsigned flow = 0; flow < kFlows; ++flow) {
                rte_mbuf* packet = make_packet(kDestinationMac, kSourceMac + flow, number);
                ASSERT_NE(packet, nullptr);
                in->give(packet);
                ++given;
            }
            ASSERT_TRUE(wait_until([&] {
                take_sent();
                return HasFatalFailure() || given - arrived_ <= kInFlightMax;
            }));
            between(number);
            if (HasFatalFailure()) {
                return;
            }
        }
        ASSERT_TRUE(wait_until([&] {
            take_sent();
            return HasFatalFailure() || arrived_ == given;
        }));
    }

    std::shared_ptr<FakePort> in = std::make_shared<FakePort>();
    std::shared_ptr<FakePort> out = std::make_shared<FakePort>();

private:
    std::array<std::uint32_t, kFlows> next_{};
    std::size_t arrived_ = 0;
    std::uint64_t version_ = 0;
};

TEST_F(SpreadOrder, EachFlowLeavesInOrder) {
    start_two_workers();
    publish_map(0);
    run([](std::uint32_t) {});
    EXPECT_EQ(workers->counters(1).loop.packets.read(), 0U) << "it polls nothing";
    EXPECT_GT(workers->counters(1).loop.flow_hits.read(), 0U) << "it has its share";
    EXPECT_GT(workers->counters(0).loop.flow_hits.read(), 0U);
}

TEST_F(SpreadOrder, EachFlowLeavesInOrderWhileTheQueueMoves) {
    start_two_workers();
    publish_map(0);
    unsigned moves = 0;
    run([&](std::uint32_t number) {
        if (number % 10 == 9) {
            ASSERT_TRUE(move_queue(++moves % 2));
        }
    });
    EXPECT_EQ(moves, kPacketsPerFlow / 10);
    EXPECT_GT(workers->counters(0).loop.packets.read(), 0U);
    EXPECT_GT(workers->counters(1).loop.packets.read(), 0U);
}

}  // namespace

}  // namespace culvert::testing
