// SPDX-License-Identifier: GPL-2.0-or-later
//
// Must not compile: a wire value does not become a host integer without .host().
#include <cstdint>

#include "tunnels/endian.hpp"

std::uint16_t port(culvert::tunnels::Be16 wire) {
    return wire;
}
