// SPDX-License-Identifier: GPL-2.0-or-later
//
// See show_sa.hpp.

#include "ctl/show_sa.hpp"

#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/sentence.hpp"
#include "ctl/show_tunnel.hpp"

namespace culvert::ctl {

namespace {

using Json = nlohmann::ordered_json;

std::string spi_text(std::uint32_t spi) {
    return fmt::format("{:#010x}", spi);
}

const char* direction_of(const SaStatus& association) {
    return association.outbound ? "out" : "in";
}

Json lifetime_json(const SaLifetime& lifetime) {
    Json json = Json::object();
    const auto add = [&](const char* key, const std::optional<std::uint64_t>& value) {
        json[key] = value ? Json(*value) : Json(nullptr);
    };
    add("bytes", lifetime.bytes);
    add("packets", lifetime.packets);
    add("seconds", lifetime.seconds);
    return json;
}

/// "0x1001" or "4097".
std::optional<std::uint32_t> parse_spi(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x");
    if (hexadecimal) {
        text.remove_prefix(2);
    }
    std::uint32_t spi = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), spi, hexadecimal ? 16 : 10);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return spi;
}

/// The encrypted tunnels that are meant by a name; all without one.
std::vector<const SwitchPort*>
encrypted_tunnels(const SwitchModel& model, const std::optional<std::string>& name) {
    std::vector<const SwitchPort*> tunnels;
    for (const auto& [index, port] : model.ports) {
        if (port.encryption && (!name || port.name == *name)) {
            tunnels.push_back(&port);
        }
    }
    return tunnels;
}

/// A tunnel's name stands alone or among others: "t1, t2".
bool serves(const SaStatus& association, const std::string& tunnel) {
    return (", " + association.tunnel + ",").find(", " + tunnel + ",") != std::string::npos;
}

std::string text_of(const Json& tree) {
    std::string text;
    for (const Json& tunnel : tree["tunnels"]) {
        text += "tunnel " + json_text(tunnel["name"]) + "\n";
        for (const auto& [key, value] : tunnel.items()) {
            if (key != "name") {
                text += fmt::format("    {:<20}{}\n", key, json_text(value));
            }
        }
    }
    for (const Json& association : tree["associations"]) {
        text += fmt::format(
            "SA {} {}\n", json_text(association["spi"]), json_text(association["direction"])
        );
        for (const auto& [key, value] : association.items()) {
            if (key == "spi" || key == "direction") {
                continue;
            }
            if (!value.is_object()) {
                text += fmt::format("    {:<20}{}\n", key, json_text(value));
                continue;
            }
            std::string inner;
            for (const auto& [name, member] : value.items()) {
                inner += (inner.empty() ? "" : ", ") + name + " " + json_text(member);
            }
            text += fmt::format("    {:<20}{}\n", key, inner);
        }
    }
    return text.empty() ? "no encrypted tunnels\n" : text;
}

}  // namespace

std::string state_word(const SaStatus& association) {
    if (!association.current) {
        return association.outbound && association.trouble.empty() ? "waits" : "not used";
    }
    if (association.soft_expired) {
        return "expiring";
    }
    return association.outbound ? "in use" : "accepted";
}

Table association_table(const std::vector<SaStatus>& associations) {
    Table table(
        {{"tunnel"},
         {"direction"},
         {"spi"},
         {"algorithm"},
         {"age_s", Align::right},
         {"packets", Align::right},
         {"bytes", Align::right},
         {"replay_drops", Align::right},
         {"left_s", Align::right},
         {"left_packets", Align::right},
         {"left_bytes", Align::right},
         {"state"},
         {"trouble"}}
    );
    for (const SaStatus& association : associations) {
        table.add_row(
            {association.tunnel,
             direction_of(association),
             spi_text(association.spi),
             association.algorithm_name,
             association.age_s,
             association.packets,
             association.bytes,
             association.outbound ? Cell(std::nullopt)
                                  : Cell(association.replayed + association.late),
             association.left.seconds,
             association.left.packets,
             association.left.bytes,
             state_word(association),
             association.trouble.empty() ? Cell(std::nullopt) : Cell(association.trouble)}
        );
    }
    return table;
}

Json association_json(const SaStatus& association) {
    Json json;
    json["spi"] = spi_text(association.spi);
    json["direction"] = direction_of(association);
    json["tunnel"] = association.tunnel;
    json["state"] = state_word(association);
    json["trouble"] = association.trouble.empty() ? Json(nullptr) : Json(association.trouble);
    json["keys"] = association.by_ike ? "ike" : "configured";
    json["algorithm"] = association.algorithm_name;
    json["mode"] = association.mode == EspMode::tunnel ? "tunnel" : "transport";
    json["source"] = association.source.to_string();
    json["destination"] = association.destination.to_string();
    json["udp_source"] = association.udp_source == 0 ? Json(nullptr) : Json(association.udp_source);
    json["udp_destination"] =
        association.udp_destination == 0 ? Json(nullptr) : Json(association.udp_destination);
    json["esn"] = association.extended;
    json["sequence"] = association.sequence;
    json["age_s"] = association.age_s;
    json["packets"] = association.packets;
    json["bytes"] = association.bytes;
    if (!association.outbound) {
        json["replay_window"] = association.replay_window;
        json["drops"] = {
            {"replayed", association.replayed},
            {"late", association.late},
            {"not_authentic", association.not_authentic},
            {"malformed", association.malformed}};
    }
    json["soft"] = lifetime_json(association.soft);
    json["hard"] = lifetime_json(association.hard);
    json["left"] = lifetime_json(association.left);
    json["soft_expired"] = association.soft_expired;
    return json;
}

Result<std::string> list_associations(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    const Table table = association_table(context.switch_.encryption().associations().list());
    if (table.size() == 0 && *format == OutputFormat::text) {
        return std::string("no security associations\n");
    }
    return table.render(*format);
}

Result<std::string> show_associations(const CommandContext& context, Arguments arguments) {
    const auto format = take_format(arguments);
    if (!format) {
        return tl::unexpected(format.error());
    }
    const std::optional<std::string> wanted =
        arguments.empty() ? std::nullopt : std::optional(arguments[0]);
    const auto tunnels = encrypted_tunnels(context.switch_.model(), wanted);
    const std::optional<std::uint32_t> spi =
        wanted && tunnels.empty() ? parse_spi(*wanted) : std::nullopt;
    Json tree{{"tunnels", Json::array()}, {"associations", Json::array()}};
    for (const SwitchPort* tunnel : tunnels) {
        Json json{{"name", tunnel->name}};
        json.update(encryption_json(*tunnel));
        tree["tunnels"].push_back(std::move(json));
    }
    for (const SaStatus& association : context.switch_.encryption().associations().list()) {
        if (!wanted || spi == association.spi ||
            (!tunnels.empty() && serves(association, *wanted))) {
            tree["associations"].push_back(association_json(association));
        }
    }
    if (wanted && tree["tunnels"].empty() && tree["associations"].empty()) {
        return tl::unexpected(fmt::format(
            "no encrypted tunnel is named {}, and no security association has that SPI; see sa "
            "list",
            quote(*wanted)
        ));
    }
    return *format == OutputFormat::json ? render_json(tree) : text_of(tree);
}

}  // namespace culvert::ctl
