// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keys that tests tell apart by one character.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "tunnels/esp/secret.hpp"

namespace culvert::ctl {

inline tunnels::Secret filled_secret(char fill) {
    const std::string bytes(36, fill);
    return tunnels::Secret(std::as_bytes(std::span(bytes)));
}

}  // namespace culvert::ctl
