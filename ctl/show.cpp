// SPDX-License-Identifier: GPL-2.0-or-later
//
// The tree of `show`, as JSON first; the text is written from the JSON, so that the two never
// differ.

#include "ctl/show.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/config_words.hpp"
#include "ctl/show_tunnel.hpp"
#include "ctl/table.hpp"
#include "ctl/tunnel_options.hpp"

namespace culvert::ctl {

namespace {

using Json = nlohmann::ordered_json;

/// The keys of a tunnel that its line has a place for. Other options stand behind them where they
/// differ from the default.
constexpr std::array<std::string_view, 14> kTunnelLineKeys{
    "name",
    "role",
    "type",
    "remote_ip",
    "local_ip",
    "in_key",
    "out_key",
    "dst_port",
    "vlan_mode",
    "tag",
    "trunks",
    "next_hop",
    "encryption",
    "firewall"};

bool has_place(std::string_view key) {
    return std::find(kTunnelLineKeys.begin(), kTunnelLineKeys.end(), key) != kTunnelLineKeys.end();
}

Json device_json(const SwitchPort& port) {
    Json json;
    json["name"] = port.name;
    json["role"] = port.role == PortRole::local ? "local" : "port";
    json["driver"] = port.driver;
    if (port.config.kind == PortKind::dpdk) {
        json["devargs"] = port.config.devargs;
    } else if (port.config.kind == PortKind::patch) {
        json["peer"] = port.config.peer;
    } else {
        json["interface"] = port.config.interface;
    }
    json["link"] = port.up ? "up" : "down";
    json["mtu"] = port.mtu;
    json["mac"] = port.mac.to_string();
    json["claimed"] = port.claimed;
    json["rx_workers"] = port.rx_workers;
    if (!port.config.bond.empty()) {
        json["bond"] = port.config.bond;
    }
    json.update(vlan_json(port.vlan));
    if (!port.trouble.empty()) {
        json["trouble"] = port.trouble;
    }
    return json;
}

Json bond_json(const SwitchPort& port) {
    const Bond& bond = port.bond->bond;
    Json json;
    json["name"] = port.name;
    json["mode"] = word_of(kBondModeWords, port.bond_config.mode);
    json["link"] = port.up ? "up" : "down";
    json["mtu"] = port.mtu;
    json["active_member"] = bond.active() == nullptr ? Json() : Json(bond.active()->input.name);
    json["members"] = Json::array();
    for (const BondMember& member : bond.members()) {
        json["members"].push_back(Json{{"name", member.input.name}, {"enabled", member.enabled}});
    }
    json.update(vlan_json(port.vlan));
    return json;
}

Json next_hop_json(const CommandContext& context, const SwitchPort& port) {
    const Resolution& resolution = port.resolution;
    Json json;
    json["state"] = resolution.state == Resolution::State::resolved       ? "resolved"
                    : resolution.state == Resolution::State::no_neighbour ? "no_neighbour"
                                                                          : "no_route";
    if (!resolution.trouble.empty()) {
        json["trouble"] = resolution.trouble;
    }
    if (resolution.state == Resolution::State::no_route) {
        return json;
    }
    const SwitchModel& model = context.switch_.model();
    json["source"] = resolution.source.to_string();
    json["address"] = resolution.next_hop.to_string();
    if (const std::string* bridge = model.bridge_name(resolution.device.bridge)) {
        json["bridge"] = *bridge;
    }
    if (resolution.state == Resolution::State::resolved) {
        json["mac"] = resolution.next_hop_mac.to_string();
        const auto located = context.slow_path.locate(
            resolution.device.bridge, {resolution.device.vlan, resolution.next_hop_mac}
        );
        const SwitchPort* out = located ? model.find_port(*located) : nullptr;
        json["port"] = out == nullptr ? "(flood)" : out->name;
        json["mtu"] = effective_path_mtu(port);
        json["path_mtu"] = out == nullptr || out->mtu == 0
                               ? effective_path_mtu(port)
                               : std::min(effective_path_mtu(port), out->mtu);
    }
    return json;
}

Json tunnel_json(const CommandContext& context, const SwitchPort& port) {
    const TunnelConfig& tunnel = port.tunnel;
    Json json;
    json["name"] = port.name;
    json["role"] = "tunnel";
    json["type"] = tunnel.type;
    for (const TunnelOption& option : tunnel_options(tunnel)) {
        if (option.applies && (has_place(option.key) || !option.is_default)) {
            json[std::string(option.key)] = json_of(option.value);
        }
    }
    json.update(vlan_json(port.vlan));
    json["next_hop"] = next_hop_json(context, port);
    if (tunnel.is_encrypted()) {
        json["encryption"] = encryption_json(port);
    }
    json["firewall"] = verdict_json(port.firewall);
    json["firewall"]["text"] = to_text(port.firewall);
    return json;
}

std::string text_or(const Json& json, const char* key, const std::string& otherwise) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) {
        return otherwise;
    }
    return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string vlan_text(const Json& port) {
    std::string text;
    if (port["vlan_mode"] != "trunk") {
        text +=
            fmt::format(", {} VLAN {}", port["vlan_mode"].get<std::string>(), port["tag"].dump());
    }
    if (port.contains("trunks")) {
        text += ", trunks " + port["trunks"].dump();
    }
    return text;
}

std::string port_text(const Json& port) {
    const std::string role = port["role"] == "local" ? "local port" : "port";
    std::string text = fmt::format(
        "    {} {}: {} {}, link {}, mtu {}, mac {}{}\n",
        role,
        text_or(port, "name", ""),
        text_or(port, "driver", "-"),
        text_or(port, "interface", text_or(port, "devargs", "")),
        text_or(port, "link", ""),
        text_or(port, "mtu", ""),
        text_or(port, "mac", ""),
        (port.contains("bond") ? ", bond " + text_or(port, "bond", "") : "") + vlan_text(port)
    );
    if (port.contains("trouble")) {
        text += fmt::format("        trouble: {}\n", text_or(port, "trouble", ""));
    }
    return text;
}

std::string bond_text(const Json& bond) {
    return fmt::format(
        "    bond {}: {}, link {}, mtu {}, active member {}{}; see bond/show\n",
        text_or(bond, "name", ""),
        text_or(bond, "mode", ""),
        text_or(bond, "link", ""),
        text_or(bond, "mtu", ""),
        text_or(bond, "active_member", "none"),
        vlan_text(bond)
    );
}

/// ", tos 8, df false": the options that have no place of their own. What came of those of
/// encryption says a line for them all.
std::string options_text(const Json& tunnel) {
    std::string text;
    for (const auto& [key, value] : tunnel.items()) {
        if (!has_place(key) && !is_of_encryption(key)) {
            text += ", " + key + " " + json_text(value);
        }
    }
    return text;
}

std::string tunnel_text(const Json& tunnel) {
    const std::string in = text_or(tunnel, "in_key", "none");
    const std::string out = text_or(tunnel, "out_key", "none");
    std::string text = fmt::format(
        "    tunnel {}: {} to {}, key {}{}{}{}\n",
        text_or(tunnel, "name", ""),
        text_or(tunnel, "type", ""),
        text_or(tunnel, "remote_ip", ""),
        in == out ? in : "in " + in + " out " + out,
        tunnel.contains("dst_port") ? ", UDP port " + text_or(tunnel, "dst_port", "") : "",
        vlan_text(tunnel),
        options_text(tunnel)
    );
    const Json& hop = tunnel["next_hop"];
    if (hop["state"] == "resolved") {
        text += fmt::format(
            "        from {} by {} at {}, bridge {} port {}, mtu {}\n",
            text_or(hop, "source", ""),
            text_or(hop, "address", ""),
            text_or(hop, "mac", ""),
            text_or(hop, "bridge", ""),
            text_or(hop, "port", ""),
            text_or(hop, "mtu", "")
        );
    } else {
        text +=
            fmt::format("        {}: {}\n", text_or(hop, "state", ""), text_or(hop, "trouble", ""));
    }
    if (tunnel.contains("encryption")) {
        const Json& encryption = tunnel["encryption"];
        text += fmt::format(
            "        encryption: {}, {}, SPI in {} out {}{}\n",
            text_or(encryption, "state", ""),
            text_or(encryption, "algorithm", "no algorithm"),
            text_or(encryption, "spi_in", "none"),
            text_or(encryption, "spi_out", "none"),
            encryption.contains("trouble") ? "; " + text_or(encryption, "trouble", "") : ""
        );
    }
    text += fmt::format("        firewall: {}\n", text_or(tunnel["firewall"], "text", ""));
    return text;
}

}  // namespace

