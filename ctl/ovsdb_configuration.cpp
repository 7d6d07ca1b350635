// SPDX-License-Identifier: GPL-2.0-or-later
//
// Walks the rows from Open_vSwitch to Bridges, Ports and Interfaces, reads each, and then lets them
// claim what only one can have: a name, a device, the packets of a tunnel, a UDP port. Of two that
// want the same the one that had an OpenFlow port before gets it, as a running switch would have
// it; else the first by name.
#include "ctl/ovsdb_configuration.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "ctl/ovsdb_claims.hpp"
#include "ctl/ovsdb_options.hpp"
#include "ctl/ovsdb_port.hpp"
#include "ctl/ovsdb_settings.hpp"
#include "ctl/ovsdb_tunnel.hpp"
#include "ctl/sentence.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

constexpr std::size_t kNameBytesMax = 63;
constexpr std::int64_t kTagMax = 4095;

/// Prefixes of what Open vSwitch calls its own kernel devices.
constexpr std::array<std::string_view, 10> kReservedPrefixes{
    "genev_sys",
    "gre_sys",
    "vxlan_sys",
    "lisp_sys",
    "stt_sys",
    "erspan_sys",
    "ip6erspan_sys",
    "ip6gre_sys",
    "gtpu_sys",
    "udp_sys"};

bool is_reserved(std::string_view name) {
    return name == "ovs-system" || name == "ovs-netdev" ||
           std::any_of(kReservedPrefixes.begin(), kReservedPrefixes.end(), [&](auto prefix) {
               return name.starts_with(prefix);
           });
}

/// What can stand in a table, a log line and a command.
bool is_usable_name(std::string_view name) {
    return !name.empty() && name.size() <= kNameBytesMax &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return c > ' ' && c <= '~' && c != '/' && c != '\\' && c != '"';
           });
}

std::string text_of_column(const ovsdb::Row& row, std::string_view column) {
    return ovsdb::column(row, column).string().value_or("");
}

std::optional<std::uint16_t> ofport_of(const ovsdb::Row& row, std::string_view column) {
    const std::optional<std::int64_t> number = ovsdb::column(row, column).integer();
    return number && *number >= 1 && *number <= Ofports::kRequestMax
               ? std::optional(static_cast<std::uint16_t>(*number))
               : std::nullopt;
}

/// A row that is referred to, with its name.
struct Named {
    std::string name;
    const ovsdb::Rows::value_type* row;
};

/// The rows of `table` that the column refers to, by name; what does not exist is left out.
std::vector<Named> referred(
    const ovsdb::Replica& replica,
    const ovsdb::Row& from,
    std::string_view column,
    std::string_view table
) {
    std::vector<Named> result;
    const ovsdb::Rows& rows = replica.rows(table);
    for (const ovsdb::Uuid& uuid : ovsdb::column(from, column).uuids()) {
        if (const auto found = rows.find(uuid); found != rows.end()) {
            result.push_back({text_of_column(found->second, "name"), &*found});
        }
    }
    std::sort(result.begin(), result.end(), [](const Named& a, const Named& b) {
        return a.name < b.name;
    });
    return result;
}

/// An interface that may get into the state, if nothing else has what it needs.
struct Candidate {
    std::size_t interface;  ///< Index.
    std::size_t port;
    OvsdbItem item;
    bool admitted = false;
};

class Builder {
public:
    Builder(const ovsdb::Replica& replica, const DesiredState& base)
        : replica_(replica), base_(base) {}

    OvsdbConfiguration build();

private:
    struct PortPlan {
        VlanConfig vlan;
        std::optional<BondConfig> bond;
        bool fake_interface = false;
    };

    void warn(std::string text) { out_.warnings.push_back(std::move(text)); }
    void find_excess_bridges(const std::vector<Named>& bridges);
    void read_bridge(const Named& named);
    [[nodiscard]] std::string bridge_problem(const Named& named, const OvsdbBridge& bridge);
    void read_ports(const Named& named);
    void read_port(const std::string& bridge, const Named& named);
    void read_interface(const Named& named, const std::string& port_error);
    [[nodiscard]] std::string
    read_item(const Named& named, const OvsdbInterface& interface, Candidate& candidate);
    void claim_bond(std::size_t port);
    void claim_all();
    void admit_bonds();
    void admit_bond(std::size_t port, const std::vector<Candidate*>& members);
    void add_fake_interface(const BondConfig& bond);
    void emit();
    void complain_of_patches();

