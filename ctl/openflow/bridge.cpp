// SPDX-License-Identifier: GPL-2.0-or-later
//
// See bridge.hpp.

#include "ctl/openflow/bridge.hpp"

#include "ctl/openflow/match.hpp"

namespace culvert::ctl::openflow {
namespace {

using Actions = FlowChange::Actions;

/// From anywhere to the host's own port, or from that to anywhere by the host's address: which the
/// default flow forwards, too.
bool keeps_the_host_reachable(const FlowChange& change) {
    const bool from_host = change.in_port == kLocal16 && change.matches_source;
    return (change.actions == Actions::local && change.in_port) ||
           (from_host && (change.actions == Actions::port || change.actions == Actions::normal));
}

}  // namespace

std::optional<std::string> DefaultTables::change(const FlowChange& change) {
    using Command = FlowChange::Command;
    if (change.command == Command::remove || change.command == Command::remove_strict) {
        if (change.matches_everything) {
            cookie_ = 0;
        }
        return std::nullopt;
    }
    const bool is_default_kind =
        change.priority == 0 && (change.table == 0 || change.table == 255) && !change.times_out;
    if (is_default_kind && change.command == Command::add && keeps_the_host_reachable(change)) {
        return std::nullopt;
    }
    if (!is_default_kind || !change.matches_everything || change.actions != Actions::normal) {
        return "only priority=0,actions=NORMAL can be added: there are no flow tables";
    }
    cookie_ = change.cookie;
    return std::nullopt;
}

}  // namespace culvert::ctl::openflow
