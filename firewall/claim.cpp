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
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <net/if.h>

#include "firewall/claim_raw.hpp"
#include "firewall/error_text.hpp"
#include "firewall/nft_context.hpp"
#include "firewall/process.hpp"

namespace culvert::firewall {

namespace {

constexpr std::string_view kTablePrefix = "culvert_";
constexpr std::string_view kTableLine = "table netdev ";
constexpr std::string_view kChainLine = "\tchain ";
constexpr std::size_t kInstanceLengthMax = 64;

using Outcome = tl::expected<void, std::string>;

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// One of our tables as the kernel has it. Without a claimant it was not made by this code.
struct Table {
    std::string name;
    std::optional<Process> claimant;
};

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
        if (!line.starts_with(kChainLine)) {
            continue;
        }
        line.remove_prefix(kChainLine.size());
        if (const auto claimant = parse_process(line.substr(0, line.find(' ')))) {
            return claimant;
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
    std::set<std::string> claimed;   ///< Interface names.
    std::unique_ptr<RawClaims> raw;  ///< Instead, where nftables has no netdev tables.

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
               "\nadd chain netdev " + table + " " + to_string(self) + "\nadd chain netdev " +
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
InterfaceClaims::prepare(const std::string& instance) {
    if (auto checked = check_instance(instance); !checked) {
        return tl::unexpected(checked.error());
    }
    auto implementation = std::make_unique<Implementation>();
    implementation->instance = instance;
    const auto self = this_process();
    if (!self) {
        return tl::unexpected(std::string(
            "The start time of this process cannot be read from /proc/self/stat; /proc must be "
            "mounted."
        ));
    }
    implementation->self = *self;
    return std::unique_ptr<InterfaceClaims>(new InterfaceClaims(std::move(implementation)));
}

tl::expected<std::unique_ptr<InterfaceClaims>, std::string>
InterfaceClaims::open(const std::string& instance, bool use_owner_flag) {
    auto claims = prepare(instance);
    if (!claims) {
        return claims;
    }
    Implementation& implementation = *(*claims)->implementation_;
    auto context = NftContext::open();
    const std::string probe =
        "add table netdev " + std::string(kTablePrefix) + escape_for_identifier(instance, false);
    std::string trouble;
    if (!context) {
        trouble = context.error();
    } else if (const auto probed = context->dry_run(probe + "\n"); !probed) {
        trouble = "nftables cannot make netdev tables: " + probed.error() +
                  "; it needs CAP_NET_ADMIN and a kernel with CONFIG_NF_TABLES_NETDEV.";
    }
    if (!trouble.empty()) {
        auto raw = RawClaims::open(instance, implementation.self);
        if (!raw) {
            return tl::unexpected(trouble + " In its place " + raw.error() + ".");
        }
        implementation.raw = std::move(*raw);
        return claims;
    }
    implementation.context = std::move(*context);
    implementation.use_owner_flag =
        use_owner_flag && implementation.context.dry_run(probe + " { flags owner; }\n").has_value();
    return claims;
}

tl::expected<std::unique_ptr<InterfaceClaims>, std::string>
InterfaceClaims::open_raw(const std::string& instance) {
    auto claims = prepare(instance);
    if (!claims) {
        return claims;
    }
    auto raw = RawClaims::open(instance, (*claims)->implementation_->self);
    if (!raw) {
        return tl::unexpected("Interfaces cannot be claimed: " + raw.error() + ".");
    }
    (*claims)->implementation_->raw = std::move(*raw);
    return claims;
}

bool InterfaceClaims::covers_arp() const {
    return implementation_->raw == nullptr;
}

tl::expected<unsigned, std::string> InterfaceClaims::remove_stale() {
    if (implementation_->raw) {
        return implementation_->raw->remove_stale();
    }
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
    if (implementation_->raw) {
        auto outcome = implementation_->raw->claim(interface);
        if (outcome) {
            implementation_->claimed.insert(interface);
        }
        return outcome;
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
    if (implementation_->raw) {
        auto outcome = implementation_->raw->release(interface);
        if (outcome) {
            implementation_->claimed.erase(interface);
        }
        return outcome;
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
