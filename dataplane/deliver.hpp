// SPDX-License-Identifier: GPL-2.0-or-later
//
// Routes a bare IP packet, which came out of an L3 tunnel, to its host: the bridge is its last hop.
// What most of them are is routed in a few steps, inline; the others in full, with the same result.
// Worker threads only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <smmintrin.h>

#include "dataplane/context.hpp"
#include "dataplane/decap.hpp"
#include "dataplane/frame_reader.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/ip_packet.hpp"

namespace culvert::dataplane {

/// Puts an Ethernet header in front of the IP packet `arrival.packet`, which came out of the L3
/// tunnel of port `arrival.key.in_port`: to the host that has its destination, or to the local port
/// when that is the gateway itself or an EID behind another tunnel. A destination whose MAC address
/// is not known goes to the slow path (kept).
[[nodiscard]] Decap deliver(Context& context, Arrival& arrival, DropReason& reason) noexcept;

/// deliver() of a plain packet (packet::is_plain()) that is IPv4 without options, all of it there
/// and nothing behind it, to a host whose MAC address is known; sets `key` as `reader` reads the
/// frame. False when it is anything else, and as it was.
[[nodiscard]] inline bool deliver_plain(
    const BridgeView& bridge, rte_mbuf* packet, const FrameReader& reader, FlowKey& key
) noexcept {
    using tunnels::Be16;
    using tunnels::Ipv4Header;
    constexpr std::uint32_t kEthernetBytes = sizeof(tunnels::EthernetHeader);
    auto* ip = rte_pktmbuf_mtod(packet, std::byte*);
    const auto octet = [&](std::size_t at) noexcept {
        return std::to_integer<std::uint8_t>(ip[at]);
    };
    if (!bridge.l3 || packet->data_len < sizeof(Ipv4Header) ||
        rte_pktmbuf_headroom(packet) < kEthernetBytes || octet(0) != 0x45 ||
        tunnels::load<Be16>(ip + offsetof(Ipv4Header, total_length)).host() != packet->data_len ||
        octet(offsetof(Ipv4Header, ttl)) <= 1 ||
        !tunnels::ipv4_checksum_ok(ip, sizeof(Ipv4Header))) {
        return false;
    }
    const auto destination = tunnels::IpAddress::from_v4(ip + offsetof(Ipv4Header, destination));
    const MacAddress* host = bridge.l3->hosts.find(destination);
    if (host == nullptr || !tunnels::has_host_scope_v4(ip + offsetof(Ipv4Header, source)) ||
        !tunnels::has_host_scope_v4(ip + offsetof(Ipv4Header, destination))) {
        return false;
    }
    // Destination, source, EtherType and the first two octets of IP, made in one register: it is
    // read back at once.
    std::uint64_t to = 0;
    std::uint64_t from = 0;
    std::memcpy(&to, host->bytes.data(), sizeof host->bytes);
    std::memcpy(&from, bridge.local_mac.bytes.data(), sizeof bridge.local_mac.bytes);
    const std::uint64_t behind = std::uint64_t{octet(0)} | std::uint64_t{octet(1)} << 8U;
    constexpr std::uint64_t kType = Be16(tunnels::kEtherTypeIpv4).memory_order();
    const __m128i front = _mm_set_epi64x(
        static_cast<long long>(from >> 16U | kType << 32U | behind << 48U),
        static_cast<long long>(to | from << 48U)
    );
    if (!reader.read(front, key)) {
        return false;
    }
    // TTL and protocol are one word of the sum, checksum the next: the sum grows by 0x0100.
    std::byte* field = ip + offsetof(Ipv4Header, checksum);
    const std::uint32_t sum = tunnels::load<Be16>(field).host() + 0x100U;
    ip[offsetof(Ipv4Header, ttl)] = static_cast<std::byte>(octet(offsetof(Ipv4Header, ttl)) - 1U);
    tunnels::store(field, Be16(static_cast<std::uint16_t>(sum + (sum >> 16U))));
    packet::push_head(packet, kEthernetBytes);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(ip - kEthernetBytes), front);
    return true;
}

}  // namespace culvert::dataplane
