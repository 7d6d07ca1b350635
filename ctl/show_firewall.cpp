// SPDX-License-Identifier: GPL-2.0-or-later
//
// The tree of `firewall show`, as JSON first; the text is written from the JSON, so that the two
// never differ.

#include "ctl/show_firewall.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/config_words.hpp"
#include "ctl/firewall_admission.hpp"
#include "ctl/show_tunnel.hpp"
#include "ctl/table.hpp"

namespace culvert::ctl {

namespace {

using Json = nlohmann::ordered_json;

/// Rules that cannot be evaluated; the others are counted only.
constexpr std::size_t kUnknownListedMax = 100;

std::size_t rule_count(const firewall::Ruleset& rules) {
    std::size_t count = 0;
    for (const firewall::Chain& chain : rules.chains) {
        count += chain.rules.size();
    }
    return count;
}

Json firewall_tree(const Switch& owner) {
    const FirewallConfig& config = owner.running().firewall;
    const firewall::Policy& policy = owner.policy();
    const UnknownRules unknown = unknown_rules(policy.rules, kUnknownListedMax);
    Json json;
    json["enforce"] = config.enforce;
    json["unknown"] = word_of(kUnknownWords, config.unknown);
    json["manage"] = word_of(kManageWords, config.manage);
    json["backend"] = word_of(kBackendWords, config.backend);
    json["policy_in"] = policy.holders;
    json["rules"] = rule_count(policy.rules);
    json["not_evaluable"] = unknown.count;
    json["not_evaluable_rules"] = unknown.listed;
    json["troubles"] = policy.troubles;
    json["tunnels"] = Json::array();
    for (const auto& [index, port] : owner.model().ports) {
        if (port.role == PortRole::tunnel) {
            Json tunnel{{"name", port.name}};
            tunnel.update(verdict_json(port.firewall));
            tunnel["text"] = to_text(port.firewall);
            json["tunnels"].push_back(std::move(tunnel));
        }
    }
    return json;
}

std::string lines_of(const Json& sentences) {
    std::string text;
    for (const Json& sentence : sentences) {
        text += "    " + sentence.get<std::string>() + "\n";
    }
    return text;
}

std::string firewall_text(const Json& tree) {
    std::string text;
    for (const char* key : {"enforce", "unknown", "manage", "backend"}) {
        text += fmt::format("{:<20}{}\n", key, json_text(tree[key]));
    }
    const std::string holders = json_text(tree["policy_in"]);
    text += fmt::format(
        "{:<20}{}\n", "policy_in", holders.empty() ? "none: everything is let in" : holders
    );
    text += fmt::format("{:<20}{}\n", "rules", json_text(tree["rules"]));
    text += fmt::format("{:<20}{}\n", "not_evaluable", json_text(tree["not_evaluable"]));
    text += lines_of(tree["not_evaluable_rules"]);
    if (!tree["troubles"].empty()) {
        text += "troubles\n" + lines_of(tree["troubles"]);
    }
    for (const Json& tunnel : tree["tunnels"]) {
        text +=
            fmt::format("tunnel {}: {}\n", json_text(tunnel["name"]), json_text(tunnel["text"]));
    }
    return text;
}

}  // namespace

Result<std::string> show_firewall(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    const Json tree = firewall_tree(context.switch_);
    return *format == OutputFormat::json ? render_json(tree) : firewall_text(tree);
}

}  // namespace culvert::ctl
