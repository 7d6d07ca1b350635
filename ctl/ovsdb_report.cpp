// SPDX-License-Identifier: GPL-2.0-or-later
//
// Status as Open vSwitch 3.1 writes it: the same keys, types and empty values, so that what reads
// it need not know which switch there is. Counters are in ovsdb_statistics.cpp.
#include "ctl/ovsdb_report.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "ctl/open_failure.hpp"
#include "dataplane/eal.hpp"

namespace culvert::ctl {

namespace {

using ovsdb::Atom;
using ovsdb::Datum;
using ovsdb::Row;
using Status = std::map<std::string, std::string>;

constexpr std::array<std::string_view, 11> kInterfaceTypes{
    "dpdk",
    "dpdkvhostuserclient",
    "geneve",
    "gre",
    "internal",
    "ip6gre",
    "lisp",
    "patch",
    "system",
    "tap",
    "vxlan"};
static_assert(std::is_sorted(kInterfaceTypes.begin(), kInterfaceTypes.end()));

/// What an interface that is not there has none of.
constexpr std::array<std::string_view, 9> kInterfaceStatus{
    "admin_state",
    "duplex",
    "ifindex",
    "lacp_current",
    "link_resets",
    "link_speed",
    "link_state",
    "mac_in_use",
    "mtu"};

constexpr std::uint64_t kBitsPerMegabit = 1'000'000;
constexpr const char* kVhostType = "dpdkvhostuserclient";
constexpr std::int64_t kNoOfport = -1;

Datum text(std::string value) {
    return ovsdb::set_of(Atom(std::move(value)));
}

Datum number(std::uint64_t value) {
    return ovsdb::set_of(Atom(static_cast<std::int64_t>(value)));
}

Datum up_or_down(bool up) {
    return text(up ? "up" : "down");
}

Datum no_pairs() {
    return ovsdb::map_of(Status{});
}

/// The value of a key in "net_vhost0,iface=/run/x.sock,client=1"; empty when it is not there.
std::string device_argument(const std::string& devargs, const std::string& key) {
    const std::string wanted = "," + key + "=";
    const std::size_t at = devargs.find(wanted);
    if (at == std::string::npos) {
        return {};
    }
    const std::size_t from = at + wanted.size();
    return devargs.substr(from, devargs.find(',', from) - from);
}

/// Tunnels and patch ports have no device and so no address; each has one that no other has, the
/// same at each start (FNV-1a of the name), local and unicast.
tunnels::MacAddress made_up_mac(const std::string& name) {
    constexpr std::uint64_t kOffsetBasis = 0xcbf29ce484222325U;
    constexpr std::uint64_t kPrime = 0x100000001b3U;
    std::uint64_t hash = kOffsetBasis;
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    }
    tunnels::MacAddress mac;
    for (std::uint8_t& byte : mac.bytes) {
        byte = static_cast<std::uint8_t>(hash & 0xffU);
        hash >>= 8U;
    }
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfcU) | 0x02U);
    return mac;
}

Status tunnel_status(const SwitchPort& port, const Underlay& underlay) {
    Status status;
    if (const auto egress = underlay.link(port.resolution.egress_ifindex)) {
        status["tunnel_egress_iface"] = egress->name;
        status["tunnel_egress_iface_carrier"] = egress->running ? "up" : "down";
    }
    if (port.encryption) {
        status.merge(interface_status_of(*port.encryption));
    }
    return status;
}

Status vhost_status(const SwitchPort& port) {
    const bool client = device_argument(port.config.devargs, "client") == "1";
    Status status{
        {"mode", client ? "client" : "server"}, {"status", port.up ? "connected" : "disconnected"}};
    if (port.up) {
        status["socket"] = device_argument(port.config.devargs, "iface");
        status["n_rxq"] = std::to_string(port.status.rx_queues);
        status["n_txq"] = std::to_string(port.status.tx_queues);
        if (port.numa_node >= 0) {
            status["numa"] = std::to_string(port.numa_node);
        }
    }
    return status;
}

