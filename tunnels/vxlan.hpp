// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN (RFC 7348 section 5) with the group policy extension (draft-smith-vxlan-group-policy). The
// reserved fields are ignored on receipt, as the RFC says. An R bit of the flags octet is not: the
// RFC would have it ignored, but the bits in use since then change what the other fields or the
// payload mean (GPE, see vxlan_gpe.hpp), so such a packet is dropped as vxlan_flags. The G bit is
// reported, and the tunnel judges whether it admits it. The D and A bits beside the group policy id
// are ignored: learning and policy are the tunnel's own. Any thread may call everything here.
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

struct Vxlan {
    static constexpr std::string_view kName = "vxlan";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolUdp, .default_udp_port = 4789};
    static constexpr Features kFeatures{.group_policy = true};
    static constexpr unsigned kKeyBits = 24;
    static constexpr bool kKeyAlwaysPresent = true;
    static constexpr std::size_t kHeaderBytesMax = sizeof(VxlanHeader);
    static constexpr std::size_t kParseBytesMax = sizeof(VxlanHeader);

    static constexpr std::uint8_t kFlagVni = 0x08;          ///< The I flag.
    static constexpr std::uint8_t kFlagGroupPolicy = 0x80;  ///< The G flag.

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(VxlanHeader)) {
            parsed.drop = DropReason::vxlan_malformed;
            return parsed;
        }
        const auto header = load<VxlanHeader>(in.data());
        if ((header.flags & ~unsigned{kFlagGroupPolicy}) != kFlagVni) {
            parsed.drop = DropReason::vxlan_flags;
            return parsed;
        }
        parsed.header_bytes = sizeof(VxlanHeader);
        parsed.has_group_policy = (header.flags & kFlagGroupPolicy) != 0;
        if (parsed.has_group_policy) {
            parsed.group_policy = header.group_policy.host();
        }
        parsed.has_key = true;
        parsed.key = header.vni_reserved.host() >> 8U;
        return parsed;
    }

    /// Flags and VNI. Group policy ids differ from packet to packet.
    [[nodiscard]] static bool
    mark_decisive(std::span<const std::byte> in, std::span<std::byte> mask) noexcept {
        VxlanHeader decisive;
        decisive.flags = 0xff;
        decisive.vni_reserved = Be32(0xffffff00U);
        store(mask.data(), decisive);
        return (load<VxlanHeader>(in.data()).flags & kFlagGroupPolicy) == 0;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& /*config*/) noexcept {
        return sizeof(VxlanHeader);
    }

    /// A tunnel without a key sends VNI 0. Precondition: the key is below 2^24.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        VxlanHeader header;
        header.flags = kFlagVni;
        if (config.group_policy.has_value()) {
            header.flags |= kFlagGroupPolicy;
            header.group_policy = Be16(*config.group_policy);
        }
        header.vni_reserved = Be32(config.key.value_or(0) << 8U);
        store(out.data(), header);
    }

    [[nodiscard]] static bool needs_patch(const HeaderConfig& config) noexcept {
        return config.carry_group_policy;
    }

    /// A packet that came in with a group policy id goes out with it.
    static void patch(std::span<std::byte> out, const PacketFacts& facts) noexcept {
        if (facts.group_policy.has_value()) {
            out.front() |= std::byte{kFlagGroupPolicy};
            store(out.data() + offsetof(VxlanHeader, group_policy), Be16(*facts.group_policy));
        }
    }

    [[nodiscard]] static std::size_t checksum_offset(const HeaderConfig& /*config*/) noexcept {
        return 0;
    }
};

static_assert(TunnelProtocol<Vxlan>);

}  // namespace culvert::tunnels
