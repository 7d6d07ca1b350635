// SPDX-License-Identifier: GPL-2.0-or-later
//
// `culvert-ctl show`: bridges, their ports and tunnels, next hops; one tunnel in detail. Control
// thread only.
#pragma once

#include <string>

#include "ctl/commands.hpp"
#include "ctl/table.hpp"
#include "ctl/totals.hpp"

namespace culvert::ctl {

[[nodiscard]] Result<std::string> show_switch(const CommandContext& context, Arguments arguments);

/// `port` is a tunnel.
[[nodiscard]] Result<std::string> show_tunnel(
    const CommandContext& context,
    const SwitchPort& port,
    const PortTotals& totals,
    OutputFormat format
);

}  // namespace culvert::ctl
