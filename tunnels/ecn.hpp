// SPDX-License-Identifier: GPL-2.0-or-later
//
// Explicit congestion notification through a tunnel (RFC 6040), as the rewrite sees it: two bits
// in, two bits out. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace culvert::tunnels {

/// The ECN field (RFC 3168 section 5): the two low bits of TOS or traffic class.
inline constexpr std::uint8_t kEcnMask = 3;
inline constexpr std::uint8_t kEcnNotEct = 0;
inline constexpr std::uint8_t kEcnEct1 = 1;
inline constexpr std::uint8_t kEcnEct0 = 2;
inline constexpr std::uint8_t kEcnCe = 3;

/// RFC 6040 section 4.1: normal copies the inner field outwards; compatibility sends Not-ECT, for a
/// peer that does not know ECN.
enum class EcnMode : std::uint8_t { normal, compatibility };

/// Combinations that RFC 6040 figure 4 marks as unused or dangerous, (!) and (!!!).
enum class EcnAnomaly : std::uint8_t {
    none = 0,
    not_ect_in_ect0,  ///< Inner Not-ECT, outer ECT(0).
    not_ect_in_ect1,
    not_ect_in_ce,  ///< Dropped.
    ect1_in_ect0,
    ce_in_ect1,
    count_
};
inline constexpr std::size_t kEcnAnomalyCount = static_cast<std::size_t>(EcnAnomaly::count_);
inline constexpr std::array<std::string_view, kEcnAnomalyCount> kEcnAnomalyNames{
    "none",
    "inner_not_ect_outer_ect0",
    "inner_not_ect_outer_ect1",
    "inner_not_ect_outer_ce",
    "inner_ect1_outer_ect0",
    "inner_ce_outer_ect1"};

[[nodiscard]] constexpr std::uint8_t ecn_encap(EcnMode mode, std::uint8_t inner) noexcept {
    return mode == EcnMode::normal ? inner & kEcnMask : kEcnNotEct;
}

/// What the inner field becomes.
struct EcnDecap {
    std::uint8_t ecn = kEcnNotEct;
    bool drop = false;
    EcnAnomaly anomaly = EcnAnomaly::none;
    constexpr bool operator==(const EcnDecap&) const = default;
};

/// RFC 6040 figure 4; the same for both modes (section 4.2).
[[nodiscard]] constexpr EcnDecap ecn_decap(std::uint8_t inner, std::uint8_t outer) noexcept {
    using enum EcnAnomaly;
    // Rows: inner; columns: outer; both in the order of the code points 00, 01, 10, 11.
    constexpr std::array<std::array<EcnDecap, 4>, 4> kTable{{
        {{{kEcnNotEct},
          {kEcnNotEct, false, not_ect_in_ect1},
          {kEcnNotEct, false, not_ect_in_ect0},
          {kEcnNotEct, true, not_ect_in_ce}}},
        {{{kEcnEct1}, {kEcnEct1}, {kEcnEct1, false, ect1_in_ect0}, {kEcnCe}}},
        {{{kEcnEct0}, {kEcnEct1}, {kEcnEct0}, {kEcnCe}}},
        {{{kEcnCe}, {kEcnCe, false, ce_in_ect1}, {kEcnCe}, {kEcnCe}}},
    }};
    return kTable[inner & kEcnMask][outer & kEcnMask];
}

/// Sets the ECN field of the IPv4 (with its checksum, RFC 1624) or IPv6 header at the front of
/// `ip`; precondition: the fixed header of the version that its first nibble says is there.
void set_ecn(std::span<std::byte> ip, std::uint8_t ecn) noexcept;

}  // namespace culvert::tunnels
