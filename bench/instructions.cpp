// SPDX-License-Identifier: GPL-2.0-or-later
//
// Marks for callgrind the packets that count. See instructions.hpp.
#include "bench/instructions.hpp"

#include <algorithm>
#include <fstream>
#include <ostream>
#include <stdexcept>
#include <utility>

// NOLINTBEGIN(readability-identifier-naming): what .ci/instructions tells callgrind to look for.
extern "C" {

[[gnu::noipa]] void culvert_bench_counted(void (*call)(const void*), const void* work) {
    call(work);
}

[[gnu::noipa]] void culvert_bench_case_done() {
    asm volatile("");
}
}
// NOLINTEND(readability-identifier-naming)

namespace culvert::bench {

namespace {

std::ofstream list;            ///< One line for each bench.
std::size_t warm_up_left = 0;  ///< Packets of the current bench that are still not to be counted.
std::size_t counted_packets = 0;  ///< Of the current bench.

}  // namespace

bool InstructionCount::on = false;

void InstructionCount::start(const std::string& file) {
    list.open(file);
    if (!list) {
        throw std::runtime_error("\"" + file + "\" cannot be written.");
    }
    on = true;
}

Body InstructionCount::counted(const std::string& name, Body body) {
    return [name, body = std::move(body)](benchmark::State& state) {
        warm_up_left = kPackets / 2;
        counted_packets = 0;
        body(state);
        list << name << ' ' << counted_packets << std::endl;
        culvert_bench_case_done();
    };
}

void InstructionCount::run_erased(
    std::size_t packets, void (*call)(const void*), const void* work
) {
    if (warm_up_left != 0) {
        warm_up_left -= std::min(warm_up_left, packets);
        call(work);
        return;
    }
    counted_packets += packets;
    culvert_bench_counted(call, work);
}

void FailureReport::ReportRuns(const std::vector<Run>& runs) {
    for (const Run& run : runs) {
        if (run.error_occurred) {
            failed_ = true;
            GetOutputStream() << run.run_name.function_name << ": FAILED: " << run.error_message
                              << "\n";
        }
    }
}

}  // namespace culvert::bench
