// SPDX-License-Identifier: GPL-2.0-or-later
//
// The devices of a desired state, against those of the host. Control thread only.
#pragma once

#include <set>
#include <string>

#include "ctl/config.hpp"
#include "ctl/underlay.hpp"

namespace culvert::ctl {

/// TAP devices of ours that exist while `state` runs.
[[nodiscard]] std::set<std::string> own_devices(const DesiredState& state);

/// Looks up the devices that `to` newly needs, without touching them: an interface that does not
/// exist, a name that another device has. One sentence with file and line.
[[nodiscard]] Result<void>
check_devices(const DesiredState& from, const DesiredState& to, const Underlay& underlay);

}  // namespace culvert::ctl
