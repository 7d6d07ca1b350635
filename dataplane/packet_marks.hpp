// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the packet path notes on a packet of where it came from, beside its port. Both marks stand
// in one word of the mbuf, which no driver's hash is read from here; a packet that comes in has
// neither. Any thread, for a packet of its own.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>

#include <rte_mbuf.h>

namespace culvert::dataplane::packet {

/// Neither mark, whatever the driver wrote there.
inline void clear_marks(rte_mbuf* m) noexcept {
    constexpr std::uint64_t kNone = 0;
    static_assert(sizeof m->hash.fdir == sizeof kNone);
    std::memcpy(static_cast<void*>(&m->hash.fdir), &kNone, sizeof kNone);
}

/// The group policy id (VXLAN-GBP) that a packet came in with. It stands in the flow-director mark,
/// which no driver here sets; bit 16 says that there is one.
inline constexpr std::uint32_t kGroupPolicyPresent = 1U << 16U;
[[nodiscard]] inline std::optional<std::uint16_t> group_policy(const rte_mbuf* m) noexcept {
    const std::uint32_t mark = m->hash.fdir.hi;
    return (mark & kGroupPolicyPresent) != 0
               ? std::optional(static_cast<std::uint16_t>(mark & 0xffffU))
               : std::nullopt;
}
inline void set_group_policy(rte_mbuf* m, std::optional<std::uint16_t> id) noexcept {
    m->hash.fdir.hi = id ? kGroupPolicyPresent | *id : 0;
}

/// The inbound SA that a packet was opened by, an id of SaParameters; 0: it came in clear. It
/// stands in place of the RSS hash, which is not used.
[[nodiscard]] inline std::uint32_t association(const rte_mbuf* m) noexcept {
    return m->hash.fdir.lo;
}
inline void set_association(rte_mbuf* m, std::uint32_t id) noexcept {
    m->hash.fdir.lo = id;
}

}  // namespace culvert::dataplane::packet
