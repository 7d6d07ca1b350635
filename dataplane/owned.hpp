// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets whose bytes are their own from end to end, as what enciphers in place wants them, and
// their ends. Any thread, for a packet of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/packet.hpp"

namespace culvert::dataplane::packet {

/// Segments that a packet may have to stay as it is; all that come from ports have fewer.
inline constexpr std::size_t kOwnSegmentsMax = 48;

/// Makes every byte writable and the segments at most kOwnSegmentsMax: copies the packet into fresh
/// buffers unless it is so already. Precondition: no pending Offload. Returns the packet, or
/// nullptr (still the caller's) when no buffer is free or those of the pool are too small.
[[nodiscard]] rte_mbuf* own(rte_mbuf* m, rte_mempool* pool) noexcept;

/// Appends `bytes` of uninitialised room, contiguous, and returns where; nullptr when no buffer is
/// free. Precondition: the last segment is writable.
[[nodiscard]] std::byte* append(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept;

/// Makes the last `bytes` of a packet that has more contiguous. False when no buffer is free.
[[nodiscard]] bool join_end(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept;

}  // namespace culvert::dataplane::packet
