// SPDX-License-Identifier: GPL-2.0-or-later
//
// Must not compile: comparing a wire value with a host integer would compare swapped octets.
#include "tunnels/endian.hpp"

bool is_vxlan(culvert::tunnels::Be16 wire) {
    return wire == 4789;
}
