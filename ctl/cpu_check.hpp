// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whether the CPUs that a configuration names are there for this process.
#pragma once

#include <string>

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// One sentence about the first CPU that the process may not use. `file` is used in the message
/// only.
[[nodiscard]] Result<void> check_cpus(const DesiredState& state, const std::string& file);

}  // namespace culvert::ctl
