// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads what goes into a tunnel. See inner.hpp.
#include "tunnels/inner.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

#include <nmmintrin.h>

#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"

namespace culvert::tunnels {

namespace {

using detail::crc_add;
using detail::kInnerHashSeed;
using detail::kPortsBytes;

/// Adds the protocol, and the ports at `l4_offset` when the protocol has them and they are there.
std::uint32_t crc_transport(
    std::uint64_t crc,
    std::span<const std::byte> ip,
    std::size_t l4_offset,
    std::uint8_t protocol,
    bool use_ports
) noexcept {
    if (use_ports && detail::has_ports(protocol) && ip.size() >= l4_offset + kPortsBytes) {
        return detail::crc_ports(crc, protocol, ip.data() + l4_offset);
    }
    return static_cast<std::uint32_t>(_mm_crc32_u64(crc, protocol));
}

/// Reads the IPv4 packet at the front of `ip`, which holds its fixed header.
void inspect_ipv4(std::span<const std::byte> ip, Inner& inner) noexcept {
    const auto header = load<Ipv4Header>(ip.data());
    inner.version = 4;
    inner.tos = header.tos;
    inner.ttl = header.ttl;
    const std::uint16_t fragment = header.flags_fragment.host();
    inner.dont_fragment = (fragment & kIpv4DontFragment) != 0;
    const std::size_t header_bytes = (header.version_ihl & 0xfU) * std::size_t{4};
    // Too short a header length would point the ports at the length and identification fields,
    // which differ from packet to packet.
    const bool use_ports =
        (fragment & kIpv4FragmentMask) == 0 && header_bytes >= sizeof(Ipv4Header);
    const std::uint64_t crc = crc_add(kInnerHashSeed, ip.data() + offsetof(Ipv4Header, source));
    inner.hash = crc_transport(crc, ip, header_bytes, header.protocol, use_ports);
}

void inspect_ipv6(std::span<const std::byte> ip, Inner& inner) noexcept {
    const auto header = load<Ipv6Header>(ip.data());
    inner.version = 6;
    inner.tos = static_cast<std::uint8_t>(header.version_class_label.host() >> 20U);
    inner.ttl = header.hop_limit;
    inner.dont_fragment = true;
    const std::byte* addresses = ip.data() + offsetof(Ipv6Header, source);
    // Two chains of two, since each step waits for the one before it.
    const std::uint64_t source = crc_add(crc_add(kInnerHashSeed, addresses), addresses + 8);
    const std::uint64_t destination = crc_add(crc_add(0, addresses + 16), addresses + 24);
    const std::uint64_t crc = _mm_crc32_u64(source, destination);
    inner.hash = crc_transport(crc, ip, sizeof(Ipv6Header), header.next_header, true);
}

}  // namespace

Inner inspect_inner(std::span<const std::byte> payload, Payload kind) noexcept {
    Inner inner;
    if (kind == Payload::ip) {
        const unsigned version =
            payload.empty() ? 0U : std::to_integer<unsigned>(payload.front()) >> 4U;
        if (version == 4 && payload.size() >= sizeof(Ipv4Header)) {
            inspect_ipv4(payload, inner);
        } else if (version == 6 && payload.size() >= sizeof(Ipv6Header)) {
            inspect_ipv6(payload, inner);
        }
        return inner;
    }
    constexpr std::size_t kMacBytes = offsetof(EthernetHeader, ether_type);
    if (payload.size() < sizeof(EthernetHeader)) {
        inner.hash = static_cast<std::uint32_t>(kInnerHashSeed);
        return inner;
    }
    auto ether_type = load<Be16>(payload.data() + kMacBytes);
    std::size_t ip_offset = sizeof(EthernetHeader);
    for (int tags = 0; tags < 2; ++tags) {
        const bool tagged =
            ether_type == Be16(kEtherTypeVlan) || ether_type == Be16(kEtherTypeServiceVlan);
        if (!tagged || payload.size() < ip_offset + sizeof(VlanTag)) {
            break;
        }
        ip_offset += sizeof(VlanTag);
        ether_type = load<Be16>(payload.data() + ip_offset - sizeof(Be16));
    }
    inner.ip_offset = static_cast<std::uint16_t>(ip_offset);
    const std::span<const std::byte> ip = payload.subspan(ip_offset);
    if (ether_type == Be16(kEtherTypeIpv4) && ip.size() >= sizeof(Ipv4Header)) {
        inspect_ipv4(ip, inner);
        return inner;
    }
    if (ether_type == Be16(kEtherTypeIpv6) && ip.size() >= sizeof(Ipv6Header)) {
        inspect_ipv6(ip, inner);
        return inner;
    }
    const std::uint64_t crc = crc_add(kInnerHashSeed, payload.data());
    inner.hash = _mm_crc32_u32(
        static_cast<std::uint32_t>(crc), load<Be32>(payload.data() + 8).memory_order()
    );
    return inner;
}

}  // namespace culvert::tunnels
