// SPDX-License-Identifier: GPL-2.0-or-later
//
// PacketPath with tunnels of any protocol and option, IP packets to send through them, and a bridge
// that routes: bridge 1 has a local port too (kGateway), and the test fills in what it routes by.
// wrap() is what the remote endpoint of a tunnel sends.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rte_cycles.h>

#include "tests/unit/dataplane/addresses.hpp"
#include "tests/unit/dataplane/packet_path_fixture.hpp"
#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"

namespace culvert::testing {

using dataplane::ip;
using dataplane::Oversize;
using dataplane::TunnelView;
using dataplane::Upcall;
using tests::fix_ipv4_checksum;
using tests::naive_sum;
using tests::octet;
using tests::set_word;
using tests::word_at;
using tunnels::Payload;

/// A packet with UDP in it, unless `protocol` says otherwise.
struct IpSpec {
    IpAddress source = *IpAddress::parse("10.0.0.9");
    IpAddress destination = *IpAddress::parse("10.0.0.1");
    std::uint8_t tos = 0;
    std::uint8_t ttl = 64;
    bool df = true;
    std::uint8_t protocol = tunnels::kIpProtocolUdp;
    std::size_t bytes = 100;  ///< In all.
    std::uint16_t source_port = 1000;
};

inline Frame make_ip(const IpSpec& spec) {
    Frame packet(spec.bytes);
    const bool is_v4 = spec.destination.is_v4();
    const std::size_t header_bytes = is_v4 ? 20 : 40;
    const std::size_t payload_bytes = spec.bytes - header_bytes;
    for (std::size_t i = header_bytes; i < spec.bytes; ++i) {
        packet[i] = static_cast<std::byte>((i * 7 + i / 256) & 0xffU);
    }
    if (is_v4) {
        packet[0] = std::byte{0x45};
        packet[1] = std::byte{spec.tos};
        set_word(packet, 2, static_cast<unsigned>(spec.bytes));
        set_word(packet, 4, 0x1234);
        set_word(packet, 6, spec.df ? 0x4000 : 0);
        packet[8] = std::byte{spec.ttl};
        packet[9] = std::byte{spec.protocol};
        std::memcpy(&packet[12], spec.source.v4(), 4);
        std::memcpy(&packet[16], spec.destination.v4(), 4);
        fix_ipv4_checksum(packet, 0);
    } else {
        set_word(packet, 0, 0x6000U | unsigned{spec.tos} << 4U);
        set_word(packet, 4, static_cast<unsigned>(payload_bytes));
        packet[6] = std::byte{spec.protocol};
        packet[7] = std::byte{spec.ttl};
        std::memcpy(&packet[8], spec.source.bytes.data(), 16);
        std::memcpy(&packet[24], spec.destination.bytes.data(), 16);
    }
    if (spec.protocol == tunnels::kIpProtocolUdp && payload_bytes >= 8) {
        set_word(packet, header_bytes, spec.source_port);
        set_word(packet, header_bytes + 2, 2000);
        set_word(packet, header_bytes + 4, static_cast<unsigned>(payload_bytes));
        set_word(packet, header_bytes + 6, 0);
    }
    return packet;
}

inline IpSpec v6_spec() {
    IpSpec spec;
    spec.source = ip("fd10::9");
    spec.destination = ip("fd10::1");
    return spec;
}

/// The packet behind an Ethernet header.
inline Frame ethernet(
    const MacAddress& destination, const MacAddress& source, const Frame& packet, int vlan = -1
) {
    Frame frame = make_frame(destination, source, vlan, 0);
    const bool is_v4 = octet(packet, 0) >> 4U == 4;
    set_word(frame, frame.size() - 2, is_v4 ? 0x0800 : 0x86dd);
    frame.insert(frame.end(), packet.begin(), packet.end());
    return frame;
}

inline Frame slice(const Frame& frame, std::size_t from, std::size_t bytes = SIZE_MAX) {
    const std::size_t end = bytes > frame.size() - from ? frame.size() : from + bytes;
    return {
        frame.begin() + static_cast<std::ptrdiff_t>(from),
        frame.begin() + static_cast<std::ptrdiff_t>(end)};
}

inline constexpr unsigned kMore = 0x2000;

/// What the IPv4 fragments carry behind their headers at `at`, if they follow each other.
inline Frame joined(const std::vector<Frame>& pieces, std::size_t at = 14) {
    Frame payload;
    for (const Frame& piece : pieces) {
        EXPECT_EQ(naive_sum(std::span(piece).subspan(at, 20)), 0xffffU);
        EXPECT_EQ((word_at(piece, at + 6) & 0x1fffU) * 8, payload.size());
        EXPECT_EQ((word_at(piece, at + 6) & kMore) != 0, &piece != &pieces.back());
        EXPECT_EQ(word_at(piece, at + 4), word_at(pieces[0], at + 4));
        EXPECT_EQ(word_at(piece, at + 6) & 0x4000U, 0U);
        const Frame part = slice(piece, at + 20, word_at(piece, at + 2) - 20);
        payload.insert(payload.end(), part.begin(), part.end());
    }
    return payload;
}

/// The same of IPv6 fragments.
inline Frame joined_v6(const std::vector<Frame>& pieces) {
    constexpr std::size_t kFragment = 14 + 40;
    Frame payload;
    for (const Frame& piece : pieces) {
        EXPECT_EQ(octet(piece, 14 + 6), 44U);
        EXPECT_EQ(word_at(piece, kFragment + 2) & 0xfff8U, payload.size());
        EXPECT_EQ((word_at(piece, kFragment + 2) & 1U) != 0, &piece != &pieces.back());
        EXPECT_EQ(slice(piece, kFragment + 4, 4), slice(pieces[0], kFragment + 4, 4));
        EXPECT_EQ(word_at(piece, 14 + 4), piece.size() - kFragment);
        const Frame part = slice(piece, kFragment + 8);
        payload.insert(payload.end(), part.begin(), part.end());
    }
    return payload;
}

/// The sum of the upper-layer packet behind the IP header at `at` and its pseudo-header: 0xffff
/// when its checksum is right.
inline unsigned upper_sum(const Frame& frame, std::size_t at) {
    const bool is_v4 = octet(frame, at) >> 4U == 4;
    const std::size_t upper = at + (is_v4 ? 20U : 40U);
    const std::size_t addresses = at + (is_v4 ? 12U : 8U);
    const unsigned protocol = octet(frame, at + (is_v4 ? 9U : 6U));
    const std::size_t length = is_v4 ? word_at(frame, at + 2) - 20U : word_at(frame, at + 4);
    const auto bytes = std::span(frame);
    const unsigned pseudo = naive_sum(
        bytes.subspan(addresses, upper - addresses), protocol + static_cast<unsigned>(length)
    );
    return naive_sum(bytes.subspan(upper, length), pseudo);
}

/// A TCP SYN with an MSS option.
inline Frame make_syn(IpSpec spec, unsigned mss) {
    spec.protocol = 6;
    const std::size_t tcp = spec.destination.is_v4() ? 20 : 40;
    spec.bytes = tcp + 24;
    Frame packet = make_ip(spec);
    packet[tcp + 12] = std::byte{0x60};
    packet[tcp + 13] = std::byte{0x02};
    packet[tcp + 20] = std::byte{2};
    packet[tcp + 21] = std::byte{4};
    set_word(packet, tcp + 22, mss);
    set_word(packet, tcp + 16, 0);
    set_word(packet, tcp + 16, ~upper_sum(packet, 0) & 0xffffU);
    return packet;
}

struct TunnelSpec {
    std::string_view type = "vxlan";
    bool v6 = false;  ///< The underlay.
    std::optional<std::uint32_t> key = 500;
    std::uint16_t udp_port = 0;  ///< 0: the protocol's.
    tunnels::OuterConfig outer{};
    tunnels::HeaderConfig header{};
    dataplane::TunnelTransmit transmit{};
    dataplane::TunnelReceive receive{};
    std::uint32_t underlay_mtu = 1600;
    IpAddress remote{};  ///< Unset: remote_ip or remote_ip6.
};

class TunnelPath : public PacketPath {
protected:
    static constexpr std::uint16_t kGateway = 7;

