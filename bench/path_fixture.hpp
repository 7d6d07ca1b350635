// SPDX-License-Identifier: GPL-2.0-or-later
//
// A worker's context without threads or devices, to run stages of the packet path. Bridge 0 is the
// underlay: an uplink and the local endpoint of the tunnels. Bridge 1 is the overlay: two ports of
// virtual machines and a tunnel of each protocol. What is sent ends in a sink that costs nothing.
// Main thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include <rte_mbuf.h>

#include "bench/flow_set.hpp"
#include "bench/frames.hpp"
#include "dataplane/context.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::bench {

inline constexpr std::uint16_t kUplink = 0;
inline constexpr std::uint16_t kFirstTunnel = 3;  // Behind kFlowIngress and kFlowEgress.

/// Bursts that are prepared together. What is touched of so few packets stays in the first-level
/// cache, so that figures do not depend on where else the packets would come from.
inline constexpr std::size_t kStageBursts = 2;
inline constexpr std::size_t kStagePackets = kStageBursts * dataplane::kBurstMax;

/// What the floors copy of a header: a constant, so that the copy is inlined, and no less than a
/// header over IPv4 has.
inline constexpr std::size_t kFloorCopyBytes = 64;

/// What the floors do instead of encap.
inline void prepend_copy(rte_mbuf* packet, const tunnels::EncapTemplate& header) noexcept {
    std::byte* frame = rte_pktmbuf_mtod(packet, std::byte*);
    std::memcpy(frame - kFloorCopyBytes, header.bytes.data(), kFloorCopyBytes);
    ::rte_pktmbuf_prepend(packet, header.length);
}

/// Takes every packet and leaves it to its owner, who uses it again.
class SinkPort final : public dataplane::Port {
public:
    std::size_t receive(unsigned /*queue*/, std::span<rte_mbuf*> /*burst*/) noexcept override {
        return 0;
    }
    std::size_t transmit(unsigned /*worker*/, std::span<rte_mbuf*> burst) noexcept override {
        taken_ += burst.size();
        return burst.size();
    }
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return -1; }
    [[nodiscard]] bool carries_offloads() const noexcept override { return false; }
    [[nodiscard]] dataplane::PortInfo info() const override { return {.driver = "sink"}; }
    [[nodiscard]] dataplane::PortErrors errors() const override { return {}; }

    [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

private:
    std::size_t taken_ = 0;
};

/// kStagePackets packets that can be put back to what they were.
class Packets {
public:
    /// Packet i is a copy of `frames[i % frames.size()]`.
    explicit Packets(const std::vector<Frame>& frames);
    ~Packets();
    Packets(const Packets&) = delete;
    Packets& operator=(const Packets&) = delete;

    /// Undoes encap and decap: fields of the mbuf and bytes.
    void reset() noexcept;
    /// Puts the addresses of the next keys of `ring` into the packets.
    void address(KeyRing& ring) noexcept;

    [[nodiscard]] std::span<rte_mbuf* const> all() const noexcept { return packets_; }
    [[nodiscard]] std::span<rte_mbuf* const> burst(std::size_t number) const noexcept {
        return all().subspan(number * dataplane::kBurstMax, dataplane::kBurstMax);
    }

private:
    std::vector<rte_mbuf*> packets_;
    std::vector<Frame> frames_;
};

class PathFixture {
public:
    explicit PathFixture(const dataplane::FlowCache& flows);

    [[nodiscard]] dataplane::Context& context() noexcept { return *context_; }
    /// The port of the tunnel of the protocol at `index`.
    [[nodiscard]] static std::uint16_t tunnel_port(std::uint8_t index) noexcept {
        return static_cast<std::uint16_t>(kFirstTunnel + index);
    }
    /// Headers by which the remote end sends to us.
    [[nodiscard]] static tunnels::EncapTemplate remote_template(std::uint8_t index) {
        return tunnel_template(index, underlay_v4(2), underlay_v4(1));
    }
    [[nodiscard]] const tunnels::EncapTemplate& local_template(std::uint8_t index) const noexcept {
        return snapshot_.tunnels[index].header;
    }
    [[nodiscard]] SinkPort& sink() noexcept { return *sink_; }
    /// For benches that change it before they begin.
    [[nodiscard]] dataplane::Snapshot& snapshot() noexcept { return snapshot_; }

private:
    void add_ports();
    void add_tunnels();

    std::shared_ptr<SinkPort> sink_ = std::make_shared<SinkPort>();
    dataplane::Snapshot snapshot_;
    std::unique_ptr<dataplane::WorkerCounters> counters_;
    std::unique_ptr<dataplane::UpcallQueue> upcalls_;
    std::unique_ptr<dataplane::Context> context_;
};

}  // namespace culvert::bench
