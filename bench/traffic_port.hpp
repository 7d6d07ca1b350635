// SPDX-License-Identifier: GPL-2.0-or-later
//
// A device that makes its own traffic: frames of 64 bytes between MAC addresses that a sequence
// names, as many a second as asked or as many as the worker takes. What is sent to it is freed and
// counted. The sequence and the pace belong to the worker that polls it; the rate may be set by any
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "bench/frames.hpp"
#include "dataplane/port.hpp"
#include "tunnels/address.hpp"

namespace culvert::bench {

/// Which addresses stand in the n-th frame.
struct Sequence {
    enum class Kind : std::uint8_t {
        pairs,         ///< Every pair of `sources` x `destinations`, in an order without locality.
        destinations,  ///< One source, and a destination that was never seen.
        sources,       ///< One destination, and a source that was never seen.
    };
    Kind kind = Kind::pairs;
    std::uint8_t group = 0;  ///< Addresses of different groups differ.
    std::uint32_t sources = 1;
    std::uint32_t destinations = 1;
};

/// Address `number` of a group; `side` tells sources from destinations.
[[nodiscard]] inline tunnels::MacAddress
numbered_mac(std::uint8_t group, std::uint8_t side, std::uint32_t number) noexcept {
    return {
        {static_cast<std::uint8_t>(side << 4U | 0x2U),
         group,
         static_cast<std::uint8_t>(number >> 24U),
         static_cast<std::uint8_t>(number >> 16U),
         static_cast<std::uint8_t>(number >> 8U),
         static_cast<std::uint8_t>(number)}};
}
inline constexpr std::uint8_t kSourceSide = 0;
inline constexpr std::uint8_t kDestinationSide = 1;

class TrafficPort final : public dataplane::Port {
public:
    static constexpr std::uint64_t kUnpaced = ~std::uint64_t{0};

    TrafficPort(const dataplane::PacketPools& pools, const Sequence& sequence)
        : pool_(pools.packets), sequence_(sequence) {
        const Frame frame = inner_frame(0);
        std::memcpy(template_.data(), frame.data(), template_.size());
        if (rte_pktmbuf_alloc_bulk(pool_, ring_.data(), kRing) != 0) {
            throw std::runtime_error("The pool of the benches has too few packets.");
        }
        // A prime: each pair comes once a turn.
        constexpr std::uint64_t kStride = 2654435761U;
        pairs_ = std::uint64_t{sequence.sources} * sequence.destinations;
        stride_ = kStride % pairs_;
    }

    ~TrafficPort() override { rte_pktmbuf_free_bulk(ring_.data(), kRing); }
    TrafficPort(const TrafficPort&) = delete;
    TrafficPort& operator=(const TrafficPort&) = delete;

    /// Frames a second from now on.
    void set_rate(std::uint64_t per_second) noexcept { rate_.store(per_second); }

    std::size_t receive(unsigned /*queue*/, std::span<rte_mbuf*> burst) noexcept override {
        const std::size_t count = due(burst.size());
        if (count == 0 ||
            rte_pktmbuf_alloc_bulk(pool_, burst.data(), static_cast<unsigned>(count)) != 0) {
            return 0;
        }
        // What the driver allocates goes to the end of its ring, and what arrived is at the front.
        for (rte_mbuf*& packet : burst.first(count)) {
            std::swap(packet, ring_[ring_at_]);
            ring_at_ = (ring_at_ + 1) % ring_.size();
            write(packet);
        }
        return count;
    }
    std::size_t transmit(unsigned /*worker*/, std::span<rte_mbuf*> burst) noexcept override {
        rte_pktmbuf_free_bulk(burst.data(), static_cast<unsigned>(burst.size()));
        return burst.size();
    }
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return -1; }
    [[nodiscard]] bool carries_offloads() const noexcept override { return false; }
    [[nodiscard]] dataplane::PortInfo info() const override { return {.driver = "traffic"}; }
    [[nodiscard]] dataplane::PortErrors errors() const override { return {}; }

private:
    // A worker that falls behind does not get everything at once: a device's ring is no longer.
    static constexpr std::uint64_t kBacklogMax = 512;

    [[nodiscard]] std::size_t due(std::size_t most) noexcept {
        const std::uint64_t rate = rate_.load(std::memory_order_relaxed);
        if (rate == kUnpaced || rate == 0) {
            paced_rate_ = 0;
            return rate == 0 ? 0 : most;
        }
        const std::uint64_t now = rte_rdtsc();
        if (rate != paced_rate_) {
            paced_rate_ = rate;
            period_ = rte_get_tsc_hz() / rate;
            next_ = now;
        }
        if (now < next_) {
            return 0;
        }
        next_ = std::max(next_, now - std::min(now, kBacklogMax * period_));
        const std::size_t count = std::min<std::uint64_t>(most, (now - next_) / period_ + 1);
        next_ += count * period_;
        return count;
    }
    void write(rte_mbuf* packet) noexcept {
        auto* frame = rte_pktmbuf_mtod(packet, std::byte*);
        std::memcpy(frame, template_.data(), template_.size());
        std::uint32_t source = 0;
        std::uint32_t destination = 0;
        switch (sequence_.kind) {
        case Sequence::Kind::pairs: {
            at_ += stride_;
            at_ -= at_ < pairs_ ? 0 : pairs_;
            source = static_cast<std::uint32_t>(at_ / sequence_.destinations);
            destination =
                static_cast<std::uint32_t>(at_ - std::uint64_t{source} * sequence_.destinations);
            break;
        }
        case Sequence::Kind::destinations:
            destination = static_cast<std::uint32_t>(++at_) * 2654435761U;
            break;
        case Sequence::Kind::sources:
            source = static_cast<std::uint32_t>(++at_) * 2654435761U;
            break;
        }
        const auto to = numbered_mac(sequence_.group, kDestinationSide, destination);
        const auto from = numbered_mac(sequence_.group, kSourceSide, source);
        std::memcpy(frame, to.bytes.data(), 6);
        std::memcpy(frame + 6, from.bytes.data(), 6);
        packet->data_len = kInnerBytes;
        packet->pkt_len = kInnerBytes;
    }

    // Packets that a device has to write to: as with a NIC, the next one is not one that was sent
    // just now, and not in the nearest cache.
    static constexpr std::size_t kRing = 512;

    rte_mempool* pool_;
    std::array<rte_mbuf*, kRing> ring_{};
    std::size_t ring_at_ = 0;
    Sequence sequence_;
    std::array<std::byte, kInnerBytes> template_{};
    std::atomic<std::uint64_t> rate_{0};
    std::uint64_t paced_rate_ = 0;
    std::uint64_t period_ = 0;
    std::uint64_t next_ = 0;
    std::uint64_t at_ = 0;
    std::uint64_t pairs_ = 1;
    std::uint64_t stride_ = 0;
};

}  // namespace culvert::bench
