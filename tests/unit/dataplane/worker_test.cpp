// SPDX-License-Identifier: GPL-2.0-or-later
//
// Worker threads as the control thread sees them: adopting snapshots, asking, taking answers,
// letting go of devices.

#include "dataplane/worker.hpp"

#include <vector>

#include "tests/unit/dataplane/worker_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::Decision;
using dataplane::FlowKey;
using dataplane::kReturnQueueSlots;
using dataplane::Upcall;
using dataplane::Workers;

class WorkersTest : public WorkerThreads {
protected:
    [[nodiscard]] Decision
    transmit(std::uint16_t port, std::uint32_t number, std::uint64_t version) const {
        Decision decision;
        decision.kind = Decision::Kind::transmit;
        decision.port = port;
        decision.packet = make_packet(2, 1, number);
        decision.version = version;
        return decision;
    }
    [[nodiscard]] std::optional<Workers::Asked> wait_for_upcall() const {
        std::optional<Workers::Asked> asked;
        static_cast<void>(wait_until([&] {
            asked = workers->next_upcall();
            return asked.has_value();
        }));
        return asked;
    }
    /// Collects what `port` sent until there are `count`.
    [[nodiscard]] std::vector<std::uint32_t>
    wait_for_frames(FakePort& port, std::size_t count) const {
        std::vector<std::uint32_t> numbers;
        static_cast<void>(wait_until([&] {
            for (const auto& frame : port.take_sent()) {
                numbers.push_back(number_of(frame));
            }
            return numbers.size() >= count;
        }));
        return numbers;
    }

    std::shared_ptr<FakePort> one = std::make_shared<FakePort>();
    std::shared_ptr<FakePort> two = std::make_shared<FakePort>();
};

TEST_F(WorkersTest, AsksOnceAndForwardsByTheAnswer) {
    start(1, 200);
    publish(1, {{0, one}, {1, two}});
    one->give(make_packet(2, 1, 10));
    one->give(make_packet(2, 1, 11));
    const auto asked = wait_for_upcall();
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->worker, 0U);
    EXPECT_EQ(asked->upcall.kind, Upcall::Kind::miss);
    EXPECT_EQ(asked->upcall.key.in_port, 0);
    EXPECT_EQ(asked->upcall.key.source, numbered_mac(1));
    // Both are held before the answer; one that came later would make a new flow.
    ASSERT_TRUE(wait_until([&] { return workers->counters(0).loop.packets.read() == 2; }));
    pollfd readable{.fd = wake_fd, .events = POLLIN, .revents = 0};
    EXPECT_TRUE(wait_until([&] { return ::poll(&readable, 1, 0) == 1; }));
    workers->send(0, {.slot = asked->upcall.slot, .action = forward_to(1), .version = 1});
    EXPECT_EQ(wait_for_frames(*two, 2), (std::vector<std::uint32_t>{10, 11}));
    EXPECT_FALSE(workers->next_upcall());
}

TEST_F(WorkersTest, AnAnswerWaitsForTheSnapshotItWasMadeOn) {
    start(1, 200);
    const Devices devices{{0, one}, {1, two}};
    publish(1, devices);
    workers->send(0, transmit(1, 7, 2));
    // Rounds of the worker with the first snapshot.
    one->give(make_packet(2, 1, 8));
    ASSERT_TRUE(wait_for_upcall());
    one->give(make_packet(3, 1, 8));
    ASSERT_TRUE(wait_for_upcall());
    EXPECT_TRUE(two->take_sent().empty());
    publish(2, devices);
    EXPECT_EQ(wait_for_frames(*two, 1), (std::vector<std::uint32_t>{7}));
}

TEST_F(WorkersTest, AnswersBeyondTheQueuesCapacityKeepTheirOrderAndNoneIsLost) {
    start(1, 200);
    // Without a snapshot the worker takes nothing, so the queue does fill.
    std::vector<std::uint32_t> expected;
    for (std::uint32_t i = 0; i < 3 * kReturnQueueSlots; ++i) {
        workers->send(0, transmit(1, i, 1));
        expected.push_back(i);
    }
    publish(1, {{0, one}, {1, two}});
    EXPECT_EQ(wait_for_frames(*two, expected.size()), expected);
}

