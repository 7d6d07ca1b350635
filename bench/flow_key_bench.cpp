// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the bytes of a frame to a hash: the flow key with its hash beside DPDK's CRC and Jenkins
// hashes of the same key, and what encapsulation reads of the inner packet, the hash for the
// entropy port above all, beside DPDK's Toeplitz hash, which a network card would compute. Main
// thread only.
#include <array>
#include <cstring>
#include <vector>

#include <rte_hash_crc.h>
#include <rte_jhash.h>
#include <rte_thash.h>

#include "bench/benches.hpp"
#include "bench/frames.hpp"
#include "bench/measure.hpp"
#include "dataplane/flow_key.hpp"
#include "dataplane/limits.hpp"
#include "tunnels/inner.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowKey;
using dataplane::kBurstMax;

std::vector<Frame> inner_frames() {
    std::vector<Frame> frames;
    for (std::uint32_t flow = 0; flow < kBurstMax; ++flow) {
        frames.push_back(inner_frame(flow));
    }
    return frames;
}

/// Reads the key of each frame and hashes it.
template <class Hash>
void measure_key(benchmark::State& state, const Hash& hash) {
    const auto frames = inner_frames();
    measure(state, kBurstMax, [&] {
        for (const Frame& frame : frames) {
            FlowKey key;
            key.in_port = 1;
            std::memcpy(key.destination.bytes.data(), frame.data(), 6);
            std::memcpy(key.source.bytes.data(), frame.data() + 6, 6);
            std::uint32_t value = hash(key);
            benchmark::DoNotOptimize(value);
        }
    });
}

void inner_flow_hash(benchmark::State& state) {
    const auto frames = inner_frames();
    const auto inspect = [](const Frame& frame) {
        return tunnels::inspect_inner(frame, tunnels::Payload::ethernet);
    };
    const bool differ = inspect(frames[0]).hash != inspect(frames[1]).hash;
    if (!require(state, differ, "two flows have one hash")) {
        return;
    }
    measure(state, kBurstMax, [&] {
        for (const Frame& frame : frames) {
            tunnels::Inner inner = inspect(frame);
            benchmark::DoNotOptimize(inner);
        }
    });
}

/// The addresses and ports at fixed places: no header is parsed.
void toeplitz(benchmark::State& state) {
    const auto frames = inner_frames();
    std::array<std::uint8_t, 40> key;
    for (std::size_t i = 0; i < key.size(); ++i) {
        key[i] = static_cast<std::uint8_t>(i * 73 + 41);
    }
    constexpr std::size_t kSourceOffset = 14 + 12;
    constexpr std::size_t kTupleWords = 3;
    measure(state, kBurstMax, [&] {
        for (const Frame& frame : frames) {
            std::array<std::uint32_t, kTupleWords> tuple;
            std::memcpy(tuple.data(), frame.data() + kSourceOffset, sizeof tuple);
            std::uint32_t value = ::rte_softrss_be(tuple.data(), kTupleWords, key.data());
            benchmark::DoNotOptimize(value);
        }
    });
}

}  // namespace

void add_flow_key_benches(Suite& suite) {
    const std::string ours = "flow_key/read_and_hash";
    suite.add(ours, [](benchmark::State& state) {
        measure_key(state, [](const FlowKey& key) { return dataplane::hash(key); });
    });
    suite.add_beside(ours, "rival/rte_hash_crc/read_and_hash", [](benchmark::State& state) {
        measure_key(state, [](const FlowKey& key) { return ::rte_hash_crc(&key, sizeof key, 0); });
    });
    suite.add_beside(ours, "rival/rte_jhash/read_and_hash", [](benchmark::State& state) {
        measure_key(state, [](const FlowKey& key) { return ::rte_jhash(&key, sizeof key, 0); });
    });
    suite.add("inner_flow_hash/ipv4_udp", inner_flow_hash);
    suite.add_beside("inner_flow_hash/ipv4_udp", "rival/rte_softrss/ipv4_udp", toeplitz);
}

}  // namespace culvert::bench
