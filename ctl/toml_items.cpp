// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads bridges, ports and tunnels. A key that does not apply to the kind of its port or the
// protocol of its tunnel is refused, not ignored: whoever wrote it expected an effect. One thread
// at a time.
#include "ctl/toml_items.hpp"

#include <algorithm>
#include <charconv>

#include "ctl/sentence.hpp"
#include "dataplane/limits.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

namespace {

constexpr Range kMtuRange{68, 65535};
constexpr Range kTagRange{1, 4094};
constexpr Range kVlanRange{0, 4094};
constexpr std::size_t kAddressesMax = 64;

/// Says that `key` does not apply, unless it is absent.
void refuse(const TomlTable& table, std::string_view key, std::string_view reason) {
    if (table.has(key)) {
        table.fail(key, std::string(key) + " " + std::string(reason));
    }
}

/// The mode that the keys say: `tag` alone is an access port, `trunks` alone or nothing a trunk.
VlanMode read_vlan_mode(const TomlTable& table) {
    VlanMode mode = table.has("tag") ? VlanMode::access : VlanMode::trunk;
    if (table.has("vlan_mode")) {
        table.read("vlan_mode", kVlanModeWords, mode);
    } else if (table.has("tag") && table.has("trunks")) {
        table.fail(
            "trunks",
            "tag and trunks together need a vlan_mode; valid: \"native-untagged\", "
            "\"native-tagged\""
        );
    }
    return mode;
}

VlanConfig read_vlan(const TomlTable& table) {
    VlanConfig vlan;
    vlan.mode = read_vlan_mode(table);
    const std::string mode = "vlan_mode = " + quote(word_of(kVlanModeWords, vlan.mode));
    if (vlan.mode == VlanMode::trunk) {
        refuse(
            table,
            "tag",
            "does not apply to " + mode +
                "; valid: \"access\", \"native-untagged\" or "
                "\"native-tagged\" with a tag"
        );
    } else if (!table.has("tag")) {
        table.fail("vlan_mode", mode + " needs a tag; valid: " + kTagRange.text());
    }
    if (vlan.mode == VlanMode::access) {
        refuse(
            table,
            "trunks",
            "does not apply to " + mode +
                ", which carries the VLAN of tag only; valid: "
                "\"trunk\", \"native-untagged\" or \"native-tagged\" with trunks"
        );
    }
    table.read("tag", kTagRange, vlan.tag);
    table.read_list("trunks", kVlanRange, vlan.trunks);
    if (table.has("trunks") && vlan.trunks.empty()) {
        table.fail(
            "trunks",
            "trunks lists no VLAN; valid: a list of " + kVlanRange.text() +
                ", or no such key, which carries every VLAN"
        );
    } else if (vlan.tag != 0 && !vlan.trunks.empty()) {
        // A native port carries its native VLAN whether or not the list repeats it.
        vlan.trunks.push_back(vlan.tag);
    }
    std::sort(vlan.trunks.begin(), vlan.trunks.end());
    vlan.trunks.erase(std::unique(vlan.trunks.begin(), vlan.trunks.end()), vlan.trunks.end());
    return vlan;
}

/// "address/prefix"; nothing when `text` is something else.
std::optional<InterfaceAddress> parse_interface_address(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view digits = text.substr(slash + 1);
    InterfaceAddress result;
    const auto [end, failure] =
        std::from_chars(digits.data(), digits.data() + digits.size(), result.prefix_bits);
    const std::optional<tunnels::IpAddress> address =
        tunnels::IpAddress::parse(text.substr(0, slash));
    if (!address || failure != std::errc{} || end != digits.data() + digits.size()) {
        return std::nullopt;
    }
    result.address = *address;
    const unsigned bits_max = result.address.is_v4() ? 32 : 128;
    if (result.prefix_bits == 0 || result.prefix_bits > bits_max ||
        !unicast_problem(result.address).empty()) {
        return std::nullopt;
    }
    return result;
}

void read_addresses(const TomlTable& table, std::vector<InterfaceAddress>& out) {
    static constexpr std::string_view kValid =
        "the address of a host with its prefix length, such as \"172.20.0.1/24\" (1-32) or "
        "\"fd20::1/64\" (1-128)";
    std::vector<std::string> texts;
    table.read_list("addresses", kValid, texts);
    if (texts.size() > kAddressesMax) {
        table.fail(
            "addresses",
            "addresses lists " + std::to_string(texts.size()) + " addresses; valid: at most " +
                std::to_string(kAddressesMax)
        );
        return;
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::optional<InterfaceAddress> parsed = parse_interface_address(texts[i]);
        if (!parsed) {
            table.invalid_element("addresses", i, "is not an interface address", kValid);
            continue;
        }
        const bool repeated = std::any_of(out.begin(), out.end(), [&](const auto& other) {
            return other.address == parsed->address;
        });
        if (repeated) {
            table.invalid_element("addresses", i, "is listed twice", "each address once");
        }
        out.push_back(*parsed);
    }
}

LocalPortConfig read_local(const TomlTable& table) {
    LocalPortConfig local;
    read_addresses(table, local.addresses);
    table.read("mac", local.mac);
    table.read("mtu", kMtuRange, local.mtu);
    table.read("up", local.up);
    local.vlan = read_vlan(table);
    return local;
}

StaticMac read_static_mac(const TomlTable& table) {
    StaticMac entry;
    entry.origin = table.origin();
    std::optional<tunnels::MacAddress> mac;
    table.require("mac", "a unicast MAC address such as \"02:00:00:00:00:01\"");
    table.read("mac", mac);
    entry.mac = mac.value_or(entry.mac);
    table.read("vlan", kVlanRange, entry.vlan);
    table.require("port", "the name of a port, of a tunnel or of the bridge");
    table.read("port", entry.port);
    return entry;
}

void read_port_device(const TomlTable& table, PortConfig& port) {
    const bool is_dpdk = port.kind == PortKind::dpdk;
    const std::string kind = "kind = " + quote(word_of(kPortKindWords, port.kind));
    if (is_dpdk) {
        refuse(
            table, "interface", "does not apply to " + kind + "; valid: \"linux\" or \"tap\" ports"
        );
        table.require(
            "devargs", "a DPDK device such as \"0000:03:00.0\" or \"net_vhost0,iface=/run/vm.sock\""
        );
        table.read("devargs", port.devargs);
        if (table.has("devargs") && port.devargs.starts_with(',')) {
            table.invalid("devargs", "names no device", "DEVICE or DEVICE,OPTION=VALUE,...");
        }
        return;
    }
    refuse(table, "devargs", "does not apply to " + kind + "; valid: \"dpdk\" ports");
    port.interface = port.name;
    if (table.has("interface")) {
        table.read_name("interface", kDeviceNameBytesMax, port.interface);
    } else if (!port.name.empty() && !is_name(port.name, kDeviceNameBytesMax)) {
        table.invalid(
            "name",
            "is too long for a device name, and interface is absent",
            name_rule(kDeviceNameBytesMax)
        );
    }
}

/// Reads the keys every port or tunnel has.
template <class Item>
void read_common(const TomlTable& table, Item& item) {
    item.origin = table.origin();
    table.require("name", name_rule(kNameBytesMax));
    table.read_name("name", kNameBytesMax, item.name);
    table.require("bridge", "the name of a [[bridge]]");
    table.read("bridge", item.bridge);
    item.vlan = read_vlan(table);
}

const tunnels::ProtocolDescriptor* read_type(const TomlTable& table, TunnelConfig& tunnel) {
    std::array<std::string_view, tunnels::kProtocolCount> names;
    for (std::size_t i = 0; i < names.size(); ++i) {
        names[i] = tunnels::kProtocols[i].name;
    }
    table.require("type", listing(names));
    const std::optional<std::size_t> index = table.choice("type", names);
    if (!index) {
        return nullptr;
    }
    tunnel.type = names[*index];
    return &tunnels::kProtocols[*index];
}

void read_endpoints(const TomlTable& table, TunnelConfig& tunnel) {
    std::optional<tunnels::IpAddress> remote_ip;
    table.require("remote_ip", "the IPv4 or IPv6 address of the peer");
    table.read("remote_ip", remote_ip);
    table.read("local_ip", tunnel.local_ip);
    if (!remote_ip) {
        return;
    }
    tunnel.remote_ip = *remote_ip;
    if (tunnel.local_ip && tunnel.local_ip->is_v4() != remote_ip->is_v4()) {
        const std::string family = remote_ip->is_v4() ? "IPv4" : "IPv6";
        table.invalid(
            "local_ip",
            "is not of the family of remote_ip = " + quote(remote_ip->to_string()),
            "an " + family + " address"
        );
    }
}

void read_keys(
    const TomlTable& table, const tunnels::ProtocolDescriptor& protocol, TunnelConfig& tunnel
) {
    const Range range{0, (std::uint64_t{1} << protocol.key_bits) - 1};
    const std::string note = " for " + std::string(protocol.name);
    for (const std::string_view single : {"in_key", "out_key"}) {
        if (table.has("key")) {
            refuse(
                table,
                single,
                "cannot stand beside key, which sets both directions; valid: key "
                "alone, or in_key and out_key"
            );
        }
    }
    table.read("key", range, tunnel.in_key, note);
    tunnel.out_key = tunnel.in_key;
    table.read("in_key", range, tunnel.in_key, note);
    table.read("out_key", range, tunnel.out_key, note);
}

/// Keys that only protocols carried in UDP know.
void read_udp(
    const TomlTable& table, const tunnels::ProtocolDescriptor& protocol, TunnelConfig& tunnel
) {
    if (protocol.outer.ip_protocol == tunnels::kIpProtocolUdp) {
        tunnel.dst_port = protocol.outer.default_udp_port;
        table.read("dst_port", Range{1, 65535}, tunnel.dst_port);
        table.read("csum", tunnel.csum);
        return;
    }
    const std::string name(protocol.name);
    refuse(table, "dst_port", "does not apply to " + name + ", which is not carried in UDP");
    refuse(table, "csum", "applies to tunnels carried in UDP, and " + name + " is not one of them");
}

}  // namespace

