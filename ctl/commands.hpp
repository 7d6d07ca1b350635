// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's side of culvert-ctl: what each method answers. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "ctl/ofports.hpp"
#include "ctl/switch.hpp"
#include "ctl/unixctl.hpp"

namespace culvert::ctl {

struct CommandContext {
    Switch& switch_;
    SlowPath& slow_path;
    dataplane::Workers& workers;
    dataplane::FlowCache& flows;
    const Ofports& ofports;
    Underlay& underlay;
    std::function<Result<std::string>()> reload;
    std::function<void()> exit;  ///< Ends the daemon once the answer is sent.
    std::string version;         ///< The answer to "version".
};

/// The commands by name. `context` is copied; what it refers to outlives the map.
[[nodiscard]] std::map<std::string, Command> make_commands(const CommandContext& context);

/// docs/drops.md: the drop reasons as a Markdown document.
[[nodiscard]] std::string drop_reasons_document();

}  // namespace culvert::ctl
