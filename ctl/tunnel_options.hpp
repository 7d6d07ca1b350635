// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of a tunnel as pairs of configuration key and value, so that what `show` prints and
// what a plan says never differ from what the file is written in. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ctl/config.hpp"

namespace culvert::ctl {

/// Nothing means that the key is absent.
using OptionValue =
    std::variant<std::monostate, bool, std::uint64_t, std::string, std::vector<std::string>>;

struct TunnelOption {
    std::string_view key;
    OptionValue value;
    bool applies = true;  ///< Means something to the tunnel's type.
    bool is_default = false;
    bool operator==(const TunnelOption&) const = default;
};

/// Every key from `packet_type` on, in the order of the document. `key` stands as `in_key` and
/// `out_key`, those of [tunnel.esp] as `esp.KEY`; name, bridge, type and the VLAN keys are left
/// out, and every secret.
[[nodiscard]] std::vector<TunnelOption> tunnel_options(const TunnelConfig& tunnel);

/// Whether it is of [tunnel.esp] or [tunnel.ike], of which a line about a tunnel has a summary.
[[nodiscard]] bool is_of_encryption(std::string_view key);

/// "none", "true", "5", "flow", "[a, b]".
[[nodiscard]] std::string text_of(const OptionValue& value);

/// "10.2.0.0/16".
[[nodiscard]] std::string prefix_text(const EidConfig& eid);

}  // namespace culvert::ctl
