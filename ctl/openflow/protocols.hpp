// SPDX-License-Identifier: GPL-2.0-or-later
//
// The words of the column Bridge.protocols. Pure; any thread.
#pragma once

#include <array>
#include <string_view>

#include "ctl/openflow/session.hpp"

namespace culvert::ctl::openflow {

/// The versions that a list of "OpenFlow10" to "OpenFlow15" names; an empty list names all, and
/// other words none.
template <class Words>
[[nodiscard]] Versions versions_of(const Words& protocols) {
    constexpr std::array<std::string_view, 6> kNames{
        "OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"};
    Versions versions = 0;
    bool any = false;
    for (const auto& protocol : protocols) {
        any = true;
        for (std::size_t i = 0; i < kNames.size(); ++i) {
            versions |= protocol == kNames[i] ? 2U << i : 0;
        }
    }
    return any ? versions : kAllVersions;
}

}  // namespace culvert::ctl::openflow
