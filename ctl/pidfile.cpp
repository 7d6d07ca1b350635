// SPDX-License-Identifier: GPL-2.0-or-later
//
// See pidfile.hpp.
#include "ctl/pidfile.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/sentence.hpp"

namespace culvert::ctl {
namespace {

tl::unexpected<std::string> failed(const char* what, const std::string& path, int error) {
    return tl::unexpected(
        fmt::format("cannot {} the pidfile {}: {}", what, quote(path), std::strerror(error))
    );
}

struct flock write_lock() {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
}

}  // namespace

Result<pid_t> pidfile_owner(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) {
            return 0;
        }
        return failed("read", path, errno);
    }
    struct flock lock = write_lock();
    const bool answered = ::fcntl(fd, F_GETLK, &lock) == 0;
    const int error = errno;
    ::close(fd);
    if (!answered) {
        return failed("read the lock of", path, error);
    }
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

Result<void> check_not_running(const std::string& path) {
    const auto owner = pidfile_owner(path);
    if (!owner) {
        return tl::unexpected(owner.error());
    }
    if (*owner != 0) {
        return tl::unexpected(fmt::format("{}: already running as pid {}, aborting", path, *owner));
    }
    return {};
}

Result<std::unique_ptr<Pidfile>> Pidfile::create(const std::string& path) {
    const std::string temporary = fmt::format("{}.tmp{}", path, getpid());
    const int fd = ::open(temporary.c_str(), O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return failed("create", path, errno);
    }
    const std::string text = fmt::format("{}\n", getpid());
    struct flock lock = write_lock();
    errno = ENOSPC;  // What a write that was cut short means.
    const bool created =
        ::fcntl(fd, F_SETLK, &lock) == 0 &&
        ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
        ::rename(temporary.c_str(), path.c_str()) == 0;
    if (!created) {
        const int error = errno;
        ::unlink(temporary.c_str());
        ::close(fd);
        return failed("create", path, error);
    }
    return std::unique_ptr<Pidfile>(new Pidfile(path, fd));
}

Pidfile::~Pidfile() {
    struct stat own {};
    struct stat there {};
    if (::fstat(fd_, &own) == 0 && ::stat(path_.c_str(), &there) == 0 &&
        own.st_dev == there.st_dev && own.st_ino == there.st_ino) {
        ::unlink(path_.c_str());
    }
    ::close(fd_);
}

}  // namespace culvert::ctl