    TunnelPath() : gateway(std::make_shared<FakePort>()) {
        snapshot.bridges[0].local_port = kLocal;
        snapshot.local_addresses.insert(local_ip6);
        snapshot.ports.resize(8);
        auto& port = snapshot.ports[kGateway];
        port.device = gateway;
        port.bridge = 1;
        port.mtu = 1500;
        port.up = true;
        port.generation = 1;
        auto& bridge = snapshot.bridges[1];
        bridge.members.push_back(kGateway);
        bridge.terminates_tunnels = true;
        bridge.local_mac = mac(0xee);
        bridge.local_port = kGateway;
        bridge.l3 = l3;
        l3->gateway = {ip("10.0.0.254"), ip("fd10::fe")};
        l3->gateway_v4 = ip("10.0.0.254");
        l3->gateway_v6 = ip("fd10::fe");
    }
    ~TunnelPath() override { context->reassembler.reset(); }

    void create_reassembler() {
        context->reassembler =
            dataplane::Reassembler::create(rte_get_tsc_hz(), SOCKET_ID_ANY, packet_pool());
        ASSERT_TRUE(context->reassembler);
    }

    /// A tunnel of bridge 1; returns its port.
    std::uint16_t add(TunnelSpec spec) {
        const std::uint8_t protocol = *tunnels::find_protocol(spec.type);
        const auto& match = tunnels::kProtocols[protocol].outer;
        if (spec.udp_port == 0) {
            spec.udp_port = match.default_udp_port;
        }
        if (spec.type == "lisp") {
            spec.header.payload = Payload::ip;
        }
        spec.outer.local = spec.v6 ? local_ip6 : local_ip;
        spec.outer.remote = !spec.remote.is_unset() ? spec.remote
                            : spec.v6               ? remote_ip6
                                                    : remote_ip;
        spec.outer.udp_destination = spec.udp_port;
        spec.header.key = spec.key;
        const auto index = static_cast<std::uint16_t>(snapshot.ports.size());
        snapshot.ports.resize(index + std::size_t{1});
        auto& port = snapshot.ports[index];
        port.bridge = 1;
        port.generation = 1;
        port.is_l3 = spec.header.payload == Payload::ip;
        port.tunnel = static_cast<std::uint16_t>(snapshot.tunnels.size());
        snapshot.bridges[1].members.push_back(index);
        TunnelView tunnel;
        tunnel.header = tunnels::build_template(
            protocol, {.destination = mac(0xaa), .source = mac(0xfe)}, spec.outer, spec.header
        );
        tunnel.resolved = true;
        tunnel.out_port = kUplink;
        tunnel.underlay_mtu = spec.underlay_mtu;
        tunnel.transmit = spec.transmit;
        tunnel.transmit.payload = spec.header.payload;
        tunnel.receive = spec.receive;
        tunnel.receive.payload = spec.header.payload;
        tunnel.sequence = std::make_shared<dataplane::TunnelSequence>();
        snapshot.tunnels.push_back(tunnel);
        snapshot.listeners.push_back({match.ip_protocol, protocol, spec.udp_port});
        peers.push_back(
            {{.remote = spec.outer.remote,
              .key = spec.key.value_or(0),
              .udp_port = spec.udp_port,
              .protocol = protocol,
              .payload = spec.header.payload},
             index}
        );
        snapshot.peers = dataplane::PeerTable(peers);
        ++snapshot.version;
        specs[index] = spec;
        return index;
    }
    TunnelView& tunnel(std::uint16_t port) { return snapshot.tunnels[snapshot.ports[port].tunnel]; }