    const ovsdb::Replica& replica_;
    const DesiredState& base_;
    OvsdbConfiguration out_;
    std::vector<PortPlan> plans_;  ///< By index of out_.ports.
    std::vector<Candidate> candidates_;
    std::set<ovsdb::Uuid> taken_rows_;  ///< Ports and Interfaces that are some bridge's already.
    std::set<ovsdb::Uuid> excess_bridges_;
    OvsdbClaims claims_;
    std::unordered_map<std::string, std::size_t> bridges_;  ///< Index in the state.
};

std::string datapath_type_of(const ovsdb::Row& bridge) {
    std::string type = text_of_column(bridge, "datapath_type");
    return type.empty() ? "system" : type;
}

bool has_datapath(const std::string& type) {
    return type == "system" || type == "netdev";
}

/// Of too many, those that the switch has (which it gave a datapath_id) stay: another bridge takes
/// nothing from them.
void Builder::find_excess_bridges(const std::vector<Named>& bridges) {
    std::vector<const Named*> order;
    for (const Named& named : bridges) {
        if (is_usable_name(named.name) && has_datapath(datapath_type_of(named.row->second))) {
            order.push_back(&named);
        }
    }
    std::stable_partition(order.begin(), order.end(), [](const Named* named) {
        return !ovsdb::column(named->row->second, "datapath_id").keys.empty();
    });
    for (std::size_t i = dataplane::kBridgesMax; i < order.size(); ++i) {
        excess_bridges_.insert(order[i]->row->first);
    }
}

std::string Builder::bridge_problem(const Named& named, const OvsdbBridge& bridge) {
    if (!is_usable_name(named.name)) {
        return "ignoring bridge with invalid name " + quote(named.name);
    }
    if (!has_datapath(bridge.datapath_type)) {
        return fmt::format(
            "failed to create bridge {}: Address family not supported by protocol "
            "(datapath_type={}; "
            "valid: system, netdev)",
            named.name,
            bridge.datapath_type
        );
    }
    if (excess_bridges_.contains(bridge.uuid)) {
        return fmt::format(
            "failed to create bridge {}: there are {} bridges, which is the most",
            named.name,
            dataplane::kBridgesMax
        );
    }
    return claims_.claim_name(named.name) ? "" : "bridge " + named.name + " specified twice";
}

void Builder::read_bridge(const Named& named) {
    const ovsdb::Row& row = named.row->second;
    OvsdbBridge bridge;
    bridge.uuid = named.row->first;
    bridge.name = named.name;
    bridge.datapath_type = datapath_type_of(row);
    if (std::string problem = bridge_problem(named, bridge); !problem.empty()) {
        warn(std::move(problem));
        out_.bridges.push_back(std::move(bridge));
        return;
    }
    bridge.in_state = true;
    BridgeConfig config;
    config.name = named.name;
    read_ovsdb_bridge(row, bridge, config, out_.warnings);
    warn_of_ignored_columns("Bridge", row, named.name, out_.warnings);
    bridges_.emplace(named.name, out_.state.bridges.size());
    out_.state.bridges.push_back(std::move(config));
    out_.bridges.push_back(std::move(bridge));
}

void Builder::read_ports(const Named& named) {
    const std::vector<Named> ports = referred(replica_, named.row->second, "ports", "Port");
    for (const Named& port : ports) {
        if (taken_rows_.insert(port.row->first).second) {
            read_port(named.name, port);
        } else {
            warn(fmt::format("bridge {}: port {} is another bridge's", named.name, port.name));
        }
    }
    // With controllers Open vSwitch makes the bridge's own port also when the database has none.
    const bool has_own = std::any_of(ports.begin(), ports.end(), [&](const Named& p) {
        return p.name == named.name;
    });
    if (has_own || ovsdb::column(named.row->second, "controller").keys.empty()) {
        return;
    }
    if (!device_name_problem(named.name).empty() || is_reserved(named.name)) {
        return;
    }
    BridgeConfig& config = out_.state.bridges[bridges_.at(named.name)];
    config.local.emplace().up = false;
    config.local->mac = out_.bridges.back().hwaddr;
    claims_.count();
}

