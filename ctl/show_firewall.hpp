// SPDX-License-Identifier: GPL-2.0-or-later
//
// `culvert-ctl firewall show`: how the host's firewall governs the tunnels, and its verdict on
// each. Control thread only.
#pragma once

#include <string>

#include "ctl/commands.hpp"

namespace culvert::ctl {

[[nodiscard]] Result<std::string> show_firewall(const CommandContext& context, Arguments arguments);

}  // namespace culvert::ctl
