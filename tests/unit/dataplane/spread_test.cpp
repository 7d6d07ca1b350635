// SPDX-License-Identifier: GPL-2.0-or-later
//
// Inner flows of one GRE tunnel over several workers.
#include "dataplane/spread.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/dataplane/packet_path_fixture.hpp"
#include "tests/unit/dataplane/port_packets.hpp"

namespace culvert::testing {
namespace {

using dataplane::kBurstMax;
using dataplane::kSpreadQueueSlots;
using dataplane::SpreadQueue;

TEST(SpreadQueue, GivesWhatItGotInOrder) {
    SpreadQueue queue(2);
    std::vector<rte_mbuf> mbufs(100);
    EXPECT_TRUE(queue.empty());
    for (rte_mbuf& one : mbufs) {
        rte_mbuf* packet = &one;
        ASSERT_EQ(queue.push(0, std::span(&packet, 1)), 1U);
    }
    EXPECT_FALSE(queue.empty());
    std::array<rte_mbuf*, 64> out{};
    ASSERT_EQ(queue.pop(out), 64U);
    EXPECT_EQ(out[0], mbufs.data());
    EXPECT_EQ(out[63], &mbufs[63]);
    ASSERT_EQ(queue.pop(out), 36U);
    EXPECT_EQ(out[35], &mbufs[99]);
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.pop(out), 0U);
}

TEST(SpreadQueue, TakesNoMoreThanItHolds) {
    SpreadQueue queue(2);
    std::vector<rte_mbuf> mbufs(kSpreadQueueSlots + 10);
    std::vector<rte_mbuf*> packets;
    for (rte_mbuf& one : mbufs) {
        packets.push_back(&one);
    }
    EXPECT_EQ(queue.push(1, packets), kSpreadQueueSlots);
    std::vector<rte_mbuf*> out(packets.size());
    EXPECT_EQ(queue.pop(out), kSpreadQueueSlots);
}

TEST(SpreadQueue, FreesWhatNobodyTook) {
    const LeakCheck leak_check;
    SpreadQueue queue(2);
    rte_mbuf* packet = rte_pktmbuf_alloc(packet_pool());
    ASSERT_EQ(queue.push(0, std::span(&packet, 1)), 1U);
}

TEST(SpreadQueue, KeepsTheOrderOfEachOfManyProducers) {
    constexpr std::size_t kEach = 20000;
    SpreadQueue queue(2);
    std::array<std::vector<rte_mbuf>, 2> mbufs{
        std::vector<rte_mbuf>(kEach), std::vector<rte_mbuf>(kEach)};
    const auto produce = [&](std::size_t producer) {
        for (rte_mbuf& one : mbufs[producer]) {
            rte_mbuf* packet = &one;
            while (queue.push(producer, std::span(&packet, 1)) == 0) {
                std::this_thread::yield();
            }
        }
    };
    std::thread first(produce, 0);
    std::thread second(produce, 1);
    std::array<std::size_t, 2> next{};
    std::array<rte_mbuf*, kBurstMax> out{};
    while (next[0] + next[1] < 2 * kEach) {
        const std::size_t count = queue.pop(out);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t producer =
                out[i] >= mbufs[1].data() && out[i] < mbufs[1].data() + kEach ? 1 : 0;
            ASSERT_EQ(out[i], &mbufs[producer][next[producer]]);
            ++next[producer];
        }
        if (count == 0) {
            std::this_thread::yield();
        }
    }
    first.join();
    second.join();
}

/// Two workers; the packets arrive at worker 0, which is `context`.
class SpreadTest : public PacketPath {
protected:
    SpreadTest() {
        for (auto& queue : queues) {
            queue = std::make_unique<SpreadQueue>(2);
        }
        snapshot.ports[kGre].spread = true;
        other->worker = 1;
        other->snapshot = &snapshot;
        other->flows = &flows;
        other->pools = context->pools;
        other->counters = other_counters.get();
        other->upcalls = other_upcalls.get();
        other->tx.resize(dataplane::kPortsMax);
        for (dataplane::Context* one : {context.get(), other.get()}) {
            one->spread = {queues[0].get(), queues[1].get()};
            one->spread_out.resize(2);
        }
        insert_flow(inner_key(kGre), forward(kVif1));
    }

