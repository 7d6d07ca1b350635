// SPDX-License-Identifier: GPL-2.0-or-later
//
// iptables' own tables as a backend. Each table of each family is read and committed by itself, as
// the kernel has them apart; where one of several commits meets a table that has changed, the
// others stay, and only that one is read and planned again. Reading takes no lock, as the kernel
// gives each table as it is at one time. One thread.
#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "firewall/backend.hpp"
#include "firewall/command.hpp"
#include "firewall/ipset.hpp"
#include "firewall/legacy_entry.hpp"
#include "firewall/legacy_table.hpp"
#include "firewall/xtables_lock.hpp"

namespace culvert::firewall {

namespace {

// Tables that change under a change are read again; a program that writes without the lock, and
// as often as that, keeps us out.
constexpr unsigned kChangeTries = 16;

constexpr std::array<Family, 2> kFamilies = {Family::ipv4, Family::ipv6};

std::string tool_of(Family family) {
    return family == Family::ipv4 ? "iptables-legacy" : "ip6tables-legacy";
}

bool is_missing(const LegacyError& error) {
    return error.error == ENOENT || error.error == ENOPROTOOPT;
}

Trouble trouble_of(Family family, const std::string& table, const LegacyError& error) {
    return {
        is_missing(error) ? Trouble::Kind::absent : Trouble::Kind::failed,
        "the table " + table + " of " + tool_of(family) + " cannot be used: " + error.text};
}

Trouble failure(std::string text) {
    return {Trouble::Kind::failed, std::move(text)};
}

Trouble absence() {
    return {
        Trouble::Kind::absent,
        "iptables-legacy has no table with a chain INPUT: nothing was ever put into it"};
}

// One table, with what was read of it.
struct Unit {
    Family family = Family::ipv4;
    LegacyTableName name = kLegacyFilter;
    std::unique_ptr<LegacyTable> table;  ///< Null: to be made, as soon as there is an edit for it.
    Ruleset rules;
    bool is_committed = false;
};
using Units = std::vector<Unit>;

Ruleset empty_filter(Family family) {
    Chain chain;
    chain.name = "INPUT";
    chain.table = kLegacyFilter.name;
    chain.families = family == Family::ipv4 ? Families::ipv4 : Families::ipv6;
    Ruleset rules;
    rules.chains.push_back(std::move(chain));
    rules.input.push_back({0, kLegacyFilter.priority, false, true});
    return rules;
}

bool has_family(Family family) {
    std::error_code ignored;
    return family == Family::ipv4 ||
           std::filesystem::exists("/proc/thread-self/net/if_inet6", ignored);
}

Ruleset together(const Units& units) {
    Ruleset rules;
    for (const Unit& unit : units) {
        rules.add(unit.rules);
    }
    return rules;
}

// What a plan asks of one table.
struct Work {
    struct Insert {
        const Edit* edit = nullptr;
        std::uint32_t chain = 0;  ///< Of the table.
    };
    std::vector<Insert> inserts;
    std::map<std::uint32_t, std::vector<std::uint64_t>> erased;  ///< Numbers by chain.
    [[nodiscard]] bool is_empty() const { return inserts.empty() && erased.empty(); }
};

// The plan's edits, table by table. Chains of a table follow those of the one before it.
tl::expected<std::vector<Work>, std::string> sort_out(const Plan& plan, const Units& units) {
    std::vector<Work> work(units.size());
    for (const Edit& edit : plan) {
        std::size_t index = 0;
        std::uint32_t chain = edit.chain;
        while (index < units.size() && chain >= units[index].rules.chains.size()) {
            chain -= static_cast<std::uint32_t>(units[index].rules.chains.size());
            ++index;
        }
        if (index == units.size()) {
            return tl::unexpected(
                "the plan names the chain " + std::to_string(edit.chain) + ", which is not there"
            );
        }
        if (edit.kind == Edit::Kind::insert) {
            if (edit.selector.family != units[index].family) {
                return tl::unexpected(
                    "a rule for " + to_string(edit.selector) +
                    " is of another family than its chain"
                );
            }
            work[index].inserts.push_back({&edit, chain});
            continue;
        }
        const auto& rules = units[index].rules.chains[chain].rules;
        if (edit.rule >= rules.size()) {
            return tl::unexpected(
                "the plan names the rule " + std::to_string(edit.rule) + " of a chain of " +
                std::to_string(rules.size())
            );
        }
        work[index].erased[chain].push_back(rules[edit.rule].handle);
    }
    return work;
}

class LegacyBackend final : public Backend {
public:
    [[nodiscard]] std::string_view name() const override { return "iptables-legacy"; }

