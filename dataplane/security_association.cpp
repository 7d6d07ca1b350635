// SPDX-License-Identifier: GPL-2.0-or-later
//
// What workers share of a security association: sequence numbers given out, replay windows. See
// security_association.hpp.

#include "dataplane/security_association.hpp"

#include <algorithm>

#include <rte_pause.h>

namespace culvert::dataplane {

namespace {

/// The numbers of an SA without extended ones end here (RFC 4303 section 3.3.3).
constexpr std::uint64_t kShortSequenceEnd = std::uint64_t{1} << 32U;

/// Held for some dozen packets' worth of window, never over anything that waits.
class Spin {
public:
    explicit Spin(std::atomic_flag& flag) noexcept : flag_(flag) {
        while (flag_.test_and_set(std::memory_order_acquire)) {
            while (flag_.test(std::memory_order_relaxed)) {
                rte_pause();
            }
        }
    }
    ~Spin() { flag_.clear(std::memory_order_release); }
    Spin(const Spin&) = delete;
    Spin& operator=(const Spin&) = delete;

private:
    std::atomic_flag& flag_;
};

}  // namespace

OutboundSa::OutboundSa(
    const SaParameters& parameters,
    tunnels::EspAlgorithm algorithm,
    const tunnels::Secret& key,
    std::uint64_t next_sequence
)
    : parameters_(parameters), key_(algorithm, key), next_(next_sequence), end_(next_sequence) {}

std::uint32_t OutboundSa::take(std::uint32_t count, std::uint64_t& first) noexcept {
    std::uint64_t end = end_.load(std::memory_order_acquire);
    if (!parameters_.extended) {
        end = std::min(end, kShortSequenceEnd);
    }
    std::uint64_t at = next_.load(std::memory_order_relaxed);
    std::uint64_t taken = 0;
    do {
        if (at >= end) {
            return 0;
        }
        taken = std::min<std::uint64_t>(count, end - at);
    } while (!next_.compare_exchange_weak(at, at + taken, std::memory_order_relaxed));
    first = at;
    return static_cast<std::uint32_t>(taken);
}

InboundSa::InboundSa(
    const SaParameters& parameters,
    tunnels::EspAlgorithm algorithm,
    const tunnels::Secret& key,
    std::uint32_t window_packets,
    std::uint64_t highest
)
    : parameters_(parameters), key_(algorithm, key),
      window_(window_packets, parameters.extended, highest) {}

void InboundSa::judge(std::span<Judged> received) noexcept {
    const Spin held(lock_);
    for (Judged& packet : received) {
        packet.sequence = window_.infer(packet.low);
        packet.verdict = window_.judge(packet.sequence);
    }
}

void InboundSa::accept(std::span<Judged> received) noexcept {
    const Spin held(lock_);
    for (Judged& packet : received) {
        packet.verdict = window_.accept(packet.sequence);
    }
}

std::uint64_t InboundSa::highest() const noexcept {
    const Spin held(lock_);
    return window_.highest();
}

}  // namespace culvert::dataplane
