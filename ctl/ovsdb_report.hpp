// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the switch writes back into an Open_vSwitch database: for each row the columns that are the
// switch's own, as they should read now. ovsdb_control.hpp writes what differs from the replica.
// Nothing here asks the system: what it says is in the model, the mirror and the counters already,
// but for the losses of sockets and DPDK devices. Control thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include "ctl/link_statistics.hpp"
#include "ctl/ofports.hpp"
#include "ctl/ovsdb_configuration.hpp"
#include "ctl/switch_model.hpp"
#include "ctl/totals.hpp"
#include "ctl/underlay.hpp"

namespace culvert::ctl {

using TableAndRow = std::pair<std::string, ovsdb::Uuid>;
using Report = std::map<TableAndRow, ovsdb::Row>;

struct ReportSource {
    const OvsdbConfiguration& configuration;
    const SwitchModel& model;
    const Ofports& ofports;
    const Underlay& underlay;
    const std::string& installation_uuid;
};

struct CounterSource {
    std::function<PortTotals(const SwitchPort&)> totals;
    LinkStatisticsMap links;                    ///< What is not there is said by `totals` alone.
    std::map<std::string, std::string> system;  ///< Open_vSwitch.statistics.
};

/// Ports of a model by name, for reports over all of them.
class PortsByName {
public:
    explicit PortsByName(const SwitchModel& model);
    /// Null while the interface has no port.
    [[nodiscard]] const SwitchPort* find(const OvsdbInterface& interface) const;
    /// Anything but a bridge's own port: a device, a tunnel, a bond.
    [[nodiscard]] const SwitchPort* find(const std::string& name) const;

private:
    std::unordered_map<std::string, const SwitchPort*> ports_;
    std::unordered_map<std::string, const SwitchPort*> locals_;
};

/// Everything but counters: Bridge {datapath_id, datapath_version, status, rstp_status}, Port
/// {bond_active_slave, status, rstp_status}, Interface {ofport, error, status, admin_state,
/// link_state, link_resets, link_speed, duplex, mtu, mac_in_use, ifindex, lacp_current},
/// Open_vSwitch {datapath_types, iface_types, dpdk_initialized, dpdk_version}; not cur_cfg. Of an
/// interface that is not there: ofport -1, why, and the rest empty, counters too.
[[nodiscard]] Report status_report(const ReportSource& source);

/// Interface.statistics, Port.statistics, and Open_vSwitch.statistics when enabled (else empty).
[[nodiscard]] Report statistics_report(const ReportSource& source, const CounterSource& counters);

/// Whether the schema of the database has a column.
using HasColumn = std::function<bool(const std::string& table, const std::string& column)>;

/// "update" operations (RFC 7047 section 5.2.3) for the columns that differ from the replica's, one
/// for each row; an empty array when nothing does. Rows that the replica has not, and columns that
/// the database has not, are left out.
[[nodiscard]] nlohmann::json
operations(const Report& report, const ovsdb::Replica& replica, const HasColumn& has_column);

}  // namespace culvert::ctl
