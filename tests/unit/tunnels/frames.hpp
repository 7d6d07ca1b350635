// SPDX-License-Identifier: GPL-2.0-or-later
//
// Parts of untagged Ethernet frames, for the tests of what reads or writes them.
#pragma once

#include <cstddef>
#include <string_view>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tests {

inline constexpr std::string_view kMacs = "020000000b02 020000000b01";
/// Where the IP header starts.
inline constexpr std::size_t kIp = 14;

inline Bytes with(Bytes bytes, std::size_t at, unsigned value) {
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
}

}  // namespace culvert::tests
