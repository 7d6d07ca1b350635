// SPDX-License-Identifier: GPL-2.0-or-later
//
// What of a snapshot's parts is more than data.

#include "dataplane/snapshot.hpp"

namespace culvert::dataplane {

bool TunnelSequence::advance(std::uint32_t received) noexcept {
    std::uint64_t last = last_received.load(std::memory_order_relaxed);
    do {
        const auto ahead = static_cast<std::int32_t>(received - static_cast<std::uint32_t>(last));
        if (last != kNothing && ahead <= 0) {
            return false;
        }
    } while (!last_received.compare_exchange_weak(last, received, std::memory_order_relaxed));
    return true;
}

}  // namespace culvert::dataplane
