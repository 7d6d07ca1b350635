// SPDX-License-Identifier: GPL-2.0-or-later
//
// A tunnel whose keys IKE agrees on, for the tests of what the IKE daemon is told.
#pragma once

#include <string>

#include "ctl/ike_connection.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

inline IkeTunnel
ike_tunnel(const std::string& name, const std::string& key, const std::string& psk) {
    IkeTunnel made;
    made.name = name;
    made.type = "gre";
    made.key = key;
    made.local = tunnels::IpAddress::parse("192.0.2.1").value();
    made.remote = tunnels::IpAddress::parse("192.0.2.2").value();
    made.config.psk = PrivateText(psk);
    made.reqid = 0x40000000;
    return made;
}

}  // namespace culvert::ctl
