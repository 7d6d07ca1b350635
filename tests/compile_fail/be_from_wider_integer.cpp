// SPDX-License-Identifier: GPL-2.0-or-later
//
// Must not compile: the upper half of a wider host integer would be lost.
#include <cstdint>

#include "tunnels/endian.hpp"

culvert::tunnels::Be16 length(std::uint32_t bytes) {
    return culvert::tunnels::Be16(bytes);
}
