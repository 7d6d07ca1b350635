// SPDX-License-Identifier: GPL-2.0-or-later
//
// The slow path of a bridge with L3 tunnels: what is routed, and packets whose host is not known
// yet; and what routers of the underlay say. The test plays the workers. Bridge 0 has a host at
// port 0, its local port 1, and tunnels 2 (of bare packets) and 3.

#include <memory>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/slow_path.hpp"
#include "tests/unit/ctl/fake_workers.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakeWorkers;
using culvert::testing::packet_pool;
using dataplane::Decision;
using dataplane::DropReason;
using dataplane::FlowAction;
using dataplane::FlowKey;
using dataplane::FlowVerdict;
using dataplane::Snapshot;
using dataplane::Upcall;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using tunnels::IpAddress;
using tunnels::MacAddress;

constexpr std::uint16_t kHostPort = 0;
constexpr std::uint16_t kLocal = 1;
constexpr std::uint16_t kL3Tunnel = 2;
constexpr std::uint16_t kL2Tunnel = 3;
constexpr MacAddress kGatewayMac{{0x02, 0, 0, 0, 0, 0xee}};
constexpr MacAddress kL3HostMac{{0x02, 0, 0, 0, 0, 1}};

class SlowPathL3 : public ::testing::Test {
protected:
    SlowPathL3() {
        snapshot_.version = 41;
        snapshot_.bridges.resize(2);
        snapshot_.bridges[0].l3 = std::make_shared<dataplane::L3View>();
        snapshot_.bridges[0].local_port = kLocal;
        snapshot_.ports.resize(4);
        for (auto& port : snapshot_.ports) {
            port.bridge = 0;
            port.generation = 7;
        }
        snapshot_.tunnels.resize(2);
        snapshot_.ports[kL3Tunnel].tunnel = 0;
        snapshot_.ports[kL3Tunnel].is_l3 = true;
        snapshot_.ports[kL2Tunnel].tunnel = 1;
        slow_path_->insert_bridge(0, 64, 300);
        slow_path_->set_snapshot(&snapshot_);
        slow_path_->on_unknown_host = [this](std::uint16_t port, const IpAddress& host) {
            unknown_.emplace_back(port, host);
        };
        EXPECT_TRUE(slow_path_->insert_fixed(0, {0, kGatewayMac}, kLocal));
    }
    ~SlowPathL3() override {
        slow_path_.reset();
        workers_.reset();
        EXPECT_EQ(rte_mempool_avail_count(packet_pool()), free_before_) << "a packet buffer leaked";
    }

    FlowAction ask(const FlowKey& key) {
        Upcall upcall;
        upcall.key = key;
        workers_->asked.push_back({0, upcall});
        slow_path_->drain();
        return workers_->sent.back().decision.action;
    }
    static FlowKey to_gateway(std::uint16_t port = kHostPort, std::uint16_t vlan = 0) {
        return {.in_port = port, .vlan = vlan, .destination = kGatewayMac, .source = kL3HostMac};
    }
    /// Gives the slow path a packet for a host that no worker knows.
    rte_mbuf* punt(const IpAddress& host, unsigned worker = 0, std::uint16_t port = kL3Tunnel) {
        Upcall upcall;
        upcall.kind = Upcall::Kind::host;
        upcall.port = port;
        upcall.address = host;
        upcall.packet = rte_pktmbuf_alloc(packet_pool());
        EXPECT_NE(upcall.packet, nullptr);
        workers_->asked.push_back({worker, upcall});
        slow_path_->drain();
        return upcall.packet;
    }
    /// A snapshot whose bridge 0 routes by `view`.
    static Snapshot next_with(const dataplane::L3View& view) {
        Snapshot next;
        next.version = 42;
        next.bridges.resize(1);
        next.bridges[0].l3 = std::make_shared<dataplane::L3View>(view);
        return next;
    }
    [[nodiscard]] std::size_t held() const {
        return free_before_ - rte_mempool_avail_count(packet_pool());
    }
    [[nodiscard]] std::uint64_t dropped(DropReason reason, std::uint16_t port) const {
        return slow_path_->counters().drops[static_cast<std::size_t>(reason)][port].read();
    }

