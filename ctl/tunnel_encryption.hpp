// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a tunnel's encryption stands, as it is shown. A value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "tunnels/esp/algorithm.hpp"

namespace culvert::ctl {

struct TunnelEncryption {
    bool established = false;  ///< There is a key for each direction.
    std::uint32_t spi_in = 0;  ///< 0: none. Of several the newest.
    std::uint32_t spi_out = 0;
    std::optional<tunnels::EspAlgorithm> algorithm;  ///< Of what is sent, else of what is received.
    std::string trouble;                             ///< One sentence; empty: none.
    bool operator==(const TunnelEncryption&) const = default;

    [[nodiscard]] const char* word() const { return established ? "established" : "no key"; }
};

/// Its keys in Interface.status of an Open_vSwitch database. OVS has none: its tunnels do not know
/// that something encrypts them.
[[nodiscard]] std::map<std::string, std::string> interface_status_of(const TunnelEncryption& state);

}  // namespace culvert::ctl
