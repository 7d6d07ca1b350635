// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which packets the daemon keeps the host's firewall open for ([firewall] manage). Pure; any
// thread.
#pragma once

#include <vector>

#include "ctl/config.hpp"
#include "firewall/opening.hpp"

namespace culvert::ctl {

/// gre: GRE from everywhere. tunnels: what the far ends of `tunnels` send, each sender once, or
/// from everywhere where a tunnel takes any; of encrypted ones both what they carry and ESP, with
/// IKE where that makes the keys. off: nothing.
[[nodiscard]] std::vector<firewall::Selector>
kept_openings(ManagePolicy manage, const std::vector<TunnelConfig>& tunnels);

}  // namespace culvert::ctl
