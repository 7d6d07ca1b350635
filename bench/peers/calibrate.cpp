// SPDX-License-Identifier: GPL-2.0-or-later
//
// How fast is this CPU right now? Prints the rate of the time-stamp counter in Hz, and how many of
// its cycles one round of a short chain of arithmetic takes. Where another hyperthread shares the
// core, or the clock is lowered, a round takes longer: a reader of a table sees by it how quiet the
// machine was.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>

#include <x86intrin.h>

namespace {

constexpr int kRounds = 20000;
constexpr int kSamples = 40;

/// Four independent chains, so that the width of the core counts and not the latency alone.
double cycles_per_round() {
    std::uint64_t a = 1;
    std::uint64_t b = 2;
    std::uint64_t c = 3;
    std::uint64_t d = 4;
    const std::uint64_t begin = __rdtsc();
    for (int i = 0; i < kRounds; ++i) {
        asm volatile("add $1, %0\n\tadd $3, %1\n\txor $5, %2\n\tadd $7, %3"
                     : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
    }
    return static_cast<double>(__rdtsc() - begin) / kRounds;
}

}  // namespace

int main() {
    const auto begin = std::chrono::steady_clock::now();
    const std::uint64_t begin_tsc = __rdtsc();
    double samples[kSamples];
    // At least 20 ms, which gives the rate of the counter to some parts in a million.
    do {
        for (double& sample : samples) {
            sample = cycles_per_round();
        }
    } while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(20));
    const std::uint64_t tsc = __rdtsc() - begin_tsc;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::nth_element(samples, samples + kSamples / 2, samples + kSamples);
    std::printf("%.0f %.3f\n", static_cast<double>(tsc) / seconds.count(), samples[kSamples / 2]);
    return 0;
}
