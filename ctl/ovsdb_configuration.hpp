// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an Open_vSwitch database (vswitch.ovsschema, ovs-vswitchd.conf.db(5)) wants of the switch,
// as the same desired state that a TOML file makes, and what becomes of each row. A row that cannot
// be had is left out of the state and has an error; nothing else is lost by it. Pure. Control
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ctl/config.hpp"
#include "ctl/ofports.hpp"
#include "ctl/openflow/session.hpp"
#include "ctl/ovsdb/client.hpp"
#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl {

/// Rows that stand in the desired state, or do not and have an error. Rows of a bridge that is not
/// made are not listed: nothing is written into them, as by Open vSwitch. An interface of several
/// ports is the first one's.
struct OvsdbInterface {
    ovsdb::Uuid uuid;
    std::string name;    ///< Interface.name: the name of the port or tunnel in the state.
    std::string type;    ///< As the database has it.
    std::string port;    ///< Port.name, which may differ.
    std::string bridge;  ///< Bridge.name.
    bool local = false;  ///< The bridge's own: LocalPortConfig.
    std::string error;   ///< Why it is not in the state; empty: it is, unless `ignored`.
    /// For the column `error` of an interface that is in the state: a patch port without a usable
    /// peer.
    std::string complaint;
    /// It is not in the state and has no error either (a reserved name, as in OVS): ofport -1.
    bool ignored = false;
    [[nodiscard]] bool in_state() const { return error.empty() && !ignored; }
    std::optional<std::uint16_t> ofport_request;
    std::optional<std::uint16_t> ofport_before;  ///< Interface.ofport, when it can be one.
};

struct OvsdbPort {
    ovsdb::Uuid uuid;
    std::string name;
    std::string bridge;
    std::vector<std::string> interfaces;  ///< Names, sorted.
    bool bond = false;                    ///< It is a bond of the state, of the same name.
    bool fake_bridge = false;
    std::optional<std::uint16_t> tag;
    std::optional<tunnels::MacAddress> mac;         ///< Stands for the port in member_mac().
    std::optional<tunnels::MacAddress> chosen_mac;  ///< By choose_addresses(), for a fake bridge.
};

struct OvsdbBridge {
    ovsdb::Uuid uuid;
    std::string name;
    std::string datapath_type;                  ///< "system" or "netdev".
    std::optional<tunnels::MacAddress> hwaddr;  ///< other_config:hwaddr, valid.
    tunnels::MacAddress mac;                    ///< See choose_addresses().
    std::string datapath_id_config;             ///< other_config:datapath-id, valid; else empty.
    openflow::Versions openflow = openflow::kAllVersions;  ///< The column protocols.
    bool fail_secure = false;
    bool in_state = false;  ///< False: a warning says why. Its ports are not listed.
};

struct OvsdbConfiguration {
    DesiredState state;
    ovsdb::Uuid root;  ///< The row of Open_vSwitch; empty text: there is none (yet).
    std::int64_t next_cfg = 0;
    std::int64_t cur_cfg = 0;
    /// As the database has it now, and state.hold the same. Once false it stays so for a daemon's
    /// life, which is for the caller to see to.
    bool flow_restore_wait = false;
    bool enable_statistics = false;
    std::uint32_t stats_update_interval_ms = 5000;
    std::vector<OvsdbBridge> bridges;  ///< By name.
    std::vector<OvsdbPort> ports;  ///< Those of a bridge together, in the order of bridges' names.
    std::vector<OvsdbInterface> interfaces;
    ovsdb::TlsFiles tls;                ///< The SSL table.
    std::vector<std::string> warnings;  ///< For the log; the same ones again are not said again.
};

/// The columns that have to be monitored: those that are read, and those that are written back.
[[nodiscard]] const ovsdb::Wanted& wanted_columns();

/// `base` with what other_config says of things that only a start can change: pmd-cpu-mask,
/// dpdk-lcore-mask, dpdk-socket-mem, dpdk-alloc-mem, dpdk-extra, flow-limit, culvert-state-dir.
[[nodiscard]] DesiredState start_options(const ovsdb::Replica& replica, const DesiredState& base);

/// `base` has what the database does not say: daemon, dpdk, workers, flow_cache, firewall, ike.
/// The state always passes validate(). Where start_options() would change `base`, a warning says
/// that a restart is needed.
[[nodiscard]] OvsdbConfiguration
make_configuration(const ovsdb::Replica& replica, const DesiredState& base);

/// Requests for Ofports::assign, for the interfaces that are in the state.
[[nodiscard]] std::vector<Ofports::Request> ofport_requests(const OvsdbConfiguration& configuration
);

/// Knows the addresses of devices.
using MacOf = std::function<std::optional<tunnels::MacAddress>(const std::string& interface)>;

/// The address that Open vSwitch gives a bridge's own interface without hwaddr, or the interface of
/// a fake bridge without `mac`: the lowest of the ports' that is neither local nor multicast. With
/// `tag` only ports of that VLAN count, and those with a `mac` of their own.
[[nodiscard]] std::optional<tunnels::MacAddress> member_mac(
    const OvsdbConfiguration& configuration,
    const std::string& bridge,
    std::optional<std::uint16_t> tag,
    const MacOf& mac_of
);

/// Gives each bridge and fake bridge its address, there and in the state: hwaddr or `mac`; else a
/// member's; else one made of the bridge's UUID. True: the state is another one now.
[[nodiscard]] bool choose_addresses(OvsdbConfiguration& configuration, const MacOf& mac_of);

/// The datapath id of a bridge (16 hexadecimal digits): other_config:datapath-id; else on
/// XenServer, with hwaddr set, the first six bytes of SHA-1 of "INSTALLATION_UUID,BRIDGE" as a
/// local unicast address (ovs: vswitchd/xenserver.c); else the bridge's MAC.
/// `installation_uuid` is empty on other hosts.
[[nodiscard]] std::string
datapath_id(const OvsdbBridge& bridge, const std::string& installation_uuid);

/// INSTALLATION_UUID of /etc/xensource-inventory, or nothing.
[[nodiscard]] std::string read_installation_uuid(const std::string& inventory_path);

}  // namespace culvert::ctl
