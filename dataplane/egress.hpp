// SPDX-License-Identifier: GPL-2.0-or-later
//
// What every way out shares: the VLAN tag, finishing what the sender's kernel left undone, cutting,
// and the queues in front of devices. Worker threads only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "dataplane/context.hpp"
#include "dataplane/fragment.hpp"
#include "dataplane/offload.hpp"

namespace culvert::dataplane {

/// Adds, or takes off, the VLAN tag. Returns nullptr (the packet still the caller's) when no buffer
/// is free.
[[nodiscard]] rte_mbuf*
retag(Context& context, rte_mbuf* packet, bool tagged, bool wanted, std::uint16_t vlan) noexcept;

/// Sends what is queued on one device.
void flush_port(Context& context, std::uint16_t port) noexcept;

/// Queues a finished packet on a device; a full queue is sent at once. Precondition: the port has a
/// device.
inline void enqueue(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    TxQueue& queue = context.tx[port];
    queue.packets[queue.count++] = packet;
    if (queue.count == 1) {
        context.tx_ports.push_back(port);
    } else if (queue.count == kBurstMax) {
        flush_port(context, port);
    }
}

/// enqueue() of several packets, in their order.
void enqueue_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> packets
) noexcept;

/// The same to a device or a bond.
void enqueue_burst_to(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> packets
) noexcept;

/// Sends what is queued on every device.
void flush(Context& context) noexcept;

[[nodiscard]] inline bool is_super_frame(const rte_mbuf* packet) noexcept {
    return packet::has_offload(packet) && packet::offload(packet).gso_type != GsoType::none;
}

/// Bytes of the largest frame that the receiver will see: of a super-frame, one segment.
[[nodiscard]] inline std::uint32_t largest_frame_bytes(const rte_mbuf* packet) noexcept {
    if (!is_super_frame(packet)) [[likely]] {
        return packet::length(packet);
    }
    const Offload offload = packet::offload(packet);
    return std::uint32_t{offload.header_bytes} + offload.gso_bytes;
}

/// Calls `send` with the packet once nothing is left undone in it: the packet itself or each of its
/// segments.
template <class Send>
void finish(Context& context, std::uint16_t port, rte_mbuf* packet, const Send& send) noexcept {
    if (!packet::has_offload(packet)) [[likely]] {
        send(packet);
        return;
    }
    if (!is_super_frame(packet)) {
        rte_mbuf* finished = finish_checksum(packet, context.pools.packets);
        if (finished == nullptr) {
            context.drop(packet, DropReason::no_buffer, port);
            return;
        }
        send(finished);
        return;
    }
    Segmenter segments(packet, context.pools.packets, context.pools.shares);
    while (rte_mbuf* segment = segments.next()) {
        send(segment);
    }
    if (segments.failed()) {
        context.counters->drop(DropReason::no_buffer, port);
    }
}

/// Cuts the IP packet at `ip_offset` and calls `send` with each fragment; drops what cannot be cut.
template <class Send>
void send_fragments(
    Context& context,
    std::uint16_t port,
    rte_mbuf* packet,
    std::uint16_t ip_offset,
    std::uint32_t mtu,
    bool ignore_df,
    const Send& send
) noexcept {
    FragmentList pieces;
    const FragmentRequest request{
        .ip_offset = ip_offset,
        .mtu = static_cast<std::uint16_t>(std::min(mtu, 65535U)),
        .identification = context.next_fragment_id++,
        .ignore_df = ignore_df};
    if (!fragment_packet(packet, request, context.pools.packets, context.pools.shares, pieces)) {
        context.drop(packet, DropReason::tunnel_mtu_exceeded, port);
        return;
    }
    for (rte_mbuf* piece : pieces.span()) {
        send(piece);
    }
}

}  // namespace culvert::dataplane
