// SPDX-License-Identifier: GPL-2.0-or-later
//
// How every bench is timed. An iteration of Google Benchmark is one packet. The time-stamp counter
// is read around chunks of some thousand packets, and the figure of a run is the median chunk: a
// chunk in which another program had the CPU, or an interrupt came, is an outlier and drops out,
// where a mean would carry it. The counter "cycles" and the time are two units of that one figure.
// Under --instructions chunks are not timed but counted (see instructions.hpp). Main thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>
#include <rte_cycles.h>

#include "bench/instructions.hpp"

namespace culvert::bench {

/// Packets in a chunk of measure().
inline constexpr std::size_t kChunkPackets = 4096;

/// The duration of each chunk of a run, in cycles of the time-stamp counter.
class Chunks {
public:
    explicit Chunks(std::size_t packets_per_chunk) : packets_(packets_per_chunk) {
        cycles_.reserve(kKept);
    }

    /// Runs `work`, which handles the packets of a chunk.
    template <class Work>
    void run(const Work& work) {
        if (InstructionCount::is_on()) {
            InstructionCount::run(packets_, work);
            return;
        }
        const std::uint64_t start = rte_rdtsc_precise();
        work();
        add(rte_rdtsc_precise() - start);
    }

    /// Sets the time and the counter of the run.
    void report(benchmark::State& state) {
        if (cycles_.empty()) {
            return;
        }
        const auto middle = cycles_.begin() + static_cast<std::ptrdiff_t>(cycles_.size() / 2);
        std::nth_element(cycles_.begin(), middle, cycles_.end());
        const double cycles = static_cast<double>(*middle) / static_cast<double>(packets_);
        const double seconds = cycles / static_cast<double>(rte_get_tsc_hz());
        state.SetIterationTime(seconds * static_cast<double>(state.iterations()));
        state.counters["cycles"] = cycles;
    }

private:
    static constexpr std::size_t kKept = std::size_t{1} << 16U;

    /// `cycles` lie between two readings of the counter; what reading costs is taken off. Of a long
    /// run the newest kKept are kept.
    void add(std::uint64_t cycles) {
        cycles -= std::min(cycles, overhead_);
        if (cycles_.size() < kKept) {
            cycles_.push_back(cycles);
        } else {
            cycles_[next_] = cycles;
            next_ = (next_ + 1) % kKept;
        }
    }

    [[nodiscard]] static std::uint64_t reading_cycles() {
        std::uint64_t least = UINT64_MAX;
        for (int i = 0; i < 1000; ++i) {
            const std::uint64_t start = rte_rdtsc_precise();
            least = std::min(least, rte_rdtsc_precise() - start);
        }
        return least;
    }

    std::size_t packets_;
    std::uint64_t overhead_ = reading_cycles();
    std::size_t next_ = 0;
    std::vector<std::uint64_t> cycles_;
};

/// Times `work`, which handles `packets` packets whenever it is called.
template <class Work>
void measure(benchmark::State& state, std::size_t packets, Work&& work) {
    const std::size_t rounds = std::max<std::size_t>(1, kChunkPackets / packets);
    const std::size_t chunk = rounds * packets;
    Chunks chunks(chunk);
    while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(chunk))) {
        chunks.run([&] {
            for (std::size_t round = 0; round < rounds; ++round) {
                work();
            }
        });
    }
    chunks.report(state);
}

/// Times `work`, which uses up what `prepare` made; only `work` counts.
template <class Prepare, class Work>
void measure_staged(benchmark::State& state, std::size_t packets, Prepare&& prepare, Work&& work) {
    Chunks chunks(packets);
    while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(packets))) {
        prepare();
        chunks.run(work);
    }
    chunks.report(state);
}

/// A bench that measures a failure is worthless: false, and the run fails, when `holds` is false.
[[nodiscard]] inline bool require(benchmark::State& state, bool holds, const char* what) {
    if (!holds) {
        state.SkipWithError(what);
    }
    return holds;
}

}  // namespace culvert::bench
