// SPDX-License-Identifier: GPL-2.0-or-later
//
// See bridge.hpp.

#include "ctl/openflow/bridge.hpp"

namespace culvert::ctl::openflow {

std::optional<std::string> DefaultTables::change(const FlowChange& change) {
    using Command = FlowChange::Command;
    if (change.command == Command::remove || change.command == Command::remove_strict) {
        if (change.matches_everything) {
            cookie_ = 0;
        }
        return std::nullopt;
    }
    const bool is_default = change.matches_everything && change.priority == 0 &&
                            (change.table == 0 || change.table == 255) &&
                            change.actions == FlowChange::Actions::normal && !change.times_out;
    if (!is_default) {
        return "only priority=0,actions=NORMAL can be added: there are no flow tables";
    }
    cookie_ = change.cookie;
    return std::nullopt;
}

}  // namespace culvert::ctl::openflow
