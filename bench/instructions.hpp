// SPDX-License-Identifier: GPL-2.0-or-later
//
// Counting instead of timing: `culvert_bench --instructions FILE` under callgrind, as
// .ci/instructions runs it. Each bench handles a fixed number of packets, the first half of them
// unseen, so that what happens once is over. Callgrind collects while culvert_bench_counted() runs
// and writes a part of its file whenever culvert_bench_case_done() returns; line N of FILE says of
// which bench part N is, and of how many packets. The two functions are known to callgrind by name,
// so that building the benches does not need Valgrind. Main thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>

#include "bench/suite.hpp"

namespace culvert::bench {

class InstructionCount {
public:
    /// Packets of a bench, warm-up included; more when its chunks do not divide them.
    static constexpr std::int64_t kPackets = 8192;

    /// From now on benches are counted, and `file` lists them. Throws std::runtime_error when it
    /// cannot be written.
    static void start(const std::string& file);
    /// Whether start() was called.
    [[nodiscard]] static bool is_on() noexcept { return on; }

    /// `body` such that its counts are those of the bench `name`.
    [[nodiscard]] static Body counted(const std::string& name, Body body);

    /// Runs `work`, which handles `packets` packets.
    template <class Work>
    static void run(std::size_t packets, const Work& work) {
        run_erased(
            packets,
            [](const void* erased) { (*static_cast<const Work*>(erased))(); },
            std::addressof(work)
        );
    }

private:
    static void run_erased(std::size_t packets, void (*call)(const void*), const void* work);

    static bool on;
};

/// What is reported of a counted run: failures. The counts are callgrind's to report.
class FailureReport final : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(const Context& /*context*/) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override;

    [[nodiscard]] bool failed() const noexcept { return failed_; }

private:
    bool failed_ = false;
};

}  // namespace culvert::bench
