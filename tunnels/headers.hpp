// SPDX-License-Identifier: GPL-2.0-or-later
//
// The wire layout of every header around a tunnel header that tunnels/ reads or writes: Ethernet
// and 802.1Q, IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768); those of tunnels are in
// tunnel_headers.hpp. These are layouts only: lengths, versions and flags are judged where a header
// is parsed. All structs have alignment 1 and no padding. Any thread may call everything here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tunnels/address.hpp"
#include "tunnels/endian.hpp"

namespace culvert::tunnels {

inline constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherTypeIpv6 = 0x86dd;
inline constexpr std::uint16_t kEtherTypeVlan = 0x8100;         ///< IEEE 802.1Q C-TAG.
inline constexpr std::uint16_t kEtherTypeServiceVlan = 0x88a8;  ///< IEEE 802.1ad S-TAG.
inline constexpr std::uint16_t kEtherTypeTransparentBridging = 0x6558;

template <class H>
concept WireHeader = std::is_trivially_copyable_v<H> && alignof(H) == 1;

/// Copies a header out of packet bytes; precondition: sizeof(H) bytes are there. A copy costs
/// nothing after optimisation and, unlike a cast, has defined behaviour.
template <WireHeader H>
[[nodiscard]] inline H load(const std::byte* from) noexcept {
    H header;
    std::memcpy(static_cast<void*>(&header), from, sizeof header);
    return header;
}

/// The reverse of load(); precondition: sizeof(H) bytes may be written.
template <WireHeader H>
inline void store(std::byte* to, const H& header) noexcept {
    std::memcpy(to, &header, sizeof header);
}

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +---------------------------------------------------------------+
// |                        destination                            |
// +-------------------------------+-------------------------------+
// |   destination (last 2)        |            source             |
// +-------------------------------+-------------------------------+
// |                      source (last 4)                          |
// +-------------------------------+-------------------------------+
// |          EtherType            |
// +-------------------------------+
struct EthernetHeader {
    MacAddress destination;
    MacAddress source;
    Be16 ether_type;
};
static_assert(WireHeader<EthernetHeader> && sizeof(EthernetHeader) == 14);

// What follows the EtherType 0x8100 or 0x88a8:
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-----+-+-----------------------+-------------------------------+
// | PCP |D|        VLAN ID        |     EtherType of the rest     |
// +-----+-+-----------------------+-------------------------------+
struct VlanTag {
    Be16 control;
    Be16 ether_type;
};
static_assert(WireHeader<VlanTag> && sizeof(VlanTag) == 4);

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-------+-------+---------------+-------------------------------+
// |version|  IHL  | DSCP      |ECN|          total length         |
// +-------+-------+---------------+-----+-------------------------+
// |        identification         |0|D|M|    fragment offset      |
// +---------------+---------------+-----+-------------------------+
// | time to live  |   protocol    |        header checksum        |
// +---------------+---------------+-------------------------------+
// |                         source address                        |
// +---------------------------------------------------------------+
// |                      destination address                      |
// +---------------------------------------------------------------+
struct Ipv4Header {
    std::uint8_t version_ihl = 0;
    std::uint8_t tos = 0;
    Be16 total_length;
    Be16 identification;
    Be16 flags_fragment;
    std::uint8_t ttl = 0;
    std::uint8_t protocol = 0;
    Be16 checksum;
    std::array<std::uint8_t, 4> source{};
    std::array<std::uint8_t, 4> destination{};
};
static_assert(WireHeader<Ipv4Header> && sizeof(Ipv4Header) == 20);

inline constexpr std::size_t kIpv4HeaderBytesMax = 60;
inline constexpr std::uint16_t kIpv4DontFragment = 0x4000;
/// More-fragments flag and fragment offset: any bit set makes the packet a fragment.
inline constexpr std::uint16_t kIpv4FragmentMask = 0x3fff;
inline constexpr std::uint16_t kIpv4FragmentOffsetMask = 0x1fff;

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-------+---------------+---------------------------------------+
// |version| traffic class |               flow label              |
// +-------+---------------+-------+---------------+---------------+
// |        payload length         |  next header  |   hop limit   |
// +-------------------------------+---------------+---------------+
// |                  source address (16 octets)                   |
// +---------------------------------------------------------------+
// |               destination address (16 octets)                 |
// +---------------------------------------------------------------+
struct Ipv6Header {
    Be32 version_class_label;
    Be16 payload_length;
    std::uint8_t next_header = 0;
    std::uint8_t hop_limit = 0;
    std::array<std::uint8_t, 16> source{};
    std::array<std::uint8_t, 16> destination{};
};
static_assert(WireHeader<Ipv6Header> && sizeof(Ipv6Header) == 40);

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-------------------------------+-------------------------------+
// |          source port          |       destination port        |
// +-------------------------------+-------------------------------+
// |            length             |           checksum            |
// +-------------------------------+-------------------------------+
struct UdpHeader {
    Be16 source;
    Be16 destination;
    Be16 length;
    Be16 checksum;
};
static_assert(WireHeader<UdpHeader> && sizeof(UdpHeader) == 8);

}  // namespace culvert::tunnels
