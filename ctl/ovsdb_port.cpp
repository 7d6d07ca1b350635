// SPDX-License-Identifier: GPL-2.0-or-later
//
// Ports, bonds and devices of an Open_vSwitch database. Values out of range are treated as
// Open vSwitch 3.1 does: most count as absent.
#include "ctl/ovsdb_port.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include <fmt/format.h>

#include "ctl/config_words.hpp"
#include "ctl/ovsdb_options.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

constexpr std::int64_t kTagMax = 4094;
constexpr std::int64_t kTagColumnMax = 4095;  ///< What the schema allows.
constexpr std::int64_t kMtuMin = 68;
constexpr std::int64_t kMtuMax = 65535;
/// The kernel's tun driver takes at most 65535 bytes less an Ethernet header.
constexpr std::int64_t kTapMtuMax = 65521;
constexpr std::size_t kDeviceNameMax = 15;  // IFNAMSIZ - 1.
/// "net_vhost_" and this stay below DPDK's limit of 63 bytes.
constexpr std::size_t kVhostNameMax = 40;
constexpr std::int64_t kRebalanceMinMs = 1000;
constexpr std::int64_t kRebalanceMs = 10000;
constexpr std::uint16_t kBondPriority = 65534;

/// The value of a column that holds one of `words`; another word is said to be unknown.
template <class E, std::size_t N>
std::optional<E> word_of_column(
    const ovsdb::Row& row,
    std::string_view column,
    const std::array<Word<E>, N>& words,
    const std::string& name,
    std::vector<std::string>& warnings
) {
    const std::optional<std::string> text = ovsdb::column(row, column).string();
    if (!text) {
        return std::nullopt;
    }
    for (const Word<E>& word : words) {
        if (word.word == *text) {
            return word.value;
        }
    }
    warnings.push_back(fmt::format("port {}: unknown {} {}", name, column, *text));
    return std::nullopt;
}

std::uint32_t milliseconds(const ovsdb::Row& port, std::string_view column) {
    const std::int64_t value = ovsdb::column(port, column).integer().value_or(0);
    constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(value, 0, kMax));
}

/// The VLANs of the column; `dropped` says that it has others.
std::vector<std::uint16_t> trunks_of(const ovsdb::Row& port, bool& dropped) {
    std::vector<std::uint16_t> trunks;
    for (const std::int64_t vlan : ovsdb::column(port, "trunks").integers()) {
        if (vlan >= 0 && vlan <= kTagMax) {
            trunks.push_back(static_cast<std::uint16_t>(vlan));
        } else {
            dropped = true;
        }
    }
    return trunks;  // Sorted and without repetition, as sets are.
}

VlanConfig native(VlanMode mode, std::uint16_t tag, std::vector<std::uint16_t> trunks) {
    // The native VLAN is carried whether or not the list has it, and VLAN 0 is not.
    if (!trunks.empty()) {
        trunks.push_back(tag);
        std::sort(trunks.begin(), trunks.end());
        trunks.erase(std::unique(trunks.begin(), trunks.end()), trunks.end());
        std::erase(trunks, std::uint16_t{0});
    }
    return {mode, tag, std::move(trunks)};
}

}  // namespace

OvsdbVlan read_ovsdb_vlan(
    const ovsdb::Row& port, const std::string& name, std::vector<std::string>& warnings
) {
    std::optional<std::int64_t> tag = ovsdb::column(port, "tag").integer();
    if (tag && (*tag < 0 || *tag > kTagColumnMax)) {
        tag.reset();
    }
    if (ovsdb::column(port, "vlan_mode").string() == "dot1q-tunnel") {
        return {{}, fmt::format("port {}: vlan_mode=dot1q-tunnel is not available", name)};
    }
    bool dropped = false;
    std::vector<std::uint16_t> trunks = trunks_of(port, dropped);
    std::optional<VlanMode> mode =
        word_of_column(port, "vlan_mode", kVlanModeWords, name, warnings);
    if (!mode && tag && ovsdb::column(port, "vlan_mode").keys.empty()) {
        mode = VlanMode::access;
        if (!trunks.empty() || dropped) {
            warnings.push_back(
                fmt::format("port {}: trunks is ignored, since tag makes an access port", name)
            );
        }
    }
    const VlanMode chosen = mode.value_or(VlanMode::trunk);
    const std::int64_t vlan = tag.value_or(0);
    if (chosen != VlanMode::trunk && vlan > kTagMax) {
        return {
            {}, fmt::format("port {}: tag={} is out of range; valid: 0-{}", name, vlan, kTagMax)};
    }
    const auto number = static_cast<std::uint16_t>(vlan);
    if (chosen == VlanMode::access) {
        // VLAN 0 is that of untagged frames on trunks.
        return {
            number == 0 ? VlanConfig{VlanMode::trunk, 0, {0}}
                        : VlanConfig{VlanMode::access, number, {}},
            {}};
    }
    if (dropped && trunks.empty()) {
        return {{}, fmt::format("port {}: trunks has no VLAN of 0-{}", name, kTagMax)};
    }
    if (chosen != VlanMode::trunk && number != 0) {
        return {native(chosen, number, std::move(trunks)), {}};
    }
    return {{VlanMode::trunk, 0, std::move(trunks)}, {}};
}

