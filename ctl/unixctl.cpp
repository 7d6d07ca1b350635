// SPDX-License-Identifier: GPL-2.0-or-later
//
// The server's side of the control socket. A session reads only while it has nothing to answer, so
// a client that does not read its answers holds one answer and one read's worth of requests, no
// more. Handlers run to their end on the control thread; they must not block.
#include "ctl/unixctl.hpp"

#include <array>
#include <deque>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include "ctl/json_stream.hpp"
#include "ctl/unix_server.hpp"

namespace culvert::ctl {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = 16384;

// ---- Clients ------------------------------------------------------------------------------------

class Listener final : public UnixAcceptor {
public:
    Listener(
        asio::io_context& io,
        int fd,
        std::map<std::string, Command> command_map,
        UnixctlLimits bounds
    )
        : UnixAcceptor(io, fd), commands(std::move(command_map)), limits(bounds) {}

    const std::map<std::string, Command> commands;
    const UnixctlLimits limits;

private:
    void admit(UnixSocket socket) override;
};

class Session final : public UnixConnection {
public:
    Session(UnixSocket socket, const std::shared_ptr<Listener>& listener)
        : UnixConnection(std::move(socket), listener, listener->limits.stall_max),
          listener_(*listener), stream_(listener_.limits.request_bytes_max) {}

    /// Answers the next request, or reads on when there is none.
    void advance() {
        if (!requests_.empty()) {
            const std::string request = std::move(requests_.front());
            requests_.pop_front();
            write(answer_request(listener_.commands, request));
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

private:
    void refuse(std::string sentence) {
        last_answer_ = true;
        write(answer_refusal(std::move(sentence)));
    }

    void read() {
        watch_stall(stream_.pending());
        socket().async_read_some(
            asio::buffer(input_),
            [self = self<Session>()](ErrorCode error, std::size_t count) {
                self->on_read(error, count);
            }
        );
    }

    void on_read(ErrorCode error, std::size_t count) {
        if (!socket().is_open()) {
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
        if (!socket().is_open()) {
            return;  // The command closed the server.
        }
        output_ = std::move(text);
        written_ = 0;
        write_some();
    }

    void write_some() {
        watch_stall(true);
        socket().async_write_some(
            asio::buffer(output_) + written_,
            [self = self<Session>()](ErrorCode error, std::size_t count) {
                self->on_written(error, count);
            }
        );
    }

    void on_written(ErrorCode error, std::size_t count) {
        if (!socket().is_open()) {
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

    const Listener& listener_;  ///< The base keeps it alive.
    JsonStream stream_;
    std::deque<std::string> requests_;
    std::array<char, kReadBytes> input_{};
    std::string output_;
    std::size_t written_ = 0;
    bool input_ended_ = false;
    bool last_answer_ = false;
};

void Listener::admit(UnixSocket socket) {
    if (count() >= limits.clients_max) {
        ErrorCode ignored;
        socket.non_blocking(true, ignored);
        const std::string text = answer_refusal(
            "culvertd serves " + std::to_string(limits.clients_max) +
            " clients at once; try again when one of them has left"
        );
        socket.write_some(asio::buffer(text), ignored);
        return;  // Closes the socket.
    }
    const auto session = std::make_shared<Session>(
        std::move(socket), std::static_pointer_cast<Listener>(shared_from_this())
    );
    insert(session);
    session->advance();
}

class Server final : public UnixctlServer {
public:
    Server(std::shared_ptr<Listener> listener, const std::string& path)
        : server_(std::move(listener), path) {}

private:
    UnixServer server_;
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
