// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stages of encapsulation, in order: 1. next hop known, 2. what the inner packet says, 3. does
// it fit, 4. finish, 5. prepend the prebuilt headers and patch them, 6. checksums, 7. leave
// (departures.cpp): seal, cut, queue on the underlay's port. See encap.hpp.

#include "dataplane/encap.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "dataplane/clock.hpp"
#include "dataplane/departures.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/packet_marks.hpp"
#include "dataplane/rx.hpp"
#include "dataplane/tx.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/icmp_error.hpp"
#include "tunnels/outer_patch.hpp"
#include "tunnels/protocols.hpp"
#include "tunnels/tcp_mss.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kIpv6MtuMin = 1280;              // RFC 8200 section 5.
constexpr std::uint32_t kClampBytes = 14 + 8 + 60 + 60;  // To the end of the longest TCP header.

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

/// Completes the checksum over tunnel header and payload (GRE, RFC 2784 section 2.5).
void write_tunnel_checksum(const tunnels::EncapTemplate& header, rte_mbuf* packet) noexcept {
    const std::uint64_t sum =
        packet::sum(packet, header.tunnel_offset, packet::length(packet) - header.tunnel_offset);
    const auto checksum = static_cast<std::uint16_t>(~tunnels::checksum_fold(sum));
    std::memcpy(
        packet::head(packet).data() + header.tunnel_offset + header.checksum_offset,
        &checksum,
        sizeof checksum
    );
}

/// What few tunnels have in their headers beside patch_outer()'s: fields of the tunnel header, and
/// checksums over the payload.
void complete_rest(
    const TunnelView& tunnel, rte_mbuf* packet, const tunnels::Inner& inner
) noexcept {
    const tunnels::EncapTemplate& header = tunnel.header;
    const auto out = packet::head(packet).first(header.length);
    if (header.patched) {
        const bool sequenced = header.sequenced && tunnel.sequence;
        tunnels::patch_tunnel(
            header,
            out,
            {.is_v6 = inner.version == 6,
             .sequence =
                 sequenced ? tunnel.sequence->next_sent.fetch_add(1, std::memory_order_relaxed) : 0,
             .entropy = inner.hash,
             .group_policy = packet::group_policy(packet)}
        );
    }
    if (header.udp_checksum) {
        write_udp_checksum(header, packet);
    } else if (header.checksum_offset != 0) {
        write_tunnel_checksum(header, packet);
    }
}

/// Writes the tunnel's headers into the front of `packet`, which has `bytes` with them, by what the
/// inner packet and its flow say.
inline void write_headers(
    Context& context,
    const TunnelView& tunnel,
    const tunnels::OuterWriter& writer,
    rte_mbuf* packet,
    std::size_t bytes,
    const tunnels::Inner& inner
) noexcept {
    const tunnels::EncapTemplate& header = tunnel.header;
    const TunnelTransmit& rules = tunnel.transmit;
    const unsigned dscp = rules.inherit_tos ? inner.tos & ~unsigned{tunnels::kEcnMask} : header.tos;
    packet::set_encapsulated(packet);
    auto* out = rte_pktmbuf_mtod(packet, std::byte*);
    writer.copy(out);
    writer.patch(
        out,
        {.frame_bytes = bytes,
         .entropy = inner.hash,
         .ip_id = context.next_ip_id++,
         .tos = static_cast<std::uint8_t>(dscp | tunnels::ecn_encap(rules.ecn, inner.tos)),
         .ttl = rules.inherit_ttl && inner.version != 0 ? inner.ttl : header.ttl}
    );
    if (header.patched || header.udp_checksum || header.checksum_offset != 0) [[unlikely]] {
        complete_rest(tunnel, packet, inner);
    }
}

/// Puts the headers of a resolved tunnel in front of a finished packet. What is larger than the
/// underlay's MTU is cut behind them, with DF or without: the caller has decided that.
void encap_one(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    rte_mbuf* packet,
    const tunnels::Inner& inner,
    Departures& departures
) noexcept {
    if (tunnel.transmit.payload == tunnels::Payload::ip && !packet::pull(packet, inner.ip_offset)) {
        context.drop(packet, DropReason::l3_not_ip, port);
        return;
    }
    if (packet::length(packet) + tunnel.overhead() > kOuterPacketBytesMax) {
        context.drop(packet, DropReason::tunnel_mtu_exceeded, port);
        return;
    }
    rte_mbuf* made = packet::push(packet, tunnel.header.length, context.pools.packets);
    if (made == nullptr) {
        context.drop(packet, DropReason::no_buffer, port);
        return;
    }
    const tunnels::OuterWriter writer(tunnel.header);
    const std::uint32_t bytes = packet::length(made);
    write_headers(context, tunnel, writer, made, bytes, inner);
    departures.add(made, bytes - tunnel.header.ip_offset <= tunnel.underlay_mtu);
}

