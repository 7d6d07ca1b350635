// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads one [[bridge]], [[port]] or [[tunnel]] from its TOML table, and checks what the item's own
// keys say about each other. What needs a second item is validate.hpp's part. One thread at a time.
#pragma once

#include "ctl/config.hpp"
#include "ctl/toml_table.hpp"

namespace culvert::ctl {

/// With its [bridge.local] and every [[bridge.static_mac]].
[[nodiscard]] BridgeConfig read_bridge(const TomlTable& table);

[[nodiscard]] PortConfig read_port(const TomlTable& table);

[[nodiscard]] TunnelConfig read_tunnel(const TomlTable& table);

}  // namespace culvert::ctl
