// SPDX-License-Identifier: GPL-2.0-or-later
//
// Outer headers: receive validation (RFC 791 section 3.1, RFC 8200 section 3, RFC 768), the
// transmit template. Not handled: IPv6 extension headers, which are left to the caller as an
// unknown protocol, reassembly, and jumbograms (RFC 2675). Any thread may call everything here;
// parse_outer is made to be called per packet.
#include "tunnels/outer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "tunnels/address.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/drop_reason.hpp"
#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/ipv4_checksum.hpp"

namespace culvert::tunnels {

static_assert(
    kOuterBytesMax ==
    sizeof(EthernetHeader) + sizeof(VlanTag) + kIpv4HeaderBytesMax + sizeof(UdpHeader)
);

namespace {

/// A packet from some header on: `readable` bytes are contiguous, `total` exist.
struct View {
    const std::byte* data;
    std::size_t readable;
    std::size_t total;

    [[nodiscard]] View from(std::size_t offset) const noexcept {
        return {data + offset, readable - offset, total - offset};
    }
};

/// What the IP header says about the bytes behind it.
struct IpPayload {
    std::size_t offset = 0;  ///< From the start of the IP header.
    std::size_t bytes = 0;   ///< By the IP length field.
    bool has_udp = false;    ///< A UDP header is expected at `offset`.
};

/// The first reason stands; later findings about the same packet are consequences.
void fail(Outer& outer, DropReason reason) noexcept {
    if (outer.drop == DropReason::none) {
        outer.drop = reason;
    }
}

constexpr std::uint8_t version_of(std::byte first_octet) noexcept {
    return std::to_integer<std::uint8_t>(first_octet) >> 4U;
}

IpPayload parse_ipv4(const View& view, Outer& outer) noexcept {
    if (view.readable < sizeof(Ipv4Header) || version_of(view.data[0]) != 4) {
        outer.drop = DropReason::outer_malformed;
        return {};
    }
    const auto ip = load<Ipv4Header>(view.data);
    outer.tos = ip.tos;
    outer.ttl = ip.ttl;
    outer.ip_protocol = ip.protocol;
    outer.source = IpAddress::from_v4(ip.source.data());
    outer.destination = IpAddress::from_v4(ip.destination.data());

    const std::size_t header_bytes = (ip.version_ihl & 0xfU) * std::size_t{4};
    const std::size_t length = ip.total_length.host();
    if (header_bytes < sizeof(Ipv4Header) || header_bytes > view.readable ||
        length < header_bytes) {
        outer.drop = DropReason::outer_malformed;
        return {};
    }
    const std::uint16_t fragment = ip.flags_fragment.host();
    if (length > view.total) {
        outer.drop = DropReason::outer_malformed;
    } else if (!ipv4_checksum_ok(view.data, header_bytes)) {
        outer.drop = DropReason::outer_checksum;
    } else if ((fragment & kIpv4FragmentMask) != 0) {
        outer.drop = DropReason::outer_fragment;
    }
    return {
        .offset = header_bytes,
        .bytes = length - header_bytes,
        .has_udp = ip.protocol == kIpProtocolUdp && (fragment & kIpv4FragmentOffsetMask) == 0};
}

IpPayload parse_ipv6(const View& view, Outer& outer) noexcept {
    if (view.readable < sizeof(Ipv6Header) || version_of(view.data[0]) != 6) {
        outer.drop = DropReason::outer_malformed;
        return {};
    }
    const auto ip = load<Ipv6Header>(view.data);
    outer.tos = static_cast<std::uint8_t>(ip.version_class_label.host() >> 20U & 0xffU);
    outer.ttl = ip.hop_limit;
    outer.ip_protocol = ip.next_header;
    outer.source = IpAddress::from_v6(ip.source.data());
    outer.destination = IpAddress::from_v6(ip.destination.data());

    const std::size_t length = ip.payload_length.host();
    if (length > view.total - sizeof(Ipv6Header)) {
        outer.drop = DropReason::outer_malformed;
    }
    return {
        .offset = sizeof(Ipv6Header), .bytes = length, .has_udp = ip.next_header == kIpProtocolUdp};
}

/// Reads the UDP header at the front of `view`, of whose bytes `ip_payload_bytes` belong to the IP
/// packet. Returns the length of the UDP payload.
std::size_t parse_udp(const View& view, std::size_t ip_payload_bytes, Outer& outer) noexcept {
    const std::size_t readable = std::min(view.readable, ip_payload_bytes);
    if (readable < sizeof(UdpHeader)) {
        constexpr std::size_t kPortOffset = offsetof(UdpHeader, destination);
        if (readable >= kPortOffset + sizeof(Be16)) {
            outer.udp_destination = load<Be16>(view.data + kPortOffset).host();
        }
        fail(outer, DropReason::outer_malformed);
        return 0;
    }
    const auto udp = load<UdpHeader>(view.data);
    outer.udp_destination = udp.destination.host();
    outer.udp_checksum_present = udp.checksum != Be16{};
    const std::size_t length = udp.length.host();
    if (length < sizeof(UdpHeader) || length > ip_payload_bytes) {
        fail(outer, DropReason::outer_malformed);
        return 0;
    }
    return length - sizeof(UdpHeader);
}

}  // namespace

Outer parse_outer(std::span<const std::byte> frame, std::size_t frame_bytes) noexcept {
    Outer outer;
    const View ethernet{frame.data(), std::min(frame.size(), frame_bytes), frame_bytes};
    std::size_t ip_offset = sizeof(EthernetHeader);
    if (ethernet.readable < ip_offset) {
        return outer;
    }
    auto ether_type = load<Be16>(ethernet.data + offsetof(EthernetHeader, ether_type));
    if (ether_type == Be16(kEtherTypeVlan)) {
        ip_offset += sizeof(VlanTag);
        if (ethernet.readable < ip_offset) {
            return outer;
        }
        ether_type = load<Be16>(ethernet.data + ip_offset - sizeof(Be16));
    }
    const bool is_v4 = ether_type == Be16(kEtherTypeIpv4);
    if (!is_v4 && ether_type != Be16(kEtherTypeIpv6)) {
        return outer;
    }
    outer.is_ip = true;
    outer.ip_offset = static_cast<std::uint16_t>(ip_offset);

    const View ip = ethernet.from(ip_offset);
    const IpPayload payload = is_v4 ? parse_ipv4(ip, outer) : parse_ipv6(ip, outer);
    std::size_t offset = ip_offset + payload.offset;
    std::size_t bytes = payload.bytes;
    if (payload.has_udp) {
        bytes = parse_udp(ip.from(payload.offset), payload.bytes, outer);
        offset += sizeof(UdpHeader);
    }
    if (outer.drop == DropReason::none) [[likely]] {
        outer.payload_offset = static_cast<std::uint16_t>(offset);
        outer.payload_bytes = static_cast<std::uint16_t>(bytes);
    }
    return outer;
}

namespace {

Ipv4Header ipv4_header(const OuterConfig& config) noexcept {
    Ipv4Header ip;
    ip.version_ihl = 0x45;
    ip.flags_fragment = Be16(config.df ? kIpv4DontFragment : std::uint16_t{0});
    ip.protocol = config.ip_protocol;
    std::memcpy(ip.source.data(), config.local.v4(), ip.source.size());
    std::memcpy(ip.destination.data(), config.remote.v4(), ip.destination.size());
    return ip;
}

Ipv6Header ipv6_header(const OuterConfig& config) noexcept {
    Ipv6Header ip;
    ip.version_class_label = Be32(0x60000000U);
    ip.next_header = config.ip_protocol;
    ip.source = config.local.bytes;
    ip.destination = config.remote.bytes;
    return ip;
}

/// The room for one more header at the end of `header`.
std::span<std::byte> extend(EncapTemplate& header, std::size_t bytes) noexcept {
    if (bytes > header.bytes.size() - header.length) {
        std::abort();  // A broken invariant: encap.hpp asserts that every header stack fits.
    }
    const std::span<std::byte> room = std::span(header.bytes).subspan(header.length, bytes);
    header.length = static_cast<std::uint8_t>(header.length + bytes);
    return room;
}

template <WireHeader H>
void append(EncapTemplate& header, const H& value) noexcept {
    store(extend(header, sizeof value).data(), value);
}

}  // namespace

EncapTemplate build_outer(const LinkHeader& link, const OuterConfig& config) noexcept {
    EncapTemplate header;
    header.is_v4 = config.remote.is_v4();
    header.tos = config.tos;
    header.ttl = config.ttl;
    header.udp_source_min = config.udp_source_min;
    // Precondition: min <= max. All 65536 ports would not fit; nobody has them to spare.
    header.udp_source_count =
        static_cast<std::uint16_t>(config.udp_source_max - config.udp_source_min + 1U);
    const Be16 ip_type(header.is_v4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
    const bool tagged = link.vlan != 0;
    append(
        header,
        EthernetHeader{link.destination, link.source, tagged ? Be16(kEtherTypeVlan) : ip_type}
    );
    if (tagged) {
        append(header, VlanTag{Be16(link.vlan), ip_type});
    }
    header.ip_offset = header.length;
    if (header.is_v4) {
        const Ipv4Header ip = ipv4_header(config);
        append(header, ip);
        header.ip_checksum_base =
            checksum_fold(checksum_add(0, std::as_bytes(std::span(&ip, std::size_t{1}))));
    } else {
        append(header, ipv6_header(config));
    }
    if (config.ip_protocol == kIpProtocolUdp) {
        header.udp_offset = header.length;
        // RFC 8200 section 8.1 demands a checksum over IPv6; with the exception of RFC 6935 the
        // packet depends on what the receiver allows.
        header.udp_checksum = config.udp_checksum || (!header.is_v4 && !config.udp6_zero_checksum);
        append(header, UdpHeader{{}, Be16(config.udp_destination), {}, {}});
    }
    return header;
}

std::span<std::byte> append_tunnel_header(EncapTemplate& header, std::size_t bytes) noexcept {
    return extend(header, bytes);
}

}  // namespace culvert::tunnels
