// SPDX-License-Identifier: GPL-2.0-or-later
//
// See service.hpp. What concerns the database is in service_database.cpp.

#include "ctl/service.hpp"

#include <chrono>
#include <csignal>
#include <initializer_list>
#include <thread>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert::ctl {

namespace {

constexpr rlim_t kOpenFiles = 65535;
constexpr rlim_t kCoreBytes = 67108864;

using std::chrono::milliseconds;

bool exists(int pid) {
    return kill(pid, 0) == 0;
}

/// Whether the process is gone after one of the waits.
bool gone_within(int pid, std::initializer_list<milliseconds> waits) {
    for (const milliseconds wait : waits) {
        if (!exists(pid)) {
            return true;
        }
        std::this_thread::sleep_for(wait);
    }
    return !exists(pid);
}

}  // namespace

bool Service::fail(const std::string& sentence) {
    answer_.complaints.push_back(sentence);
    return false;
}

LocalAnswer Service::finish(bool ok) {
    answer_.status = ok ? kStatusDone : kStatusRefused;
    return std::exchange(answer_, {});
}

std::vector<Service::Daemon> Service::chosen() const {
    std::vector<Daemon> daemons;
    if (options_.ovsdb_server) {
        daemons.push_back({"ovsdb-server", "ovsdb-server"});
    }
    if (options_.ovs_vswitchd) {
        daemons.push_back({"ovs-vswitchd", options_.paths.vswitchd});
    }
    return daemons;
}

std::string Service::pidfile(const std::string& name) const {
    return options_.paths.folders.run + "/" + name + ".pid";
}

/// The process that the pidfile names, when it holds the file's lock: a file without is left over.
std::optional<int> Service::running_pid(const std::string& name) const {
    const int fd = open(pidfile(name).c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return std::nullopt;
    }
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    const bool asked = fcntl(fd, F_GETLK, &lock) == 0;
    close(fd);
    return asked && lock.l_type != F_UNLCK && lock.l_pid > 0 ? std::optional<int>(lock.l_pid)
                                                             : std::nullopt;
}

std::optional<ChildOutcome> Service::run(const std::vector<std::string>& argv) {
    auto outcome = run_child(argv);
    if (!outcome) {
        fail(outcome.error());
        return std::nullopt;
    }
    return std::move(*outcome);
}

/// Runs it and says how it went.
bool Service::act(const std::string& what, const std::vector<std::string>& argv) {
    const auto outcome = run(argv);
    if (outcome && outcome->ok()) {
        say(what + ".");
        return true;
    }
    say(what + " failed.");
    if (outcome) {
        const std::string why = outcome->errors + outcome->output;
        fail(
            what + ": " + argv[0] + " ended with " + std::to_string(outcome->status) +
            (why.empty() ? "" : ": " + why.substr(0, why.find_last_not_of('\n') + 1))
        );
    }
    return false;
}

std::vector<std::string> Service::command(
    const std::vector<std::string>& wrapper, int priority, const std::string& program
) const {
    std::vector<std::string> argv;
    if (priority != 0) {
        argv = {"nice", "-n", std::to_string(priority)};
    }
    argv.insert(argv.end(), wrapper.begin(), wrapper.end());
    argv.push_back(program);
    return argv;
}

LocalAnswer Service::start() {
    mkdir(options_.paths.folders.run.c_str(), 0755);
    mkdir(options_.paths.folders.log.c_str(), 0755);
    if (options_.force_corefiles) {
        const rlimit core{kCoreBytes, kCoreBytes};
        setrlimit(RLIMIT_CORE, &core);
    }
    if (chdir(options_.daemon_cwd.c_str()) != 0) {
        return finish(fail("--daemon-cwd=" + options_.daemon_cwd + " cannot be entered"));
    }
    bool ok = !options_.ovsdb_server || start_database();
    ok = ok && (!options_.ovs_vswitchd || start_switch());
    ok = ok && (!options_.ovsdb_server || !options_.ovs_vswitchd || add_managers());
    if (ok && options_.ovs_vswitchd && options_.record_hostname) {
        record_hostname();
    }
    return finish(ok);
}

