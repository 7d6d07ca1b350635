// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where Open vSwitch's tools, and the daemon in ovs-vswitchd's place, have their files. Any thread.
#pragma once

#include <functional>
#include <string>

namespace culvert::ctl {

/// Where OVS's files are: the environment's OVS_RUNDIR, OVS_LOGDIR, OVS_DBDIR, OVS_SYSCONFDIR, or
/// the places of Debian's and XenServer's packages.
struct OvsFolders {
    std::string run;
    std::string log;
    std::string database;
    std::string configuration;  ///< .../openvswitch
    std::string state;          ///< OVS_DBDIR, for what must outlive the daemon; empty: unset.
};
[[nodiscard]] OvsFolders find_ovs_folders(const std::function<const char*(const char*)>& environment
);

}  // namespace culvert::ctl