    /// The key of every frame of inner() out of a tunnel.
    static FlowKey inner_key(std::uint16_t tunnel) {
        FlowKey key;
        key.in_port = tunnel;
        key.destination = mac(2);
        key.source = mac(1);
        return key;
    }

    /// An inner frame of one of many UDP flows between the same two MAC addresses.
    static Frame inner(unsigned flow) {
        Frame frame = make_frame(mac(2), mac(1), -1, 60);
        const auto put = [&](std::size_t at, unsigned value) {
            frame[at] = static_cast<std::byte>(value >> 8U);
            frame[at + 1] = static_cast<std::byte>(value & 0xffU);
        };
        put(12, 0x0800);
        put(14, 0x4500);
        put(16, 46);
        put(20, 0);
        put(22, 0x4011);
        put(34, 1000 + flow);
        return frame;
    }

    void receive_flow(unsigned flow) {
        receive(kUplink, {encapsulate(inner(flow), "gre", 7, remote_ip, 0)});
    }

    std::size_t process_other() {
        std::array<rte_mbuf*, kBurstMax> burst{};
        const std::size_t count = queues[1]->pop(burst);
        dataplane::process_spread(*other, std::span(burst).first(count));
        dataplane::flush(*other);
        return count;
    }

    std::array<std::unique_ptr<SpreadQueue>, 2> queues;
    std::unique_ptr<dataplane::WorkerCounters> other_counters =
        std::make_unique<dataplane::WorkerCounters>();
    std::unique_ptr<dataplane::UpcallQueue> other_upcalls =
        std::make_unique<dataplane::UpcallQueue>();
    std::unique_ptr<dataplane::Context> other = std::make_unique<dataplane::Context>();
};

TEST_F(SpreadTest, EachInnerFlowHasItsWorkerAndAllArrive) {
    constexpr unsigned kFlows = 200;
    unsigned handed = 0;
    for (unsigned flow = 0; flow < kFlows; ++flow) {
        std::set<bool> ways;
        for (int packet = 0; packet < 3; ++packet) {
            receive_flow(flow);
            const bool over = process_other() == 1;
            ways.insert(over);
            ASSERT_EQ(devices[kVif1]->take_sent().size(), 1U);
        }
        ASSERT_EQ(ways.size(), 1U) << "a flow has one worker";
        handed += *ways.begin() ? 1U : 0U;
    }
    EXPECT_GT(handed, kFlows / 3);
    EXPECT_LT(handed, kFlows * 2 / 3);
    EXPECT_EQ(context->spread_wake, 2U);
    EXPECT_EQ(counters->ports[kGre].rx_packets.read(), 3 * kFlows) << "counted where they came";
    EXPECT_EQ(other_counters->ports[kGre].rx_packets.read(), 0U);
}

TEST_F(SpreadTest, OtherTunnelsStayWithTheirWorker) {
    insert_flow(inner_key(kVxlan), forward(kVif1));
    for (unsigned flow = 0; flow < 50; ++flow) {
        receive(kUplink, {encapsulate(inner(flow), "vxlan", 100, remote_ip, 4789)});
    }
    EXPECT_EQ(devices[kVif1]->take_sent().size(), 50U);
    EXPECT_TRUE(queues[1]->empty());
}

TEST_F(SpreadTest, AFullQueueIsCountedOnTheTunnel) {
    for (unsigned flow = 0; dropped(DropReason::spread_queue_full, kGre) == 0; flow = 1 - flow) {
        ASSERT_LT(counters->ports[kGre].rx_packets.read(), 4 * kSpreadQueueSlots);
        receive_flow(flow * 7);
        receive_flow(flow * 13 + 1);
        receive_flow(flow * 31 + 2);
        static_cast<void>(devices[kVif1]->take_sent());
    }
    while (process_other() != 0) {
        static_cast<void>(devices[kVif1]->take_sent());
    }
}

TEST_F(SpreadTest, AHandedPacketOfARemovedTunnelIsDropped) {
    unsigned flow = 0;
    for (; queues[1]->empty(); ++flow) {
        receive_flow(flow);
    }
    static_cast<void>(devices[kVif1]->take_sent());
    snapshot.ports[kGre].bridge = dataplane::kPortNone;
    EXPECT_EQ(process_other(), 1U);
    const auto reason = static_cast<std::size_t>(DropReason::port_removed);
    EXPECT_EQ(other_counters->drops[reason][kGre].read(), 1U);
}

}  // namespace
}  // namespace culvert::testing
