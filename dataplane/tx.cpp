// SPDX-License-Identifier: GPL-2.0-or-later
//
// The transmit stages, in order: VLAN tag as the egress port wants it, then either the device
// (finish what it cannot carry, check the MTU, queue) or the tunnel (finish, prepend the prebuilt
// headers, patch, queue on the underlay's port). Worker threads only.

#include "dataplane/tx.hpp"

#include <array>
#include <cstring>

#include "dataplane/offload.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kMacsBytes = 12;
constexpr std::uint32_t kVlanTagBytes = 4;
constexpr unsigned kTransmitTries =
    8;  // A device that takes nothing this often loses the rest of the burst.

/// Adds, or takes off, the VLAN tag. Returns nullptr (the packet still the caller's) when no buffer
/// is free.
rte_mbuf*
retag(Context& context, rte_mbuf* packet, bool tagged, bool wanted, std::uint16_t vlan) noexcept {
    if (tagged == wanted) [[likely]] {
        return packet;
    }
    std::array<std::byte, kMacsBytes + kVlanTagBytes> header{};
    std::memcpy(header.data(), packet::head(packet).data(), kMacsBytes);
    header[12] = std::byte{0x81};
    header[14] = static_cast<std::byte>(vlan >> 8U);
    header[15] = static_cast<std::byte>(vlan & 0xffU);
    const std::uint32_t strip = tagged ? kMacsBytes + kVlanTagBytes : kMacsBytes;
    const std::uint32_t write = wanted ? kMacsBytes + kVlanTagBytes : kMacsBytes;
    if (!packet::pull(packet, strip)) {
        return nullptr;
    }
    rte_mbuf* made = packet::push(packet, write, context.pools.packets);
    if (made != nullptr) {
        std::memcpy(packet::head(made).data(), header.data(), write);
    }
    return made;
}

