// SPDX-License-Identifier: GPL-2.0-or-later
//
// The contract of a tunnel protocol: bytes in, bytes out. A protocol is one header in this folder
// plus one line in protocols.hpp; receive dispatch, configuration words, counters, conformance
// tests, the fuzz target and the micro bench come from that list.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tunnels/drop_reason.hpp"

namespace culvert::tunnels {

/// How a protocol is recognised in the outer packet.
struct OuterMatch {
    std::uint8_t ip_protocol;        ///< IP protocol number (17 for UDP).
    std::uint16_t default_udp_port;  ///< Host order; 0 when the protocol is not carried in UDP.
};

/// What parse() found. On drop != none no other field may be read.
struct Parsed {
    DropReason drop = DropReason::none;
    std::uint8_t header_bytes = 0;  ///< From the start of the tunnel header to the inner frame.
    bool has_key = false;           ///< False when the header carries none (GRE without K).
    bool verify_checksum =
        false;  ///< The 16-bit one's complement sum over header + payload must be 0xffff.
    std::uint32_t key = 0;  ///< VNI or key, host order; 0 when !has_key.
};

/// What write() needs to know of a tunnel.
struct HeaderConfig {
    std::optional<std::uint32_t> key;  ///< VNI or key to send, host order.
};

template <class P>
concept TunnelProtocol =
    requires(std::span<const std::byte> in, std::span<std::byte> out, const HeaderConfig& config) {
    {
        P::kName
        } -> std::convertible_to<std::string_view>;  // Configuration word and counter prefix.
    { P::kOuter } -> std::convertible_to<OuterMatch>;
    { P::kKeyBits } -> std::convertible_to<unsigned>;  // Width of the key on the wire.
    {
        P::kKeyAlwaysPresent
        } -> std::convertible_to<bool>;  // A header without a key does not exist.
    {
        P::kHeaderBytesMax
        } -> std::convertible_to<std::size_t>;  // Headroom is checked against it once.
    // `in` starts at the tunnel header (after IP, or after UDP) and ends with the contiguous bytes
    // at hand.
    { P::parse(in) }
    noexcept->std::same_as<Parsed>;
    { P::header_bytes(config) }
    noexcept->std::same_as<std::size_t>;
    // `out` is exactly header_bytes(config) long.
    { P::write(config, out) }
    noexcept->std::same_as<void>;
};

}  // namespace culvert::tunnels
