// SPDX-License-Identifier: GPL-2.0-or-later
//
// One datagram to the service manager; see sd_notify(3) for the names it knows. Written here
// because libsystemd would be a dependency for forty lines, and dom0 images differ in its version.
#include "ctl/sd_notify.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <string>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert::ctl {

bool sd_notify(std::string_view state) noexcept {
    const char* variable = std::getenv("NOTIFY_SOCKET");
    const std::string_view name = variable == nullptr ? std::string_view() : variable;
    sockaddr_un address{};
    if ((!name.starts_with('/') && !name.starts_with('@')) ||
        name.size() >= sizeof(address.sun_path)) {
        return false;
    }
    address.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), address.sun_path);
    if (name.starts_with('@')) {
        address.sun_path[0] = '\0';
    }
    // An abstract name is as long as the length says, so no terminating zero may be counted.
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());

    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    // connect() first: the manager learns the sender's pid either way, and send() needs no address.
    bool sent = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0;
    sent = sent && ::send(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
                       static_cast<ssize_t>(state.size());
    ::close(fd);
    return sent;
}

bool sd_notify_ready(std::string_view status) {
    std::string state = "READY=1\nSTATUS=";
    state += status;
    // A newline would start another assignment.
    std::replace(state.begin() + 8, state.end(), '\n', ' ');
    return sd_notify(state);
}

bool sd_notify_reloading() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto microseconds = static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
    return sd_notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds));
}

bool sd_notify_stopping() noexcept {
    return sd_notify("STOPPING=1");
}

}  // namespace culvert::ctl
