// SPDX-License-Identifier: GPL-2.0-or-later
//
// Turns the packets of an encrypted tunnel into ESP (RFC 4303), the last thing that is done to them
// before they leave: in place where their bytes are their own. Mirror image of esp_open.hpp. Worker
// threads only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// Tunnel packets that were dropped instead of sealed, and what they carried.
struct Unsealed {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;  ///< Without the headers of the tunnel.
};

/// Bytes that seal() writes in front of the packets of an encrypted tunnel: headroom that it likes
/// to find.
[[nodiscard]] std::uint32_t seal_front_bytes(const TunnelView& tunnel) noexcept;

/// Seals packets of the encrypted tunnel of port `port`, Ethernet header to payload, with nothing
/// left undone in them; at most kBurstMax. What is left stands in front of `packets` afterwards, in
/// the same order, and the result is how many; the others are dropped, counted, and added to
/// `unsealed`.
[[nodiscard]] std::size_t seal(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    std::span<rte_mbuf*> packets,
    Unsealed& unsealed
) noexcept;

}  // namespace culvert::dataplane
