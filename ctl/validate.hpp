// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the items of a desired state say about each other: names, references, devices, tunnels that
// claim the same packets. Every configuration source ends here, so nothing later has to ask again.
// Pure; touches nothing outside. Control thread.
#pragma once

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// The error is one sentence about the first item that does not fit, with its file and line.
[[nodiscard]] Result<void> validate(const DesiredState& state);

}  // namespace culvert::ctl
