// SPDX-License-Identifier: GPL-2.0-or-later
//
// Geneve options (RFC 8926 section 3.5): a sequence of class, type, length and data. A walk is
// bounded by the length of what it is given, of which each step takes four bytes at least. What an
// option means is not known here. Any thread may call everything here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tunnels/headers.hpp"
#include "tunnels/tunnel_headers.hpp"

namespace culvert::tunnels {

/// What tells options apart.
struct GeneveOptionType {
    std::uint16_t option_class = 0;  ///< Host order.
    std::uint8_t type = 0;           ///< With the critical bit.
    constexpr bool operator==(const GeneveOptionType&) const = default;
};

/// Set in the type of an option that a receiver must know, or drop the packet.
inline constexpr std::uint8_t kGeneveOptionCritical = 0x80;
/// The length of an option's data, in units of 4 bytes; the other bits are reserved.
inline constexpr std::uint8_t kGeneveOptionLengthBits = 0x1f;
/// The most that the header's length field can say: 63 units of 4 bytes.
inline constexpr std::size_t kGeneveOptionsBytesMax = 252;

/// Calls `visit(GeneveOptionType)` for each option in turn, until it returns false. Returns false
/// when an option reaches beyond the end of `options`; options before it have been visited then.
template <class Visitor>
constexpr bool
walk_geneve_options(std::span<const std::byte> options, const Visitor& visit) noexcept {
    while (!options.empty()) {
        if (options.size() < sizeof(GeneveOptionHeader)) {
            return false;
        }
        const auto header = load<GeneveOptionHeader>(options.data());
        const std::size_t bytes =
            sizeof header + (header.length & kGeneveOptionLengthBits) * std::size_t{4};
        if (bytes > options.size()) {
            return false;
        }
        if (!visit(GeneveOptionType{header.option_class.host(), header.type})) {
            return true;
        }
        options = options.subspan(bytes);
    }
    return true;
}

/// Whether the options' lengths add up to exactly all of `options`.
[[nodiscard]] inline bool geneve_options_whole(std::span<const std::byte> options) noexcept {
    return walk_geneve_options(options, [](GeneveOptionType /*option*/) { return true; });
}

/// Whether one of the options is critical; precondition: geneve_options_whole().
[[nodiscard]] inline bool geneve_options_critical(std::span<const std::byte> options) noexcept {
    bool critical = false;
    static_cast<void>(walk_geneve_options(options, [&](GeneveOptionType option) {
        critical = (option.type & kGeneveOptionCritical) != 0;
        return !critical;
    }));
    return critical;
}

/// Whether each critical option of `options` is one of `known` (RFC 8926 section 3.5). `options`
/// are the bytes behind the fixed header, up to Parsed::header_bytes.
[[nodiscard]] inline bool geneve_options_known(
    std::span<const std::byte> options, std::span<const GeneveOptionType> known
) noexcept {
    bool all_known = true;
    const bool whole = walk_geneve_options(options, [&](GeneveOptionType option) {
        all_known = (option.type & kGeneveOptionCritical) == 0;
        for (const GeneveOptionType& candidate : known) {
            all_known = all_known || candidate == option;
        }
        return all_known;
    });
    return whole && all_known;
}

}  // namespace culvert::tunnels
