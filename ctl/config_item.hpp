// SPDX-License-Identifier: GPL-2.0-or-later
//
// What several kinds of configured items have: where they were written, and a place in VLANs. Any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace culvert::ctl {

/// Where an item was written, for messages: "file:line". Not part of equality.
struct Origin {
    std::string file;
    std::uint32_t line = 0;
    constexpr bool operator==(const Origin&) const noexcept { return true; }
};

/// VLAN membership of a port.
enum class VlanMode : std::uint8_t {
    trunk,   ///< Carries `trunks` (all when empty), tagged; untagged frames belong to VLAN 0.
    access,  ///< Carries `tag` only, untagged.
    native_untagged,  ///< A trunk on which `tag` is the untagged VLAN.
    native_tagged,    ///< As native_untagged, but sends `tag` tagged (accepts both).
};

struct VlanConfig {
    VlanMode mode = VlanMode::trunk;
    std::uint16_t tag = 0;  ///< 1-4094 unless mode is trunk.
    std::vector<std::uint16_t>
        trunks;  ///< Sorted, unique, 0-4094 (0 = untagged frames), `tag` included; empty: all.
    bool operator==(const VlanConfig&) const = default;
};

}  // namespace culvert::ctl
