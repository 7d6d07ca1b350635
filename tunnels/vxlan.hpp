// SPDX-License-Identifier: GPL-2.0-or-later
//
// VXLAN (RFC 7348 section 5). The two reserved fields are ignored on receipt, as the RFC says. An R
// bit of the flags octet is not: the RFC would have it ignored, but the bits in use since then
// (group policy, GPE) change what the other fields or the payload mean, so such a packet is
// dropped as vxlan_flags. Those extensions are not handled. Any thread may call everything here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocol.hpp"

namespace culvert::tunnels {

struct Vxlan {
    static constexpr std::string_view kName = "vxlan";
    static constexpr OuterMatch kOuter{.ip_protocol = kIpProtocolUdp, .default_udp_port = 4789};
    static constexpr unsigned kKeyBits = 24;
    static constexpr bool kKeyAlwaysPresent = true;
    static constexpr std::size_t kHeaderBytesMax = sizeof(VxlanHeader);

    static constexpr std::uint8_t kFlagVni = 0x08;  ///< The I flag.

    [[nodiscard]] static Parsed parse(std::span<const std::byte> in) noexcept {
        Parsed parsed;
        if (in.size() < sizeof(VxlanHeader)) {
            parsed.drop = DropReason::vxlan_malformed;
            return parsed;
        }
        const auto header = load<VxlanHeader>(in.data());
        if (header.flags != kFlagVni) {
            parsed.drop = DropReason::vxlan_flags;
            return parsed;
        }
        parsed.header_bytes = sizeof(VxlanHeader);
        parsed.has_key = true;
        parsed.key = header.vni_reserved.host() >> 8U;
        return parsed;
    }

    [[nodiscard]] static std::size_t header_bytes(const HeaderConfig& /*config*/) noexcept {
        return sizeof(VxlanHeader);
    }

    /// A tunnel without a key sends VNI 0. Precondition: the key is below 2^24.
    static void write(const HeaderConfig& config, std::span<std::byte> out) noexcept {
        VxlanHeader header;
        header.flags = kFlagVni;
        header.vni_reserved = Be32(config.key.value_or(0) << 8U);
        store(out.data(), header);
    }
};

static_assert(TunnelProtocol<Vxlan>);

}  // namespace culvert::tunnels
