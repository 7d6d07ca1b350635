// SPDX-License-Identifier: GPL-2.0-or-later
//
// Asks the host's firewall about a received packet by its outer headers. Worker threads only.
#pragma once

#include <cstddef>
#include <span>

#include "dataplane/context.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {

/// What the host's firewall says of a packet that came in by `in_port`. Precondition: `outer` was
/// read from `head`, and drops nothing.
[[nodiscard]] inline Admitted ask_firewall(
    Context& context,
    std::uint16_t in_port,
    const tunnels::Outer& outer,
    std::span<const std::byte> head
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    if (snapshot.admission == nullptr) {
        return {};
    }
    const bool has_ports = outer.ip_protocol == tunnels::kIpProtocolUdp;
    // The UDP header stands in front of the payload, and was checked to be whole.
    const std::uint16_t source_port =
        has_ports ? tunnels::load<tunnels::Be16>(head.data() + outer.payload_offset - 8).host()
                  : std::uint16_t{0};
    return context.admissions.judge(
        *snapshot.admission,
        {.source = outer.source,
         .destination = outer.destination,
         .source_port = source_port,
         .destination_port = outer.udp_destination,
         .bridge = snapshot.ports[in_port].bridge,
         .protocol = outer.ip_protocol},
        snapshot.version
    );
}

}  // namespace culvert::dataplane
