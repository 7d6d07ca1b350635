// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of Service that is about the database: made, converted, served, and told about the host.

#include <fstream>
#include <sstream>

#include <netdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/service.hpp"

namespace culvert::ctl {

namespace {

std::string trimmed(std::string text) {
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    text.erase(0, text.find_first_not_of(" \t\r\n"));
    return text;
}

std::string read_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return trimmed(line);
}

/// A field of /etc/os-release, without its quotes.
std::string os_release(const std::string& key) {
    std::ifstream file("/etc/os-release");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(key + "=")) {
            std::string value = trimmed(line.substr(key.size() + 1));
            std::erase(value, '"');
            return value;
        }
    }
    return "";
}

std::string hostname(bool full) {
    char name[256] = {};
    if (gethostname(name, sizeof name - 1) != 0) {
        return "";
    }
    addrinfo hints{};
    hints.ai_flags = AI_CANONNAME;
    addrinfo* found = nullptr;
    if (!full || getaddrinfo(name, nullptr, &hints, &found) != 0) {
        return name;
    }
    std::string canonical = found->ai_canonname == nullptr ? name : found->ai_canonname;
    freeaddrinfo(found);
    return canonical;
}

/// The first that is not empty.
std::string either(const std::string& first, const std::string& second) {
    return first.empty() ? second : first;
}

}  // namespace

std::optional<ChildOutcome> Service::vsctl(const std::vector<std::string>& words) {
    std::vector<std::string> argv{
        "ovs-vsctl", "--db=unix:" + options_.db_sock, "--timeout=30", "--no-wait"};
    argv.insert(argv.end(), words.begin(), words.end());
    return run(argv);
}

bool Service::start_database() {
    if (running_pid("ovsdb-server")) {
        say("ovsdb-server is already running.");
        return true;
    }
    return upgrade_database() && launch_database() && set_up_database();
}

bool Service::upgrade_database() {
    const std::string& file = options_.db_file;
    if (access(file.c_str(), F_OK) != 0) {
        mkdir(file.substr(0, file.rfind('/')).c_str(), 0755);
        return act(
            "Creating empty database " + file, {"ovsdb-tool", "create", file, options_.db_schema}
        );
    }
    const auto needs = run({"ovsdb-tool", "needs-conversion", file, options_.db_schema});
    if (!needs) {
        return false;
    }
    return trimmed(needs->output) != "yes" || convert_database();
}

bool Service::convert_database() {
    const std::string& file = options_.db_file;
    const auto version = run({"ovsdb-tool", "db-version", file});
    const auto sum = run({"ovsdb-tool", "db-cksum", file});
    if (!version || !sum) {
        return false;
    }
    std::string suffix = trimmed(version->output) + "-" + trimmed(sum->output);
    for (char& c : suffix) {
        c = c == ' ' ? '-' : c;
    }
    const std::string backup = file + ".backup" + suffix;
    if (!act("Backing up database to " + backup, {"cp", "-p", file, backup})) {
        return false;
    }
    // A failure is no reason to stay without a switch.
    static_cast<void>(act("Compacting database", {"ovsdb-tool", "compact", file}));
    if (act("Converting database schema", {"ovsdb-tool", "convert", file, options_.db_schema})) {
        return true;
    }
    say("Schema conversion failed, using empty database instead");
    unlink(file.c_str());
    return act(
        "Creating empty database " + file, {"ovsdb-tool", "create", file, options_.db_schema}
    );
}

bool Service::launch_database() {
    auto argv =
        command(options_.ovsdb_server_wrapper, options_.ovsdb_server_priority, "ovsdb-server");
    argv.push_back(options_.db_file);
    argv.insert(argv.end(), options_.extra_dbs.begin(), options_.extra_dbs.end());
    argv.insert(
        argv.end(),
        {"-vconsole:emer",
         "-vsyslog:err",
         "-vfile:info",
         "--remote=punix:" + options_.db_sock,
         "--private-key=db:Open_vSwitch,SSL,private_key",
         "--certificate=db:Open_vSwitch,SSL,certificate",
         "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert",
         "--no-chdir",
         "--log-file=" + options_.paths.folders.log + "/ovsdb-server.log",
         "--pidfile=" + pidfile("ovsdb-server"),
         "--detach"}
    );
    if (options_.monitor) {
        argv.emplace_back("--monitor");
    }
    const auto& more = options_.ovsdb_server_options;
    argv.insert(argv.end(), more.begin(), more.end());
    return act("Starting ovsdb-server", argv);
}

