// SPDX-License-Identifier: GPL-2.0-or-later
//
// See unix_server.hpp.
#include "ctl/unix_server.hpp"

#include <exception>
#include <utility>

namespace culvert::ctl {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

namespace {

/// How long a server waits before it accepts again when the process is out of descriptors.
constexpr std::chrono::milliseconds kAcceptRetry{100};

}  // namespace

UnixConnection::UnixConnection(
    UnixSocket socket, std::shared_ptr<UnixAcceptor> acceptor, std::chrono::milliseconds stall_max
)
    : acceptor_(std::move(acceptor)), socket_(std::move(socket)), stall_(socket_.get_executor()),
      stall_max_(stall_max) {}

void UnixConnection::close() {
    ErrorCode ignored;
    socket_.close(ignored);
    stall_.cancel();
    acceptor_->connections_.erase(shared_from_this());
}

void UnixConnection::watch_stall(bool on) {
    if (!on) {
        stall_.expires_at(asio::steady_timer::time_point::max());
        return;
    }
    stall_.expires_after(stall_max_);
    stall_.async_wait([self = shared_from_this()](ErrorCode error) {
        // Progress may have come after the timer fired but before this ran.
        if (!error && self->socket_.is_open() &&
            self->stall_.expiry() <= asio::steady_timer::clock_type::now()) {
            self->close();
        }
    });
}

UnixAcceptor::UnixAcceptor(asio::io_context& io, int fd)
    : acceptor_(io, asio::local::stream_protocol(), fd), retry_(io) {}

void UnixAcceptor::accept() {
    acceptor_.async_accept([self = shared_from_this()](ErrorCode error, UnixSocket socket) {
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

void UnixAcceptor::insert(std::shared_ptr<UnixConnection> connection) {
    connections_.insert(std::move(connection));
}

void UnixAcceptor::close() {
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    const auto connections = std::exchange(connections_, {});
    for (const std::shared_ptr<UnixConnection>& connection : connections) {
        connection->close();
    }
}

UnixServer::UnixServer(std::shared_ptr<UnixAcceptor> acceptor, const std::string& path)
    : acceptor_(std::move(acceptor)), file_(std::make_unique<SocketFile>(path)) {
    acceptor_->accept();
}

UnixServer::~UnixServer() {
    file_.reset();
    try {
        acceptor_->close();
    } catch (const std::exception&) {
        // Closing reports errors as values; what Asio might still throw finds nothing to undo.
    }
}

}  // namespace culvert::ctl
