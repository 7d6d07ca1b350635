// SPDX-License-Identifier: GPL-2.0-or-later
//
// See unix_listener.hpp.
#include "ctl/unix_listener.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert::ctl {
namespace {

/// How often and how soon the lock on the socket's folder is tried again at start.
constexpr unsigned kLockTries = 100;
constexpr std::chrono::milliseconds kLockRetry{20};

std::string describe_error(
    const std::string& what, const std::string& verb, const std::string& path, int error
) {
    return "cannot " + verb + " " + what + " \"" + path + "\": " + std::strerror(error);
}

sockaddr_un make_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    return address;
}

/// The lock is the folder's own, so no file is left behind.
Result<dataplane::Descriptor> lock_folder(const std::string& what, const std::string& path) {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    const std::string folder = parent.empty() ? "." : parent;
    if (::mkdir(folder.c_str(), 0755) == 0) {
        ::chmod(folder.c_str(), 0755);  // Whatever the umask says.
    } else if (errno != EEXIST) {
        return tl::unexpected(describe_error(what, "create the folder of", path, errno));
    }
    dataplane::Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) {
        return tl::unexpected(describe_error(what, "open the folder of", path, errno));
    }
    // The lock is held for a moment only, so a long wait means that somebody else uses the folder.
    for (unsigned tries_left = kLockTries; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || --tries_left == 0) {
            return tl::unexpected(describe_error(what, "lock the folder of", path, errno));
        }
        std::this_thread::sleep_for(kLockRetry);
    }
    return fd;
}

/// Makes sure that nothing is at `path`; removes the socket of a dead process.
Result<void> remove_stale(const std::string& what, const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) {
            return {};
        }
        return tl::unexpected(describe_error(what, "create", path, errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return tl::unexpected(
            "cannot create " + what + " \"" + path +
            "\": a file that is not a socket is there (remove it or choose another path)"
        );
    }
    const dataplane::Descriptor probe(
        ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    );
    const sockaddr_un address = make_address(path);
    const int outcome =
        ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    // EAGAIN: somebody listens whose queue is full.
    if (outcome == 0 || errno == EAGAIN) {
        return tl::unexpected(
            "cannot create " + what + " \"" + path +
            "\": a running process listens there (stop it or choose another path)"
        );
    }
    if (errno != ECONNREFUSED) {
        return tl::unexpected(describe_error(what, "take over", path, errno));
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return tl::unexpected(describe_error(what, "remove stale", path, errno));
    }
    return {};
}

}  // namespace

Result<dataplane::Descriptor>
listen_at(const std::string& what, const std::string& path, SocketFolder folder) {
    constexpr std::size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty() || path.size() > kPathMax) {
        return tl::unexpected(
            what + " \"" + path + "\" has " + std::to_string(path.size()) +
            " characters; a socket's path has 1 to " + std::to_string(kPathMax)
        );
    }
    std::optional<dataplane::Descriptor> lock;
    if (folder == SocketFolder::made_and_locked) {
        auto locked = lock_folder(what, path);
        if (!locked.has_value()) {
            return tl::unexpected(locked.error());
        }
        lock.emplace(std::move(*locked));
    }
    if (auto removed = remove_stale(what, path); !removed.has_value()) {
        return tl::unexpected(removed.error());
    }
    dataplane::Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = make_address(path);
    // Linux gives the file the mode of the socket (less the umask), so it is at no moment open to
    // others; chmod() then undoes what the umask took.
    if (fd.get() < 0 || ::fchmod(fd.get(), 0660) != 0 ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return tl::unexpected(describe_error(what, "create", path, errno));
    }
    if (::chmod(path.c_str(), 0660) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
        const int error = errno;
        ::unlink(path.c_str());
        return tl::unexpected(describe_error(what, "listen on", path, error));
    }
    return fd;
}

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
    ::lstat(path_.c_str(), &own_);
}

SocketFile::~SocketFile() {
    struct stat now {};
    if (::lstat(path_.c_str(), &now) == 0 && now.st_dev == own_.st_dev &&
        now.st_ino == own_.st_ino) {
        ::unlink(path_.c_str());
    }
}

}  // namespace culvert::ctl
