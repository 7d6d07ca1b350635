// SPDX-License-Identifier: GPL-2.0-or-later
//
// The Internet checksum over bytes in cache, beside DPDK's. Main thread only.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <rte_ip.h>

#include "bench/benches.hpp"
#include "bench/measure.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::bench {

namespace {

std::vector<std::byte> bytes_to_sum(std::size_t bytes) {
    std::vector<std::byte> data(bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
        data[i] = static_cast<std::byte>((i * 37 + 11) & 0xffU);
    }
    return data;
}

void ours(benchmark::State& state, std::size_t bytes) {
    const auto data = bytes_to_sum(bytes);
    const bool agree = tunnels::checksum_fold(tunnels::checksum_add(0, data)) ==
                       ::rte_raw_cksum(data.data(), data.size());
    if (!require(state, agree, "the sum is not that of rte_raw_cksum")) {
        return;
    }
    measure(state, 1, [&] {
        std::span<const std::byte> view = data;
        benchmark::DoNotOptimize(view);
        std::uint16_t sum = tunnels::checksum_fold(tunnels::checksum_add(0, view));
        benchmark::DoNotOptimize(sum);
    });
}

void rival(benchmark::State& state, std::size_t bytes) {
    const auto data = bytes_to_sum(bytes);
    measure(state, 1, [&] {
        std::span<const std::byte> view = data;
        benchmark::DoNotOptimize(view);
        std::uint16_t sum = ::rte_raw_cksum(view.data(), view.size());
        benchmark::DoNotOptimize(sum);
    });
}

}  // namespace

void add_checksum_benches(Suite& suite) {
    // An IPv4 header, the smallest frame, a full one, a jumbo frame.
    for (const std::size_t bytes : {20U, 64U, 1500U, 9000U}) {
        const std::string size = std::to_string(bytes);
        suite.add("checksum/" + size, [=](benchmark::State& state) { ours(state, bytes); });
        suite.add_beside(
            "checksum/" + size,
            "rival/rte_raw_cksum/" + size,
            [=](benchmark::State& state) { rival(state, bytes); }
        );
    }
}

}  // namespace culvert::bench