Result<std::string> show_switch(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    Json bridges = Json::array();
    const SwitchModel& model = context.switch_.model();
    for (const auto& [name, bridge] : model.bridges) {
        Json json;
        json["name"] = name;
        json["mac_ageing_s"] = bridge.config.mac_ageing_s;
        json["split_horizon"] = bridge.config.split_horizon;
        json["ports"] = Json::array();
        json["bonds"] = Json::array();
        json["tunnels"] = Json::array();
        for (const auto& [index, port] : model.ports) {
            if (port.bridge != bridge.index) {
                continue;
            }
            if (port.role == PortRole::tunnel) {
                json["tunnels"].push_back(tunnel_json(context, port));
            } else if (port.role == PortRole::bond) {
                json["bonds"].push_back(bond_json(port));
            } else {
                json["ports"].push_back(device_json(port));
            }
        }
        bridges.push_back(std::move(json));
    }
    if (*format == OutputFormat::json) {
        return render_json(Json{{"bridges", bridges}});
    }
    std::string text;
    for (const Json& bridge : bridges) {
        text += fmt::format(
            "bridge {}{}\n",
            text_or(bridge, "name", ""),
            bridge["split_horizon"] == true ? " (split horizon)" : ""
        );
        for (const Json& port : bridge["ports"]) {
            text += port_text(port);
        }
        for (const Json& bond : bridge["bonds"]) {
            text += bond_text(bond);
        }
        for (const Json& tunnel : bridge["tunnels"]) {
            text += tunnel_text(tunnel);
        }
    }
    return text.empty() ? "no bridges\n" : text;
}

Result<std::string> show_tunnel(
    const CommandContext& context,
    const SwitchPort& port,
    const PortTotals& totals,
    OutputFormat format
) {
    const Json details = tunnel_details(port, totals, next_hop_json(context, port));
    return format == OutputFormat::json ? render_json(details) : tunnel_details_text(details);
}

}  // namespace culvert::ctl
