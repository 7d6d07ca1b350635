// SPDX-License-Identifier: GPL-2.0-or-later
//
// Builds frames from the layouts of tunnels/headers.hpp. Any thread may call this.
#include "bench/frames.hpp"

#include <algorithm>
#include <bit>
#include <span>

#include "tunnels/checksum.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/inner.hpp"

namespace culvert::bench {

namespace {

using tunnels::Be16;
using tunnels::EthernetHeader;
using tunnels::Ipv4Header;
using tunnels::MacAddress;
using tunnels::UdpHeader;

MacAddress mac(std::uint8_t last) {
    return {{0x02, 0, 0, 0, 0, last}};
}

}  // namespace

tunnels::IpAddress underlay_v4(std::uint8_t end) {
    const std::uint8_t octets[4] = {172, 20, 0, end};
    return tunnels::IpAddress::from_v4(octets);
}

tunnels::IpAddress underlay_v6(std::uint8_t end) {
    const std::uint8_t octets[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end};
    return tunnels::IpAddress::from_v6(octets);
}

MacAddress local_mac() {
    return mac(0xfe);
}

tunnels::IpAddress inner_destination() {
    const std::uint8_t octets[4] = {10, 1, 0, 1};
    return tunnels::IpAddress::from_v4(octets);
}

MacAddress inner_destination_mac() {
    return mac(0x22);
}

MacAddress gateway_mac() {
    return mac(0x77);
}

void write_ipv4(Frame& frame, std::uint8_t protocol, std::uint32_t flow) {
    tunnels::store(
        frame.data(),
        EthernetHeader{inner_destination_mac(), mac(0x11), Be16(tunnels::kEtherTypeIpv4)}
    );
    Ipv4Header ip;
    ip.version_ihl = 0x45;
    ip.total_length = Be16(static_cast<std::uint16_t>(frame.size() - sizeof(EthernetHeader)));
    ip.ttl = 64;
    ip.protocol = protocol;
    ip.source = {10, 0, static_cast<std::uint8_t>(flow >> 8U), static_cast<std::uint8_t>(flow)};
    ip.destination = {10, 1, 0, 1};
    const auto sum = tunnels::checksum_add(0, std::as_bytes(std::span(&ip, std::size_t{1})));
    const auto checksum = static_cast<std::uint16_t>(~tunnels::checksum_fold(sum));
    ip.checksum = std::bit_cast<Be16>(checksum);
    tunnels::store(frame.data() + sizeof(EthernetHeader), ip);
}

Frame inner_frame(std::uint32_t flow) {
    constexpr std::size_t kUdpOffset = sizeof(EthernetHeader) + sizeof(Ipv4Header);
    Frame frame(kInnerBytes, std::byte{0x5a});
    write_ipv4(frame, tunnels::kIpProtocolUdp, flow);
    UdpHeader udp;
    udp.source = Be16(static_cast<std::uint16_t>(1024U + flow));
    udp.destination = Be16(std::uint16_t{53});
    udp.length = Be16(static_cast<std::uint16_t>(kInnerBytes - kUdpOffset));
    tunnels::store(frame.data() + kUdpOffset, udp);
    return frame;
}

tunnels::EncapTemplate
tunnel_template(std::uint8_t index, const tunnels::IpAddress& from, const tunnels::IpAddress& to) {
    tunnels::OuterConfig outer;
    outer.local = from;
    outer.remote = to;
    return tunnels::build_template(
        index,
        {.destination = local_mac(), .source = mac(0xaa)},
        outer,
        {.key = kTunnelKey, .payload = tunnel_payload(index)}
    );
}

tunnels::Payload tunnel_payload(std::uint8_t index) {
    return tunnels::kProtocols.at(index).features.ethernet ? tunnels::Payload::ethernet
                                                           : tunnels::Payload::ip;
}

Frame tunnel_frame(const tunnels::EncapTemplate& header, const Frame& inner) {
    const tunnels::Payload kind = tunnel_payload(header.protocol);
    const auto payload =
        std::span(inner).subspan(kind == tunnels::Payload::ethernet ? 0 : sizeof(EthernetHeader));
    Frame frame(header.length + payload.size());
    std::copy_n(header.bytes.begin(), header.length, frame.begin());
    std::copy(payload.begin(), payload.end(), frame.begin() + header.length);
    const tunnels::Inner facts = tunnels::inspect_inner(payload, kind);
    const auto headers = std::span(frame).first(header.length);
    tunnels::patch_outer(
        header,
        headers,
        {.frame_bytes = frame.size(), .entropy = facts.hash, .tos = header.tos, .ttl = header.ttl}
    );
    tunnels::patch_tunnel(header, headers, {.is_v6 = facts.version == 6, .entropy = facts.hash});
    return frame;
}

}  // namespace culvert::bench
