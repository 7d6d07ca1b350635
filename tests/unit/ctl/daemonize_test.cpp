// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processes of a daemon's start, for real: a child of the test stands for the program that was
// started, and the test is the one that orphaned processes fall to, so that it sees how each ends.
#include "ctl/daemonize.hpp"

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/ctl/unixctl_fixture.hpp"

namespace culvert::ctl {
namespace {

using ::testing::SizeIs;
using testing::TemporaryFolder;

/// What became of a process: its exit status, or minus the signal.
int outcome_of(int status) {
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int wait_for_end_of(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return outcome_of(status);
}

template <class Condition>
bool wait_until(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

class Daemonize : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0); }
    void TearDown() override { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }

    /// A process that is launched with the options, and in which the daemon runs `body`.
    pid_t launch(bool detach, bool monitor, const std::function<int(Startup&)>& body) const {
        const pid_t pid = ::fork();
        if (pid != 0) {
            return pid;
        }
        const rlimit no_core{};
        ::setrlimit(RLIMIT_CORE, &no_core);
        DaemonizeOptions options;
        options.name = "daemon";
        options.detach = detach;
        options.monitor = monitor;
        options.restart_interval = std::chrono::milliseconds(0);
        auto startup = Startup::begin(options);
        if (!startup) {
            _exit(99);
        }
        std::ofstream(pids_, std::ios::app) << ::getpid() << " " << ::getppid() << "\n";
        _exit(body(*startup));
    }

    struct Processes {
        pid_t daemon;
        pid_t parent;
    };
    /// Every daemon that there was, and whose child it was at its start.
    [[nodiscard]] std::vector<Processes> daemons() const {
        std::ifstream stream(pids_);
        std::vector<Processes> found;
        for (Processes entry{}; stream >> entry.daemon >> entry.parent;) {
            found.push_back(entry);
        }
        return found;
    }

    static int run_until_killed(Startup& startup) {
        startup.complete();
        while (true) {
            ::pause();
        }
    }

    TemporaryFolder folder_;
    const std::string pids_ = folder_.file("pids");
};

TEST_F(Daemonize, StaysInTheForegroundByItself) {
    const pid_t pid = launch(false, false, [](Startup& startup) {
        startup.complete();
        return 5;
    });
    EXPECT_EQ(wait_for_end_of(pid), 5);
    ASSERT_THAT(daemons(), SizeIs(1));
    EXPECT_EQ(daemons()[0].daemon, pid);
}

TEST_F(Daemonize, TheLauncherEndsWhenTheDaemonIsReady) {
    for (const bool monitor : {false, true}) {
        const std::string gate = folder_.file(monitor ? "gate-monitor" : "gate");
        const std::size_t before = daemons().size();
        const pid_t pid = launch(true, monitor, [&](Startup& startup) {
            wait_until([&] { return ::access(gate.c_str(), F_OK) == 0; });
            return run_until_killed(startup);
        });
        ASSERT_TRUE(wait_until([&] { return daemons().size() > before; }));
        int status = 0;
        EXPECT_EQ(::waitpid(pid, &status, WNOHANG), 0) << "it did not wait for the daemon";
        std::ofstream(gate) << "open";
        EXPECT_EQ(wait_for_end_of(pid), 0);
        const pid_t daemon = daemons().back().daemon;
        ::kill(daemon, SIGTERM);
        EXPECT_EQ(
            wait_for_end_of(monitor ? daemons().back().parent : daemon), monitor ? 1 : -SIGTERM
        );
    }
}

TEST_F(Daemonize, TheLauncherEndsAsADaemonThatNeverWasReady) {
    for (const bool monitor : {false, true}) {
        const pid_t failed = launch(true, monitor, [](Startup&) { return 7; });
        EXPECT_EQ(wait_for_end_of(failed), 7);
        // Also when it takes itself for a success.
        const pid_t silent = launch(true, monitor, [](Startup&) { return 0; });
        EXPECT_EQ(wait_for_end_of(silent), 1);
        const pid_t crashed = launch(true, monitor, [](Startup&) { return ::raise(SIGABRT); });
        EXPECT_EQ(wait_for_end_of(crashed), 1);
    }
    EXPECT_THAT(daemons(), SizeIs(6)) << "none of them is started again";
}

TEST_F(Daemonize, ACrashedDaemonIsStartedAgain) {
    const pid_t launcher = launch(true, true, run_until_killed);
    EXPECT_EQ(wait_for_end_of(launcher), 0);
    for (std::size_t crashes = 1; crashes <= 2; ++crashes) {
        ::kill(daemons().back().daemon, SIGABRT);  // AddressSanitizer takes SIGSEGV for itself.
        ASSERT_TRUE(wait_until([&] { return daemons().size() == crashes + 1; }));
    }
    const pid_t monitor = daemons().back().parent;
    EXPECT_EQ(monitor, daemons().front().parent);
    ::kill(daemons().back().daemon, SIGKILL);
    EXPECT_EQ(wait_for_end_of(monitor), 1);
    EXPECT_THAT(daemons(), SizeIs(3));
}

TEST_F(Daemonize, AMonitorEndsWithADaemonThatEnds) {
    const pid_t monitor = launch(false, true, [](Startup& startup) {
        startup.complete();
        return 3;
    });
    EXPECT_EQ(wait_for_end_of(monitor), 3);
    ASSERT_THAT(daemons(), SizeIs(1));
    EXPECT_EQ(daemons()[0].parent, monitor);
}

TEST_F(Daemonize, TheDaemonLeavesTerminalAndFolder) {
    const std::string links = folder_.file("links");
    const pid_t launcher = launch(true, false, [&](Startup& startup) {
        startup.complete();
        std::ofstream stream(links);
        for (const char* name : {"cwd", "fd/0", "fd/1", "fd/2"}) {
            char target[256] = {};
            const std::string link = std::string("/proc/self/") + name;
            stream << (::readlink(link.c_str(), target, sizeof target - 1) > 0 ? target : "?")
                   << "\n";
        }
        stream << (::getsid(0) == ::getpid()) << std::endl;
        return run_until_killed(startup);
    });
    EXPECT_EQ(wait_for_end_of(launcher), 0);
    std::string text;
    ASSERT_TRUE(wait_until([&] {
        std::ifstream stream(links);
        text.assign(std::istreambuf_iterator<char>(stream), {});
        return text.ends_with("1\n");
    })) << text;
    EXPECT_EQ(text, "/\n/dev/null\n/dev/null\n/dev/null\n1\n");
    ::kill(daemons().back().daemon, SIGTERM);
    EXPECT_EQ(wait_for_end_of(daemons().back().daemon), -SIGTERM);
}

TEST(IsCrash, IsASignalOfAFault) {
    for (const int signal :
         {SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGPIPE, SIGSEGV, SIGXCPU, SIGXFSZ}) {
        EXPECT_TRUE(is_crash(signal)) << signal;
    }
    for (const int signal : {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
        EXPECT_FALSE(is_crash(signal)) << signal;
    }
}

}  // namespace
}  // namespace culvert::ctl
