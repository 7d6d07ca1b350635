// SPDX-License-Identifier: GPL-2.0-or-later
//
// GRE version 0 carrying Ethernet frames (RFC 2784, with the key and sequence number of RFC 2890).
// Not handled: source routing (RFC 1701; the R bit is dropped as gre_routing) and putting packets
// in sequence, which RFC 2890 section 2.2 leaves to the receiver: the number is skipped.
// RFC 2784 section 2.3 demands that reserved bits 1-5 be refused and would have 6-12 ignored. All
// of them are refused here, as Open vSwitch does: a conforming sender clears them, and RFC 1701
// gave bits 5-7 a meaning (the recursion count) that would be missed. Any thread may call this.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"

namespace culvert::tunnels {

struct Gre {
    static constexpr std::string_view kName = "gre";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolGre, .default_udp_port = 0};
    static constexpr unsigned kKeyBits = 32;
    static constexpr bool kKeyAlwaysPresent = false;

    static constexpr std::uint16_t kFlagChecksum = 0x8000;
    static constexpr std::uint16_t kFlagRouting = 0x4000;
    static constexpr std::uint16_t kFlagKey = 0x2000;
    static constexpr std::uint16_t kFlagSequence = 0x1000;
    static constexpr std::uint16_t kReservedBits = 0x0ff8;
    static constexpr std::uint16_t kVersionBits = 0x0007;

    static constexpr std::size_t kOptionBytes = 4;  ///< Of each of checksum, key and sequence.
    /// With all three options. parse() accepts them; write() sends the key at most.
    static constexpr std::size_t kHeaderBytesMax = sizeof(GreHeader) + 3 * kOptionBytes;

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(GreHeader)) {
            parsed.drop = DropReason::gre_malformed;
            return parsed;
        }
        const auto header = load<GreHeader>(in.data());
        const std::uint16_t flags = header.flags_version.host();
        constexpr unsigned kRefused = kVersionBits | kFlagRouting | kReservedBits;
        if ((flags & kRefused) != 0 || header.protocol != Be16(kEtherTypeTransparentBridging)) {
            parsed.drop = refusal(flags);
            return parsed;
        }
        const bool has_checksum = (flags & kFlagChecksum) != 0;
        const bool has_key = (flags & kFlagKey) != 0;
        const bool has_sequence = (flags & kFlagSequence) != 0;
        const std::size_t key_offset = sizeof(GreHeader) + kOptionBytes * has_checksum;
        const std::size_t header_bytes =
            key_offset + kOptionBytes * has_key + kOptionBytes * has_sequence;
        if (in.size() < header_bytes) {
            parsed.drop = DropReason::gre_malformed;
            return parsed;
        }
        parsed.header_bytes = static_cast<std::uint8_t>(header_bytes);
        parsed.verify_checksum = has_checksum;
        parsed.has_key = has_key;
        if (has_key) {
            parsed.key = load<Be32>(in.data() + key_offset).host();
        }
        return parsed;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& config) noexcept {
        return sizeof(GreHeader) + (config.key.has_value() ? kOptionBytes : 0);
    }

    /// The K bit and the key field are there only when the tunnel has a key, even if it is 0.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        GreHeader header;
        header.flags_version = Be16(config.key.has_value() ? kFlagKey : std::uint16_t{0});
        header.protocol = Be16(kEtherTypeTransparentBridging);
        store(out.data(), header);
        if (config.key.has_value()) {
            store(out.data() + sizeof(GreHeader), Be32(*config.key));
        }
    }

private:
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
