// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the row of table Open_vSwitch and the other_config of a Bridge say, as settings of the
// desired state; and what columns say that Culvert cannot do. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/config.hpp"
#include "ctl/ovsdb/value.hpp"
#include "ctl/ovsdb_configuration.hpp"

namespace culvert::ctl {

/// Null when the database has no such row (yet).
[[nodiscard]] const ovsdb::Rows::value_type* ovsdb_root(const ovsdb::Replica& replica);

/// Everything of the configuration that is in the root row, but bridges. `base` as for
/// make_configuration().
void read_ovsdb_root(
    const ovsdb::Replica& replica, const DesiredState& base, OvsdbConfiguration& configuration
);

/// Ages and sizes; name and local port are left alone.
void read_ovsdb_bridge(
    const ovsdb::Row& row,
    OvsdbBridge& bridge,
    BridgeConfig& config,
    std::vector<std::string>& warnings
);

/// A warning for each column of the row that asks for what is not there.
void warn_of_ignored_columns(
    std::string_view table,
    const ovsdb::Row& row,
    const std::string& name,
    std::vector<std::string>& warnings
);

}  // namespace culvert::ctl
