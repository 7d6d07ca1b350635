// SPDX-License-Identifier: GPL-2.0-or-later
//
// Interface claims on top of libnftables: one netdev table per interface, named
// culvert_<instance>_<interface>. Beside the ingress chain each table holds an empty chain whose
// name tells the process that made it, because that works on every kernel: comments on tables and
// chains need 5.10, and a rule goes away with the ingress chain when its device is deleted.
//
// The text listing is parsed and not the JSON one: libnftables 1.0.6 writes rubbish for the flags
// of an owned table and leaves the device of a chain out. Control thread only.
#include "firewall/claim.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <net/if.h>
#include <unistd.h>

#include "firewall/nft_context.hpp"

namespace culvert::firewall {

namespace {

constexpr std::string_view kTablePrefix = "culvert_";
constexpr std::string_view kTableLine = "table netdev ";
constexpr std::string_view kClaimantChainLine = "\tchain pid_";
constexpr std::string_view kClaimantStart = "_start_";
constexpr std::size_t kInstanceLengthMax = 64;

using Outcome = tl::expected<void, std::string>;

std::string error_text(int error) {
    return std::generic_category().message(error);
}

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A process, told apart from a later one with the same number by its start time.
struct Process {
    std::uint64_t pid = 0;
    std::uint64_t start_ticks = 0;
    bool operator==(const Process&) const = default;
};

// One of our tables as the kernel has it. Without a claimant it was not made by this code.
struct Table {
    std::string name;
    std::optional<Process> claimant;
};

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

// The start time (field 22 of /proc/PID/stat, proc(5)) of a process that runs. A zombie holds
// nothing any more and counts as gone. The command name in field 2 may itself hold blanks and
// parentheses, so fields are counted from the last ')'.
std::optional<std::uint64_t> start_ticks_of(std::uint64_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string stat(std::istreambuf_iterator<char>(file), {});
    std::size_t position = stat.rfind(')');
    if (position == std::string::npos || position + 2 >= stat.size()) {
        return std::nullopt;
    }
    position += 2;
    const char state = stat[position];
    if (state == 'Z' || state == 'X') {
        return std::nullopt;
    }
    for (unsigned field = 3; field < 22; ++field) {
        position = stat.find(' ', position);
        if (position == std::string::npos) {
            return std::nullopt;
        }
        ++position;
    }
    return parse_number(std::string_view(stat).substr(position, stat.find(' ', position) - position)
    );
}

bool is_running(const Process& process) {
    return start_ticks_of(process.pid) == process.start_ticks;
}

std::string claimant_chain(const Process& process) {
    return "pid_" + std::to_string(process.pid) + std::string(kClaimantStart) +
           std::to_string(process.start_ticks);
}

// nftables identifiers hold letters, digits and "/\-_."; '/' occurs in no interface name and in no
// instance, so it introduces the two hexadecimal digits of any other byte. '_' is written that way
// in the instance alone, which makes the '_' after it a separator.
std::string escape_for_identifier(std::string_view text, bool keep_underscore) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string escaped;
    for (const char c : text) {
        if (is_letter_or_digit(c) || c == '.' || c == '-' || (c == '_' && keep_underscore)) {
            escaped += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            escaped += '/';
            escaped += kHex[byte >> 4U];
            escaped += kHex[byte & 0xfU];
        }
    }
    return escaped;
}

Outcome check_instance(const std::string& instance) {
    const bool valid = !instance.empty() && instance.size() <= kInstanceLengthMax &&
                       std::all_of(instance.begin(), instance.end(), [](char c) {
                           return is_letter_or_digit(c) || c == '_' || c == '-';
                       });
    if (!valid) {
        return tl::unexpected(
            "The instance name \"" + instance + "\" is not valid; it takes 1 to " +
            std::to_string(kInstanceLengthMax) + " letters, digits, '_' and '-'."
        );
    }
    return {};
}

// A quoted string in nftables has no escapes, and some versions read '*' and '\' in a device name
// as the start of a pattern.
Outcome check_interface(const std::string& interface) {
    if (interface.empty() || interface.size() >= IFNAMSIZ) {
        return tl::unexpected(
            "The interface name \"" + interface + "\" is not valid; it takes 1 to " +
            std::to_string(IFNAMSIZ - 1) + " characters."
        );
    }
    const bool unwritable = std::any_of(interface.begin(), interface.end(), [](char c) {
        return c == '"' || c == '*' || c == '\\' || c == '/' || c == '\0' ||
               std::isspace(static_cast<unsigned char>(c)) != 0;
    });
    if (unwritable) {
        return tl::unexpected(
            "The interface " + interface +
            " cannot be claimed, because nftables cannot write its name; a name without '\"', '*',"
            " '\\', '/' and white space can be."
        );
    }
    if (if_nametoindex(interface.c_str()) == 0) {
        return tl::unexpected(
            "The interface " + interface + " cannot be claimed: " + error_text(errno) +
            "; it must exist in this network namespace."
        );
    }
    return {};
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

std::optional<Process> parse_claimant(std::string_view listing) {
    for (std::string_view line : lines_of(listing)) {
        if (!line.starts_with(kClaimantChainLine)) {
            continue;
        }
        line.remove_prefix(kClaimantChainLine.size());
        line = line.substr(0, line.find(' '));
        const std::size_t separator = line.find(kClaimantStart);
        if (separator == std::string_view::npos) {
            continue;
        }
        const auto pid = parse_number(line.substr(0, separator));
        const auto start_ticks = parse_number(line.substr(separator + kClaimantStart.size()));
        if (pid && start_ticks) {
            return Process{*pid, *start_ticks};
        }
    }
    return std::nullopt;
}

std::string delete_command(const std::string& table) {
    return "delete table netdev " + table + "\n";
}

}  // namespace

struct InterfaceClaims::Implementation {
    NftContext context;  ///< Its socket owns the tables.
    std::string instance;
    Process self;
    bool use_owner_flag = false;
    std::set<std::string> claimed;  ///< Interface names.

