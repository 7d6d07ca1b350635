// SPDX-License-Identifier: GPL-2.0-or-later
//
// GRE version 0 carrying Ethernet frames or IP packets (RFC 2784, with the key and sequence number
// of RFC 2890), and the key as NVGRE has it (RFC 7637 section 3.2). Not handled: source routing
// (RFC 1701; the R bit is dropped as gre_routing); putting packets in sequence and the checksum
// over the payload, which are the caller's. RFC 2784 section 2.3 demands that reserved bits 1-5 be
// refused and would have 6-12 ignored. All of them are refused here, as Open vSwitch does: a
// conforming sender clears them, and RFC 1701 gave bits 5-7 a meaning (the recursion count) that
// would be missed. Any thread may call this.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"
#include "tunnels/tunnel_headers.hpp"

namespace culvert::tunnels {

struct Gre {
    static constexpr std::string_view kName = "gre";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolGre, .default_udp_port = 0};
    static constexpr Features kFeatures{
        .ip = true, .checksum = true, .sequence = true, .nvgre_key = true};
    static constexpr unsigned kKeyBits = 32;
    static constexpr bool kKeyAlwaysPresent = false;

    static constexpr std::uint16_t kFlagChecksum = 0x8000;
    static constexpr std::uint16_t kFlagRouting = 0x4000;
    static constexpr std::uint16_t kFlagKey = 0x2000;
    static constexpr std::uint16_t kFlagSequence = 0x1000;
    static constexpr std::uint16_t kReservedBits = 0x0ff8;
    static constexpr std::uint16_t kVersionBits = 0x0007;

