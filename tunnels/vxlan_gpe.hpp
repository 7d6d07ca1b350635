// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe section 3) carrying Ethernet frames or IP packets. The B
// flag (the packet was replicated) is tolerated and never sent. A header without the P flag, which
// would be plain VXLAN on this port, is refused, as are versions and flags that the draft reserves.
// Reserved fields are ignored on receipt. Not handled: next protocols other than Ethernet, IPv4 and
// IPv6, and OAM packets. Any thread may call everything here.
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

struct VxlanGpe {
    static constexpr std::string_view kName = "vxlan-gpe";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolUdp, .default_udp_port = 4790};
    static constexpr Features kFeatures{.ip = true};
    static constexpr unsigned kKeyBits = 24;
    static constexpr bool kKeyAlwaysPresent = true;
    static constexpr std::size_t kHeaderBytesMax = sizeof(VxlanGpeHeader);
    static constexpr std::size_t kParseBytesMax = sizeof(VxlanGpeHeader);

    static constexpr std::uint8_t kFlagVni = 0x08;           ///< The I flag.
    static constexpr std::uint8_t kFlagNextProtocol = 0x04;  ///< The P flag.
    static constexpr std::uint8_t kFlagReplicated = 0x02;    ///< The B flag.
    static constexpr std::uint8_t kFlagOam = 0x01;           ///< The O flag.

    static constexpr std::uint8_t kNextIpv4 = 1;
    static constexpr std::uint8_t kNextIpv6 = 2;
    static constexpr std::uint8_t kNextEthernet = 3;

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(VxlanGpeHeader)) {
            parsed.drop = DropReason::vxlan_gpe_malformed;
            return parsed;
        }
        const auto header = load<VxlanGpeHeader>(in.data());
        constexpr unsigned kTolerated = kFlagReplicated | kFlagOam;
        if ((header.flags & ~kTolerated) != (kFlagVni | kFlagNextProtocol)) {
            parsed.drop = DropReason::vxlan_gpe_flags;
            return parsed;
        }
        if ((header.flags & kFlagOam) != 0) {
            parsed.drop = DropReason::vxlan_gpe_oam;
            return parsed;
        }
        if (header.next_protocol < kNextIpv4 || header.next_protocol > kNextEthernet) {
            parsed.drop = DropReason::vxlan_gpe_protocol;
            return parsed;
        }
        parsed.payload = header.next_protocol == kNextEthernet ? Payload::ethernet : Payload::ip;
        parsed.header_bytes = sizeof(VxlanGpeHeader);
        parsed.has_key = true;
        parsed.key = header.vni_reserved.host() >> 8U;
        return parsed;
    }

    /// Flags, next protocol and VNI.
    [[nodiscard]] static bool
    mark_decisive(std::span<const std::byte> /*in*/, std::span<std::byte> mask) noexcept {
        VxlanGpeHeader decisive;
        decisive.flags = 0xff;
        decisive.next_protocol = 0xff;
        decisive.vni_reserved = Be32(0xffffff00U);
        store(mask.data(), decisive);
        return true;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& /*config*/) noexcept {
        return sizeof(VxlanGpeHeader);
    }

    /// A tunnel without a key sends VNI 0. An IP payload is said to be IPv4, until patch() knows.
    /// Precondition: the key is below 2^24.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        VxlanGpeHeader header;
        header.flags = kFlagVni | kFlagNextProtocol;
        header.next_protocol = config.payload == Payload::ip ? kNextIpv4 : kNextEthernet;
        header.vni_reserved = Be32(config.key.value_or(0) << 8U);
        store(out.data(), header);
    }

    [[nodiscard]] static bool needs_patch(const HeaderConfig& config) noexcept {
        return config.payload == Payload::ip;
    }

    static void patch(std::span<std::byte> out, const PacketFacts& facts) noexcept {
        std::byte& next_protocol = out[offsetof(VxlanGpeHeader, next_protocol)];
        if (next_protocol != std::byte{kNextEthernet}) {
            next_protocol = std::byte{facts.is_v6 ? kNextIpv6 : kNextIpv4};
        }
    }

    [[nodiscard]] static std::size_t checksum_offset(const HeaderConfig& /*config*/) noexcept {
        return 0;
    }
};

static_assert(TunnelProtocol<VxlanGpe>);

}  // namespace culvert::tunnels
