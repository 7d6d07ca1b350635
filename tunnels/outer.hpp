// SPDX-License-Identifier: GPL-2.0-or-later
//
// Outer headers of a tunnel packet: validation on receive, and the template that transmit copies
// and patches. RFC 791, RFC 8200, RFC 768. IPv6 extension headers are not followed: such a packet
// is not a tunnel packet.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tunnels/address.hpp"
#include "tunnels/drop_reason.hpp"

namespace culvert::tunnels {

inline constexpr std::uint8_t kIpProtocolUdp = 17;
inline constexpr std::uint8_t kIpProtocolGre = 47;
inline constexpr std::size_t kTemplateBytesMax = 128;
/// Ethernet with a VLAN tag, IPv4 with all options, UDP: the most that parse_outer() reads.
inline constexpr std::size_t kOuterBytesMax = 14 + 4 + 60 + 8;

/// An outer packet whose every length and the IPv4 header checksum were checked. With drop != none,
/// the addresses, ip_protocol, tos, ttl and the UDP fields are still filled in as far as they lie
/// within the packet, so that the caller can tell whether it is for a local endpoint; payload_* are
/// 0 then. A fragment other than the first has no UDP header, so its udp_destination is 0.
struct Outer {
    DropReason drop = DropReason::none;
    bool is_ip = false;  ///< False: EtherType is not IPv4/IPv6; nothing else is set, drop is none.
    std::uint8_t ip_protocol = 0;
    std::uint8_t tos = 0;  ///< IPv4 TOS or IPv6 traffic class.
    std::uint8_t ttl = 0;
    bool udp_checksum_present = false;
    std::uint16_t udp_destination = 0;  ///< Host order; 0 when the protocol is not UDP.
    std::uint16_t ip_offset = 0;        ///< From the start of `frame`.
    std::uint16_t payload_offset = 0;   ///< Start of the tunnel header, from the start of `frame`.
    /// By the IP/UDP length fields, so without Ethernet padding. Those fields have 16 bits, so it
    /// fits for a GSO super-frame too; one whose IP length says 0 (RFC 2675) is outer_malformed.
    std::uint16_t payload_bytes = 0;
    IpAddress source;
    IpAddress destination;
};

/// Parses Ethernet (with at most one VLAN tag), IPv4/IPv6 and UDP. `frame` holds the contiguous
/// first bytes of a frame of `frame_bytes` in all; a header that reaches beyond them counts as cut
/// off (kOuterBytesMax are always enough). Fragments, options and lengths are judged; the UDP
/// checksum is only reported.
[[nodiscard]] Outer parse_outer(std::span<const std::byte> frame, std::size_t frame_bytes) noexcept;

/// The next hop of an encapsulated packet on its first link.
struct LinkHeader {
    MacAddress destination;
    MacAddress source;
    std::uint16_t vlan = 0;  ///< VLAN ID to tag with; 0 for none.
};

/// What the outer IP and UDP headers of one tunnel carry.
struct OuterConfig {
    IpAddress local;
    IpAddress remote;  ///< Same family as `local`.
    std::uint8_t tos = 0;
    std::uint8_t ttl = 64;
    bool df = true;  ///< IPv4 only.
    std::uint8_t ip_protocol = kIpProtocolUdp;
    std::uint16_t udp_destination = 0;     ///< Host order; used when ip_protocol is UDP.
    bool udp_checksum = false;             ///< Always on over IPv6, unless udp6_zero_checksum.
    bool udp6_zero_checksum = false;       ///< RFC 6935: none over IPv6 either.
    std::uint16_t udp_source_min = 32768;  ///< The range that flows spread over, ends included.
    std::uint16_t udp_source_max = 61000;
};

/// All headers of a tunnel, prebuilt once; patched per packet.
struct alignas(64) EncapTemplate {
    std::array<std::byte, kTemplateBytesMax> bytes{};
    std::uint8_t length = 0;  ///< Bytes used, Ethernet header to the end of the tunnel header.
    std::uint8_t ip_offset = 0;
    std::uint8_t udp_offset = 0;  ///< 0 when the tunnel is not carried in UDP.
    bool is_v4 = false;
    bool udp_checksum = false;       ///< The caller completes the UDP checksum after patch_outer().
    std::uint8_t tunnel_offset = 0;  ///< Of the tunnel header.
    std::uint8_t protocol = 0;       ///< Index in Protocols.
    bool patched = false;            ///< patch_tunnel() has something to do.
    bool sequenced = false;          ///< It wants a sequence number.
    bool nvgre_key = false;          ///< Its key field is a VSID and a flow id (RFC 7637).
    /// From tunnel_offset to the checksum over tunnel header and payload, which the caller
    /// completes; 0: there is none.
    std::uint8_t checksum_offset = 0;
    std::uint8_t tos = 0;
    std::uint8_t ttl = 0;
    std::uint16_t udp_source_min = 0;
    std::uint16_t udp_source_count = 0;
    /// Folded sum of the IPv4 header with TOS, TTL, length and identification 0 (not complemented).
    std::uint16_t ip_checksum_base = 0;
};

/// Builds Ethernet + IP (+ UDP); the caller appends the tunnel header with append_tunnel_header().
[[nodiscard]] EncapTemplate build_outer(const LinkHeader& link, const OuterConfig& config) noexcept;

/// Room for `bytes` of tunnel header after the outer headers; precondition: it fits
/// kTemplateBytesMax.
[[nodiscard]] std::span<std::byte>
append_tunnel_header(EncapTemplate& header, std::size_t bytes) noexcept;

}  // namespace culvert::tunnels
