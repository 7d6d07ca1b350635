// SPDX-License-Identifier: GPL-2.0-or-later
//
// See daemonize.hpp. Each process waits for its child on a pipe, of which the child has the other
// end: a byte means that the daemon is ready, the end of the pipe that it is dead.
#include "ctl/daemonize.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/log.hpp"

namespace culvert::ctl {
namespace {

using Clock = std::chrono::steady_clock;

/// What ps shows of the process: the memory of its arguments.
class ProcessTitle {
public:
    ProcessTitle(int argc, char** argv) {
        for (int i = 0; i < argc; ++i) {
            if (i == 0) {
                start_ = argv[0];
            } else if (argv[i] != start_ + bytes_) {
                break;  // Not one after the other: somebody moved them.
            }
            bytes_ += std::strlen(argv[i]) + 1;
        }
        original_.assign(start_, bytes_);
    }

    void set(const std::string& title) {
        if (bytes_ == 0) {
            return;
        }
        const std::size_t used = std::min(title.size(), bytes_ - 1);
        std::fill_n(std::copy_n(title.begin(), used, start_), bytes_ - used, '\0');
    }
    void restore() { std::copy(original_.begin(), original_.end(), start_); }

private:
    char* start_ = nullptr;
    std::size_t bytes_ = 0;
    std::string original_;
};

[[noreturn]] void end(int status) {
    // Not exit(): what the daemon's libraries would tear down was never set up here.
    std::cout.flush();
    std::cerr.flush();
    _exit(status);
}

void redirect_to_null() {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) {
        return;
    }
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        ::dup2(null, fd);
    }
    if (null > STDERR_FILENO) {
        ::close(null);
    }
}

struct Child {
    pid_t pid = 0;       ///< 0: this is the child.
    int fd = -1;         ///< The end of the pipe that is this process's.
    std::string reason;  ///< Not empty: there is no child.
};

Child fork_with_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return {-1, -1, std::strerror(errno)};
    }
    const pid_t pid = ::fork();
    if (pid < 0) {
        const int error = errno;
        ::close(ends[0]);
        ::close(ends[1]);
        return {-1, -1, std::strerror(error)};
    }
    ::close(ends[pid == 0 ? 0 : 1]);
    return {pid, ends[pid == 0 ? 1 : 0], ""};
}

/// Waits for the child's byte. False: it is dead.
bool wait_until_ready(int fd) {
    char byte = 0;
    ssize_t got = 0;
    do {
        got = ::read(fd, &byte, 1);
    } while (got < 0 && errno == EINTR);
    ::close(fd);
    return got == 1;
}