    const IpAddress a_ = *IpAddress::parse("10.0.0.1");
    const IpAddress b_ = *IpAddress::parse("fd10::1");
    unsigned free_before_ = rte_mempool_avail_count(packet_pool());
    Snapshot snapshot_;
    dataplane::FlowCache flows_{1024};
    std::unique_ptr<FakeWorkers> workers_ = std::make_unique<FakeWorkers>();
    std::unique_ptr<SlowPath> slow_path_ = std::make_unique<SlowPath>(*workers_, flows_);
    std::vector<std::pair<std::uint16_t, IpAddress>> unknown_;
};

TEST_F(SlowPathL3, FramesForTheGatewayAreRouted) {
    const FlowAction route{
        .verdict = FlowVerdict::route, .reason = DropReason::none, .out_port = kLocal};
    EXPECT_EQ(ask(to_gateway()), route);
    EXPECT_EQ(ask(to_gateway(kL2Tunnel)), route);
    EXPECT_EQ(ask(to_gateway(kL3Tunnel)), route);
    snapshot_.bridges[0].split_horizon = true;
    EXPECT_EQ(ask(to_gateway(kL2Tunnel)), route) << "the gateway is no tunnel";
}

TEST_F(SlowPathL3, WithoutL3TunnelsOrInAnotherVlanTheyAreForwarded) {
    const FlowAction forward{
        .verdict = FlowVerdict::forward, .reason = DropReason::none, .out_port = kLocal};
    EXPECT_TRUE(slow_path_->insert_fixed(0, {20, kGatewayMac}, kLocal));
    EXPECT_EQ(ask(to_gateway(kHostPort, 20)), forward);
    snapshot_.bridges[0].l3 = nullptr;
    EXPECT_EQ(ask(to_gateway()), forward);
}

TEST_F(SlowPathL3, TheAddressesOfAnL3TunnelsFramesAreNotLearned) {
    FlowKey key = to_gateway(kL3Tunnel);
    key.source = {{0x02, 0, 0, 0, 0, 0}};
    static_cast<void>(ask(key));
    EXPECT_EQ(slow_path_->locate(0, {0, key.source}), std::nullopt);
    key.source = kGatewayMac;
    key.destination = kL3HostMac;
    static_cast<void>(ask(key));
    EXPECT_EQ(slow_path_->locate(0, {0, kGatewayMac}), kLocal);
    static_cast<void>(ask(to_gateway()));
    EXPECT_EQ(slow_path_->locate(0, {0, kL3HostMac}), kHostPort) << "of other ports they are";
}

TEST_F(SlowPathL3, PacketsWaitForTheirHostAndGoBackInOrder) {
    std::vector<rte_mbuf*> given{punt(a_, 0), punt(a_, 1), punt(a_, 0)};
    rte_mbuf* other = punt(b_, 1);
    EXPECT_THAT(
        unknown_,
        ElementsAre(
            Pair(kL3Tunnel, a_), Pair(kL3Tunnel, a_), Pair(kL3Tunnel, a_), Pair(kL3Tunnel, b_)
        )
    );
    EXPECT_THAT(workers_->sent, IsEmpty());
    slow_path_->release_hosts(next_with({}));
    EXPECT_THAT(workers_->sent, IsEmpty());

    dataplane::L3View view;
    view.hosts.insert(a_, kL3HostMac);
    slow_path_->release_hosts(next_with(view));
    ASSERT_EQ(workers_->sent.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
        const auto& [worker, decision] = workers_->sent[i];
        EXPECT_EQ(worker, i % 2);
        EXPECT_EQ(decision.kind, Decision::Kind::deliver);
        EXPECT_EQ(decision.port, kL3Tunnel);
        EXPECT_EQ(decision.version, 42U);
        EXPECT_EQ(decision.packet, given[i]);
    }
    // The gateway may have got the address meanwhile.
    view.gateway.insert(b_);
    slow_path_->release_hosts(next_with(view));
    ASSERT_EQ(workers_->sent.size(), 4U);
    EXPECT_EQ(workers_->sent.back().decision.packet, other);
    slow_path_->release_hosts(next_with(view));
    EXPECT_EQ(workers_->sent.size(), 4U);
}

