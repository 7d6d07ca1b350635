// SPDX-License-Identifier: GPL-2.0-or-later
//
// Claims, and the sentences for those that come too late. See ovsdb_claims.hpp.
#include "ctl/ovsdb_claims.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "ctl/validate_esp.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

/// `why` as strerror() puts it.
std::string could_not_add(const std::string& name, std::string_view why) {
    return fmt::format("could not add network device {} to ofproto ({})", name, why);
}

}  // namespace

bool OvsdbClaims::claim_bond(const std::string& name) {
    const bool claimed = items_ < dataplane::kPortsMax && claim_name(name);
    items_ += claimed ? 1 : 0;
    return claimed;
}

std::string OvsdbClaims::claim_tunnel(const TunnelConfig& tunnel) {
    const auto found = tunnel.dst_port == 0 ? udp_ports_.end() : udp_ports_.find(tunnel.dst_port);
    if (found != udp_ports_.end() && found->second->type != tunnel.type) {
        return fmt::format(
            "{}: dst_port={} is that of {} with type {}; valid: a UDP port for each type",
            tunnel.name,
            tunnel.dst_port,
            found->second->name,
            found->second->type
        );
    }
    if (found != udp_ports_.end() && found->second->gbp != tunnel.gbp) {
        return tunnel.name +
               ": VXLAN-GBP, and non-VXLAN-GBP tunnels can't be configured on the same dst_port";
    }
    if (std::string problem = ike_port_problem(tunnel); !problem.empty()) {
        return problem;
    }
    if (!matches_.insert(receive_match(tunnel)).second) {
        return could_not_add(tunnel.name, "File exists");
    }
    if (tunnel.dst_port != 0) {
        udp_ports_.emplace(tunnel.dst_port, &tunnel);
    }
    ike_ = tunnel.ike ? &tunnel : ike_;
    return {};
}

/// IKE and ESP in UDP have ports of their own.
std::string OvsdbClaims::ike_port_problem(const TunnelConfig& tunnel) const {
    constexpr std::array<std::uint16_t, 2> kPorts{kIkeUdpPort, tunnels::kEspUdpPort};
    const bool takes = std::find(kPorts.begin(), kPorts.end(), tunnel.dst_port) != kPorts.end();
    if (takes && (ike_ != nullptr || tunnel.ike)) {
        return fmt::format(
            "{}: dst_port={} is a port of IKE, which {} needs; valid: another UDP port",
            tunnel.name,
            tunnel.dst_port,
            tunnel.ike ? tunnel.name : ike_->name
        );
    }
    for (const std::uint16_t port : kPorts) {
        const auto found = tunnel.ike ? udp_ports_.find(port) : udp_ports_.end();
        if (found != udp_ports_.end()) {
            return fmt::format(
                "{}: IKE needs UDP port {}, which is the dst_port of {}; valid: another dst_port "
                "there",
                tunnel.name,
                port,
                found->second->name
            );
        }
    }
    return {};
}

std::string OvsdbClaims::claim(const std::string& name, const OvsdbItem& item) {
    if (items_ >= dataplane::kPortsMax) {
        return could_not_add(name, "File too large");
    }
    if (!std::holds_alternative<LocalPortConfig>(item
        )) {  // Its name is the bridge's, which has it.
        if (names_.contains(name)) {
            return could_not_add(name, "File exists");
        }
        if (const auto* tunnel = std::get_if<TunnelConfig>(&item); tunnel != nullptr) {
            if (std::string problem = claim_tunnel(*tunnel); !problem.empty()) {
                return problem;
            }
        }
        const auto* port = std::get_if<PortConfig>(&item);
        if (port != nullptr && port->kind == PortKind::dpdk &&
            !devices_.insert(device_of(port->devargs)).second) {
            return could_not_add(name, "Device or resource busy");
        }
        names_.insert(name);
    }
    ++items_;
    return {};
}

}  // namespace culvert::ctl
