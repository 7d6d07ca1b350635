// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any bytes as a configuration file: either one line of error, or a state that is valid and whose
// plan can be made and printed. One thread.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "ctl/plan.hpp"
#include "ctl/toml_source.hpp"
#include "ctl/validate.hpp"

namespace {

using culvert::ctl::DesiredState;

void check(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void check_line(const std::string& text) {
    check(!text.empty());
    check(text.find_first_of(std::string_view("\n\r\0", 3)) == std::string::npos);
}

/// From nothing to `state` and back: as many additions as items, as many removals.
void check_plans(const DesiredState& state) {
    const DesiredState start = state.without_items();
    const std::size_t items = state.bridges.size() + state.ports.size() + state.tunnels.size();
    for (const auto& [from, to] : {std::pair(start, state), std::pair(state, start)}) {
        const auto actions = culvert::ctl::plan(from, to);
        check(actions.has_value() && actions->size() == items);
        for (const culvert::ctl::Action& action : *actions) {
            check_line(culvert::ctl::describe(action));
        }
    }
    const auto nothing = culvert::ctl::plan(state, state);
    check(nothing.has_value() && nothing->empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(data, data + size);
    const auto state = culvert::ctl::parse_toml(text, "f");
    if (!state) {
        check_line(state.error());
        check(state.error().starts_with("f:") || state.error().starts_with("the configuration"));
        return 0;
    }
    check(culvert::ctl::validate(*state).has_value());
    check_plans(*state);
    return 0;
}
