// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the columns of a Port row say about VLANs and bonding, and those of an Interface row that is
// no tunnel about its device, as parts of the desired state. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/bond_config.hpp"
#include "ctl/config.hpp"
#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl {

struct OvsdbVlan {
    VlanConfig vlan;
    std::string error;  ///< Why no interface of the port can be had; else empty.
};

/// tag, trunks, vlan_mode. `name`: of the port, for sentences.
[[nodiscard]] OvsdbVlan read_ovsdb_vlan(
    const ovsdb::Row& port, const std::string& name, std::vector<std::string>& warnings
);

/// Everything but bridge, members and VLANs; `primary` whether or not it is a member.
[[nodiscard]] BondConfig read_ovsdb_bond(
    const ovsdb::Row& port, const std::string& name, std::vector<std::string>& warnings
);

/// The lacp-* keys in other_config of an Interface; what is out of range counts as absent.
[[nodiscard]] LacpPortConfig read_ovsdb_lacp(const ovsdb::Row& interface);

struct OvsdbDevice {
    /// Without bridge, VLANs and bond. Nothing: `error` says why.
    std::optional<PortConfig> port;
    std::string error;
};

/// An interface of a type that is no tunnel and not the bridge's own; any other word is an error,
/// as Open vSwitch puts it. `workers`: how many queues a virtual machine's device is offered.
[[nodiscard]] OvsdbDevice read_ovsdb_device(
    const ovsdb::Row& interface,
    const std::string& name,
    std::uint32_t workers,
    std::vector<std::string>& warnings
);

/// mtu_request where it can be had; else a warning.
[[nodiscard]] std::optional<std::uint32_t> read_ovsdb_mtu(
    const ovsdb::Row& interface,
    const std::string& name,
    bool is_tap,
    std::vector<std::string>& warnings
);

/// Why the kernel would not have a device of this name, as strerror() puts it; empty: it would.
[[nodiscard]] std::string_view device_name_problem(std::string_view name);

}  // namespace culvert::ctl
