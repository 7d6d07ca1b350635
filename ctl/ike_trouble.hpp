// SPDX-License-Identifier: GPL-2.0-or-later
//
// Says in one sentence what went wrong in a negotiation, of what charon writes into its log. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ctl/esp_config.hpp"

namespace culvert::ctl {

enum class IkeTroubleKind : std::uint8_t {
    refused,  ///< The peer does not want it like this; another way may do.
    silent,   ///< The peer does not answer.
    local,    ///< It is at this end, or the peer is not who it should be.
};

struct IkeTrouble {
    IkeTroubleKind kind{};
    std::string sentence;
};

struct IkeAttempt {
    std::string remote;        ///< Address.
    bool certificate = false;  ///< And not a pre-shared key.
};

/// Nothing: the line is of no trouble, or of none that matters.
[[nodiscard]] std::optional<IkeTrouble>
ike_trouble_in(std::string_view line, const IkeAttempt& attempt, const IkeDaemonConfig& daemon);

}  // namespace culvert::ctl
