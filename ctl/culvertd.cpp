// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon: an ordered list of things to start, and the same list backwards to stop. The control
// thread (this one) runs the slow path, the control socket and what the kernel tells; workers
// forward.

#include <csignal>
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctl/commands.hpp"
#include "ctl/cpu_check.hpp"
#include "ctl/log.hpp"
#include "ctl/sd_notify.hpp"
#include "ctl/sentence.hpp"
#include "ctl/toml_source.hpp"
#include "ctl/unixctl.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/packet_pools.hpp"

namespace culvert::ctl {

namespace {

constexpr int kExitEnvironment = 1;  // Something the daemon needs is not there.
constexpr int kExitUsage = 2;        // Arguments or configuration.
constexpr auto kTickInterval = std::chrono::milliseconds(100);

/// nftables identifiers and EAL prefixes differ in what they allow.
std::string instance_name(std::string prefix) {
    std::replace(prefix.begin(), prefix.end(), '.', '_');
    return prefix;
}

bool is_pci_address(const std::string& devargs) {
    const std::string address = devargs.substr(0, devargs.find(','));
    unsigned parts[4] = {};
    char end = 0;
    // NOLINTNEXTLINE(cert-err34-c): only the shape matters.
    return std::sscanf(
               address.c_str(), "%x:%x:%x.%x%c", &parts[0], &parts[1], &parts[2], &parts[3], &end
           ) == 4 ||
           std::sscanf(address.c_str(), "%x:%x.%x%c", &parts[0], &parts[1], &parts[2], &end) == 3;
}

std::uint32_t packet_buffers(const DesiredState& state) {
    if (state.dpdk.mbufs != 0) {
        return state.dpdk.mbufs;
    }
    dataplane::PoolDemand demand;
    demand.workers = state.workers.threads();
    demand.memory_bytes = dataplane::machine_memory_bytes();
    for (const BridgeConfig& bridge : state.bridges) {
        demand.kernel_ports += bridge.local ? 1 : 0;
    }
    for (const PortConfig& port : state.ports) {
        if (port.kind == PortKind::dpdk) {
            const unsigned rx_queues = port.rx_queues != 0 ? port.rx_queues : demand.workers;
            demand.device_queues += rx_queues + demand.workers;
        } else {
            ++demand.kernel_ports;
        }
    }
    return dataplane::automatic_packet_buffers(demand);
}

dataplane::EalOptions eal_options(const DesiredState& state) {
    dataplane::EalOptions options;
    options.file_prefix = state.dpdk.file_prefix;
    options.extra_args = state.dpdk.extra_args;
    options.control_cpus = state.daemon.control_cpus;
    options.memory_mb = state.dpdk.memory_mb;
    options.hugepages = state.dpdk.hugepages == Hugepages::automatic;
    options.packet_buffers = packet_buffers(state);
    for (const PortConfig& port : state.ports) {
        if (port.kind == PortKind::dpdk && is_pci_address(port.devargs)) {
            options.pci_devices.push_back(port.devargs);
        }
    }
    return options;
}

dataplane::WorkerOptions worker_options(const WorkerConfig& config) {
    dataplane::WorkerOptions options;
    options.cpus = config.cpus;
    options.count = config.threads();
    options.idle_sleep = config.idle_sleep;
    options.spread = config.spread;
    options.idle_sleep_us = config.idle_sleep_us;
    return options;
}

/// A descriptor that the control thread waits on; `ready` runs each time it is readable.
class Watch {
public:
    Watch(boost::asio::io_context& io, int fd, std::function<void()> ready)
        : descriptor_(io, fd), ready_(std::move(ready)) {
        wait();
    }
    ~Watch() { descriptor_.release(); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

private:
    void wait() {
        descriptor_.async_wait(
            boost::asio::posix::stream_descriptor::wait_read,
            [this](const boost::system::error_code& error) {
                if (!error) {
                    ready_();
                    wait();
                }
            }
        );
    }

    boost::asio::posix::stream_descriptor descriptor_;
    std::function<void()> ready_;
};

/// An eventfd that closes with its scope.
struct EventFd {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    EventFd() = default;
    ~EventFd() { close(fd); }
    EventFd(const EventFd&) = delete;
    EventFd& operator=(const EventFd&) = delete;
};

int fail(const std::string& sentence, int status) {
    logger("culvertd").error("{}", sentence);
    return status;
}

std::string status_line(const DesiredState& state) {
    return fmt::format(
        "{} bridges, {} ports, {} tunnels",
        state.bridges.size(),
        state.ports.size(),
        state.tunnels.size()
    );
}

/// The part of the daemon that runs: the switch, and what its thread waits for.
class Daemon {
public:
    Daemon(
        std::string config, const SwitchParts& parts, int upcall_wake_fd, const DesiredState& state
    )
        : config_(std::move(config)), parts_(parts), start_(state),
          switch_(parts, state.without_items()), upcall_wake_fd_(upcall_wake_fd) {}

