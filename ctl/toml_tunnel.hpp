// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads one [[tunnel]] from its TOML table, and checks what its own keys say about each other.
// Which keys mean something to a protocol comes from its Features. What needs a second item is
// validate.hpp's part. One thread at a time.
#pragma once

#include "ctl/config.hpp"
#include "ctl/toml_table.hpp"

namespace culvert::ctl {

[[nodiscard]] TunnelConfig read_tunnel(const TomlTable& table);

}  // namespace culvert::ctl
