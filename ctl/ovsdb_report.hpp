// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the switch writes back into an Open_vSwitch database: for each row the columns that are the
// switch's own, as they should read now. ovsdb_control.hpp writes what differs from the replica.
// Control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include "ctl/ofports.hpp"
#include "ctl/ovsdb_configuration.hpp"
#include "ctl/switch.hpp"

namespace culvert::ctl {

using TableAndRow = std::pair<std::string, ovsdb::Uuid>;
using Report = std::map<TableAndRow, ovsdb::Row>;

struct ReportSource {
    const OvsdbConfiguration& configuration;
    const Switch& switch_;
    const Ofports& ofports;
    /// Interface name -> why it could not be opened, in OVS's words.
    const std::map<std::string, std::string>& failures;
    const std::string& installation_uuid;
};

/// Everything but counters: Bridge {datapath_id, datapath_version, status}, Port
/// {bond_active_slave, status}, Interface {ofport, error, status, admin_state, link_state,
/// link_resets, link_speed, duplex, mtu, mac_in_use, ifindex, lacp_current}, Open_vSwitch
/// {datapath_types, iface_types, dpdk_initialized, dpdk_version}; not cur_cfg.
[[nodiscard]] Report status_report(const ReportSource& source);

/// Interface.statistics, Port.statistics, and Open_vSwitch.statistics when enabled (else empty).
[[nodiscard]] Report statistics_report(const ReportSource& source);

/// "update" operations (RFC 7047 section 5.2.3) for the columns that differ from the replica's; an
/// empty array when nothing does.
[[nodiscard]] nlohmann::json operations(const Report& report, const ovsdb::Replica& replica);

}  // namespace culvert::ctl
