// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stages of decapsulation, in order: 1. outer headers, 2. fragments, 3. ESP, after which it
// begins anew, 4. listener and local address, 5. tunnel header, 6. checksums, 7. peer, 8. the
// host's firewall, 9. what the tunnel admits, 10. strip, 11. ECN. A packet that the firewall does
// not let in changes no state: it is asked before a sequence number is noted or a peer is learnt.
// See decap.hpp.

#include "dataplane/decap.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <rte_cycles.h>

#include "dataplane/clock.hpp"
#include "dataplane/deliver.hpp"
#include "dataplane/encap.hpp"
#include "dataplane/esp_open.hpp"
#include "dataplane/fragment.hpp"
#include "dataplane/host_firewall.hpp"
#include "dataplane/offload.hpp"
#include "dataplane/packet_marks.hpp"
#include "dataplane/route.hpp"
#include "dataplane/tx.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/inner.hpp"
#include "tunnels/ip_packet.hpp"
#include "tunnels/protocols.hpp"
#include "tunnels/too_big.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint8_t kIpProtocolIcmp = 1;
constexpr std::uint8_t kIpProtocolIcmpv6 = 58;
constexpr std::uint8_t kIpProtocolFragment = 44;  // The fragment header of IPv6 (RFC 8200 4.5).

/// Whether a packet to `address` is for this host. Packets of one peer, which come in runs, say so
/// by the memo.
bool is_local(const Snapshot& snapshot, const PeerMemo& memo, const IpAddress& address) noexcept {
    return (memo.port != kPortNone && memo.key.local == address) ||
           snapshot.local_addresses.contains(address);
}

const Listener* find_listener(const Snapshot& snapshot, const tunnels::Outer& outer) noexcept {
    for (const Listener& listener : snapshot.listeners) {
        if (listener.ip_protocol == outer.ip_protocol &&
            listener.udp_port == outer.udp_destination) {
            return &listener;
        }
    }
    return nullptr;
}