    [[nodiscard]] tl::expected<std::string, std::string> run(const std::string& script) const {
        return context.run(script);
    }

    [[nodiscard]] std::string table_name(const std::string& interface) const {
        return std::string(kTablePrefix) + escape_for_identifier(instance, false) + "_" +
               escape_for_identifier(interface, true);
    }

    // Every table with our prefix whose name ends in `suffix` after the instance ("": all).
    [[nodiscard]] tl::expected<std::vector<Table>, std::string>
    list_tables(const std::string& suffix) const {
        const auto listing = run("list tables netdev\n");
        if (!listing) {
            return tl::unexpected("The nftables tables cannot be listed: " + listing.error() + ".");
        }
        std::vector<Table> tables;
        for (const std::string_view line : lines_of(*listing)) {
            if (!line.starts_with(kTableLine)) {
                continue;
            }
            std::string_view name = line.substr(kTableLine.size());
            name = name.substr(0, name.find(' '));
            const std::string_view rest = name.substr(std::min(kTablePrefix.size(), name.size()));
            const std::size_t separator = rest.find('_');
            if (!name.starts_with(kTablePrefix) || separator == std::string_view::npos ||
                (!suffix.empty() && rest.substr(separator + 1) != suffix)) {
                continue;
            }
            // A table that went away since the listing is of no interest.
            const auto body = run("list table netdev " + std::string(name) + "\n");
            if (body) {
                tables.push_back({std::string(name), parse_claimant(*body)});
            }
        }
        return tables;
    }

    // What stands in the way of a claim as a sentence, or the commands that clear the way: tables
    // of our own for this interface and those of dead processes.
    [[nodiscard]] tl::expected<std::string, std::string>
    plan_removal(const std::string& interface) const {
        const auto tables = list_tables(escape_for_identifier(interface, true));
        if (!tables) {
            return tl::unexpected(tables.error());
        }
        const std::string own_name = table_name(interface);
        std::string commands;
        for (const Table& table : *tables) {
            const bool own =
                table.name == own_name && table.claimant == self && claimed.contains(interface);
            if (own || (table.claimant && !is_running(*table.claimant))) {
                commands += delete_command(table.name);
            } else if (table.claimant) {
                return tl::unexpected(
                    "The interface " + interface + " is already claimed by process " +
                    std::to_string(table.claimant->pid) +
                    (*table.claimant == self ? " (this process)" : "") + " with the table netdev " +
                    table.name + "; stop that process first."
                );
            } else if (table.name == own_name) {
                return tl::unexpected(
                    "The interface " + interface + " cannot be claimed: the table netdev " +
                    table.name + " exists and names no Culvert process; remove it with \"nft " +
                    "delete table netdev " + table.name + "\"."
                );
            }
        }
        return commands;
    }

    [[nodiscard]] std::string
    describe_release(const std::string& interface, const std::string& error) const {
        return "The claim of the interface " + interface +
               " cannot be released: nftables cannot delete the table netdev " +
               table_name(interface) + ": " + error + ".";
    }

