// SPDX-License-Identifier: GPL-2.0-or-later
//
// For which tunnel an SA of the kernel is. See sa_record.hpp.

#include <netinet/in.h>
#include <openssl/sha.h>

#include "ctl/sa_record.hpp"

namespace culvert::ctl {

namespace {

constexpr std::uint32_t kReqidFirst = 0x40000000;
constexpr std::uint32_t kReqidBits = 0x3fffffff;

SaMatch match_addresses(const SaRecord& record, const EspTunnel& tunnel) {
    const dataplane::SaParameters& ends = record.parameters;
    if (ends.destination == tunnel.remote && (!tunnel.local || ends.source == *tunnel.local)) {
        return SaMatch::outbound;
    }
    if (ends.source == tunnel.remote && (!tunnel.local || ends.destination == *tunnel.local)) {
        return SaMatch::inbound;
    }
    return SaMatch::none;
}

}  // namespace

std::uint32_t reqid_of(const std::string& tunnel) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> sum{};
    ::SHA256(reinterpret_cast<const unsigned char*>(tunnel.data()), tunnel.size(), sum.data());
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < sizeof number; ++i) {
        number = number << 8U | sum[i];
    }
    return kReqidFirst | (number & kReqidBits);
}

/// Of the SAs that tunnels share the second pair is only received by.
SaMatch match_by_reqid(const SaRecord& record, const EspTunnel& tunnel) {
    const bool shared = tunnel.foreign_reqid != 0 && record.reqid == tunnel.foreign_reqid;
    const bool second = tunnel.foreign_reqid != 0 && record.reqid == tunnel.foreign_reqid + 1;
    if (!tunnel.by_ike || (record.reqid != tunnel.reqid && !shared && !second)) {
        return SaMatch::none;
    }
    const SaMatch match = match_addresses(record, tunnel);
    return second && match == SaMatch::outbound ? SaMatch::none : match;
}

/// What a selector leaves open is for the tunnel as well: charon's SAs in transport mode say
/// nothing of protocol and ports, which are in its policies.
SaMatch match_by_selector(const SaRecord& record, const EspTunnel& tunnel) {
    if (!tunnel.by_ike || !tunnel.by_selector) {
        return SaMatch::none;
    }
    const KernelSelector& selector = record.selector;
    const std::uint8_t protocol = tunnel.udp_port == 0 ? IPPROTO_GRE : IPPROTO_UDP;
    if (selector.protocol != 0 && selector.protocol != protocol) {
        return SaMatch::none;
    }
    // Of UDP tunnels the destination port is the tunnel's and the source port any, both ways.
    if (tunnel.udp_port != 0 &&
        (selector.source_port != 0 ||
         (selector.destination_port != 0 && selector.destination_port != tunnel.udp_port))) {
        return SaMatch::none;
    }
    return match_addresses(record, tunnel);
}

}  // namespace culvert::ctl
