// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon in ovs-vswitchd's place: its arguments, its process, and a database as its source.
#pragma once

namespace culvert::ctl {

/// Returns the exit status.
[[nodiscard]] int run_vswitchd(int argc, char** argv);

}  // namespace culvert::ctl
