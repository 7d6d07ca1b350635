// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads how tunnels are encrypted from their TOML tables, and checks what the keys of one section
// say about each other. The files that they name are read by private_files.hpp. One thread at a
// time.
#pragma once

#include "ctl/config.hpp"
#include "ctl/toml_table.hpp"

namespace culvert::ctl {

/// The [tunnel.esp] or [tunnel.ike] of a [[tunnel]], whose addresses were read.
void read_encryption(const TomlTable& table, TunnelConfig& tunnel);

/// [ike]
[[nodiscard]] IkeDaemonConfig read_ike_daemon(const TomlTable& table);

}  // namespace culvert::ctl