/// The checksum of a packet whose sender's kernel left it unfinished is not on the wire yet:
/// nothing to verify.
bool checksum_verified(const rte_mbuf* packet) noexcept {
    return packet::has_offload(packet) ||
           (packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

DropReason verify_udp(const rte_mbuf* packet, const tunnels::Outer& outer) noexcept {
    if (!outer.udp_checksum_present || checksum_verified(packet)) {
        return DropReason::none;
    }
    const std::uint32_t udp_bytes = outer.payload_bytes + 8U;
    const std::uint64_t pseudo = tunnels::pseudo_header_sum(
        outer.source, outer.destination, tunnels::kIpProtocolUdp, udp_bytes
    );
    const std::uint64_t sum = packet::sum(packet, outer.payload_offset - 8U, udp_bytes);
    return tunnels::checksum_fold(tunnels::checksum_sum(pseudo, sum)) == 0xffff
               ? DropReason::none
               : DropReason::udp_checksum;
}

DropReason verify_checksums(
    const rte_mbuf* packet, const tunnels::Outer& outer, const tunnels::Parsed& parsed
) noexcept {
    if (outer.ip_protocol == tunnels::kIpProtocolUdp) {
        return verify_udp(packet, outer);
    }
    // A device that verified an L4 checksum may mean one further in.
    if (parsed.verify_checksum && !packet::has_offload(packet) &&
        tunnels::checksum_fold(packet::sum(packet, outer.payload_offset, outer.payload_bytes)) !=
            0xffff) {
        return DropReason::gre_checksum;
    }
    return DropReason::none;
}

/// The tunnel port of a packet, or kPortNone and why.
std::uint16_t find_peer(
    const Snapshot& snapshot, const PeerKey& key, PeerMemo& memo, DropReason& reason
) noexcept {
    if (memo.port != kPortNone && memo.key == key) {
        return memo.port;
    }
    const std::uint16_t port = snapshot.peers.find(key);
    if (port == kPortNone) {
        reason = snapshot.peers.knows(key.protocol, key.remote) ? DropReason::tunnel_unknown_key
                                                                : DropReason::tunnel_unknown_peer;
        return port;
    }
    memo = {key, port};
    return port;
}

/// Whether a packet came as the tunnel's encryption demands. One that was opened by an SA must be
/// of a tunnel that this SA is for: of all others its sender has no key.
DropReason judge_protection(const TunnelView& tunnel, const rte_mbuf* packet) noexcept {
    const std::uint32_t association = packet::association(packet);
    if (tunnel.esp == nullptr) [[likely]] {
        return association == 0 ? DropReason::none : DropReason::esp_policy;
    }
    if (association == 0) {
        return DropReason::esp_required;
    }
    const auto& accepts = tunnel.esp->accepts;
    return std::find(accepts.begin(), accepts.end(), association) != accepts.end()
               ? DropReason::none
               : DropReason::esp_policy;
}

/// What the tunnel's own options say of a packet. `header` is the tunnel header.
DropReason judge(
    const TunnelView& tunnel,
    const rte_mbuf* packet,
    const tunnels::Outer& outer,
    const tunnels::Parsed& parsed,
    std::span<const std::byte> header
) noexcept {
    const TunnelReceive& rules = tunnel.receive;
    const DropReason unprotected = judge_protection(tunnel, packet);
    if (unprotected != DropReason::none) {
        return unprotected;
    }
    if (outer.ip_protocol == tunnels::kIpProtocolUdp && !outer.udp_checksum_present &&
        !outer.source.is_v4() && !rules.udp6_zero_checksum && !packet::has_offload(packet)) {
        return DropReason::udp6_zero_checksum;
    }
    if (parsed.has_group_policy && !rules.admits_group_policy) {
        return DropReason::vxlan_flags;
    }
    if (rules.only_group && parsed.group_policy != *rules.only_group) {
        return DropReason::vxlan_group_policy;
    }
    if (parsed.has_critical_options &&
        !tunnels::geneve_options_known(header.subspan(8), rules.known_options)) {
        return DropReason::geneve_critical_option;
    }
    if (rules.drop_late && parsed.has_sequence && !tunnel.sequence->advance(parsed.sequence)) {
        return DropReason::gre_sequence;
    }
    return DropReason::none;
}

/// RFC 6040 section 4.2, for the IP packet at `inner.ip_offset` of the decapsulated packet. An
/// outer Not-ECT changes nothing, so that this runs for marked packets only.
DropReason merge_ecn(
    Context& context, std::uint16_t port, rte_mbuf*& packet, std::uint8_t outer_tos
) noexcept {
    if (!make_head_contiguous(context, packet)) {
        return DropReason::no_buffer;
    }
    const tunnels::Payload payload =
        context.snapshot->tunnels[context.snapshot->ports[port].tunnel].receive.payload;
    const tunnels::Inner inner =
        tunnels::inspect_inner(packet::head(std::as_const(packet)), payload);
    if (inner.version == 0) {
        return DropReason::none;
    }
    const tunnels::EcnDecap merged = tunnels::ecn_decap(inner.tos, outer_tos);
    if (merged.anomaly != tunnels::EcnAnomaly::none) {
        context.counters->ecn[static_cast<std::size_t>(merged.anomaly)][port].add(1);
    }
    if (merged.drop) {
        return DropReason::ecn_illegal;
    }
    if (merged.ecn == (inner.tos & tunnels::kEcnMask)) {
        return DropReason::none;
    }
    const std::uint32_t header_bytes = inner.version == 4 ? 20 : 40;
    rte_mbuf* made =
        packet::make_writable(packet, inner.ip_offset + header_bytes, context.pools.packets);
    if (made == nullptr) {
        return DropReason::no_buffer;
    }
    packet = made;
    tunnels::set_ecn(packet::head(packet).subspan(inner.ip_offset), merged.ecn);
    return DropReason::none;
}

/// Lowers the MSS that a peer behind the tunnel announces.
void clamp_received(Context& context, const TunnelView& tunnel, rte_mbuf*& packet) noexcept {
    if (!tunnel.resolved || tunnel.underlay_mtu <= tunnel.overhead()) {
        return;
    }
    const tunnels::Payload payload = tunnel.receive.payload;
    const tunnels::Inner inner =
        tunnels::inspect_inner(packet::head(std::as_const(packet)), payload);
    clamp(context, packet, inner, inner_mtu(tunnel, inner, payload));
}

/// An ICMP error of the underlay about a packet of one of our tunnels (RFC 1191, RFC 8201); the
/// packet itself goes on to the host.
void note_path_mtu(
    Context& context, const tunnels::Outer& outer, std::span<const std::byte> head
) noexcept {
    const auto too_big = tunnels::parse_too_big(head.subspan(outer.ip_offset));
    if (!too_big || too_big->local != outer.destination) {
        return;
    }
    const Snapshot& snapshot = *context.snapshot;
    const bool of_esp = snapshot.associations.knows(too_big->remote) &&
                        (too_big->ip_protocol == tunnels::kIpProtocolEsp ||
                         snapshot.associations.has_udp_port(too_big->udp_source));
    const bool is_known =
        of_esp || std::any_of(
                      snapshot.listeners.begin(),
                      snapshot.listeners.end(),
                      [&](const Listener& listener) {
                          return listener.ip_protocol == too_big->ip_protocol &&
                                 listener.udp_port == too_big->udp_destination &&
                                 snapshot.peers.knows(listener.protocol, too_big->remote);
                      }
                  );
    if (!is_known) {
        return;
    }
    Upcall upcall;
    upcall.kind = Upcall::Kind::path_mtu;
    upcall.address = too_big->remote;
    upcall.mtu = too_big->mtu;
    // A lost one comes again with the next packet.
    if (context.ask_limiter.take(clock_ms())) {
        static_cast<void>(context.ask(upcall));
    }
}

/// Whether a tunnel could be behind a fragment of this protocol from `source`: all others are the
/// host's, as they are.
bool expects_fragments(
    const Snapshot& snapshot, std::uint8_t ip_protocol, const IpAddress& source
) noexcept {
    const bool may_be_esp =
        ip_protocol == tunnels::kIpProtocolEsp || ip_protocol == tunnels::kIpProtocolUdp;
    return (may_be_esp && snapshot.associations.knows(source)) ||
           std::any_of(
               snapshot.listeners.begin(),
               snapshot.listeners.end(),
               [&](const Listener& listener) {
                   return listener.ip_protocol == ip_protocol &&
                          snapshot.peers.knows(listener.protocol, source);
               }
           );
}

/// A whole packet that no tunnel wants goes to the host as it came: in fragments.
void refragment(Context& context, Arrival& arrival, std::uint16_t ip_offset) noexcept {
    const std::uint16_t in_port = arrival.key.in_port;
    const BridgeView& bridge = context.snapshot->bridges[context.snapshot->ports[in_port].bridge];
    const std::uint32_t limit = context.snapshot->ports[bridge.local_port].mtu;
    const std::uint32_t mtu = limit == 0 ? kOuterPacketBytesMax : limit;  // 0: unlimited.
    const std::uint16_t vlan = arrival.key.vlan;
    const bool tagged = arrival.tagged;
    rte_mbuf* packet = arrival.packet;
    arrival.packet = nullptr;
    FragmentList pieces;
    const FragmentRequest request{
        .ip_offset = ip_offset,
        .mtu = static_cast<std::uint16_t>(std::min(mtu, 65535U)),
        .identification = context.next_fragment_id++,
        .ignore_df = true};
    if (!fragment_packet(packet, request, context.pools.packets, context.pools.shares, pieces)) {
        context.drop(packet, DropReason::no_buffer, in_port);
        return;
    }
    for (rte_mbuf* piece : pieces.span()) {
        output(context, bridge.local_port, piece, tagged, vlan);
    }
}

/// Keeps a fragment, or goes on with the packet that it completes.
Decap reassemble(
    Context& context,
    PeerMemo& memo,
    Arrival& arrival,
    DropReason& reason,
    const tunnels::Outer& outer
) noexcept {
    const auto head = packet::head(std::as_const(arrival.packet));
    const auto protocol = fragmented_protocol(head, outer.ip_offset);
    if (!protocol || !expects_fragments(*context.snapshot, *protocol, outer.source) ||
        !context.reassembler) {
        return Decap::not_ours;
    }
    if (packet::has_offload(arrival.packet)) {
        reason = DropReason::outer_fragment;
        return Decap::dropped;
    }
    if (!packet::writable(arrival.packet)) [[unlikely]] {
        // Its header is written to, which replicas share when it was flooded to a patch port.
        rte_mbuf* made = packet::make_writable(
            arrival.packet,
            static_cast<std::uint32_t>(
                std::min<std::size_t>(packet::length(arrival.packet), tunnels::kOuterBytesMax)
            ),
            context.pools.packets
        );
        if (made == nullptr) {
            reason = DropReason::no_buffer;
            return Decap::dropped;
        }
        arrival.packet = made;
    }
    const auto outcome = context.reassembler->add(arrival.packet, outer.ip_offset, rte_rdtsc());
    arrival.packet = outcome.packet;
    if (outcome.dropped != 0) {
        context.counters->drop(DropReason::outer_fragment, arrival.key.in_port, outcome.dropped);
    }
    if (arrival.packet == nullptr) {
        return Decap::kept;
    }
    if (!make_head_contiguous(context, arrival.packet)) {
        reason = DropReason::no_buffer;
        return Decap::dropped;
    }
    const Decap result = decap(context, memo, arrival, reason);
    if (result == Decap::not_ours) {
        refragment(context, arrival, outer.ip_offset);
        return Decap::kept;
    }
    return result;
}

/// What is known of a packet once its tunnel is found.
struct Identity {
    std::uint16_t port = kPortNone;  ///< The tunnel's.
    bool alike = true;  ///< Packets that differ in the UDP source port only are treated alike.
};

/// Stages 5 to 9: the tunnel port of a packet for `listener`, or kPortNone and why. Sets `parsed`;
/// a drop that is the tunnel's own is counted on its port.
Identity identify(
    Context& context,
    const Listener& listener,
    const tunnels::Outer& outer,
    PeerMemo& memo,
    Arrival& arrival,
    tunnels::Parsed& parsed,
    DropReason& reason
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const rte_mbuf* packet = arrival.packet;
    const auto head = packet::head(packet);
    // Ethernet padding behind the outer packet is not part of the tunnel header.
    const std::size_t readable =
        std::min<std::size_t>(outer.payload_bytes, head.size() - outer.payload_offset);
    const auto tunnel_bytes = head.subspan(outer.payload_offset, readable);
    parsed = tunnels::parse_protocol(listener.protocol, tunnel_bytes);
    reason =
        parsed.drop != DropReason::none ? parsed.drop : verify_checksums(packet, outer, parsed);
    if (reason != DropReason::none) {
        return {};
    }
    const PeerKey key{
        .local = outer.destination,
        .remote = outer.source,
        .key = parsed.key,
        .udp_port = listener.udp_port,
        .protocol = listener.protocol,
        .payload = parsed.payload};
    const std::uint16_t port = find_peer(snapshot, key, memo, reason);
    if (port == kPortNone) {
        return {};
    }
    const Admitted admitted = ask_firewall(context, arrival.key.in_port, outer, head);
    arrival.key.in_port = port;
    if (!admitted.yes) {
        reason = DropReason::firewall;
        return {port};
    }
    const TunnelView& tunnel = snapshot.tunnels[snapshot.ports[port].tunnel];
    reason = judge(tunnel, packet, outer, parsed, tunnel_bytes.first(parsed.header_bytes));
    // A super-frame of tunnel packets (UDP segmentation of the outer packet) holds several inner
    // frames, each behind its own header. No kernel tunnel makes such a thing; a program could.
    if (reason == DropReason::none && packet::has_offload(packet) &&
        packet::offload(packet).gso_type != GsoType::none &&
        packet::offload(packet).checksum_start < outer.payload_offset) {
        reason = DropReason::offload_malformed;
    }
    return {port, admitted.holds_for_peer};
}

/// Remembers a peer by the headers of one of its packets, when packets like it are treated alike.
void learn_peer(
    Context& context,
    const Arrival& arrival,
    std::uint16_t in_port,
    const Listener& listener,
    const tunnels::Outer& outer,
    const tunnels::Parsed& parsed
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const std::uint16_t port = arrival.key.in_port;
    const PortView& view = snapshot.ports[port];
    const TunnelView& tunnel = snapshot.tunnels[view.tunnel];
    if (arrival.packet->nb_segs != 1 || packet::has_offload(arrival.packet) ||
        tunnel.transmit.oversize == Oversize::clamp_mss) {
        return;
    }
    const auto frame = packet::head(std::as_const(arrival.packet));
    const auto match = tunnels::make_match(frame, outer, parsed, listener.protocol);
    if (!match) {
        return;
    }
    KnownPeer peer;
    peer.match = *match;
    peer.in_port = in_port;
    peer.association = packet::association(arrival.packet);
    peer.tunnel_port = port;
    peer.bridge = view.bridge;
    peer.is_l3 = parsed.payload == tunnels::Payload::ip;
    peer.reader = FrameReader(view, port);
    context.known_peers.insert(peer, frame);
}

/// Stages 10 and 11, for a packet of the tunnel of arrival.key.in_port.
DropReason strip(
    Context& context, Arrival& arrival, const tunnels::Outer& outer, const tunnels::Parsed& parsed
) noexcept {
    const std::uint16_t port = arrival.key.in_port;
    const TunnelView& tunnel = context.snapshot->tunnels[context.snapshot->ports[port].tunnel];
    packet::trim(arrival.packet, std::uint32_t{outer.payload_offset} + outer.payload_bytes);
    if (!packet::pull(arrival.packet, std::uint32_t{outer.payload_offset} + parsed.header_bytes)) {
        return DropReason::inner_malformed;
    }
    if (parsed.has_group_policy) {
        packet::set_group_policy(arrival.packet, parsed.group_policy);
    }
    if ((outer.tos & tunnels::kEcnMask) != 0) {
        const DropReason reason = merge_ecn(context, port, arrival.packet, outer.tos);
        if (reason != DropReason::none) {
            return reason;
        }
    }
    if (tunnel.transmit.oversize == Oversize::clamp_mss) {
        clamp_received(context, tunnel, arrival.packet);
    }
    return DropReason::none;
}

/// decap(), but for what was opened and no tunnel wants.
Decap take_out(Context& context, PeerMemo& memo, Arrival& arrival, DropReason& reason) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const auto head = packet::head(std::as_const(arrival.packet));
    const tunnels::Outer outer = tunnels::parse_outer(head, packet::length(arrival.packet));
    if (!outer.is_ip || !is_local(snapshot, memo, outer.destination)) {
        return Decap::not_ours;
    }
    const bool is_opened = packet::association(arrival.packet) != 0;
    if (outer.drop == DropReason::outer_fragment || outer.ip_protocol == kIpProtocolFragment)
        [[unlikely]] {
        if (is_opened) {
            // Never put together with fragments that came in clear, or by another SA.
            reason = DropReason::outer_fragment;
            return Decap::dropped;
        }
        return reassemble(context, memo, arrival, reason, outer);
    }
    if (!is_opened && !snapshot.associations.empty()) [[unlikely]] {
        switch (open_one(context, arrival, outer, reason)) {
        case Opening::other:
            break;
        case Opening::opened:
            return take_out(context, memo, arrival, reason);
        case Opening::dropped:
            return Decap::dropped;
        case Opening::kept:
            return Decap::kept;
        }
    }
    const Listener* listener = find_listener(snapshot, outer);
    if (listener == nullptr) {
        if (outer.ip_protocol == kIpProtocolIcmp || outer.ip_protocol == kIpProtocolIcmpv6) {
            note_path_mtu(context, outer, head);
        }
        return Decap::not_ours;
    }
    reason = outer.drop;
    if (reason != DropReason::none) {
        return Decap::dropped;
    }
    tunnels::Parsed parsed;
    const std::uint16_t in_port = arrival.key.in_port;
    const Identity found = identify(context, *listener, outer, memo, arrival, parsed, reason);
    if (found.port == kPortNone || reason != DropReason::none) {
        return Decap::dropped;
    }
    if (found.alike) {
        learn_peer(context, arrival, in_port, *listener, outer, parsed);
    }
    reason = strip(context, arrival, outer, parsed);
    if (reason != DropReason::none) {
        return Decap::dropped;
    }
    return parsed.payload == tunnels::Payload::ip ? deliver(context, arrival, reason) : Decap::done;
}

}  // namespace

Decap decap(Context& context, PeerMemo& memo, Arrival& arrival, DropReason& reason) noexcept {
    const Decap result = take_out(context, memo, arrival, reason);
    if (result == Decap::not_ours && packet::association(arrival.packet) != 0) [[unlikely]] {
        // Only tunnels may have what was sealed: neither the host nor the bridge sees it.
        reason = DropReason::esp_policy;
        return Decap::dropped;
    }
    return result;
}

DropReason admit_stripped(Context& context, Arrival& arrival, std::uint8_t outer_tos) noexcept {
    const std::uint16_t port = arrival.key.in_port;
    DropReason reason = DropReason::none;
    if ((outer_tos & tunnels::kEcnMask) != 0) {
        reason = merge_ecn(context, port, arrival.packet, outer_tos);
    }
    if (reason == DropReason::none && context.snapshot->ports[port].is_l3) {
        switch (deliver(context, arrival, reason)) {
        case Decap::kept:
            return DropReason::none;
        case Decap::done:
            break;
        case Decap::dropped:
        case Decap::not_ours:
            return reason;
        }
    }
    return reason == DropReason::none ? admit_inner(context, arrival) : reason;
}

}  // namespace culvert::dataplane