bool is_super_frame(const rte_mbuf* packet) noexcept {
    return packet::has_offload(packet) && packet::offload(packet).gso_type != GsoType::none;
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

void enqueue(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept;

/// Bytes of the largest frame that the receiver will see: of a super-frame, one segment.
std::uint32_t largest_frame_bytes(const rte_mbuf* packet) noexcept {
    if (!is_super_frame(packet)) [[likely]] {
        return packet::length(packet);
    }
    const Offload offload = packet::offload(packet);
    return std::uint32_t{offload.header_bytes} + offload.gso_bytes;
}

/// Queues on a device after the checks that depend on it.
void queue_on_device(
    Context& context, std::uint16_t port, rte_mbuf* packet, std::uint32_t link_bytes
) noexcept {
    const PortView& view = context.snapshot->ports[port];
    if (view.mtu != 0 && largest_frame_bytes(packet) > view.mtu + link_bytes) {
        context.drop(packet, DropReason::port_mtu_exceeded, port);
        return;
    }
    enqueue(context, port, packet);
}

void flush_port(Context& context, std::uint16_t port) noexcept {
    TxQueue& queue = context.tx[port];
    std::array<std::uint32_t, kBurstMax> bytes{};
    for (std::size_t i = 0; i < queue.count; ++i) {
        bytes[i] = packet::length(queue.packets[i]);
    }
    Port& device = *context.snapshot->ports[port].device;
    std::size_t sent = 0;
    for (unsigned i = 0; i < kTransmitTries && sent < queue.count; ++i) {
        sent += device.transmit(
            context.worker, std::span(queue.packets).subspan(sent, queue.count - sent)
        );
    }
    std::uint64_t sent_bytes = 0;
    for (std::size_t i = 0; i < sent; ++i) {
        sent_bytes += bytes[i];
    }
    context.counters->ports[port].tx_packets.add(sent);
    context.counters->ports[port].tx_bytes.add(sent_bytes);
    for (std::size_t i = sent; i < queue.count; ++i) {
        context.drop(queue.packets[i], DropReason::tx_failed, port);
    }
    queue.count = 0;
}

void enqueue(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    TxQueue& queue = context.tx[port];
    if (queue.count == 0) {
        context.tx_ports.push_back(port);
    }
    queue.packets[queue.count++] = packet;
    if (queue.count == kBurstMax) {
        flush_port(context, port);
    }
}

/// Completes the outer UDP checksum of an encapsulated packet (RFC 768; 0 is sent as 0xffff).
void write_udp_checksum(const tunnels::EncapTemplate& header, rte_mbuf* packet) noexcept {
    const auto head = packet::head(packet);
    const std::uint32_t udp_bytes = packet::length(packet) - header.udp_offset;
    const std::byte* ip = head.data() + header.ip_offset;
    const auto source = header.is_v4 ? IpAddress::from_v4(ip + 12) : IpAddress::from_v6(ip + 8);
    const auto destination =
        header.is_v4 ? IpAddress::from_v4(ip + 16) : IpAddress::from_v6(ip + 24);
    const std::uint64_t sum = tunnels::checksum_sum(
        tunnels::pseudo_header_sum(source, destination, tunnels::kIpProtocolUdp, udp_bytes),
        packet::sum(packet, header.udp_offset, udp_bytes)
    );
    auto checksum = static_cast<std::uint16_t>(~tunnels::checksum_fold(sum));
    if (checksum == 0) {
        checksum = 0xffff;
    }
    std::memcpy(head.data() + header.udp_offset + 6, &checksum, sizeof checksum);
}

/// Sends an encapsulated packet on the underlay: to the next hop's port, or to all while that port
/// is not known.
void transmit_underlay(
    Context& context, const TunnelView& tunnel, std::uint16_t port, rte_mbuf* packet
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    if (tunnel.out_port != kPortNone) [[likely]] {
        const PortView& view = snapshot.ports[tunnel.out_port];
        if (!view.device || !view.up) {
            context.drop(packet, DropReason::port_down, port);
            return;
        }
        enqueue(context, tunnel.out_port, packet);
        return;
    }
    for (const std::uint16_t member : snapshot.bridges[tunnel.out_bridge].members) {
        const PortView& view = snapshot.ports[member];
        if (!view.device || !view.up || !view.vlan.carries(tunnel.out_vlan)) {
            continue;
        }
        rte_mbuf* replica = packet::share(packet, context.pools.shares);
        if (replica == nullptr) {
            context.counters->drop(DropReason::no_buffer, port);
            break;
        }
        // The template is untagged here: tag each replica as its port wants it.
        rte_mbuf* made =
            retag(context, replica, false, view.vlan.tags(tunnel.out_vlan), tunnel.out_vlan);
        if (made == nullptr) {
            context.drop(replica, DropReason::no_buffer, port);
            continue;
        }
        enqueue(context, member, made);
    }
    rte_pktmbuf_free(packet);
}

void encap_one(
    Context& context, const TunnelView& tunnel, std::uint16_t port, rte_mbuf* packet
) noexcept {
    const tunnels::EncapTemplate& header = tunnel.header;
    const std::uint32_t frame_bytes = packet::length(packet) + header.length;
    if (frame_bytes - header.ip_offset > tunnel.underlay_mtu) {
        context.drop(packet, DropReason::tunnel_mtu_exceeded, port);
        return;
    }
    const std::uint32_t entropy = tunnels::inner_flow_hash(packet::head(std::as_const(packet)));
    const std::uint32_t inner_bytes = packet::length(packet);
    rte_mbuf* made = packet::push(packet, header.length, context.pools.packets);
    if (made == nullptr) {
        context.drop(packet, DropReason::no_buffer, port);
        return;
    }
    const auto out = packet::head(made);
    std::memcpy(out.data(), header.bytes.data(), header.length);
    tunnels::patch_outer(
        header, out.first(header.length), frame_bytes, entropy, context.next_ip_id++
    );
    if (header.udp_checksum) {
        write_udp_checksum(header, made);
    }
    PortCounters& counters = context.counters->ports[port];
    counters.tx_packets.add(1);
    counters.tx_bytes.add(inner_bytes);
    transmit_underlay(context, tunnel, port, made);
}

/// Gives the packet to the slow path, which resolves the next hop and sends it back.
void punt_unresolved(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    Upcall upcall;
    upcall.kind = Upcall::Kind::resolve;
    upcall.port = port;
    upcall.packet = packet;
    if (!context.upcalls->push(upcall)) {
        context.drop(packet, DropReason::upcall_queue_full, port);
        return;
    }
    context.upcall_sent = true;
    context.counters->loop.upcalls.add(1);
}

}  // namespace

void encap(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    const PortView& view = context.snapshot->ports[port];
    const TunnelView& tunnel = context.snapshot->tunnels[view.tunnel];
    if (!tunnel.resolved) {
        if (tunnel.unresolved != DropReason::none) {
            context.drop(packet, tunnel.unresolved, port);
        } else {
            punt_unresolved(context, port, packet);
        }
        return;
    }
    finish(context, port, packet, [&](rte_mbuf* finished) {
        encap_one(context, tunnel, port, finished);
    });
}

void transmit(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    const PortView* view = context.snapshot->port(port);
    if (view == nullptr || !view->device) {
        context.drop(packet, DropReason::port_removed, port);
        return;
    }
    enqueue(context, port, packet);
}

void output(
    Context& context, std::uint16_t port, rte_mbuf* packet, bool tagged, std::uint16_t vlan
) noexcept {
    const PortView& view = context.snapshot->ports[port];
    if (!view.is_tunnel() && (!view.device || !view.up)) {
        context.drop(packet, DropReason::port_down, port);
        return;
    }
    const bool tags = view.vlan.tags(vlan);
    rte_mbuf* frame = retag(context, packet, tagged, tags, vlan);
    if (frame == nullptr) {
        context.drop(packet, DropReason::no_buffer, port);
        return;
    }
    if (view.is_tunnel()) {
        encap(context, port, frame);
        return;
    }
    const std::uint32_t link_bytes = kEthernetBytes + (tags ? kVlanTagBytes : 0);
    if (view.carries_offloads) {
        queue_on_device(context, port, frame, link_bytes);
        return;
    }
    finish(context, port, frame, [&](rte_mbuf* finished) {
        queue_on_device(context, port, finished, link_bytes);
    });
}

namespace {

/// Fills context.targets with the ports a frame is flooded to.
void choose_targets(Context& context, std::uint16_t in_port, std::uint16_t vlan) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const PortView& in = snapshot.ports[in_port];
    const BridgeView& bridge = snapshot.bridges[in.bridge];
    context.targets.clear();
    for (const std::uint16_t member : bridge.members) {
        const PortView& view = snapshot.ports[member];
        if (member == in_port || !view.vlan.carries(vlan) || (!view.is_tunnel() && !view.up) ||
            (bridge.split_horizon && in.is_tunnel() && view.is_tunnel())) {
            continue;
        }
        context.targets.push_back(member);
    }
}

void flood_finished(Context& context, rte_mbuf* packet, bool tagged, std::uint16_t vlan) noexcept {
    const std::size_t last = context.targets.size() - 1;
    for (std::size_t i = 0; i < last; ++i) {
        rte_mbuf* replica = packet::share(packet, context.pools.shares);
        if (replica == nullptr) {
            context.counters->drop(DropReason::no_buffer, context.targets[i]);
            continue;
        }
        output(context, context.targets[i], replica, tagged, vlan);
    }
    output(context, context.targets[last], packet, tagged, vlan);
}

}  // namespace

void flood(
    Context& context, std::uint16_t in_port, rte_mbuf* packet, bool tagged, std::uint16_t vlan
) noexcept {
    choose_targets(context, in_port, vlan);
    if (context.targets.empty()) {
        context.drop(packet, DropReason::no_destination, in_port);
        return;
    }
    // Finishing writes, and replicas share bytes: what some target cannot carry is finished once,
    // before they are made.
    bool all_carry = true;
    for (const std::uint16_t target : context.targets) {
        all_carry = all_carry && context.snapshot->ports[target].carries_offloads;
    }
    if (all_carry) {
        flood_finished(context, packet, tagged, vlan);
        return;
    }
    finish(context, in_port, packet, [&](rte_mbuf* finished) {
        flood_finished(context, finished, tagged, vlan);
    });
}

void flush(Context& context) noexcept {
    for (const std::uint16_t port : context.tx_ports) {
        if (context.tx[port].count != 0) {
            flush_port(context, port);
        }
    }
    context.tx_ports.clear();
}

}  // namespace culvert::dataplane