    struct WrapOptions {
        std::uint8_t tos = 0;
        std::uint32_t sequence = 0;
    };
    /// `inner` as the remote endpoint of the tunnel at `port` sends it, were it set up as `spec`
    /// says.
    Frame wrap(const TunnelSpec& spec, const Frame& inner, const WrapOptions& options) const {
        tunnels::OuterConfig outer = spec.outer;
        std::swap(outer.local, outer.remote);
        const auto header = tunnels::build_template(
            *tunnels::find_protocol(spec.type),
            {.destination = mac(0xfe), .source = mac(0xaa)},
            outer,
            spec.header
        );
        Frame frame(header.bytes.begin(), header.bytes.begin() + header.length);
        frame.insert(frame.end(), inner.begin(), inner.end());
        const auto front = std::span(frame).first(header.length);
        tunnels::patch_outer(
            header, front, {.frame_bytes = frame.size(), .entropy = 1, .tos = options.tos}
        );
        const bool is_v6 = spec.header.payload == Payload::ip && octet(inner, 0) >> 4U == 6;
        tunnels::patch_tunnel(header, front, {.is_v6 = is_v6, .sequence = options.sequence});
        if (header.checksum_offset != 0) {
            const auto packet = std::span(frame).subspan(header.tunnel_offset);
            set_word(packet, header.checksum_offset, ~naive_sum(packet) & 0xffffU);
        }
        if (header.udp_checksum) {
            set_word(frame, header.udp_offset + 6U, ~upper_sum(frame, header.ip_offset) & 0xffffU);
        }
        return frame;
    }
    Frame wrap(std::uint16_t port, const Frame& inner, const WrapOptions& options) const {
        return wrap(specs.at(port), inner, options);
    }
    Frame wrap(std::uint16_t port, const Frame& inner) const { return wrap(port, inner, {}); }

