// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands of culvert-ctl that are ovs-ctl(8)'s: start, stop and the like (service.hpp).
#pragma once

#include "ctl/local_command.hpp"

namespace culvert::ctl {

[[nodiscard]] LocalAnswer start_service(const LocalCall& call, const MakeFirewall& make);
/// start --no-ovs-vswitchd.
[[nodiscard]] LocalAnswer start_ovsdb_server(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer stop_service(const LocalCall& call, const MakeFirewall& make);
/// force-reload-kmod too: there is no module to reload.
[[nodiscard]] LocalAnswer restart_service(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer show_service_status(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer load_kmod(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer delete_transient_ports(const LocalCall& call, const MakeFirewall& make);

}  // namespace culvert::ctl
