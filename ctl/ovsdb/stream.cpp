// SPDX-License-Identifier: GPL-2.0-or-later
//
// Streams over UNIX sockets, TCP, and TLS over TCP.
#include "ctl/ovsdb/stream.hpp"

#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include "ctl/ovsdb/tls_context.hpp"

namespace culvert::ctl::ovsdb {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Unix = asio::local::stream_protocol;
using Tls = asio::ssl::stream<tcp::socket>;
using ErrorCode = boost::system::error_code;

/// What all kinds share, for a Socket that is one or has one as its lowest layer.
template <class Socket>
class SocketStream : public Stream, public std::enable_shared_from_this<SocketStream<Socket>> {
public:
    template <class... Arguments>
    explicit SocketStream(Arguments&&... arguments)
        : socket(std::forward<Arguments>(arguments)...) {}

    void read_some(asio::mutable_buffer buffer, Moved moved) final {
        socket.async_read_some(buffer, keep(std::move(moved)));
    }
    void write(asio::const_buffer buffer, Moved moved) final {
        asio::async_write(socket, buffer, keep(std::move(moved)));
    }
    void close() override {
        ErrorCode ignored;
        socket.lowest_layer().close(ignored);
    }
    bool is_readable() final {
        ErrorCode error;
        return socket.lowest_layer().available(error) > 0 && !error;
    }

protected:
    /// The handler, which keeps this object as well.
    auto keep(Moved moved) {
        return
            [self = this->shared_from_this(),
             moved = std::move(moved)](ErrorCode error, std::size_t bytes) { moved(error, bytes); };
    }

    Socket socket;
};

class UnixStream final : public SocketStream<Unix::socket> {
public:
    UnixStream(asio::io_context& io, Remote remote)
        : SocketStream(io), path_(std::move(remote.host)) {}

    void connect(Connected connected) override {
        socket.async_connect(
            Unix::endpoint(path_),
            [self = shared_from_this(), connected = std::move(connected)](ErrorCode error) {
                connected(error ? "cannot connect: " + error.message() : "");
            }
        );
    }

private:
    std::string path_;
};

/// Over TCP, the name of whose host may have to be looked up.
template <class Socket>
class TcpBased : public SocketStream<Socket> {
public:
    template <class... Arguments>
    TcpBased(asio::io_context& io, Remote remote, Arguments&... arguments)
        : SocketStream<Socket>(io, arguments...), remote_(std::move(remote)), resolver_(io) {}

    void connect(Stream::Connected connected) override {
        ErrorCode no_number;
        const auto address = asio::ip::make_address(remote_.host, no_number);
        if (!no_number) {
            this->socket.lowest_layer().async_connect(
                tcp::endpoint(address, remote_.port),
                [self = this->self(), connected = std::move(connected)](ErrorCode error) {
                    self->on_connected(error, connected);
                }
            );
            return;
        }
        resolver_.async_resolve(
            remote_.host,
            std::to_string(remote_.port),
            [self = this->self(), connected = std::move(connected)](
                ErrorCode error, const tcp::resolver::results_type& found
            ) { self->on_resolved(error, found, connected); }
        );
    }

    void close() override {
        closed_ = true;
        resolver_.cancel();
        SocketStream<Socket>::close();
    }

protected:
    std::shared_ptr<TcpBased> self() {
        return std::static_pointer_cast<TcpBased>(this->shared_from_this());
    }

    /// On a connection of TCP.
    virtual void start(const Stream::Connected& connected) { connected(""); }

private:
    void on_resolved(
        ErrorCode error,
        const tcp::resolver::results_type& found,
        const Stream::Connected& connected
    ) {
        if (closed_) {
            error = asio::error::operation_aborted;
        }
        if (error) {
            connected("cannot find host \"" + remote_.host + "\": " + error.message());
            return;
        }
        asio::async_connect(
            this->socket.lowest_layer(),
            found,
            [self = self(), connected](ErrorCode failed, const tcp::endpoint&) {
                self->on_connected(failed, connected);
            }
        );
    }

    void on_connected(ErrorCode error, const Stream::Connected& connected) {
        if (error) {
            connected("cannot connect: " + error.message());
            return;
        }
        ErrorCode ignored;
        this->socket.lowest_layer().set_option(tcp::no_delay(true), ignored);
        start(connected);
    }

    Remote remote_;
    tcp::resolver resolver_;
    bool closed_ = false;
};

using TcpStream = TcpBased<tcp::socket>;

class TlsStream final : public TcpBased<Tls> {
public:
    TlsStream(asio::io_context& io, Remote remote, std::shared_ptr<asio::ssl::context> context)
        : TcpBased(io, std::move(remote), *context), context_(std::move(context)) {}

private:
    void start(const Connected& connected) override {
        socket.async_handshake(Tls::client, [self = self(), this, connected](ErrorCode error) {
            connected(error ? describe(error) : "");
        });
    }

    std::string describe(ErrorCode error) {
        const long verified = ::SSL_get_verify_result(socket.native_handle());
        if (verified != X509_V_OK) {
            return std::string("the server's certificate is not trusted: ") +
                   ::X509_verify_cert_error_string(verified);
        }
        return "the TLS handshake failed: " + error.message();
    }

    std::shared_ptr<asio::ssl::context> context_;
};

}  // namespace

Result<std::shared_ptr<Stream>>
make_stream(asio::io_context& io, const Remote& remote, const TlsFiles& tls) {
    switch (remote.kind) {
    case Remote::Kind::unix_socket:
        return std::make_shared<UnixStream>(io, remote);
    case Remote::Kind::tcp:
        return std::make_shared<TcpStream>(io, remote);
    case Remote::Kind::ssl:
        break;
    }
    auto context = make_tls_context(tls);
    if (!context.has_value()) {
        return tl::unexpected(std::move(context.error()));
    }
    return std::make_shared<TlsStream>(io, remote, std::move(*context));
}

}  // namespace culvert::ctl::ovsdb
