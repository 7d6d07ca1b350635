// SPDX-License-Identifier: GPL-2.0-or-later
//
// A train's outer checksum is pending, which says that no wire was crossed: so it stays pending in
// the packets that are cut from it, and nobody verifies or computes it. See train.hpp.

#include "dataplane/train.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/offload.hpp"
#include "dataplane/pipeline.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {
namespace {

bool is_train(const Context& context, std::uint16_t port, const rte_mbuf* packet) noexcept {
    const Offload offload = packet::offload(packet);
    const Snapshot& snapshot = *context.snapshot;
    const PortView& view = snapshot.ports[port];
    if (offload.gso_type != GsoType::udp_l4 || view.bridge == kPortNone ||
        !snapshot.bridges[view.bridge].terminates_tunnels) {
        return false;
    }
    const auto head = packet::head(packet);
    const tunnels::MacAddress& local_mac = snapshot.bridges[view.bridge].local_mac;
    if (std::memcmp(head.data(), local_mac.bytes.data(), local_mac.bytes.size()) != 0) {
        return false;
    }
    const tunnels::Outer outer = tunnels::parse_outer(head, packet::length(packet));
    return outer.is_ip && outer.drop == DropReason::none &&
           outer.ip_protocol == tunnels::kIpProtocolUdp &&
           offload.checksum_start < outer.payload_offset &&
           snapshot.local_addresses.contains(outer.destination) &&
           std::any_of(
               snapshot.listeners.begin(),
               snapshot.listeners.end(),
               [&](const Listener& listener) {
                   return listener.ip_protocol == outer.ip_protocol &&
                          listener.udp_port == outer.udp_destination;
               }
           );
}

void cut(Context& context, std::uint16_t port, rte_mbuf* train) noexcept {
    Segmenter segments(
        train, context.pools.packets, context.pools.shares, Segmenter::Checksums::pending
    );
    std::array<rte_mbuf*, kBurstMax> burst;
    std::size_t count = 0;
    while (rte_mbuf* packet = segments.next()) {
        burst[count++] = packet;
        if (count == burst.size()) {
            process_burst(context, port, burst);
            count = 0;
        }
    }
    if (count != 0) {
        process_burst(context, port, std::span(burst).first(count));
    }
    if (segments.failed()) {
        context.counters->ports[port].rx_packets.add(1);  // What was not cut off, as one packet.
        context.counters->drop(DropReason::no_buffer, port);
    }
}

}  // namespace

void process_received(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst
) noexcept {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < burst.size(); ++i) {
        if (!packet::has_offload(burst[i]) || !is_train(context, port, burst[i])) [[likely]] {
            continue;
        }
        if (begin != i) {
            process_burst(context, port, burst.subspan(begin, i - begin));
        }
        cut(context, port, burst[i]);
        begin = i + 1;
    }
    if (begin != burst.size()) {
        process_burst(context, port, burst.subspan(begin));
    }
}

}  // namespace culvert::dataplane
