// SPDX-License-Identifier: GPL-2.0-or-later
//
// See listener.hpp. A connection reads only while it has nothing to send, so that a peer that does
// not read holds one answer and one read's worth of requests, no more.

#include "ctl/openflow/listener.hpp"

#include <array>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>

#include "ctl/log.hpp"
#include "ctl/unix_server.hpp"

namespace culvert::ctl::openflow {

namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = 16384;
constexpr unsigned kRefusalsLogged = 10;
constexpr std::chrono::seconds kLogPeriod{60};

class Acceptor final : public UnixAcceptor {
public:
    Acceptor(asio::io_context& io, int fd, Bridge& of, const ListenerOptions& with)
        : UnixAcceptor(io, fd), bridge(of), options(with) {}

    Bridge& bridge;
    const ListenerOptions options;
    LogLimiter refusals{logger("openflow"), kRefusalsLogged, kLogPeriod};

private:
    void admit(UnixSocket socket) override;
};

class Connection final : public UnixConnection {
public:
    Connection(UnixSocket socket, const std::shared_ptr<Acceptor>& acceptor)
        : UnixConnection(std::move(socket), acceptor, acceptor->options.limits.stall_max),
          acceptor_(*acceptor),
          session_(acceptor->bridge, acceptor->options.versions, acceptor->options.snoop) {}

    void start() {
        output_ = session_.greeting();
        write();
    }

private:
    void advance() {
        output_.clear();
        written_ = 0;
        const bool has_output = session_.answer(output_);
        if (const auto refusal = session_.take_refusal()) {
            acceptor_.refusals.log(
                LogLimiter::Clock::now(),
                spdlog::level::warn,
                "bridge {}: refused: {}",
                acceptor_.bridge.name(),
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
        socket().async_read_some(
            asio::buffer(input_),
            [self = self<Connection>()](ErrorCode error, std::size_t count) {
                if (!self->socket().is_open()) {
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
        socket().async_write_some(
            asio::buffer(output_.data() + written_, output_.size() - written_),
            [self = self<Connection>()](ErrorCode error, std::size_t count) {
                if (!self->socket().is_open()) {
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

    Acceptor& acceptor_;  ///< The base keeps it alive.
    Session session_;
    std::array<char, kReadBytes> input_{};
    Bytes output_;
    std::size_t written_ = 0;
    /// While it is in a message's middle: how many were whole before. The time counts from then.
    std::optional<std::uint64_t> awaited_;
};

void Acceptor::admit(UnixSocket socket) {
    if (count() >= options.limits.connections_max) {
        refusals.log(
            LogLimiter::Clock::now(),
            spdlog::level::warn,
            "{} serves {} connections at once; one more was closed",
            options.path,
            options.limits.connections_max
        );
        return;
    }
    const auto connection = std::make_shared<Connection>(
        std::move(socket), std::static_pointer_cast<Acceptor>(shared_from_this())
    );
    insert(connection);
    connection->start();
}

class SocketListener final : public Listener {
public:
    SocketListener(std::shared_ptr<Acceptor> acceptor, const std::string& path)
        : server_(std::move(acceptor), path) {}

private:
    UnixServer server_;
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
    return std::make_unique<SocketListener>(std::move(acceptor), options.path);
}

}  // namespace culvert::ctl::openflow