void Builder::read_port(const std::string& bridge, const Named& named) {
    const ovsdb::Row& row = named.row->second;
    OvsdbPort port;
    port.uuid = named.row->first;
    port.name = named.name;
    port.bridge = bridge;
    port.fake_bridge = ovsdb::column(row, "fake_bridge").boolean().value_or(false);
    const std::optional<std::int64_t> tag = ovsdb::column(row, "tag").integer();
    if (tag && *tag >= 0 && *tag <= kTagMax) {
        port.tag = static_cast<std::uint16_t>(*tag);
    }
    if (const auto mac = ovsdb::column(row, "mac").string()) {
        port.mac = parse_ovsdb_mac(*mac);
    }
    warn_of_ignored_columns("Port", row, named.name, out_.warnings);
    OvsdbVlan vlan = read_ovsdb_vlan(row, named.name, out_.warnings);
    PortPlan plan;
    plan.vlan = std::move(vlan.vlan);
    std::vector<Named> interfaces = referred(replica_, row, "interfaces", "Interface");
    std::erase_if(interfaces, [&](const Named& interface) {
        const bool taken = !taken_rows_.insert(interface.row->first).second;
        if (taken) {
            warn(fmt::format("port {}: interface {} is another port's", named.name, interface.name)
            );
        }
        return taken;
    });
    if (interfaces.size() >= 2) {
        plan.bond = read_ovsdb_bond(row, named.name, out_.warnings);
        plan.fake_interface = ovsdb::column(row, "bond_fake_iface").boolean().value_or(false);
        if (vlan.error.empty() && !is_usable_name(named.name)) {
            vlan.error = fmt::format("port {}: invalid name of a bond", quote(named.name));
        }
    } else if (text_of_column(row, "lacp") == "active" || text_of_column(row, "lacp") == "passive") {
        warn(fmt::format("port {}: LACP needs a bond of two or more interfaces", named.name));
    }
    for (const Named& interface : interfaces) {
        port.interfaces.push_back(interface.name);
    }
    out_.ports.push_back(std::move(port));
    plans_.push_back(std::move(plan));
    for (const Named& interface : interfaces) {
        read_interface(interface, vlan.error);
    }
}

/// Of the port that was read last.
void Builder::read_interface(const Named& named, const std::string& port_error) {
    const ovsdb::Row& row = named.row->second;
    OvsdbInterface interface;
    interface.uuid = named.row->first;
    interface.name = named.name;
    interface.type = text_of_column(row, "type");
    interface.port = out_.ports.back().name;
    interface.bridge = out_.ports.back().bridge;
    interface.local = interface.name == interface.bridge;
    interface.ofport_request = ofport_of(row, "ofport_request");
    interface.ofport_before = ofport_of(row, "ofport");
    warn_of_ignored_columns("Interface", row, named.name, out_.warnings);
    Candidate candidate{out_.interfaces.size(), out_.ports.size() - 1, {}};
    if (is_reserved(named.name)) {
        interface.ignored = true;
        warn(fmt::format("could not create interface {}, name is reserved", named.name));
    } else if (!port_error.empty()) {
        interface.error = port_error;
    } else if (!is_usable_name(named.name)) {
        interface.error =
            fmt::format("could not open network device {} (Invalid argument)", named.name);
    } else {
        interface.error = read_item(named, interface, candidate);
    }
    if (interface.in_state()) {
        candidates_.push_back(std::move(candidate));
    }
    out_.interfaces.push_back(std::move(interface));
}