    [[nodiscard]] std::string claim_commands(const std::string& interface) const {
        const std::string table = table_name(interface);
        return "create table netdev " + table + (use_owner_flag ? " { flags owner; }" : "") +
               "\nadd chain netdev " + table + " " + claimant_chain(self) + "\nadd chain netdev " +
               table + " ingress { type filter hook ingress device \"" + interface +
               "\" priority -500; policy drop; }\nadd rule netdev " + table +
               " ingress counter drop\n";
    }
};

InterfaceClaims::InterfaceClaims(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

InterfaceClaims::~InterfaceClaims() {
    const std::set<std::string> claimed = implementation_->claimed;
    for (const std::string& interface : claimed) {
        // Nobody is left to hear of a failure; remove_stale() of a later process gets the rest.
        static_cast<void>(release(interface));
    }
}

tl::expected<std::unique_ptr<InterfaceClaims>, std::string>
InterfaceClaims::open(const std::string& instance, bool use_owner_flag) {
    if (auto checked = check_instance(instance); !checked) {
        return tl::unexpected(checked.error());
    }
    auto context = NftContext::open();
    if (!context) {
        return tl::unexpected(context.error());
    }
    auto implementation = std::make_unique<Implementation>();
    implementation->context = std::move(*context);
    implementation->instance = instance;
    implementation->self.pid = static_cast<std::uint64_t>(getpid());
    const auto start_ticks = start_ticks_of(implementation->self.pid);
    if (!start_ticks) {
        return tl::unexpected(
            "The start time of this process cannot be read from /proc/" +
            std::to_string(implementation->self.pid) + "/stat; /proc must be mounted."
        );
    }
    implementation->self.start_ticks = *start_ticks;
    const std::string probe =
        "add table netdev " + std::string(kTablePrefix) + escape_for_identifier(instance, false);
    if (const auto probed = implementation->context.dry_run(probe + "\n"); !probed) {
        return tl::unexpected(
            "nftables cannot make netdev tables: " + probed.error() +
            "; it needs CAP_NET_ADMIN and a kernel with CONFIG_NF_TABLES_NETDEV."
        );
    }
    implementation->use_owner_flag =
        use_owner_flag &&
        implementation->context.dry_run(probe + " { flags owner; }\n").has_value();
    return std::unique_ptr<InterfaceClaims>(new InterfaceClaims(std::move(implementation)));
}

tl::expected<unsigned, std::string> InterfaceClaims::remove_stale() {
    const auto tables = implementation_->list_tables("");
    if (!tables) {
        return tl::unexpected(tables.error());
    }
    unsigned removed = 0;
    for (const Table& table : *tables) {
        // A failure means that somebody else removed it, or that a process outside of our PID
        // namespace owns it and lives.
        if (table.claimant && !is_running(*table.claimant) &&
            implementation_->run(delete_command(table.name))) {
            ++removed;
        }
    }
    return removed;
}

tl::expected<void, std::string> InterfaceClaims::claim(const std::string& interface) {
    if (auto checked = check_interface(interface); !checked) {
        return checked;
    }
    const auto removal = implementation_->plan_removal(interface);
    if (!removal) {
        return tl::unexpected(removal.error());
    }
    const auto outcome =
        implementation_->run(*removal + implementation_->claim_commands(interface));
    if (!outcome) {
        // Another process may have been quicker since the plan; then this names it.
        if (const auto again = implementation_->plan_removal(interface); !again) {
            return tl::unexpected(again.error());
        }
        return tl::unexpected(
            "The interface " + interface + " cannot be claimed with the nftables table netdev " +
            implementation_->table_name(interface) + ": " + outcome.error() + "."
        );
    }
    implementation_->claimed.insert(interface);
    return {};
}

tl::expected<void, std::string> InterfaceClaims::release(const std::string& interface) {
    if (!implementation_->claimed.contains(interface)) {
        return {};
    }
    const auto tables = implementation_->list_tables(escape_for_identifier(interface, true));
    if (!tables) {
        return tl::unexpected(tables.error());
    }
    const std::string name = implementation_->table_name(interface);
    for (const Table& table : *tables) {
        // Without the owner flag the table may have been flushed and be another process's by now.
        if (table.name != name || table.claimant != implementation_->self) {
            continue;
        }
        if (const auto outcome = implementation_->run(delete_command(name)); !outcome) {
            return tl::unexpected(implementation_->describe_release(interface, outcome.error()));
        }
    }
    implementation_->claimed.erase(interface);
    return {};
}

}  // namespace culvert::firewall