    [[nodiscard]] Answer<Ruleset> read() override {
        sets_.forget();
        const auto units = open_units(false);
        if (!units) {
            return tl::unexpected(units.error());
        }
        return together(*units);
    }

    [[nodiscard]] Answer<std::uint64_t> generation() override {
        constexpr std::uint64_t kFactor = 0x100000001b3;  // Of FNV-1a.
        std::uint64_t number = 0xcbf29ce484222325;
        bool found = false;
        const auto add = [&number](std::uint64_t word) { number = (number ^ word) * kFactor; };
        for (const Family family : kFamilies) {
            const auto names = existing_legacy_tables(family);
            if (!names) {
                return tl::unexpected(trouble_of(family, "list", names.error()));
            }
            for (const LegacyTableName& table : *names) {
                const auto fingerprint = legacy_fingerprint(family, table);
                if (!fingerprint) {
                    return tl::unexpected(trouble_of(family, table.name, fingerprint.error()));
                }
                add(family == Family::ipv4 ? 4 : 6);
                add(static_cast<std::uint64_t>(table.priority));
                add(*fingerprint);
                found = true;
            }
        }
        if (!found) {
            return tl::unexpected(absence());
        }
        add(sets_.generation());
        return number;
    }

    [[nodiscard]] Answer<void> change(const Planner& planner, bool create) override {
        const auto lock = XtablesLock::take();
        if (!lock) {
            return tl::unexpected(failure(lock.error()));
        }
        Units units;
        for (unsigned i = 0; i < kChangeTries; ++i) {
            const auto outcome = try_change(planner, create, units);
            if (!outcome) {
                return tl::unexpected(outcome.error());
            }
            if (*outcome) {
                return {};
            }
        }
        return tl::unexpected(failure(
            "the tables of iptables-legacy changed " + std::to_string(kChangeTries) +
            " times while a rule was written: another program writes them without the lock" +
            written(units)
        ));
    }

    [[nodiscard]] std::string command_of(const Ruleset& rules, const Edit& edit) const override {
        if (edit.chain >= rules.chains.size()) {
            return {};
        }
        const Chain& chain = rules.chains[edit.chain];
        const Family family = chain.families == Families::ipv6 ? Family::ipv6 : Family::ipv4;
        std::string command = tool_of(family);
        if (chain.table != kLegacyFilter.name) {
            command += " -t " + shell_word(chain.table);
        }
        if (edit.kind == Edit::Kind::insert) {
            return command + " -I " + shell_word(chain.name) + ' ' +
                   iptables_words(edit.selector, edit.comment);
        }
        command += " -D " + shell_word(chain.name) + ' ';
        if (edit.rule >= chain.rules.size()) {
            return {};
        }
        const Rule& rule = chain.rules[edit.rule];
        const auto selector = selector_of(rule, family);
        return command +
               (selector ? iptables_words(*selector, rule.comment) : std::to_string(rule.handle));
    }

private:
    // Every table there is, read. With `create` a filter table that is missing counts as an empty
    // one.
    Answer<Units> open_units(bool create) {
        Units units;
        for (const Family family : kFamilies) {
            const auto names = existing_legacy_tables(family);
            if (!names) {
                return tl::unexpected(trouble_of(family, "list", names.error()));
            }
            bool has_filter = false;
            for (const LegacyTableName& name : *names) {
                auto table = LegacyTable::open(family, name);
                if (!table) {
                    return tl::unexpected(trouble_of(family, name.name, table.error()));
                }
                Ruleset rules = (*table)->read(sets_);
                units.push_back({family, name, *std::move(table), std::move(rules), false});
                has_filter = has_filter || name.priority == kLegacyFilter.priority;
            }
            if (create && !has_filter && has_family(family)) {
                units.push_back({family, kLegacyFilter, nullptr, empty_filter(family), false});
            }
        }
        if (units.empty()) {
            return tl::unexpected(absence());
        }
        return units;
    }

