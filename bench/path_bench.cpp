// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet path, in bursts of 32: admit_burst() and look-up alone, and process_burst() with
// flush() from a received packet to the device. Beside it the least that a DPDK program does for
// the same packets: read the addresses, look them up in rte_hash, add or remove a fixed header,
// send. It checks nothing, counts nothing, knows one tunnel and patches no header, so it is a
// floor. The devices cost nothing in either. Main thread only.
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <rte_hash.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "bench/benches.hpp"
#include "bench/measure.hpp"
#include "bench/path_fixture.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/pipeline.hpp"
#include "dataplane/rx.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowKey;
using dataplane::FlowVerdict;
using dataplane::kBurstMax;
using Burst = std::span<rte_mbuf* const>;

constexpr std::size_t kTunnelFlows = 1000;
constexpr const char* kWrongPacket = "a packet did not take the way that is to be measured";

std::vector<Frame> plain_frames() {
    return {inner_frame(1)};
}

/// A burst through admit_burst() and the look-up; false when one was dropped or missed.
bool admit_and_find(dataplane::Context& context, Burst burst) {
    std::array<const dataplane::FlowEntry*, kBurstMax> found;
    dataplane::Batch batch;
    dataplane::admit_burst(context, kFlowIngress, burst, batch);
    const auto entries = std::span(found).first(batch.runs());
    context.flows->find_burst(batch.keys(), batch.hashes(), entries);
    bool right = batch.count() == kBurstMax;
    for (const dataplane::FlowEntry* entry : entries) {
        right = right && entry != nullptr;
    }
    return right;
}

void admit_and_lookup(benchmark::State& state, std::size_t flows) {
    FlowSet& set = flow_set(flows);
    PathFixture path(set.cache());
    Packets packets(plain_frames());
    KeyRing ring(set.present());
    bool right = true;
    measure_staged(
        state,
        kStagePackets,
        [&] { packets.address(ring); },
        [&] {
            for (std::size_t number = 0; number < kStageBursts; ++number) {
                right = admit_and_find(path.context(), packets.burst(number)) && right;
            }
        }
    );
    static_cast<void>(require(state, right, kWrongPacket));
}

/// Times process_burst() and flush() on the packets, and requires that each leaves by a port.
template <class Prepare>
void measure_path(
    benchmark::State& state,
    PathFixture& path,
    std::uint16_t port,
    const Packets& packets,
    const Prepare& prepare
) {
    measure_staged(state, kStagePackets, prepare, [&] {
        for (std::size_t number = 0; number < kStageBursts; ++number) {
            dataplane::process_burst(path.context(), port, packets.burst(number));
            dataplane::flush(path.context());
        }
    });
    const auto expected = static_cast<std::size_t>(state.iterations());
    static_cast<void>(require(state, path.sink().taken() == expected, kWrongPacket));
}

void switch_packets(benchmark::State& state, std::size_t flows) {
    FlowSet& set = flow_set(flows);
    PathFixture path(set.cache());
    Packets packets(plain_frames());
    KeyRing ring(set.present());
    measure_path(state, path, kFlowIngress, packets, [&] { packets.address(ring); });
}

/// Frames of as many IP flows as there are packets, between the two hosts of one flow of `set`:
/// what a bridge that learns sees of two machines that talk much.
std::vector<Frame> tuple_frames(const FlowSet& set) {
    std::vector<Frame> frames;
    const FlowKey& key = set.present().front();
    for (std::uint32_t i = 0; i < kStagePackets; ++i) {
        Frame frame = inner_frame(i);
        std::memcpy(frame.data(), key.destination.bytes.data(), 6);
        std::memcpy(frame.data() + 6, key.source.bytes.data(), 6);
        frames.push_back(frame);
    }
    return frames;
}

void switch_tuples(benchmark::State& state) {
    FlowSet& set = flow_set(kTunnelFlows);
    PathFixture path(set.cache());
    Packets packets(tuple_frames(set));
    measure_path(state, path, kFlowIngress, packets, [&] { packets.reset(); });
}

/// Whether packets go into the tunnel or come out of it.
enum class Direction : bool { encap, decap };

