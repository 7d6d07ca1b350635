// SPDX-License-Identifier: GPL-2.0-or-later
//
// Figures of the host for Open_vSwitch.statistics (ovs-vswitchd.conf.db(5)): processors, load,
// memory, the daemons of Open vSwitch, file systems. Control thread.
#pragma once

#include <map>
#include <string>

namespace culvert::ctl {

/// Where the figures come from.
struct SystemFiles {
    std::string run_directory = "/var/run/openvswitch";  ///< Of the daemons' pidfiles.
    std::string proc = "/proc";
};

/// What cannot be read is left out.
[[nodiscard]] std::map<std::string, std::string> system_statistics(const SystemFiles& files);

}  // namespace culvert::ctl
