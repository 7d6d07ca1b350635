// SPDX-License-Identifier: GPL-2.0-or-later
//
// One tunnel as `culvert-ctl show tunnel NAME` presents it: every option by its configuration word,
// how its packets leave, what was counted. Pure functions; any thread.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "ctl/switch_model.hpp"
#include "ctl/totals.hpp"
#include "ctl/tunnel_options.hpp"

namespace culvert::ctl {

[[nodiscard]] nlohmann::ordered_json json_of(const OptionValue& value);

/// A value of the tree on one line: "none", "5", "a, b".
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& value);

/// The VLAN keys.
[[nodiscard]] nlohmann::ordered_json vlan_json(const VlanConfig& vlan);

/// How its encryption stands. Precondition: it is encrypted.
[[nodiscard]] nlohmann::ordered_json encryption_json(const SwitchPort& tunnel);

/// What the host's firewall says of its packets.
[[nodiscard]] nlohmann::ordered_json verdict_json(const TunnelVerdict& verdict);

/// `next_hop` is the tunnel's in `show`; its `path_mtu` is there once the next hop is resolved.
[[nodiscard]] nlohmann::ordered_json tunnel_details(
    const SwitchPort& port, const PortTotals& totals, const nlohmann::ordered_json& next_hop
);

/// tunnel_details() as indented text.
[[nodiscard]] std::string tunnel_details_text(const nlohmann::ordered_json& details);

}  // namespace culvert::ctl
