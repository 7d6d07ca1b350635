// SPDX-License-Identifier: GPL-2.0-or-later
//
// `culvert-ctl show`: bridges, their ports and tunnels, next hops. Control thread only.
#pragma once

#include <string>

#include "ctl/commands.hpp"

namespace culvert::ctl {

[[nodiscard]] Result<std::string> show_switch(const CommandContext& context, Arguments arguments);

}  // namespace culvert::ctl
