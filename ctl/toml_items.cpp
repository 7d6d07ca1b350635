// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads bridges and ports. A key that does not apply to the kind of its port is refused, not
// ignored: whoever wrote it expected an effect. One thread at a time.
#include "ctl/toml_items.hpp"

#include <algorithm>
#include <charconv>

#include "ctl/sentence.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

constexpr Range kMtuRange{68, 65535};
/// The kernel's tun driver takes at most 65535 bytes less an Ethernet header.
constexpr Range kTapMtuRange{68, 65521};
constexpr Range kTagRange{1, 4094};
constexpr Range kVlanRange{0, 4094};
constexpr Range kDelayRange{0, 2147483647};
constexpr std::uint32_t kRebalanceMsMin = 1000;
constexpr std::size_t kAddressesMax = 64;
constexpr std::size_t kRlocsMax = 32;

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

/// "address/bits", whatever the address; nothing when `text` is something else.
std::optional<InterfaceAddress> parse_prefixed(std::string_view text) {
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
    if (!address || failure != std::errc{} || end != digits.data() + digits.size() ||
        result.prefix_bits > (address->is_v4() ? 32 : 128)) {
        return std::nullopt;
    }
    result.address = *address;
    return result;
}

/// The address of a host with its prefix length; nothing when `text` is something else.
std::optional<InterfaceAddress> parse_interface_address(std::string_view text) {
    std::optional<InterfaceAddress> result = parse_prefixed(text);
    if (result && (result->prefix_bits == 0 || !unicast_problem(result->address).empty())) {
        result.reset();
    }
    return result;
}

