// SPDX-License-Identifier: GPL-2.0-or-later
//
// See service_options.hpp.

#include "ctl/service_options.hpp"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "ctl/escape.hpp"

namespace culvert::ctl {

namespace {

OptionEntry value(std::string name, std::string what, std::string help) {
    return {.name = std::move(name), .value = std::move(what), .help = std::move(help)};
}

OptionEntry toggle(std::string name, std::string help) {
    return {.name = std::move(name), .value = "", .help = std::move(help), .toggle = true};
}

std::vector<OptionEntry> make_entries() {
    return {
        value(
            "--system-id",
            "UUID",
            "Identifies this host in the database; random makes and keeps one"
        ),
        value("--system-type", "TYPE", "The host's platform, e.g. XCP-ng"),
        value("--system-version", "VERSION", "The platform's version"),
        {.name = "--external-id",
         .value = "KEY=VALUE",
         .help = "Set in the database's external_ids; may be given several times",
         .repeated = true},
        toggle("--delete-bridges", "Delete all bridges just before ovs-vswitchd's place is taken"),
        toggle("--delete-transient-ports", "Delete ports with other_config:transient=true"),
        value("--daemon-cwd", "FOLDER", "The working folder of the daemons"),
        toggle("--force-corefiles", "Let the daemons dump core"),
        toggle("--mlockall", "Lock the switch's memory"),
        toggle(
            "--self-confinement", "Accepted as ovs-ctl does; the switch does not confine itself"
        ),
        toggle("--monitor", "Restart a daemon that crashes"),
        value("--ovs-user", "USER[:GROUP]", "Refused: the switch has to run as root"),
        toggle("--ovsdb-server", "Start, stop or ask ovsdb-server too"),
        toggle("--ovs-vswitchd", "Start, stop or ask the switch too"),
        value("--ovsdb-server-priority", "NICENESS", "Of ovsdb-server, -10 when absent"),
        value("--ovs-vswitchd-priority", "NICENESS", "Of the switch, -10 when absent"),
        value("--ovsdb-server-wrapper", "COMMAND", "Run ovsdb-server under valgrind or strace"),
        value("--ovs-vswitchd-wrapper", "COMMAND", "Run the switch under valgrind or strace"),
        value("--ovsdb-server-options", "OPTIONS", "More arguments for ovsdb-server"),
        value("--ovs-vswitchd-options", "OPTIONS", "More arguments for the switch"),
        toggle("--full-hostname", "Record the host's full name"),
        toggle("--record-hostname", "Record the host's name in external_ids:hostname"),
        value("--db-file", "FILE", "The database"),
        value("--db-sock", "SOCKET", "Where ovsdb-server listens"),
        value("--db-schema", "FILE", "The schema of a new database"),
        value("--extra-dbs", "FILES", "Further databases that ovsdb-server serves"),
    };
}

std::string setting(const char* name, const std::string& otherwise) {
    const char* value = std::getenv(name);
    return value == nullptr || *value == '\0' ? otherwise : value;
}

/// PREFIX/lib/culvert, of the program that runs: one build serves every prefix.
std::string folder_of_ours() {
    std::error_code error;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    return (program.parent_path().parent_path() / "lib/culvert").string();
}

std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    std::istringstream stream(text);
    for (std::string word; stream >> word;) {
        words.push_back(word);
    }
    return words;
}

std::vector<std::string> wrapper_of(const std::string& text) {
    if (text == "valgrind") {
        return {"valgrind", "-q", "--leak-check=full", "--time-stamp=yes"};
    }
    if (text == "strace") {
        return {"strace"};
    }
    return words_of(text);
}

LocalRefusal
not_valid(const std::string& option, const std::string& text, const std::string& valid) {
    return {
        kStatusRefused, option + "=" + escape_controls(text) + " is not valid; valid: " + valid};
}

/// Reads options one by one; the first refusal stays.
class Reader {
public:
    explicit Reader(const LocalCall& call) : call_(call) {}

