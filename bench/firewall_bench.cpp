// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the host's firewall costs with 1000 rules on INPUT, in a network namespace of the program's
// own: reading all of them, looking whether something changed, inserting one, and judging a packet
// that only the last one is about. Beside the first and the third stands the host's own tool, which
// is a process each time, as for everybody who calls it. Takes the options of Google Benchmark;
// times are the median of the iterations. Needs root. Main thread only.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iomanip>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "firewall/backend.hpp"
#include "firewall/evaluate.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::bench {

namespace {

using firewall::Backend;
using firewall::Edit;
using firewall::Plan;
using firewall::Ruleset;

constexpr unsigned kRules = 1000;
constexpr unsigned kJudgementsAtOnce = 100;  // Of one reading of the clock.
constexpr int kNameWidth = 40;
constexpr int kFigureWidth = 12;
constexpr const char* kComment = "culvert gre: bench";

using Work = std::function<bool()>;

struct Pair {
    std::string ours;
    std::string beside;
};

// Prints a line for each bench, and the ratios at the end.
class Report final : public benchmark::BenchmarkReporter {
public:
    explicit Report(const std::vector<Pair>& pairs) : pairs_(pairs) {}

    bool ReportContext(const Context&) override {
        name(kRules == 0 ? "" : std::to_string(kRules) + " rules")
            << std::setw(kFigureWidth) << "us" << std::setw(kFigureWidth) << "iterations"
            << "\n";
        return true;
    }
    void ReportRuns(const std::vector<Run>& runs) override {
        for (const Run& run : runs) {
            const std::string& of = run.run_name.function_name;
            if (run.error_occurred) {
                failed_ = true;
                name(of) << "  FAILED: " << run.error_message << "\n";
            } else if (run.run_type == Run::RT_Iteration) {
                us_[of] = run.GetAdjustedRealTime();
                name(of) << std::fixed << std::setprecision(us_[of] < 10 ? 3 : 0)
                         << std::setw(kFigureWidth) << us_[of] << std::setw(kFigureWidth)
                         << run.iterations << "\n";
            }
        }
        GetOutputStream().flush();
    }
    void Finalize() override {
        GetOutputStream(
        ) << "\nOurs divided by what stands beside it; below 1.00 ours is faster.\n";
        for (const Pair& pair : pairs_) {
            const auto ours = us_.find(pair.ours);
            const auto beside = us_.find(pair.beside);
            if (ours != us_.end() && beside != us_.end()) {
                name(pair.ours);
                name(pair.beside) << std::setprecision(2) << std::setw(kFigureWidth)
                                  << ours->second / beside->second << "\n";
            }
        }
    }
    [[nodiscard]] bool failed() const { return failed_; }

private:
    std::ostream& name(const std::string& text) {
        return GetOutputStream() << std::left << std::setw(kNameWidth) << text << std::right;
    }

