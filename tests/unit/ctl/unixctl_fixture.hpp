// SPDX-License-Identifier: GPL-2.0-or-later
//
// For tests of the control socket: a server on a thread of its own, a client that sends and
// receives plain bytes, and programs that are run and waited for.
#pragma once

#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/unixctl.hpp"
#include "tests/unit/ctl/temporary_folder.hpp"

namespace culvert::ctl::testing {

/// Runs an io_context and, on its thread, a server. Everything that touches the server runs there.
class Daemon {
public:
    Daemon(
        const std::string& path, std::map<std::string, Command> commands, UnixctlLimits limits = {}
    )
        : thread_([this] { io_.run(); }) {
        run([&] {
            auto opened = UnixctlServer::open(io_, path, std::move(commands), limits);
            EXPECT_TRUE(opened.has_value()) << opened.error();
            server_ = opened.has_value() ? std::move(*opened) : nullptr;
        });
    }
    ~Daemon() {
        stop();
        work_.reset();
        thread_.join();
    }
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    void stop() {
        run([&] { server_.reset(); });
    }
    /// For a command that ends the server.
    void stop_from_handler() { server_.reset(); }

    void run(const std::function<void()>& task) {
        std::promise<void> done;
        boost::asio::post(io_, [&] {
            task();
            done.set_value();
        });
        done.get_future().wait();
    }

private:
    boost::asio::io_context io_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
        io_.get_executor()};
    std::unique_ptr<UnixctlServer> server_;
    std::thread thread_;
};

inline sockaddr_un make_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
}

/// A client without manners. Its waits end after 20 s, so that a defect fails a test and does not
/// hang it.
class RawClient {
public:
    explicit RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        const timeval limit = {20, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        const sockaddr_un address = make_address(path);
        EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    }
    ~RawClient() { ::close(fd_); }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;

    void send(std::string_view bytes) const {
        EXPECT_EQ(
            ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size())
        );
    }
    /// What the server takes of `bytes` before it closes.
    void send_some(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) {
                return;
            }
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    void half_close() const { ::shutdown(fd_, SHUT_WR); }

    [[nodiscard]] std::string receive(std::size_t bytes_max = 65536) const {
        std::string buffer(bytes_max, '\0');
        const ssize_t count = ::recv(fd_, buffer.data(), buffer.size(), 0);
        buffer.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        return buffer;
    }
    [[nodiscard]] std::string receive_exactly(std::size_t bytes) const {
        std::string all;
        while (all.size() < bytes) {
            const std::string part = receive(bytes - all.size());
            if (part.empty()) {
                break;
            }
            all += part;
        }
        return all;
    }
    [[nodiscard]] std::string receive_to_end() const {
        std::string all;
        for (std::string part = receive(); !part.empty(); part = receive()) {
            all += part;
        }
        return all;
    }
    /// Whether the server has closed the connection (and not only stayed silent).
    [[nodiscard]] bool closed() const {
        std::array<char, 1> byte{};
        const ssize_t count = ::recv(fd_, byte.data(), byte.size(), 0);
        return count == 0 || (count < 0 && errno == ECONNRESET);
    }

private:
    int fd_;
};

/// A listener that the test plays the daemon with.
class FakeDaemon {
public:
    explicit FakeDaemon(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        const sockaddr_un address = make_address(path);
        EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
        EXPECT_EQ(::listen(fd_, 1), 0);
    }
    ~FakeDaemon() { ::close(fd_); }
    FakeDaemon(const FakeDaemon&) = delete;
    FakeDaemon& operator=(const FakeDaemon&) = delete;

    /// Waits for a client and its request; the caller closes the descriptor.
    [[nodiscard]] int accept() const {
        const int client = ::accept(fd_, nullptr, nullptr);
        std::array<char, 4096> request_bytes{};
        EXPECT_GT(::recv(client, request_bytes.data(), request_bytes.size(), 0), 0);
        return client;
    }
    /// Reads one piece of a request, answers `bytes` and closes.
    [[nodiscard]] std::thread answer_once(std::string bytes) const {
        return std::thread([this, bytes = std::move(bytes)] {
            const int client = accept();
            EXPECT_EQ(
                ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size())
            );
            ::close(client);
        });
    }

private:
    int fd_;
};

struct Outcome {
    int status = -1;     ///< Exit status; 128 + signal.
    std::string output;  ///< stdout, and stderr where the shell command says so.
};

/// Runs a shell command to its end.
inline Outcome run_shell(const std::string& command) {
    Outcome outcome;
    FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) {
        return outcome;
    }
    std::array<char, 4096> buffer{};
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
        outcome.output.append(buffer.data(), count);
    }
    const int status = ::pclose(pipe);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
}

inline mode_t mode_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777U;
}

}  // namespace culvert::ctl::testing
