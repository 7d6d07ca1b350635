// SPDX-License-Identifier: GPL-2.0-or-later
//
// Makes a HeaderMatch. See header_match.hpp.
#include "tunnels/header_match.hpp"

#include "tunnels/protocols.hpp"

namespace culvert::tunnels {

namespace {

/// The mask of the bits that parse_outer() decides by; what it only reads out stays zero.
template <WireHeader H>
void mark(std::span<std::byte> mask, std::size_t offset, const H& decisive) noexcept {
    store(mask.data() + offset, decisive);
}

constexpr MacAddress kAllOfMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr MacAddress kGroupBit{{0x01, 0, 0, 0, 0, 0}};
constexpr Be16 kAllOfWord(std::uint16_t{0xffff});
constexpr Be16 kVlanIdBits(std::uint16_t{0x0fff});

void mark_ethernet(std::span<std::byte> mask, std::size_t ip_offset) noexcept {
    mark(mask, 0, EthernetHeader{kAllOfMac, kGroupBit, kAllOfWord});
    if (ip_offset != sizeof(EthernetHeader)) {
        mark(mask, sizeof(EthernetHeader), VlanTag{kVlanIdBits, kAllOfWord});
    }
}

void mark_ip(std::span<std::byte> mask, std::size_t ip_offset, bool is_v4) noexcept {
    if (is_v4) {
        Ipv4Header decisive;
        decisive.version_ihl = 0xff;
        decisive.flags_fragment = Be16(kIpv4FragmentMask);
        decisive.protocol = 0xff;
        decisive.source.fill(0xff);
        decisive.destination.fill(0xff);
        mark(mask, ip_offset, decisive);
        return;
    }
    Ipv6Header decisive;
    decisive.version_class_label = Be32(0xf0000000U);
    decisive.next_header = 0xff;
    decisive.source.fill(0xff);
    decisive.destination.fill(0xff);
    mark(mask, ip_offset, decisive);
}

}  // namespace

std::optional<HeaderMatch> make_match(
    std::span<const std::byte> frame,
    const Outer& outer,
    const Parsed& parsed,
    std::uint8_t protocol
) noexcept {
    HeaderMatch match;
    match.is_v4 = outer.source.is_v4();
    const bool is_udp = outer.ip_protocol == kIpProtocolUdp;
    const std::size_t ip_bytes = match.is_v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    const std::size_t udp_offset = outer.ip_offset + ip_bytes;
    const std::size_t tunnel_offset = udp_offset + (is_udp ? sizeof(UdpHeader) : 0);
    const std::size_t length = tunnel_offset + parsed.header_bytes;
    if (tunnel_offset != outer.payload_offset || length > HeaderMatch::kBytesMax ||
        frame.size() < HeaderMatch::kBytesMax || outer.udp_checksum_present) {
        return std::nullopt;
    }
    const auto mask = std::span(match.mask);
    if (!mark_decisive(
            protocol,
            frame.subspan(tunnel_offset, parsed.header_bytes),
            mask.subspan(tunnel_offset, parsed.header_bytes)
        )) {
        return std::nullopt;
    }
    mark_ethernet(mask, outer.ip_offset);
    mark_ip(mask, outer.ip_offset, match.is_v4);
    if (is_udp) {
        mark(mask, udp_offset, UdpHeader{{}, kAllOfWord, {}, kAllOfWord});
    }
    for (std::size_t i = 0; i < length; ++i) {
        match.expected[i] = frame[i] & mask[i];
    }
    match.length = static_cast<std::uint8_t>(length);
    match.ip_offset = static_cast<std::uint8_t>(outer.ip_offset);
    // IPv6 counts what follows its header, IPv4 the header too.
    match.ip_length_at = static_cast<std::uint8_t>(
        outer.ip_offset +
        (match.is_v4 ? offsetof(Ipv4Header, total_length) : offsetof(Ipv6Header, payload_length))
    );
    match.ip_length_less =
        static_cast<std::uint8_t>(outer.ip_offset + (match.is_v4 ? 0 : sizeof(Ipv6Header)));
    match.udp_length_at = is_udp
                              ? static_cast<std::uint8_t>(udp_offset + offsetof(UdpHeader, length))
                              : match.ip_length_at;
    match.udp_length_less = is_udp ? static_cast<std::uint8_t>(udp_offset) : match.ip_length_less;
    return match;
}

}  // namespace culvert::tunnels