bool Service::start_switch() {
    if (running_pid("ovs-vswitchd")) {
        say("ovs-vswitchd is already running.");
        return true;
    }
    const rlimit files{kOpenFiles, kOpenFiles};
    setrlimit(RLIMIT_NOFILE, &files);
    auto argv = command(
        options_.ovs_vswitchd_wrapper, options_.ovs_vswitchd_priority, options_.paths.vswitchd
    );
    argv.insert(
        argv.end(), {"unix:" + options_.db_sock, "-vconsole:emer", "-vsyslog:err", "-vfile:info"}
    );
    if (options_.mlockall) {
        argv.emplace_back("--mlockall");
    }
    if (!options_.self_confinement) {
        argv.emplace_back("--no-self-confinement");
    }
    argv.insert(
        argv.end(),
        {"--no-chdir",
         "--log-file=" + options_.paths.folders.log + "/ovs-vswitchd.log",
         "--pidfile=" + pidfile("ovs-vswitchd"),
         "--detach"}
    );
    if (options_.monitor) {
        argv.emplace_back("--monitor");
    }
    const auto& more = options_.ovs_vswitchd_options;
    argv.insert(argv.end(), more.begin(), more.end());
    return act("Starting ovs-vswitchd (culvertd)", argv);
}

bool Service::stop_daemon(const Daemon& daemon) {
    const auto pid = running_pid(daemon.name);
    if (!pid) {
        say(daemon.name + " is not running.");
        return true;
    }
    const std::string number = std::to_string(*pid);
    static_cast<void>(run_child(
        {"ovs-appctl",
         "--timeout=5",
         "-t",
         options_.paths.folders.run + "/" + daemon.name + "." + number + ".ctl",
         "exit"}
    ));
    using namespace std::chrono_literals;
    if (gone_within(*pid, {100ms, 250ms, 650ms, 1000ms})) {
        say("Exiting " + daemon.name + " (" + number + ").");
        return true;
    }
    kill(*pid, SIGTERM);
    if (gone_within(*pid, {100ms, 250ms, 650ms, 1000ms, 1000ms, 1000ms, 1000ms})) {
        say("Terminating " + daemon.name + " (" + number + ").");
        return true;
    }
    kill(*pid, SIGKILL);
    say("Killing " + daemon.name + " (" + number + ").");
    return gone_within(*pid, {100ms, 250ms, 650ms, 1000ms}) ||
           fail(daemon.name + " (" + number + ") did not end");
}

LocalAnswer Service::stop() {
    auto daemons = chosen();
    bool ok = true;
    for (auto daemon = daemons.rbegin(); daemon != daemons.rend(); ++daemon) {
        ok = stop_daemon(*daemon) && ok;
    }
    return finish(ok);
}

LocalAnswer Service::restart() {
    LocalAnswer stopped = stop();
    if (stopped.status != kStatusDone) {
        return stopped;
    }
    LocalAnswer started = start();
    started.text.insert(0, stopped.text);
    return started;
}

LocalAnswer Service::status() {
    bool all = true;
    for (const Daemon& daemon : chosen()) {
        if (const auto pid = running_pid(daemon.name)) {
            say(daemon.name + " is running with pid " + std::to_string(*pid));
            continue;
        }
        all = false;
        const bool stale = access(pidfile(daemon.name).c_str(), F_OK) == 0;
        say(stale ? "Pidfile for " + daemon.name + " (" + pidfile(daemon.name) + ") is stale"
                  : daemon.name + " is not running");
    }
    return finish(all);
}

LocalAnswer Service::load_kmod() {
    if (access("/dev/net/tun", F_OK) == 0) {
        say("culvertd needs no kernel module but tun, which is there.");
        return finish(true);
    }
    return finish(act("Inserting tun module", {"modprobe", "tun"}));
}

LocalAnswer Service::delete_transient_ports() {
    return finish(delete_transient());
}

}  // namespace culvert::ctl
