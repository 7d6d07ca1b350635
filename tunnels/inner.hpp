// SPDX-License-Identifier: GPL-2.0-or-later
//
// What encapsulation wants to know of the packet that goes into a tunnel, read in one pass:
// the flow's hash (RFC 7348 section 5, RFC 6438), and the fields that outer headers inherit. What
// most packets are, IPv4 without options or tags, is read inline. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <nmmintrin.h>

#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"

namespace culvert::tunnels {

struct Inner {
    std::uint32_t hash = 0;       ///< Equal for all packets of a flow.
    std::uint16_t ip_offset = 0;  ///< From the start of the payload; meaningful when version != 0.
    std::uint8_t version = 0;     ///< 4, 6, or 0: not IP, or its fixed header is cut off.
    std::uint8_t tos = 0;         ///< TOS or traffic class; 0 when version is 0.
    std::uint8_t ttl = 0;         ///< TTL or hop limit.
    bool dont_fragment = false;   ///< IPv4 DF; true for IPv6.
};

namespace detail {

inline constexpr std::uint64_t kInnerHashSeed = 0xffffffff;
inline constexpr std::size_t kPortsBytes = 4;  // Source and destination port, at the front of L4.

[[nodiscard]] constexpr bool has_ports(std::uint8_t protocol) noexcept {
    constexpr std::uint8_t kTcp = 6;
    constexpr std::uint8_t kSctp = 132;
    return protocol == kIpProtocolUdp || protocol == kTcp || protocol == kSctp;
}

[[nodiscard]] inline std::uint64_t
crc_add(std::uint64_t crc, const std::byte* eight_bytes) noexcept {
    return _mm_crc32_u64(crc, load<Be64>(eight_bytes).memory_order());
}

/// Adds the protocol, and with it the ports.
[[nodiscard]] inline std::uint32_t
crc_ports(std::uint64_t crc, std::uint8_t protocol, const std::byte* ports) noexcept {
    const std::uint64_t word = protocol | std::uint64_t{load<Be32>(ports).memory_order()} << 8U;
    return static_cast<std::uint32_t>(_mm_crc32_u64(crc, word));
}

}  // namespace detail

/// inspect_inner() of an IPv4 packet without options, tags or fragments, whose protocol has ports.
/// False when `payload` is something else; `inner` is as it was.
[[nodiscard]] inline bool
inspect_plain(std::span<const std::byte> payload, Payload kind, Inner& inner) noexcept {
    const std::size_t ip_offset = kind == Payload::ethernet ? sizeof(EthernetHeader) : 0;
    if (payload.size() < ip_offset + sizeof(Ipv4Header) + detail::kPortsBytes) {
        return false;
    }
    // By fields, as a copy of the header would be made in memory first.
    const std::byte* ip = payload.data() + ip_offset;
    const auto octet = [&](std::size_t at) noexcept {
        return std::to_integer<std::uint8_t>(ip[at]);
    };
    const std::uint8_t protocol = octet(offsetof(Ipv4Header, protocol));
    const std::uint16_t fragment =
        load<Be16>(ip + offsetof(Ipv4Header, flags_fragment)).memory_order();
    constexpr Be16 kFragmentBits(kIpv4FragmentMask);
    constexpr Be16 kDontFragmentBit(kIpv4DontFragment);
    if (octet(offsetof(Ipv4Header, version_ihl)) != 0x45 ||
        (ip_offset != 0 && load<Be16>(ip - sizeof(Be16)) != Be16(kEtherTypeIpv4)) ||
        (fragment & kFragmentBits.memory_order()) != 0 || !detail::has_ports(protocol)) {
        return false;
    }
    const std::uint64_t crc =
        detail::crc_add(detail::kInnerHashSeed, ip + offsetof(Ipv4Header, source));
    inner.hash = detail::crc_ports(crc, protocol, ip + sizeof(Ipv4Header));
    inner.ip_offset = static_cast<std::uint16_t>(ip_offset);
    inner.version = 4;
    inner.tos = octet(offsetof(Ipv4Header, tos));
    inner.ttl = octet(offsetof(Ipv4Header, ttl));
    inner.dont_fragment = (fragment & kDontFragmentBit.memory_order()) != 0;
    return true;
}

/// Reads a frame (up to two VLAN tags) or an IP packet. `payload` may be truncated anywhere. The
/// hash is over addresses, protocol and ports; it leaves ports out for fragments and falls back to
/// the MAC addresses for what is not IP.
[[nodiscard]] Inner inspect_inner(std::span<const std::byte> payload, Payload kind) noexcept;

}  // namespace culvert::tunnels
