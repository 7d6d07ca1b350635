// SPDX-License-Identifier: GPL-2.0-or-later
//
// The desired state of a tunnel, as a value. Defaults here are the documented ones. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/config_item.hpp"
#include "ctl/esp_config.hpp"
#include "dataplane/oversize.hpp"
#include "tunnels/address.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/protocol.hpp"

namespace culvert::ctl {

/// A Geneve option as it is sent (RFC 8926 section 3.5); configured as "CLASS:TYPE:DATA".
struct GeneveOption {
    std::uint16_t option_class = 0;
    std::uint8_t type = 0;           ///< With the critical bit, 0x80.
    std::vector<std::uint8_t> data;  ///< 0-44 bytes, a multiple of 4.
    bool operator==(const GeneveOption&) const = default;
};

/// What to do with a GRE packet whose sequence number is not above the last one's.
enum class LatePolicy : std::uint8_t { accept, drop };

struct TunnelConfig {  // [[tunnel]]
    std::string name;
    std::string bridge;
    std::string type;  ///< kName of a protocol in tunnels/protocols.hpp.
    tunnels::Payload packet_type = tunnels::Payload::ethernet;  ///< "l2" or "l3".

    tunnels::IpAddress remote_ip;  ///< Unset when remote_flow.
    bool remote_flow = false;      ///< remote_ip = "flow": any peer; nothing can be sent.
    std::optional<tunnels::IpAddress>
        local_ip;             ///< Absent: the route's source address; any is accepted.
    bool local_flow = false;  ///< local_ip = "flow": any, and the last to be asked.
    std::optional<std::uint32_t>
        in_key;  ///< `key` sets both; absent: none (GRE without key, VNI 0).
    std::optional<std::uint32_t> out_key;
    bool in_key_flow = false;   ///< "flow": any key is accepted.
    bool out_key_flow = false;  ///< "flow": key 0 is sent, as no flow sets one.
    bool nvgre = false;         ///< gre: the key is RFC 7637's VSID (24 bits), a flow id behind it.

    std::uint16_t dst_port = 0;  ///< 0 for protocols without UDP; else filled with the default.
    std::uint16_t src_port_min = 32768;  ///< The range of UDP source ports that flows spread over.
    std::uint16_t src_port_max = 61000;
    std::uint8_t tos = 0;      ///< Low two bits zero.
    bool tos_inherit = false;  ///< "inherit": DSCP of the inner packet, 0 for what is not IP.
    std::uint8_t ttl = 64;     ///< 1-255.
    bool ttl_inherit = false;  ///< "inherit": TTL of the inner packet, 64 for what is not IP.
    bool df = true;
    bool csum = false;  ///< Send UDP checksums over IPv4 too; for GRE, send GRE checksums.
    bool udp6_zero_csum_rx = false;  ///< Accept a zero UDP checksum over IPv6 (RFC 6935).
    bool udp6_zero_csum_tx = false;  ///< Send it.
    std::uint32_t egress_mark = 0;   ///< The fwmark by which the kernel chooses the route.
    tunnels::EcnMode ecn = tunnels::EcnMode::normal;
    /// Absent: ptb with df, fragment_outer without.
    std::optional<dataplane::Oversize> oversize;

    bool seq = false;                        ///< gre: send sequence numbers.
    LatePolicy late = LatePolicy::accept;    ///< gre: of received ones.
    bool gbp = false;                        ///< vxlan: group policy is carried.
    std::optional<std::uint16_t> gbp_id;     ///< Sent with frames that did not come in with one.
    std::optional<std::uint16_t> gbp_admit;  ///< Received frames with another id are dropped.
    std::vector<GeneveOption> options;  ///< geneve: sent, and known when received (class and type).

    std::optional<EspConfig> esp;  ///< [tunnel.esp]; not beside ike.
    std::optional<IkeConfig> ike;  ///< [tunnel.ike]

    VlanConfig vlan;
    Origin origin;
    bool operator==(const TunnelConfig&) const = default;

    /// It neither sends nor accepts a clear packet.
    [[nodiscard]] bool is_encrypted() const { return esp || ike; }

    [[nodiscard]] dataplane::Oversize effective_oversize() const {
        return oversize.value_or(
            df || !remote_ip.is_v4() ? dataplane::Oversize::ptb
                                     : dataplane::Oversize::fragment_outer
        );
    }
};

}  // namespace culvert::ctl
