// SPDX-License-Identifier: GPL-2.0-or-later
//
// LISP data packets (RFC 9300 sections 5.1 to 5.3) carrying IP packets; the version nibble of the
// payload says which, and the caller judges it. Sent is what Open vSwitch sent: an instance ID, one
// locator up, no nonce. Received nonces, map-versions and locator status bits are skipped, for
// nothing here probes locators. Not handled: encrypted payloads (RFC 8061), echoing nonces (section
// 10.1), the control plane. Any thread may call everything here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"
#include "tunnels/tunnel_headers.hpp"

namespace culvert::tunnels {

struct Lisp {
    static constexpr std::string_view kName = "lisp";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolUdp, .default_udp_port = 4341};
    static constexpr Features kFeatures{.ethernet = false, .ip = true};
    static constexpr unsigned kKeyBits = 24;
    static constexpr bool kKeyAlwaysPresent = false;
    static constexpr std::size_t kHeaderBytesMax = sizeof(LispHeader);
    static constexpr std::size_t kParseBytesMax = sizeof(LispHeader);

    static constexpr std::uint8_t kFlagNonce = 0x80;          ///< The N bit.
    static constexpr std::uint8_t kFlagLocatorStatus = 0x40;  ///< The L bit.
    static constexpr std::uint8_t kFlagEcho = 0x20;           ///< The E bit.
    static constexpr std::uint8_t kFlagMapVersion = 0x10;     ///< The V bit.
    static constexpr std::uint8_t kFlagInstance = 0x08;       ///< The I bit.
    static constexpr std::uint8_t kReservedBit = 0x04;        ///< Ignored on receipt.
    static constexpr std::uint8_t kKeyIdBits = 0x03;          ///< Not 0: the payload is encrypted.

    static constexpr std::uint32_t kLocatorUp = 1;  ///< The status of the sender's only locator.

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(LispHeader)) {
            parsed.drop = DropReason::lisp_malformed;
            return parsed;
        }
        const auto header = load<LispHeader>(in.data());
        // N and V lay claim to the same field. E without N means nothing (section 5.3).
        constexpr unsigned kBothInNonce = kFlagNonce | kFlagMapVersion;
        if ((header.flags & kBothInNonce) == kBothInNonce || (header.flags & kKeyIdBits) != 0) {
            parsed.drop = DropReason::lisp_flags;
            return parsed;
        }
        parsed.payload = Payload::ip;
        parsed.header_bytes = sizeof(LispHeader);
        parsed.has_key = (header.flags & kFlagInstance) != 0;
        if (parsed.has_key) {
            parsed.key = header.instance_locators.host() >> 8U;
        }
        return parsed;
    }

    /// Flags, and the instance ID where there is one; not the nonce.
    [[nodiscard]] static bool
    mark_decisive(std::span<const std::byte> in, std::span<std::byte> mask) noexcept {
        const bool has_key = (load<LispHeader>(in.data()).flags & kFlagInstance) != 0;
        LispHeader decisive;
        decisive.flags = 0xff;
        decisive.instance_locators = Be32(has_key ? 0xffffff00U : 0U);
        store(mask.data(), decisive);
        return true;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& /*config*/) noexcept {
        return sizeof(LispHeader);
    }

    /// A tunnel without a key sends instance ID 0. Precondition: the key is below 2^24.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        LispHeader header;
        header.flags = kFlagLocatorStatus | kFlagInstance;
        header.instance_locators = Be32(config.key.value_or(0) << 8U | kLocatorUp);
        store(out.data(), header);
    }

    [[nodiscard]] static bool needs_patch(const HeaderConfig& /*config*/) noexcept { return false; }
    static void patch(std::span<std::byte> /*out*/, const PacketFacts& /*facts*/) noexcept {}
    [[nodiscard]] static std::size_t checksum_offset(const HeaderConfig& /*config*/) noexcept {
        return 0;
    }
};

static_assert(TunnelProtocol<Lisp>);

}  // namespace culvert::tunnels
