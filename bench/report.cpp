// SPDX-License-Identifier: GPL-2.0-or-later
//
// The tables of a run. Main thread only.
#include "bench/report.hpp"

#include <sys/utsname.h>

#include <fstream>
#include <iomanip>
#include <ostream>

#include <rte_cycles.h>
#include <rte_version.h>

namespace culvert::bench {

namespace {

constexpr int kNameWidth = 44;
constexpr int kFigureWidth = 11;

std::string cpu_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const std::size_t colon = line.find(": ");
        if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
            return line.substr(colon + 2);
        }
    }
    return "unknown CPU";
}

std::string kernel_release() {
    utsname name{};
    return ::uname(&name) == 0 ? std::string(name.release) : "unknown";
}

std::ostream& name_column(std::ostream& out, const std::string& name) {
    return out << std::left << std::setw(kNameWidth) << name << std::right;
}

}  // namespace

bool Report::ReportContext(const Context& context) {
    const double ghz = static_cast<double>(rte_get_tsc_hz()) / 1e9;
    std::ostream& out = GetOutputStream();
    out << std::fixed << cpu_model() << ", " << context.cpu_info.num_cpus
        << " CPUs, time-stamp counter " << std::setprecision(3) << ghz << " GHz, Linux "
        << kernel_release() << ", " << rte_version() << ", " << __VERSION__ << "\n\n";
    name_column(out, "bench") << std::setw(kFigureWidth) << "ns/packet" << std::setw(kFigureWidth)
                              << "cycles"
                              << "\n";
    return true;
}

void Report::ReportRuns(const std::vector<Run>& runs) {
    std::ostream& out = GetOutputStream();
    std::optional<double> variation;
    for (const Run& run : runs) {
        if (run.run_type == Run::RT_Aggregate && run.aggregate_name == "cv") {
            variation = run.counters.at("cycles");
        }
    }
    for (const Run& run : runs) {
        const std::string& name = run.run_name.function_name;
        if (run.error_occurred) {
            failed_ = true;
            name_column(out, name) << "  FAILED: " << run.error_message << "\n";
            continue;
        }
        // Single repetitions are shown only when there are no others to aggregate with.
        const bool is_median = run.run_type == Run::RT_Aggregate && run.aggregate_name == "median";
        if (!is_median && (run.run_type == Run::RT_Aggregate || run.repetitions > 1)) {
            continue;
        }
        const double cycles = run.counters.at("cycles");
        cycles_[name] = cycles;
        name_column(out, name) << std::fixed << std::setprecision(2) << std::setw(kFigureWidth)
                               << run.GetAdjustedRealTime() << std::setw(kFigureWidth)
                               << std::setprecision(1) << cycles;
        if (is_median && variation) {
            out << "  +-" << std::setprecision(0) << *variation * 100 << "%";
        }
        out << "\n";
    }
    out.flush();
}

void Report::Finalize() {
    std::ostream& out = GetOutputStream();
    out << "\nCycles per packet of ours and of what stands beside it, and ours divided by it. "
           "Below "
           "1.00 ours is\nfaster. A rival does the same job; a floor does less, so that its ratio "
           "is never far below 1.00.\n\n";
    name_column(out, "ours");
    name_column(out, "beside") << std::setw(kFigureWidth) << "ours" << std::setw(kFigureWidth)
                               << "beside" << std::setw(kFigureWidth) << "ratio"
                               << "\n";
    for (const Suite::Pair& pair : suite_.pairs()) {
        const auto ours = cycles_.find(pair.ours);
        const auto beside = cycles_.find(pair.beside);
        if (ours == cycles_.end() || beside == cycles_.end()) {
            continue;  // Left out by --benchmark_filter, or failed.
        }
        name_column(out, pair.ours);
        name_column(out, pair.beside)
            << std::fixed << std::setprecision(1) << std::setw(kFigureWidth) << ours->second
            << std::setw(kFigureWidth) << beside->second << std::setprecision(2)
            << std::setw(kFigureWidth) << ours->second / beside->second << "\n";
    }
    out.flush();
}

}  // namespace culvert::bench
