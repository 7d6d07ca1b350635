// SPDX-License-Identifier: GPL-2.0-or-later
//
// Addresses, as short as a test wants to write them.
#pragma once

#include <string_view>

#include "tunnels/address.hpp"

namespace culvert::dataplane {

inline tunnels::IpAddress ip(std::string_view text) {
    return tunnels::IpAddress::parse(text).value();
}

}  // namespace culvert::dataplane
