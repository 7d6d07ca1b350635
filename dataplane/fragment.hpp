// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cuts an IP packet into fragments (RFC 791 section 3.2, RFC 8200 section 4.5). Any thread, for
// packets of its own. The reverse is reassembler.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/limits.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dataplane {

struct FragmentRequest {
    std::uint16_t ip_offset = 14;  ///< What is in front of it is repeated in each fragment.
    std::uint16_t mtu = 0;         ///< Bytes of a fragment from its IP header on.
    /// Of the IPv6 fragments, and of IPv4 ones whose packet had DF (the identification of such a
    /// packet means nothing, RFC 6864 section 4.1); must not repeat soon between two addresses.
    std::uint32_t identification = 0;
    bool ignore_df = false;  ///< Fragments IPv4 with DF too, and clears it.
};

/// In order of their offsets.
struct FragmentList {
    std::array<rte_mbuf*, kFragmentsMax> packets{};
    std::size_t count = 0;

    [[nodiscard]] std::span<rte_mbuf* const> span() const noexcept {
        return std::span(packets).first(count);
    }
};

/// Cuts `m` and gives the fragments, whose lengths and IPv4 checksums are final, to the caller.
/// They share the payload through indirect buffers from `shares`; their headers are from `headers`.
/// A packet that fits is handed back as it is; bytes behind the IP packet are not part of any
/// fragment. Preconditions: no pending Offload, `fragments` empty. Returns false, and `m` still is
/// the caller's, when
/// - its headers are malformed or not contiguous,
/// - it is IPv4 with DF, and ignore_df is not set,
/// - it is IPv6 and what follows the fixed header has to be in each fragment or is a fragment
///   header (hop-by-hop, routing and destination options are refused alike),
/// - the MTU is below 68 (IPv4) or 1280 (IPv6), or more than kFragmentsMax would be needed,
/// - no buffer is free.
[[nodiscard]] bool fragment_packet(
    rte_mbuf* m,
    const FragmentRequest& request,
    rte_mempool* headers,
    rte_mempool* shares,
    FragmentList& fragments
) noexcept;

/// The upper-layer protocol of an IPv4 or IPv6 fragment whose IP header is at `ip_offset`; nullopt
/// when that is no fragment, or not within `head`. An IPv6 fragment header that is not directly
/// behind the fixed header is not looked for.
[[nodiscard]] std::optional<std::uint8_t>
fragmented_protocol(std::span<const std::byte> head, std::size_t ip_offset) noexcept;

}  // namespace culvert::dataplane
