// SPDX-License-Identifier: GPL-2.0-or-later
//
// Geneve (RFC 8926 section 3) carrying Ethernet frames. Every option's length is judged on receipt;
// whether a critical option is known is for the tunnel to say (geneve_options_known()). The C bit
// of the header is sent as the RFC asks and not read: Linux 6.1 leaves it clear beside critical
// options, so the types alone tell. Reserved bits are ignored on receipt. Not handled: OAM packets,
// payloads other than Ethernet, and options that differ from packet to packet. Any thread may call
// everything here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tunnels/geneve_options.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"
#include "tunnels/tunnel_headers.hpp"

namespace culvert::tunnels {

struct Geneve {
    static constexpr std::string_view kName = "geneve";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolUdp, .default_udp_port = 6081};
    static constexpr Features kFeatures{.options = true};
    static constexpr unsigned kKeyBits = 24;
    static constexpr bool kKeyAlwaysPresent = true;
    static constexpr std::size_t kHeaderBytesMax = sizeof(GeneveHeader) + kOptionsBytesMax;
    static constexpr std::size_t kParseBytesMax = sizeof(GeneveHeader) + kGeneveOptionsBytesMax;

    static constexpr std::uint8_t kVersionBits = 0xc0;
    static constexpr std::uint8_t kLengthBits = 0x3f;  ///< In units of 4 bytes.
    static constexpr std::uint8_t kFlagOam = 0x80;
    static constexpr std::uint8_t kFlagCritical = 0x40;

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(GeneveHeader)) {
            parsed.drop = DropReason::geneve_malformed;
            return parsed;
        }
        const auto header = load<GeneveHeader>(in.data());
        if ((header.version_length & kVersionBits) != 0) {
            parsed.drop = DropReason::geneve_version;
            return parsed;
        }
        const std::size_t options_bytes = (header.version_length & kLengthBits) * std::size_t{4};
        if (options_bytes != 0) {
            const auto behind = in.subspan(sizeof header);
            if (behind.size() < options_bytes ||
                !geneve_options_whole(behind.first(options_bytes))) {
                parsed.drop = DropReason::geneve_malformed;
                return parsed;
            }
            parsed.has_critical_options = geneve_options_critical(behind.first(options_bytes));
        }
        if ((header.flags & kFlagOam) != 0) {
            parsed.drop = DropReason::geneve_oam;
            return parsed;
        }
        if (header.protocol != Be16(kEtherTypeTransparentBridging)) {
            parsed.drop = DropReason::geneve_protocol;
            return parsed;
        }
        parsed.header_bytes = static_cast<std::uint16_t>(sizeof header + options_bytes);
        parsed.has_key = true;
        parsed.key = header.vni_reserved.host() >> 8U;
        return parsed;
    }

    /// The fixed header. Options are judged one by one.
    [[nodiscard]] static bool
    mark_decisive(std::span<const std::byte> in, std::span<std::byte> mask) noexcept {
        GeneveHeader decisive;
        decisive.version_length = 0xff;
        decisive.flags = kFlagOam;
        decisive.protocol = Be16(std::uint16_t{0xffff});
        decisive.vni_reserved = Be32(0xffffff00U);
        store(mask.data(), decisive);
        return (load<GeneveHeader>(in.data()).version_length & kLengthBits) == 0;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& config) noexcept {
        return sizeof(GeneveHeader) + config.options.size();
    }

    /// A tunnel without a key sends VNI 0. Preconditions: the key is below 2^24, the options are
    /// geneve_options_whole() and at most kOptionsBytesMax.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        GeneveHeader header;
        header.version_length = static_cast<std::uint8_t>(config.options.size() / 4);
        header.flags = geneve_options_critical(config.options) ? kFlagCritical : std::uint8_t{0};
        header.protocol = Be16(kEtherTypeTransparentBridging);
        header.vni_reserved = Be32(config.key.value_or(0) << 8U);
        store(out.data(), header);
        std::ranges::copy(config.options, out.begin() + sizeof header);
    }

    [[nodiscard]] static bool needs_patch(const HeaderConfig& /*config*/) noexcept { return false; }
    static void patch(std::span<std::byte> /*out*/, const PacketFacts& /*facts*/) noexcept {}
    [[nodiscard]] static std::size_t checksum_offset(const HeaderConfig& /*config*/) noexcept {
        return 0;
    }
};

static_assert(TunnelProtocol<Geneve>);

}  // namespace culvert::tunnels
