// SPDX-License-Identifier: GPL-2.0-or-later
//
// Frames as the benches need them: inner Ethernet/IPv4/UDP frames of many flows, and the same in a
// tunnel of any protocol of the list. Any thread may call this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::bench {

using Frame = std::vector<std::byte>;

/// The smallest Ethernet frame, checksum included: what packet rates are usually quoted for.
inline constexpr std::size_t kInnerBytes = 64;
inline constexpr std::uint32_t kTunnelKey = 100;

/// The two ends of the tunnels: we are 1, the remote one is 2.
[[nodiscard]] tunnels::IpAddress underlay_v4(std::uint8_t end);
[[nodiscard]] tunnels::IpAddress underlay_v6(std::uint8_t end);
/// The address that our end receives tunnel packets on.
[[nodiscard]] tunnels::MacAddress local_mac();

/// Where inner frames go, and the gateway from which a host gets what an L3 tunnel brings.
[[nodiscard]] tunnels::IpAddress inner_destination();
[[nodiscard]] tunnels::MacAddress inner_destination_mac();
[[nodiscard]] tunnels::MacAddress gateway_mac();

/// Writes Ethernet and IPv4 headers, with the IPv4 checksum, at the front of a frame of
/// `frame.size()` bytes. `flow` tells flows apart by source address.
void write_ipv4(Frame& frame, std::uint8_t protocol, std::uint32_t flow);

/// A UDP frame; `flow` tells flows apart by address and port.
[[nodiscard]] Frame inner_frame(std::uint32_t flow);

/// The headers by which `from` sends to `to` through a tunnel of the protocol at `index`.
[[nodiscard]] tunnels::EncapTemplate
tunnel_template(std::uint8_t index, const tunnels::IpAddress& from, const tunnels::IpAddress& to);

/// What a tunnel of the protocol at `index` carries in the benches: frames, if it can.
[[nodiscard]] tunnels::Payload tunnel_payload(std::uint8_t index);

/// `inner` in a tunnel; its packet alone in a tunnel that cannot carry frames.
[[nodiscard]] Frame tunnel_frame(const tunnels::EncapTemplate& header, const Frame& inner);

template <class Visit, class... P>
void for_each_protocol(const Visit& visit, tunnels::ProtocolList<P...> /*list*/) {
    std::uint8_t index = 0;
    (visit.template operator()<P>(index++), ...);
}

/// Calls `visit.template operator()<P>(index)` for each protocol of the list.
template <class Visit>
void for_each_protocol(const Visit& visit) {
    for_each_protocol(visit, tunnels::Protocols{});
}

}  // namespace culvert::bench