Status dpdk_status(const SwitchPort& port) {
    constexpr const char* kEthernet = "6";  // ifType ethernetCsmacd (RFC 3635 section 3.2.4).
    return {
        {"driver_name", port.driver},
        {"if_descr", dataplane::dpdk_version() + " " + port.driver},
        {"if_type", kEthernet},
        {"n_rxq", std::to_string(port.status.rx_queues)},
        {"n_txq", std::to_string(port.status.tx_queues)},
        {"numa_id", std::to_string(port.numa_node)}};
}

Status
interface_status(const OvsdbInterface& row, const SwitchPort& port, const Underlay& underlay) {
    if (port.role == PortRole::tunnel) {
        return tunnel_status(port, underlay);
    }
    if (port.config.kind == PortKind::patch) {
        return {};
    }
    if (port.config.kind == PortKind::dpdk) {
        return row.type == kVhostType ? vhost_status(port) : dpdk_status(port);
    }
    if (const auto& driver = port.status.facts.driver) {
        return {
            {"driver_name", driver->name},
            {"driver_version", driver->version},
            {"firmware_version", driver->firmware_version}};
    }
    return {};
}

class StatusReport {
public:
    explicit StatusReport(const ReportSource& source) : source_(source), ports_(source.model) {}

    void add_root();
    void add(const OvsdbBridge& bridge);
    void add(const OvsdbPort& port);
    void add(const OvsdbInterface& interface);

    Report report;

private:
    static void add_absent(const std::string& error, Row& row);
    void add_present(const OvsdbInterface& interface, const SwitchPort& port, Row& row) const;

    const ReportSource& source_;
    PortsByName ports_;
};

void StatusReport::add_root() {
    const ovsdb::Uuid& uuid = source_.configuration.root;
    if (uuid.text.empty()) {
        return;
    }
    std::vector<Atom> types;
    types.reserve(kInterfaceTypes.size());
    for (const std::string_view type : kInterfaceTypes) {
        types.emplace_back(std::string(type));
    }
    Row& row = report[{"Open_vSwitch", uuid}];
    row["datapath_types"] = ovsdb::set_of({std::string("netdev"), std::string("system")});
    row["iface_types"] = ovsdb::set_of(std::move(types));
    row["dpdk_initialized"] = ovsdb::set_of(Atom(true));
    row["dpdk_version"] = text(dataplane::dpdk_version());
}

void StatusReport::add(const OvsdbBridge& bridge) {
    Row& row = report[{"Bridge", bridge.uuid}];
    row["status"] = no_pairs();
    row["rstp_status"] = no_pairs();
    const auto found = source_.model.bridges.find(bridge.name);
    if (!bridge.in_state || found == source_.model.bridges.end()) {
        row["datapath_id"] = ovsdb::empty_set();
        row["datapath_version"] = text("");
        return;
    }
    row["datapath_id"] = text(datapath_id(bridge, source_.installation_uuid));
    row["datapath_version"] = text("<built-in>");
}

void StatusReport::add(const OvsdbPort& port) {
    Row& row = report[{"Port", port.uuid}];
    row["status"] = no_pairs();
    row["rstp_status"] = no_pairs();
    if (!port.bond) {
        row["bond_active_slave"] = ovsdb::empty_set();
        return;
    }
    const SwitchPort* bond = ports_.find(port.name);
    if (bond != nullptr && bond->bond && bond->bond->was_active) {
        row["bond_active_slave"] = text(bond->mac.to_string());
    }
}

void StatusReport::add_absent(const std::string& error, Row& row) {
    row["ofport"] = ovsdb::set_of(Atom(kNoOfport));
    row["error"] = error.empty() ? ovsdb::empty_set() : text(error);
    row["status"] = no_pairs();
    row["statistics"] = no_pairs();
    for (const std::string_view name : kInterfaceStatus) {
        row[std::string(name)] = ovsdb::empty_set();
    }
}

