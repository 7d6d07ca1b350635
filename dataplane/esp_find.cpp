// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which packets are ESP of tunnels. See esp_find.hpp.

#include "dataplane/esp_find.hpp"

#include "dataplane/host_firewall.hpp"

namespace culvert::dataplane {

using tunnels::Be16;
using tunnels::Be32;
using tunnels::EthernetHeader;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;
using tunnels::UdpHeader;

EspKind classify_esp(
    Context& context, std::uint16_t in_port, const tunnels::Outer& outer, FoundEsp& found
) noexcept {
    const SaTable& table = context.snapshot->associations;
    const rte_mbuf* packet = found.packet;
    const auto head = packet::head(packet);
    const bool in_udp = outer.ip_protocol == tunnels::kIpProtocolUdp;
    if (in_udp ? !table.has_udp_port(outer.udp_destination)
               : outer.ip_protocol != tunnels::kIpProtocolEsp) {
        return EspKind::other;
    }
    const auto refuse = [&](DropReason reason) noexcept {
        found.reason = reason;
        return EspKind::dropped;
    };
    constexpr std::size_t kReadBytes = tunnels::kEspHeaderBytes;
    if (outer.drop != DropReason::none || outer.payload_bytes < kReadBytes ||
        head.size() < outer.payload_offset + kReadBytes) {
        // In UDP it may be IKE's or a keepalive (RFC 3948 sections 2.3 and 4).
        if (in_udp || !table.knows(outer.source)) {
            return EspKind::other;
        }
        return refuse(outer.drop != DropReason::none ? outer.drop : DropReason::esp_malformed);
    }
    found.spi = tunnels::load<Be32>(head.data() + outer.payload_offset).host();
    found.sequence = tunnels::load<Be32>(head.data() + outer.payload_offset + 4).host();
    found.esp_bytes = outer.payload_bytes;
    found.esp_offset = outer.payload_offset;
    found.ip_offset = outer.ip_offset;
    found.tos = outer.tos;
    if (in_udp && found.spi == 0) {
        return EspKind::other;  // The non-ESP marker of IKE (RFC 3948 section 2.2).
    }
    found.association = table.find(found.spi, outer.destination);
    if (found.association == nullptr) [[unlikely]] {
        if (!table.knows(outer.source) || table.is_of_host(found.spi)) {
            return EspKind::other;
        }
        return table.may_arrive(found.spi) ? EspKind::waits : refuse(DropReason::esp_unknown_spi);
    }
    // The host must not get it instead: its kernel may have the same SA. A NAT may have changed the
    // source of what is in UDP.
    const SaParameters& parameters = found.association->parameters();
    if ((parameters.udp_destination != 0) != in_udp ||
        (!in_udp && parameters.source != outer.source)) [[unlikely]] {
        return refuse(DropReason::esp_policy);
    }
    // What a kernel left undone can only be the outer UDP checksum, which is not looked at: the
    // ICV says more.
    if (packet::has_offload(packet)) [[unlikely]] {
        const Offload offload = packet::offload(packet);
        if (offload.gso_type != GsoType::none || offload.checksum_start >= outer.payload_offset) {
            return refuse(DropReason::offload_malformed);
        }
    }
    if (!ask_firewall(context, in_port, outer, head).yes) {
        return refuse(DropReason::firewall);
    }
    return EspKind::ours;
}

void learn_esp(
    Context& context, std::uint16_t in_port, const tunnels::Outer& outer, const FoundEsp& found
) noexcept {
    const auto head = packet::head(std::as_const(found.packet));
    const auto match = tunnels::make_esp_match(head, outer);
    if (match && ask_firewall(context, in_port, outer, head).holds_for_peer) {
        KnownEspPacket known;
        known.match = *match;
        known.association = found.association;
        known.in_port = in_port;
        known.esp_offset = found.esp_offset;
        context.known_esp.insert(known, head);
    }
}

bool looks_like_esp(const SaTable& table, const std::byte* frame) noexcept {
    constexpr std::size_t kIp = sizeof(EthernetHeader);
    const auto word = [&](std::size_t at) noexcept {
        return tunnels::load<Be16>(frame + at).host();
    };
    const std::uint16_t type = word(offsetof(EthernetHeader, ether_type));
    const bool is_v4 = type == tunnels::kEtherTypeIpv4;
    if (!is_v4 && type != tunnels::kEtherTypeIpv6) {
        return false;
    }
    const std::byte protocol =
        frame[kIp + (is_v4 ? offsetof(Ipv4Header, protocol) : offsetof(Ipv6Header, next_header))];
    const std::size_t udp = kIp + (is_v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
    return protocol == std::byte{tunnels::kIpProtocolEsp} ||
           (protocol == std::byte{tunnels::kIpProtocolUdp} &&
            table.has_udp_port(word(udp + offsetof(UdpHeader, destination))));
}

}  // namespace culvert::dataplane
