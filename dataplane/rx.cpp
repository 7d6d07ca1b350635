// SPDX-License-Identifier: GPL-2.0-or-later
//
// The receive stages, in order: read the frame (Ethernet, VLAN), decapsulate when it is for a local
// tunnel endpoint (decap.cpp), read the inner frame. Worker threads only.

#include "dataplane/rx.hpp"

#include <algorithm>
#include <utility>

#include <rte_ether.h>
#include <rte_prefetch.h>

#include "dataplane/bond.hpp"
#include "dataplane/decap.hpp"
#include "dataplane/deliver.hpp"
#include "dataplane/esp_open.hpp"
#include "dataplane/offload.hpp"
#include "dataplane/packet_marks.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kVlanTagBytes = 4;
/// Contiguous bytes that parsing may ask for.
constexpr std::uint32_t kParseBytes = tunnels::kOuterBytesMax + tunnels::kTunnelParseBytesMax;

std::uint16_t load_be16(const std::byte* at) noexcept {
    return static_cast<std::uint16_t>(
        (std::to_integer<unsigned>(at[0]) << 8U) | std::to_integer<unsigned>(at[1])
    );
}

/// 01:80:c2:00:00:00 to 01:80:c2:00:00:0f.
bool is_link_local(const MacAddress& mac) noexcept {
    return (mac.to_u64() & ~std::uint64_t{0xf}) == 0x0180c2000000ULL;
}

void count_rx(Context& context, std::uint16_t port, const rte_mbuf* packet) noexcept {
    PortCounters& counters = context.counters->ports[port];
    counters.rx_packets.add(1);
    counters.rx_bytes.add(packet::length(packet));
}

}  // namespace

DropReason read_frame(const PortView& view, Arrival& arrival) noexcept {
    const auto head = packet::head(std::as_const(arrival.packet));
    if (head.size() < kEthernetBytes) {
        return DropReason::malformed_frame;
    }
    std::memcpy(arrival.key.destination.bytes.data(), head.data(), 6);
    std::memcpy(arrival.key.source.bytes.data(), head.data() + 6, 6);
    if (arrival.key.source.is_group()) {
        return DropReason::source_multicast;
    }
    if (is_link_local(arrival.key.destination)) {
        return DropReason::link_local_multicast;
    }
    std::uint16_t vlan = 0;
    arrival.tagged = load_be16(head.data() + 12) == RTE_ETHER_TYPE_VLAN;
    if (arrival.tagged) {
        if (head.size() < kEthernetBytes + kVlanTagBytes) {
            return DropReason::malformed_frame;
        }
        vlan = load_be16(head.data() + 14) & 0xfffU;
    }
    // A tag with VLAN ID 0 carries a priority only (IEEE 802.1Q 6.9): the frame counts as untagged.
    if (vlan == 0 ? !view.vlan.accept_untagged : !view.vlan.accept_tagged) {
        return DropReason::vlan_filtered;
    }
    arrival.key.vlan = vlan == 0 ? view.vlan.untagged_vlan : vlan;
    return view.vlan.carries(arrival.key.vlan) ? DropReason::none : DropReason::vlan_filtered;
}

bool make_head_contiguous(Context& context, rte_mbuf*& packet) noexcept {
    const std::uint32_t wanted = std::min(packet::length(packet), kParseBytes);
    if (packet::head(packet).size() >= wanted) [[likely]] {
        return true;
    }
    rte_mbuf* made = packet::make_writable(packet, wanted, context.pools.packets);
    if (made == nullptr) {
        return false;
    }
    packet = made;
    return true;
}

DropReason admit_inner(Context& context, Arrival& arrival) noexcept {
    const std::uint16_t port = arrival.key.in_port;
    count_rx(context, port, arrival.packet);
    packet::set_ingress(arrival.packet, port);
    if (!make_head_contiguous(context, arrival.packet)) {
        return DropReason::no_buffer;
    }
    if (packet::has_offload(arrival.packet)) {
        Offload offload = packet::offload(arrival.packet);
        const DropReason reason = validate_offload(arrival.packet, offload);
        if (reason != DropReason::none) {
            return reason;
        }
        packet::set_offload(arrival.packet, offload);
    }
    const DropReason reason = read_frame(context.snapshot->ports[port], arrival);
    return reason == DropReason::malformed_frame ? DropReason::inner_malformed : reason;
}

namespace {

/// The end of one packet's admission.
void settle(Context& context, const Arrival& arrival, DropReason reason, Batch& batch) noexcept {
    if (reason != DropReason::none) {
        context.drop(arrival.packet, reason, arrival.key.in_port);
    } else if (arrival.packet != nullptr) {
        batch.add(arrival.packet, arrival.key, arrival.tagged);
    }
}

/// One frame in full: read_frame(), and decap() where it is for a tunnel endpoint. None, or why it
/// is to be dropped; `arrival.packet` is null when it was kept.
DropReason
read_or_decap(Context& context, const PortView& view, PeerMemo& memo, Arrival& arrival) noexcept {
    if (!make_head_contiguous(context, arrival.packet)) {
        return DropReason::no_buffer;
    }
    DropReason reason = read_frame(view, arrival);
    if (reason != DropReason::none) {
        return reason;
    }
    const BridgeView& bridge = context.snapshot->bridges[view.bridge];
    if (!bridge.terminates_tunnels || arrival.key.destination != bridge.local_mac ||
        arrival.key.vlan != bridge.local_vlan || context.snapshot->listeners.empty()) {
        return packet::association(arrival.packet) == 0 ? DropReason::none : DropReason::esp_policy;
    }
    switch (decap(context, memo, arrival, reason)) {
    case Decap::not_ours:
    case Decap::kept:
        return DropReason::none;
    case Decap::dropped:
        return reason;
    case Decap::done:
        break;
    }
    return admit_inner(context, arrival);
}

/// Admits a packet of any kind.
void admit(
    Context& context,
    const PortView& view,
    std::uint16_t port,
    PeerMemo& memo,
    rte_mbuf* packet,
    Batch& batch
) noexcept {
    Arrival arrival;
    arrival.packet = packet;
    arrival.key.in_port = port;
    const DropReason reason = read_or_decap(context, view, memo, arrival);
    settle(context, arrival, reason, batch);
}

/// Packets of one tunnel in a row, counted together.
struct TunnelRun {
    std::uint16_t port = kPortNone;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;

