// SPDX-License-Identifier: GPL-2.0-or-later
//
// New flows beside established ones, through a worker and a control thread as the daemon runs them:
// the worker's loop on one CPU, the event loop with the slow path on another. Only the devices are
// stand-ins. Prints what the established flows keep, how many flows a second are set up, and what a
// flow takes of memory. Main thread only.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bench/environment.hpp"
#include "bench/traffic_port.hpp"
#include "ctl/slow_path.hpp"
#include "dataplane/worker.hpp"

namespace culvert::bench {

namespace {

using dataplane::DropReason;
using tunnels::MacAddress;

constexpr std::uint16_t kEstablished = 0;  // Whence established flows come,
constexpr std::uint16_t kServed = 1;       // and where they go.
constexpr std::uint16_t kStrange = 2;      // The same for new flows.
constexpr std::uint16_t kReached = 3;
constexpr std::uint8_t kEstablishedGroup = 1;
constexpr std::uint8_t kStrangeGroup = 2;
constexpr std::uint32_t kIdleTimeoutS = 10;
constexpr auto kTick = std::chrono::milliseconds(100);  // As the daemon.

struct Options {
    std::size_t max_flows = dataplane::kFlowsDefault;
    std::uint64_t rate = 500000;
    std::uint64_t established_rate = TrafficPort::kUnpaced;
    std::uint32_t established = 1000;
    unsigned windows = 5;
    unsigned window_ms = 1000;
    std::size_t mac_table_size = 8192;
    std::vector<unsigned> cpus{0, 1};  // Of the worker and of the control thread.
};

struct Counts {
    std::uint64_t established = 0;  ///< Frames of established flows that reached their port.
    std::uint64_t received = 0;     ///< The same as they were taken.
    std::uint64_t strange = 0;      ///< Frames of new flows that were taken,
    std::uint64_t reached = 0;      ///< and those that left.
    std::uint64_t upcalls = 0;
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t evictions = 0;
    std::uint64_t held_full = 0;
    std::uint64_t queue_full = 0;
    std::uint64_t cycles = 0;
};

Counts operator-(const Counts& a, const Counts& b) {
    return {
        a.established - b.established,
        a.received - b.received,
        a.strange - b.strange,
        a.reached - b.reached,
        a.upcalls - b.upcalls,
        a.hits - b.hits,
        a.misses - b.misses,
        a.evictions - b.evictions,
        a.held_full - b.held_full,
        a.queue_full - b.queue_full,
        a.cycles - b.cycles};
}

[[nodiscard]] double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// The time for which a thread of this process has had a CPU, by its name. The figures are in it,
/// and not in time by the clock, so that other programs on the machine take nothing off them.
class ThreadClock {
public:
    explicit ThreadClock(const std::string& name) {
        for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
            std::string its;
            std::ifstream(task.path() / "comm") >> its;
            if (its == name) {
                path_ = task.path() / "schedstat";
            }
        }
    }
    [[nodiscard]] double seconds() const {
        std::uint64_t ns = 0;
        std::ifstream(path_) >> ns;
        return static_cast<double>(ns) / 1e9;
    }

private:
    std::filesystem::path path_;
};

[[nodiscard]] double resident_mb() {
    std::ifstream file("/proc/self/statm");
    std::uint64_t total = 0;
    std::uint64_t resident = 0;
    file >> total >> resident;
    return static_cast<double>(resident) * static_cast<double>(::getpagesize()) / 1e6;
}

void run_on(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
        std::fprintf(stderr, "culvert_churn: CPU %u cannot be used; the figures tell less.\n", cpu);
    }
}