    // False: a table has changed meanwhile. What was committed is in `units` as it was planned on,
    // so that the next plan asks for the same there.
    Answer<bool> try_change(const Planner& planner, bool create, Units& units) {
        sets_.forget();
        auto opened = open_units(create);
        if (!opened) {
            return tl::unexpected(opened.error());
        }
        for (Unit& unit : *opened) {
            for (Unit& earlier : units) {
                if (earlier.is_committed && earlier.family == unit.family &&
                    earlier.name.priority == unit.name.priority) {
                    unit = std::move(earlier);
                    break;
                }
            }
        }
        units = *std::move(opened);
        const auto plan = planner(together(units));
        if (!plan) {
            return tl::unexpected(failure(plan.error()));
        }
        const auto work = sort_out(*plan, units);
        if (!work) {
            return tl::unexpected(failure(work.error()));
        }
        for (std::size_t i = 0; i < units.size(); ++i) {
            if (units[i].is_committed || (*work)[i].is_empty()) {
                continue;
            }
            auto outcome = carry_out((*work)[i], units[i]);
            if (!outcome) {
                outcome.error().text += written(units);
                return tl::unexpected(outcome.error());
            }
            if (!*outcome) {
                return false;
            }
            units[i].is_committed = true;
        }
        return true;
    }

    // False: the table has changed meanwhile.
    Answer<bool> carry_out(const Work& work, Unit& unit) {
        const auto trouble = [&unit](const LegacyError& error) {
            return tl::unexpected(trouble_of(unit.family, unit.name.name, error));
        };
        if (!unit.table) {
            auto table = create_table(unit);
            if (!table) {
                return trouble(table.error());
            }
            unit.table = *std::move(table);
            if (!unit.table->read(sets_).chains.front().rules.empty()) {
                return false;
            }
        }
        for (const auto& [chain, numbers] : work.erased) {
            // From the last on, so that the numbers of the others stay.
            std::vector<std::uint64_t> descending = numbers;
            std::sort(descending.begin(), descending.end(), std::greater<>());
            descending.erase(std::unique(descending.begin(), descending.end()), descending.end());
            for (const std::uint64_t number : descending) {
                const std::string& name = unit.rules.chains[chain].name;
                if (auto erased = unit.table->erase(name, number); !erased) {
                    return trouble(erased.error());
                }
            }
        }
        for (const Work::Insert& insert : work.inserts) {
            const auto entry = make_legacy_entry(insert.edit->selector, insert.edit->comment);
            if (!entry) {
                return tl::unexpected(failure(entry.error()));
            }
            const std::string& chain = unit.rules.chains[insert.chain].name;
            if (auto inserted = unit.table->insert(chain, *entry); !inserted) {
                return trouble(inserted.error());
            }
        }
        if (auto committed = unit.table->commit(); !committed) {
            if (committed.error().error == EAGAIN) {
                return false;
            }
            return trouble(committed.error());
        }
        return true;
    }

    static tl::expected<std::unique_ptr<LegacyTable>, LegacyError> create_table(const Unit& unit) {
        auto table = LegacyTable::open(unit.family, unit.name);
        if (!table && is_missing(table.error())) {
            load_legacy_module(unit.family);
            table = LegacyTable::open(unit.family, unit.name);
        }
        return table;
    }

    // What a failure leaves behind, for its sentence.
    static std::string written(const Units& units) {
        std::string text;
        for (const Unit& unit : units) {
            if (unit.is_committed) {
                text += text.empty() ? "; written were: " : ", ";
                text += tool_of(unit.family) + ' ' + unit.name.name;
            }
        }
        return text;
    }

    KernelIpsets sets_;
};

}  // namespace

std::unique_ptr<Backend> make_legacy_backend() {
    return std::make_unique<LegacyBackend>();
}

}  // namespace culvert::firewall
