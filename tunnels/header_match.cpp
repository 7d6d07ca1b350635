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

/// A match of packets whose outer headers are alike; `behind` bytes follow these that are to be
/// alike too. Nothing when such packets are not matched.
std::optional<HeaderMatch>
match_outer(std::span<const std::byte> frame, const Outer& outer, std::size_t behind) noexcept {
    HeaderMatch match;
    match.is_v4 = outer.source.is_v4();
    const bool is_udp = outer.ip_protocol == kIpProtocolUdp;
    const std::size_t ip_bytes = match.is_v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    const std::size_t udp_offset = outer.ip_offset + ip_bytes;
    const std::size_t length = udp_offset + (is_udp ? sizeof(UdpHeader) : 0) + behind;
    if (length - behind != outer.payload_offset || length > HeaderMatch::kBytesMax ||
        frame.size() < HeaderMatch::kBytesMax) {
        return std::nullopt;
    }
    const auto mask = std::span(match.mask);
    mark_ethernet(mask, outer.ip_offset);
    mark_ip(mask, outer.ip_offset, match.is_v4);
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

void expect(HeaderMatch& match, std::span<const std::byte> frame) noexcept {
    for (std::size_t i = 0; i < match.length; ++i) {
        match.expected[i] = frame[i] & match.mask[i];
    }
}

}  // namespace

std::optional<HeaderMatch> make_match(
    std::span<const std::byte> frame,
    const Outer& outer,
    const Parsed& parsed,
    std::uint8_t protocol
) noexcept {
    auto match = match_outer(frame, outer, parsed.header_bytes);
    if (!match || outer.udp_checksum_present) {
        return std::nullopt;
    }
    const auto mask = std::span(match->mask);
    const std::size_t at = outer.payload_offset;
    if (!mark_decisive(
            protocol, frame.subspan(at, parsed.header_bytes), mask.subspan(at, parsed.header_bytes)
        )) {
        return std::nullopt;
    }
    if (outer.ip_protocol == kIpProtocolUdp) {
        mark(mask, at - sizeof(UdpHeader), UdpHeader{{}, kAllOfWord, {}, kAllOfWord});
    }
    expect(*match, frame);
    return match;
}

std::optional<HeaderMatch>
make_esp_match(std::span<const std::byte> frame, const Outer& outer) noexcept {
    constexpr Be32 kAllOfSpi(~std::uint32_t{0});
    auto match = match_outer(frame, outer, sizeof kAllOfSpi);
    if (match) {
        const auto mask = std::span(match->mask);
        mark(mask, outer.payload_offset, kAllOfSpi);
        if (outer.ip_protocol == kIpProtocolUdp) {
            mark(mask, outer.payload_offset - sizeof(UdpHeader), UdpHeader{{}, kAllOfWord, {}, {}});
        }
        expect(*match, frame);
    }
    return match;
}

}  // namespace culvert::tunnels
