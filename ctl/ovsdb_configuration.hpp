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
#include "ctl/ovsdb/client.hpp"
#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl {

/// Rows that stand in the desired state, or do not and have an error.
struct OvsdbInterface {
    ovsdb::Uuid uuid;
    std::string name;    ///< Interface.name: the name of the port or tunnel in the state.
    std::string type;    ///< As the database has it; "" for the bridge's own too.
    std::string port;    ///< Port.name, which may differ.
    std::string bridge;  ///< Bridge.name.
    bool local = false;  ///< The bridge's own: LocalPortConfig.
    std::string error;   ///< Why it is not in the state; empty: it is.
    /// It is not in the state and has no error either (a reserved name, as in OVS): ofport -1.
    bool ignored = false;
    std::optional<std::uint16_t> ofport_request;
    std::optional<std::uint16_t> ofport_before;  ///< Interface.ofport, when it can be one.
};

struct OvsdbPort {
    ovsdb::Uuid uuid;
    std::string name;
    std::string bridge;
    std::vector<std::string> interfaces;  ///< Names.
    bool bond = false;
};

struct OvsdbBridge {
    ovsdb::Uuid uuid;
    std::string name;
    std::string datapath_type;                  ///< "system" or "netdev".
    std::optional<tunnels::MacAddress> hwaddr;  ///< other_config:hwaddr, valid.
    std::string datapath_id_config;             ///< other_config:datapath-id, valid; else empty.
    bool fail_secure = false;
    bool in_state = false;  ///< False: it has an error (logged), its interfaces too.
};

struct OvsdbConfiguration {
    DesiredState state;
    ovsdb::Uuid root;  ///< The row of Open_vSwitch; empty text: there is none (yet).
    std::int64_t next_cfg = 0;
    std::int64_t cur_cfg = 0;
    bool flow_restore_wait = false;
    bool enable_statistics = false;
    std::uint32_t stats_update_interval_ms = 5000;
    std::vector<OvsdbBridge> bridges;
    std::vector<OvsdbPort> ports;
    std::vector<OvsdbInterface> interfaces;
    ovsdb::TlsFiles tls;                ///< The SSL table.
    std::vector<std::string> warnings;  ///< For the log; the same ones again are not said again.
};

/// The columns that have to be monitored: those that are read, and those that are written back.
[[nodiscard]] const ovsdb::Wanted& wanted_columns();

/// `base` has what the database does not say: daemon, dpdk, workers, flow_cache, firewall.
[[nodiscard]] OvsdbConfiguration
make_configuration(const ovsdb::Replica& replica, const DesiredState& base);

/// Requests for Ofports::assign, for the interfaces that are in the state.
[[nodiscard]] std::vector<Ofports::Request> ofport_requests(const OvsdbConfiguration& configuration
);

/// The datapath id of a bridge (16 hexadecimal digits): other_config:datapath-id; else on
/// XenServer, with hwaddr set, the first six bytes of SHA-1 of "INSTALLATION_UUID,BRIDGE" as a
/// local unicast address (ovs: vswitchd/xenserver.c); else the local port's MAC.
/// `installation_uuid` is empty on other hosts.
[[nodiscard]] std::string datapath_id(
    const OvsdbBridge& bridge, const tunnels::MacAddress& mac, const std::string& installation_uuid
);

/// INSTALLATION_UUID of /etc/xensource-inventory, or nothing.
[[nodiscard]] std::string read_installation_uuid(const std::string& inventory_path);

}  // namespace culvert::ctl
