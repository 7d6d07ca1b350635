// SPDX-License-Identifier: GPL-2.0-or-later
//
// A backend whose tables are a ruleset in memory: plans are carried out on it, so that what a
// command says can be held against what it did.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "firewall/backend.hpp"
#include "tests/unit/firewall/rules.hpp"

namespace culvert::firewall::test {

/// What a fake backend holds; outlives it, so that tests see what became of it.
struct FakeTables {
    std::string name = "iptables-legacy";
    Ruleset rules;
    std::optional<Trouble> trouble;         ///< Of reading and changing.
    std::optional<Trouble> change_trouble;  ///< Of changing only.
    std::uint64_t generation = 1;
    unsigned changes = 0;
    bool created = false;  ///< A change was asked to make what is missing.
};

class FakeBackend final : public Backend {
public:
    explicit FakeBackend(FakeTables& tables) : tables_(tables) {}

    [[nodiscard]] std::string_view name() const override { return tables_.name; }

    [[nodiscard]] Answer<Ruleset> read() override {
        if (tables_.trouble.has_value()) {
            return tl::unexpected(*tables_.trouble);
        }
        return tables_.rules;
    }

    [[nodiscard]] Answer<std::uint64_t> generation() override {
        if (tables_.trouble.has_value()) {
            return tl::unexpected(*tables_.trouble);
        }
        return tables_.generation;
    }

    [[nodiscard]] Answer<void> change(const Planner& planner, bool create) override {
        for (const auto& trouble : {tables_.trouble, tables_.change_trouble}) {
            if (trouble.has_value()) {
                return tl::unexpected(*trouble);
            }
        }
        const auto plan = planner(tables_.rules);
        if (!plan.has_value()) {
            return tl::unexpected(Trouble{Trouble::Kind::failed, plan.error()});
        }
        carry_out(*plan);
        tables_.created = tables_.created || create;
        tables_.changes += plan->empty() ? 0 : 1;
        return {};
    }

    [[nodiscard]] std::string command_of(const Ruleset& rules, const Edit& edit) const override {
        const Chain& chain = rules.chains[edit.chain];
        const std::string tool = chain.families == Families::ipv6 ? "ip6tables" : "iptables";
        return tool +
               (edit.kind == Edit::Kind::insert
                    ? " -I " + chain.name + " " + to_string(edit.selector) + " # " + edit.comment
                    : " -D " + chain.name + " " + std::to_string(edit.rule + 1));
    }

private:
    void carry_out(const Plan& plan) {
        std::vector<std::pair<std::uint32_t, std::uint32_t>> erased;
        for (const Edit& edit : plan) {
            if (edit.kind == Edit::Kind::erase) {
                erased.emplace_back(edit.chain, edit.rule);
            }
        }
        std::sort(erased.rbegin(), erased.rend());
        for (const auto& [chain, rule] : erased) {
            auto& rules = tables_.rules.chains[chain].rules;
            rules.erase(rules.begin() + rule);
        }
        for (const Edit& edit : plan) {
            if (edit.kind == Edit::Kind::insert) {
                auto& rules = tables_.rules.chains[edit.chain].rules;
                rules.insert(rules.begin(), opening(edit.selector, edit.comment));
            }
        }
    }

    static Rule opening(const Selector& selector, const std::string& comment) {
        Rule made = accept({is(Field::protocol, selector.protocol)});
        if (selector.destination_port) {
            made.steps.emplace_back(is(Field::destination_port, *selector.destination_port));
        }
        if (selector.source_port) {
            made.steps.emplace_back(is(Field::source_port, *selector.source_port));
        }
        if (selector.source) {
            made.steps.emplace_back(from(to_string(*selector.source)));
        }
        made.comment = comment;
        made.text = to_string(selector) + " -j ACCEPT";
        return made;
    }

    FakeTables& tables_;
};

/// Tables of iptables-legacy, INPUT of IPv4 and of IPv6.
inline FakeTables legacy_tables(
    std::vector<Rule> four = {}, std::vector<Rule> six = {}, bool drops_by_policy = false
) {
    FakeTables tables;
    tables.rules = ruleset({chain(std::move(four))}, drops_by_policy);
    tables.rules.add(
        ruleset({chain(std::move(six), Tool::iptables_legacy, Families::ipv6)}, drops_by_policy)
    );
    return tables;
}
/// A table of nft, inet.
inline FakeTables nft_tables(std::vector<Rule> rules = {}, bool drops_by_policy = false) {
    FakeTables tables;
    tables.name = "nftables";
    tables.rules =
        ruleset({chain(std::move(rules), Tool::nftables, Families::both)}, drops_by_policy);
    return tables;
}

inline std::vector<std::unique_ptr<Backend>> backends_of(const std::vector<FakeTables*>& tables) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (FakeTables* one : tables) {
        backends.push_back(std::make_unique<FakeBackend>(*one));
    }
    return backends;
}

}  // namespace culvert::firewall::test
