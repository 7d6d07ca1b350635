// SPDX-License-Identifier: GPL-2.0-or-later
//
// What encapsulation wants to know of the packet that goes into a tunnel, read in one pass:
// the flow's hash (RFC 7348 section 5, RFC 6438), and the fields that outer headers inherit. Any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

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

/// Reads a frame (up to two VLAN tags) or an IP packet. `payload` may be truncated anywhere. The
/// hash is over addresses, protocol and ports; it leaves ports out for fragments and falls back to
/// the MAC addresses for what is not IP.
[[nodiscard]] Inner inspect_inner(std::span<const std::byte> payload, Payload kind) noexcept;

}  // namespace culvert::tunnels
