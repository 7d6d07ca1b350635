// SPDX-License-Identifier: GPL-2.0-or-later
//
// See listener.hpp. A connection reads only while it has nothing to send, so that a peer that does
// not read holds one answer and one read's worth of requests, no more.

#include "ctl/openflow/listener.hpp"

#include <array>
#include <optional>
#include <set>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "ctl/log.hpp"
#include "ctl/unix_listener.hpp"

namespace culvert::ctl::openflow {

namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = 16384;
/// How long until the next accept when the process is out of descriptors.
constexpr std::chrono::milliseconds kAcceptRetry{100};
constexpr unsigned kRefusalsLogged = 10;
constexpr std::chrono::seconds kLogPeriod{60};

class Connection;

/// Shared with the connections, so that handlers still queued when the listener is destroyed find
/// it, closed.
class Acceptor : public std::enable_shared_from_this<Acceptor> {
public:
    Acceptor(asio::io_context& io, int fd, Bridge& of, const ListenerOptions& with)
        : bridge(of), options(with), io_(io), acceptor_(io, Protocol(), fd), retry_(io) {}

    void accept();
    void close();
    void forget(const std::shared_ptr<Connection>& connection) { connections_.erase(connection); }

    Bridge& bridge;
    const ListenerOptions options;
    LogLimiter refusals{logger("openflow"), kRefusalsLogged, kLogPeriod};

private:
    void admit(Protocol::socket socket);

    asio::io_context& io_;
    Protocol::acceptor acceptor_;
    asio::steady_timer retry_;
    std::set<std::shared_ptr<Connection>> connections_;
};

class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(asio::io_context& io, Protocol::socket socket, std::shared_ptr<Acceptor> acceptor)
        : acceptor_(std::move(acceptor)), socket_(std::move(socket)), stall_(io),
          session_(acceptor_->bridge, acceptor_->options.versions, acceptor_->options.snoop) {}

    void start() {
        output_ = session_.greeting();
        write();
    }

    void close() {
        ErrorCode ignored;
        socket_.close(ignored);
        stall_.cancel();
        acceptor_->forget(shared_from_this());
    }

private:
    void advance() {
        output_.clear();
        written_ = 0;
        const bool has_output = session_.answer(output_);
        if (const auto refusal = session_.take_refusal()) {
            acceptor_->refusals.log(
                LogLimiter::Clock::now(),
                spdlog::level::warn,
                "bridge {}: refused: {}",
                acceptor_->bridge.name(),
                *refusal
            );
        }
        if (has_output) {
            write();
        } else if (session_.closed()) {
            close();
        } else {
            read();
        }
    }

    void read() {
        // Bytes are no progress until they make a message: one byte now and then keeps nobody here.
        const bool goes_on = awaited_ == session_.messages() && session_.pending();
        if (!goes_on) {
            watch_stall(session_.pending());
        }
        awaited_ = session_.pending() ? std::optional(session_.messages()) : std::nullopt;
        socket_.async_read_some(
            asio::buffer(input_),
            [self = shared_from_this()](ErrorCode error, std::size_t count) {
                if (!self->socket_.is_open()) {
                    return;
                }
                if (error) {
                    self->close();
                    return;
                }
                self->session_.feed(std::as_bytes(std::span(self->input_)).first(count));
                self->advance();
            }
        );
    }

    void write() {
        awaited_.reset();
        watch_stall(true);
        socket_.async_write_some(
            asio::buffer(output_.data() + written_, output_.size() - written_),
            [self = shared_from_this()](ErrorCode error, std::size_t count) {
                if (!self->socket_.is_open()) {
                    return;
                }
                self->written_ += count;
                if (error) {
                    self->close();
                } else if (self->written_ < self->output_.size()) {
                    self->write();
                } else {
                    self->advance();
                }
            }
        );
    }

    /// Starts to count the time without progress, or stops counting.
    void watch_stall(bool on) {
        if (!on) {
            stall_.expires_at(asio::steady_timer::time_point::max());
            return;
        }
        stall_.expires_after(acceptor_->options.limits.stall_max);
        stall_.async_wait([self = shared_from_this()](ErrorCode error) {
            // Progress may have come after the timer fired but before this ran.
            if (!error && self->socket_.is_open() &&
                self->stall_.expiry() <= asio::steady_timer::clock_type::now()) {
                self->close();
            }
        });
    }

    std::shared_ptr<Acceptor> acceptor_;
    Protocol::socket socket_;
    asio::steady_timer stall_;
    Session session_;
    std::array<char, kReadBytes> input_{};
    Bytes output_;
    std::size_t written_ = 0;
    /// While it is in a message's middle: how many were whole before. The time counts from then.
    std::optional<std::uint64_t> awaited_;
};

void Acceptor::accept() {
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

void Acceptor::admit(Protocol::socket socket) {
    if (connections_.size() >= options.limits.connections_max) {
        refusals.log(
            LogLimiter::Clock::now(),
            spdlog::level::warn,
            "{} serves {} connections at once; one more was closed",
            options.path,
            options.limits.connections_max
        );
        return;
    }
    const auto connection =
        std::make_shared<Connection>(io_, std::move(socket), shared_from_this());
    connections_.insert(connection);
    connection->start();
}

void Acceptor::close() {
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    const auto connections = std::exchange(connections_, {});
    for (const std::shared_ptr<Connection>& connection : connections) {
        connection->close();
    }
}

class SocketListener final : public Listener {
public:
    explicit SocketListener(std::shared_ptr<Acceptor> acceptor)
        : acceptor_(std::move(acceptor)),
          file_(std::make_unique<SocketFile>(acceptor_->options.path)) {
        acceptor_->accept();
    }
    ~SocketListener() override {
        file_.reset();
        try {
            acceptor_->close();
        } catch (const std::exception&) {
            // Closing reports errors as values; what Asio might still throw finds nothing to undo.
        }
    }
    SocketListener(const SocketListener&) = delete;
    SocketListener& operator=(const SocketListener&) = delete;

private:
    std::shared_ptr<Acceptor> acceptor_;
    std::unique_ptr<SocketFile> file_;
};

}  // namespace

dataplane::Result<std::unique_ptr<Listener>>
Listener::open(asio::io_context& io, Bridge& bridge, const ListenerOptions& options) {
    auto fd = listen_at("OpenFlow socket", options.path, SocketFolder::as_it_is);
    if (!fd) {
        return tl::unexpected(fd.error());
    }
    auto acceptor = std::make_shared<Acceptor>(io, fd->get(), bridge, options);
    static_cast<void>(fd->release());
    return std::make_unique<SocketListener>(std::move(acceptor));
}

}  // namespace culvert::ctl::openflow
