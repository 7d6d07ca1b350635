// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which patch ports belong together, and what bridges they join. Control thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "ctl/switch_model.hpp"

namespace culvert::ctl {

/// Sets the peer, `up` and `trouble` of every patch port: it is up while its peer exists and names
/// it back. True when that changed anything.
bool link_patches(SwitchModel& model);

/// Of the bridges that patch ports join, directly or over others, the lowest index, by bridge
/// index.
[[nodiscard]] std::vector<std::uint16_t> joined_bridges(const SwitchModel& model);

}  // namespace culvert::ctl
