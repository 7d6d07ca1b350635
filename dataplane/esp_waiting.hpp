// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP packets whose key may be about to arrive: an IKE daemon's peer may use a new SA a little
// before we have heard of it, and rekeying is to lose no packet. Bounded in number and time. One
// worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <rte_mbuf.h>

#include "dataplane/limits.hpp"
#include "tunnels/address.hpp"

namespace culvert::dataplane {

struct EspWaiter {
    rte_mbuf* packet = nullptr;  ///< As it came in.
    tunnels::IpAddress source;
    tunnels::IpAddress destination;
    std::uint64_t until_ms = 0;
    std::uint32_t spi = 0;
    std::uint16_t port = kPortNone;  ///< By which it came.
};

class EspWaiting {
public:
    EspWaiting() = default;
    EspWaiting(const EspWaiting&) = delete;
    EspWaiting& operator=(const EspWaiting&) = delete;
    ~EspWaiting() {
        for (const EspWaiter& waiter : std::span(waiters_).first(count_)) {
            rte_pktmbuf_free(waiter.packet);
        }
    }

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    /// Precondition: not empty.
    [[nodiscard]] bool is_due(std::uint64_t now_ms) const noexcept {
        return waiters_[0].until_ms <= now_ms;
    }
    /// Takes the packet; false when there is no room, and it still is the caller's.
    [[nodiscard]] bool add(const EspWaiter& waiter) noexcept {
        if (count_ == waiters_.size()) {
            return false;
        }
        waiters_[count_++] = waiter;
        return true;
    }
    /// Gives those of whom `ends` says so to `take`, in the order in which they came; what `take`
    /// adds stays.
    template <class Ends, class Take>
    void take_if(const Ends& ends, const Take& take) noexcept {
        const std::size_t before = count_;
        std::size_t kept = 0;
        std::array<EspWaiter, kEspWaitingMax> taken;
        std::size_t taken_count = 0;
        for (std::size_t i = 0; i < before; ++i) {
            if (ends(waiters_[i])) {
                taken[taken_count++] = waiters_[i];
            } else {
                waiters_[kept++] = waiters_[i];
            }
        }
        count_ = kept;
        for (const EspWaiter& waiter : std::span(taken).first(taken_count)) {
            take(waiter);
        }
    }

private:
    std::array<EspWaiter, kEspWaitingMax> waiters_{};  ///< By until_ms.
    std::size_t count_ = 0;
};

}  // namespace culvert::dataplane
