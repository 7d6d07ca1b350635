// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads one [[bridge]], [[port]] or [[bond]] from its TOML table, and checks what the item's own
// keys say about each other. Tunnels are toml_tunnel.hpp's part, what needs a second item is
// validate.hpp's. One thread at a time.
#pragma once

#include "ctl/config.hpp"
#include "ctl/toml_table.hpp"

namespace culvert::ctl {

/// With its [bridge.local], every [[bridge.static_mac]] and every [[bridge.eid]].
[[nodiscard]] BridgeConfig read_bridge(const TomlTable& table);

[[nodiscard]] PortConfig read_port(const TomlTable& table);

[[nodiscard]] BondConfig read_bond(const TomlTable& table);

/// The VLAN keys of a port, a tunnel or a local port.
[[nodiscard]] VlanConfig read_vlan(const TomlTable& table);

inline constexpr std::size_t kPathBytesMax = 4095;       // PATH_MAX - 1.
inline constexpr std::size_t kSocketPathBytesMax = 107;  // sizeof(sockaddr_un::sun_path) - 1.

/// An absolute path.
void read_path(
    const TomlTable& table, std::string_view key, std::size_t bytes_max, std::string& path
);

/// Reads the keys that every port and tunnel has.
template <class Item>
void read_common(const TomlTable& table, Item& item) {
    item.origin = table.origin();
    table.require("name", name_rule(kNameBytesMax));
    table.read_name("name", kNameBytesMax, item.name);
    table.require("bridge", "the name of a [[bridge]]");
    table.read("bridge", item.bridge);
    item.vlan = read_vlan(table);
}

}  // namespace culvert::ctl
