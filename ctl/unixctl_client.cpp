// SPDX-License-Identifier: GPL-2.0-or-later
//
// A non-blocking socket and poll(2) with one deadline over connecting, sending and receiving, so
// that a daemon that hangs in any of them cannot hang its operator. Does not half-close: OVS
// daemons, which `culvert-ctl raw` may also ask, take the end of input for the end of the client.
#include "ctl/unixctl_client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "ctl/json_stream.hpp"

namespace culvert::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using Answer = tl::expected<std::string, ClientError>;

/// A million FDB entries fit; beyond that something is wrong.
constexpr std::size_t kAnswerBytesMax = std::size_t{256} << 20U;
constexpr int kRequestId = 0;
/// A full listen queue of a UNIX socket cannot be polled for, only tried again.
constexpr std::chrono::milliseconds kConnectRetry{10};

std::string describe_ms(unsigned ms) {
    return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

class Call {
public:
    Call(const std::string& path, unsigned timeout_ms, int interrupt_fd)
        : path_(path), timeout_ms_(timeout_ms), interrupt_fd_(interrupt_fd),
          deadline_(Clock::now() + std::chrono::milliseconds(timeout_ms)) {}
    ~Call() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    [[nodiscard]] Answer run(std::string_view request) {
        if (auto error = connect()) {
            return tl::unexpected(std::move(*error));
        }
        if (auto error = send(request)) {
            return tl::unexpected(std::move(*error));
        }
        return receive();
    }

private:
    using Failure = std::optional<ClientError>;

    [[nodiscard]] ClientError unreachable(const std::string& reason) const {
        return {ClientFailure::unreachable, "cannot reach culvertd at " + path_ + ": " + reason};
    }

    [[nodiscard]] ClientError not_running(const std::string& reason) const {
        return {ClientFailure::not_running, "cannot reach culvertd at " + path_ + ": " + reason};
    }

    /// Waits for `events` on the socket, or for `pause` to pass when there are none to wait for.
    [[nodiscard]] Failure wait(short events, Clock::duration pause = Clock::duration::max()) {
        const Clock::time_point start = Clock::now();
        const Clock::time_point end = pause < deadline_ - start ? start + pause : deadline_;
        while (true) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
            const auto timeout_ms = std::clamp<std::int64_t>(left.count(), 0, 1'000'000);
            std::array<pollfd, 2> fds = {{
                {events == 0 ? -1 : fd_, events, 0},
                {interrupt_fd_, POLLIN, 0},
            }};
            const int count = ::poll(fds.data(), fds.size(), static_cast<int>(timeout_ms));
            if (count < 0 && errno != EINTR) {
                return unreachable(std::strerror(errno));
            }
            if (count > 0 && fds[1].revents != 0) {
                return ClientError{ClientFailure::interrupted, "interrupted"};
            }
            if (count > 0) {
                return std::nullopt;
            }
            if (Clock::now() >= end) {
                break;
            }
        }
        if (end != deadline_) {
            return std::nullopt;
        }
        return ClientError{
            ClientFailure::timed_out,
            "culvertd at " + path_ + " did not answer within " + describe_ms(timeout_ms_)};
    }

    [[nodiscard]] ClientError explain_connect(int error) const {
        switch (error) {
        case ENOENT:
        case ENOTDIR:
            return not_running("no such socket");
        case ECONNREFUSED:
            return not_running("the socket is left over, nobody listens on it");
        case EACCES:
        case EPERM:
            return unreachable("permission denied (its owner, its group and root may use it)");
        case EPROTOTYPE:
            return unreachable("it is not a stream socket");
        default:
            return unreachable(std::strerror(error));
        }
    }

    [[nodiscard]] Failure connect() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path_.empty() || path_.size() >= sizeof(address.sun_path)) {
            return unreachable(
                "a socket's path has 1 to " + std::to_string(sizeof(address.sun_path) - 1) +
                " characters"
            );
        }
        std::copy(path_.begin(), path_.end(), address.sun_path);
        fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd_ < 0) {
            return unreachable(std::strerror(errno));
        }
        while (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
            if (errno != EAGAIN && errno != EINTR) {
                return explain_connect(errno);
            }
            if (auto error = wait(0, kConnectRetry)) {
                return error;
            }
        }
        return std::nullopt;
    }

    [[nodiscard]] Failure send(std::string_view rest) {
        while (!rest.empty()) {
            const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
            if (sent >= 0) {
                rest.remove_prefix(static_cast<std::size_t>(sent));
            } else if (errno == EAGAIN) {
                if (auto error = wait(POLLOUT)) {
                    return error;
                }
            } else if (errno == EPIPE || errno == ECONNRESET) {
                return std::nullopt;  // The server may have said why before it closed.
            } else if (errno != EINTR) {
                return unreachable(std::strerror(errno));
            }
        }
        return std::nullopt;
    }

    [[nodiscard]] Answer receive() {
        JsonStream stream(kAnswerBytesMax);
        std::vector<char> input(std::size_t{64} << 10U);
        while (true) {
            const ssize_t count = ::recv(fd_, input.data(), input.size(), 0);
            if (count == 0 || (count < 0 && errno == ECONNRESET)) {
                return tl::unexpected(unreachable("it closed the connection without an answer"));
            }
            if (count < 0 && errno != EAGAIN && errno != EINTR) {
                return tl::unexpected(unreachable(std::strerror(errno)));
            }
            if (count < 0) {
                if (auto error = wait(POLLIN)) {
                    return tl::unexpected(std::move(*error));
                }
                continue;
            }
            const auto texts = stream.feed({input.data(), static_cast<std::size_t>(count)});
            if (!texts.has_value()) {
                return tl::unexpected(unreachable("it is not a control socket: " + texts.error()));
            }
            for (const std::string& text : *texts) {
                if (auto answer = read_answer(text)) {
                    return std::move(*answer);
                }
            }
        }
    }

    /// Nothing when the message is not the answer to our request.
    [[nodiscard]] std::optional<Answer> read_answer(const std::string& text) const {
        const auto message = nlohmann::json::parse(text);
        if (!message.is_object()) {
            return std::nullopt;
        }
        const auto null = nlohmann::json(nullptr);
        const auto id = message.value("id", null);
        const auto result = message.value("result", null);
        const auto error = message.value("error", null);
        if (error.is_string() && (id == kRequestId || id.is_null())) {
            auto words = error.get<std::string>();
            words.erase(words.find_last_not_of('\n') + 1);
            return tl::unexpected(ClientError{ClientFailure::answered, std::move(words)});
        }
        if (id != kRequestId) {
            return std::nullopt;
        }
        if (result.is_string()) {
            return result.get<std::string>();
        }
        return tl::unexpected(unreachable("its answer has neither a result nor an error text"));
    }

    const std::string& path_;
    unsigned timeout_ms_;
    int interrupt_fd_;
    Clock::time_point deadline_;
    int fd_ = -1;
};

}  // namespace

tl::expected<std::string, ClientError> call_unixctl(
    const std::string& path,
    const std::string& method,
    const Arguments& arguments,
    unsigned timeout_ms,
    int interrupt_fd
) {
    const nlohmann::json request = {
        {"id", kRequestId},
        {"method", method},
        {"params", nlohmann::json::array_t(arguments.begin(), arguments.end())},
    };
    Call call(path, timeout_ms, interrupt_fd);
    return call.run(request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace culvert::ctl
