// SPDX-License-Identifier: GPL-2.0-or-later
//
// Recognises packets of a tunnel by the headers of one that was parsed: equal in every bit that
// parse_outer() and the protocol's parse() decide by, they need not be parsed again. What is left
// to judge are the fields that differ from packet to packet: lengths and the IPv4 header checksum.
// No match says nothing: such a packet is parsed. Not matched are IPv4 options, UDP checksums,
// bytes behind the outer packet, and what a protocol's mark_decisive() leaves out. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <smmintrin.h>

#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/ipv4_checksum.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"

namespace culvert::tunnels {

struct alignas(16) HeaderMatch {
    /// Ethernet with a VLAN tag, IPv6, UDP and 8 bytes of tunnel header fit; longer ones are not
    /// matched.
    static constexpr std::size_t kBytesMax = 80;

    std::array<std::byte, kBytesMax> expected{};  ///< Zero where `mask` is.
    std::array<std::byte, kBytesMax> mask{};
    std::uint8_t length = 0;  ///< Ethernet to the end of the tunnel header.
    std::uint8_t ip_offset = 0;
    bool is_v4 = false;
    std::uint8_t ip_length_at = 0;    ///< Where the frame has the length field of IP,
    std::uint8_t ip_length_less = 0;  ///< which does not count so many bytes of the frame,
    std::uint8_t udp_length_at = 0;   ///< and that of UDP; IP's again where there is no UDP.
    std::uint8_t udp_length_less = 0;
};

/// From a frame whose headers were accepted: `outer` and `parsed` say so (both drop none).
/// Nothing when such packets are not matched.
[[nodiscard]] std::optional<HeaderMatch> make_match(
    std::span<const std::byte> frame,
    const Outer& outer,
    const Parsed& parsed,
    std::uint8_t protocol
) noexcept;

/// The same from an ESP packet, on IP or in UDP: packets with this SPI. The checksum of UDP is not
/// looked at.
[[nodiscard]] std::optional<HeaderMatch>
make_esp_match(std::span<const std::byte> frame, const Outer& outer) noexcept;

/// Whether `frame`, whose bytes are all there, is a whole packet of the same tunnel: parse_outer()
/// and parse() would accept it, with the same result but for lengths, TOS and TTL.
[[nodiscard]] inline bool
matches(const HeaderMatch& match, std::span<const std::byte> frame) noexcept {
    constexpr std::size_t kLane = 16;
    if (frame.size() < HeaderMatch::kBytesMax) {
        return false;
    }
    const auto differing = [&](std::size_t at) noexcept {
        const auto lane = [&](const std::byte* bytes) noexcept {
            return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + at));
        };
        return _mm_and_si128(
            _mm_xor_si128(lane(frame.data()), lane(match.expected.data())), lane(match.mask.data())
        );
    };
    __m128i all = _mm_or_si128(
        _mm_or_si128(differing(0), differing(kLane)),
        _mm_or_si128(differing(2 * kLane), differing(3 * kLane))
    );
    if (match.length > 4 * kLane) {
        all = _mm_or_si128(all, differing(4 * kLane));
    }
    const auto length_at = [&](std::uint8_t at) noexcept {
        return std::size_t{load<Be16>(frame.data() + at).host()};
    };
    return _mm_testz_si128(all, all) != 0 &&
           length_at(match.ip_length_at) == frame.size() - match.ip_length_less &&
           length_at(match.udp_length_at) == frame.size() - match.udp_length_less &&
           (!match.is_v4 || ipv4_checksum_ok(frame.data() + match.ip_offset, sizeof(Ipv4Header)));
}

/// TOS or traffic class of a frame that matches().
[[nodiscard]] inline std::uint8_t
outer_tos(const HeaderMatch& match, std::span<const std::byte> frame) noexcept {
    const auto word = load<Be16>(frame.data() + match.ip_offset).host();
    return static_cast<std::uint8_t>(match.is_v4 ? word : word >> 4U);
}

}  // namespace culvert::tunnels
