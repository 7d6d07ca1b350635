// SPDX-License-Identifier: GPL-2.0-or-later
//
// See vswitchd.hpp. In this order: arguments and files are read and found good, processes are
// forked, and what may make threads comes after.
#include "ctl/vswitchd.hpp"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl/cpu_check.hpp"
#include "ctl/daemon.hpp"
#include "ctl/daemonize.hpp"
#include "ctl/log.hpp"
#include "ctl/log_pattern.hpp"
#include "ctl/ovsdb_control.hpp"
#include "ctl/ovsdb_start.hpp"
#include "ctl/pidfile.hpp"
#include "ctl/sentence.hpp"
#include "ctl/toml_source.hpp"
#include "ctl/vlog.hpp"
#include "ctl/vswitchd_options.hpp"

namespace culvert::ctl {

namespace {

constexpr const char* kDefaultConfig = "/etc/culvert/culvert.toml";
/// A database that is there answers sooner.
constexpr std::chrono::seconds kDatabaseWait{10};

/// As ovs-vswitchd's errors: the name, the sentence; its exit status is always 1.
int refuse(const std::string& sentence) {
    std::cerr << kVswitchdName << ": " << sentence << '\n';
    return EXIT_FAILURE;
}

/// What must outlive the daemon stands beside the database where the environment says where that
/// is, unless the file says otherwise.
void prefer_database_folder(const OvsFolders& folders, DaemonConfig& daemon) {
    if (daemon.state_dir == DaemonConfig{}.state_dir && folders.state.starts_with('/')) {
        daemon.state_dir = folders.state;
    }
}

/// What the database does not say.
Result<DesiredState> read_base(const std::string& config, const OvsFolders& folders) {
    std::error_code ignored;
    if (config.empty() && !std::filesystem::exists(kDefaultConfig, ignored)) {
        DesiredState state;
        prefer_database_folder(folders, state.daemon);
        return state;
    }
    const std::string path = config.empty() ? kDefaultConfig : config;
    auto state = load_toml(path);
    if (!state) {
        return tl::unexpected(state.error());
    }
    if (*state != state->without_items()) {
        return tl::unexpected(
            path +
            " has bridges, ports or tunnels, which come from the database here (valid beside "
            "a database: [daemon], [dpdk], [workers], [flow_cache], [firewall], [ike])"
        );
    }
    prefer_database_folder(folders, state->daemon);
    if (auto cpus = check_cpus(*state, path); !cpus) {
        return tl::unexpected(cpus.error());
    }
    return state;
}

Result<void> start_log(const VswitchdOptions& options, const DaemonConfig& config) {
    if (auto started = log_start(config.log_level, ""); !started) {
        return started;
    }
    log_set_program(kVswitchdName);
    log_set_pattern(LogDestination::console, std::string(kOvsConsolePattern));
    log_set_pattern(LogDestination::syslog, std::string(kOvsSyslogPattern));
    log_set_pattern(LogDestination::file, std::string(kOvsFilePattern));
    const spdlog::level::level_enum least = log_levels("").at(0);
    log_set_levels("", LogDestination::syslog, least);
    log_set_levels("", LogDestination::file, least);
    for (const std::string& spec : options.vlog) {
        if (spec.empty()) {
            set_vlog_to_debug();
        } else if (auto set = apply_vlog(spec, VlogModules::foreign_too); !set) {
            return tl::unexpected("processing " + quote(spec) + ": " + set.error());
        }
    }
    if (!options.syslog_method.empty()) {
        if (auto set = log_set_syslog(options.syslog_method); !set) {
            return set;
        }
    }
    if (!options.syslog_target.empty()) {
        if (auto set = log_add_syslog_target(options.syslog_target); !set) {
            return set;
        }
    }
    const std::string file = options.log_file.value_or(config.log_file);
    return file.empty() ? Result<void>() : log_open_file(file);
}

/// Pages are locked as they are touched (MCL_ONFAULT): reserved and unused memory stays unused.
void lock_memory() {
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        logger("daemon").warn(
            "mlockall failed: {}; memory may be swapped out", std::strerror(errno)
        );
    }
}

/// Of what the database says of the start, `base` gets what this host can do: a mistake there must
/// not keep its switch from running.
void take_start_options(DesiredState started, DesiredState& base) {
    DpdkConfig own = base.dpdk;
    if (const auto cpus = check_cpus(started, "Open_vSwitch other_config"); cpus) {
        base = std::move(started);
    } else {
        logger("ovsdb").warn("{}; what other_config says of the start is not taken", cpus.error());
    }
    const bool asked = !(base.dpdk == own);
    if (base.dpdk.file_prefix.empty()) {
        base.dpdk.file_prefix = own.file_prefix = fmt::format("culvert-{}", getpid());
    }
    if (!asked) {
        return;
    }
    if (const auto tried = try_dpdk(base); !tried) {
        logger("ovsdb").error(
            "{}; other_config:dpdk-extra, dpdk-socket-mem and dpdk-alloc-mem are not taken",
            tried.error()
        );
        base.dpdk = std::move(own);
    }
}

std::vector<ControlSocket> control_sockets(
    const VswitchdOptions& options, const OvsFolders& folders, const DaemonConfig& own
) {
    const std::string path =
        options.unixctl.value_or(fmt::format("{}/{}.{}.ctl", folders.run, kVswitchdName, getpid()));
    std::vector<ControlSocket> sockets;
    if (!path.empty()) {
        sockets.push_back({path, true});
    }
    // Where culvert-ctl looks. Several databases' daemons may run on one host, and only the first
    // one gets the place that nobody chose.
    if (own.socket != path) {
        sockets.push_back({own.socket, own.socket != DaemonConfig{}.socket});
    }
    return sockets;
}

/// The daemon's process, from here to its end.
int run_daemon_process(
    const VswitchdOptions& options,
    const OvsFolders& folders,
    DesiredState base,
    const std::vector<std::string>& remotes,
    Startup& startup
) {
    std::unique_ptr<Pidfile> pidfile;
    if (options.pidfile) {
        auto created = Pidfile::create(*options.pidfile);
        if (!created) {
            return refuse(created.error());
        }
        pidfile = std::move(*created);
    }
    if (options.lock_memory) {
        lock_memory();
    }
    for (const std::string& note : options.notes) {
        logger("daemon").warn("{}", note);
    }
    const ovsdb::TlsFiles tls = {options.private_key, options.certificate, options.ca_certificate};
    auto started = read_start_options(remotes, tls, base, kDatabaseWait);
    if (!started) {
        return EXIT_SUCCESS;
    }
    take_start_options(std::move(*started), base);
    const auto underlay = open_underlay();
    if (!underlay) {
        log_fatal("daemon", underlay.error());
        return kExitEnvironment;
    }
    DaemonOptions daemon;
    daemon.state = base;
    daemon.sockets = control_sockets(options, folders, base.daemon);
    daemon.rundir = folders.run;
    daemon.version = vswitchd_version();
    daemon.make_source = [&](boost::asio::io_context& io, Switch& to, Ofports& ofports) {
        OvsdbControlOptions control;
        control.remotes = remotes;
        control.base = base;
        control.tls = tls;
        control.system.run_directory = folders.run;
        return std::make_unique<OvsdbControl>(io, std::move(control), to, ofports);
    };
    daemon.on_ready = [&] { startup.complete(); };
    return run_daemon(daemon, **underlay);
}

}  // namespace

