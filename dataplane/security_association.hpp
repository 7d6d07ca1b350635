// SPDX-License-Identifier: GPL-2.0-or-later
//
// The two directions of security associations (RFC 4301 section 4.1) as workers use them. Made by
// the control thread; they outlive snapshots, so that sequence numbers and replay windows go on
// over a change of configuration. Every worker may use one at the same time; what is written is
// written once for a run of packets, not for each.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tunnels/address.hpp"
#include "tunnels/esp/esp.hpp"
#include "tunnels/esp/replay_window.hpp"

namespace culvert::dataplane {

/// What both ends of an SA agree on.
struct SaParameters {
    std::uint32_t id = 0;  ///< Of the process, never 0 and never used twice.
    std::uint32_t spi = 0;
    tunnels::IpAddress source;  ///< Of the ESP packets.
    tunnels::IpAddress destination;
    bool tunnel_mode = false;  ///< The whole IP packet is inside, else what is behind its header.
    bool extended = false;     ///< 64-bit sequence numbers.
    std::uint16_t udp_source = 0;  ///< RFC 3948: ESP in UDP; 0: ESP is on IP.
    std::uint16_t udp_destination = 0;
};

class OutboundSa {
public:
    OutboundSa(
        const SaParameters& parameters,
        tunnels::EspAlgorithm algorithm,
        const tunnels::Secret& key,
        std::uint64_t next_sequence
    );

    [[nodiscard]] const SaParameters& parameters() const noexcept { return parameters_; }
    [[nodiscard]] const tunnels::EspKey& key() const noexcept { return key_; }

    /// Takes up to `count` sequence numbers that follow each other; how many there are, the first
    /// in `first`. Each number is given out once. 0: the limit is reached.
    [[nodiscard]] std::uint32_t take(std::uint32_t count, std::uint64_t& first) noexcept;
    /// Numbers below `end` may be given out. Control thread; it wrote down before that they are.
    void allow_below(std::uint64_t end) noexcept { end_.store(end, std::memory_order_release); }
    [[nodiscard]] std::uint64_t next() const noexcept {
        return next_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t end() const noexcept {
        return end_.load(std::memory_order_relaxed);
    }

    /// Of ESP packets from their IP header on; added to once for each run.
    std::atomic<std::uint64_t> packets{0};
    std::atomic<std::uint64_t> bytes{0};

private:
    SaParameters parameters_;
    tunnels::EspKey key_;
    alignas(64) std::atomic<std::uint64_t> next_;
    std::atomic<std::uint64_t> end_;
};

/// What an inbound SA did not let in, by reason; also counted as drops of the port.
struct SaRefusals {
    std::atomic<std::uint64_t> replayed{0};
    std::atomic<std::uint64_t> late{0};
    std::atomic<std::uint64_t> not_authentic{0};
    std::atomic<std::uint64_t> malformed{0};  ///< Lengths or padding.
};

class InboundSa {
public:
    /// `highest`: no sequence number up to it is taken any more.
    InboundSa(
        const SaParameters& parameters,
        tunnels::EspAlgorithm algorithm,
        const tunnels::Secret& key,
        std::uint32_t window_packets,
        std::uint64_t highest = 0
    );

    [[nodiscard]] const SaParameters& parameters() const noexcept { return parameters_; }
    [[nodiscard]] const tunnels::EspKey& key() const noexcept { return key_; }

    /// Any worker: what each of the received numbers means, and whether it is worth to open the
    /// packet. One lock for all of them.
    struct Judged {
        std::uint32_t low = 0;
        std::uint64_t sequence = 0;
        tunnels::ReplayVerdict verdict = tunnels::ReplayVerdict::zero;
    };
    void judge(std::span<Judged> received) noexcept;
    /// Any worker: notes authentic packets; sets the verdicts anew.
    void accept(std::span<Judged> received) noexcept;

    [[nodiscard]] std::uint64_t highest() const noexcept;  ///< Number received.

    std::atomic<std::uint64_t> packets{0};  ///< As OutboundSa's, of those that were let in.
    std::atomic<std::uint64_t> bytes{0};
    SaRefusals refusals;

private:
    SaParameters parameters_;
    tunnels::EspKey key_;
    alignas(64) mutable std::atomic_flag lock_{};  ///< Spins.
    tunnels::ReplayWindow window_;
};

/// What a tunnel's encryption is at the time: a tunnel that has one neither sends nor accepts a
/// clear packet.
struct EspPolicy {
    std::shared_ptr<OutboundSa> out;     ///< Null: there is no key yet, or none any more.
    std::vector<std::uint32_t> accepts;  ///< Ids of inbound SAs.
};

}  // namespace culvert::dataplane
