// SPDX-License-Identifier: GPL-2.0-or-later
//
// For tests of the client against Open vSwitch's own ovsdb-server, in a temporary folder.
#pragma once

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace culvert::ctl::ovsdb::testing {

/// Runs a shell command to its end; returns what it has written, and fails the test when it fails.
inline std::string run_tool(const std::string& command) {
    std::string output;
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) {
        ADD_FAILURE() << "cannot run " << command << ": " << std::strerror(errno);
        return output;
    }
    std::array<char, 4096> buffer{};
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
        output.append(buffer.data(), count);
    }
    const int status = ::pclose(pipe);
    EXPECT_EQ(status, 0) << command << ": " << output;
    return output;
}

/// The schema of a small database. `column` is one more of T.
inline nlohmann::json small_schema(const char* version = "1.0.0") {
    nlohmann::json schema =
        nlohmann::json::parse(R"({"name":"D","tables":{"T":{"isRoot":true,"columns":{
        "name":{"type":"string"},
        "count":{"type":"integer"},
        "tag":{"type":{"key":"integer","min":0,"max":1}},
        "trunks":{"type":{"key":"integer","min":0,"max":"unlimited"}},
        "options":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}}}})");
    schema["version"] = version;
    return schema;
}

inline void write_file(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
}

/// Whether somebody accepts connections there.
inline bool listens(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const int outcome = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    ::close(fd);
    return outcome == 0;
}

/// A port of 127.0.0.1 that nobody uses.
inline std::uint16_t free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), length), 0);
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    ::close(fd);
    return ntohs(address.sin_port);
}

/// A process ovsdb-server, which is killed at the end.
class RealServer {
public:
    /// Serves `database`, a file, at the socket `path` and at further remotes ("ptcp:...").
    RealServer(std::string path, std::string database, std::vector<std::string> options = {})
        : path_(std::move(path)), database_(std::move(database)), options_(std::move(options)) {
        start();
    }
    ~RealServer() { kill(); }
    RealServer(const RealServer&) = delete;
    RealServer& operator=(const RealServer&) = delete;

    /// Returns when the socket listens.
    void start() {
        std::vector<std::string> words = {
            "ovsdb-server",
            "--remote=punix:" + path_,
            "--unixctl=" + path_ + ".ctl",
            "-vconsole:off",
            "--log-file=" + path_ + ".log"};
        words.insert(words.end(), options_.begin(), options_.end());
        words.push_back(database_);
        std::vector<char*> arguments;
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        const int failed =
            ::posix_spawnp(&pid_, "ovsdb-server", nullptr, nullptr, arguments.data(), environ);
        ASSERT_EQ(failed, 0) << "ovsdb-server: " << std::strerror(failed)
                             << " (install openvswitch-switch)";
        while (!listens(path_)) {
            int status = 0;
            ASSERT_EQ(::waitpid(pid_, &status, WNOHANG), 0)
                << "ovsdb-server ended: " << run_tool("cat " + path_ + ".log");
            ::poll(nullptr, 0, 5);
        }
    }
    void kill() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] const std::string& path() const { return path_; }

    /// Carries out operations on the database D; returns their results.
    nlohmann::json transact(const std::string& operations) {
        const std::string output =
            run_tool("ovsdb-client transact unix:" + path_ + " '[\"D\"," + operations + "]'");
        EXPECT_EQ(output.find("error"), std::string::npos) << output;
        return nlohmann::json::parse(output, nullptr, false);
    }

private:
    std::string path_;
    std::string database_;
    std::vector<std::string> options_;
    pid_t pid_ = -1;
};

}  // namespace culvert::ctl::ovsdb::testing
