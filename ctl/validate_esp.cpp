// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cross-item checks of encrypted tunnels. See validate_esp.hpp.
#include "ctl/validate_esp.hpp"

#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ctl/config_sections.hpp"
#include "ctl/sentence.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::ctl {

namespace {

tl::unexpected<std::string>
failure(const Section& section, const TunnelConfig& tunnel, std::string_view text) {
    const bool is_esp = section.name == kTunnelEspSection.name;
    const Origin& origin = is_esp ? tunnel.esp->origin : tunnel.ike->origin;
    return tl::unexpected(sentence(origin, section.title() + " of " + quote(tunnel.name), text));
}

/// `[[tunnel]] "t1" (file:3)`.
std::string with_place(const TunnelConfig& tunnel) {
    const std::string where = place(tunnel.origin);
    return item(kTunnelSection.title(), tunnel.name) + (where.empty() ? "" : " (" + where + ")");
}

/// RFC 4303 section 2.1: the receiver tells SAs apart by SPI and its own address.
Result<void> check_spi_in(const DesiredState& state) {
    std::map<std::uint32_t, std::vector<const TunnelConfig*>> seen;
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (!tunnel.esp) {
            continue;
        }
        std::vector<const TunnelConfig*>& others = seen[tunnel.esp->spi_in];
        for (const TunnelConfig* other : others) {
            if (share_local_address(*other, tunnel)) {
                return failure(
                    kTunnelEspSection,
                    tunnel,
                    fmt::format(
                        "spi_in = {:#x} is that of {}, whose packets come to the same address; "
                        "valid: an SPI for each tunnel",
                        tunnel.esp->spi_in,
                        with_place(*other)
                    )
                );
            }
        }
        others.push_back(&tunnel);
    }
    return {};
}

Result<void> check_spi_out(const DesiredState& state) {
    std::map<std::pair<std::uint32_t, tunnels::IpAddress>, const TunnelConfig*> seen;
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (!tunnel.esp) {
            continue;
        }
        const auto [earlier, added] =
            seen.emplace(std::pair(tunnel.esp->spi_out, tunnel.remote_ip), &tunnel);
        if (!added) {
            return failure(
                kTunnelEspSection,
                tunnel,
                fmt::format(
                    "spi_out = {:#x} is that of {}, to the same remote_ip; valid: an SPI for each "
                    "tunnel",
                    tunnel.esp->spi_out,
                    with_place(*earlier->second)
                )
            );
        }
    }
    return {};
}

/// A UDP port of this host and what has taken it.
struct PortUse {
    const TunnelConfig* tunnel;
    std::string_view purpose;
};

/// What comes to a port of ESP in UDP is ESP or IKE, never a plain tunnel's.
Result<void> check_udp_ports(const DesiredState& state) {
    std::map<std::uint16_t, PortUse> taken;
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (tunnel.esp && tunnel.esp->udp_encap) {
            taken.emplace(tunnel.esp->udp_encap->local_port, PortUse{&tunnel, "ESP in UDP"});
        }
        if (tunnel.ike) {
            taken.emplace(kIkeUdpPort, PortUse{&tunnel, "IKE"});
            taken.emplace(tunnels::kEspUdpPort, PortUse{&tunnel, "IKE and ESP in UDP"});
        }
    }
    for (const TunnelConfig& tunnel : state.tunnels) {
        const auto found = tunnel.dst_port == 0 ? taken.end() : taken.find(tunnel.dst_port);
        if (found != taken.end()) {
            return tl::unexpected(sentence(
                tunnel.origin,
                item(kTunnelSection.title(), tunnel.name),
                fmt::format(
                    "dst_port = {} is the port of {} of {}; valid: another UDP port",
                    tunnel.dst_port,
                    found->second.purpose,
                    with_place(*found->second.tunnel)
                )
            ));
        }
    }
    return {};
}

Result<void> check_ike(const TunnelConfig& tunnel, const IkeDaemonConfig& daemon) {
    const IkeConfig& ike = *tunnel.ike;
    if (!ike.psk.empty() || !ike.psk_file.empty()) {
        return {};
    }
    if (ike.remote_cert.empty() && ike.remote_name.empty()) {
        return failure(
            kTunnelIkeSection,
            tunnel,
            "says nothing by which the peer proves who it is; valid: psk_file, remote_cert or "
            "remote_name, or control = \"follow\" in [ike]"
        );
    }
    const std::string key = ike.remote_cert.empty() ? "remote_name" : "remote_cert";
    if (daemon.certificate.empty() || daemon.private_key.empty()) {
        return failure(
            kTunnelIkeSection,
            tunnel,
            key + " needs a certificate of this host; valid: certificate and private_key in [ike]"
        );
    }
    if (ike.remote_cert.empty() && daemon.ca_cert.empty()) {
        return failure(
            kTunnelIkeSection,
            tunnel,
            key + " needs the certificate of who signed the peer's; valid: ca_cert in [ike]"
        );
    }
    return {};
}

Result<void> check_all_ike(const DesiredState& state) {
    if (state.ike.control == IkeControl::follow) {
        return {};
    }
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (!tunnel.ike) {
            continue;
        }
        if (Result<void> checked = check_ike(tunnel, state.ike); !checked) {
            return checked;
        }
    }
    return {};
}

}  // namespace

bool share_local_address(const TunnelConfig& a, const TunnelConfig& b) {
    if (a.remote_ip.is_v4() != b.remote_ip.is_v4()) {
        return false;
    }
    return !a.local_ip || !b.local_ip || a.local_ip == b.local_ip;
}

Result<void> validate_encryption(const DesiredState& state) {
    for (const auto check : {check_spi_in, check_spi_out, check_udp_ports, check_all_ike}) {
        if (Result<void> result = check(state); !result) {
            return result;
        }
    }
    return {};
}

}  // namespace culvert::ctl
