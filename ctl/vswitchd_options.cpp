// SPDX-License-Identifier: GPL-2.0-or-later
//
// See vswitchd_options.hpp. getopt_long(3), as ovs-vswitchd uses it: long options may be shortened,
// and options may follow the database.
#include "ctl/vswitchd_options.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <getopt.h>

#include "ctl/sentence.hpp"

namespace culvert::ctl {
namespace {

enum Option : int {  // NOLINT(performance-enum-size): getopt's type.
    private_key = 'p',
    certificate = 'c',
    ca_certificate = 'C',
    help = 'h',
    version = 'V',
    verbose = 'v',
    log_file = 256,
    syslog_method,
    syslog_target,
    pidfile,
    overwrite_pidfile,
    detach,
    monitor,
    no_chdir,
    user,
    mlockall,
    no_effect,
    unixctl,
    bootstrap_ca_certificate,
    peer_ca_certificate,
    ssl_parameter,
    enable_dummy,
    dpdk,
    config,
};

constexpr std::array kLongOptions = {
    option{"private-key", required_argument, nullptr, private_key},
    option{"certificate", required_argument, nullptr, certificate},
    option{"ca-cert", required_argument, nullptr, ca_certificate},
    option{"bootstrap-ca-cert", required_argument, nullptr, bootstrap_ca_certificate},
    option{"peer-ca-cert", required_argument, nullptr, peer_ca_certificate},
    option{"ssl-protocols", required_argument, nullptr, ssl_parameter},
    option{"ssl-ciphers", required_argument, nullptr, ssl_parameter},
    option{"help", no_argument, nullptr, help},
    option{"version", no_argument, nullptr, version},
    option{"verbose", optional_argument, nullptr, verbose},
    option{"log-file", optional_argument, nullptr, log_file},
    option{"syslog-method", required_argument, nullptr, syslog_method},
    option{"syslog-target", required_argument, nullptr, syslog_target},
    option{"pidfile", optional_argument, nullptr, pidfile},
    option{"overwrite-pidfile", no_argument, nullptr, overwrite_pidfile},
    option{"detach", no_argument, nullptr, detach},
    option{"monitor", no_argument, nullptr, monitor},
    option{"no-chdir", no_argument, nullptr, no_chdir},
    option{"user", required_argument, nullptr, user},
    option{"mlockall", no_argument, nullptr, mlockall},
    option{"self-confinement", no_argument, nullptr, no_effect},
    option{"no-self-confinement", no_argument, nullptr, no_effect},
    option{"disable-system", no_argument, nullptr, no_effect},
    option{"disable-system-route", no_argument, nullptr, no_effect},
    option{"unixctl", required_argument, nullptr, unixctl},
    option{"enable-dummy", optional_argument, nullptr, enable_dummy},
    option{"dpdk", optional_argument, nullptr, dpdk},
    option{"config", required_argument, nullptr, config},
    option{nullptr, 0, nullptr, 0},
};
constexpr const char* kShortOptions = ":p:c:C:hVv::";

constexpr std::array<std::string_view, 3> kRemotes = {"unix:", "tcp:", "ssl:"};

std::string absolute(const std::string& path, const std::string& folder) {
    return path.starts_with('/') ? path : (std::filesystem::path(folder) / path).string();
}

std::string absolute(const std::string& path) {
    return std::filesystem::absolute(path).string();
}

/// Takes one option after another into a VswitchdOptions.
class Reader {
public:
    explicit Reader(const OvsFolders& folders) : folders_(folders) {}

    /// `value` is empty where there is none.
    Result<void> take(int letter, const std::optional<std::string>& value) {
        const std::string text = value.value_or("");
        switch (letter) {
        case help:
            out_.action = VswitchdOptions::Action::help;
            return {};
        case version:
            out_.action = VswitchdOptions::Action::version;
            return {};
        case verbose:
            out_.vlog.push_back(text);
            return {};
        case log_file:
            out_.log_file = value ? absolute(text) : folders_.log + "/ovs-vswitchd.log";
            return {};
        case syslog_method:
            out_.syslog_method = text;
            return {};
        case syslog_target:
            out_.syslog_target = text;
            return {};
        case overwrite_pidfile:
            out_.overwrite_pidfile = true;
            return {};
        case pidfile:
            out_.pidfile = absolute(value.value_or(kPidfile), folders_.run);
            return {};
        case detach:
            out_.detach = true;
            return {};
        case monitor:
            out_.monitor = true;
            return {};
        case no_chdir:
            out_.change_folder = false;
            return {};
        case mlockall:
            out_.lock_memory = true;
            return {};
        case unixctl:
            out_.unixctl = text == "none" ? "" : absolute(text, folders_.run);
            return {};
        case config:
            out_.config = absolute(text);
            return {};
        case no_effect:
            return {};
        default:
            return take_rare(letter, text);
        }
    }

    Result<VswitchdOptions> finish(const std::vector<std::string>& words) {
        if (words.size() > 1) {
            return tl::unexpected(fmt::format(
                "at most one DATABASE is accepted, and {} came after {}; several remotes of one "
                "database are separated by commas",
                quote(words[1]),
                quote(words[0])
            ));
        }
        out_.database = words.empty() ? "unix:" + folders_.run + "/db.sock" : words[0];
        return std::move(out_);
    }

private:
    static constexpr const char* kPidfile = "ovs-vswitchd.pid";