    /// Applies the configuration and serves until SIGTERM or SIGINT. Returns the exit status.
    int serve() {
        const auto server = UnixctlServer::open(
            io_,
            start_.daemon.socket,
            make_commands(
                {switch_,
                 parts_.slow_path,
                 parts_.workers,
                 parts_.flows,
                 [this] { return reload(); }}
            )
        );
        if (!server) {
            return fail(server.error(), kExitEnvironment);
        }
        // After the socket: a second daemon on it must not touch anything.
        const auto applied = switch_.apply(start_);
        if (!applied || !applied->trouble.empty()) {
            return fail(applied ? applied->trouble : applied.error(), kExitUsage);
        }
        const Watch upcalls(io_, upcall_wake_fd_, [this] {
            std::uint64_t value = 0;
            [[maybe_unused]] const ssize_t got = read(upcall_wake_fd_, &value, sizeof value);
            switch_.drain_upcalls();
        });
        const Watch kernel(io_, parts_.underlay.event_fd(), [this] {
            switch_.on_events(parts_.underlay.read_events());
        });
        const Watch guard(io_, parts_.guard.fd(), [this] { switch_.on_firewall(); });
        tick();
        wait_for_signal();
        logger("culvertd").info("culvertd {} forwards: {}", CULVERT_VERSION, status_line(start_));
        sd_notify_ready(status_line(start_));
        io_.run();
        sd_notify_stopping();
        logger("culvertd").info("stopping");
        return EXIT_SUCCESS;
    }

private:
    void tick() {
        switch_.tick();
        timer_.expires_after(kTickInterval);
        timer_.async_wait([this](const boost::system::error_code& error) {
            if (!error) {
                tick();
            }
        });
    }

    void wait_for_signal() {
        signals_.async_wait([this](const boost::system::error_code& error, int signal) {
            if (error) {
                return;
            }
            if (signal != SIGHUP) {
                io_.stop();
                return;
            }
            if (const auto reopened = log_reopen(); !reopened) {
                logger("culvertd").warn("{}", reopened.error());
            }
            static_cast<void>(reload());
            wait_for_signal();
        });
    }

    /// What SIGHUP and `culvert-ctl reload` do: read the file again, apply the difference, keep
    /// what runs when it is bad.
    Result<std::string> reload() {
        sd_notify_reloading();
        auto done = apply_file();
        if (!done) {
            logger("config").error("reload: {}", done.error());
        }
        sd_notify_ready(status_line(switch_.running()));
        return done;
    }

    Result<std::string> apply_file() {
        auto next = load_toml(config_);
        if (!next) {
            return tl::unexpected(next.error() + "; the running configuration stays");
        }
        if (next->dpdk.file_prefix.empty()) {
            next->dpdk.file_prefix = start_.dpdk.file_prefix;
        }
        const auto applied = switch_.apply(*next);
        if (!applied) {
            return tl::unexpected(applied.error() + "; the running configuration stays");
        }
        if (!applied->trouble.empty()) {
            return tl::unexpected("applied, except: " + applied->trouble);
        }
        std::string text;
        for (const std::string& line : applied->done) {
            text += line + "\n";
        }
        return text.empty() ? "nothing changed\n" : text;
    }

