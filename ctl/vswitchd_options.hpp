// SPDX-License-Identifier: GPL-2.0-or-later
//
// The command line and the environment of the daemon in ovs-vswitchd's place: ovs-vswitchd(8), and
// --config. Reads them, does nothing by them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ctl/ovs_folders.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// The name under which OVS's tools look for the daemon, and which /proc/PID/comm has.
inline constexpr const char* kVswitchdName = "ovs-vswitchd";
/// The Open vSwitch that the daemon answers for: that of its database schema and tools' formats.
inline constexpr const char* kOvsVersion = "3.1.0";

struct VswitchdOptions {
    enum class Action : std::uint8_t { run, help, version };
    Action action = Action::run;

    std::string database;           ///< One or more remotes; "unix:RUNDIR/db.sock" by default.
    std::vector<std::string> vlog;  ///< -v, in order; an empty one is -v alone.
    std::optional<std::string> log_file;
    std::string syslog_method;  ///< Empty: libc.
    std::string syslog_target;

    std::optional<std::string> pidfile;
    bool overwrite_pidfile = false;
    bool detach = false;
    bool monitor = false;
    bool change_folder = true;
    bool lock_memory = false;
    std::optional<std::string> unixctl;  ///< Absent: RUNDIR/ovs-vswitchd.PID.ctl; "": none.

    std::string private_key;
    std::string certificate;
    std::string ca_certificate;

    std::string config;              ///< TOML, for what the database does not say; empty: default.
    std::vector<std::string> notes;  ///< What was given and has no effect, a sentence each.
};

/// Whether these arguments are ovs-vswitchd's rather than culvertd's: by the name of the program,
/// or because a database is among them. `arguments` includes the program's.
[[nodiscard]] bool wants_vswitchd(const std::vector<std::string>& arguments);

/// Paths are made absolute: relative ones count from where ovs-vswitchd's do.
[[nodiscard]] Result<VswitchdOptions>
parse_vswitchd_options(const std::vector<std::string>& arguments, const OvsFolders& folders);

[[nodiscard]] std::string vswitchd_usage(const OvsFolders& folders);
/// What --version and the command "version" say.
[[nodiscard]] std::string vswitchd_version();

}  // namespace culvert::ctl
