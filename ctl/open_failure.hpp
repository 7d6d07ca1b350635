// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why a device could not be had, in the words that Open vSwitch has for it in the column
// Interface.error. Pure.
#pragma once

#include <string>

#include "ctl/config.hpp"

namespace culvert::ctl {

/// The system's name of the error that a sentence of open_*_port() or of the switch tells of ("No
/// such device"); the sentence itself when it tells of none.
[[nodiscard]] std::string open_failure_reason(const std::string& sentence);

/// "could not open network device eth7 (No such device)".
[[nodiscard]] std::string
open_failure(const PortConfig& config, const std::string& name, const std::string& sentence);

}  // namespace culvert::ctl
