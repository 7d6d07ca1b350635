// SPDX-License-Identifier: GPL-2.0-or-later
//
// Offsets count from the subtype octet, behind the Ethernet header:
//
//     0 subtype (1), version (1)
//     2 TLV 1, 20 octets: the actor       22 TLV 2, 20 octets: the partner
//    42 TLV 3, 16 octets: the collector   58 TLV 0: the end; zeros to 110
//
// Within an information TLV, behind type and length: system priority (2), system (6), key (2), port
// priority (2), port (2), state (1), reserved (3).

#include "ctl/lacp_pdu.hpp"

#include <algorithm>

namespace culvert::ctl {

namespace {

constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kPduBytes = kLacpFrameBytes - kEthernetBytes;
constexpr std::size_t kActorAt = 2;
constexpr std::size_t kPartnerAt = 22;
constexpr std::size_t kCollectorAt = 42;
constexpr std::uint8_t kInfoBytes = 20;
constexpr std::uint8_t kCollectorBytes = 16;
constexpr std::uint8_t kSubtypeLacp = 1;
constexpr std::uint8_t kSubtypeMarker = 2;
constexpr std::uint16_t kSlowProtocols = 0x8809;
constexpr tunnels::MacAddress kGroup{{0x01, 0x80, 0xc2, 0x00, 0x00, 0x02}};

void put16(std::span<std::byte> at, std::uint16_t value) {
    at[0] = static_cast<std::byte>(value >> 8U);
    at[1] = static_cast<std::byte>(value & 0xffU);
}

void put_mac(std::span<std::byte> at, const tunnels::MacAddress& mac) {
    std::transform(mac.bytes.begin(), mac.bytes.end(), at.begin(), [](std::uint8_t octet) {
        return std::byte{octet};
    });
}

std::uint8_t get8(std::span<const std::byte> at, std::size_t offset) {
    return std::to_integer<std::uint8_t>(at[offset]);
}

std::uint16_t get16(std::span<const std::byte> at, std::size_t offset) {
    return static_cast<std::uint16_t>(get8(at, offset) << 8U | get8(at, offset + 1));
}

void write_info(std::span<std::byte> at, std::uint8_t type, const LacpInfo& info) {
    at[0] = std::byte{type};
    at[1] = std::byte{kInfoBytes};
    put16(at.subspan(2), info.system_priority);
    put_mac(at.subspan(4), info.system_id);
    put16(at.subspan(10), info.key);
    put16(at.subspan(12), info.port_priority);
    put16(at.subspan(14), info.port_id);
    at[16] = std::byte{info.state};
}

LacpInfo parse_info(std::span<const std::byte> at) {
    LacpInfo info;
    info.system_priority = get16(at, 2);
    for (std::size_t i = 0; i < info.system_id.bytes.size(); ++i) {
        info.system_id.bytes[i] = get8(at, 4 + i);
    }
    info.key = get16(at, 10);
    info.port_priority = get16(at, 12);
    info.port_id = get16(at, 14);
    info.state = get8(at, 16);
    return info;
}

}  // namespace

std::array<std::byte, kLacpFrameBytes>
write_lacp_frame(const LacpPdu& pdu, const tunnels::MacAddress& source) {
    std::array<std::byte, kLacpFrameBytes> frame{};
    const std::span<std::byte> all(frame);
    put_mac(all, kGroup);
    put_mac(all.subspan(6), source);
    put16(all.subspan(12), kSlowProtocols);
    const auto body = all.subspan(kEthernetBytes);
    body[0] = std::byte{kSubtypeLacp};
    body[1] = std::byte{1};
    write_info(body.subspan(kActorAt), 1, pdu.actor);
    write_info(body.subspan(kPartnerAt), 2, pdu.partner);
    body[kCollectorAt] = std::byte{3};
    body[kCollectorAt + 1] = std::byte{kCollectorBytes};
    return frame;
}

LacpSubtype lacp_subtype(std::span<const std::byte> frame) {
    if (frame.size() < kLacpFrameBytes || get16(frame, 12) != kSlowProtocols) {
        return LacpSubtype::unknown;
    }
    const auto body = frame.subspan(kEthernetBytes, kPduBytes);
    if (get8(body, 0) == kSubtypeMarker) {
        return LacpSubtype::marker;
    }
    const bool whole = get8(body, 0) == kSubtypeLacp && get8(body, kActorAt) == 1 &&
                       get8(body, kActorAt + 1) == kInfoBytes && get8(body, kPartnerAt) == 2 &&
                       get8(body, kPartnerAt + 1) == kInfoBytes;
    return whole ? LacpSubtype::lacp : LacpSubtype::unknown;
}

std::optional<LacpPdu> parse_lacp_frame(std::span<const std::byte> frame) {
    if (lacp_subtype(frame) != LacpSubtype::lacp) {
        return std::nullopt;
    }
    const auto body = frame.subspan(kEthernetBytes, kPduBytes);
    return LacpPdu{parse_info(body.subspan(kActorAt)), parse_info(body.subspan(kPartnerAt))};
}

}  // namespace culvert::ctl