    Result<void> take_rare(int letter, const std::string& text) {
        switch (letter) {
        case private_key:
            out_.private_key = absolute(text);
            return {};
        case certificate:
            out_.certificate = absolute(text);
            return {};
        case bootstrap_ca_certificate:
            note("--bootstrap-ca-cert: the file is read, and not written when it is missing");
            [[fallthrough]];
        case ca_certificate:
            return take_ca(text);
        case peer_ca_certificate:
            note("--peer-ca-cert has no effect: the daemon accepts no SSL connections");
            return {};
        case ssl_parameter:
            note("--ssl-protocols and --ssl-ciphers have no effect: TLS 1.2 and newer are "
                 "spoken, with OpenSSL's ciphers");
            return {};
        case user:
            return tl::unexpected(fmt::format(
                "--user {} is not supported: TAP devices, the firewall and DPDK need root",
                quote(text)
            ));
        case enable_dummy:
            return tl::unexpected(
                std::string("--enable-dummy is not supported: there are no dummy datapaths")
            );
        default:
            return tl::unexpected(std::string(
                "--dpdk is not supported: other_config:dpdk-* of the database and --config "
                "say how DPDK runs"
            ));
        }
    }

    Result<void> take_ca(const std::string& text) {
        if (text == "none") {
            return tl::unexpected(std::string(
                "--ca-cert \"none\" is not supported: the database server's certificate is always "
                "verified (valid: the file of its CA)"
            ));
        }
        out_.ca_certificate = absolute(text);
        return {};
    }

    void note(const char* text) { out_.notes.emplace_back(text); }

    const OvsFolders& folders_;
    VswitchdOptions out_;
};

std::string refusal(int letter, const std::string& word) {
    const auto known = std::find_if(kLongOptions.begin(), kLongOptions.end(), [](const option& o) {
        return optopt != 0 && o.val == optopt;
    });
    if (letter == ':') {
        return fmt::format("option {} requires an argument", quote(word));
    }
    if (word.starts_with("--") && known != kLongOptions.end()) {
        return fmt::format("option {} takes no argument", quote(word));
    }
    return fmt::format("unrecognized option {}; --help lists those there are", quote(word));
}

}  // namespace

bool wants_vswitchd(const std::vector<std::string>& arguments) {
    if (!arguments.empty() &&
        std::filesystem::path(arguments[0]).filename().string() == kVswitchdName) {
        return true;
    }
    for (std::size_t i = 1; i < arguments.size(); ++i) {
        const bool of_config = arguments[i - 1] == "-c" || arguments[i - 1] == "--config";
        if (!of_config && std::any_of(kRemotes.begin(), kRemotes.end(), [&](std::string_view kind) {
                return arguments[i].starts_with(kind);
            })) {
            return true;
        }
    }
    return false;
}

Result<VswitchdOptions>
parse_vswitchd_options(const std::vector<std::string>& arguments, const OvsFolders& folders) {
    std::vector<std::string> copies = arguments;  // getopt puts them in another order.
    std::vector<char*> words;
    words.reserve(copies.size() + 1);
    for (std::string& copy : copies) {
        words.push_back(copy.data());
    }
    words.push_back(nullptr);
    const int count = static_cast<int>(copies.size());
    Reader reader(folders);
    optind = 0;  // From the front, whoever used it before.
    opterr = 0;
    while (true) {
        const int next = std::max(optind, 1);
        const int letter =
            getopt_long(count, words.data(), kShortOptions, kLongOptions.data(), nullptr);
        if (letter == -1) {
            break;
        }
        if (letter == ':' || letter == '?') {
            const char* word = words[static_cast<std::size_t>(std::max(next, optind - 1))];
            return tl::unexpected(refusal(letter, word != nullptr ? word : ""));
        }
        const auto value = optarg != nullptr ? std::optional<std::string>(optarg) : std::nullopt;
        if (auto taken = reader.take(letter, value); !taken) {
            return tl::unexpected(taken.error());
        }
    }
    std::vector<std::string> rest;
    for (int i = optind; i < count; ++i) {
        rest.emplace_back(words[static_cast<std::size_t>(i)]);
    }
    return reader.finish(rest);
}

std::string vswitchd_usage(const OvsFolders& folders) {
    return fmt::format(
        R"(ovs-vswitchd: Culvert's switch in the place of Open vSwitch's daemon
usage: ovs-vswitchd [OPTIONS] [DATABASE]
DATABASE is where ovsdb-server listens (default: unix:{0}/db.sock):
  unix:FILE | tcp:HOST:PORT | ssl:HOST:PORT, several separated by commas

What the database does not say:
  --config=FILE           [daemon], [dpdk], [workers], [flow_cache], [firewall] and [ike] of
                          this TOML file (default: /etc/culvert/culvert.toml, if it is there)
TLS, for ssl:
  -p, --private-key=FILE  private key
  -c, --certificate=FILE  certificate of the private key
  -C, --ca-cert=FILE      certificate of the CA of the database's server
Daemon:
  --detach                run in the background, once the first configuration is applied
  --monitor               start the daemon again when it crashes
  --no-chdir              do not change to /
  --pidfile[=FILE]        write a pidfile (default: {0}/ovs-vswitchd.pid)
  --overwrite-pidfile     start even if the pidfile's daemon runs
  --mlockall              keep memory from being swapped out
  --unixctl=SOCKET|none   control socket (default: {0}/ovs-vswitchd.PID.ctl)
Log:
  -v, --verbose[=SPEC]    levels, as for "vlog/set" in ovs-appctl(8); alone: everything
  --log-file[=FILE]       log to a file (default: {1}/ovs-vswitchd.log)
  --syslog-method=METHOD  libc, null, unix:FILE or udp:IP:PORT
  --syslog-target=IP:PORT send what goes to syslog there too, over UDP
Others:
  -h, --help              print this
  -V, --version           print the version
)",
        folders.run,
        folders.log
    );
}

std::string vswitchd_version() {
    return fmt::format(
        "{} (Open vSwitch) {}\nCulvert {}\n", kVswitchdName, kOvsVersion, CULVERT_VERSION
    );
}

}  // namespace culvert::ctl
