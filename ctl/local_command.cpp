// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which function carries out which command.
#include "ctl/local_command.hpp"

#include <array>

#include "ctl/firewall_commands.hpp"
#include "ctl/service_commands.hpp"

namespace culvert::ctl {
namespace {

using Run = LocalAnswer (*)(const LocalCall&, const MakeFirewall&);
struct Entry {
    std::string_view method;
    Run run;
};
constexpr std::array<Entry, 13> kEntries = {{
    {"enable-protocol", enable_protocol},
    {"disable-protocol", disable_protocol},
    {"list-protocols", list_protocols},
    {"check-protocol", check_protocol},
    {"firewall/explain", explain_packet},
    {"start", start_service},
    {"stop", stop_service},
    {"restart", restart_service},
    {"status", show_service_status},
    {"load-kmod", load_kmod},
    {"force-reload-kmod", restart_service},
    {"delete-transient-ports", delete_transient_ports},
    {"start-ovsdb-server", start_ovsdb_server},
}};

}  // namespace

const Words& LocalCall::values(std::string_view option) const {
    static const Words none;
    const auto found = options.find(option);
    return found == options.end() ? none : found->second;
}

std::optional<std::string> LocalCall::value(std::string_view option) const {
    const Words& all = values(option);
    return all.empty() ? std::nullopt : std::optional(all.back());
}

LocalAnswer
run_local_command(std::string_view method, const LocalCall& call, const MakeFirewall& make) {
    for (const Entry& entry : kEntries) {
        if (entry.method == method) {
            return entry.run(call, make);
        }
    }
    return {kStatusUsage, {}, {"there is no command \"" + std::string(method) + "\""}};
}

}  // namespace culvert::ctl