TEST_F(WorkersTest, AnAnswerDoesNotOvertakeKeptOnes) {
    start(1, 200);
    std::vector<std::uint32_t> expected;
    const Devices devices{{0, one}, {1, two}};
    std::uint32_t next = 0;
    const auto send = [&] {
        workers->send(0, transmit(1, next, 1));
        expected.push_back(next++);
    };
    while (next < kReturnQueueSlots + 100) {
        send();
    }
    // The queue has room again while 100 are still kept: nothing has called poll() since.
    workers->publish(make_snapshot(1, devices));
    std::vector<std::uint32_t> numbers;
    while (numbers.empty()) {
        for (const auto& frame : two->take_sent()) {
            numbers.push_back(number_of(frame));
        }
        std::this_thread::yield();
    }
    while (next < kReturnQueueSlots + 600) {
        send();
    }
    const auto rest = wait_for_frames(*two, expected.size() - numbers.size());
    numbers.insert(numbers.end(), rest.begin(), rest.end());
    EXPECT_EQ(numbers, expected);
}

// While it sleeps, its snapshot may be freed and a later one be made at the same address, which the
// allocator likes to do with the two snapshots published here in a row.
TEST_F(WorkersTest, AWorkerThatSleptAdoptsTheNewestSnapshotWhateverItsAddress) {
    start(1, 10000);
    ASSERT_TRUE(flows
                    .insert(
                        {.in_port = 0,
                         .vlan = 0,
                         .destination = numbered_mac(2),
                         .source = numbered_mac(1)},
                        forward_to(1),
                        0,
                        0
                    )
                    .ok);
    std::uint64_t version = 0;
    publish(++version, {{0, one}});
    for (std::uint32_t round = 0; round < 300; ++round) {
        ASSERT_TRUE(wait_for_sleep(0));
        // Port 0 is another device each time: only by this snapshot does the worker read it.
        auto input = std::make_shared<FakePort>();
        auto first = make_snapshot(version + 1, {});
        workers->publish(std::move(first));
        workers->publish(make_snapshot(version + 2, {{0, input}, {1, two}}));
        version += 2;
        input->give(make_packet(2, 1, round));
        ASSERT_EQ(wait_for_frames(*two, 1), (std::vector<std::uint32_t>{round}));
    }
}

TEST_F(WorkersTest, ASleepingWorkerDoesNotKeepARemovedDeviceOpen) {
    start(2, 10000);
    std::uint64_t version = 0;
    for (unsigned round = 0; round < 50; ++round) {
        auto device = std::make_shared<FakePort>();
        const std::weak_ptr<FakePort> watched = device;
        publish(++version, {{0, device}, {1, std::move(device)}});
        ASSERT_TRUE(wait_for_sleep(0));
        ASSERT_TRUE(wait_for_sleep(1));
        publish(++version, {});
        while (workers->retired_snapshots() != 0) {
            workers->poll();
        }
        EXPECT_TRUE(watched.expired()) << "round " << round;
    }
}

TEST_F(WorkersTest, WhatIsHeldOrQueuedAtTheEndIsFreed) {
    start(2, 200);
    publish(1, {{0, one}, {1, two}});
    one->give(make_packet(2, 1, 1));
    ASSERT_TRUE(wait_for_upcall());
    two->give(make_packet(1, 2, 1));
    ASSERT_TRUE(wait_until([&] { return workers->counters(1).loop.upcalls.read() == 1; }));
    for (std::uint32_t i = 0; i < kReturnQueueSlots + 10; ++i) {
        workers->send(0, transmit(1, i, 1000));  // A snapshot that never comes.
    }
    workers.reset();  // The pools check that everything came back.
    EXPECT_TRUE(two->take_sent().empty());
}

TEST_F(WorkersTest, EveryWorkersUpcallsGetTheirTurn) {
    start(2, 200);
    publish(1, {{0, one}, {1, two}});
    for (unsigned i = 0; i < 20; ++i) {
        one->give(make_packet(100 + i, 1, i));
        two->give(make_packet(200 + i, 2, i));
    }
    ASSERT_TRUE(wait_until([&] {
        return workers->counters(0).loop.upcalls.read() == 20 &&
               workers->counters(1).loop.upcalls.read() == 20;
    }));
    for (unsigned i = 0; i < 20; ++i) {
        const auto first = workers->next_upcall();
        const auto second = workers->next_upcall();
        ASSERT_TRUE(first && second);
        EXPECT_NE(first->worker, second->worker);
    }
    EXPECT_FALSE(workers->next_upcall());
}

}  // namespace

}  // namespace culvert::testing
