// SPDX-License-Identifier: GPL-2.0-or-later
//
// See service_commands.hpp.

#include "ctl/service_commands.hpp"

#include "ctl/service.hpp"

namespace culvert::ctl {

namespace {

LocalAnswer
run_service(const LocalCall& call, LocalAnswer (Service::*run)(), bool database_only = false) {
    auto options = read_service_options(call);
    if (!options) {
        return {options.error().status, {}, {options.error().sentence}};
    }
    options->ovs_vswitchd = options->ovs_vswitchd && !database_only;
    return (Service(std::move(*options)).*run)();
}

}  // namespace

LocalAnswer start_service(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::start);
}

LocalAnswer start_ovsdb_server(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::start, true);
}

LocalAnswer stop_service(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::stop);
}

LocalAnswer restart_service(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::restart);
}

LocalAnswer show_service_status(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::status);
}

LocalAnswer load_kmod(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::load_kmod);
}

LocalAnswer delete_transient_ports(const LocalCall& call, const MakeFirewall&) {
    return run_service(call, &Service::delete_transient_ports);
}

}  // namespace culvert::ctl
