// SPDX-License-Identifier: GPL-2.0-or-later
//
// What charon says of its SAs, as far as it matters here. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctl/vici/message.hpp"

namespace culvert::ctl {

struct IkeChildSa {
    std::string name;  ///< Of the child's configuration.
    std::uint64_t id = 0;
    bool up = false;  ///< Packets may be sent by it.
    std::vector<std::uint32_t> spis;
};

struct IkeSa {
    std::string connection;
    std::uint64_t id = 0;
    bool established = false;
    bool connecting = false;
    bool initiator = false;
    bool busy = false;  ///< charon is about something that is not done yet.
    std::uint64_t age_s = 0;
    std::string peer_id;
    std::vector<IkeChildSa> children;
};

/// Of one "list-sa" message.
[[nodiscard]] std::vector<IkeSa> read_ike_sas(const vici::Message& message);

}  // namespace culvert::ctl