int wait_for_end(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

std::string describe_end(int status) {
    if (WIFSIGNALED(status)) {
        const int signal = WTERMSIG(status);
        const char* abbreviation = sigabbrev_np(signal);
        return fmt::format(
            "killed by signal {} (SIG{}){}",
            signal,
            abbreviation != nullptr ? abbreviation : "?",
            WCOREDUMP(status) ? ", core dumped" : ""
        );
    }
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

void tell_ready(int fd) {
    if (fd >= 0) {
        const char byte = 0;
        static_cast<void>(!::write(fd, &byte, 1));  // Nobody may wait any more.
        ::close(fd);
    }
}

/// The process that was started, after its part is done.
[[noreturn]] void end_as_launcher(const DaemonizeOptions& options, const Child& child) {
    if (wait_until_ready(child.fd)) {
        end(EXIT_SUCCESS);
    }
    const int status = wait_for_end(child.pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        end(WEXITSTATUS(status));  // It has said why.
    }
    std::cerr << options.name << ": the daemon ended before it was ready (" << describe_end(status)
              << ")\n";
    end(EXIT_FAILURE);
}

/// The monitor's life. Returns in its children.
class Monitor {
public:
    Monitor(const DaemonizeOptions& options, int ready_fd)
        : options_(options), ready_fd_(ready_fd), title_(options.argc, options.argv) {}

    /// The pipe of a daemon that is to start.
    Result<int> run() {
        while (true) {
            const Clock::time_point started = Clock::now();
            const Child child = fork_with_pipe();
            if (!child.reason.empty()) {
                return tl::unexpected("cannot start the daemon: " + child.reason);
            }
            if (child.pid == 0) {
                become_daemon();
                return child.fd;
            }
            watch(child);
            const int status = wait_for_end(child.pid);
            say(child.pid, status);
            wait_for_turn(started);
            restarts_ += 1;
        }
    }

private:
    /// Until the child is dead.
    void watch(const Child& child) {
        set_names();
        title_.set(fmt::format("{}: monitoring pid {} ({})", options_.name, child.pid, health()));
        if (wait_until_ready(child.fd)) {
            if (restarts_ == 0) {
                tell_ready(std::exchange(ready_fd_, -1));
                if (options_.detach) {
                    redirect_to_null();
                }
                leave_folder();
            }
            // Logrotate tells the daemon alone to open the file again.
            log_close_file();
        } else if (restarts_ == 0) {
            give_up(child.pid);
        }
    }

    /// A daemon that never was ready is the launcher's trouble.
    [[noreturn]] static void give_up(pid_t pid) {
        const int status = wait_for_end(pid);
        if (WIFSIGNALED(status)) {
            log_fatal("daemon", "the daemon died at its start: " + describe_end(status));
            end(EXIT_FAILURE);
        }
        end(WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
    }

    void say(pid_t pid, int status) const {
        if (const auto reopened = log_reopen(); !reopened) {
            std::cerr << options_.name << ": " << reopened.error() << '\n';
        }
        if (WIFSIGNALED(status) && is_crash(WTERMSIG(status))) {
            logger("daemon").error("pid {} died, {}, restarting", pid, describe_end(status));
            return;
        }
        logger("daemon").info("pid {} died, {}, exiting", pid, describe_end(status));
        end(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
    }

    void wait_for_turn(Clock::time_point started) const {
        const Clock::time_point turn = started + options_.restart_interval;
        if (Clock::now() < turn) {
            logger("daemon").warn(
                "crashed within {} s of its start; waiting until they are over",
                options_.restart_interval.count() / 1000
            );
            std::this_thread::sleep_until(turn);
        }
    }

    [[nodiscard]] std::string health() const {
        return restarts_ == 0 ? "healthy" : fmt::format("{} crashes", restarts_);
    }

    static void set_names() {
        ::prctl(PR_SET_NAME, "monitor");
        log_set_subprogram("monitor");
    }

    void become_daemon() {
        if (ready_fd_ >= 0) {
            ::close(ready_fd_);
        }
        title_.restore();
        ::prctl(PR_SET_NAME, options_.name.c_str());
        log_set_subprogram("");
        if (restarts_ != 0) {
            if (const auto reopened = log_reopen(); !reopened) {
                std::cerr << options_.name << ": " << reopened.error() << '\n';
            }
        }
    }

    void leave_folder() const {
        if (options_.detach && options_.change_folder) {
            static_cast<void>(!::chdir("/"));
        }
    }

    const DaemonizeOptions& options_;
    int ready_fd_;
    ProcessTitle title_;
    unsigned restarts_ = 0;
};

}  // namespace

bool is_crash(int signal) noexcept {
    static constexpr std::array kCrashes = {
        SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGPIPE, SIGSEGV, SIGXCPU, SIGXFSZ};
    return std::find(kCrashes.begin(), kCrashes.end(), signal) != kCrashes.end();
}

Result<Startup> Startup::begin(const DaemonizeOptions& options) {
    int ready_fd = -1;
    if (options.detach) {
        const Child child = fork_with_pipe();
        if (!child.reason.empty()) {
            return tl::unexpected("cannot go into the background: " + child.reason);
        }
        if (child.pid != 0) {
            end_as_launcher(options, child);
        }
        ::setsid();
        ready_fd = child.fd;
    }
    if (options.monitor) {
        const auto own = Monitor(options, ready_fd).run();
        if (!own) {
            return tl::unexpected(own.error());
        }
        ready_fd = *own;
    }
    return Startup(ready_fd, options.detach, options.change_folder);
}

Startup::Startup(Startup&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), detach_(other.detach_),
      change_folder_(other.change_folder_) {}

Startup::~Startup() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

void Startup::complete() {
    tell_ready(std::exchange(fd_, -1));
    if (detach_) {
        if (change_folder_) {
            static_cast<void>(!::chdir("/"));
        }
        redirect_to_null();
    }
}

}  // namespace culvert::ctl
