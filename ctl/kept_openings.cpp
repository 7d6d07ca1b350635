// SPDX-License-Identifier: GPL-2.0-or-later
//
// From tunnels to the packets of their far ends.

#include "ctl/kept_openings.hpp"

#include <algorithm>
#include <array>

#include "ctl/firewall_admission.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

using firewall::Family;
using firewall::Selector;

namespace {

constexpr std::array<Family, 2> kFamilies{Family::ipv4, Family::ipv6};

/// Adds what admits the packets of a tunnel's far end.
void want(std::vector<Selector>& wanted, const TunnelConfig& tunnel) {
    Selector selector;
    selector.protocol = tunnels::kProtocols[*tunnels::find_protocol(tunnel.type)].outer.ip_protocol;
    if (tunnel.dst_port != 0) {
        selector.destination_port = tunnel.dst_port;
    }
    for (const Family family : kFamilies) {
        const bool is_v4 = family == Family::ipv4;
        if (!tunnel.remote_flow && tunnel.remote_ip.is_v4() != is_v4) {
            continue;
        }
        selector.family = family;
        selector.source.reset();
        if (!tunnel.remote_flow) {
            selector.source = firewall::Prefix{
                to_firewall(tunnel.remote_ip),
                static_cast<std::uint8_t>(firewall::bits_of(family))};
        }
        wanted.push_back(selector);
    }
}

/// Whether one of `wanted` admits all that `selector` does, and more.
bool is_covered(const std::vector<Selector>& wanted, const Selector& selector) {
    Selector wide = selector;
    wide.source.reset();
    return selector.source && std::find(wanted.begin(), wanted.end(), wide) != wanted.end();
}

}  // namespace

std::vector<Selector> kept_openings(ManagePolicy manage, const std::vector<TunnelConfig>& tunnels) {
    std::vector<Selector> wanted;
    if (manage == ManagePolicy::gre) {
        for (const Family family : kFamilies) {
            Selector gre;
            gre.family = family;
            wanted.push_back(gre);
        }
    } else if (manage == ManagePolicy::tunnels) {
        std::vector<Selector> all;
        for (const TunnelConfig& tunnel : tunnels) {
            want(all, tunnel);
        }
        for (const Selector& selector : all) {
            if (!is_covered(all, selector) &&
                std::find(wanted.begin(), wanted.end(), selector) == wanted.end()) {
                wanted.push_back(selector);
            }
        }
    }
    return wanted;
}

}  // namespace culvert::ctl
