// SPDX-License-Identifier: GPL-2.0-or-later
//
// Out of an L3 tunnel to a host of the bridge. See deliver.hpp.

#include "dataplane/deliver.hpp"

#include <utility>

#include "dataplane/clock.hpp"
#include "dataplane/route.hpp"
#include "dataplane/rx.hpp"
#include "tunnels/ip_packet.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = sizeof(tunnels::EthernetHeader);

/// Source of frames that the gateway's kernel gets from an L3 tunnel, as Open vSwitch has it.
constexpr MacAddress kTunnelMac{{0x02, 0, 0, 0, 0, 0}};

/// Gives a packet whose host is not known to the slow path, which asks the kernel for it.
Decap ask_for_host(
    Context& context, Arrival& arrival, DropReason& reason, const IpAddress& host
) noexcept {
    Upcall upcall;
    upcall.kind = Upcall::Kind::host;
    upcall.port = arrival.key.in_port;
    upcall.packet = arrival.packet;
    upcall.address = host;
    // A scan of addresses that nobody has must not keep the slow path from other flows.
    if (!context.ask_limiter.take(clock_ms())) {
        reason = DropReason::l3_no_host;
        return Decap::dropped;
    }
    if (!context.ask(upcall)) {
        reason = DropReason::upcall_queue_full;
        return Decap::dropped;
    }
    arrival.packet = nullptr;
    return Decap::kept;
}

}  // namespace

Decap deliver(Context& context, Arrival& arrival, DropReason& reason) noexcept {
    const PortView& view = context.snapshot->ports[arrival.key.in_port];
    const BridgeView& bridge = context.snapshot->bridges[view.bridge];
    if (!make_head_contiguous(context, arrival.packet)) {
        reason = DropReason::no_buffer;
        return Decap::dropped;
    }
    const auto ip = tunnels::read_ip_packet(
        packet::head(std::as_const(arrival.packet)), packet::length(arrival.packet)
    );
    if (!ip) {
        reason = DropReason::inner_malformed;
        return Decap::dropped;
    }
    const IpAddress& destination = ip->destination;
    if (!bridge.l3 || !tunnels::is_routable(*ip)) {
        reason = DropReason::l3_no_host;
        return Decap::dropped;
    }
    packet::trim(arrival.packet, ip->bytes);
    const MacAddress* to = bridge.l3->hosts.find(destination);
    const MacAddress* from = to != nullptr ? &bridge.local_mac : &kTunnelMac;
    if (to != nullptr) {
        reason = age(context, arrival.packet, 0);
        if (reason != DropReason::none) {
            return Decap::dropped;
        }
    } else if (!bridge.l3->gateway.contains(destination) && bridge.l3->find_eid(destination) == nullptr) {
        return ask_for_host(context, arrival, reason, destination);
    } else {
        to = &bridge.local_mac;
    }
    rte_mbuf* made = packet::push(arrival.packet, kEthernetBytes, context.pools.packets);
    if (made == nullptr) {
        reason = DropReason::no_buffer;
        return Decap::dropped;
    }
    arrival.packet = made;
    // By fields, as they are read again: words that span them would wait for the stores.
    std::byte* front = packet::head(made).data();
    tunnels::store(front + offsetof(tunnels::EthernetHeader, destination), *to);
    tunnels::store(front + offsetof(tunnels::EthernetHeader, source), *from);
    tunnels::store(
        front + offsetof(tunnels::EthernetHeader, ether_type),
        tunnels::Be16(destination.is_v4() ? tunnels::kEtherTypeIpv4 : tunnels::kEtherTypeIpv6)
    );
    return Decap::done;
}

}  // namespace culvert::dataplane
