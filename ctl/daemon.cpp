// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon once its arguments and its process are settled: an ordered list of things to start,
// and the same list backwards to stop. See daemon.hpp.

#include "ctl/daemon.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/acquire.hpp"
#include "ctl/commands.hpp"
#include "ctl/ike.hpp"
#include "ctl/log.hpp"
#include "ctl/openflow/bridges.hpp"
#include "ctl/sd_notify.hpp"
#include "ctl/unixctl.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/packet_pools.hpp"

namespace culvert::ctl {

namespace {

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
        } else if (port.kind != PortKind::patch) {
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
    log_fatal("culvertd", sentence);
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
    Daemon(const DaemonOptions& options, const SwitchParts& parts, int upcall_wake_fd)
        : options_(options), parts_(with_encryption(parts)),
          switch_(parts_, options.state.without_items()),
          source_(options.make_source(io_, switch_, ofports_)), upcall_wake_fd_(upcall_wake_fd) {}

    /// Applies the configuration and serves until SIGTERM, SIGINT or `exit`. Returns the exit
    /// status.
    int serve() {
        std::vector<std::unique_ptr<UnixctlServer>> servers;
        const CommandContext context{
            switch_,
            parts_.slow_path,
            parts_.workers,
            parts_.flows,
            ofports_,
            parts_.underlay,
            [this] { return reload(); },
            // Not at once: the answer is on its way when the command's handler has returned.
            [this] { boost::asio::post(io_, [this] { io_.stop(); }); },
            options_.version};
        if (const auto opened = open_sockets(make_commands(context), servers); !opened) {
            return fail(opened.error(), kExitEnvironment);
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
        openflow_ = std::make_unique<openflow::Bridges>(
            io_,
            options_.rundir,
            context,
            [this](const std::string& bridge) { return source_->openflow(bridge); }
        );
        source_->on_configured = [this] { openflow_->update(); };
        // After the socket: a second daemon on it must not touch anything.
        if (const auto started = source_->start([this] { ready(); }); !started) {
            return fail(started.error(), kExitUsage);
        }
        tick();
        wait_for_signal();
        io_.run();
        source_->on_configured = {};
        openflow_.reset();
        sd_notify_stopping();
        logger("culvertd").info("stopping");
        return EXIT_SUCCESS;
    }

private:
    SwitchParts with_encryption(SwitchParts parts) {
        parts.encryption.state_folder = options_.state.daemon.state_dir;
        if (!tunnels::esp_self_test()) {
            parts.encryption.trouble =
                "the ciphers of this CPU do not compute what they should: nothing can be encrypted";
            logger("esp").error("{}", parts.encryption.trouble);
        }
        parts.encryption.open_xfrm = [this] { return follow_kernel(); };
        parts.encryption.acquire = acquire_association;
        parts.encryption.ike = &ike_;
        return parts;
    }

    /// The kernel's security associations, once a tunnel has its keys by IKE.
    Result<Xfrm*> follow_kernel() {
        auto opened = open_xfrm();
        if (!opened) {
            return tl::unexpected(opened.error());
        }
        xfrm_ = std::move(*opened);
        xfrm_events_ =
            std::make_unique<Watch>(io_, xfrm_->event_fd(), [this] { switch_.on_xfrm(); });
        return xfrm_.get();
    }

    Result<void> open_sockets(
        const std::map<std::string, Command>& commands,
        std::vector<std::unique_ptr<UnixctlServer>>& servers
    ) {
        for (const ControlSocket& socket : options_.sockets) {
            auto server = UnixctlServer::open(io_, socket.path, commands);
            if (server) {
                servers.push_back(std::move(*server));
            } else if (socket.required) {
                return tl::unexpected(server.error());
            } else {
                logger("culvertd").warn("{}", server.error());
            }
        }
        return {};
    }

    /// The first configuration forwards.
    void ready() {
        const std::string line = status_line(switch_.running());
        logger("culvertd").info("culvertd {} forwards: {}", CULVERT_VERSION, line);
        sd_notify_ready(line);
        if (options_.on_ready) {
            options_.on_ready();
        }
    }

    void tick() {
        switch_.tick();
        source_->tick();
        openflow_->update();
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

    /// What SIGHUP and `culvert-ctl reload` do.
    Result<std::string> reload() {
        sd_notify_reloading();
        auto done = source_->reload();
        if (!done) {
            logger("config").error("reload: {}", done.error());
        }
        sd_notify_ready(status_line(switch_.running()));
        return done;
    }

    boost::asio::io_context io_;
    boost::asio::signal_set signals_{io_, SIGINT, SIGTERM, SIGHUP};
    boost::asio::steady_timer timer_{io_};
    const DaemonOptions& options_;
    Ike ike_{io_};
    std::unique_ptr<Xfrm> xfrm_;          ///< Once it is needed.
    std::unique_ptr<Watch> xfrm_events_;  ///< Of xfrm_.
    SwitchParts parts_;
    Switch switch_;
    Ofports ofports_;
    std::unique_ptr<ControlSource> source_;
    std::unique_ptr<openflow::Bridges> openflow_;  ///< While it serves.
    int upcall_wake_fd_;
};

}  // namespace

namespace {

/// The child's status when DPDK started; some of DPDK's options end the process with 0.
constexpr int kDpdkStarted = 100;

/// The child's part: what DPDK prints about itself goes nowhere, the sentence into the pipe.
[[noreturn]] void try_dpdk_and_exit(const DesiredState& state, int pipe) {
    if (const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0) {
        ::dup2(null, STDOUT_FILENO);
        ::dup2(null, STDERR_FILENO);
    }
    const auto eal = dataplane::Eal::start(eal_options(state));
    const std::string problem = eal ? "" : eal.error();
    const bool told = ::write(pipe, problem.data(), problem.size()) >= 0;
    ::_exit(eal && told ? kDpdkStarted : EXIT_FAILURE);
}

}  // namespace

Result<void> try_dpdk(const DesiredState& state) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        return tl::unexpected(std::string("cannot make a pipe: ") + std::strerror(errno));
    }
    const pid_t child = ::fork();
    if (child == 0) {
        try_dpdk_and_exit(state, pipe[1]);
    }
    ::close(pipe[1]);
    std::string problem;
    std::array<char, 1024> piece{};
    for (ssize_t size = 0; (size = ::read(pipe[0], piece.data(), piece.size())) > 0;) {
        problem.append(piece.data(), static_cast<std::size_t>(size));
    }
    ::close(pipe[0]);
    int status = 0;
    const bool ended = child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status);
    if (!ended || WEXITSTATUS(status) != kDpdkStarted) {
        return tl::unexpected(problem.empty() ? "DPDK does not start" : problem);
    }
    return {};
}

int run_daemon(const DaemonOptions& options, Underlay& underlay) {
    const DesiredState& state = options.state;
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
        options,
        {**workers, flows, slow_path, underlay, **claims, guard, (*eal)->pools()},
        upcall_wake.fd
    );
    return daemon.serve();
}

}  // namespace culvert::ctl
