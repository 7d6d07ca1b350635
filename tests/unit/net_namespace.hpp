// SPDX-License-Identifier: GPL-2.0-or-later
//
// Network namespaces for unit tests, without names and so without leftovers: the calling thread
// moves into a fresh one and back, and a child process that dies with the test keeps another one
// for the far end of a veth pair. Needs root; without it the test fails and does not skip.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace culvert::test {

inline void require(bool condition, const std::string& what) {
    if (!condition) {
        throw std::runtime_error(what + ": " + std::strerror(errno));
    }
}

/// Runs a shell command in the network namespace of the calling thread; true when it succeeds.
[[nodiscard]] inline bool succeeds(const std::string& command) {
    const int status = std::system(command.c_str());
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// The same for set-up that must work.
inline void run(const std::string& command) {
    if (!succeeds(command)) {
        throw std::runtime_error("the command failed: " + command);
    }
}

/// A fresh network namespace for the calling thread, with the loopback up.
class PrivateNetwork {
public:
    PrivateNetwork() : original_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
        require(original_ >= 0, "the network namespace of this thread cannot be opened");
        require(unshare(CLONE_NEWNET) == 0, "a network namespace cannot be made (root is needed)");
        run("ip link set lo up");
    }
    ~PrivateNetwork() {
        if (setns(original_, CLONE_NEWNET) != 0) {
            std::abort();
        }
        close(original_);
    }
    PrivateNetwork(const PrivateNetwork&) = delete;
    PrivateNetwork& operator=(const PrivateNetwork&) = delete;

private:
    int original_;
};

/// A child process that calls `body` and is killed with this object or with the test. The object
/// exists when `body` has returned; the child then waits. An exception in `body` is passed on as
/// one that says so.
class Child {
public:
    template <class Body>
    explicit Child(Body body) {
        int ready[2];
        require(pipe2(ready, O_CLOEXEC) == 0, "a pipe cannot be made");
        const pid_t parent = getpid();
        pid_ = fork();
        require(pid_ >= 0, "a child cannot be forked");
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent || !call(body) || write(ready[1], "r", 1) != 1) {
                _exit(1);
            }
            for (;;) {
                pause();
            }
        }
        close(ready[1]);
        char byte = 0;
        const bool is_ready = read(ready[0], &byte, 1) == 1;
        close(ready[0]);
        if (!is_ready) {
            kill_and_reap();
            throw std::runtime_error("the child failed");
        }
    }
    ~Child() { kill_and_reap(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] pid_t pid() const { return pid_; }

    void kill_hard() const { kill(pid_, SIGKILL); }
    /// Waits for the end and leaves the zombie.
    void wait_for_end() const {
        siginfo_t info{};
        waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
    }
    void kill_and_reap() {
        if (pid_ > 0) {
            kill_hard();
            waitpid(pid_, nullptr, 0);
            pid_ = 0;
        }
    }

private:
    template <class Body>
    static bool call(Body& body) {
        try {
            body();
            return true;
        } catch (const std::exception& error) {
            static_cast<void>(!write(STDERR_FILENO, error.what(), std::strlen(error.what())));
            return false;
        }
    }

    pid_t pid_ = 0;
};

/// A second, empty network namespace.
class PeerNetwork {
public:
    PeerNetwork()
        : holder_([] {
              require(unshare(CLONE_NEWNET) == 0, "the peer's network namespace cannot be made");
          }) {
        run("ip link set lo up");
    }

    void run(const std::string& command) const {
        test::run("nsenter -t " + std::to_string(holder_.pid()) + " -n " + command);
    }
    /// Moves a device of the calling thread's namespace there.
    void take(const std::string& device) const {
        test::run("ip link set " + device + " netns " + std::to_string(holder_.pid()));
    }

private:
    Child holder_;
};

}  // namespace culvert::test
