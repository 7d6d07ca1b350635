// SPDX-License-Identifier: GPL-2.0-or-later
//
// The list of tunnel protocols. A protocol's index in it is what tables, tunnels and counters hold;
// everything else that depends on the protocol is asked for here by index. Dispatch is a fold over
// the list, which compiles to a few compares and direct calls: no virtual call, no table of
// pointers. Any thread may call everything here.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "tunnels/geneve.hpp"
#include "tunnels/gre.hpp"
#include "tunnels/lisp.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"
#include "tunnels/vxlan.hpp"
#include "tunnels/vxlan_gpe.hpp"

namespace culvert::tunnels {

template <class... P>
struct ProtocolList {
    static_assert((TunnelProtocol<P> && ...), "A listed protocol lacks a member of its contract.");
    static constexpr std::size_t kCount = sizeof...(P);
};

/// Adding a protocol: include its header above and name it here.
using Protocols = ProtocolList<Gre, Vxlan, VxlanGpe, Geneve, Lisp>;

inline constexpr std::size_t kProtocolCount = Protocols::kCount;
static_assert(kProtocolCount <= std::numeric_limits<std::uint8_t>::max());

/// What can be said about a protocol without looking at a packet.
struct ProtocolDescriptor {
    std::string_view name;
    OuterMatch outer{};
    Features features{};
    unsigned key_bits = 0;
    bool key_always_present = false;
    std::size_t header_bytes_max = 0;
    std::size_t parse_bytes_max = 0;
};

namespace detail {

template <class... P>
[[nodiscard]] constexpr std::array<ProtocolDescriptor, sizeof...(P)>
describe(ProtocolList<P...> /*list*/) noexcept {
    return {ProtocolDescriptor{
        .name = P::kName,
        .outer = P::kOuter,
        .features = P::kFeatures,
        .key_bits = P::kKeyBits,
        .key_always_present = P::kKeyAlwaysPresent,
        .header_bytes_max = P::kHeaderBytesMax,
        .parse_bytes_max = P::kParseBytesMax}...};
}

/// Calls `visit.template operator()<P>()` for the protocol at `index`, for none when there is no
/// such index.
template <class... P, class Visitor>
constexpr void visit(ProtocolList<P...> /*list*/, std::uint8_t index, Visitor&& visitor) noexcept {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        static_cast<void>(((index == I && (visitor.template operator()<P>(), true)) || ...));
    }
    (std::index_sequence_for<P...>{});
}

}  // namespace detail

/// Indexed by protocol.
inline constexpr std::array<ProtocolDescriptor, kProtocolCount> kProtocols =
    detail::describe(Protocols{});

/// The index of the protocol with this configuration word.
[[nodiscard]] constexpr std::optional<std::uint8_t> find_protocol(std::string_view name) noexcept {
    for (std::size_t i = 0; i < kProtocolCount; ++i) {
        if (kProtocols[i].name == name) {
            return static_cast<std::uint8_t>(i);
        }
    }
    return std::nullopt;
}

namespace detail {

/// No two protocols may share a word, or an outer packet that fits both by default.
[[nodiscard]] constexpr bool protocols_are_distinct() noexcept {
    for (std::size_t i = 0; i < kProtocolCount; ++i) {
        for (std::size_t j = i + 1; j < kProtocolCount; ++j) {
            const OuterMatch a = kProtocols[i].outer;
            const OuterMatch b = kProtocols[j].outer;
            if (kProtocols[i].name == kProtocols[j].name ||
                (a.ip_protocol == b.ip_protocol && a.default_udp_port == b.default_udp_port)) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace detail
static_assert(detail::protocols_are_distinct());

/// The longest tunnel header of any protocol: of those that are sent, and of those that are read.
inline constexpr std::size_t kTunnelHeaderBytesMax =
    std::ranges::max(kProtocols, {}, &ProtocolDescriptor::header_bytes_max).header_bytes_max;
inline constexpr std::size_t kTunnelParseBytesMax =
    std::ranges::max(kProtocols, {}, &ProtocolDescriptor::parse_bytes_max).parse_bytes_max;

/// P::parse of the protocol at `index`. An index outside the list is no protocol, so no tunnel: the
/// packet is dropped.
[[nodiscard]] inline Parsed
parse_protocol(std::uint8_t index, std::span<const std::byte> in) noexcept {
    Parsed parsed;
    parsed.drop = DropReason::tunnel_unknown_peer;
    detail::visit(Protocols{}, index, [&]<class P>() noexcept { parsed = P::parse(in); });
    return parsed;
}

/// P::mark_decisive of the protocol at `index` (precondition: it is in the list).
[[nodiscard]] inline bool mark_decisive(
    std::uint8_t index, std::span<const std::byte> in, std::span<std::byte> mask
) noexcept {
    bool same_for_all = false;
    detail::visit(Protocols{}, index, [&]<class P>() noexcept {
        same_for_all = P::mark_decisive(in, mask);
    });
    return same_for_all;
}

/// Appends the tunnel header of the protocol at `index` to the outer headers in `header`.
inline void
append_header(std::uint8_t index, const HeaderConfig& config, EncapTemplate& header) noexcept {
    header.protocol = index;
    header.tunnel_offset = header.length;
    detail::visit(Protocols{}, index, [&]<class P>() noexcept {
        P::write(config, append_tunnel_header(header, P::header_bytes(config)));
        header.patched = P::needs_patch(config);
        header.sequenced = config.sequence && P::kFeatures.sequence;
        header.nvgre_key = config.nvgre_key && P::kFeatures.nvgre_key;
        header.checksum_offset = static_cast<std::uint8_t>(P::checksum_offset(config));
    });
}

/// P::patch of the template's protocol; `out` is a copy of all of the template's bytes. What the
/// template knows better than the caller is taken from it (PacketFacts::nvgre_key).
inline void
patch_tunnel(const EncapTemplate& header, std::span<std::byte> out, PacketFacts facts) noexcept {
    facts.nvgre_key = header.nvgre_key;
    detail::visit(Protocols{}, header.protocol, [&]<class P>() noexcept {
        P::patch(out.subspan(header.tunnel_offset, header.length - header.tunnel_offset), facts);
    });
}

}  // namespace culvert::tunnels
