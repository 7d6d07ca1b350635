// SPDX-License-Identifier: GPL-2.0-or-later
//
// The backends of a host taken together. A backend that is absent says nothing about packets; one
// that is there and cannot be read might drop any of them.
#include "firewall/host.hpp"

#include <array>
#include <utility>

namespace culvert::firewall {
namespace {

struct ChoiceName {
    BackendChoice choice;
    std::string_view name;
};
constexpr std::array<ChoiceName, 3> kChoiceNames = {{
    {BackendChoice::automatic, "auto"},
    {BackendChoice::legacy, "iptables-legacy"},
    {BackendChoice::nft, "nftables"},
}};

/// Spreads the bits of a generation, so that changes of two backends do not cancel out
/// (splitmix64).
constexpr std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15U;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31U);
}

std::vector<std::unique_ptr<Backend>> make_backends(BackendChoice choice) {
    std::vector<std::unique_ptr<Backend>> backends;
    if (choice != BackendChoice::nft) {
        backends.push_back(make_legacy_backend());
    }
    if (choice != BackendChoice::legacy) {
        backends.push_back(make_nft_backend());
    }
    return backends;
}

}  // namespace

std::optional<BackendChoice> parse_backend(std::string_view text) {
    for (const ChoiceName& entry : kChoiceNames) {
        if (entry.name == text) {
            return entry.choice;
        }
    }
    return std::nullopt;
}

std::string_view to_string(BackendChoice choice) {
    for (const ChoiceName& entry : kChoiceNames) {
        if (entry.choice == choice) {
            return entry.name;
        }
    }
    return "";
}

Judgement Policy::judge(const Header& header, Trace* trace) const {
    Judgement judgement = evaluate(rules, header, trace);
    if (!troubles.empty() && judgement.may_pass) {
        // Each backend's chains have to let a packet pass: a drop is certain without the rest.
        judgement.may_drop = true;
    }
    return judgement;
}

HostFirewall::HostFirewall(BackendChoice choice) : HostFirewall(make_backends(choice)) {}

HostFirewall::HostFirewall(std::vector<std::unique_ptr<Backend>> backends)
    : backends_(std::move(backends)) {}

Policy HostFirewall::read() {
    Policy policy;
    for (const auto& backend : backends_) {
        Answer<Ruleset> rules = backend->read();
        if (rules.has_value()) {
            policy.readable = true;
            if (rules->has_policy()) {
                policy.holders.emplace_back(backend->name());
            }
            policy.rules.add(std::move(*rules));
        } else if (rules.error().kind == Trouble::Kind::failed) {
            policy.troubles.push_back(std::move(rules.error().text));
        }
    }
    return policy;
}

std::uint64_t HostFirewall::generation() {
    std::uint64_t all = 0;
    for (const auto& backend : backends_) {
        const Answer<std::uint64_t> one = backend->generation();
        // That a backend came, went or broke is a change as well.
        const std::uint64_t kind =
            one.has_value() ? 0 : 1 + static_cast<std::uint64_t>(one.error().kind);
        all = mix(all ^ mix(kind) ^ one.value_or(0));
    }
    return all;
}

HostFirewall::Targets HostFirewall::targets() {
    Targets found;
    std::optional<Target> first;
    for (const auto& backend : backends_) {
        Answer<Ruleset> rules = backend->read();
        if (!rules.has_value()) {
            if (rules.error().kind == Trouble::Kind::failed) {
                found.troubles.push_back(std::move(rules.error().text));
            }
            continue;
        }
        Target target = {backend.get(), std::move(*rules)};
        if (target.rules.has_policy()) {
            found.targets.push_back(std::move(target));
        } else if (!first.has_value()) {
            first = std::move(target);
        }
    }
    if (found.targets.empty() && first.has_value()) {
        found.targets.push_back(std::move(*first));
    }
    return found;
}

}  // namespace culvert::firewall