/// The reason why it cannot be had, or nothing.
std::string
Builder::read_item(const Named& named, const OvsdbInterface& interface, Candidate& candidate) {
    const ovsdb::Row& row = named.row->second;
    const PortPlan& plan = plans_.back();
    const bool is_tunnel = is_ovsdb_tunnel_type(interface.type);
    if (plan.bond && (interface.local || is_tunnel || interface.type == "patch")) {
        return fmt::format(
            "{}: cannot be a member of bond {}; valid: interfaces of type system, internal, tap or "
            "dpdk",
            named.name,
            plan.bond->name
        );
    }
    if (interface.local) {
        if (const std::string_view problem = device_name_problem(named.name); !problem.empty()) {
            return fmt::format("could not open network device {} ({})", named.name, problem);
        }
        if (!ovsdb::column(row, "mac").keys.empty()) {
            warn(fmt::format(
                "interface {}: mac is ignored, as it is the bridge's own; valid: "
                "other_config:hwaddr of the bridge",
                named.name
            ));
        }
        LocalPortConfig local;
        local.mac = out_.bridges.back().hwaddr;
        local.mtu = read_ovsdb_mtu(row, named.name, true, out_.warnings);
        local.vlan = plan.vlan;
        local.up = false;
        candidate.item = std::move(local);
        return {};
    }
    if (is_tunnel) {
        OvsdbTunnel read = read_ovsdb_tunnel(
            named.name, interface.type, ovsdb::column(row, "options").map(), out_.state.ike
        );
        std::move(read.warnings.begin(), read.warnings.end(), std::back_inserter(out_.warnings));
        if (!read.tunnel) {
            return read.error;
        }
        read.tunnel->bridge = interface.bridge;
        read.tunnel->vlan = plan.vlan;
        candidate.item = std::move(*read.tunnel);
        return {};
    }
    OvsdbDevice read = read_ovsdb_device(row, named.name, base_.workers.threads(), out_.warnings);
    if (!read.port) {
        return read.error;
    }
    read.port->bridge = interface.bridge;
    if (plan.bond) {
        read.port->lacp = read_ovsdb_lacp(row);  // The VLANs are the bond's.
    } else {
        read.port->vlan = plan.vlan;
    }
    candidate.item = std::move(*read.port);
    return {};
}

void Builder::claim_bond(std::size_t port) {
    if (claims_.claim_bond(out_.ports[port].name)) {
        return;
    }
    warn(fmt::format(
        "port {}: the name is taken, so there is no bond; valid: a name that no bridge has",
        out_.ports[port].name
    ));
    plans_[port].bond.reset();
    for (const Candidate& candidate : candidates_) {
        OvsdbInterface& interface = out_.interfaces[candidate.interface];
        if (candidate.port == port) {
            interface.error = fmt::format(
                "could not add network device {} to ofproto (File exists)", interface.name
            );
        }
    }
}

void Builder::claim_all() {
    for (std::size_t i = 0; i < plans_.size(); ++i) {
        if (plans_[i].bond) {
            claim_bond(i);
        }
    }
    std::vector<Candidate*> order;
    for (Candidate& candidate : candidates_) {
        if (out_.interfaces[candidate.interface].in_state()) {
            order.push_back(&candidate);
        }
    }
    std::stable_partition(order.begin(), order.end(), [&](const Candidate* candidate) {
        return out_.interfaces[candidate->interface].ofport_before.has_value();
    });
    for (Candidate* candidate : order) {
        OvsdbInterface& interface = out_.interfaces[candidate->interface];
        interface.error = claims_.claim(interface.name, candidate->item);
        candidate->admitted = interface.error.empty();
    }
}

void Builder::add_fake_interface(const BondConfig& bond) {
    // In the state ports and bonds share one set of names.
    PortConfig port;
    port.name = bond.name + ".fake";
    port.bridge = bond.bridge;
    port.kind = PortKind::tap;
    port.interface = bond.name;
    port.vlan = bond.vlan;
    if (!device_name_problem(bond.name).empty() || !is_usable_name(port.name) ||
        !claims_.claim(port.name, port).empty()) {
        warn(fmt::format(
            "could not open network device {} (Invalid argument): the bond's fake interface",
            bond.name
        ));
        return;
    }
    out_.state.ports.push_back(std::move(port));
}

