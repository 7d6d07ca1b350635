// SPDX-License-Identifier: GPL-2.0-or-later
//
// Routing into L3 tunnels. See route.hpp.

#include "dataplane/route.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "dataplane/encap.hpp"
#include "dataplane/tx.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/icmp_error.hpp"
#include "tunnels/inner.hpp"
#include "tunnels/ip_packet.hpp"

namespace culvert::dataplane {

namespace {

/// Whether a flow may be sent by this RLOC now: its tunnel has a route.
bool is_usable(const Snapshot& snapshot, std::uint16_t port) noexcept {
    const PortView* view = snapshot.port(port);
    return view != nullptr && view->is_tunnel() &&
           snapshot.tunnels[view->tunnel].unresolved == DropReason::none;
}

/// The EID by which an IP packet of this bridge leaves; nullptr when it is the host's: not for a
/// prefix, not IP right behind the Ethernet header and the bridge's own tag, or nothing that a
/// router would forward.
const EidMap::Entry* leaving(
    const BridgeView& bridge, const rte_mbuf* frame, const tunnels::Inner& inner, bool tagged
) noexcept {
    const std::uint32_t behind_ethernet = tagged ? 18 : 14;
    if (!bridge.l3 || inner.version == 0 || inner.ip_offset != behind_ethernet) {
        return nullptr;
    }
    const auto ip_bytes = packet::head(frame).subspan(inner.ip_offset);
    const auto ip =
        tunnels::read_ip_packet(ip_bytes, packet::length(frame) - std::uint32_t{inner.ip_offset});
    const bool same_version = std::to_integer<unsigned>(ip_bytes.front()) >> 4U == inner.version;
    if (!ip || !same_version || !tunnels::is_routable(*ip) ||
        bridge.l3->gateway.contains(ip->destination)) {
        return nullptr;
    }
    return bridge.l3->find_eid(ip->destination);
}

}  // namespace

DropReason age(Context& context, rte_mbuf*& packet, std::uint32_t ip_offset) noexcept {
    const bool is_v4 =
        std::to_integer<unsigned>(packet::head(std::as_const(packet))[ip_offset]) >> 4U == 4;
    const std::uint32_t header_bytes = is_v4 ? 20 : 40;
    const std::uint32_t at = ip_offset + (is_v4 ? 8U : 7U);
    if (std::to_integer<unsigned>(packet::head(std::as_const(packet))[at]) <= 1) {
        return DropReason::ttl_exceeded;
    }
    rte_mbuf* made = packet::make_writable(packet, ip_offset + header_bytes, context.pools.packets);
    if (made == nullptr) {
        return DropReason::no_buffer;
    }
    packet = made;
    std::byte* ttl = packet::head(packet).data() + at;
    *ttl = static_cast<std::byte>(std::to_integer<unsigned>(*ttl) - 1U);
    if (is_v4) {
        // The TTL is the high octet of its word: the complemented sum grows by 0x0100.
        std::byte* field = packet::head(packet).data() + ip_offset + 10;
        const std::uint32_t sum = tunnels::load<tunnels::Be16>(field).host() + 0x100U;
        tunnels::store(field, tunnels::Be16(static_cast<std::uint16_t>(sum + (sum >> 16U))));
    }
    return DropReason::none;
}

namespace {

/// The port of the tunnel by which a frame for the gateway leaves, its TTL taken care of; nothing
/// when it has met another verdict. May replace the frame.
std::optional<std::uint16_t>
tunnel_of(Context& context, const FlowKey& key, rte_mbuf*& frame, bool tagged) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const std::uint16_t bridge_index = snapshot.ports[key.in_port].bridge;
    const BridgeView& bridge = snapshot.bridges[bridge_index];
    const auto head = packet::head(std::as_const(frame));
    const tunnels::Inner inner = tunnels::inspect_inner(head, tunnels::Payload::ethernet);
    const EidMap::Entry* entry = leaving(bridge, frame, inner, tagged);
    if (entry == nullptr) {
        if (bridge.local_port == kPortNone) {
            context.drop(frame, DropReason::no_destination, key.in_port);
        } else {
            output(context, bridge.local_port, frame, tagged, key.vlan);
        }
        return std::nullopt;
    }
    const std::uint16_t port = EidMap::choose(*entry, inner.hash, [&](std::uint16_t candidate) {
        return is_usable(snapshot, candidate);
    });
    if (port == kPortNone) {
        context.drop(frame, DropReason::l3_no_mapping, key.in_port);
        return std::nullopt;
    }
    const DropReason reason = age(context, frame, inner.ip_offset);
    if (reason != DropReason::none) {
        if (reason == DropReason::ttl_exceeded) {
            const Reporter reporter{
                .bridge = bridge_index, .untagged_vlan = key.vlan, .router = true};
            report(context, frame, inner, tunnels::IcmpError::ttl_exceeded, 0, reporter);
        }
        context.drop(frame, reason, key.in_port);
        return std::nullopt;
    }
    return port;
}

}  // namespace

void route_burst(
    Context& context, const FlowKey& key, std::span<rte_mbuf* const> frames, bool tagged
) noexcept {
    std::array<rte_mbuf*, kBurstMax> group;  // Of frames in a row that leave by one tunnel.
    std::size_t count = 0;
    std::uint16_t port = kPortNone;
    const auto send = [&]() noexcept {
        if (count != 0) {
            encap_burst(context, port, std::span(group).first(count));
            count = 0;
        }
    };
    for (rte_mbuf* frame : frames) {
        const std::optional<std::uint16_t> to = tunnel_of(context, key, frame, tagged);
        if (!to) {
            continue;
        }
        if (*to != port) {
            send();
            port = *to;
        }
        group[count++] = frame;
    }
    send();
}

}  // namespace culvert::dataplane
