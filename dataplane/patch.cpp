// SPDX-License-Identifier: GPL-2.0-or-later
//
// See patch.hpp. What is pending in a packet (checksum, super-frame) stays pending, and bytes that
// replicas share stay shared: the peer's side reads them, and writes to copies only, as it does for
// every packet that is not its own.

#include "dataplane/patch.hpp"

namespace culvert::dataplane {

static_assert(kPatchHopsMax < 15);

void cross(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    if (packet::patch_hops(packet) >= kPatchHopsMax) {
        context.drop(packet, DropReason::patch_loop, port);
        return;
    }
    const std::uint32_t bytes = packet::length(packet);
    if (!context.patched.push(packet, context.snapshot->ports[port].patch)) {
        context.drop(packet, DropReason::patch_queue_full, port);
        return;
    }
    packet::add_patch_hop(packet);
    PortCounters& counters = context.counters->ports[port];
    counters.tx_packets.add(1);
    counters.tx_bytes.add(bytes);
}

}  // namespace culvert::dataplane
