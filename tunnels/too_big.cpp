// SPDX-License-Identifier: GPL-2.0-or-later
//
// ICMP errors of the underlay about tunnel packets: lengths and checksums first, as a forged or
// garbled error must not change anything. Bytes in, bytes out.
#include "tunnels/too_big.hpp"

#include <array>

#include "tunnels/checksum.hpp"
#include "tunnels/esp/esp.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"

namespace culvert::tunnels {
namespace {

constexpr std::uint8_t kProtocolIcmp = 1;
constexpr std::uint8_t kProtocolIcmpv6 = 58;
constexpr std::uint8_t kNextFragment = 44;
constexpr std::size_t kFragmentHeaderBytes = 8;
constexpr std::size_t kIcmpHeaderBytes = 8;
/// Of the quoted packet behind its IP header: RFC 792 promises as many.
constexpr std::size_t kQuotedBytesMin = 8;
constexpr std::uint32_t kIpv4MtuMin = 68;    ///< RFC 791 section 3.2.
constexpr std::uint32_t kIpv6MtuMin = 1280;  ///< RFC 8200 section 5.

/// RFC 1191 section 7.1, descending.
constexpr std::array<std::uint16_t, 11> kPlateaus{
    65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};

/// The MTU that a router may have meant that only says that `length` bytes do not fit; 0 when it
/// cannot have meant any.
std::uint32_t plateau_below(std::uint32_t length) noexcept {
    for (const std::uint16_t plateau : kPlateaus) {
        if (plateau < length) {
            return plateau;
        }
    }
    return 0;
}

bool is_tunnel_protocol(std::uint8_t protocol) noexcept {
    return protocol == kIpProtocolUdp || protocol == kIpProtocolGre || protocol == kIpProtocolEsp;
}

/// `rest` follows the quoted IP headers; precondition: it has kQuotedBytesMin bytes.
void read_ports(std::span<const std::byte> rest, TooBig& result) noexcept {
    if (result.ip_protocol == kIpProtocolUdp) {
        result.udp_source = load<Be16>(rest.data() + offsetof(UdpHeader, source)).host();
        result.udp_destination = load<Be16>(rest.data() + offsetof(UdpHeader, destination)).host();
    }
}

std::optional<TooBig>
parse_quoted_ipv4(std::span<const std::byte> quote, std::uint32_t mtu) noexcept {
    if (quote.size() < sizeof(Ipv4Header)) {
        return std::nullopt;
    }
    const auto ip = load<Ipv4Header>(quote.data());
    const std::size_t header_bytes = (ip.version_ihl & 0xfU) * std::size_t{4};
    if (ip.version_ihl >> 4U != 4 || header_bytes < sizeof(Ipv4Header) ||
        quote.size() < header_bytes + kQuotedBytesMin || !is_tunnel_protocol(ip.protocol) ||
        (ip.flags_fragment.host() & kIpv4FragmentOffsetMask) != 0) {
        return std::nullopt;
    }
    TooBig result;
    result.local = IpAddress::from_v4(ip.source.data());
    result.remote = IpAddress::from_v4(ip.destination.data());
    result.ip_protocol = ip.protocol;
    result.mtu = mtu != 0 ? mtu : plateau_below(ip.total_length.host());
    if (result.mtu < kIpv4MtuMin) {
        return std::nullopt;
    }
    read_ports(quote.subspan(header_bytes), result);
    return result;
}

std::optional<TooBig>
parse_quoted_ipv6(std::span<const std::byte> quote, std::uint32_t mtu) noexcept {
    if (quote.size() < sizeof(Ipv6Header) || mtu < kIpv6MtuMin) {
        return std::nullopt;
    }
    const auto ip = load<Ipv6Header>(quote.data());
    if (ip.version_class_label.host() >> 28U != 6) {
        return std::nullopt;
    }
    std::span<const std::byte> rest = quote.subspan(sizeof ip);
    TooBig result;
    result.ip_protocol = ip.next_header;
    if (ip.next_header == kNextFragment) {
        // Only the first fragment has ports; its offset, the upper 13 bits, is 0.
        if (rest.size() < kFragmentHeaderBytes || (load<Be16>(rest.data() + 2).host() >> 3U) != 0) {
            return std::nullopt;
        }
        result.ip_protocol = std::to_integer<std::uint8_t>(rest[0]);
        rest = rest.subspan(kFragmentHeaderBytes);
    }
    if (!is_tunnel_protocol(result.ip_protocol) || rest.size() < kQuotedBytesMin) {
        return std::nullopt;
    }
    result.local = IpAddress::from_v6(ip.source.data());
    result.remote = IpAddress::from_v6(ip.destination.data());
    result.mtu = mtu;
    read_ports(rest, result);
    return result;
}

bool has_type(std::span<const std::byte> message, std::uint8_t type, std::uint8_t code) noexcept {
    return message[0] == std::byte{type} && message[1] == std::byte{code};
}

std::optional<TooBig> parse_ipv4(std::span<const std::byte> packet) noexcept {
    if (packet.size() < sizeof(Ipv4Header)) {
        return std::nullopt;
    }
    const auto ip = load<Ipv4Header>(packet.data());
    const std::size_t header_bytes = (ip.version_ihl & 0xfU) * std::size_t{4};
    const std::size_t total = ip.total_length.host();
    if (ip.protocol != kProtocolIcmp || header_bytes < sizeof(Ipv4Header) ||
        total > packet.size() || total < header_bytes + kIcmpHeaderBytes ||
        (ip.flags_fragment.host() & kIpv4FragmentMask) != 0 ||
        checksum_fold(checksum_add(0, packet.first(header_bytes))) != 0xffff) {
        return std::nullopt;
    }
    const auto message = packet.first(total).subspan(header_bytes);
    if (!has_type(message, 3, 4) || checksum_fold(checksum_add(0, message)) != 0xffff) {
        return std::nullopt;
    }
    // The word that was unused before RFC 1191 has the MTU in its lower half.
    const std::uint16_t mtu = load<Be16>(message.data() + 6).host();
    return parse_quoted_ipv4(message.subspan(kIcmpHeaderBytes), mtu);
}

std::optional<TooBig> parse_ipv6(std::span<const std::byte> packet) noexcept {
    if (packet.size() < sizeof(Ipv6Header)) {
        return std::nullopt;
    }
    const auto ip = load<Ipv6Header>(packet.data());
    const std::size_t message_bytes = ip.payload_length.host();
    if (ip.next_header != kProtocolIcmpv6 || message_bytes < kIcmpHeaderBytes ||
        message_bytes > packet.size() - sizeof ip) {
        return std::nullopt;
    }
    const auto message = packet.subspan(sizeof ip, message_bytes);
    const std::uint64_t pseudo = pseudo_header_sum(
        IpAddress::from_v6(ip.source.data()),
        IpAddress::from_v6(ip.destination.data()),
        kProtocolIcmpv6,
        static_cast<std::uint32_t>(message_bytes)
    );
    if (!has_type(message, 2, 0) || checksum_fold(checksum_add(pseudo, message)) != 0xffff) {
        return std::nullopt;
    }
    return parse_quoted_ipv6(
        message.subspan(kIcmpHeaderBytes), load<Be32>(message.data() + 4).host()
    );
}

}  // namespace

std::optional<TooBig> parse_too_big(std::span<const std::byte> ip_packet) noexcept {
    if (ip_packet.empty()) {
        return std::nullopt;
    }
    switch (std::to_integer<unsigned>(ip_packet[0]) >> 4U) {
    case 4:
        return parse_ipv4(ip_packet);
    case 6:
        return parse_ipv6(ip_packet);
    default:
        return std::nullopt;
    }
}

}  // namespace culvert::tunnels
