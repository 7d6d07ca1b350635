// SPDX-License-Identifier: GPL-2.0-or-later
//
// The service manager's side is a real datagram socket, once with a path and once abstract.
#include "ctl/sd_notify.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert::ctl {
namespace {

/// Receives what the daemon sends; sets NOTIFY_SOCKET for as long as it lives.
class Manager {
public:
    explicit Manager(const std::string& name) : name_(name) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::copy(name.begin(), name.end(), address.sun_path);
        if (name.front() == '@') {
            address.sun_path[0] = '\0';
        }
        fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
        EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), length), 0);
        ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    }
    ~Manager() {
        ::unsetenv("NOTIFY_SOCKET");
        ::close(fd_);
        ::unlink(name_.c_str());
    }
    Manager(const Manager&) = delete;
    Manager& operator=(const Manager&) = delete;

    /// A datagram between UNIX sockets is there as soon as it is sent.
    [[nodiscard]] std::optional<std::string> receive() const {
        std::array<char, 4096> buffer{};
        const ssize_t count = ::recv(fd_, buffer.data(), buffer.size(), 0);
        if (count < 0) {
            return std::nullopt;
        }
        return std::string(buffer.data(), static_cast<std::size_t>(count));
    }

private:
    std::string name_;
    int fd_ = -1;
};

std::string path_name() {
    const auto file = "culvert-notify-" + std::to_string(::getpid());
    return (std::filesystem::temp_directory_path() / file).string();
}

TEST(SdNotify, SendsStateToPath) {
    const Manager manager(path_name());
    EXPECT_TRUE(sd_notify("WATCHDOG=1"));
    EXPECT_EQ(manager.receive(), "WATCHDOG=1");
    EXPECT_EQ(manager.receive(), std::nullopt);
}

TEST(SdNotify, SendsStateToAbstractName) {
    const Manager manager("@culvert-notify-" + std::to_string(::getpid()));
    EXPECT_TRUE(sd_notify("READY=1\nSTATUS=up"));
    EXPECT_EQ(manager.receive(), "READY=1\nSTATUS=up");
}

TEST(SdNotify, ReadyKeepsStatusOnOneLine) {
    const Manager manager(path_name());
    EXPECT_TRUE(sd_notify_ready("2 bridges\nSTOPPING=1"));
    EXPECT_EQ(manager.receive(), "READY=1\nSTATUS=2 bridges STOPPING=1");
}

TEST(SdNotify, ReloadingCarriesMonotonicStamp) {
    const Manager manager(path_name());
    const auto now_us = [] {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        return static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
    };
    const long long before = now_us();
    EXPECT_TRUE(sd_notify_reloading());
    const long long after = now_us();

    const std::string state = manager.receive().value_or("");
    const std::string prefix = "RELOADING=1\nMONOTONIC_USEC=";
    ASSERT_EQ(state.substr(0, prefix.size()), prefix);
    const long long stamp = std::stoll(state.substr(prefix.size()));
    EXPECT_GE(stamp, before);
    EXPECT_LE(stamp, after);
}

TEST(SdNotify, StoppingIsSent) {
    const Manager manager(path_name());
    EXPECT_TRUE(sd_notify_stopping());
    EXPECT_EQ(manager.receive(), "STOPPING=1");
}

TEST(SdNotify, SendsNothingWithoutManager) {
    ::unsetenv("NOTIFY_SOCKET");
    EXPECT_FALSE(sd_notify("READY=1"));
}

TEST(SdNotify, RefusesNamesThatAreNoUnixSocket) {
    for (const std::string& name :
         {std::string("vsock:2:1234"),
          std::string(200, '/'),
          std::string(""),
          std::string("/nonexistent/notify")}) {
        ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
        EXPECT_FALSE(sd_notify("READY=1")) << name;
    }
    ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace culvert::ctl
