// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's arguments and its process: what is read, in which order, before daemon.hpp runs it.

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "ctl/commands.hpp"
#include "ctl/cpu_check.hpp"
#include "ctl/daemon.hpp"
#include "ctl/log.hpp"
#include "ctl/toml_control.hpp"
#include "ctl/toml_source.hpp"
#include "ctl/vswitchd.hpp"
#include "ctl/vswitchd_options.hpp"

namespace culvert::ctl {

namespace {

constexpr const char* kVersionLine = "culvertd " CULVERT_VERSION "\n";

int check(const DesiredState& state) {
    const auto actions = plan(state.without_items(), state);
    if (!actions) {
        std::cerr << "culvertd: " << actions.error() << '\n';
        return kExitUsage;
    }
    for (const Action& action : *actions) {
        std::cout << describe(action) << '\n';
    }
    std::cout << "the configuration is valid\n";
    return EXIT_SUCCESS;
}

int start(const std::string& path, bool check_only) {
    auto state = load_toml(path);
    if (!state) {
        std::cerr << "culvertd: " << state.error() << '\n';
        return kExitUsage;
    }
    if (state->dpdk.file_prefix.empty()) {
        state->dpdk.file_prefix = fmt::format("culvert-{}", getpid());
    }
    const auto underlay = open_underlay();
    if (!underlay) {
        std::cerr << "culvertd: " << underlay.error() << '\n';
        return kExitEnvironment;
    }
    auto checked = check_cpus(*state, path);
    if (checked) {
        checked = check_devices({}, *state, **underlay);
    }
    if (!checked) {
        std::cerr << "culvertd: " << checked.error() << '\n';
        return kExitUsage;
    }
    if (check_only) {
        return check(*state);
    }
    if (const auto logging = log_start(state->daemon.log_level, state->daemon.log_file); !logging) {
        std::cerr << "culvertd: " << logging.error() << '\n';
        return kExitUsage;
    }
    DaemonOptions options;
    options.state = *state;
    options.sockets = {{state->daemon.socket, true}};
    options.rundir = std::filesystem::path(state->daemon.socket).parent_path();
    options.version = kVersionLine;
    options.make_source = [&](boost::asio::io_context&, Switch& to, Ofports& ofports) {
        return std::make_unique<TomlControl>(path, *state, to, ofports);
    };
    return run_daemon(options, **underlay);
}

}  // namespace

}  // namespace culvert::ctl

int main(int argc, char** argv) {
    if (culvert::ctl::wants_vswitchd(std::vector<std::string>(argv, argv + argc))) {
        return culvert::ctl::run_vswitchd(argc, argv);
    }
    CLI::App app{"culvertd joins virtual machines on different hosts into one network.\n"
                 "Exit status: 0 stopped as asked or --check found nothing, 1 the environment "
                 "lacks something,\n"
                 "2 bad arguments or configuration."};
    std::string config = "/etc/culvert/culvert.toml";
    bool check = false;
    bool drop_reasons = false;
    bool version = false;
    app.add_option("-c,--config", config, "The TOML configuration file")->capture_default_str();
    app.add_flag("--check", check, "Validate the configuration, print what it would do, and exit");
    app.add_flag("--drop-reasons", drop_reasons, "Print docs/drops.md and exit");
    app.add_flag("-V,--version", version, "Print the version and exit");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (version) {
        std::cout << culvert::ctl::kVersionLine;
        return 0;
    }
    if (drop_reasons) {
        std::cout << culvert::ctl::drop_reasons_document();
        return 0;
    }
    return culvert::ctl::start(config, check);
}