BridgeConfig read_bridge(const TomlTable& table) {
    BridgeConfig bridge;
    bridge.origin = table.origin();
    const bool has_device = table.has("local");
    const std::size_t bytes_max = has_device ? kDeviceNameBytesMax : kNameBytesMax;
    table.require("name", name_rule(bytes_max));
    table.read_name("name", bytes_max, bridge.name);
    table.read("mac_ageing_s", Range{10, 1000000}, bridge.mac_ageing_s);
    table.read("mac_table_size", Range{16, 1000000}, bridge.mac_table_size);
    table.read("split_horizon", bridge.split_horizon);
    for (const TomlTable& local : table.sections("local", kBridgeLocalSection, bridge.name)) {
        bridge.local = read_local(local);
    }
    for (const TomlTable& entry : table.sections("static_mac", kStaticMacSection, bridge.name)) {
        bridge.static_macs.push_back(read_static_mac(entry));
    }
    return bridge;
}

PortConfig read_port(const TomlTable& table) {
    PortConfig port;
    read_common(table, port);
    table.read("kind", kPortKindWords, port.kind);
    read_port_device(table, port);
    table.read("mtu", kMtuRange, port.mtu);
    const std::string reason =
        "does not apply to kind = " + quote(word_of(kPortKindWords, port.kind)) + "; valid: ";
    if (port.kind != PortKind::tap) {
        refuse(table, "mac", reason + "\"tap\" ports");
    }
    if (port.kind != PortKind::linux_interface) {
        refuse(table, "claim", reason + "\"linux\" ports");
        refuse(table, "hotplug", reason + "\"linux\" ports");
    }
    if (port.kind != PortKind::dpdk) {
        refuse(table, "rx_queues", reason + "\"dpdk\" ports");
    }
    table.read("mac", port.mac);
    table.read("claim", port.claim);
    table.read("hotplug", port.hotplug);
    table.read("rx_queues", Range{1, dataplane::kQueuesPerPortMax}, port.rx_queues);
    return port;
}

TunnelConfig read_tunnel(const TomlTable& table) {
    TunnelConfig tunnel;
    read_common(table, tunnel);
    const tunnels::ProtocolDescriptor* protocol = read_type(table, tunnel);
    read_endpoints(table, tunnel);
    if (protocol != nullptr) {
        read_keys(table, *protocol, tunnel);
        read_udp(table, *protocol, tunnel);
    }
    table.read("tos", Range{0, 255}, tunnel.tos);
    if ((tunnel.tos & 3U) != 0) {
        table.invalid("tos", "sets the two lowest bits, which carry ECN", "a multiple of 4, 0-252");
    }
    table.read("ttl", Range{1, 255}, tunnel.ttl);
    table.read("df", tunnel.df);
    return tunnel;
}

}  // namespace culvert::ctl
