// SPDX-License-Identifier: GPL-2.0-or-later
//
// The program of the micro benches. Takes the options of Google Benchmark; with --benchmark_out a
// file is written as well. With --instructions FILE benches are run for callgrind to count (see
// instructions.hpp). Ends with status 1 when a bench found that it measured the wrong thing.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>

#include <benchmark/benchmark.h>

#include "bench/benches.hpp"
#include "bench/environment.hpp"
#include "bench/flow_set.hpp"
#include "bench/instructions.hpp"
#include "bench/report.hpp"

namespace culvert::bench {

namespace {

int run() {
    const Environment environment;
    Suite suite;
    add_parse_benches(suite);
    add_flow_key_benches(suite);
    add_flow_cache_benches(suite);
    add_flow_insert_benches(suite);
    add_encap_benches(suite);
    add_path_benches(suite);
    add_esp_path_benches(suite);
    add_checksum_benches(suite);
    add_esp_benches(suite);
    add_segmenter_benches(suite);
    add_contention_benches(suite);
    Report timed(suite);
    FailureReport counted;
    if (InstructionCount::is_on()) {
        benchmark::RunSpecifiedBenchmarks(&counted);
    } else {
        benchmark::RunSpecifiedBenchmarks(&timed);
    }
    benchmark::ClearRegisteredBenchmarks();  // And what they hold, before the EAL stops.
    release_flow_sets();
    benchmark::Shutdown();
    return timed.failed() || counted.failed() ? 1 : 0;
}

/// Takes our own option out of the arguments.
void take_instructions_option(int& argc, char** argv) {
    char** const end = argv + argc;
    char** const option = std::find_if(argv, end, [](const char* word) {
        return std::strcmp(word, "--instructions") == 0;
    });
    if (end - option >= 2) {
        InstructionCount::start(option[1]);
        std::copy(option + 2, end + 1, option);  // With the null pointer behind the last one.
        argc -= 2;
    }
}

}  // namespace

}  // namespace culvert::bench

int main(int argc, char** argv) {
    try {
        culvert::bench::take_instructions_option(argc, argv);
        benchmark::Initialize(&argc, argv);
        if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
            return 2;
        }
        return culvert::bench::run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "culvert_bench: %s\n", error.what());
        return 1;
    }
}
