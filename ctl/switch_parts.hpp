// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a Switch works with, how it applies a state, and what came of it. Control thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "ctl/encryption.hpp"
#include "ctl/slow_path.hpp"
#include "ctl/underlay.hpp"
#include "dataplane/port.hpp"
#include "dataplane/worker.hpp"
#include "firewall/claim.hpp"
#include "firewall/guard.hpp"

namespace culvert::ctl {

/// What a Switch works with; all outlive it.
struct SwitchParts {
    dataplane::Workers& workers;
    dataplane::FlowCache& flows;
    SlowPath& slow_path;
    Underlay& underlay;
    firewall::InterfaceClaims& claims;
    firewall::Guard& guard;
    dataplane::PacketPools pools;
    EncryptionParts encryption{};
};

/// What an apply() did; `trouble` names what of it failed after other things were changed.
struct Applied {
    std::vector<std::string> done;
    std::string trouble;
};
/// A file is taken as a whole or not at all; of a database each row stands for itself, so that
/// a device that is missing or cannot be opened concerns its port alone.
enum class ApplyMode : std::uint8_t {
    whole,
    item_by_item,
    let_go,  ///< item_by_item, and devices that are kept stay for the next daemon.
};

/// What events said of interfaces, by index.
struct LinkNews {
    std::set<int> changed;
    std::set<int> removed;  ///< Even if they are back by now.
};

}  // namespace culvert::ctl
