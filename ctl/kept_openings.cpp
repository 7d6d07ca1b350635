// SPDX-License-Identifier: GPL-2.0-or-later
//
// From tunnels to the packets of their far ends.

#include "ctl/kept_openings.hpp"

#include <algorithm>
#include <array>

#include "ctl/firewall_admission.hpp"
#include "ctl/validate_esp.hpp"
#include "firewall/header.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

using firewall::Family;
using firewall::Selector;

namespace {

constexpr std::array<Family, 2> kFamilies{Family::ipv4, Family::ipv6};

Selector udp_to(std::uint16_t port) {
    Selector selector;
    selector.protocol = firewall::kProtocolUdp;
    selector.destination_port = port;
    return selector;
}

/// What carries an encrypted tunnel, and by what its keys are agreed on.
std::vector<Selector> carriers_of(const TunnelConfig& tunnel) {
    Selector esp;
    esp.protocol = firewall::kProtocolEsp;
    if (tunnel.ike) {
        // Whether there is a NAT, IKE finds out.
        return {esp, udp_to(kIkeUdpPort), udp_to(tunnels::kEspUdpPort)};
    }
    if (tunnel.esp && tunnel.esp->udp_encap) {
        return {udp_to(tunnel.esp->udp_encap->local_port)};
    }
    return tunnel.esp ? std::vector{esp} : std::vector<Selector>{};
}

/// Adds the packets of a tunnel's far end.
void want_from_peer(std::vector<Selector>& wanted, const TunnelConfig& tunnel, Selector selector) {
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

/// Adds what admits the packets of a tunnel's far end. The kernel's rules see an encrypted packet
/// twice, the second time as what came out of it, and so do ours.
void want(std::vector<Selector>& wanted, const TunnelConfig& tunnel) {
    Selector selector;
    selector.protocol = tunnels::kProtocols[*tunnels::find_protocol(tunnel.type)].outer.ip_protocol;
    if (tunnel.dst_port != 0) {
        selector.destination_port = tunnel.dst_port;
    }
    want_from_peer(wanted, tunnel, selector);
    for (const Selector& carrier : carriers_of(tunnel)) {
        want_from_peer(wanted, tunnel, carrier);
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
