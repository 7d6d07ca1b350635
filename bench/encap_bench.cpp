// SPDX-License-Identifier: GPL-2.0-or-later
//
// Encapsulation and decapsulation of each protocol alone: the prebuilt headers copied and patched
// into plain memory, with a key only and with all that the protocol offers; dataplane::encap() of
// packets, the output queue included; admit_burst() of tunnel packets, which validates, finds the
// tunnel and strips. The floors only copy the same number of header bytes and move the same
// packets. Main thread only.
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <rte_mbuf.h>
#include <rte_memcpy.h>

#include "bench/benches.hpp"
#include "bench/measure.hpp"
#include "bench/path_fixture.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/encap.hpp"
#include "dataplane/rx.hpp"
#include "tunnels/encap.hpp"

namespace culvert::bench {

namespace {

using dataplane::kBurstMax;
using tunnels::EncapTemplate;

constexpr std::size_t kFrameBytes = 128;
constexpr const char* kWrongPacket = "a packet did not take the way that is to be measured";

/// Room for 32 packets.
using Buffers = std::array<std::array<std::byte, kFrameBytes>, kBurstMax>;

void write_headers(benchmark::State& state, const EncapTemplate& header) {
    Buffers buffers{};
    std::uint32_t entropy = 0;
    measure(state, kBurstMax, [&] {
        for (auto& buffer : buffers) {
            const auto out = std::span(buffer).first(header.length);
            ::rte_memcpy(out.data(), header.bytes.data(), header.length);  // As encap() does.
            tunnels::patch_outer(
                header,
                out,
                {.frame_bytes = kFrameBytes,
                 .entropy = entropy,
                 .tos = header.tos,
                 .ttl = header.ttl}
            );
            if (header.patched) {
                tunnels::patch_tunnel(header, out, {.sequence = entropy, .entropy = entropy});
            }
            ++entropy;
            benchmark::DoNotOptimize(buffer);
        }
    });
}

/// For a tunnel that sends all that its protocol offers beside the key.
tunnels::EncapTemplate full_template(std::uint8_t index) {
    // One critical option with 4 bytes of data.
    static constexpr std::array<std::byte, 8> kOptions{
        std::byte{0x01}, std::byte{0x02}, std::byte{0x80}, std::byte{0x01}};
    const tunnels::Features features = tunnels::kProtocols.at(index).features;
    tunnels::HeaderConfig config{
        .key = kTunnelKey,
        .payload = features.ip ? tunnels::Payload::ip : tunnels::Payload::ethernet,
        .checksum = features.checksum,
        .sequence = features.sequence};
    if (features.group_policy) {
        config.group_policy = std::uint16_t{1};
    }
    if (features.options) {
        config.options = kOptions;
    }
    tunnels::OuterConfig outer;
    outer.local = underlay_v4(1);
    outer.remote = underlay_v4(2);
    return tunnels::build_template(index, {}, outer, config);
}

void write_template(benchmark::State& state, std::uint8_t index) {
    write_headers(state, tunnel_template(index, underlay_v4(1), underlay_v4(2)));
}

void write_full_template(benchmark::State& state, std::uint8_t index) {
    write_headers(state, full_template(index));
}

void copy_template(benchmark::State& state, std::uint8_t index) {
    const EncapTemplate header = tunnel_template(index, underlay_v4(1), underlay_v4(2));
    Buffers buffers{};
    measure(state, kBurstMax, [&] {
        for (auto& buffer : buffers) {
            std::memcpy(buffer.data(), header.bytes.data(), kFloorCopyBytes);
            benchmark::DoNotOptimize(buffer);
        }
    });
}

std::vector<Frame> inner_frames() {
    std::vector<Frame> frames;
    for (std::uint32_t flow = 0; flow < kStagePackets; ++flow) {
        frames.push_back(inner_frame(flow));
    }
    return frames;
}

std::vector<Frame> tunnel_frames(std::uint8_t index) {
    std::vector<Frame> frames;
    for (const Frame& inner : inner_frames()) {
        frames.push_back(tunnel_frame(PathFixture::remote_template(index), inner));
    }
    return frames;
}

void encap_packets(benchmark::State& state, std::uint8_t index) {
    const dataplane::FlowCache flows(dataplane::kFlowsMin);
    PathFixture path(flows);
    Packets packets(inner_frames());
    const auto work = [&] {
        for (std::size_t number = 0; number < kStageBursts; ++number) {
            dataplane::encap_burst(
                path.context(), PathFixture::tunnel_port(index), packets.burst(number)
            );
            dataplane::flush(path.context());
        }
    };
    work();
    const bool bare = tunnel_payload(index) == tunnels::Payload::ip;
    const std::size_t grown = kInnerBytes + path.local_template(index).length -
                              (bare ? sizeof(tunnels::EthernetHeader) : 0U);
    const bool right = path.sink().taken() == kStagePackets && packets.all()[0]->pkt_len == grown;
    if (!require(state, right, kWrongPacket)) {
        return;
    }
    measure_staged(
        state, kStagePackets, [&] { packets.reset(); }, work
    );
}

/// Hands over what `take` collected, as flush() does.
template <class Take>
void send_bursts(Packets& packets, SinkPort& sink, const Take& take) {
    for (std::size_t number = 0; number < kStageBursts; ++number) {
        std::array<rte_mbuf*, kBurstMax> out;
        std::size_t count = 0;
        for (rte_mbuf* packet : packets.burst(number)) {
            take(packet);
            out[count++] = packet;
        }
        static_cast<void>(sink.transmit(0, out));
    }
}

void prepend_packets(benchmark::State& state, std::uint8_t index) {
    const EncapTemplate header = tunnel_template(index, underlay_v4(1), underlay_v4(2));
    Packets packets(inner_frames());
    SinkPort sink;
    measure_staged(
        state,
        kStagePackets,
        [&] { packets.reset(); },
        [&] { send_bursts(packets, sink, [&](rte_mbuf* packet) { prepend_copy(packet, header); }); }
    );
}

void admit_packets(benchmark::State& state, std::uint8_t index) {
    const dataplane::FlowCache flows(dataplane::kFlowsMin);
    PathFixture path(flows);
    Packets packets(tunnel_frames(index));
    bool right = true;
    const auto work = [&] {
        for (std::size_t number = 0; number < kStageBursts; ++number) {
            dataplane::Batch batch;
            dataplane::admit_burst(path.context(), kUplink, packets.burst(number), batch);
            right = right && batch.count() == kBurstMax &&
                    batch.keys()[0].in_port == PathFixture::tunnel_port(index);
            benchmark::DoNotOptimize(batch);
        }
    };
    measure_staged(
        state, kStagePackets, [&] { packets.reset(); }, work
    );
    static_cast<void>(require(state, right, kWrongPacket));
}

void copy_strip(benchmark::State& state, std::uint8_t index) {
    const std::uint16_t header_bytes = PathFixture::remote_template(index).length;
    Packets packets(tunnel_frames(index));
    SinkPort sink;
    std::array<std::byte, kFrameBytes> copy;
    measure_staged(
        state,
        kStagePackets,
        [&] { packets.reset(); },
        [&] {
            send_bursts(packets, sink, [&](rte_mbuf* packet) {
                std::memcpy(copy.data(), rte_pktmbuf_mtod(packet, const void*), kFloorCopyBytes);
                benchmark::DoNotOptimize(copy);
                ::rte_pktmbuf_adj(packet, header_bytes);
            });
        }
    );
}

}  // namespace

void add_encap_benches(Suite& suite) {
    const auto bind = [](void (*body)(benchmark::State&, std::uint8_t), std::uint8_t index) {
        return [=](benchmark::State& state) { body(state, index); };
    };
    for_each_protocol([&]<class P>(std::uint8_t index) {
        const std::string name(P::kName);
        suite.add("encap/template/" + name, bind(write_template, index));
        suite.add_beside(
            "encap/template/" + name, "floor/memcpy/template/" + name, bind(copy_template, index)
        );
        suite.add("encap/template_full/" + name, bind(write_full_template, index));
        suite.add("encap/packet/" + name, bind(encap_packets, index));
        suite.add_beside(
            "encap/packet/" + name, "floor/memcpy/prepend/" + name, bind(prepend_packets, index)
        );
        suite.add("decap/admit/" + name, bind(admit_packets, index));
        suite.add_beside(
            "decap/admit/" + name, "floor/memcpy/strip/" + name, bind(copy_strip, index)
        );
    });
}

}  // namespace culvert::bench
