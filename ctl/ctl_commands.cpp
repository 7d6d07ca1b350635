// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of commands, and what the shell's completion wants to know about it.
#include "ctl/ctl_commands.hpp"

#include <algorithm>
#include <utility>

#include "ctl/service_options.hpp"

namespace culvert::ctl {
namespace {

const ArgumentEntry kBridge = {"BRIDGE", "Only this bridge"};

// ---- What the commands about the host's firewall share ------------------------------------------

const ArgumentEntry kTypes = {
    "TYPE",
    "Types of tunnels; esp stands for ike and esp-udp too",
    false,
    {"gre", "vxlan", "vxlan-gpe", "geneve", "lisp", "stt", "esp", "ike", "esp-udp"},
    true};
const OptionEntry kProtocol = {
    "--protocol", "P", "A protocol by number or by its name in /etc/protocols"};
const OptionEntry kDport = {"--dport", "N", "Only packets to this port"};
const OptionEntry kSport = {"--sport", "N", "Only packets from this port"};
const OptionEntry kSource = {
    .name = "--source",
    .value = "CIDR",
    .help = "Only packets from this address or network; may be given several times",
    .repeated = true};
const OptionEntry kBackend = {
    .name = "--backend",
    .value = "NAME",
    .help = "Whose tables: auto (all that hold rules), iptables-legacy or nftables",
    .choices = {"auto", "iptables-legacy", "nftables"}};
const OptionEntry kDryRun = {
    "--dry-run", "", "Print the commands that would do it, change nothing"};

const std::vector<CommandEntry> kCommands = {
    {"show", "show", "Show bridges, ports and tunnels", CommandKind::show},
    {"show tunnel",
     "show/tunnel",
     "Show every option of a tunnel, its next hop and its counters",
     CommandKind::show,
     {{"TUNNEL", "The tunnel's name", true}}},
    {"fdb show",
     "fdb/table",
     "Show learned and static MAC addresses",
     CommandKind::show,
     {kBridge}},
    {"fdb flush", "fdb/flush", "Forget learned MAC addresses", CommandKind::action, {kBridge}},
    {"flows show",
     "flows/show",
     "Show entries of the flow cache",
     CommandKind::show,
     {},
     {{"--port", "PORT", "Only flows that enter at this port"},
      {"--limit", "N", "At most this many flows; 0: all", true}}},
    {"flows flush", "flows/flush", "Empty the flow cache", CommandKind::action},
    {"drops",
     "drops",
     "Show dropped packets by reason, port and tunnel",
     CommandKind::show,
     {},
     {{"--all", "", "Also reasons that never occurred"}}},
    {"workers", "workers", "Show what each worker does", CommandKind::show},
    {"workers queues",
     "workers/queues",
     "Show which worker polls which receive queue",
     CommandKind::show},
    {"workers stages",
     "workers/stages",
     "Show how many cycles a packet takes in each stage",
     CommandKind::show},
    {"counters",
     "counters",
     "Show counters of ports and tunnels",
     CommandKind::show,
     {{"PORT", "Only this port or tunnel"}}},
    {"reload",
     "reload",
     "Read the configuration file again and apply what changed",
     CommandKind::action},
    {"log set",
     "log/set",
     "Set the log level of the running daemon",
     CommandKind::action,
     {{"LEVEL", "The least important level to log", true, {"debug", "info", "warning", "error"}}}},
    {"log reopen",
     "log/reopen",
     "Open the log file again, after it was rotated",
     CommandKind::action},
    {"enable-protocol",
     "enable-protocol",
     "Let the host's firewall admit tunnel packets (GRE when nothing is named)",
     CommandKind::local,
     {kTypes},
     {kProtocol,
      kDport,
      kSport,
      kSource,
      {"--comment", "TEXT", "What the rule's comment says beside Culvert's name"},
      kDryRun,
      kBackend,
      {.name = "--compat",
       .value = "NAME",
       .help = "ovs-ctl: exactly as ovs-ctl enable-protocol, IPv4 only",
       .choices = {"ovs-ctl"}}}},
    {"disable-protocol",
     "disable-protocol",
     "Remove rules that enable-protocol inserted (GRE when nothing is named)",
     CommandKind::local,
     {kTypes},
     {kProtocol, kDport, kSport, kSource, kDryRun, kBackend}},
    {"list-protocols",
     "list-protocols",
     "Show for each type of tunnel whether the host's firewall admits it, and its rules",
     CommandKind::local,
     {},
     {kBackend}},
    {"check-protocol",
     "check-protocol",
     "Say whether the host's firewall admits tunnel packets; exit status 0 when it does, else 1",
     CommandKind::local,
     {kTypes},
     {kProtocol,
      kDport,
      kSport,
      kSource,
      {"--interface", "NAME", "Packets that come in by this interface"},
      kBackend}},
    {"sa list", "sa/list", "List the security associations of tunnels", CommandKind::show},
    {"sa show",
     "sa/show",
     "Show all about security associations, but for their keys",
     CommandKind::show,
     {{"TUNNEL|SPI", "A tunnel's name, or an SPI such as 0x1001; all without it"}}},
    {"firewall show",
     "firewall/show",
     "Show how the host's firewall governs the tunnels",
     CommandKind::show},
    {"firewall explain",
     "firewall/explain",
     "Show the way of a packet through the host's firewall, and the rule that decides",
     CommandKind::local,
     {},
     {{.name = "--protocol", .value = "P", .help = kProtocol.help, .required = true},
      {.name = "--src", .value = "ADDRESS", .help = "The packet's sender", .required = true},
      {.name = "--dst", .value = "ADDRESS", .help = "Its destination", .required = true},
      kSport,
      kDport,
      {"--interface", "NAME", "It comes in by this one; else the one that has the destination"},
      {.name = "--state",
       .value = "STATE",
       .help = "Of connection tracking; NEW when absent, as culvertd takes tunnel packets",
       .choices = {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}},
      kBackend}},
    {"start",
     "start",
     "Start ovsdb-server and the switch, as ovs-ctl does",
     CommandKind::local,
     {},
     service_option_entries()},
    {"stop",
     "stop",
     "Stop the switch and ovsdb-server",
     CommandKind::local,
     {},
     service_option_entries()},
    {"restart", "restart", "Stop, then start", CommandKind::local, {}, service_option_entries()},
    {"status",
     "status",
     "Say whether ovsdb-server and the switch run; exit status 0 when both do",
     CommandKind::local,
     {},
     service_option_entries()},
    {"start-ovsdb-server",
     "start-ovsdb-server",
     "Start ovsdb-server alone",
     CommandKind::local,
     {},
     service_option_entries()},
    {"load-kmod", "load-kmod", "See to it that TAP devices can be made", CommandKind::local},
    {"force-reload-kmod",
     "force-reload-kmod",
     "Restart; there is no kernel module to reload",
     CommandKind::local,
     {},
     service_option_entries()},
    {"delete-transient-ports",
     "delete-transient-ports",
     "Delete ports with other_config:transient=true from the database",
     CommandKind::local,
     {},
     service_option_entries()},
    {"help", "help", "Tell of the commands", CommandKind::help},
    {"version",
     "version",
     "Show the versions of this tool and of the daemon",
     CommandKind::version},
    {"raw",
     "",
     "Call a METHOD of the daemon with ARGS as they are: raw METHOD [ARGS...]",
     CommandKind::raw},
};

/// What the first words of commands with two words stand for.
const std::vector<std::pair<std::string, std::string>> kGroups = {
    {"fdb", "The bridges' forwarding databases (MAC tables)"},
    {"firewall", "The firewall of the host"},
    {"flows", "The flow cache"},
    {"log", "The daemon's log"},
    {"sa", "The security associations of encrypted tunnels"},
};

const std::vector<std::pair<Words, Words>> kGlobalOptions = {
    // Names, and the values that are completed; a path is the shell's to complete.
    {{"-s", "--socket"}, {""}},
    {{"-f", "--format"}, {"text", "json"}},
    {{"-t", "--timeout"}, {""}},
    {{"-w", "--watch"}, {}},
    {{"-h", "--help"}, {}},
};

/// The values of `option`: none for a flag, one empty word for a value that is free.
Words values_of(const std::string& option, const CommandEntry* command) {
    for (const auto& [names, values] : kGlobalOptions) {
        if (std::find(names.begin(), names.end(), option) != names.end()) {
            return values;
        }
    }
    if (command != nullptr) {
        for (const OptionEntry& entry : command->options) {
            if (entry.name == option && !entry.value.empty()) {
                return entry.choices.empty() ? Words{""} : entry.choices;
            }
        }
    }
    return {};
}

}  // namespace

const std::vector<CommandEntry>& commands() {
    return kCommands;
}

const CommandEntry* find_command(std::string_view words) {
    const auto found =
        std::find_if(kCommands.begin(), kCommands.end(), [&](const CommandEntry& command) {
            return command.words == words;
        });
    return found == kCommands.end() ? nullptr : &*found;
}

Words next_words(const std::string& group) {
    const std::string prefix = group.empty() ? "" : group + " ";
    Words words;
    for (const CommandEntry& command : kCommands) {
        if (command.words.starts_with(prefix)) {
            const std::string rest = command.words.substr(prefix.size());
            const std::string word = rest.substr(0, rest.find(' '));
            if (std::find(words.begin(), words.end(), word) == words.end()) {
                words.push_back(word);
            }
        }
    }
    return words;
}

std::string group_help(std::string_view group) {
    const auto found = std::find_if(kGroups.begin(), kGroups.end(), [&](const auto& entry) {
        return entry.first == group;
    });
    return found == kGroups.end() ? "" : found->second;
}

Words complete(const Words& typed) {
    std::string words;
    std::size_t arguments = 0;
    const CommandEntry* command = nullptr;
    Words candidates;
    for (std::size_t i = 0; i < typed.size(); ++i) {
        if (typed[i].starts_with('-')) {
            const Words values = values_of(typed[i], command);
            if (values.empty()) {
                continue;
            }
            if (++i == typed.size()) {
                candidates = values;
            }
        } else {
            // A command may be a group too ("show", "show tunnel").
            const std::string longer = words + (words.empty() ? "" : " ") + typed[i];
            const CommandEntry* found = find_command(longer);
            if (command != nullptr && found == nullptr) {
                ++arguments;
                continue;
            }
            words = longer;
            command = found;
        }
    }
    if (candidates.empty()) {
        if (command == nullptr) {
            candidates = next_words(words);
        } else {
            const auto& entries = command->arguments;
            if (arguments < entries.size() || (!entries.empty() && entries.back().repeated)) {
                candidates = entries[std::min(arguments, entries.size() - 1)].choices;
            } else if (arguments == 0) {
                candidates = next_words(words);
            }
            for (const OptionEntry& option : command->options) {
                candidates.push_back(option.name);
                if (option.toggle) {
                    candidates.push_back("--no-" + option.name.substr(2));
                }
            }
        }
        for (const auto& [names, values] : kGlobalOptions) {
            candidates.push_back(names.back());
        }
    }
    return candidates;
}

}  // namespace culvert::ctl
