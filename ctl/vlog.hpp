// SPDX-License-Identifier: GPL-2.0-or-later
//
// The log in the words of Open vSwitch: the specifications that -v and vlog/set take, and the
// tables of vlog/list and vlog/list-pattern. See ovs-appctl(8). Control thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/log.hpp"
#include "ctl/unixctl.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

/// What one specification sets.
struct VlogSpec {
    std::string area;                          ///< Empty: every one.
    std::vector<LogDestination> destinations;  ///< At least one.
    spdlog::level::level_enum level = spdlog::level::debug;
    bool foreign = false;  ///< It names a module that only Open vSwitch's own switch has.
};

/// Levels of `text`: words separated by ":", "," or blanks, at most one each of a destination
/// (console, syslog, file), a level (off, emer, err, warn, info, dbg) and an area; ANY stands for
/// every area or destination. What is left out: every area, every destination, dbg.
[[nodiscard]] Result<VlogSpec> parse_vlog(std::string_view text);

/// Applies a specification of vlog/set: levels, "PATTERN:DESTINATION:PATTERN" or
/// "FACILITY:FACILITY". At the start, a word that is no area of ours beside a level or destination
/// is taken for a module of Open vSwitch, and has no effect.
enum class VlogModules : std::uint8_t { known, foreign_too };
[[nodiscard]] Result<void> apply_vlog(std::string_view text, VlogModules modules);

/// Everything, everywhere: -v without an argument.
void set_vlog_to_debug();

/// vlog/set, vlog/list, vlog/list-pattern, vlog/reopen, vlog/close.
[[nodiscard]] std::map<std::string, Command> make_vlog_commands();

}  // namespace culvert::ctl
