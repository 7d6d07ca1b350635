// SPDX-License-Identifier: GPL-2.0-or-later
//
// Must not compile: a host integer does not become a wire value without being asked to.
#include <cstdint>

#include "tunnels/endian.hpp"

culvert::tunnels::Be16 port() {
    return std::uint16_t{4789};
}