BondConfig read_ovsdb_bond(
    const ovsdb::Row& port, const std::string& name, std::vector<std::string>& warnings
) {
    const OvsdbOptions options = ovsdb::column(port, "other_config").map();
    BondConfig bond;
    bond.name = name;
    bond.mode = word_of_column(port, "bond_mode", kBondModeWords, name, warnings)
                    .value_or(BondMode::active_backup);
    bond.lacp = word_of_column(port, "lacp", kLacpWords, name, warnings).value_or(LacpMode::off);
    bond.updelay_ms = milliseconds(port, "bond_updelay");
    bond.downdelay_ms = milliseconds(port, "bond_downdelay");
    const std::int64_t rebalance = integer_option(options, "bond-rebalance-interval", kRebalanceMs);
    bond.rebalance_ms =
        rebalance == 0 ? 0 : static_cast<std::uint32_t>(std::max(rebalance, kRebalanceMinMs));
    bond.hash_basis = static_cast<std::uint32_t>(integer_option(options, "bond-hash-basis", 0));
    if (const std::string* time = find_option(options, "lacp-time"); time != nullptr) {
        bond.lacp_fast = equals_without_case(*time, "fast");
    }
    bond.lacp_fallback_ab = boolean_option(options, "lacp-fallback-ab", false);
    const std::int64_t priority = integer_option(options, "lacp-system-priority", 0);
    bond.lacp_system_priority =
        priority >= 1 && priority <= 65535 ? static_cast<std::uint16_t>(priority) : kBondPriority;
    const std::string* primary = find_option(options, "bond-primary");
    if (primary != nullptr && (bond.mode == BondMode::active_backup || bond.lacp_fallback_ab)) {
        bond.primary = *primary;
    }
    const std::string* system_id = find_option(options, "lacp-system-id");
    if (system_id != nullptr && bond.lacp != LacpMode::off) {
        bond.lacp_system_id = parse_ovsdb_mac(*system_id);
        if (!bond.lacp_system_id || bond.lacp_system_id->is_zero()) {
            warnings.push_back(fmt::format(
                "port {}: lacp-system-id={} is not the address of a system, so LACP is off; "
                "valid: six hexadecimal octets, not all zero",
                name,
                *system_id
            ));
            bond.lacp_system_id.reset();
            bond.lacp = LacpMode::off;
        }
    }
    if (const std::string* detect = find_option(options, "bond-detect-mode");
        detect != nullptr && *detect != "carrier" && *detect != "miimon") {
        warnings.push_back(fmt::format(
            "port {}: unsupported bond-detect-mode {}, defaulting to carrier", name, *detect
        ));
    }
    return bond;
}

LacpPortConfig read_ovsdb_lacp(const ovsdb::Row& interface) {
    const OvsdbOptions options = ovsdb::column(interface, "other_config").map();
    const auto number = [&](const char* key, std::uint16_t otherwise) {
        const std::int64_t value = integer_option(options, key, 0);
        return value >= 1 && value <= 65535 ? static_cast<std::uint16_t>(value) : otherwise;
    };
    LacpPortConfig lacp;
    lacp.port_id = number("lacp-port-id", lacp.port_id);
    lacp.port_priority = number("lacp-port-priority", lacp.port_priority);
    lacp.aggregation_key = number("lacp-aggregation-key", lacp.aggregation_key);
    return lacp;
}

namespace {

/// A DPDK device name of the interface's own, the same at every start.
std::string vhost_device(const std::string& name) {
    const bool plain =
        name.size() <= kVhostNameMax && std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                   c == '.' || c == '_' || c == '-';
        });
    if (plain) {
        return "net_vhost_" + name;
    }
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a.
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    return fmt::format("net_vhost_{:016x}", hash);
}

OvsdbDevice
read_dpdk(const OvsdbOptions& options, PortConfig port, std::vector<std::string>& warnings) {
    const std::string* devargs = find_option(options, "dpdk-devargs");
    if (devargs == nullptr || devargs->empty() || devargs->starts_with(',')) {
        return {
            std::nullopt,
            fmt::format(
                "{}: dpdk type requires 'dpdk-devargs'; valid: a DPDK device such as 0000:03:00.0",
                port.name
            )};
    }
    port.kind = PortKind::dpdk;
    port.devargs = *devargs;
    const std::int64_t queues = integer_option(options, "n_rxq", 0);
    constexpr auto kMax = static_cast<std::int64_t>(dataplane::kQueuesPerPortMax);
    if (queues > kMax) {
        warnings.push_back(
            fmt::format("{}: n_rxq={} is above {}, which is taken", port.name, queues, kMax)
        );
    }
    port.rx_queues = static_cast<std::uint32_t>(std::clamp<std::int64_t>(queues, 0, kMax));
    return {std::move(port), {}};
}

