// SPDX-License-Identifier: GPL-2.0-or-later
//
// The desired state of a bond, as a value: ports that act as one. Defaults are OVS's
// (ovs-vswitchd.conf.db(5), Port table). Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/config_item.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

enum class BondMode : std::uint8_t {
    active_backup,  ///< One member carries everything.
    balance_slb,    ///< By source MAC and VLAN, rebalanced; needs nothing of the neighbour switch.
    balance_tcp,    ///< By L2-L4 fields; needs LACP, and is active_backup with it down
                    ///< (lacp_fallback_ab) or carries nothing.
};
enum class LacpMode : std::uint8_t { off, passive, active };

/// What LACP says of one member: other_config of its Interface.
struct LacpPortConfig {
    std::uint16_t port_id = 0;            ///< lacp-port-id; 0: one of the switch's choosing.
    std::uint16_t port_priority = 65535;  ///< lacp-port-priority.
    std::uint16_t aggregation_key = 0;    ///< lacp-aggregation-key; 0: the first member's port id.
    bool operator==(const LacpPortConfig&) const = default;
};

struct BondConfig {
    std::string name;
    std::string bridge;
    std::vector<std::string> members;  ///< Names of ports, whose `bond` is this one's name.
    BondMode mode = BondMode::active_backup;
    LacpMode lacp = LacpMode::off;
    std::uint32_t updelay_ms = 0;
    std::uint32_t downdelay_ms = 0;
    std::uint32_t rebalance_ms = 10000;  ///< 0: never; else at least 1000.
    std::uint32_t hash_basis = 0;
    std::string primary;     ///< A member that is active whenever it is enabled; empty: none.
    bool lacp_fast = false;  ///< lacp-time=fast: PDUs once a second, timeout 3 s; else 30 and 90 s.
    bool lacp_fallback_ab = false;
    std::optional<tunnels::MacAddress> lacp_system_id;  ///< Absent: the bridge's MAC.
    std::uint16_t lacp_system_priority = 65534;
    VlanConfig vlan;
    Origin origin;
    bool operator==(const BondConfig&) const = default;
};

}  // namespace culvert::ctl
