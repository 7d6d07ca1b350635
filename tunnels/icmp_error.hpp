// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ICMP error that tells the sender of a frame why it was not forwarded: RFC 792, RFC 1191
// (next-hop MTU), RFC 4443. When to stay silent: RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7,
// RFC 4443 section 2.4(e). Rates are the caller's business. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tunnels/address.hpp"

namespace culvert::tunnels {

enum class IcmpError : std::uint8_t {
    too_big,       ///< IPv4: type 3 code 4. IPv6: type 2.
    ttl_exceeded,  ///< IPv4: type 11 code 0. IPv6: type 3 code 0.
};

/// The whole IP packet of an error: RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4(c).
inline constexpr std::size_t kIcmpv4ErrorBytesMax = 576;
inline constexpr std::size_t kIcmpv6ErrorBytesMax = 1280;
/// The same with Ethernet and two VLAN tags: what write_icmp_error() needs at most.
inline constexpr std::size_t kIcmpErrorFrameBytesMax = 14 + 2 * 4 + kIcmpv6ErrorBytesMax;

struct IcmpErrorRequest {
    IcmpError error = IcmpError::too_big;
    std::uint16_t ip_offset = 14;  ///< Of the IP header in the offending frame, behind its tags.
    std::uint32_t mtu = 0;  ///< What would fit, in bytes from the IP header on; too_big only.
    /// Of a router that answers by its own address (same family as the packet). Without it the
    /// error comes from the packet's destination, as from a bridge, which has no address.
    std::optional<IpAddress> source;
};

/// Writes the frame of the error about the frame that starts with `head`, with MAC addresses
/// exchanged and VLAN tags kept, into `out`. Quotes as much as `head` and the limits above have.
/// Returns its length; 0 when no error may be sent about such a frame, when the frame's headers are
/// malformed or not within `head`, or when `out` is too small (kIcmpErrorFrameBytesMax never is).
[[nodiscard]] std::size_t write_icmp_error(
    std::span<const std::byte> head, const IcmpErrorRequest& request, std::span<std::byte> out
) noexcept;

}  // namespace culvert::tunnels