/// Gives the packet to the slow path, which resolves the next hop and sends it back.
void punt_unresolved(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    Upcall upcall;
    upcall.kind = Upcall::Kind::resolve;
    upcall.port = port;
    upcall.packet = packet;
    if (!context.ask(upcall)) {
        context.drop(packet, DropReason::upcall_queue_full, port);
    }
}

/// A frame of which at least a segment does not fit the tunnel: `mtu` bytes from its IP header on
/// would.
void treat_oversize(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    rte_mbuf* frame,
    const tunnels::Inner& inner,
    std::uint32_t mtu
) noexcept {
    const Oversize policy = tunnel.transmit.oversize;
    const std::uint32_t bytes = largest_frame_bytes(frame) - inner.ip_offset;
    Departures departures(context, tunnel, port);
    const auto send = [&](rte_mbuf* packet) {
        encap_one(context, tunnel, port, packet, inner, departures);
    };
    // Nobody has to send IPv6 packets smaller than this: the underlay's fragments carry them.
    const bool below_minimum = inner.version == 6 && bytes <= kIpv6MtuMin;
    if (policy == Oversize::fragment_outer || (below_minimum && policy != Oversize::drop)) {
        finish(context, port, frame, send);
        return;
    }
    if (policy == Oversize::drop || inner.version == 0) {
        context.drop(frame, DropReason::tunnel_mtu_exceeded, port);
        return;
    }
    if (!inner.dont_fragment) {
        finish(context, port, frame, [&](rte_mbuf* packet) {
            send_fragments(context, port, packet, inner.ip_offset, mtu, false, send);
        });
        return;
    }
    const PortView& view = context.snapshot->ports[port];
    const Reporter reporter{
        .bridge = view.bridge,
        .untagged_vlan = view.vlan.untagged_vlan,
        .router = tunnel.transmit.payload == tunnels::Payload::ip};
    const bool told = report(
        context,
        frame,
        inner,
        tunnels::IcmpError::too_big,
        inner.version == 6 ? std::max(mtu, kIpv6MtuMin) : mtu,
        reporter
    );
    context.drop(
        frame, told ? DropReason::too_big_reported : DropReason::tunnel_mtu_exceeded, port
    );
}

/// Cuts what follows the IP packet in a frame, which Ethernet's smallest size may demand and a
/// tunnel of bare IP packets must not carry. False when it is no IP packet.
bool trim_padding(rte_mbuf* frame, const tunnels::Inner& inner) noexcept {
    if (inner.version == 0) {
        return false;
    }
    const auto ip = packet::head(static_cast<const rte_mbuf*>(frame)).subspan(inner.ip_offset);
    const bool is_v4 = inner.version == 4;
    const std::size_t at = is_v4 ? offsetof(tunnels::Ipv4Header, total_length)
                                 : offsetof(tunnels::Ipv6Header, payload_length);
    const std::uint32_t bytes =
        tunnels::load<tunnels::Be16>(ip.data() + at).host() + (is_v4 ? 0U : 40U);
    const unsigned version = std::to_integer<unsigned>(ip.front()) >> 4U;
    if (version != inner.version || bytes < (is_v4 ? 20U : 40U) ||
        bytes > packet::length(frame) - inner.ip_offset) {
        return false;
    }
    packet::trim(frame, inner.ip_offset + bytes);
    return true;
}

unsigned common_bits(const IpAddress& a, const IpAddress& b) noexcept {
    for (std::size_t i = 0; i < a.bytes.size(); ++i) {
        const auto differing = static_cast<std::uint8_t>(a.bytes[i] ^ b.bytes[i]);
        if (differing != 0) {
            return static_cast<unsigned>(i * 8) +
                   static_cast<unsigned>(std::countl_zero(differing));
        }
    }
    return static_cast<unsigned>(a.bytes.size() * 8);
}

