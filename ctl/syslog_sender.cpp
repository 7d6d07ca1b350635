// SPDX-License-Identifier: GPL-2.0-or-later
//
// See syslog_sender.hpp. A datagram carries the header of RFC 3164, as syslog(3) writes it.
#include "ctl/syslog_sender.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <map>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

namespace culvert::ctl {
namespace {

class LibcSender final : public SyslogSender {
public:
    explicit LibcSender(std::string program) : program_(std::move(program)) {
        ::openlog(program_.c_str(), LOG_NDELAY | LOG_PID, LOG_DAEMON);
    }
    ~LibcSender() override { ::closelog(); }
    LibcSender(const LibcSender&) = delete;
    LibcSender& operator=(const LibcSender&) = delete;

    void send(int priority, const std::string& text) override {
        ::syslog(priority, "%s", text.c_str());
    }

private:
    std::string program_;  ///< The library keeps a pointer to it.
};

class NullSender final : public SyslogSender {
public:
    void send(int /*priority*/, const std::string& /*text*/) override {}
};

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
};

class DatagramSender final : public SyslogSender {
public:
    DatagramSender(int fd, const SocketAddress& to, std::string program)
        : fd_(fd), to_(to), program_(std::move(program)) {}
    ~DatagramSender() override { ::close(fd_); }
    DatagramSender(const DatagramSender&) = delete;
    DatagramSender& operator=(const DatagramSender&) = delete;

    void send(int priority, const std::string& text) override {
        const std::time_t now = std::time(nullptr);
        std::tm parts{};
        localtime_r(&now, &parts);
        std::array<char, 32> stamp{};
        static_cast<void>(std::strftime(stamp.data(), stamp.size(), "%h %e %T", &parts));
        const std::string line =
            fmt::format("<{}>{} {}[{}]: {}", priority, stamp.data(), program_, getpid(), text);
        // The daemon on the other side may come and go.
        static_cast<void>(::sendto(
            fd_,
            line.data(),
            line.size(),
            MSG_NOSIGNAL | MSG_DONTWAIT,
            reinterpret_cast<const sockaddr*>(&to_.storage),
            to_.length
        ));
    }

private:
    int fd_;
    SocketAddress to_;
    std::string program_;
};

tl::unexpected<std::string> bad_method(const std::string& method) {
    return tl::unexpected(
        "syslog method \"" + method + "\" is not one of libc, null, unix:FILE, udp:IP:PORT"
    );
}

bool read_unix(const std::string& path, SocketAddress& address) {
    auto& local = reinterpret_cast<sockaddr_un&>(address.storage);
    if (path.empty() || path.size() >= sizeof local.sun_path) {
        return false;
    }
    local.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), local.sun_path);
    address.length = sizeof local;
    return true;
}

/// "IP:PORT", an IPv6 address in brackets.
bool read_udp(const std::string& text, SocketAddress& address) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) {
        return false;
    }
    std::uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + colon + 1, end, port);
    if (parsed.ec != std::errc() || parsed.ptr != end || port == 0) {
        return false;
    }
    std::string host = text.substr(0, colon);
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        address.length = sizeof v4;
        return true;
    }
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.length = sizeof v6;
    return inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1;
}

}  // namespace

Result<int> parse_facility(std::string_view name) {
    static const std::map<std::string_view, int> facilities = {
        {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
        {"daemon", LOG_DAEMON}, {"ftp", LOG_FTP},           {"kern", LOG_KERN},
        {"lpr", LOG_LPR},       {"mail", LOG_MAIL},         {"news", LOG_NEWS},
        {"syslog", LOG_SYSLOG}, {"user", LOG_USER},         {"uucp", LOG_UUCP},
        {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2},
        {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},     {"local5", LOG_LOCAL5},
        {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7}};
    const auto found = facilities.find(name);
    if (found == facilities.end()) {
        return tl::unexpected(
            "invalid facility \"" + std::string(name) +
            "\" (valid: one of syslog(3), like daemon or local0)"
        );
    }
    return found->second;
}

Result<std::unique_ptr<SyslogSender>>
SyslogSender::open(const std::string& method, const std::string& program) {
    if (method == "libc") {
        return std::make_unique<LibcSender>(program);
    }
    if (method == "null") {
        return std::make_unique<NullSender>();
    }
    SocketAddress address;
    const bool local = method.starts_with("unix:");
    if (!local && !method.starts_with("udp:")) {
        return bad_method(method);
    }
    const std::string rest = method.substr(method.find(':') + 1);
    if (local ? !read_unix(rest, address) : !read_udp(rest, address)) {
        return bad_method(method);
    }
    const int fd = ::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return tl::unexpected(
            "no socket for syslog method \"" + method + "\": " + std::strerror(errno)
        );
    }
    return std::make_unique<DatagramSender>(fd, address, program);
}

}  // namespace culvert::ctl