/// Lets all flows of a set lead into, or come out of, one tunnel.
void insert_tunnel_flows(
    dataplane::FlowCache& cache, const FlowSet& set, Direction direction, std::uint8_t index
) {
    const std::uint16_t tunnel = PathFixture::tunnel_port(index);
    const bool encap = direction == Direction::encap;
    if (!encap && tunnel_payload(index) == tunnels::Payload::ip) {
        // The addresses are those of the gateway and its host, whatever the packet.
        FlowKey key;
        key.in_port = tunnel;
        key.destination = inner_destination_mac();
        key.source = gateway_mac();
        cache.insert(
            key,
            {.verdict = FlowVerdict::forward,
             .reason = dataplane::DropReason::none,
             .out_port = kFlowEgress},
            1,
            0
        );
        return;
    }
    for (FlowKey key : set.present()) {
        key.in_port = encap ? kFlowIngress : tunnel;
        cache.insert(
            key,
            {.verdict = FlowVerdict::forward,
             .reason = dataplane::DropReason::none,
             .out_port = encap ? tunnel : kFlowEgress},
            1,
            0
        );
    }
}

/// Whose packets: of many pairs of hosts, or many IP flows of one pair.
enum class Mix : bool { pairs, tuples };

/// One frame for each packet, with the addresses of the flows of `set`.
std::vector<Frame>
tunnel_path_frames(const FlowSet& set, Direction direction, std::uint8_t index, Mix mix) {
    std::vector<Frame> frames = tuple_frames(set);
    for (std::uint32_t i = 0; i < kStagePackets; ++i) {
        Frame& frame = frames[i];
        if (mix == Mix::pairs) {
            const FlowKey& key = set.present()[i % set.present().size()];
            std::memcpy(frame.data(), key.destination.bytes.data(), 6);
            std::memcpy(frame.data() + 6, key.source.bytes.data(), 6);
        }
        if (direction == Direction::decap) {
            frame = tunnel_frame(PathFixture::remote_template(index), frame);
        }
    }
    return frames;
}

void tunnel_packets(benchmark::State& state, Direction direction, std::uint8_t index, Mix mix) {
    const FlowSet& set = flow_set(kTunnelFlows);
    dataplane::FlowCache cache(kTunnelFlows);
    insert_tunnel_flows(cache, set, direction, index);
    PathFixture path(cache);
    Packets packets(tunnel_path_frames(set, direction, index, mix));
    const std::uint16_t port = direction == Direction::encap ? kFlowIngress : kUplink;
    measure_path(state, path, port, packets, [&] { packets.reset(); });
}

/// Out of the tunnel of one protocol and into that of another, as a hub does.
void relay_packets(benchmark::State& state, std::uint8_t from, std::uint8_t to) {
    const FlowSet& set = flow_set(kTunnelFlows);
    dataplane::FlowCache cache(kTunnelFlows);
    for (FlowKey key : set.present()) {
        key.in_port = PathFixture::tunnel_port(from);
        cache.insert(
            key,
            {.verdict = FlowVerdict::forward,
             .reason = dataplane::DropReason::none,
             .out_port = PathFixture::tunnel_port(to)},
            1,
            0
        );
    }
    PathFixture path(cache);
    Packets packets(tunnel_path_frames(set, Direction::decap, from, Mix::pairs));
    measure_path(state, path, kUplink, packets, [&] { packets.reset(); });
}

/// The floor: `change` sees each packet first, then it is looked up, and sent when it is known.
template <class Change>
void hash_burst(const rte_hash& table, SinkPort& sink, Burst burst, const Change& change) {
    std::array<FlowKey, kBurstMax> keys;
    std::array<const void*, kBurstMax> pointers;
    std::array<void*, kBurstMax> data;
    std::array<rte_mbuf*, kBurstMax> out;
    std::uint64_t hits = 0;
    for (rte_mbuf* packet : burst) {
        rte_prefetch0(rte_pktmbuf_mtod(packet, const void*));
    }
    for (std::size_t i = 0; i < kBurstMax; ++i) {
        const auto* frame = static_cast<const std::byte*>(change(burst[i]));
        keys[i].in_port = kFlowIngress;
        std::memcpy(keys[i].destination.bytes.data(), frame, 6);
        std::memcpy(keys[i].source.bytes.data(), frame + 6, 6);
        pointers[i] = &keys[i];
    }
    ::rte_hash_lookup_bulk_data(&table, pointers.data(), kBurstMax, &hits, data.data());
    std::size_t count = 0;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
        if ((hits >> i & 1U) != 0) {
            benchmark::DoNotOptimize(data[i]);
            out[count++] = burst[i];
        }
    }
    static_cast<void>(sink.transmit(0, std::span(out).first(count)));
}