    const std::vector<Pair>& pairs_;
    std::map<std::string, double> us_;
    bool failed_ = false;
};

// Times `work`, which stands for `count` things, in each iteration, and lets `restore` undo it.
void add(const std::string& name, const Work& work, const Work& restore = {}, unsigned count = 1) {
    const auto body = [=](benchmark::State& state) {
        using Clock = std::chrono::steady_clock;
        std::vector<double> seconds;
        while (state.KeepRunningBatch(count)) {
            const auto start = Clock::now();
            const bool worked = work();
            seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
            if (!worked || (restore && !restore())) {
                state.SkipWithError("it did not do what is measured");
                return;
            }
        }
        const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
        std::nth_element(seconds.begin(), middle, seconds.end());
        state.SetIterationTime(*middle / count * static_cast<double>(state.iterations()));
    };
    benchmark::RegisterBenchmark(name.c_str(), body)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

bool feed(const std::string& command, const std::string& input) {
    FILE* const pipe = popen(command.c_str(), "w");
    const bool is_written =
        pipe != nullptr && std::fwrite(input.data(), 1, input.size(), pipe) == input.size();
    return pipe != nullptr && pclose(pipe) == 0 && is_written;
}

// The senders of the rules; the last rule's is the one whose packets are judged.
std::string sender(unsigned rule) {
    return "192.168." + std::to_string(rule / 250) + "." + std::to_string(1 + rule % 250);
}

bool fill_legacy() {
    std::string text = "*filter\n:INPUT DROP [0:0]\n";
    for (unsigned rule = 0; rule < kRules; ++rule) {
        text += "-A INPUT -s " + sender(rule) +
                " -p udp -m udp --dport 4789 -m conntrack --ctstate NEW -j ACCEPT\n";
    }
    return feed("iptables-legacy-restore", text + "COMMIT\n");
}

bool fill_nft() {
    std::string text = "table inet filter {\n  chain input {\n"
                       "    type filter hook input priority 0; policy drop;\n";
    for (unsigned rule = 0; rule < kRules; ++rule) {
        text += "    ip saddr " + sender(rule) + " udp dport 4789 ct state new accept\n";
    }
    return feed("nft -f -", text + "  }\n}\n");
}

bool is_whole(const firewall::Answer<Ruleset>& rules) {
    return rules && std::any_of(rules->chains.begin(), rules->chains.end(), [](const auto& chain) {
               return chain.rules.size() == kRules;
           });
}

bool insert(Backend& backend) {
    const auto plan = [](const Ruleset& rules) -> tl::expected<Plan, std::string> {
        return Plan{{Edit::Kind::insert, rules.input.at(0).chain, 0, {}, kComment}};
    };
    return backend.change(plan, false).has_value();
}

bool erase(Backend& backend) {
    const auto plan = [](const Ruleset& rules) -> tl::expected<Plan, std::string> {
        const std::uint32_t chain = rules.input.at(0).chain;
        if (rules.chains[chain].rules.at(0).comment != kComment) {
            return tl::unexpected(std::string("the rule is not there"));
        }
        return Plan{{Edit::Kind::erase, chain, 0, {}, ""}};
    };
    return backend.change(plan, false).has_value();
}

firewall::Header last_header() {
    firewall::Header header;
    header.source = *firewall::parse_address(sender(kRules - 1));
    header.destination = *firewall::parse_address("192.0.2.1");
    header.protocol = firewall::kProtocolUdp;
    header.destination_port = 4789;
    return header;
}

void add_benches(const std::shared_ptr<Backend>& backend, const std::string& name) {
    add(name + "/read", [=] { return is_whole(backend->read()); });
    add(name + "/generation", [=] { return backend->generation().has_value(); });
    add(
        name + "/insert", [=] { return insert(*backend); }, [=] { return erase(*backend); }
    );
    const auto rules = std::make_shared<Ruleset>(backend->read().value());
    add(
        name + "/judge_by_last",
        [rules, header = last_header()] {
            bool accepted = true;
            for (unsigned i = 0; i < kJudgementsAtOnce; ++i) {
                accepted = evaluate(*rules, header).accepted() && accepted;
            }
            return accepted;
        },
        {},
        kJudgementsAtOnce
    );
}

void add_command(const std::string& name, const std::string& command, const std::string& undo) {
    const auto runs = [](const std::string& text) -> Work {
        return [text] { return text.empty() || test::succeeds(text + " > /dev/null"); };
    };
    add(name, runs(command), runs(undo));
}

int run() {
    const test::PrivateNetwork network;
    if (!fill_legacy() || !fill_nft()) {
        std::fprintf(stderr, "culvert_firewall_bench: the rules cannot be loaded\n");
        return 1;
    }
    add_benches(firewall::make_legacy_backend(), "legacy");
    add_command("rival/iptables-legacy/list", "iptables-legacy -S", "");
    add_command(
        "rival/iptables-legacy/insert",
        "iptables-legacy -w -I INPUT -p gre -j ACCEPT",
        "iptables-legacy -w -D INPUT 1"
    );
    add_benches(firewall::make_nft_backend(), "nft");
    add_command("rival/nft/list", "nft -j list ruleset", "");
    add_command(
        "rival/nft/insert",
        "nft insert rule inet filter input meta l4proto gre accept",
        "nft -a list chain inet filter input | sed -n 's/.*gre accept # handle /delete rule inet "
        "filter input handle /p' | nft -f -"
    );
    const std::vector<Pair> pairs = {
        {"legacy/read", "rival/iptables-legacy/list"},
        {"legacy/insert", "rival/iptables-legacy/insert"},
        {"nft/read", "rival/nft/list"},
        {"nft/insert", "rival/nft/insert"},
    };
    Report report(pairs);
    benchmark::RunSpecifiedBenchmarks(&report);
    benchmark::Shutdown();
    return report.failed() ? 1 : 0;
}

}  // namespace

}  // namespace culvert::bench

int main(int argc, char** argv) {
    try {
        benchmark::Initialize(&argc, argv);
        if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
            return 2;
        }
        return culvert::bench::run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "culvert_firewall_bench: %s\n", error.what());
        return 1;
    }
}
