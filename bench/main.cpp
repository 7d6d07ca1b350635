// SPDX-License-Identifier: GPL-2.0-or-later
//
// The program of the micro benches. Takes the options of Google Benchmark; with --benchmark_out a
// file is written as well. Ends with status 1 when a bench found that it measured the wrong thing.
#include <cstdio>
#include <exception>

#include <benchmark/benchmark.h>

#include "bench/benches.hpp"
#include "bench/environment.hpp"
#include "bench/flow_set.hpp"
#include "bench/report.hpp"

namespace culvert::bench {

namespace {

int run() {
    const Environment environment;
    Suite suite;
    add_parse_benches(suite);
    add_flow_key_benches(suite);
    add_flow_cache_benches(suite);
    add_encap_benches(suite);
    add_path_benches(suite);
    add_checksum_benches(suite);
    add_segmenter_benches(suite);
    Report report(suite);
    benchmark::RunSpecifiedBenchmarks(&report);
    release_flow_sets();
    benchmark::Shutdown();
    return report.failed() ? 1 : 0;
}

}  // namespace

}  // namespace culvert::bench

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 2;
    }
    try {
        return culvert::bench::run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "culvert_bench: %s\n", error.what());
        return 1;
    }
}
