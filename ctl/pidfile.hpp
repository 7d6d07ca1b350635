// SPDX-License-Identifier: GPL-2.0-or-later
//
// The file that says which process is the daemon. The daemon holds a write lock (fcntl) on it for
// as long as it lives, by which ovs-appctl(8) and ovs-ctl tell it from one that a dead process
// left. Start-up thread only.
#pragma once

#include <memory>
#include <string>

#include <sys/types.h>

#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// The process that holds the lock on the file at `path`; 0: nobody, or there is no such file. An
/// error when that cannot be found out.
[[nodiscard]] Result<pid_t> pidfile_owner(const std::string& path);

/// The sentence for a daemon that would be a second one; nothing when it may start.
[[nodiscard]] Result<void> check_not_running(const std::string& path);

class Pidfile {
public:
    /// Writes the file for this process: beside its place, locked, then renamed, so that nobody
    /// sees it unlocked. Replaces one that is there, of a living process too.
    [[nodiscard]] static Result<std::unique_ptr<Pidfile>> create(const std::string& path);

    /// Removes the file, if it is still this one.
    ~Pidfile();
    Pidfile(const Pidfile&) = delete;
    Pidfile& operator=(const Pidfile&) = delete;

private:
    Pidfile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

    std::string path_;
    int fd_;  ///< Closing any descriptor of the file in this process would end the lock.
};

}  // namespace culvert::ctl
