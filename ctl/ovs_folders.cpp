// SPDX-License-Identifier: GPL-2.0-or-later
//
// See ovs_folders.hpp.
#include "ctl/ovs_folders.hpp"

namespace culvert::ctl {

OvsFolders find_ovs_folders(const std::function<const char*(const char*)>& environment) {
    const auto find = [&](const char* name, const std::string& otherwise) {
        const char* value = environment(name);
        return value != nullptr && *value != '\0' ? std::string(value) : otherwise;
    };
    OvsFolders folders;
    folders.run = find("OVS_RUNDIR", "/var/run/openvswitch");
    folders.log = find("OVS_LOGDIR", "/var/log/openvswitch");
    folders.configuration = find("OVS_SYSCONFDIR", "/etc") + "/openvswitch";
    folders.database = find("OVS_DBDIR", folders.configuration);
    folders.state = find("OVS_DBDIR", "");
    return folders;
}

}  // namespace culvert::ctl
