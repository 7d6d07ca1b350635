// SPDX-License-Identifier: GPL-2.0-or-later
//
// A port whose other side is the test: it hands out packets that the test gave and keeps what was
// sent, as bytes.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "dataplane/port.hpp"

namespace culvert::testing {

class FakePort final : public dataplane::Port {
public:
    explicit FakePort(bool carries_offloads = false) : carries_offloads_(carries_offloads) {}
    ~FakePort() override {
        for (rte_mbuf* packet : waiting_) {
            rte_pktmbuf_free(packet);
        }
    }

    std::size_t receive(unsigned /*queue*/, std::span<rte_mbuf*> burst) noexcept override {
        const std::scoped_lock lock(mutex_);
        std::size_t count = 0;
        while (count < burst.size() && !waiting_.empty()) {
            burst[count++] = waiting_.front();
            waiting_.pop_front();
        }
        return count;
    }

    std::size_t transmit(unsigned /*worker*/, std::span<rte_mbuf*> burst) noexcept override {
        const std::scoped_lock lock(mutex_);
        if (refuse) {
            return 0;
        }
        for (rte_mbuf* packet : burst) {
            std::vector<std::byte> bytes(packet->pkt_len);
            const void* data = rte_pktmbuf_read(packet, 0, packet->pkt_len, bytes.data());
            if (data != bytes.data()) {
                std::memcpy(bytes.data(), data, bytes.size());
            }
            sent_.push_back(std::move(bytes));
            if (dataplane::packet::has_offload(packet)) {
                last_offload = dataplane::packet::offload(packet);
            }
            rte_pktmbuf_free(packet);
        }
        return burst.size();
    }

    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return -1; }
    [[nodiscard]] bool carries_offloads() const noexcept override { return carries_offloads_; }
    [[nodiscard]] dataplane::PortInfo info() const override { return {.driver = "fake"}; }
    [[nodiscard]] dataplane::PortErrors errors() const override { return {}; }

    void give(rte_mbuf* packet) {
        const std::scoped_lock lock(mutex_);
        waiting_.push_back(packet);
    }
    /// What was sent since the last call.
    [[nodiscard]] std::vector<std::vector<std::byte>> take_sent() {
        const std::scoped_lock lock(mutex_);
        return std::exchange(sent_, {});
    }

    std::atomic<bool> refuse{false};
    dataplane::Offload last_offload;  ///< Of the last packet that was sent with one.

private:
    bool carries_offloads_;
    std::mutex mutex_;
    std::deque<rte_mbuf*> waiting_;
    std::vector<std::vector<std::byte>> sent_;
};

}  // namespace culvert::testing
