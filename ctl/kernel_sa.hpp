// SPDX-License-Identifier: GPL-2.0-or-later
//
// A security association as the kernel (XFRM) has it, keys included: how the SAs that an IKE daemon
// negotiates come to this one. A value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "ctl/esp_config.hpp"
#include "tunnels/address.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::ctl {

/// What of a packet an SA is for; 0 and an empty prefix: any.
struct KernelSelector {
    std::uint8_t protocol = 0;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    bool operator==(const KernelSelector&) const = default;
};

struct KernelSa {
    std::uint32_t spi = 0;
    tunnels::IpAddress source;
    tunnels::IpAddress destination;
    bool tunnel_mode = false;
    std::uint32_t reqid = 0;
    KernelSelector selector;
    /// Nothing: an SA of a kind that there is not here, which `algorithm_name` says; no key then.
    std::optional<tunnels::EspAlgorithm> algorithm;
    std::string algorithm_name;  ///< As Linux calls it.
    tunnels::Secret key;
    bool extended = false;
    std::uint32_t replay_window = 0;  ///< Packets; 0: none was asked for.
    std::uint16_t udp_source = 0;     ///< RFC 3948; 0: none.
    std::uint16_t udp_destination = 0;
    std::uint64_t next_sequence = 0;      ///< The last one that was sent (oseq); 0: none.
    std::uint64_t received_sequence = 0;  ///< The highest that came in (seq); 0: none.
    SaLifetime soft;
    SaLifetime hard;
    std::uint64_t added_s = 0;  ///< Seconds since the epoch.
    bool operator==(const KernelSa&) const = default;
};

struct KernelSaRemoved {
    std::uint32_t spi = 0;
    tunnels::IpAddress destination;
    bool operator==(const KernelSaRemoved&) const = default;
};

using XfrmEvent = std::variant<KernelSa, KernelSaRemoved>;

}  // namespace culvert::ctl
