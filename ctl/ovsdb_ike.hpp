// SPDX-License-Identifier: GPL-2.0-or-later
//
// How an Open_vSwitch database asks for encryption: psk, remote_cert and remote_name of a tunnel
// interface, certificate, private_key and ca_cert of the whole switch (ovs-vswitchd.conf.db(5),
// "IPsec"), which ovs-monitor-ipsec reads beside Open vSwitch. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/esp_config.hpp"
#include "ctl/ovsdb_options.hpp"

namespace culvert::ctl {

struct OvsdbIke {
    std::optional<IkeConfig> ike;  ///< Nothing: nobody asks for it, or `error` says why not.
    std::string error;             ///< Without the interface's name, and without its psk.
    std::vector<std::string> warnings;
};

/// Options of a tunnel interface. `daemon` is what the whole switch has.
[[nodiscard]] OvsdbIke read_ovsdb_ike(const OvsdbOptions& options, const IkeDaemonConfig& daemon);

/// Whether read_ovsdb_ike() reads the option.
[[nodiscard]] bool is_ovsdb_ike_key(std::string_view key);

/// other_config of Open_vSwitch, above what `daemon` has already.
void read_ovsdb_ike_daemon(
    const OvsdbOptions& options, IkeDaemonConfig& daemon, std::vector<std::string>& warnings
);

}  // namespace culvert::ctl
