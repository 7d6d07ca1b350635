// SPDX-License-Identifier: GPL-2.0-or-later
//
// Asks an IKE daemon that is somebody else's for the SA of a tunnel: such a daemon waits for the
// kernel to say that a packet of the host wants one (XFRM_MSG_ACQUIRE), and packets of this daemon
// are none. Control thread only.
#pragma once

#include <cstdint>

#include "dataplane/result.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

/// Has the kernel look up the way of a tunnel packet between two addresses. Where an IKE daemon has
/// put a policy for it and no SA is there yet, the kernel asks that daemon, once until it answers
/// or gives up. No packet is sent, nor is anything done where there is no policy. `udp_port`: the
/// tunnel's destination port; 0: GRE. The error is a sentence that names the addresses.
[[nodiscard]] dataplane::Result<void> acquire_association(
    const tunnels::IpAddress& local, const tunnels::IpAddress& remote, std::uint16_t udp_port
);

}  // namespace culvert::ctl
