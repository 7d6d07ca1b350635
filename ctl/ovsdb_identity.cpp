// SPDX-License-Identifier: GPL-2.0-or-later
//
// Addresses and ids by which bridges of an Open_vSwitch database are known outside. See
// ovsdb_configuration.hpp.
#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "ctl/ovsdb_configuration.hpp"

namespace culvert::ctl {

namespace {

using tunnels::MacAddress;

constexpr std::uint8_t kGroupBit = 1;
constexpr std::uint8_t kLocalBit = 2;

/// The first six bytes of SHA-1, as a local unicast address.
MacAddress hashed_address(const std::string& text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha1(), nullptr);
    MacAddress mac;
    std::copy_n(digest.begin(), mac.bytes.size(), mac.bytes.begin());
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & ~kGroupBit) | kLocalBit);
    return mac;
}

/// As Open vSwitch: the first six bytes of the UUID as it keeps it, in words of 32 bits of a
/// little-endian machine, as a local unicast address. It is the same at each start.
MacAddress address_of(const ovsdb::Uuid& uuid) {
    std::string digits = uuid.text;
    std::erase(digits, '-');
    constexpr std::array<std::size_t, 6> kOrder{3, 2, 1, 0, 7, 6};
    MacAddress mac;
    for (std::size_t i = 0; i < kOrder.size(); ++i) {
        const std::size_t at = 2 * kOrder[i];
        const std::string byte = at < digits.size() ? digits.substr(at, 2) : "";
        std::from_chars(byte.data(), byte.data() + byte.size(), mac.bytes[i], 16);
    }
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & ~kGroupBit) | kLocalBit);
    return mac;
}

bool is_eligible(const MacAddress& mac) {
    return (mac.bytes[0] & (kGroupBit | kLocalBit)) == 0 && !mac.is_zero();
}

}  // namespace

std::optional<MacAddress> member_mac(
    const OvsdbConfiguration& configuration,
    const std::string& bridge,
    std::optional<std::uint16_t> tag,
    const MacOf& mac_of
) {
    std::optional<MacAddress> lowest;
    // Ports are in the order of their bridges' names.
    const auto first = std::lower_bound(
        configuration.ports.begin(),
        configuration.ports.end(),
        bridge,
        [](const OvsdbPort& port, const std::string& name) { return port.bridge < name; }
    );
    for (auto at = first; at != configuration.ports.end() && at->bridge == bridge; ++at) {
        const OvsdbPort& port = *at;
        std::optional<MacAddress> mac = port.mac;
        if (!mac && (!tag || port.tag == tag)) {
            // The first interface that there is stands for the port, unless it is the bridge's own.
            for (const std::string& interface : port.interfaces) {
                mac = interface == bridge ? std::nullopt : mac_of(interface);
                if (mac) {
                    break;
                }
            }
        }
        if (mac && is_eligible(*mac) && (!lowest || *mac < *lowest)) {
            lowest = mac;
        }
    }
    return lowest;
}

bool choose_addresses(OvsdbConfiguration& configuration, const MacOf& mac_of) {
    std::map<std::string_view, MacAddress> own;
    for (const OvsdbBridge& bridge : configuration.bridges) {
        own.emplace(bridge.name, address_of(bridge.uuid));
    }
    const auto choose = [&](const std::string& bridge, std::optional<std::uint16_t> tag) {
        const std::optional<MacAddress> mac = member_mac(configuration, bridge, tag, mac_of);
        return mac ? *mac : own.at(bridge);
    };
    bool changed = false;
    std::map<std::string_view, BridgeConfig*> in_state;
    for (BridgeConfig& config : configuration.state.bridges) {
        in_state.emplace(config.name, &config);
    }
    for (OvsdbBridge& bridge : configuration.bridges) {
        if (!bridge.in_state) {
            continue;
        }
        bridge.mac = bridge.hwaddr ? *bridge.hwaddr : choose(bridge.name, std::nullopt);
        if (auto& local = in_state.at(bridge.name)->local; local && local->mac != bridge.mac) {
            local->mac = bridge.mac;
            changed = true;
        }
    }
    std::map<std::string_view, OvsdbPort*> fake;
    for (OvsdbPort& port : configuration.ports) {
        if (port.fake_bridge) {
            fake.emplace(port.name, &port);
        }
    }
    for (PortConfig& config : configuration.state.ports) {
        const auto port = fake.find(config.name);
        if (port == fake.end() || config.kind != PortKind::tap ||
            (config.mac && config.mac != port->second->chosen_mac)) {
            continue;
        }
        port->second->chosen_mac = choose(port->second->bridge, port->second->tag);
        changed = changed || config.mac != port->second->chosen_mac;
        config.mac = port->second->chosen_mac;
    }
    return changed;
}

std::string datapath_id(const OvsdbBridge& bridge, const std::string& installation_uuid) {
    if (!bridge.datapath_id_config.empty()) {
        return bridge.datapath_id_config;
    }
    const MacAddress address = bridge.hwaddr && !installation_uuid.empty()
                                   ? hashed_address(installation_uuid + "," + bridge.name)
                                   : bridge.mac;
    return fmt::format("{:016x}", address.to_u64());
}

std::string read_installation_uuid(const std::string& inventory_path) {
    static constexpr std::string_view kKey = "INSTALLATION_UUID=";
    std::ifstream inventory(inventory_path);
    for (std::string line; std::getline(inventory, line);) {
        if (line.starts_with(kKey)) {
            line.erase(0, kKey.size());
            std::erase_if(line, [](char c) {
                return c == '\'' || c == '"' || c == ' ' || c == '\r';
            });
            return line;
        }
    }
    return {};
}

}  // namespace culvert::ctl