TEST_F(SlowPathL3, AHostOfAnotherBridgeIsNoAnswer) {
    static_cast<void>(punt(a_));
    Snapshot next = next_with({});
    next.bridges.resize(2);
    dataplane::L3View view;
    view.hosts.insert(a_, kL3HostMac);
    next.bridges[1].l3 = std::make_shared<dataplane::L3View>(view);
    slow_path_->release_hosts(next);
    slow_path_->release_hosts(Snapshot{});
    EXPECT_THAT(workers_->sent, IsEmpty());
    EXPECT_EQ(held(), 1U);
}

TEST_F(SlowPathL3, AnAbandonedHostsPacketsAreCounted) {
    static_cast<void>(punt(a_));
    static_cast<void>(punt(a_));
    static_cast<void>(punt(b_));
    slow_path_->abandon_host(1, a_);
    EXPECT_EQ(held(), 3U);
    slow_path_->abandon_host(0, a_);
    EXPECT_EQ(dropped(DropReason::l3_no_host, kL3Tunnel), 2U);
    EXPECT_EQ(held(), 1U);
}

TEST_F(SlowPathL3, AnAnswerMayAbandonThePacketThatAsked) {
    slow_path_->on_unknown_host = [this](std::uint16_t, const IpAddress& host) {
        slow_path_->abandon_host(0, host);
    };
    static_cast<void>(punt(a_));
    EXPECT_EQ(dropped(DropReason::l3_no_host, kL3Tunnel), 1U);
    EXPECT_EQ(held(), 0U);
}

TEST_F(SlowPathL3, PacketsForHostsTimeOut) {
    static_cast<void>(punt(a_));
    static_cast<void>(punt(b_));
    while (held() != 0) {
        slow_path_->tick(10);
    }
    EXPECT_EQ(dropped(DropReason::l3_no_host, kL3Tunnel), 2U);
    dataplane::L3View view;
    view.hosts.insert(a_, kL3HostMac);
    slow_path_->release_hosts(next_with(view));
    EXPECT_THAT(workers_->sent, IsEmpty());
}

TEST_F(SlowPathL3, HoldsABoundedNumberOfPacketsForOneHost) {
    for (std::size_t i = 0; i <= dataplane::kNeighbourQueueMax; ++i) {
        static_cast<void>(punt(a_));
    }
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, kL3Tunnel), 1U);
    static_cast<void>(punt(b_));
    EXPECT_EQ(dropped(DropReason::neighbour_queue_full, kL3Tunnel), 1U);
    EXPECT_EQ(held(), dataplane::kNeighbourQueueMax + 1);
}

TEST_F(SlowPathL3, PacketsOfPortsThatAreNoL3TunnelAreDropped) {
    static_cast<void>(punt(a_, 0, kL2Tunnel));
    static_cast<void>(punt(a_, 0, 900));
    EXPECT_EQ(dropped(DropReason::port_removed, kL2Tunnel), 1U);
    EXPECT_EQ(dropped(DropReason::port_removed, 900), 1U);
    EXPECT_THAT(unknown_, IsEmpty());
}

TEST_F(SlowPathL3, WhatRoutersSayIsPassedOn) {
    Upcall upcall;
    upcall.kind = Upcall::Kind::path_mtu;
    upcall.address = b_;
    upcall.mtu = 1400;
    workers_->asked.push_back({1, upcall});
    slow_path_->drain();  // Nobody listens.
    std::vector<std::pair<IpAddress, std::uint32_t>> said;
    slow_path_->on_path_mtu = [&](const IpAddress& remote, std::uint32_t mtu) {
        said.emplace_back(remote, mtu);
    };
    workers_->asked.push_back({1, upcall});
    slow_path_->drain();
    EXPECT_THAT(said, ElementsAre(Pair(b_, 1400U)));
    EXPECT_THAT(workers_->sent, IsEmpty());
}

}  // namespace

}  // namespace culvert::ctl
