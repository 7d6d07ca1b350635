// SPDX-License-Identifier: GPL-2.0-or-later
//
// Parsing of a received tunnel packet: the outer headers, beside DPDK's own parser with a check of
// the IPv4 checksum added, and the tunnel header of each protocol, beside a copy of it. Both are
// floors: DPDK's parser judges neither lengths nor fragments and reads no address. Main thread
// only.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <rte_ip.h>
#include <rte_net.h>

#include "bench/benches.hpp"
#include "bench/frames.hpp"
#include "bench/measure.hpp"
#include "bench/path_fixture.hpp"

namespace culvert::bench {

namespace {

using dataplane::kBurstMax;

/// A frame of each of 32 flows in a tunnel of the protocol at `index`.
std::vector<Frame> tunnel_frames(std::uint8_t index, bool over_v6) {
    const auto header = over_v6 ? tunnel_template(index, underlay_v6(2), underlay_v6(1))
                                : tunnel_template(index, underlay_v4(2), underlay_v4(1));
    std::vector<Frame> frames;
    for (std::uint32_t flow = 0; flow < kBurstMax; ++flow) {
        frames.push_back(tunnel_frame(header, inner_frame(flow)));
    }
    return frames;
}

void parse_outer(benchmark::State& state, const std::vector<Frame>& frames) {
    const Packets packets(frames);
    for (const rte_mbuf* packet : packets.all()) {
        const auto outer = tunnels::parse_outer(dataplane::packet::head(packet), packet->pkt_len);
        const bool whole = outer.drop == tunnels::DropReason::none && outer.payload_bytes != 0;
        if (!require(state, whole, "an outer header was refused")) {
            return;
        }
    }
    measure(state, kBurstMax, [&] {
        for (const rte_mbuf* packet : packets.burst(0)) {
            auto outer = tunnels::parse_outer(dataplane::packet::head(packet), packet->pkt_len);
            benchmark::DoNotOptimize(outer);
        }
    });
}

/// Returns false when DPDK would not call the packet a good one.
bool parse_with_rte_net(const rte_mbuf* packet) {
    rte_net_hdr_lens lengths;
    const std::uint32_t type = ::rte_net_get_ptype(
        packet, &lengths, RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK
    );
    benchmark::DoNotOptimize(lengths);
    if (RTE_ETH_IS_IPV4_HDR(type) == 0) {
        return RTE_ETH_IS_IPV6_HDR(type) != 0;
    }
    const auto* ip = rte_pktmbuf_mtod_offset(packet, const rte_ipv4_hdr*, lengths.l2_len);
    return ::rte_ipv4_cksum(ip) == 0 || ip->hdr_checksum == 0;
}

void parse_floor(benchmark::State& state, const std::vector<Frame>& frames) {
    const Packets packets(frames);
    if (!require(state, parse_with_rte_net(packets.all()[0]), "a good packet was refused")) {
        return;
    }
    measure(state, kBurstMax, [&] {
        for (const rte_mbuf* packet : packets.burst(0)) {
            bool good = parse_with_rte_net(packet);
            benchmark::DoNotOptimize(good);
        }
    });
}

void add_outer(Suite& suite, const std::string& variant, const std::vector<Frame>& frames) {
    const std::string ours = "parse/outer/" + variant;
    suite.add(ours, [=](benchmark::State& state) { parse_outer(state, frames); });
    suite.add_beside(
        ours,
        "floor/rte_net/ptype_and_checksum/" + variant,
        [=](benchmark::State& state) { parse_floor(state, frames); }
    );
}

/// Tunnel headers of 32 packets, each with the start of the inner frame behind it.
template <class P>
struct TunnelHeaders {
    static constexpr std::size_t kReadable = 64;
    std::array<std::array<std::byte, kReadable>, kBurstMax> bytes{};
    std::size_t header_bytes = P::header_bytes({.key = kTunnelKey});

    TunnelHeaders() {
        for (std::uint32_t i = 0; i < kBurstMax; ++i) {
            P::write({.key = kTunnelKey + i}, std::span(bytes[i]).first(header_bytes));
        }
    }
};

template <class P>
void parse_tunnel(benchmark::State& state) {
    const TunnelHeaders<P> headers;
    const tunnels::Parsed first = P::parse(headers.bytes[0]);
    const bool right = first.drop == tunnels::DropReason::none && first.key == kTunnelKey;
    if (!require(state, right, "a tunnel header was refused")) {
        return;
    }
    measure(state, kBurstMax, [&] {
        for (const auto& bytes : headers.bytes) {
            auto parsed = P::parse(bytes);
            benchmark::DoNotOptimize(parsed);
        }
    });
}

template <class P>
void copy_tunnel(benchmark::State& state) {
    const TunnelHeaders<P> headers;
    // Of a constant length, so it is inlined, and no shorter than a header with a key.
    std::array<std::byte, std::min<std::size_t>(P::kHeaderBytesMax, 16)> copy;
    measure(state, kBurstMax, [&] {
        for (const auto& bytes : headers.bytes) {
            std::memcpy(copy.data(), bytes.data(), copy.size());
            benchmark::DoNotOptimize(copy);
        }
    });
}

}  // namespace

void add_parse_benches(Suite& suite) {
    const std::uint8_t vxlan = *tunnels::find_protocol("vxlan");
    const std::uint8_t gre = *tunnels::find_protocol("gre");
    add_outer(suite, "ipv4_udp", tunnel_frames(vxlan, false));
    add_outer(suite, "ipv6_udp", tunnel_frames(vxlan, true));
    add_outer(suite, "ipv4_gre", tunnel_frames(gre, false));
    for_each_protocol([&]<class P>(std::uint8_t /*index*/) {
        const std::string name(P::kName);
        suite.add("parse/tunnel/" + name, parse_tunnel<P>);
        suite.add_beside("parse/tunnel/" + name, "floor/memcpy/parse/" + name, copy_tunnel<P>);
    });
}

}  // namespace culvert::bench
