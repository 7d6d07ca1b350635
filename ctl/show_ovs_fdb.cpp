// SPDX-License-Identifier: GPL-2.0-or-later
//
// fdb/show and the verbs that change a bridge's MAC table (ovs-vswitchd(8), "MAC Learning
// Commands"). Addresses that are configured, and the bridge's own, cannot be changed here.

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "ctl/sentence.hpp"
#include "ctl/show_ovs.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

namespace {

constexpr std::uint16_t kVlanMax = 4095;

std::string ofport_text(const OvsView& view, std::uint16_t index) {
    const SwitchPort* port = view.model.find_port(index);
    if (port == nullptr) {
        return "?";
    }
    if (port->role == PortRole::local) {
        return "LOCAL";
    }
    const auto number = view.ofports.find(port->name);
    return !number ? "?" : *number == Ofports::kLocal ? "LOCAL" : std::to_string(*number);
}

struct Place {
    const SwitchBridge* bridge = nullptr;
    BridgeTable* table = nullptr;
};

Result<Place> find_place(const OvsView& view, const std::string& name) {
    const SwitchBridge* bridge = ovs_bridge(view, name);
    BridgeTable* table = bridge == nullptr ? nullptr : view.slow_path.bridge(bridge->index);
    if (table == nullptr) {
        return ovs_no_such_bridge();
    }
    return Place{bridge, table};
}

Result<FdbKey> parse_key(const std::string& vlan_text, const std::string& mac_text) {
    std::uint16_t vlan = 0;
    const char* const end = vlan_text.data() + vlan_text.size();
    const auto [stop, error] = std::from_chars(vlan_text.data(), end, vlan);
    if (error != std::errc{} || stop != end || vlan > kVlanMax) {
        return tl::unexpected(
            fmt::format("bad VLAN {}; valid: 0 (none) to {}", quote(vlan_text), kVlanMax)
        );
    }
    const auto mac = tunnels::MacAddress::parse(mac_text);
    if (!mac || mac->is_group()) {
        return tl::unexpected(std::string("bad MAC address"));
    }
    return FdbKey{vlan, *mac};
}

bool is_configured(const OvsView& view, const SwitchBridge& bridge, const FdbEntry& entry) {
    const SwitchPort* port = view.model.find_port(entry.port);
    if (port != nullptr && port->role == PortRole::local && port->mac == entry.key.mac) {
        return true;
    }
    const auto& macs = bridge.config.static_macs;
    return std::any_of(macs.begin(), macs.end(), [&](const StaticMac& one) {
        return one.mac == entry.key.mac && one.vlan == entry.key.vlan;
    });
}

tl::unexpected<std::string> refuse_configured(const FdbKey& key) {
    return tl::unexpected(fmt::format(
        "{} in VLAN {} is configured or the bridge's own; change the configuration",
        key.mac.to_string(),
        key.vlan
    ));
}

}  // namespace

Result<std::string> ovs_fdb_show(const OvsView& view, const Arguments& arguments) {
    const auto place = find_place(view, arguments[0]);
    if (!place) {
        return tl::unexpected(place.error());
    }
    std::string text = " port  VLAN  MAC                Age\n";
    const std::uint32_t now_s = dataplane::coarse_clock_s();
    place->table->fdb.for_each([&](const FdbEntry& entry) {
        const std::string age =
            entry.fixed
                ? "static"
                : std::to_string(now_s - std::min(now_s, view.slow_path.last_seen_s(entry)));
        text += fmt::format(
            "{:>5}  {:>4}  {}  {:>3}\n",
            ofport_text(view, entry.port),
            entry.key.vlan,
            entry.key.mac.to_string(),
            age
        );
    });
    return text;
}

Result<std::string> ovs_fdb_flush(const OvsView& view, const Arguments& arguments) {
    if (!arguments.empty() && ovs_bridge(view, arguments[0]) == nullptr) {
        return ovs_no_such_bridge();
    }
    for (const auto& [name, bridge] : view.model.bridges) {
        if (arguments.empty() || arguments[0] == name) {
            view.slow_path.flush_bridge(bridge.index);
        }
    }
    return std::string("table successfully flushed");
}

Result<std::string> ovs_fdb_add(const OvsView& view, const Arguments& arguments) {
    const auto place = find_place(view, arguments[0]);
    if (!place) {
        return tl::unexpected(place.error());
    }
    const auto key = parse_key(arguments[2], arguments[3]);
    if (!key) {
        return tl::unexpected(key.error());
    }
    const std::string& name = arguments[1];
    const auto& ports = view.model.ports;
    const auto port = std::find_if(ports.begin(), ports.end(), [&](const auto& entry) {
        return entry.second.bridge == place->bridge->index && entry.second.name == name;
    });
    if (port == ports.end()) {
        return tl::unexpected(
            fmt::format("bridge {} has no port {}", quote(arguments[0]), quote(name))
        );
    }
    const FdbEntry* there = place->table->fdb.find(*key);
    if (there != nullptr && there->fixed && is_configured(view, *place->bridge, *there)) {
        return refuse_configured(*key);
    }
    static_cast<void>(view.slow_path.insert_fixed(place->bridge->index, *key, port->first));
    return std::string();
}

Result<std::string> ovs_fdb_del(const OvsView& view, const Arguments& arguments) {
    const auto place = find_place(view, arguments[0]);
    if (!place) {
        return tl::unexpected(place.error());
    }
    const auto key = parse_key(arguments[1], arguments[2]);
    if (!key) {
        return tl::unexpected(key.error());
    }
    const FdbEntry* entry = place->table->fdb.find(*key);
    if (entry == nullptr || !entry->fixed) {
        return tl::unexpected(std::string("could not find static mac entry"));
    }
    if (is_configured(view, *place->bridge, *entry)) {
        return refuse_configured(*key);
    }
    view.slow_path.erase_fixed(place->bridge->index, *key);
    return std::string();
}

Result<std::string> ovs_fdb_stats(const OvsView& view, const Arguments& arguments) {
    const auto place = find_place(view, arguments[0]);
    if (!place) {
        return tl::unexpected(place.error());
    }
    const Fdb& fdb = place->table->fdb;
    return fmt::format(
        "Statistics for bridge \"{}\":\n"
        "  Current/maximum MAC entries in the table: {}/{}\n"
        "  Current static MAC entries in the table : {}\n",
        arguments[0],
        fdb.size(),
        place->bridge->config.mac_table_size,
        fdb.size() - fdb.learned()
    );
}

}  // namespace culvert::ctl