void Builder::admit_bond(std::size_t port, const std::vector<Candidate*>& members) {
    BondConfig& bond = *plans_[port].bond;
    bond.bridge = out_.ports[port].bridge;
    bond.vlan = plans_[port].vlan;
    if (members.size() < 2) {
        for (Candidate* member : members) {
            std::get<PortConfig>(member->item).vlan = bond.vlan;
            std::get<PortConfig>(member->item).lacp = {};
        }
        return;
    }
    for (Candidate* member : members) {
        auto& config = std::get<PortConfig>(member->item);
        config.bond = bond.name;
        bond.members.push_back(config.name);
    }
    if (std::find(bond.members.begin(), bond.members.end(), bond.primary) == bond.members.end()) {
        bond.primary.clear();
    }
    if (plans_[port].fake_interface) {
        add_fake_interface(bond);
    }
    out_.ports[port].bond = true;
    out_.state.bonds.push_back(std::move(bond));
}

void Builder::admit_bonds() {
    std::vector<std::vector<Candidate*>> members(out_.ports.size());
    for (Candidate& candidate : candidates_) {
        if (candidate.admitted) {
            members[candidate.port].push_back(&candidate);
        }
    }
    for (std::size_t i = 0; i < plans_.size(); ++i) {
        if (plans_[i].bond) {
            admit_bond(i, members[i]);
        }
    }
}

void Builder::emit() {
    for (Candidate& candidate : candidates_) {
        if (!candidate.admitted) {
            continue;
        }
        const std::string& bridge = out_.interfaces[candidate.interface].bridge;
        if (auto* local = std::get_if<LocalPortConfig>(&candidate.item); local != nullptr) {
            out_.state.bridges[bridges_.at(bridge)].local = std::move(*local);
        } else if (auto* port = std::get_if<PortConfig>(&candidate.item); port != nullptr) {
            out_.state.ports.push_back(std::move(*port));
        } else {
            out_.state.tunnels.push_back(std::get<TunnelConfig>(std::move(candidate.item)));
        }
    }
}

void Builder::complain_of_patches() {
    std::unordered_map<std::string_view, std::string_view> peers;
    for (const PortConfig& port : out_.state.ports) {
        if (port.kind == PortKind::patch) {
            peers.emplace(port.name, port.peer);
        }
    }
    std::unordered_map<std::string_view, std::string_view> types;
    for (const OvsdbBridge& bridge : out_.bridges) {
        types.emplace(bridge.name, bridge.datapath_type);
    }
    for (OvsdbInterface& interface : out_.interfaces) {
        const auto own = interface.in_state() ? peers.find(interface.name) : peers.end();
        if (own == peers.end()) {
            continue;
        }
        const auto other = peers.find(own->second);
        if (other == peers.end() || other->second != interface.name) {
            interface.complaint = fmt::format(
                "No usable peer '{}' exists in '{}' datapath.",
                own->second,
                types.at(interface.bridge)
            );
        }
    }
}

OvsdbConfiguration Builder::build() {
    read_ovsdb_root(replica_, base_, out_);
    const auto* root = ovsdb_root(replica_);
    if (root == nullptr) {
        return std::move(out_);
    }
    // Bridges first: their names count before any interface's.
    const std::vector<Named> bridges = referred(replica_, root->second, "bridges", "Bridge");
    find_excess_bridges(bridges);
    for (const Named& named : bridges) {
        read_bridge(named);
        if (out_.bridges.back().in_state) {
            read_ports(named);
        }
    }
    claim_all();
    admit_bonds();
    emit();
    complain_of_patches();
    return std::move(out_);
}

}  // namespace

OvsdbConfiguration make_configuration(const ovsdb::Replica& replica, const DesiredState& base) {
    return Builder(replica, base).build();
}

std::vector<Ofports::Request> ofport_requests(const OvsdbConfiguration& configuration) {
    std::vector<Ofports::Request> requests;
    for (const OvsdbInterface& interface : configuration.interfaces) {
        if (interface.in_state()) {
            requests.push_back(
                {interface.bridge,
                 interface.name,
                 interface.local,
                 interface.ofport_request,
                 interface.ofport_before}
            );
        }
    }
    return requests;
}

}  // namespace culvert::ctl
