// SPDX-License-Identifier: GPL-2.0-or-later
//
// The frame by which switches behind a bond learn anew where a host is: a reverse ARP request (RFC
// 903) from it, which nobody answers. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "tunnels/address.hpp"

namespace culvert::ctl {

struct LearningPacket {
    std::array<std::byte, 64> bytes{};
    std::size_t length = 0;
};

[[nodiscard]] LearningPacket
write_learning_packet(const tunnels::MacAddress& host, std::optional<std::uint16_t> vlan);

}  // namespace culvert::ctl
