// SPDX-License-Identifier: GPL-2.0-or-later
//
// What every server on a UNIX socket does alike: accept, bound the connections, close those that do
// not get on, and leave in order. A server derives its acceptor and its connections from these.
// Everything runs on the thread that runs the io_context: the control thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "ctl/unix_listener.hpp"

namespace culvert::ctl {

using UnixSocket = boost::asio::local::stream_protocol::socket;

class UnixAcceptor;

class UnixConnection : public std::enable_shared_from_this<UnixConnection> {
public:
    virtual ~UnixConnection() = default;
    UnixConnection(const UnixConnection&) = delete;
    UnixConnection& operator=(const UnixConnection&) = delete;

    void close();

protected:
    /// Keeps the acceptor alive. One that makes no progress for `stall_max` while it is watched is
    /// closed.
    UnixConnection(
        UnixSocket socket,
        std::shared_ptr<UnixAcceptor> acceptor,
        std::chrono::milliseconds stall_max
    );

    [[nodiscard]] UnixSocket& socket() noexcept { return socket_; }
    /// Starts to count the time without progress, or stops counting.
    void watch_stall(bool on);
    /// This connection as what it is derived to be, for handlers to keep.
    template <class Derived>
    [[nodiscard]] std::shared_ptr<Derived> self() {
        return std::static_pointer_cast<Derived>(shared_from_this());
    }

private:
    std::shared_ptr<UnixAcceptor> acceptor_;
    UnixSocket socket_;
    boost::asio::steady_timer stall_;
    std::chrono::milliseconds stall_max_;
};

/// Shared with its connections, so that handlers still queued when the server is destroyed find it,
/// closed.
class UnixAcceptor : public std::enable_shared_from_this<UnixAcceptor> {
public:
    virtual ~UnixAcceptor() = default;
    UnixAcceptor(const UnixAcceptor&) = delete;
    UnixAcceptor& operator=(const UnixAcceptor&) = delete;

    void accept();
    void close();  ///< And every connection.

protected:
    /// `fd` listens; it is the acceptor's from now on.
    UnixAcceptor(boost::asio::io_context& io, int fd);

    /// Takes a client by insert(), or lets it go.
    virtual void admit(UnixSocket socket) = 0;
    [[nodiscard]] std::size_t count() const noexcept { return connections_.size(); }
    void insert(std::shared_ptr<UnixConnection> connection);

private:
    friend class UnixConnection;

    boost::asio::local::stream_protocol::acceptor acceptor_;
    boost::asio::steady_timer retry_;
    std::set<std::shared_ptr<UnixConnection>> connections_;
};

/// Accepts for as long as it lives; then the socket's file goes first.
class UnixServer {
public:
    UnixServer(std::shared_ptr<UnixAcceptor> acceptor, const std::string& path);
    ~UnixServer();
    UnixServer(const UnixServer&) = delete;
    UnixServer& operator=(const UnixServer&) = delete;

private:
    std::shared_ptr<UnixAcceptor> acceptor_;
    std::unique_ptr<SocketFile> file_;
};

}  // namespace culvert::ctl