    static constexpr std::size_t kOptionBytes = 4;  ///< Of each of checksum, key and sequence.
    /// With all three options.
    static constexpr std::size_t kHeaderBytesMax = sizeof(GreHeader) + 3 * kOptionBytes;
    static constexpr std::size_t kParseBytesMax = kHeaderBytesMax;

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(GreHeader)) {
            parsed.drop = DropReason::gre_malformed;
            return parsed;
        }
        const auto header = load<GreHeader>(in.data());
        const std::uint16_t flags = header.flags_version.host();
        constexpr unsigned kRefused = kVersionBits | kFlagRouting | kReservedBits;
        const bool is_ethernet = header.protocol == Be16(kEtherTypeTransparentBridging);
        const bool is_ip =
            header.protocol == Be16(kEtherTypeIpv4) || header.protocol == Be16(kEtherTypeIpv6);
        if ((flags & kRefused) != 0 || !(is_ethernet || is_ip)) {
            parsed.drop = refusal(flags);
            return parsed;
        }
        const bool has_checksum = (flags & kFlagChecksum) != 0;
        const bool has_key = (flags & kFlagKey) != 0;
        const bool has_sequence = (flags & kFlagSequence) != 0;
        const std::size_t key_offset = sizeof(GreHeader) + kOptionBytes * has_checksum;
        const std::size_t sequence_offset = key_offset + kOptionBytes * has_key;
        const std::size_t header_bytes = sequence_offset + kOptionBytes * has_sequence;
        if (in.size() < header_bytes) {
            parsed.drop = DropReason::gre_malformed;
            return parsed;
        }
        parsed.payload = is_ip ? Payload::ip : Payload::ethernet;
        parsed.header_bytes = static_cast<std::uint16_t>(header_bytes);
        parsed.verify_checksum = has_checksum;
        parsed.has_key = has_key;
        if (has_key) {
            parsed.key = load<Be32>(in.data() + key_offset).host();
        }
        parsed.has_sequence = has_sequence;
        if (has_sequence) {
            parsed.sequence = load<Be32>(in.data() + sequence_offset).host();
        }
        return parsed;
    }

    /// All of it. Checksums and sequence numbers differ from packet to packet.
    [[nodiscard]] static bool
    mark_decisive(std::span<const std::byte> in, std::span<std::byte> mask) noexcept {
        std::ranges::fill(mask, std::byte{0xff});
        const std::uint16_t flags = load<GreHeader>(in.data()).flags_version.host();
        return (flags & (kFlagChecksum | kFlagSequence)) == 0;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& config) noexcept {
        return sizeof(GreHeader) + kOptionBytes * config.checksum + kOptionBytes * has_key(config) +
               kOptionBytes * config.sequence;
    }

    /// The K bit and the key field are there only when the tunnel has a key, even if it is 0, and
    /// always with an NVGRE key, of which RFC 7637 demands it. What differs from packet to packet
    /// (checksum, sequence, flow id) is 0 and an IP payload is said to be IPv4.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        unsigned flags = 0;
        std::byte* field = out.data() + sizeof(GreHeader);
        const auto append = [&](unsigned flag, std::uint32_t value) noexcept {
            flags |= flag;
            store(field, Be32(value));
            field += kOptionBytes;
        };
        if (config.checksum) {
            append(kFlagChecksum, 0);
        }
        if (has_key(config)) {
            const std::uint32_t key = config.key.value_or(0);
            append(kFlagKey, config.nvgre_key ? key << kFlowIdBits : key);
        }
        if (config.sequence) {
            append(kFlagSequence, 0);
        }
        const bool is_ip = config.payload == Payload::ip;
        GreHeader header;
        header.flags_version = Be16(static_cast<std::uint16_t>(flags));
        header.protocol = Be16(is_ip ? kEtherTypeIpv4 : kEtherTypeTransparentBridging);
        store(out.data(), header);
    }

    [[nodiscard]] static bool needs_patch(const HeaderConfig& config) noexcept {
        return config.payload == Payload::ip || config.sequence || config.nvgre_key;
    }

    static void patch(std::span<std::byte> out, const PacketFacts& facts) noexcept {
        const auto header = load<GreHeader>(out.data());
        const std::uint16_t flags = header.flags_version.host();
        if (header.protocol != Be16(kEtherTypeTransparentBridging)) {
            const Be16 protocol(facts.is_v6 ? kEtherTypeIpv6 : kEtherTypeIpv4);
            store(out.data() + offsetof(GreHeader, protocol), protocol);
        }
        const std::size_t key_offset =
            sizeof(GreHeader) + ((flags & kFlagChecksum) != 0 ? kOptionBytes : 0);
        const bool keyed = (flags & kFlagKey) != 0;
        if (facts.nvgre_key && keyed) {
            // The last octet of the field; the VSID before it stays.
            out[key_offset + kOptionBytes - 1] = static_cast<std::byte>(facts.entropy);
        }
        if ((flags & kFlagSequence) != 0) {
            store(out.data() + key_offset + (keyed ? kOptionBytes : 0), Be32(facts.sequence));
        }
    }

    /// The field lies right behind the fixed header.
    [[nodiscard]] static std::size_t checksum_offset(const HeaderConfig& config) noexcept {
        return config.checksum ? sizeof(GreHeader) : 0;
    }

private:
    static constexpr unsigned kFlowIdBits = 8;  ///< RFC 7637: the rest of the key is the VSID.

    [[nodiscard]] static bool has_key(const HeaderConfig& config) noexcept {
        return config.key.has_value() || config.nvgre_key;
    }

    /// Why a header with these flags is refused. The version is judged first: other versions give
    /// the remaining bits other meanings.
    [[nodiscard]] static DropReason refusal(std::uint16_t flags) noexcept {
        if ((flags & kVersionBits) != 0) {
            return DropReason::gre_version;
        }
        if ((flags & kFlagRouting) != 0) {
            return DropReason::gre_routing;
        }
        if ((flags & kReservedBits) != 0) {
            return DropReason::gre_reserved_bits;
        }
        return DropReason::gre_protocol;
    }
};

static_assert(TunnelProtocol<Gre>);

}  // namespace culvert::tunnels
