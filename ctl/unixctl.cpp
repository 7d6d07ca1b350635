// SPDX-License-Identifier: GPL-2.0-or-later
//
// The server's side of the control socket. A session reads only while it has nothing to answer, so
// a client that does not read its answers holds one answer and one read's worth of requests, no
// more. Handlers run to their end on the control thread; they must not block.
#include "ctl/unixctl.hpp"

#include <array>
#include <deque>
#include <exception>
#include <set>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "ctl/json_stream.hpp"
#include "ctl/unix_listener.hpp"

namespace culvert::ctl {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = 16384;
/// How long the server waits before it accepts again when the process is out of descriptors.
constexpr std::chrono::milliseconds kAcceptRetry{100};

// ---- Clients ------------------------------------------------------------------------------------

class Session;

/// Accepts clients. Shared with them, so that handlers still queued when the server is destroyed
/// find it, closed.
class Listener : public std::enable_shared_from_this<Listener> {
public:
    Listener(
        asio::io_context& io,
        int fd,
        std::map<std::string, Command> command_map,
        UnixctlLimits bounds
    )
        : commands(std::move(command_map)), limits(bounds), io_(io), acceptor_(io, Protocol(), fd),
          retry_(io) {}

    void accept();
    void close();
    void forget(const std::shared_ptr<Session>& session) { sessions_.erase(session); }

    const std::map<std::string, Command> commands;
    const UnixctlLimits limits;

private:
    void admit(Protocol::socket socket);

    asio::io_context& io_;
    Protocol::acceptor acceptor_;
    asio::steady_timer retry_;
    std::set<std::shared_ptr<Session>> sessions_;
};

class Session : public std::enable_shared_from_this<Session> {
public:
    Session(asio::io_context& io, Protocol::socket socket, std::shared_ptr<Listener> listener)
        : listener_(std::move(listener)), socket_(std::move(socket)), stall_(io),
          stream_(listener_->limits.request_bytes_max) {}

    /// Answers the next request, or reads on when there is none.
    void advance() {
        if (!requests_.empty()) {
            const std::string request = std::move(requests_.front());
            requests_.pop_front();
            write(answer_request(listener_->commands, request));
            return;
        }
        if (const auto broken = stream_.feed({}); !broken.has_value()) {
            refuse(broken.error());
        } else if (!input_ended_) {
            read();
        } else if (stream_.pending()) {
            refuse("the request ends in its middle");
        } else {
            close();
        }
    }

    void close() {
        ErrorCode ignored;
        socket_.close(ignored);
        stall_.cancel();
        listener_->forget(shared_from_this());
    }

private:
    void refuse(std::string sentence) {
        last_answer_ = true;
        write(answer_refusal(std::move(sentence)));
    }

    void read() {
        watch_stall(stream_.pending());
        socket_.async_read_some(
            asio::buffer(input_),
            [self = shared_from_this()](ErrorCode error, std::size_t count) {
                self->on_read(error, count);
            }
        );
    }

    void on_read(ErrorCode error, std::size_t count) {
        if (!socket_.is_open()) {
            return;
        }
        if (error == asio::error::eof) {
            input_ended_ = true;
        } else if (error) {
            close();
            return;
        }
        // An error of the stream stays one; advance() asks for it when all is answered.
        if (auto texts = stream_.feed({input_.data(), count}); texts.has_value()) {
            std::move(texts->begin(), texts->end(), std::back_inserter(requests_));
        }
        advance();
    }

    void write(std::string text) {
        if (!socket_.is_open()) {
            return;  // The command closed the server.
        }
        output_ = std::move(text);
        written_ = 0;
        write_some();
    }

    void write_some() {
        watch_stall(true);
        socket_.async_write_some(
            asio::buffer(output_) + written_,
            [self = shared_from_this()](ErrorCode error, std::size_t count) {
                self->on_written(error, count);
            }
        );
    }

    void on_written(ErrorCode error, std::size_t count) {
        if (!socket_.is_open()) {
            return;
        }
        written_ += count;
        const bool complete = written_ == output_.size();
        if (error || (complete && last_answer_)) {
            close();
        } else if (complete) {
            output_ = {};
            advance();
        } else {
            write_some();
        }
    }

    /// Starts to count the time without progress, or stops counting.
    void watch_stall(bool on) {
        if (!on) {
            stall_.expires_at(asio::steady_timer::time_point::max());
            return;
        }
        stall_.expires_after(listener_->limits.stall_max);
        stall_.async_wait([self = shared_from_this()](ErrorCode error) {
            // Progress may have come after the timer fired but before this ran.
            if (!error && self->socket_.is_open() &&
                self->stall_.expiry() <= asio::steady_timer::clock_type::now()) {
                self->close();
            }
        });
    }

    std::shared_ptr<Listener> listener_;
    Protocol::socket socket_;
    asio::steady_timer stall_;
    JsonStream stream_;
    std::deque<std::string> requests_;
    std::array<char, kReadBytes> input_{};
    std::string output_;
    std::size_t written_ = 0;
    bool input_ended_ = false;
    bool last_answer_ = false;
};

void Listener::accept() {
    acceptor_.async_accept([self = shared_from_this()](ErrorCode error, Protocol::socket socket) {
        if (!self->acceptor_.is_open()) {
            return;
        }
        if (!error) {
            self->admit(std::move(socket));
            self->accept();
            return;
        }
        self->retry_.expires_after(kAcceptRetry);
        self->retry_.async_wait([self](ErrorCode cancelled) {
            if (!cancelled && self->acceptor_.is_open()) {
                self->accept();
            }
        });
    });
}

void Listener::admit(Protocol::socket socket) {
    if (sessions_.size() >= limits.clients_max) {
        ErrorCode ignored;
        socket.non_blocking(true, ignored);
        const std::string text = answer_refusal(
            "culvertd serves " + std::to_string(limits.clients_max) +
            " clients at once; try again when one of them has left"
        );
        socket.write_some(asio::buffer(text), ignored);
        return;  // Closes the socket.
    }
    const auto session = std::make_shared<Session>(io_, std::move(socket), shared_from_this());
    sessions_.insert(session);
    session->advance();
}

void Listener::close() {
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    const auto sessions = std::exchange(sessions_, {});
    for (const std::shared_ptr<Session>& session : sessions) {
        session->close();
    }
}

class Server final : public UnixctlServer {
public:
    Server(std::shared_ptr<Listener> listener, const std::string& path)
        : listener_(std::move(listener)), file_(std::make_unique<SocketFile>(path)) {
        listener_->accept();
    }
    ~Server() override {
        file_.reset();
        try {
            listener_->close();
        } catch (const std::exception&) {
            // Closing reports errors as values; what Asio might still throw finds nothing to undo.
        }
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

private:
    std::shared_ptr<Listener> listener_;
    std::unique_ptr<SocketFile> file_;
};

}  // namespace

Result<std::unique_ptr<UnixctlServer>> UnixctlServer::open(
    asio::io_context& io,
    const std::string& path,
    std::map<std::string, Command> commands,
    const UnixctlLimits& limits
) {
    auto fd = listen_at("control socket", path, SocketFolder::made_and_locked);
    if (!fd.has_value()) {
        return tl::unexpected(fd.error());
    }
    auto listener = std::make_shared<Listener>(io, fd->get(), std::move(commands), limits);
    static_cast<void>(fd->release());
    return std::make_unique<Server>(std::move(listener), path);
}

}  // namespace culvert::ctl
