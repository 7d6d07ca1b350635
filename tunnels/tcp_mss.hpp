// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lowers the maximum segment size that a passing TCP SYN announces (RFC 9293 section 3.7.1), so
// that the peers never send what a tunnel cannot carry. Any thread, for bytes of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace culvert::tunnels {

/// `ip` is the writable head of an IP packet. When it is an unfragmented TCP SYN or SYN-ACK whose
/// MSS option says more than `mtu` carries (IP packet bytes; 40 less for IPv4, 60 less for IPv6, as
/// RFC 6691 counts), lowers the option and corrects the TCP checksum. With `checksum_partial` the
/// checksum field only has the pseudo-header's sum (a pending Offload) and stays. Returns whether
/// anything changed. Not handled: IPv6 extension headers, options outside `ip`, and a SYN without
/// the option, whose peer then takes the smallest MSS by default.
[[nodiscard]] bool
clamp_mss(std::span<std::byte> ip, std::uint32_t mtu, bool checksum_partial) noexcept;

}  // namespace culvert::tunnels
