// SPDX-License-Identifier: GPL-2.0-or-later
//
// The lock is asked for again and again rather than waited for, as a wait in the kernel ends only
// by a signal. Whoever holds it is looked up in /proc/locks by the file's device and inode.
#include "firewall/xtables_lock.hpp"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "firewall/error_text.hpp"

namespace culvert::firewall {

namespace {

constexpr auto kPause = std::chrono::milliseconds(5);
constexpr const char* kDefaultFile = "/run/xtables.lock";

std::string lock_file() {
    const char* const named = std::getenv("XTABLES_LOCKFILE");
    return named != nullptr && *named != '\0' ? named : kDefaultFile;
}

// " (process 123, iptables)"; empty when the kernel does not say.
std::string holder_of(int fd) {
    struct stat file {};
    if (fstat(fd, &file) != 0) {
        return {};
    }
    std::ostringstream wanted;
    wanted.width(2);
    wanted.fill('0');
    wanted << std::hex << major(file.st_dev) << ':';
    wanted.width(2);
    wanted << minor(file.st_dev) << ':' << std::dec << file.st_ino;

    std::ifstream locks("/proc/locks");
    for (std::string line; std::getline(locks, line);) {
        // "1: FLOCK  ADVISORY  WRITE 123 00:19:456 0 EOF"; who waits has "->" behind the number.
        std::istringstream words(line);
        std::string number;
        std::string kind;
        std::string mode;
        std::string access;
        std::string pid;
        std::string inode;
        words >> number >> kind >> mode >> access >> pid >> inode;
        if (kind != "FLOCK" || inode != wanted.str()) {
            continue;
        }
        std::string command;
        std::getline(std::ifstream("/proc/" + pid + "/comm"), command);
        return " (process " + pid + (command.empty() ? ")" : ", " + command + ")");
    }
    return {};
}

}  // namespace

tl::expected<XtablesLock, std::string> XtablesLock::take(std::chrono::milliseconds wait) {
    const std::string path = lock_file();
    const int fd = ::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return tl::unexpected("the lock file " + path + " cannot be opened: " + error_text(errno));
    }
    XtablesLock lock(fd);
    const auto deadline = std::chrono::steady_clock::now() + wait;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return tl::unexpected("the lock " + path + " cannot be taken: " + error_text(errno));
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            return tl::unexpected(
                "another program" + holder_of(fd) + " has held the lock " + path + " for " +
                std::to_string(wait.count() / 1000) + " s; try again when it has ended"
            );
        }
        std::this_thread::sleep_for(kPause);
    }
    return lock;
}

XtablesLock::~XtablesLock() {
    if (fd_ >= 0) {
        close(fd_);
    }
}

}  // namespace culvert::firewall
