// SPDX-License-Identifier: GPL-2.0-or-later
//
// Addresses, as short as a test wants to write them.
#pragma once

#include <cstdint>
#include <string_view>

#include "tunnels/address.hpp"

namespace culvert::ctl {

inline constexpr tunnels::MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

inline tunnels::IpAddress ip(std::string_view text) {
    return tunnels::IpAddress::parse(text).value();
}

inline tunnels::MacAddress mac(std::string_view text) {
    return tunnels::MacAddress::parse(text).value();
}

inline tunnels::MacAddress mac(unsigned number) {
    const auto high = static_cast<std::uint8_t>(number >> 8U);
    return {{0x02, 0, 0, 0, high, static_cast<std::uint8_t>(number)}};
}

}  // namespace culvert::ctl