    void add(Context& context, std::uint16_t to, std::uint64_t length) noexcept {
        if (to != port) {
            count(context);
            port = to;
        }
        ++packets;
        bytes += length;
    }
    void count(Context& context) noexcept {
        if (packets != 0) {
            PortCounters& counters = context.counters->ports[port];
            counters.rx_packets.add(packets);
            counters.rx_bytes.add(bytes);
            packets = 0;
            bytes = 0;
        }
    }
};

/// A MAC address that frames are compared with, eight bytes at once.
class MacWord {
public:
    explicit MacWord(const MacAddress& mac) noexcept {
        std::memcpy(&word_, mac.bytes.data(), mac.bytes.size());
    }
    /// Precondition: eight bytes are there.
    [[nodiscard]] bool is_destination(const std::byte* frame) const noexcept {
        return tunnels::load<tunnels::Be64>(frame).memory_order() << 16U == word_ << 16U;
    }

private:
    std::uint64_t word_ = 0;
};

/// Takes a packet of a peer met before out of its tunnel. False: it is none, and is as it was.
bool admit_known(
    Context& context, std::uint16_t port, rte_mbuf* packet, TunnelRun& run, Batch& batch
) noexcept {
    const auto frame = packet::head(std::as_const(packet));
    const KnownPeer* peer = context.known_peers.find(port, packet::association(packet), frame);
    if (peer == nullptr) {
        return false;
    }
    const std::uint8_t tos = tunnels::outer_tos(peer->match, frame);
    packet::pull_head(packet, peer->match.length);
    const bool marked = (tos & tunnels::kEcnMask) != 0;
    FlowKey key;
    const auto reads = [&]() noexcept {
        return peer->is_l3 ? deliver_plain(
                                 context.snapshot->bridges[peer->bridge], packet, peer->reader, key
                             )
                           : packet->data_len >= FrameReader::kReadBytes &&
                                 peer->reader.read(frame.data() + peer->match.length, key);
    };
    if (!marked && reads()) [[likely]] {
        packet::set_ingress(packet, peer->tunnel_port);
        run.add(context, peer->tunnel_port, packet->data_len);
        batch.add(packet, key, false);
        return true;
    }
    Arrival arrival;
    arrival.packet = packet;
    arrival.key.in_port = peer->tunnel_port;
    settle(context, arrival, admit_stripped(context, arrival, tos), batch);
    return true;
}

}  // namespace

void admit_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst, Batch& batch
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    std::uint64_t bytes = 0;
    for (rte_mbuf* packet : burst) {
        rte_prefetch0(rte_pktmbuf_mtod(packet, const void*));
        bytes += packet::length(packet);
        packet::clear_marks(packet);
    }
    PortCounters& counters = context.counters->ports[port];
    counters.rx_packets.add(burst.size());
    counters.rx_bytes.add(bytes);
    BurstArray by_bond;
    BurstArray opened;
    if (snapshot.ports[port].bridge == kPortNone) [[unlikely]] {
        burst = admit_by_member(context, port, burst, by_bond);
        if (burst.empty()) {
            return;
        }
        port = snapshot.bonds[snapshot.ports[port].bond].port;
    }
    const PortView& view = snapshot.ports[port];
    const BridgeView& bridge = snapshot.bridges[view.bridge];
    const bool terminates = bridge.terminates_tunnels && !snapshot.listeners.empty();
    const MacWord local_mac(bridge.local_mac);
    const FrameReader reader(view, port);
    context.known_peers.follow(snapshot.version);
    if (terminates && !snapshot.associations.empty()) [[unlikely]] {
        burst = open_burst(context, port, burst, opened);
    }
    PeerMemo memo;
    TunnelRun run;
    for (rte_mbuf* packet : burst) {
        packet::set_ingress(packet, port);
        if (packet::is_plain(packet) && packet->data_len >= FrameReader::kReadBytes) [[likely]] {
            const auto* frame = rte_pktmbuf_mtod(packet, const std::byte*);
            FlowKey key;
            if (terminates && local_mac.is_destination(frame)) {
                if (admit_known(context, port, packet, run, batch)) {
                    continue;
                }
            } else if (reader.read(frame, key)) {
                batch.add(packet, key, false);
                continue;
            }
        }
        admit(context, view, port, memo, packet, batch);
    }
    run.count(context);
}

void admit_late(Context& context, std::uint16_t port, rte_mbuf* packet, Batch& batch) noexcept {
    const PortView* view = context.snapshot->port(port);
    if (view == nullptr || view->bridge == kPortNone) {
        context.drop(packet, DropReason::port_removed, port);
        return;
    }
    packet::set_ingress(packet, port);
    PeerMemo memo;
    admit(context, *view, port, memo, packet, batch);
}

}  // namespace culvert::dataplane