bool Service::set_up_database() {
    const auto init = vsctl({"init"});
    if (!init || !init->ok()) {
        return fail("ovs-vsctl init failed" + (init ? ": " + first_line(init->errors) : ""));
    }
    const auto schema = run({"ovsdb-tool", "schema-version", options_.db_schema});
    if (schema && schema->ok()) {
        static_cast<void>(
            vsctl({"set", "Open_vSwitch", ".", "db-version=" + trimmed(schema->output)})
        );
    }
    const bool ok = set_system_ids();
    if (options_.delete_bridges) {
        delete_bridges();
    }
    return (!options_.delete_transient_ports || delete_transient()) && ok;
}

/// What --system-id says; "random" is made once and kept in system-id.conf.
std::string Service::read_system_id() {
    const std::string& folder = options_.paths.folders.configuration;
    const std::string file = folder + "/system-id.conf";
    if (options_.system_id != "random") {
        return options_.system_id;
    }
    std::string id = read_line(file);
    if (id.empty()) {
        id = read_line("/proc/sys/kernel/random/uuid");
        mkdir(folder.c_str(), 0755);
        if (!(std::ofstream(file) << id << '\n')) {
            fail("the system ID is not kept, as " + file + " cannot be written");
        }
    }
    return id;
}

bool Service::set_system_ids() {
    const std::string& folder = options_.paths.folders.configuration;
    std::vector<std::string> words{"set", "Open_vSwitch", "."};
    const auto version = run({options_.paths.vswitchd, "--version"});
    if (version && version->ok()) {
        const std::string line = first_line(version->output);
        words.push_back("ovs-version=" + line.substr(line.rfind(' ') + 1));
    }
    const std::string id = read_system_id();
    if (id.empty()) {
        fail("system ID not configured, please use --system-id");
    } else {
        words.push_back("external-ids:system-id=\"" + id + "\"");
    }
    words.push_back("external-ids:rundir=\"" + options_.paths.folders.run + "\"");
    const std::string type = either(
        either(options_.system_type, read_line(folder + "/system-type.conf")),
        either(os_release("ID"), "unknown")
    );
    const std::string release = either(
        either(options_.system_version, read_line(folder + "/system-version.conf")),
        either(os_release("VERSION_ID"), "unknown")
    );
    words.push_back("system-type=\"" + type + "\"");
    words.push_back("system-version=\"" + release + "\"");
    for (const auto& [key, value] : options_.external_ids) {
        std::string word = "external-ids:";
        word.append(key).append("=\"").append(value).append("\"");
        words.push_back(std::move(word));
    }
    const auto set = vsctl(words);
    if (!set || !set->ok()) {
        say("Configuring Open vSwitch system IDs failed.");
        return fail("system IDs were not set" + (set ? ": " + first_line(set->errors) : ""));
    }
    say("Configuring Open vSwitch system IDs.");
    return true;
}

void Service::delete_bridges() {
    const auto bridges = vsctl({"list-br"});
    std::istringstream names(bridges ? bridges->output : "");
    for (std::string name; names >> name;) {
        // A fake bridge goes with its parent.
        static_cast<void>(vsctl({"--if-exists", "del-br", name}));
    }
}

bool Service::delete_transient() {
    const auto found =
        vsctl({"--bare", "--", "--columns=name", "find", "port", "other_config:transient=true"});
    if (!found || !found->ok()) {
        return fail(
            "transient ports were not found" + (found ? ": " + first_line(found->errors) : "")
        );
    }
    std::istringstream names(found->output);
    bool ok = true;
    for (std::string name; names >> name;) {
        const auto deleted = vsctl({"del-port", name});
        ok = ok && deleted && deleted->ok();
    }
    return ok || fail("not all transient ports were deleted");
}

/// Only now may managers see the database: the switch has taken it over.
bool Service::add_managers() {
    const auto pid = running_pid("ovsdb-server");
    if (!pid) {
        return fail("ovsdb-server is not running");
    }
    return act(
        "Enabling remote OVSDB managers",
        {"ovs-appctl",
         "--timeout=10",
         "-t",
         options_.paths.folders.run + "/ovsdb-server." + std::to_string(*pid) + ".ctl",
         "ovsdb-server/add-remote",
         "db:Open_vSwitch,Open_vSwitch,manager_options"}
    );
}

void Service::record_hostname() {
    const std::string name = hostname(options_.full_hostname);
    if (!name.empty()) {
        // "add" leaves what is there.
        static_cast<void>(
            vsctl({"add", "Open_vSwitch", ".", "external-ids", "hostname=\"" + name + "\""})
        );
    }
}

}  // namespace culvert::ctl