    boost::asio::io_context io_;
    boost::asio::signal_set signals_{io_, SIGINT, SIGTERM, SIGHUP};
    boost::asio::steady_timer timer_{io_};
    std::string config_;
    SwitchParts parts_;
    DesiredState start_;
    Switch switch_;
    int upcall_wake_fd_;
};

/// Starts what the switch stands on, in this order; the destructors stop it in the opposite one.
int run(const std::string& path, const DesiredState& state, Underlay& underlay) {
    auto claims = firewall::InterfaceClaims::open(instance_name(state.dpdk.file_prefix));
    if (!claims) {
        return fail(claims.error(), kExitEnvironment);
    }
    if (!(*claims)->covers_arp()) {
        logger("culvertd")
            .warn("nftables has no netdev chains in this kernel: interfaces are claimed with rules "
                  "in iptables' "
                  "table raw, and the kernel goes on answering ARP there; set "
                  "net.ipv4.conf.IFACE.arp_ignore to 8");
    }
    if (const auto removed = (*claims)->remove_stale(); !removed) {
        logger("culvertd").warn("{}", removed.error());
    } else if (*removed != 0) {
        logger("culvertd").info("released {} interfaces that a dead process had claimed", *removed);
    }
    const auto eal = dataplane::Eal::start(eal_options(state));
    if (!eal) {
        return fail(eal.error(), kExitEnvironment);
    }
    logger("culvertd")
        .info(
            "DPDK runs {} with {} packet buffers; telemetry in {}",
            (*eal)->uses_hugepages() ? "on hugepages" : "without hugepages",
            packet_buffers(state),
            (*eal)->runtime_folder()
        );
    dataplane::FlowCache flows(state.flow_cache.max_flows);
    const EventFd upcall_wake;
    const auto workers = dataplane::Workers::start(
        worker_options(state.workers), flows, (*eal)->pools(), upcall_wake.fd
    );
    if (!workers) {
        return fail(workers.error(), kExitEnvironment);
    }
    SlowPath slow_path(**workers, flows);
    // It has read the host's rules before anything is forwarded.
    firewall::Guard guard([choice = state.firewall.backend] {
        return std::make_unique<firewall::HostFirewall>(choice);
    });
    Daemon daemon(
        path,
        {**workers, flows, slow_path, underlay, **claims, guard, (*eal)->pools()},
        upcall_wake.fd,
        state
    );
    return daemon.serve();
}

int check(const DesiredState& state) {
    const auto actions = plan(state.without_items(), state);
    if (!actions) {
        return fail(actions.error(), kExitUsage);
    }
    for (const Action& action : *actions) {
        std::cout << describe(action) << '\n';
    }
    std::cout << "the configuration is valid\n";
    return EXIT_SUCCESS;
}

int start(const std::string& path, bool check_only) {
    auto state = load_toml(path);
    if (!state) {
        std::cerr << "culvertd: " << state.error() << '\n';
        return kExitUsage;
    }
    if (state->dpdk.file_prefix.empty()) {
        state->dpdk.file_prefix = fmt::format("culvert-{}", getpid());
    }
    const auto underlay = open_underlay();
    if (!underlay) {
        std::cerr << "culvertd: " << underlay.error() << '\n';
        return kExitEnvironment;
    }
    auto checked = check_cpus(*state, path);
    if (checked) {
        checked = check_devices({}, *state, **underlay);
    }
    if (!checked) {
        std::cerr << "culvertd: " << checked.error() << '\n';
        return kExitUsage;
    }
    if (check_only) {
        return check(*state);
    }
    if (const auto logging = log_start(state->daemon.log_level, state->daemon.log_file); !logging) {
        std::cerr << "culvertd: " << logging.error() << '\n';
        return kExitUsage;
    }
    return run(path, *state, **underlay);
}

}  // namespace

}  // namespace culvert::ctl

int main(int argc, char** argv) {
    CLI::App app{"culvertd joins virtual machines on different hosts into one network.\n"
                 "Exit status: 0 stopped as asked or --check found nothing, 1 the environment "
                 "lacks something,\n"
                 "2 bad arguments or configuration."};
    std::string config = "/etc/culvert/culvert.toml";
    bool check = false;
    bool drop_reasons = false;
    bool version = false;
    app.add_option("-c,--config", config, "The TOML configuration file")->capture_default_str();
    app.add_flag("--check", check, "Validate the configuration, print what it would do, and exit");
    app.add_flag("--drop-reasons", drop_reasons, "Print docs/drops.md and exit");
    app.add_flag("-V,--version", version, "Print the version and exit");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (version) {
        std::cout << "culvertd " << CULVERT_VERSION << '\n';
        return 0;
    }
    if (drop_reasons) {
        std::cout << culvert::ctl::drop_reasons_document();
        return 0;
    }
    return culvert::ctl::start(config, check);
}
