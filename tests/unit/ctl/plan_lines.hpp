// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a plan does, as texts that tests compare.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/plan.hpp"

namespace culvert::ctl {

inline std::vector<std::string> plan_lines(const DesiredState& from, const DesiredState& to) {
    const Result<std::vector<Action>> actions = plan(from, to);
    EXPECT_TRUE(actions.has_value()) << actions.error();
    std::vector<std::string> lines;
    for (const Action& action : actions.value_or(std::vector<Action>{})) {
        lines.push_back(describe(action));
    }
    return lines;
}

}  // namespace culvert::ctl
