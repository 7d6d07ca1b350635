// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that have left by a patch port and not yet arrived at its peer, in order. One worker,
// which empties it before it takes another burst.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <rte_mbuf.h>

#include "dataplane/limits.hpp"

namespace culvert::dataplane {

namespace packet {

/// Patch ports that the packet has crossed, 0-15. The count stands in four ol_flags bits that no
/// device here is asked to set (TX_VLAN to TX_OUTER_IPV6), and goes where the packet goes, into
/// replicas too.
inline constexpr unsigned kPatchHopsShift = 57;
inline constexpr std::uint64_t kPatchHop = std::uint64_t{1} << kPatchHopsShift;
static_assert(kPatchHop == RTE_MBUF_F_TX_VLAN && kPatchHop << 3U == RTE_MBUF_F_TX_OUTER_IPV6);
[[nodiscard]] inline unsigned patch_hops(const rte_mbuf* m) noexcept {
    return static_cast<unsigned>(m->ol_flags >> kPatchHopsShift) & 0xfU;
}
/// Precondition: fewer than 15.
inline void add_patch_hop(rte_mbuf* m) noexcept {
    m->ol_flags += kPatchHop;
}

}  // namespace packet

class PatchQueue {
public:
    /// False when it is full; the packet then still is the caller's.
    [[nodiscard]] bool push(rte_mbuf* packet, std::uint16_t port) noexcept {
        if (end_ - begin_ == kPatchQueueSlots) {
            return false;
        }
        slots_[end_++ % kPatchQueueSlots] = {packet, port};
        return true;
    }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }

    /// Takes packets from the front that all arrive at one port, which `port` is set to; at least
    /// one. Precondition: it is not empty.
    [[nodiscard]] std::size_t pop(std::span<rte_mbuf*> burst, std::uint16_t& port) noexcept {
        port = slots_[begin_ % kPatchQueueSlots].port;
        std::size_t count = 0;
        while (count < burst.size() && begin_ != end_ &&
               slots_[begin_ % kPatchQueueSlots].port == port) {
            burst[count++] = slots_[begin_++ % kPatchQueueSlots].packet;
        }
        return count;
    }

    bool is_draining = false;  ///< The worker is about to empty it.

private:
    struct Slot {
        rte_mbuf* packet = nullptr;
        std::uint16_t port = kPortNone;
    };
    static_assert((kPatchQueueSlots & (kPatchQueueSlots - 1)) == 0);

    std::uint32_t begin_ = 0;  ///< Both run over.
    std::uint32_t end_ = 0;
    std::array<Slot, kPatchQueueSlots> slots_;
};

}  // namespace culvert::dataplane