/// A bridge with four ports, and the two threads that serve it.
class Host {
public:
    Host(const Options& options, const Sequence& strange)
        : options_(options), flows_(options.max_flows), signal_(::eventfd(0, EFD_NONBLOCK)),
          established_(std::make_shared<TrafficPort>(
              Environment::get().pools(),
              Sequence{Sequence::Kind::pairs, kEstablishedGroup, options.established, 1}
          )),
          strange_(std::make_shared<TrafficPort>(Environment::get().pools(), strange)),
          upcalls_(io_, signal_) {
        auto workers = dataplane::Workers::start(
            {.count = 1, .cpus = {options.cpus[0]}, .idle_sleep = false},
            flows_,
            Environment::get().pools(),
            signal_
        );
        if (!workers) {
            throw std::runtime_error(workers.error());
        }
        workers_ = std::move(*workers);
        slow_path_ = std::make_unique<ctl::SlowPath>(*workers_, flows_);
        slow_path_->insert_bridge(0, options.mac_table_size, 300);
        slow_path_->insert_fixed(
            0, {0, numbered_mac(kEstablishedGroup, kDestinationSide, 0)}, kServed
        );
        for (std::uint32_t i = 0; i < strange.destinations; ++i) {
            slow_path_->insert_fixed(
                0, {0, numbered_mac(kStrangeGroup, kDestinationSide, i)}, kReached
            );
        }
        publish();
        wait_for_upcalls();
        tick();
        run(50);
        worker_clock_.emplace("culvert-w0");
    }
    ~Host() {
        workers_.reset();
        upcalls_.release();
        ::close(signal_);
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    /// Frames a second that come in; TrafficPort::kUnpaced: as many as the worker takes.
    void offer(std::uint64_t established, std::uint64_t strange) {
        established_->set_rate(established);
        strange_->set_rate(strange);
    }
    void run(unsigned ms) { io_.run_for(std::chrono::milliseconds(ms)); }

    /// What happens in a time, and for how long of it the worker had its CPU.
    [[nodiscard]] Counts measure(unsigned ms, double& seconds) {
        const Counts before = counts();
        const double start = worker_clock_->seconds();
        run(ms);
        seconds = worker_clock_->seconds() - start;
        return counts() - before;
    }
    [[nodiscard]] const dataplane::FlowCache& flows() const { return flows_; }

private:
    void publish() {
        auto snapshot = std::make_unique<dataplane::Snapshot>();
        snapshot->version = 1;
        snapshot->bridges.resize(1);
        snapshot->bridges[0].members = {kEstablished, kServed, kStrange, kReached};
        snapshot->ports.resize(4);
        const auto sink = std::make_shared<TrafficPort>(Environment::get().pools(), Sequence{});
        for (std::uint16_t port = 0; port < 4; ++port) {
            snapshot->ports[port].device = sink;
            snapshot->ports[port].bridge = 0;
            snapshot->ports[port].mtu = 9000;
            snapshot->ports[port].up = true;
            snapshot->ports[port].generation = 1U + port;
        }
        snapshot->ports[kEstablished].device = established_;
        snapshot->ports[kStrange].device = strange_;
        snapshot->rx = {{{established_, kEstablished, 0}, {strange_, kStrange, 0}}};
        slow_path_->set_snapshot(snapshot.get());
        workers_->publish(std::move(snapshot));
    }
    void wait_for_upcalls() {
        upcalls_.async_wait(
            boost::asio::posix::stream_descriptor::wait_read,
            [this](const boost::system::error_code& error) {
                if (!error) {
                    std::uint64_t value = 0;
                    [[maybe_unused]] const ssize_t got = ::read(signal_, &value, sizeof value);
                    slow_path_->drain();
                    wait_for_upcalls();
                }
            }
        );
    }
    void tick() {
        workers_->poll();
        slow_path_->tick(kIdleTimeoutS);
        timer_.expires_after(kTick);
        timer_.async_wait([this](const boost::system::error_code& error) {
            if (!error) {
                tick();
            }
        });
    }
    [[nodiscard]] Counts counts() const {
        const dataplane::WorkerCounters& worker = workers_->counters(0);
        const auto drops = [&](DropReason reason) {
            std::uint64_t sum = 0;
            for (const dataplane::Counter& port : worker.drops[static_cast<std::size_t>(reason)]) {
                sum += port.read();
            }
            return sum;
        };
        Counts now;
        now.established = worker.ports[kServed].tx_packets.read();
        now.received = worker.ports[kEstablished].rx_packets.read();
        now.strange = worker.ports[kStrange].rx_packets.read();
        now.reached = worker.ports[kReached].tx_packets.read();
        now.upcalls = worker.loop.upcalls.read();
        now.hits = worker.loop.flow_hits.read();
        now.misses = worker.loop.flow_misses.read();
        now.evictions = flows_.evictions();
        now.held_full = drops(DropReason::upcall_held_full);
        now.queue_full = drops(DropReason::upcall_queue_full);
        now.cycles = worker.loop.busy_cycles.read();
        return now;
    }

    Options options_;
    boost::asio::io_context io_;
    boost::asio::steady_timer timer_{io_};
    dataplane::FlowCache flows_;
    int signal_;
    std::shared_ptr<TrafficPort> established_;
    std::shared_ptr<TrafficPort> strange_;
    std::unique_ptr<dataplane::Workers> workers_;
    std::unique_ptr<ctl::SlowPath> slow_path_;
    std::optional<ThreadClock> worker_clock_;
    boost::asio::posix::stream_descriptor upcalls_;
};

/// Established flows without and with new ones in turn; `established` and `strange` a second.
void churn(
    const Options& options,
    const char* name,
    const Sequence& sequence,
    std::uint64_t established,
    std::uint64_t strange
) {
    Host host(options, sequence);
    host.offer(established, 0);
    host.run(options.window_ms);
    std::vector<double> alone;
    std::vector<double> beside;
    std::vector<double> setups;
    std::vector<double> lost;
    std::vector<double> cost;
    Counts total;
    for (unsigned window = 0; window < options.windows; ++window) {
        double seconds = 0;
        host.offer(established, 0);
        host.run(20);
        const Counts quiet = host.measure(options.window_ms, seconds);
        alone.push_back(static_cast<double>(quiet.established) / seconds);
        host.offer(established, strange);
        host.run(20);
        const Counts busy = host.measure(options.window_ms, seconds);
        beside.push_back(static_cast<double>(busy.established) / seconds);
        setups.push_back(static_cast<double>(busy.upcalls) / seconds);
        lost.push_back(100.0 * (1.0 - beside.back() / alone.back()));
        // What a new flow takes of the worker's time: of a worker that is never idle, the packets
        // of established flows that it had no time for.
        const double packet_cycles =
            static_cast<double>(rte_get_tsc_hz()) / std::max(1.0, alone.back());
        const double taken =
            established == TrafficPort::kUnpaced
                ? (alone.back() - beside.back()) * packet_cycles
                : (static_cast<double>(busy.cycles) - static_cast<double>(quiet.cycles)) / seconds;
        cost.push_back(taken / std::max(1.0, setups.back()));
        total = busy;
        total.queue_full += total.held_full;
    }
    std::printf(
        "%-22s established %6.2f -> %6.2f Mpps (loss %5.1f %%), set-ups %7.0f k/s, %5.0f cycles "
        "each, refused %4.1f %%, not delivered %llu, entries %zu, evicted %llu\n",
        name,
        median(alone) / 1e6,
        median(beside) / 1e6,
        median(lost),
        median(setups) / 1e3,
        median(cost),
        total.strange == 0
            ? 0.0
            : 100.0 * static_cast<double>(total.queue_full) / static_cast<double>(total.strange),
        static_cast<unsigned long long>(
            total.received - std::min(total.received, total.established)
        ),
        host.flows().size(),
        static_cast<unsigned long long>(total.evictions)
    );
    std::fflush(stdout);
}

/// Traffic between every pair of so many addresses, in an order without locality.
void pairs(const Options& options, std::uint32_t side) {
    const double before_mb = resident_mb();
    Host host(options, {Sequence::Kind::pairs, kStrangeGroup, side, side});
    const double idle_mb = resident_mb();
    host.offer(0, TrafficPort::kUnpaced);
    const std::size_t wanted =
        std::min<std::size_t>(std::size_t{side} * side, host.flows().capacity()) * 98 / 100;
    unsigned waited_ms = 0;
    double seconds = 0;
    while (host.flows().size() < wanted && waited_ms < 15000) {
        host.run(50);
        waited_ms += 50;
    }
    const double full_mb = resident_mb();
    host.run(2 * options.window_ms);
    std::vector<double> rates;
    std::vector<double> misses;
    for (unsigned window = 0; window < options.windows; ++window) {
        const Counts done = host.measure(options.window_ms, seconds);
        rates.push_back(static_cast<double>(done.reached) / seconds);
        misses.push_back(
            100.0 * static_cast<double>(done.misses) /
            static_cast<double>(std::max<std::uint64_t>(1, done.hits + done.misses))
        );
    }
    std::printf(
        "%-22s %6.2f Mpps, misses %5.2f %%, entries %zu after %.1f s, resident %+.1f MB idle, "
        "%+.1f MB full: %.0f bytes a flow\n",
        (std::to_string(side) + " x " + std::to_string(side) + " pairs").c_str(),
        median(rates) / 1e6,
        median(misses),
        host.flows().size(),
        waited_ms / 1000.0,
        idle_mb - before_mb,
        full_mb - before_mb,
        (full_mb - idle_mb) * 1e6 / static_cast<double>(host.flows().size())
    );
    std::fflush(stdout);
}

int run(const Options& options, const std::vector<std::string>& parts) {
    const auto wants = [&](const char* part) {
        return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end();
    };
    const Environment environment;
    run_on(options.cpus[1]);
    const Sequence known{Sequence::Kind::pairs, kStrangeGroup, 4000, 4000};
    const Sequence unknown{Sequence::Kind::destinations, kStrangeGroup};
    const Sequence foreign{Sequence::Kind::sources, kStrangeGroup};
    constexpr std::uint64_t kAll = TrafficPort::kUnpaced;
    const std::uint64_t established = options.established_rate;
    if (wants("churn")) {
        // What as many packets of one flow cost, which need no set-up: the rest is what set-ups do.
        const Sequence one{Sequence::Kind::pairs, kStrangeGroup, 1, 1};
        churn(options, "no churn, one flow", one, established, options.rate);
        churn(options, "churn, pairs", known, established, options.rate);
        churn(options, "churn, destinations", unknown, established, options.rate);
        churn(options, "churn, sources", foreign, established, options.rate);
    }
    if (wants("scan")) {
        churn(options, "scan, pairs", known, established, kAll);
        churn(options, "scan, destinations", unknown, established, kAll);
        churn(options, "scan, sources", foreign, established, kAll);
    }
    if (wants("pairs")) {
        pairs(options, 100);
        pairs(options, 300);
        pairs(options, 1000);
    }
    return 0;
}

}  // namespace

}  // namespace culvert::bench

int main(int argc, char** argv) {
    culvert::bench::Options options;
    std::vector<std::string> parts;
    CLI::App app{"New flows beside established ones: what both get, and what a flow costs."};
    app.add_option("parts", parts, "churn, scan, pairs; none: all");
    app.add_option("--max-flows", options.max_flows, "Entries of the flow cache")
        ->capture_default_str();
    app.add_option("--rate", options.rate, "New flows a second")->capture_default_str();
    app.add_option(
        "--established-rate",
        options.established_rate,
        "Frames of established flows a second; as many as the worker takes unless given"
    );
    app.add_option("--established", options.established, "Established flows")
        ->capture_default_str();
    app.add_option("--windows", options.windows, "Windows of each kind")->capture_default_str();
    app.add_option("--window-ms", options.window_ms, "Length of a window")->capture_default_str();
    app.add_option("--mac-table-size", options.mac_table_size, "Addresses the bridge learns")
        ->capture_default_str();
    app.add_option("--cpus", options.cpus, "CPU of the worker and of the control thread")
        ->expected(2)
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        return culvert::bench::run(options, parts);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "culvert_churn: %s\n", error.what());
        return 1;
    }
}