template <class Prepare, class Change>
void measure_floor(
    benchmark::State& state,
    const rte_hash& table,
    const Packets& packets,
    const Prepare& prepare,
    const Change& change
) {
    SinkPort sink;
    measure_staged(state, kStagePackets, prepare, [&] {
        for (std::size_t number = 0; number < kStageBursts; ++number) {
            hash_burst(table, sink, packets.burst(number), change);
        }
    });
    const auto expected = static_cast<std::size_t>(state.iterations());
    static_cast<void>(require(state, sink.taken() == expected, kWrongPacket));
}

void switch_floor(benchmark::State& state, std::size_t flows) {
    FlowSet& set = flow_set(flows);
    Packets packets(plain_frames());
    KeyRing ring(set.present());
    measure_floor(
        state,
        set.hash(),
        packets,
        [&] { packets.address(ring); },
        [](rte_mbuf* packet) { return rte_pktmbuf_mtod(packet, void*); }
    );
}

void tunnel_floor(benchmark::State& state, Direction direction, std::uint8_t index) {
    FlowSet& set = flow_set(kTunnelFlows);
    Packets packets(tunnel_path_frames(set, direction, index, Mix::pairs));
    const auto header = PathFixture::remote_template(index);
    const auto reset = [&] { packets.reset(); };
    if (direction == Direction::encap) {
        measure_floor(state, set.hash(), packets, reset, [&](rte_mbuf* packet) {
            const void* frame = rte_pktmbuf_mtod(packet, void*);
            prepend_copy(packet, header);
            return frame;
        });
        return;
    }
    measure_floor(state, set.hash(), packets, reset, [&](rte_mbuf* packet) {
        ::rte_pktmbuf_adj(packet, header.length);
        return rte_pktmbuf_mtod(packet, void*);
    });
}

}  // namespace

void add_path_benches(Suite& suite) {
    for (const std::size_t flows : {1000U, 100'000U, 1'000'000U}) {
        const std::string count = "/" + std::to_string(flows);
        const std::string floor = "floor/rte_hash/switch" + count;
        const auto floor_body = [=](benchmark::State& state) { switch_floor(state, flows); };
        suite.add("path/admit_and_lookup" + count, [=](benchmark::State& state) {
            admit_and_lookup(state, flows);
        });
        suite.add_beside("path/admit_and_lookup" + count, floor, floor_body);
        suite.add("path/switch" + count, [=](benchmark::State& state) {
            switch_packets(state, flows);
        });
        suite.add_beside("path/switch" + count, floor, floor_body);
    }
    suite.add("path/tuples/switch", switch_tuples);
    for_each_protocol([&]<class P>(std::uint8_t index) {
        for (const Direction direction : {Direction::encap, Direction::decap}) {
            const std::string name =
                (direction == Direction::encap ? "encap/" : "decap/") + std::string(P::kName);
            suite.add("path/" + name, [=](benchmark::State& state) {
                tunnel_packets(state, direction, index, Mix::pairs);
            });
            suite.add("path/tuples/" + name, [=](benchmark::State& state) {
                tunnel_packets(state, direction, index, Mix::tuples);
            });
            if (direction == Direction::decap && tunnel_payload(index) == tunnels::Payload::ip) {
                return;  // The floor looks up the MAC addresses of the inner frame; there is none.
            }
            suite.add_beside(
                "path/" + name,
                "floor/rte_hash/" + name,
                [=](benchmark::State& state) { tunnel_floor(state, direction, index); }
            );
        }
    });
    const std::uint8_t vxlan = *tunnels::find_protocol("vxlan");
    const std::uint8_t gre = *tunnels::find_protocol("gre");
    suite.add("path/hub/vxlan_to_gre", [=](benchmark::State& state) {
        relay_packets(state, vxlan, gre);
    });
}

}  // namespace culvert::bench
