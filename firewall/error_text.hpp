// SPDX-License-Identifier: GPL-2.0-or-later
//
// What errno says, for sentences. Any thread.
#pragma once

#include <string>
#include <system_error>

namespace culvert::firewall {

[[nodiscard]] inline std::string error_text(int error) {
    return std::generic_category().message(error);
}

}  // namespace culvert::firewall
