// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an interface's driver says of it (ethtool(8)): its own name, the link's speed and duplex
// mode. The answers change with the link alone, so that they are asked for when it changes and kept
// in between. Control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace culvert::ctl {

struct DriverFacts {
    std::string name;              ///< "veth", "tun", "ixgbe".
    std::string version;           ///< The kernel's own where a driver has none.
    std::string firmware_version;  ///< Empty when there is none.
    bool operator==(const DriverFacts&) const = default;
};

struct LinkFacts {
    std::optional<DriverFacts> driver;
    std::optional<std::uint32_t> speed_mbps;
    std::optional<bool> full_duplex;
    bool operator==(const LinkFacts&) const = default;
};

/// Asks the kernel, in the network namespace of the calling thread. What it does not know, or of an
/// interface that is gone, stays empty.
[[nodiscard]] LinkFacts query_link_facts(const std::string& interface);

}  // namespace culvert::ctl