/// Whether headers can be written in front of the frame as it is, and nothing is left undone in it.
bool takes_headers(const rte_mbuf* frame, std::uint32_t bytes) noexcept {
    return packet::is_plain(frame) && rte_pktmbuf_headroom(frame) >= bytes;
}

/// The gateway's address in the subnet of the sender of `ip` (RFC 1812 section 4.3.2.4); a gateway
/// has several, and a link-local one at least beside each IPv6 address.
std::optional<IpAddress>
gateway_towards(const L3View& l3, std::span<const std::byte> ip, std::uint8_t version) noexcept {
    const bool is_v4 = version == 4;
    const auto sender =
        is_v4 ? IpAddress::from_v4(ip.data() + 12) : IpAddress::from_v6(ip.data() + 8);
    std::optional<IpAddress> best = is_v4 ? l3.gateway_v4 : l3.gateway_v6;
    for (const IpAddress& candidate : l3.gateway) {
        if (candidate.is_v4() == is_v4 &&
            (!best || common_bits(candidate, sender) > common_bits(*best, sender))) {
            best = candidate;
        }
    }
    return best;
}

}  // namespace

std::uint32_t inner_mtu(
    const TunnelView& tunnel, const tunnels::Inner& inner, tunnels::Payload payload
) noexcept {
    const std::uint32_t in_front =
        tunnel.overhead() + (payload == tunnels::Payload::ethernet ? inner.ip_offset : 0U);
    return tunnel.underlay_mtu > in_front ? tunnel.underlay_mtu - in_front : 0;
}

void clamp(
    Context& context, rte_mbuf*& packet, const tunnels::Inner& inner, std::uint32_t mtu
) noexcept {
    if (inner.version == 0) {
        return;
    }
    const std::uint32_t wanted = std::min(packet::length(packet), kClampBytes);
    rte_mbuf* made = packet::make_writable(packet, wanted, context.pools.packets);
    if (made == nullptr) {
        return;  // It goes on as it is; what its peer then sends too large is treated as oversized.
    }
    packet = made;
    static_cast<void>(tunnels::clamp_mss(
        packet::head(packet).subspan(inner.ip_offset), mtu, packet::has_offload(packet)
    ));
}

bool report(
    Context& context,
    const rte_mbuf* frame,
    const tunnels::Inner& inner,
    tunnels::IcmpError error,
    std::uint32_t mtu,
    const Reporter& reporter
) noexcept {
    const std::uint16_t in_port = packet::ingress(frame);
    const PortView* view = context.snapshot->port(in_port);
    if (view == nullptr || view->bridge != reporter.bridge) {
        return false;
    }
    const L3View* l3 = context.snapshot->bridges[reporter.bridge].l3.get();
    tunnels::IcmpErrorRequest request{
        .error = error, .ip_offset = inner.ip_offset, .mtu = mtu, .source = std::nullopt};
    const auto head = packet::head(frame);
    if (reporter.router && l3 != nullptr && inner.version != 0) {
        request.source = gateway_towards(*l3, head.subspan(inner.ip_offset), inner.version);
    }
    std::array<std::byte, tunnels::kIcmpErrorFrameBytesMax> bytes;
    const std::size_t length = tunnels::write_icmp_error(head, request, bytes);
    // Only what may be answered counts.
    if (length == 0 || !context.icmp_limiter.take(clock_ms())) {
        return false;
    }
    rte_mbuf* reply =
        packet::create(frame, static_cast<std::uint32_t>(length), context.pools.packets);
    if (reply == nullptr) {
        return false;
    }
    std::memcpy(packet::head(reply).data(), bytes.data(), length);
    const auto at = [&](std::size_t offset) { return std::to_integer<unsigned>(head[offset]); };
    const bool tagged = inner.ip_offset > kEthernetBytes && at(12) == 0x81 && at(13) == 0;
    const std::uint16_t tag =
        tagged ? static_cast<std::uint16_t>((at(14) << 8U | at(15)) & 0xfffU) : kVlanNone;
    output(context, in_port, reply, tagged, tag != kVlanNone ? tag : reporter.untagged_vlan);
    return true;
}