int run_vswitchd(int argc, char** argv) {
    const OvsFolders folders =
        find_ovs_folders([](const char* name) -> const char* { return std::getenv(name); });
    const auto options =
        parse_vswitchd_options(std::vector<std::string>(argv, argv + argc), folders);
    if (!options) {
        return refuse(options.error());
    }
    if (options->action == VswitchdOptions::Action::help) {
        std::cout << vswitchd_usage(folders);
        return EXIT_SUCCESS;
    }
    if (options->action == VswitchdOptions::Action::version) {
        std::cout << vswitchd_version();
        return EXIT_SUCCESS;
    }
    const auto remotes = ovsdb::parse_remotes(options->database);
    if (!remotes) {
        return refuse(remotes.error());
    }
    const auto base = read_base(options->config, folders);
    if (!base) {
        return refuse(base.error());
    }
    if (const auto started = start_log(*options, base->daemon); !started) {
        return refuse(started.error());
    }
    if (options->pidfile && !options->overwrite_pidfile) {
        if (const auto alone = check_not_running(*options->pidfile); !alone) {
            return refuse(alone.error());
        }
    }
    DaemonizeOptions daemonize;
    daemonize.name = kVswitchdName;
    daemonize.detach = options->detach;
    daemonize.monitor = options->monitor;
    daemonize.change_folder = options->change_folder;
    daemonize.argc = argc;
    daemonize.argv = argv;
    auto startup = Startup::begin(daemonize);
    if (!startup) {
        return refuse(startup.error());
    }
    return run_daemon_process(*options, folders, *base, *remotes, *startup);
}

}  // namespace culvert::ctl
