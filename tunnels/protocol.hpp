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

/// What follows the tunnel header.
enum class Payload : std::uint8_t {
    ethernet,  ///< A frame without FCS.
    ip,        ///< An IPv4 or IPv6 packet; its version nibble says which.
};

/// What a protocol can carry and which options of a tunnel mean something to it; a configuration
/// that asks for others is refused.
struct Features {
    bool ethernet = true;       ///< Payload::ethernet.
    bool ip = false;            ///< Payload::ip.
    bool checksum = false;      ///< A checksum of its own (GRE), beside that of UDP.
    bool sequence = false;      ///< Sequence numbers.
    bool group_policy = false;  ///< A 16-bit group policy id (VXLAN-GBP).
    bool options = false;       ///< Type-length-value options (Geneve).
    bool nvgre_key = false;     ///< The key may be read as RFC 7637's VSID and flow id.
};

/// What parse() found. On drop != none no other field may be read.
struct Parsed {
    DropReason drop = DropReason::none;
    Payload payload = Payload::ethernet;
    bool has_key = false;  ///< False when the header carries none (GRE without K).
    bool verify_checksum =
        false;  ///< The one's complement sum over header + payload must be 0xffff.
    bool has_sequence = false;
    bool has_group_policy = false;
    bool has_critical_options = false;  ///< Some option must be known to the tunnel.
    std::uint16_t header_bytes = 0;     ///< From the start of the tunnel header to the payload.
    std::uint16_t group_policy = 0;
    std::uint32_t key = 0;  ///< VNI, instance ID or key, host order; 0 when !has_key.
    std::uint32_t sequence = 0;
};

/// What write() needs to know of a tunnel. Members that the protocol's Features lack are ignored.
struct HeaderConfig {
    std::optional<std::uint32_t> key{};  ///< VNI, instance ID or key to send, host order.
    Payload payload = Payload::ethernet;
    bool checksum = false;
    bool sequence = false;
    bool nvgre_key = false;           ///< `key` is a VSID (24 bits).
    bool carry_group_policy = false;  ///< A packet's own id (PacketFacts) is sent with it.
    std::optional<std::uint16_t> group_policy{};  ///< To send with packets that have none.
    /// Geneve options as they stand on the wire, at most kOptionsBytesMax, a multiple of 4.
    std::span<const std::byte> options{};
};

/// The longest options that are sent: with IPv6 and a VLAN tag the headers still fit the headroom.
inline constexpr std::size_t kOptionsBytesMax = 48;

/// What differs from packet to packet in a tunnel header.
struct PacketFacts {
    bool is_v6 = false;                           ///< Of a payload that is IP: its version is 6.
    std::uint32_t sequence = 0;                   ///< For a tunnel that sends sequence numbers.
    std::uint32_t entropy = 0;                    ///< The hash of the inner flow.
    std::optional<std::uint16_t> group_policy{};  ///< That the packet came in with.
    /// The key field is a VSID and a flow id. It is a fact of the tunnel that the header's bytes do
    /// not tell; patch_tunnel() takes it from the template, whatever the caller says.
    bool nvgre_key = false;
};

template <class P>
concept TunnelProtocol = requires(
    std::span<const std::byte> in,
    std::span<std::byte> out,
    const HeaderConfig& config,
    const PacketFacts& facts
) {
    {
        P::kName
        } -> std::convertible_to<std::string_view>;  // Configuration word and counter prefix.
    { P::kOuter } -> std::convertible_to<OuterMatch>;
    { P::kFeatures } -> std::convertible_to<Features>;
    { P::kKeyBits } -> std::convertible_to<unsigned>;  // Width of the key on the wire.
    {
        P::kKeyAlwaysPresent
        } -> std::convertible_to<bool>;  // A header without a key does not exist.
    {
        P::kHeaderBytesMax
        } -> std::convertible_to<std::size_t>;  // Of what write() makes; headroom is checked once.
    { P::kParseBytesMax } -> std::convertible_to<std::size_t>;  // Of what parse() may read.
    // `in` starts at the tunnel header (after IP, or after UDP) and ends with the contiguous bytes
    // at hand.
    { P::parse(in) }
    noexcept->std::same_as<Parsed>;
    // Marks in `mask`, which is zero and as long as the header at the front of `in` (precondition:
    // parse() accepted it), the bits that parse() decides by: it says the same of every header that
    // is equal there. False when what parse() says differs from packet to packet of a tunnel.
    { P::mark_decisive(in, out) }
    noexcept->std::same_as<bool>;
    { P::header_bytes(config) }
    noexcept->std::same_as<std::size_t>;
    // `out` is exactly header_bytes(config) long.
    { P::write(config, out) }
    noexcept->std::same_as<void>;
    // Whether patch() has anything to do for such a tunnel.
    { P::needs_patch(config) }
    noexcept->std::same_as<bool>;
    // Completes `out`, a copy of what write() made, for one packet.
    { P::patch(out, facts) }
    noexcept->std::same_as<void>;
    // Where the 16-bit checksum over tunnel header and payload goes; 0: there is none.
    { P::checksum_offset(config) }
    noexcept->std::same_as<std::size_t>;
};

}  // namespace culvert::tunnels
