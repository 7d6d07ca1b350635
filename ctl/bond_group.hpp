// SPDX-License-Identifier: GPL-2.0-or-later
//
// All that the control thread holds of one bond. Control thread only.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "ctl/bond.hpp"
#include "ctl/fdb.hpp"
#include "ctl/lacp.hpp"

namespace culvert::ctl {

struct BondGroup {
    Bond bond;
    bool was_active = false;   ///< Some member was, with two or more there.
    std::optional<Lacp> lacp;  ///< Absent: off.
    std::shared_ptr<dataplane::BondLoad> load;
    dataplane::BondView view;  ///< What workers get.
    /// By member, in the order of bond.members().
    std::vector<dataplane::MemberAdmits> admits;
    std::deque<FdbKey> learning;  ///< Hosts whose place neighbours have yet to be told.

    [[nodiscard]] LacpStatus lacp_status() const {
        return !lacp                ? LacpStatus::off
               : lacp->negotiated() ? LacpStatus::negotiated
                                    : LacpStatus::configured;
    }
};

}  // namespace culvert::ctl
