// SPDX-License-Identifier: GPL-2.0-or-later
//
// Into the background as Open vSwitch's daemons go there: the process that was started ends when
// the daemon is ready, and with its exit status when it does not get there; a monitor, when there
// is one, is the daemon's parent and starts it again after a crash. Before any thread exists.
#pragma once

#include <chrono>
#include <string>

#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

struct DaemonizeOptions {
    std::string name;     ///< Of the program, for messages and titles.
    bool detach = false;  ///< Into the background.
    bool monitor = false;
    bool change_folder = true;  ///< To "/", once in the background.
    /// main()'s, where the monitor writes its title; may be empty.
    int argc = 0;
    char** argv = nullptr;
    /// A daemon that crashes sooner than this after it was started waits until then.
    std::chrono::milliseconds restart_interval{10'000};
};

/// Whether a monitor starts a daemon again that this signal ended: those of a crash.
[[nodiscard]] bool is_crash(int signal) noexcept;

/// The daemon's end of what its ancestors wait for.
class Startup {
public:
    /// Forks as the options say and returns in the process that is to be the daemon, more than once
    /// where there is a monitor; the other processes end in here. One sentence when that fails.
    [[nodiscard]] static Result<Startup> begin(const DaemonizeOptions& options);

    Startup(Startup&& other) noexcept;
    Startup& operator=(Startup&&) = delete;
    /// Without complete(): those who wait learn that the daemon did not get ready.
    ~Startup();

    /// The daemon is ready: who waits may go, and the terminal is let go of.
    void complete();

private:
    Startup(int fd, bool detach, bool change_folder)
        : fd_(fd), detach_(detach), change_folder_(change_folder) {}

    int fd_;  ///< One byte here means ready; -1: nobody waits.
    bool detach_;
    bool change_folder_;
};

}  // namespace culvert::ctl
