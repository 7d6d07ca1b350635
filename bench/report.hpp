// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a run prints: the machine, one line for each bench, and at the end the benches of ours
// divided by what stands beside them. With repetitions a line holds the median over them and the
// coefficient of variation. Main thread only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/suite.hpp"

namespace culvert::bench {

class Report final : public benchmark::BenchmarkReporter {
public:
    explicit Report(const Suite& suite) : suite_(suite) {}

    bool ReportContext(const Context& context) override;
    void ReportRuns(const std::vector<Run>& runs) override;
    void Finalize() override;

    /// Some bench found that it measured the wrong thing.
    [[nodiscard]] bool failed() const noexcept { return failed_; }

private:
    const Suite& suite_;
    std::map<std::string, double> cycles_;  ///< Per packet, by name.
    bool failed_ = false;
};

}  // namespace culvert::bench
