// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registration with Google Benchmark. Every bench reports a time of its own (see measure.hpp), in
// nanoseconds per packet. Main thread only.
#include "bench/suite.hpp"

#include <algorithm>
#include <utility>

#include "bench/instructions.hpp"

namespace culvert::bench {

void Suite::add(const std::string& name, Body body) {
    if (std::find(names_.begin(), names_.end(), name) != names_.end()) {
        return;
    }
    names_.push_back(name);
    if (InstructionCount::is_on()) {
        benchmark::RegisterBenchmark(name.c_str(), InstructionCount::counted(name, std::move(body)))
            ->Iterations(InstructionCount::kPackets);
        return;
    }
    benchmark::RegisterBenchmark(name.c_str(), std::move(body))
        ->UseManualTime()
        ->Unit(benchmark::kNanosecond);
}

void Suite::add_beside(const std::string& ours, const std::string& name, Body body) {
    add(name, std::move(body));
    pairs_.push_back({ours, name});
}

}  // namespace culvert::bench