OvsdbDevice read_vhost(const OvsdbOptions& options, PortConfig port, std::uint32_t workers) {
    const std::string* path = find_option(options, "vhost-server-path");
    if (path == nullptr || path->empty() || path->find(',') != std::string::npos) {
        return {
            std::nullopt,
            fmt::format(
                "{}: dpdkvhostuserclient type requires 'vhost-server-path'; valid: the path of the "
                "socket that the virtual machine listens on, without comma",
                port.name
            )};
    }
    port.kind = PortKind::dpdk;
    port.devargs = fmt::format(
        "{},iface={},client=1,queues={}",
        vhost_device(port.name),
        *path,
        std::clamp<std::uint32_t>(workers, 1, dataplane::kQueuesPerPortMax)
    );
    return {std::move(port), {}};
}

OvsdbDevice read_patch(const OvsdbOptions& options, PortConfig port) {
    const std::string* peer = find_option(options, "peer");
    std::string error;
    if (peer == nullptr) {
        error = "patch type requires valid 'peer' argument";
    } else if (options.size() > 1) {
        error = "patch type takes only a 'peer' argument";
    } else if (*peer == port.name) {
        error = "patch peer must not be self";
    }
    if (!error.empty()) {
        return {std::nullopt, port.name + ": " + error};
    }
    port.kind = PortKind::patch;
    port.peer = *peer;
    return {std::move(port), {}};
}

/// Of an internal interface.
std::optional<tunnels::MacAddress>
mac_of(const ovsdb::Row& interface, const std::string& name, std::vector<std::string>& warnings) {
    const std::optional<std::string> text = ovsdb::column(interface, "mac").string();
    const std::optional<tunnels::MacAddress> mac = text ? parse_ovsdb_mac(*text) : std::nullopt;
    if (mac && (mac->is_group() || mac->is_zero())) {
        warnings.push_back(fmt::format(
            "interface {}: cannot set MAC to {} address",
            name,
            mac->is_zero() ? "all zero" : "multicast"
        ));
        return std::nullopt;
    }
    return mac;
}

OvsdbDevice could_not_open(const std::string& name, std::string_view why) {
    return {std::nullopt, fmt::format("could not open network device {} ({})", name, why)};
}

}  // namespace

std::string_view device_name_problem(std::string_view name) {
    if (name.size() > kDeviceNameMax) {
        return "File name too long";
    }
    const bool valid = !name.empty() && name != "." && name != ".." &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                           return c > ' ' && c <= '~' && c != '/' && c != ':';
                       });
    return valid ? "" : "Invalid argument";
}

std::optional<std::uint32_t> read_ovsdb_mtu(
    const ovsdb::Row& interface,
    const std::string& name,
    bool is_tap,
    std::vector<std::string>& warnings
) {
    const std::optional<std::int64_t> mtu = ovsdb::column(interface, "mtu_request").integer();
    if (!mtu) {
        return std::nullopt;
    }
    const std::int64_t max = is_tap ? kTapMtuMax : kMtuMax;
    if (*mtu < kMtuMin || *mtu > max) {
        warnings.push_back(fmt::format(
            "interface {}: mtu_request={} is out of range; valid: {}-{}", name, *mtu, kMtuMin, max
        ));
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(*mtu);
}

OvsdbDevice read_ovsdb_device(
    const ovsdb::Row& interface,
    const std::string& name,
    std::uint32_t workers,
    std::vector<std::string>& warnings
) {
    const std::string type = ovsdb::column(interface, "type").string().value_or("");
    const OvsdbOptions options = ovsdb::column(interface, "options").map();
    PortConfig port;
    port.name = name;
    if (type == "patch") {
        return read_patch(options, std::move(port));
    }
    if (type == "dpdk" || type == "dpdkvhostuserclient") {
        port.mtu = read_ovsdb_mtu(interface, name, false, warnings);
        return type == "dpdk" ? read_dpdk(options, std::move(port), warnings)
                              : read_vhost(options, std::move(port), workers);
    }
    const bool is_system = type.empty() || type == "system";
    const bool is_tap = type == "internal" || type == "tap";
    if (!is_system && !is_tap) {
        return could_not_open(name, "Address family not supported by protocol");
    }
    if (const std::string_view problem = device_name_problem(name); !problem.empty()) {
        return could_not_open(name, is_system ? "No such device" : problem);
    }
    if (!options.empty()) {
        warnings.push_back(
            fmt::format("{}: options have no effect on an interface of this type", name)
        );
    }
    port.kind = is_tap ? PortKind::tap : PortKind::linux_interface;
    port.interface = name;
    port.hotplug = is_system;
    port.mtu = read_ovsdb_mtu(interface, name, is_tap, warnings);
    if (type == "internal") {
        port.mac = mac_of(interface, name, warnings);
    }
    return {std::move(port), {}};
}

}  // namespace culvert::ctl
