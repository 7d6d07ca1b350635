// SPDX-License-Identifier: GPL-2.0-or-later
//
// Real worker threads over fake ports, for unit and stress tests. The test's thread is the control
// thread. All ports are in bridge 0.
#pragma once

#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <thread>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/worker.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"
#include "tests/unit/dataplane/fake_port.hpp"
#include "tests/unit/dataplane/locked_pool.hpp"

namespace culvert::testing {

using Devices = std::map<std::uint16_t, std::shared_ptr<FakePort>>;

inline tunnels::MacAddress numbered_mac(unsigned number) {
    return {
        {0x02,
         0,
         0,
         0,
         static_cast<std::uint8_t>(number >> 8U),
         static_cast<std::uint8_t>(number)}};
}

inline dataplane::FlowAction forward_to(std::uint16_t port) {
    return {
        .verdict = dataplane::FlowVerdict::forward,
        .reason = tunnels::DropReason::none,
        .out_port = port};
}

class WorkerThreads : public ::testing::Test {
protected:
    ~WorkerThreads() override {
        workers.reset();
        close(wake_fd);
    }

    void start(unsigned count, std::uint32_t idle_sleep_us) {
        dataplane::WorkerOptions options;
        options.count = count;
        options.idle_sleep_us = idle_sleep_us;
        auto started =
            dataplane::Workers::start(options, flows, {packets.get(), shares.get()}, wake_fd);
        ASSERT_TRUE(started) << started.error();
        workers = std::move(*started);
    }

    /// Generation of a port: 0, unless `generations` says another.
    [[nodiscard]] std::unique_ptr<dataplane::Snapshot>
    make_snapshot(std::uint64_t version, const Devices& devices) const {
        auto snapshot = std::make_unique<dataplane::Snapshot>();
        snapshot->version = version;
        snapshot->bridges.resize(1);
        snapshot->rx.resize(workers->count());
        for (const auto& [index, device] : devices) {
            if (snapshot->ports.size() <= index) {
                snapshot->ports.resize(index + 1U);
            }
            auto& port = snapshot->ports[index];
            port.device = device;
            port.bridge = 0;
            port.up = true;
            const auto found = generations.find(index);
            port.generation = found == generations.end() ? 0 : found->second;
            snapshot->bridges[0].members.push_back(index);
            snapshot->rx[index % workers->count()].push_back({device, index, 0});
        }
        return snapshot;
    }
    void publish(std::uint64_t version, const Devices& devices) {
        workers->publish(make_snapshot(version, devices));
    }

    /// A frame with `number` behind its Ethernet header; nullptr when the pool is empty.
    [[nodiscard]] rte_mbuf*
    make_packet(unsigned destination, unsigned source, std::uint32_t number) const {
        rte_mbuf* packet = rte_pktmbuf_alloc(packets.get());
        if (packet == nullptr) {
            return nullptr;
        }
        char* data = rte_pktmbuf_append(packet, 60);
        std::memset(data, 0, 60);
        std::memcpy(data, numbered_mac(destination).bytes.data(), 6);
        std::memcpy(data + 6, numbered_mac(source).bytes.data(), 6);
        data[12] = static_cast<char>(0x88);
        data[13] = static_cast<char>(0xb5);
        std::memcpy(data + 14, &number, sizeof number);
        return packet;
    }
    [[nodiscard]] static std::uint32_t number_of(const std::vector<std::byte>& frame) {
        std::uint32_t number = 0;
        std::memcpy(&number, frame.data() + 14, sizeof number);
        return number;
    }

    /// Polls until `condition`; false when it did not come about in a time that is an error
    /// anywhere.
    template <class Condition>
    [[nodiscard]] bool wait_until(const Condition& condition) const {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (!condition()) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            workers->poll();
            std::this_thread::yield();
        }
        return true;
    }
    [[nodiscard]] bool wait_for_sleep(unsigned worker) const {
        const auto& sleeps = workers->counters(worker).loop.sleeps;
        const std::uint64_t before = sleeps.read();
        return wait_until([&] { return sleeps.read() > before; });
    }

    LockedPool packets{"locked_packets", 8192, RTE_PKTMBUF_HEADROOM + 256};
    LockedPool shares{"locked_shares", 8192, 0};
    dataplane::FlowCache flows{2048};
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    std::map<std::uint16_t, std::uint32_t> generations;
    std::unique_ptr<dataplane::Workers> workers;
};

}  // namespace culvert::testing