void encap(Context& context, std::uint16_t port, rte_mbuf* frame) noexcept {
    const PortView& view = context.snapshot->ports[port];
    const TunnelView& tunnel = context.snapshot->tunnels[view.tunnel];
    if (!tunnel.resolved) {
        if (tunnel.unresolved != DropReason::none) {
            context.drop(frame, tunnel.unresolved, port);
        } else {
            punt_unresolved(context, port, frame);
        }
        return;
    }
    // Not so when a tag was written in front of bytes that replicas share.
    if (!make_head_contiguous(context, frame)) {
        context.drop(frame, DropReason::no_buffer, port);
        return;
    }
    const tunnels::Inner inner =
        tunnels::inspect_inner(packet::head(std::as_const(frame)), tunnels::Payload::ethernet);
    const bool bare = tunnel.transmit.payload == tunnels::Payload::ip;
    if (bare && !trim_padding(frame, inner)) {
        context.drop(frame, DropReason::l3_not_ip, port);
        return;
    }
    const std::uint32_t mtu = inner_mtu(tunnel, inner, tunnel.transmit.payload);
    if (tunnel.transmit.oversize == Oversize::clamp_mss) {
        clamp(context, frame, inner, mtu);
    }
    if (largest_frame_bytes(frame) > mtu + inner.ip_offset) [[unlikely]] {
        treat_oversize(context, tunnel, port, frame, inner, mtu);
        return;
    }
    Departures departures(context, tunnel, port);
    finish(context, port, frame, [&](rte_mbuf* finished) {
        encap_one(context, tunnel, port, finished, inner, departures);
    });
}

void encap_burst(Context& context, std::uint16_t port, std::span<rte_mbuf* const> frames) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const TunnelView& tunnel = snapshot.tunnels[snapshot.ports[port].tunnel];
    const PortView* out = tunnel.resolved ? snapshot.port(tunnel.out_port) : nullptr;
    const bool open =
        out != nullptr && out->sends() && tunnel.transmit.oversize != Oversize::clamp_mss;
    const bool bare = tunnel.transmit.payload == tunnels::Payload::ip;
    const tunnels::EncapTemplate& header = tunnel.header;
    const std::uint32_t limit =
        std::min<std::uint32_t>(tunnel.underlay_mtu, kOuterPacketBytesMax) + header.ip_offset;
    const tunnels::OuterWriter writer(header);
    const std::uint32_t in_front = header.length + (tunnel.esp ? seal_front_bytes(tunnel) : 0);
    std::array<rte_mbuf*, kBurstMax> ready;  // In front of what is queued next.
    std::size_t waiting = 0;
    std::uint64_t bytes = 0;
    std::uint64_t count = 0;
    Unsealed unsealed;
    const auto encap_alone = [&](rte_mbuf* frame) noexcept {
        if (waiting != 0) {
            leave(context, tunnel, port, std::span(ready).first(waiting), true, unsealed);
            waiting = 0;
        }
        encap(context, port, frame);
    };
    for (rte_mbuf* frame : frames) {
        if (!open || !takes_headers(frame, in_front)) [[unlikely]] {
            encap_alone(frame);
            continue;
        }
        const auto send = [&](const tunnels::Inner& inner) __attribute__((always_inline)) {
            if (bare && !trim_padding(frame, inner)) {
                encap_alone(frame);
                return;
            }
            const std::uint32_t stripped = bare ? inner.ip_offset : 0;
            const std::uint32_t made = frame->data_len - stripped + header.length;
            if (made > limit) [[unlikely]] {
                encap_alone(frame);
                return;
            }
            bytes += made;
            ++count;
            packet::push_head(frame, header.length - stripped);
            write_headers(context, tunnel, writer, frame, made, inner);
            ready[waiting++] = frame;
        };
        // Twice, as the compiler would else have the two results meet in memory.
        const auto head = packet::head(std::as_const(frame));
        tunnels::Inner inner;
        if (tunnels::inspect_plain(head, tunnels::Payload::ethernet, inner)) [[likely]] {
            send(inner);
        } else {
            send(tunnels::inspect_inner(head, tunnels::Payload::ethernet));
        }
    }
    if (waiting != 0) {
        leave(context, tunnel, port, std::span(ready).first(waiting), true, unsealed);
    }
    PortCounters& counters = context.counters->ports[port];
    counters.tx_packets.add(count - unsealed.packets);
    counters.tx_bytes.add(bytes - count * header.length - unsealed.bytes);
}

}  // namespace culvert::dataplane
