// SPDX-License-Identifier: GPL-2.0-or-later
//
// The LACPDU (IEEE 802.1AX-2014 section 6.4.2), bytes in and bytes out. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tunnels/address.hpp"

namespace culvert::ctl {

/// Bits of the state octet of a participant.
namespace lacp_state {
inline constexpr std::uint8_t kActivity = 0x01;  ///< Sends without being asked.
inline constexpr std::uint8_t kTimeout = 0x02;   ///< Short: wants a PDU each second.
inline constexpr std::uint8_t kAggregation = 0x04;
inline constexpr std::uint8_t kSynchronized = 0x08;
inline constexpr std::uint8_t kCollecting = 0x10;
inline constexpr std::uint8_t kDistributing = 0x20;
inline constexpr std::uint8_t kDefaulted = 0x40;
inline constexpr std::uint8_t kExpired = 0x80;
}  // namespace lacp_state

/// What one end says of a link.
struct LacpInfo {
    std::uint16_t system_priority = 0;
    tunnels::MacAddress system_id;
    std::uint16_t key = 0;
    std::uint16_t port_priority = 0;
    std::uint16_t port_id = 0;
    std::uint8_t state = 0;
    bool operator==(const LacpInfo&) const = default;
};

struct LacpPdu {
    LacpInfo actor;
    LacpInfo partner;  ///< The receiver, as the sender knows it.
    bool operator==(const LacpPdu&) const = default;
};

inline constexpr std::size_t kLacpFrameBytes = 124;  ///< With the Ethernet header.

/// A frame from `source` to the Slow Protocols group.
[[nodiscard]] std::array<std::byte, kLacpFrameBytes>
write_lacp_frame(const LacpPdu& pdu, const tunnels::MacAddress& source);

enum class LacpSubtype : std::uint8_t { lacp, marker, unknown };

/// What kind of Slow Protocols frame it is; `unknown` when it is cut off or contradicts itself.
[[nodiscard]] LacpSubtype lacp_subtype(std::span<const std::byte> frame);

/// Nothing unless lacp_subtype() is `lacp`.
[[nodiscard]] std::optional<LacpPdu> parse_lacp_frame(std::span<const std::byte> frame);

}  // namespace culvert::ctl