    void read(const std::string& option, std::string& to) { to = call_.value(option).value_or(to); }
    void read_words(
        const std::string& option,
        std::vector<std::string>& to,
        std::vector<std::string> (*split)(const std::string&) = words_of
    ) {
        if (const auto text = call_.value(option)) {
            to = split(*text);
        }
    }
    /// --NAME, --NAME=yes, --NAME=no, --no-NAME.
    void read_toggle(const std::string& option, bool& to) {
        if (call_.has("--no-" + option.substr(2))) {
            to = false;
        } else if (call_.has(option)) {
            const std::string text = call_.value(option).value_or("yes");
            if (text != "yes" && text != "no") {
                refuse(not_valid(option, text, "yes, no"));
            }
            to = text == "yes";
        }
    }
    void read_priority(const std::string& option, int& to) {
        const auto text = call_.value(option);
        if (!text) {
            return;
        }
        const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), to);
        constexpr int kNicest = -20;
        constexpr int kLeast = 19;
        if (error != std::errc{} || end != text->data() + text->size() || to < kNicest ||
            to > kLeast) {
            refuse(not_valid(option, *text, "-20 to 19"));
        }
    }
    void read_external_ids(std::vector<std::pair<std::string, std::string>>& to) {
        if (!call_.has("--external-id")) {
            return;
        }
        for (const std::string& text : call_.values("--external-id")) {
            const auto equals = text.find('=');
            if (equals == 0 || equals == std::string::npos) {
                refuse(not_valid("--external-id", text, "KEY=VALUE"));
                return;
            }
            to.emplace_back(text.substr(0, equals), text.substr(equals + 1));
        }
    }
    void refuse(LocalRefusal refusal) {
        if (!refusal_) {
            refusal_ = std::move(refusal);
        }
    }
    [[nodiscard]] const std::optional<LocalRefusal>& refusal() const { return refusal_; }

private:
    const LocalCall& call_;
    std::optional<LocalRefusal> refusal_;
};

}  // namespace

ServicePaths ServicePaths::from_environment() {
    ServicePaths paths;
    paths.folders =
        find_ovs_folders([](const char* name) -> const char* { return std::getenv(name); });
    paths.pkgdatadir = setting("OVS_PKGDATADIR", "/usr/share/openvswitch");
    const std::string sbindir = setting("OVS_SBINDIR", "");
    paths.vswitchd = (sbindir.empty() ? folder_of_ours() : sbindir) + "/ovs-vswitchd";
    return paths;
}

const std::vector<OptionEntry>& service_option_entries() {
    // Made at first use: the table of commands, a constant of another file, has them.
    static const std::vector<OptionEntry> entries = make_entries();
    return entries;
}

Checked<ServiceOptions> read_service_options(const LocalCall& call) {
    ServiceOptions options;
    options.paths = ServicePaths::from_environment();
    options.db_file = options.paths.folders.database + "/conf.db";
    options.db_sock = options.paths.folders.run + "/db.sock";
    options.db_schema = options.paths.pkgdatadir + "/vswitch.ovsschema";
    Reader reader(call);
    reader.read("--system-id", options.system_id);
    reader.read("--system-type", options.system_type);
    reader.read("--system-version", options.system_version);
    reader.read_external_ids(options.external_ids);
    reader.read_toggle("--delete-bridges", options.delete_bridges);
    reader.read_toggle("--delete-transient-ports", options.delete_transient_ports);
    reader.read("--daemon-cwd", options.daemon_cwd);
    reader.read_toggle("--force-corefiles", options.force_corefiles);
    reader.read_toggle("--mlockall", options.mlockall);
    reader.read_toggle("--self-confinement", options.self_confinement);
    reader.read_toggle("--monitor", options.monitor);
    reader.read_toggle("--ovsdb-server", options.ovsdb_server);
    reader.read_toggle("--ovs-vswitchd", options.ovs_vswitchd);
    reader.read_priority("--ovsdb-server-priority", options.ovsdb_server_priority);
    reader.read_priority("--ovs-vswitchd-priority", options.ovs_vswitchd_priority);
    reader.read_words("--ovsdb-server-wrapper", options.ovsdb_server_wrapper, wrapper_of);
    reader.read_words("--ovs-vswitchd-wrapper", options.ovs_vswitchd_wrapper, wrapper_of);
    reader.read_words("--ovsdb-server-options", options.ovsdb_server_options);
    reader.read_words("--ovs-vswitchd-options", options.ovs_vswitchd_options);
    reader.read_toggle("--full-hostname", options.full_hostname);
    reader.read_toggle("--record-hostname", options.record_hostname);
    reader.read("--db-file", options.db_file);
    reader.read("--db-sock", options.db_sock);
    reader.read("--db-schema", options.db_schema);
    reader.read_words("--extra-dbs", options.extra_dbs);
    const std::string user = call.value("--ovs-user").value_or("");
    if (!user.empty() && user != "root" && user != "root:root") {
        reader.refuse(not_valid(
            "--ovs-user",
            user,
            "root, as the switch makes TAP devices, packet sockets and firewall rules"
        ));
    }
    if (reader.refusal()) {
        return tl::unexpected(*reader.refusal());
    }
    return options;
}

}  // namespace culvert::ctl
