// SPDX-License-Identifier: GPL-2.0-or-later
//
// ovsdb-server and the switch as a service: what ovs-ctl(8) does with them, for hosts without Open
// vSwitch's scripts. The switch is culvertd by the name ovs-vswitchd. Blocks; for culvert-ctl.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ctl/child.hpp"
#include "ctl/local_command.hpp"
#include "ctl/service_options.hpp"

namespace culvert::ctl {

class Service {
public:
    explicit Service(ServiceOptions options) : options_(std::move(options)) {}

    /// Starts what does not run: ovsdb-server (the database is made, or converted to the schema),
    /// then the switch, which has applied the database when this returns, then managers.
    [[nodiscard]] LocalAnswer start();
    /// Asks, then SIGTERM, then SIGKILL, some seconds in all; the switch first.
    [[nodiscard]] LocalAnswer stop();
    [[nodiscard]] LocalAnswer restart();
    /// Status 0 when all run.
    [[nodiscard]] LocalAnswer status();
    /// culvertd needs no module of its own, but TAP devices.
    [[nodiscard]] LocalAnswer load_kmod();
    [[nodiscard]] LocalAnswer delete_transient_ports();

private:
    struct Daemon {
        std::string name;
        std::string program;
    };

    [[nodiscard]] std::vector<Daemon> chosen() const;
    [[nodiscard]] std::string pidfile(const std::string& name) const;
    [[nodiscard]] std::optional<int> running_pid(const std::string& name) const;

    bool start_database();
    bool upgrade_database();
    bool convert_database();
    bool launch_database();
    bool set_up_database();
    bool set_system_ids();
    [[nodiscard]] std::string read_system_id();
    void delete_bridges();
    bool delete_transient();
    bool start_switch();
    bool add_managers();
    void record_hostname();
    bool stop_daemon(const Daemon& daemon);

    [[nodiscard]] std::vector<std::string> command(
        const std::vector<std::string>& wrapper, int priority, const std::string& program
    ) const;
    [[nodiscard]] std::optional<ChildOutcome> run(const std::vector<std::string>& argv);
    [[nodiscard]] std::optional<ChildOutcome> vsctl(const std::vector<std::string>& words);
    bool act(const std::string& what, const std::vector<std::string>& argv);
    void say(const std::string& line) { answer_.text += line + "\n"; }
    bool fail(const std::string& sentence);
    [[nodiscard]] LocalAnswer finish(bool ok);

    ServiceOptions options_;
    LocalAnswer answer_;
};

}  // namespace culvert::ctl
