// SPDX-License-Identifier: GPL-2.0-or-later
//
// Workers that forward and ask while the control thread adds and removes ports without pause, meant
// for ThreadSanitizer and AddressSanitizer: no race, no use of what was freed, no packet or device
// left over.

#include <random>
#include <vector>

#include "tests/unit/dataplane/worker_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::Decision;
using dataplane::FlowAction;
using dataplane::FlowVerdict;
using tunnels::DropReason;

constexpr std::uint16_t kPorts = 8;
constexpr unsigned kAddresses = 64;
constexpr unsigned kRounds = 1500;
constexpr std::uint64_t kUpcallsAtLeast = 500;

class SnapshotStress : public WorkerThreads {
protected:
    /// Adds the port, removes it, or puts another device in its place.
    void change(std::uint16_t index) {
        const bool present = devices.erase(index) != 0;
        if (!present || random() % 2 == 0) {
            devices[index] = std::make_shared<FakePort>();
            known.push_back(devices[index]);
        }
        ++generations[index];
        publish(++version, devices);
    }
    void feed() {
        for (const auto& [index, device] : devices) {
            for (unsigned i = 0; i < 8; ++i) {
                const auto destination = static_cast<unsigned>(random() % kAddresses);
                rte_mbuf* packet = make_packet(destination, 1000U + index, 0);
                if (packet != nullptr) {
                    device->give(packet);
                }
            }
            sent += device->take_sent().size();
        }
    }
    void answer() {
        workers->arm_wake();
        while (const auto asked = workers->next_upcall()) {
            ++answered;
            const auto& key = asked->upcall.key;
            Decision decision;
            decision.slot = asked->upcall.slot;
            decision.version = version;
            // Also to ports that are away or that go away before the answer arrives.
            const auto out = static_cast<std::uint16_t>(random() % kPorts);
            decision.action =
                random() % 4 == 0
                    ? FlowAction{.verdict = FlowVerdict::flood, .reason = DropReason::none}
                    : forward_to(out);
            static_cast<void>(flows.insert(key, decision.action, generations[key.in_port], 0));
            workers->send(asked->worker, decision);
            if (random() % 8 == 0) {
                flows.erase(key);
            }
        }
    }

    std::mt19937 random{7};
    Devices devices;
    std::vector<std::weak_ptr<FakePort>> known;
    std::uint64_t version = 0;
    std::uint64_t answered = 0;
    std::uint64_t sent = 0;
};

TEST_F(SnapshotStress, PortsComeAndGoWhileWorkersForwardAndAsk) {
    start(2, 50);
    for (std::uint16_t index = 0; index < kPorts; ++index) {
        change(index);
    }
    for (unsigned round = 0; round < kRounds || answered < kUpcallsAtLeast || sent == 0; ++round) {
        feed();
        answer();
        // Not the last one: flows in the cache may name any port, as far as the table of ports
        // reaches.
        change(static_cast<std::uint16_t>(random() % (kPorts - 1U)));
        workers->poll();
        if (round % 64 == 0) {
            std::this_thread::yield();
        }
    }
    EXPECT_TRUE(wait_until([&] { return workers->retired_snapshots() == 0; }));
    std::size_t open = 0;
    for (const auto& device : known) {
        open += device.expired() ? 0U : 1U;
    }
    EXPECT_EQ(open, devices.size()) << "a removed device is still open";
    workers.reset();
    devices.clear();
    for (const auto& device : known) {
        EXPECT_TRUE(device.expired());
    }
}

}  // namespace

}  // namespace culvert::testing
