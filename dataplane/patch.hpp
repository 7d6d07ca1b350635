// SPDX-License-Identifier: GPL-2.0-or-later
//
// The way over a patch port: what leaves by one end arrives at the other, in the same worker and
// without a device, as a frame of the other bridge (docs/decisions/0013-patch-ports.md). Worker
// threads only.
#pragma once

#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// Lets a frame, tagged as `port` wants it, arrive at the peer of `port` once the present burst is
/// done. Takes it. Precondition: the port is a patch port that is up.
void cross(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept;

}  // namespace culvert::dataplane