/// Whether every bit behind the prefix is zero.
bool has_no_host_bits(const InterfaceAddress& prefix) {
    const unsigned bits = prefix.prefix_bits + (prefix.address.is_v4() ? 96U : 0U);
    for (unsigned bit = bits; bit < 128; ++bit) {
        if ((prefix.address.bytes[bit / 8] & (0x80U >> (bit % 8))) != 0) {
            return false;
        }
    }
    return true;
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
    table.read("mtu", kTapMtuRange, local.mtu);
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

RlocConfig read_rloc(const TomlTable& table) {
    RlocConfig rloc;
    table.require("tunnel", "the name of a tunnel with packet_type = \"l3\"");
    table.read("tunnel", rloc.tunnel);
    table.read("priority", Range{0, 255}, rloc.priority);
    table.read("weight", Range{0, 100}, rloc.weight);
    return rloc;
}

EidConfig read_eid(const TomlTable& table) {
    static constexpr std::string_view kValid =
        "an address with its prefix length, such as \"10.2.0.0/16\" (0-32) or \"fd20:2::/32\" "
        "(0-128), the bits behind the prefix zero";
    EidConfig eid;
    eid.origin = table.origin();
    std::string prefix;
    table.require("prefix", kValid);
    table.read("prefix", prefix);
    if (!prefix.empty()) {
        const std::optional<InterfaceAddress> parsed = parse_prefixed(prefix);
        if (!parsed) {
            table.invalid("prefix", "is not a prefix", kValid);
        } else if (!has_no_host_bits(*parsed)) {
            table.invalid("prefix", "has bits set behind the prefix", kValid);
        } else {
            eid.prefix = parsed->address;
            eid.prefix_bits = parsed->prefix_bits;
        }
    }
    for (const TomlTable& rloc : table.sections("rloc", kRlocSection, prefix)) {
        eid.rlocs.push_back(read_rloc(rloc));
    }
    if (eid.rlocs.empty() || eid.rlocs.size() > kRlocsMax) {
        table.fail(
            "prefix",
            "prefix = " + quote(prefix) + " has " + std::to_string(eid.rlocs.size()) +
                " RLOCs; valid: 1-" + std::to_string(kRlocsMax) + " times " + kRlocSection.title()
        );
    }
    return eid;
}

void read_port_device(const TomlTable& table, PortConfig& port) {
    const bool is_dpdk = port.kind == PortKind::dpdk;
    const bool is_patch = port.kind == PortKind::patch;
    const std::string kind = "kind = " + quote(word_of(kPortKindWords, port.kind));
    if (!is_patch) {
        table.refuse("peer", "does not apply to " + kind + "; valid: \"patch\" ports");
    }
    if (!is_dpdk) {
        table.refuse("devargs", "does not apply to " + kind + "; valid: \"dpdk\" ports");
    }
    if (is_dpdk || is_patch) {
        table.refuse(
            "interface", "does not apply to " + kind + "; valid: \"linux\" or \"tap\" ports"
        );
    }
    if (is_patch) {
        table.require("peer", "the name of the patch port at the other end");
        table.read_name("peer", kNameBytesMax, port.peer);
        return;
    }
    if (is_dpdk) {
        table.require(
            "devargs", "a DPDK device such as \"0000:03:00.0\" or \"net_vhost0,iface=/run/vm.sock\""
        );
        table.read("devargs", port.devargs);
        if (table.has("devargs") && port.devargs.starts_with(',')) {
            table.invalid("devargs", "names no device", "DEVICE or DEVICE,OPTION=VALUE,...");
        }
        return;
    }
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

}  // namespace

void read_path(
    const TomlTable& table, std::string_view key, std::size_t bytes_max, std::string& path
) {
    table.read(key, path);
    if (table.has(key) && (!path.starts_with('/') || path.size() > bytes_max)) {
        table.invalid(
            key,
            path.starts_with('/') ? "is too long" : "is not an absolute path",
            "an absolute path of at most " + std::to_string(bytes_max) + " bytes"
        );
    }
}

VlanConfig read_vlan(const TomlTable& table) {
    VlanConfig vlan;
    vlan.mode = read_vlan_mode(table);
    const std::string mode = "vlan_mode = " + quote(word_of(kVlanModeWords, vlan.mode));
    if (vlan.mode == VlanMode::trunk) {
        table.refuse(
            "tag",
            "does not apply to " + mode +
                "; valid: \"access\", \"native-untagged\" or "
                "\"native-tagged\" with a tag"
        );
    } else if (!table.has("tag")) {
        table.fail("vlan_mode", mode + " needs a tag; valid: " + kTagRange.text());
    }
    if (vlan.mode == VlanMode::access) {
        table.refuse(
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
    for (const TomlTable& eid : table.sections("eid", kEidSection, bridge.name)) {
        bridge.eids.push_back(read_eid(eid));
    }
    return bridge;
}

PortConfig read_port(const TomlTable& table) {
    PortConfig port;
    read_common(table, port);
    table.read("kind", kPortKindWords, port.kind);
    read_port_device(table, port);
    table.read("mtu", port.kind == PortKind::tap ? kTapMtuRange : kMtuRange, port.mtu);
    const std::string reason =
        "does not apply to kind = " + quote(word_of(kPortKindWords, port.kind)) + "; valid: ";
    if (port.kind != PortKind::tap) {
        table.refuse("mac", reason + "\"tap\" ports");
    }
    if (port.kind != PortKind::linux_interface) {
        table.refuse("claim", reason + "\"linux\" ports");
        table.refuse("hotplug", reason + "\"linux\" ports");
    }
    if (port.kind != PortKind::dpdk) {
        table.refuse("rx_queues", reason + "\"dpdk\" ports");
    }
    if (port.kind == PortKind::patch) {
        table.refuse("mtu", reason + "ports with a device");
        table.refuse("rx_workers", reason + "ports with a device");
    }
    table.read("mac", port.mac);
    table.read("claim", port.claim);
    table.read("hotplug", port.hotplug);
    table.read("rx_queues", Range{0, dataplane::kQueuesPerPortMax}, port.rx_queues);
    table.read_list("rx_workers", Range{0, dataplane::kWorkersMax - 1}, port.rx_workers);
    return port;
}

BondConfig read_bond(const TomlTable& table) {
    static constexpr std::string_view kMembersValid = "1-32 names of [[port]] sections, each once";
    BondConfig bond;
    read_common(table, bond);
    table.require("members", kMembersValid);
    table.read_list("members", kMembersValid, bond.members);
    if (table.has("members") &&
        (bond.members.empty() || bond.members.size() > dataplane::kBondMembersMax)) {
        table.fail(
            "members",
            "members lists " + std::to_string(bond.members.size()) +
                " ports; valid: " + std::string(kMembersValid)
        );
    }
    table.read("mode", kBondModeWords, bond.mode);
    table.read("lacp", kLacpWords, bond.lacp);
    table.read("updelay_ms", kDelayRange, bond.updelay_ms);
    table.read("downdelay_ms", kDelayRange, bond.downdelay_ms);
    table.read("rebalance_ms", kDelayRange, bond.rebalance_ms);
    if (bond.rebalance_ms != 0 && bond.rebalance_ms < kRebalanceMsMin) {
        table.invalid("rebalance_ms", "is too short", "0 (never) or 1000-2147483647");
    }
    table.read("hash_basis", Range{0, UINT32_MAX}, bond.hash_basis);
    table.read("primary", bond.primary);
    table.read("lacp_time", kLacpTimeWords, bond.lacp_fast);
    table.read("lacp_fallback_ab", bond.lacp_fallback_ab);
    table.read("lacp_system_id", bond.lacp_system_id);
    table.read("lacp_system_priority", Range{1, 65535}, bond.lacp_system_priority);
    if (bond.lacp == LacpMode::off) {
        for (const std::string_view key :
             {"lacp_time", "lacp_fallback_ab", "lacp_system_id", "lacp_system_priority"}) {
            table.refuse(
                key, "does not apply to lacp = \"off\"; valid: with \"active\" or \"passive\""
            );
        }
    }
    return bond;
}

}  // namespace culvert::ctl
