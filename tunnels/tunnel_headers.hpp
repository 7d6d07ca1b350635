// SPDX-License-Identifier: GPL-2.0-or-later
//
// The wire layout of every tunnel header: GRE (RFC 2784, RFC 2890), VXLAN (RFC 7348) with group
// policy (draft-smith-vxlan-group-policy), VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe), Geneve (RFC 8926)
// and LISP (RFC 9300). As in headers.hpp these are layouts only. Any thread may call everything
// here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"

namespace culvert::tunnels {

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-----------------+-----+-------------------------------+
// |C|R|K|S|    reserved     | ver |         protocol type         |
// +-+-+-+-+-----------------+-----+-------------------------------+
// |      checksum (if C)          |       reserved1 (if C)        |
// +-------------------------------+-------------------------------+
// |                          key (if K)                           |
// +---------------------------------------------------------------+
// |                    sequence number (if S)                     |
// +---------------------------------------------------------------+
struct GreHeader {  // The first row; the others are optional.
    Be16 flags_version;
    Be16 protocol;
};
static_assert(WireHeader<GreHeader> && sizeof(GreHeader) == 4);

// D and A, and the group policy ID, mean something only with G.
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-------------------------------+
// |G|R|R|R|I|R|R|R|R|D|R|R|A|R|R|R|        group policy ID        |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+---------------+---------------+
// |            VXLAN network identifier           |   reserved    |
// +-----------------------------------------------+---------------+
struct VxlanHeader {
    std::uint8_t flags = 0;
    std::uint8_t policy_flags = 0;
    Be16 group_policy;
    Be32 vni_reserved;  ///< The VNI in the upper 24 bits.
};
static_assert(WireHeader<VxlanHeader> && sizeof(VxlanHeader) == 8);

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+---+-+-+-+-+-------------------------------+---------------+
// |R|R|ver|I|P|B|O|           reserved            | next protocol |
// +-+-+---+-+-+-+-+-------------------------------+---------------+
// |            VXLAN network identifier           |   reserved    |
// +-----------------------------------------------+---------------+
struct VxlanGpeHeader {
    std::uint8_t flags = 0;
    std::array<std::uint8_t, 2> reserved{};
    std::uint8_t next_protocol = 0;
    Be32 vni_reserved;  ///< The VNI in the upper 24 bits.
};
static_assert(WireHeader<VxlanGpeHeader> && sizeof(VxlanGpeHeader) == 8);

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +---+-----------+-+-+-----------+-------------------------------+
// |ver|opt length |O|C| reserved  |         protocol type         |
// +---+-----------+-+-+-----------+---------------+---------------+
// |           virtual network identifier          |   reserved    |
// +-----------------------------------------------+---------------+
struct GeneveHeader {  // Options follow, as long as "opt length" says in units of 4 bytes.
    std::uint8_t version_length = 0;
    std::uint8_t flags = 0;
    Be16 protocol;
    Be32 vni_reserved;  ///< The VNI in the upper 24 bits.
};
static_assert(WireHeader<GeneveHeader> && sizeof(GeneveHeader) == 8);

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-------------------------------+-+-------------+-----+---------+
// |         option class          |C|    type     |R|R|R| length  |
// +-------------------------------+-+-------------+-----+---------+
struct GeneveOptionHeader {  // Data follows, as long as "length" says in units of 4 bytes.
    Be16 option_class;
    std::uint8_t type = 0;  ///< With the critical bit.
    std::uint8_t length = 0;
};
static_assert(WireHeader<GeneveOptionHeader> && sizeof(GeneveOptionHeader) == 4);

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+---+-----------------------------------------------+
// |N|L|E|V|I|R|K K|             nonce or map-version              |
// +-+-+-+-+-+-+---+-------------------------------+---------------+
// |             instance ID (with I)              |locator status |
// +-----------------------------------------------+---------------+
struct LispHeader {
    std::uint8_t flags = 0;
    std::array<std::uint8_t, 3> nonce{};
    Be32 instance_locators;  ///< With I the instance ID in the upper 24 bits.
};
static_assert(WireHeader<LispHeader> && sizeof(LispHeader) == 8);

}  // namespace culvert::tunnels
