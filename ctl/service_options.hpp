// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of ovs-ctl(8) that culvert-ctl start, stop, restart and the like take, and where
// files are. Values; any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ctl/local_command.hpp"
#include "ctl/ovs_folders.hpp"

namespace culvert::ctl {

/// From the environment (OVS_RUNDIR, OVS_LOGDIR, OVS_DBDIR, OVS_SYSCONFDIR, OVS_PKGDATADIR,
/// OVS_SBINDIR), else where Debian's packages have them.
struct ServicePaths {
    OvsFolders folders;
    std::string pkgdatadir;
    std::string vswitchd;  ///< culvertd by the name ovs-vswitchd.

    [[nodiscard]] static ServicePaths from_environment();
};

struct ServiceOptions {
    ServicePaths paths;
    std::string system_id;  ///< "random": of the file system-id.conf, which is made if need be.
    std::string system_type;
    std::string system_version;
    std::vector<std::pair<std::string, std::string>> external_ids;
    bool delete_bridges = false;
    bool delete_transient_ports = false;
    std::string daemon_cwd = "/";
    bool force_corefiles = true;
    bool mlockall = true;
    bool self_confinement = true;
    bool monitor = true;
    bool ovsdb_server = true;
    bool ovs_vswitchd = true;
    int ovsdb_server_priority = -10;
    int ovs_vswitchd_priority = -10;
    std::vector<std::string> ovsdb_server_wrapper;  ///< "valgrind" and "strace" become commands.
    std::vector<std::string> ovs_vswitchd_wrapper;
    std::vector<std::string> ovsdb_server_options;
    std::vector<std::string> ovs_vswitchd_options;
    bool full_hostname = true;
    bool record_hostname = true;
    std::string db_file;
    std::string db_sock;
    std::string db_schema;
    std::vector<std::string> extra_dbs;
};

/// The entries of the command line.
[[nodiscard]] const std::vector<OptionEntry>& service_option_entries();

[[nodiscard]] Checked<ServiceOptions> read_service_options(const LocalCall& call);

}  // namespace culvert::ctl
