// SPDX-License-Identifier: GPL-2.0-or-later
//
// What encrypted tunnels must not have in common with each other and with plain ones: SPIs, UDP
// ports; and what IKE needs of the whole switch. A part of validate(). Pure; control thread.
#pragma once

#include <cstdint>
#include <string>

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

inline constexpr std::uint16_t kIkeUdpPort = 500;  ///< RFC 7296; behind a NAT kEspUdpPort.

[[nodiscard]] Result<void> validate_encryption(const DesiredState& state);

/// Whether packets of the two could arrive at one address of this host.
[[nodiscard]] bool share_local_address(const TunnelConfig& a, const TunnelConfig& b);

}  // namespace culvert::ctl
