// SPDX-License-Identifier: GPL-2.0-or-later
//
// The details of one tunnel, as JSON first; the text is written from the JSON, so that the two
// never differ.
#include "ctl/show_tunnel.hpp"

#include <fmt/format.h>

#include "ctl/config_words.hpp"

namespace culvert::ctl {

namespace {

using Json = nlohmann::ordered_json;

struct JsonOf {
    Json operator()(std::monostate /*none*/) const { return nullptr; }
    template <class T>
    Json operator()(const T& value) const {
        return value;
    }
};

}  // namespace

Json json_of(const OptionValue& value) {
    return std::visit(JsonOf{}, value);
}

std::string json_text(const Json& value) {
    if (value.is_null()) {
        return "none";
    }
    if (value.is_string()) {
        return value.get<std::string>();
    }
    if (!value.is_array()) {
        return value.dump();
    }
    std::string text;
    for (const Json& element : value) {
        text += (text.empty() ? "" : ", ") + json_text(element);
    }
    return text;
}

Json vlan_json(const VlanConfig& vlan) {
    Json json;
    json["vlan_mode"] = word_of(kVlanModeWords, vlan.mode);
    if (vlan.mode != VlanMode::trunk) {
        json["tag"] = vlan.tag;
    }
    if (!vlan.trunks.empty()) {
        json["trunks"] = vlan.trunks;
    }
    return json;
}

Json encryption_json(const SwitchPort& tunnel) {
    const TunnelEncryption status = tunnel.encryption.value_or(TunnelEncryption{});
    const auto spi = [](std::uint32_t number) {
        return number == 0 ? Json(nullptr) : Json(fmt::format("{:#010x}", number));
    };
    Json json;
    json["state"] = status.word();
    json["keys"] = tunnel.tunnel.ike ? "ike" : "configured";
    json["algorithm"] =
        status.algorithm ? Json(tunnels::row_of(*status.algorithm).name) : Json(nullptr);
    json["spi_in"] = spi(status.spi_in);
    json["spi_out"] = spi(status.spi_out);
    if (!status.trouble.empty()) {
        json["trouble"] = status.trouble;
    }
    return json;
}

Json verdict_json(const TunnelVerdict& verdict) {
    Json json;
    json["verdict"] = to_string(verdict.kind);
    json["enforced"] = verdict.enforced;
    json["lets_in"] = verdict.lets_in || !verdict.enforced;
    json["rule"] = verdict.rule.empty() ? Json(nullptr) : Json(verdict.rule);
    if (!verdict.unknowns.empty()) {
        json["unknowns"] = verdict.unknowns;
    }
    return json;
}

Json tunnel_details(const SwitchPort& port, const PortTotals& totals, const Json& next_hop) {
    TunnelConfig tunnel = port.tunnel;
    tunnel.oversize = tunnel.effective_oversize();
    Json json;
    json["name"] = port.name;
    json["bridge"] = tunnel.bridge;
    json["type"] = tunnel.type;
    for (const TunnelOption& option : tunnel_options(tunnel)) {
        if (option.applies) {
            json[std::string(option.key)] = json_of(option.value);
        }
    }
    json.update(vlan_json(port.vlan));
    json["next_hop"] = next_hop;
    if (tunnel.is_encrypted()) {
        json["encryption"] = encryption_json(port);
    }
    json["firewall"] = verdict_json(port.firewall);
    json["counters"] = {
        {"rx_packets", totals.rx_packets},
        {"rx_bytes", totals.rx_bytes},
        {"tx_packets", totals.tx_packets},
        {"tx_bytes", totals.tx_bytes}};
    json["drops"] = Json::object();
    for (std::size_t reason = 1; reason < totals.drops.size(); ++reason) {
        if (totals.drops[reason] != 0) {
            json["drops"][std::string(tunnels::kDropReasons[reason].name)] = totals.drops[reason];
        }
    }
    json["ecn_anomalies"] = Json::object();
    for (std::size_t anomaly = 1; anomaly < totals.ecn.size(); ++anomaly) {
        json["ecn_anomalies"][std::string(tunnels::kEcnAnomalyNames[anomaly])] =
            totals.ecn[anomaly];
    }
    return json;
}

std::string tunnel_details_text(const Json& details) {
    std::string text = "tunnel " + json_text(details["name"]) + "\n";
    for (const auto& [key, value] : details.items()) {
        if (key == "name") {
            continue;
        }
        if (!value.is_object()) {
            text += fmt::format("    {:<20}{}\n", key, json_text(value));
            continue;
        }
        text += fmt::format("    {}{}\n", key, value.empty() ? std::string(": none") : ":");
        for (const auto& [name, inner] : value.items()) {
            text += fmt::format("        {:<28}{}\n", name, json_text(inner));
        }
    }
    return text;
}

}  // namespace culvert::ctl