void StatusReport::add_present(const OvsdbInterface& interface, const SwitchPort& port, Row& row)
    const {
    // Where a tunnel leads is in `status`.
    const std::string& error =
        interface.complaint.empty() && port.has_a_device() ? port.trouble : interface.complaint;
    row["error"] = error.empty() ? ovsdb::empty_set() : text(error);
    row["status"] = ovsdb::map_of(interface_status(interface, port, source_.underlay));
    for (const std::string_view name : kInterfaceStatus) {
        row[std::string(name)] = ovsdb::empty_set();
    }
    row["ifindex"] = number(static_cast<std::uint64_t>(port.ifindex));
    if (!port.has_a_device()) {
        row["admin_state"] = up_or_down(true);
        row["link_state"] = up_or_down(true);
        row["link_resets"] = number(0);
        row["mac_in_use"] = text(made_up_mac(port.name).to_string());
        return;
    }
    row["admin_state"] = up_or_down(port.status.enabled);
    row["link_state"] = up_or_down(port.status.running);
    row["link_resets"] = number(port.status.link_resets);
    row["mac_in_use"] = text(port.mac.to_string());
    if (port.lacp_current) {
        row["lacp_current"] = ovsdb::set_of(Atom(*port.lacp_current));
    }
    if (port.mtu != 0) {
        row["mtu"] = number(port.mtu);
    }
    const LinkFacts& facts = port.status.facts;
    if (facts.speed_mbps && interface.type != kVhostType) {
        row["link_speed"] = number(*facts.speed_mbps * kBitsPerMegabit);
    }
    if (facts.full_duplex && interface.type != kVhostType) {
        row["duplex"] = text(*facts.full_duplex ? "full" : "half");
    }
}

void StatusReport::add(const OvsdbInterface& interface) {
    const SwitchPort* port = ports_.find(interface);
    if (!interface.in_state()) {
        add_absent(interface.error, report[{"Interface", interface.uuid}]);
        return;
    }
    const bool lacks_device = port != nullptr && port->has_a_device() && port->device == nullptr;
    if (port == nullptr || (lacks_device && port->trouble.empty())) {
        return;  // It is not applied yet.
    }
    Row& row = report[{"Interface", interface.uuid}];
    if (lacks_device) {
        add_absent(open_failure(port->config, interface.name, port->trouble), row);
        return;
    }
    const auto ofport = source_.ofports.find(interface.name);
    if (!ofport) {
        add_absent(
            "could not add network device " + interface.name +
                " to ofproto (No space left on device)",
            row
        );
        return;
    }
    add_present(interface, *port, row);
    row["ofport"] = number(*ofport);
}

/// <where> of one row (RFC 7047 section 5.1).
nlohmann::json where_uuid(const ovsdb::Uuid& uuid) {
    auto condition = nlohmann::json::array({"_uuid", "==", to_json(ovsdb::set_of(Atom(uuid)))});
    return nlohmann::json::array({std::move(condition)});
}

}  // namespace

PortsByName::PortsByName(const SwitchModel& model) {
    ports_.reserve(model.ports.size());
    for (const auto& [index, port] : model.ports) {
        (port.role == PortRole::local ? locals_ : ports_).emplace(port.name, &port);
    }
}

const SwitchPort* PortsByName::find(const OvsdbInterface& interface) const {
    if (!interface.local) {
        return find(interface.name);
    }
    const auto found = locals_.find(interface.name);
    return found == locals_.end() ? nullptr : found->second;
}

const SwitchPort* PortsByName::find(const std::string& name) const {
    const auto found = ports_.find(name);
    return found == ports_.end() ? nullptr : found->second;
}

Report status_report(const ReportSource& source) {
    StatusReport status(source);
    status.add_root();
    for (const OvsdbBridge& bridge : source.configuration.bridges) {
        status.add(bridge);
    }
    for (const OvsdbPort& port : source.configuration.ports) {
        status.add(port);
    }
    for (const OvsdbInterface& interface : source.configuration.interfaces) {
        status.add(interface);
    }
    return std::move(status.report);
}

nlohmann::json
operations(const Report& report, const ovsdb::Replica& replica, const HasColumn& has_column) {
    nlohmann::json all = nlohmann::json::array();
    for (const auto& [place, columns] : report) {
        const auto& [table, uuid] = place;
        const Row* before = replica.find(table, uuid);
        if (before == nullptr) {
            continue;
        }
        nlohmann::json changes = nlohmann::json::object();
        for (const auto& [name, value] : columns) {
            if (ovsdb::column(*before, name) != value && has_column(table, name)) {
                changes[name] = to_json(value);
            }
        }
        if (!changes.empty()) {
            all.push_back(
                {{"op", "update"},
                 {"table", table},
                 {"where", where_uuid(uuid)},
                 {"row", std::move(changes)}}
            );
        }
    }
    return all;
}

}  // namespace culvert::ctl