    /// A frame for kVif1 from a host behind a tunnel, and its flow.
    static Frame inner_frame(const IpSpec& spec = {}, int vlan = -1) {
        return ethernet(mac(1), mac(9), make_ip(spec), vlan);
    }
    void admit_from(std::uint16_t port) {
        insert_flow({.in_port = port, .destination = mac(1), .source = mac(9)}, forward(kVif1));
    }
    /// A frame of the host at kVif1 to a host behind a tunnel, and its flow.
    static Frame outgoing(const IpSpec& spec = {}) {
        return ethernet(mac(9), mac(1), make_ip(spec));
    }
    void lead_to(std::uint16_t port) {
        insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, forward(port));
    }
    /// Sends one frame from kVif1 and returns what leaves by the uplink.
    std::vector<Frame> send(const Frame& frame) {
        receive(kVif1, {frame});
        return devices[kUplink]->take_sent();
    }
    /// What is in an encapsulated frame that kUplink sent for the tunnel at `port`.
    Frame unwrapped(std::uint16_t port, const Frame& frame) {
        return slice(frame, tunnel(port).header.length);
    }

    /// A frame too large for one buffer, or to be cut at `segment_bytes`.
    static rte_mbuf* make_chain(const Frame& frame, std::size_t segment_bytes = 1500) {
        rte_mbuf* packet = nullptr;
        for (std::size_t at = 0; at < frame.size(); at += segment_bytes) {
            rte_mbuf* segment = make_packet(slice(frame, at, segment_bytes));
            if (packet == nullptr) {
                packet = segment;
            } else {
                EXPECT_EQ(rte_pktmbuf_chain(packet, segment), 0);
            }
        }
        return packet;
    }
    void receive_packet(std::uint16_t port, rte_mbuf* packet) {
        dataplane::process_burst(*context, port, std::span(&packet, 1));
        dataplane::flush(*context);
    }

    /// The upcalls that wait; given packets are freed.
    std::vector<Upcall> take_upcalls() {
        std::vector<Upcall> all;
        Upcall upcall;
        while (upcalls->pop(upcall)) {
            if (upcall.kind != Upcall::Kind::miss) {
                rte_pktmbuf_free(upcall.packet);
            }
            all.push_back(upcall);
        }
        return all;
    }

    std::map<std::uint16_t, TunnelSpec> specs;
    const IpAddress local_ip6 = ip("fd20::1");
    const IpAddress remote_ip6 = ip("fd20::2");
    std::shared_ptr<FakePort> gateway;
    std::shared_ptr<dataplane::L3View> l3 = std::make_shared<dataplane::L3View>();
};

}  // namespace culvert::testing
