// SPDX-License-Identifier: GPL-2.0-or-later
//
// charon answers the commands of a connection in order, so one at a time is out; the registrations
// of events come first and count as commands that bear no message.
#include "ctl/vici/client.hpp"

#include <array>
#include <cerrno>
#include <deque>
#include <optional>
#include <utility>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "ctl/backoff.hpp"

namespace culvert::ctl::vici {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Unix = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = std::size_t{16} << 10U;
/// Commands that wait; a user who has more of them does not look at the answers.
constexpr std::size_t kWaitingMax = 100'000;

tl::unexpected<std::string> failure_of(std::string sentence) {
    return tl::unexpected<std::string>(std::move(sentence));
}

std::string why_not_connected(const std::string& path, const ErrorCode& error) {
    const std::string socket = "the vici socket \"" + path + "\"";
    switch (error.value()) {
    case ENOENT:
        return socket +
               " is not there: install strongSwan's charon with its vici plugin (packages "
               "strongswan-swanctl and charon-systemd of Debian) and start it, or set `vici` in "
               "[ike] to where its socket is";
    case ECONNREFUSED:
        return "nobody listens at " + socket + ": start strongSwan's charon";
    default:
        return "cannot connect to " + socket + ": " + error.message();
    }
}

/// A response that says whether it was a success is an error when it was none.
Result<Message> result_of(const std::string& command, Message response) {
    if (response.text("success") != "no") {
        return response;
    }
    const std::string_view reason = response.text("errmsg");
    return failure_of(
        "charon refuses \"" + command +
        "\": " + (reason.empty() ? "it does not say why" : std::string(reason.substr(0, 500)))
    );
}

}  // namespace

class Client::Session : public std::enable_shared_from_this<Session> {
public:
    Session(asio::io_context& io, Client& owner, ClientOptions options)
        : io_(io), owner_(&owner), options_(std::move(options)),
          backoff_(options_.backoff_min, options_.backoff_max), retry_(io), watch_(io) {}

    void start() {
        asio::post(io_, [self = shared_from_this()] { self->connect(); });
    }
    void stop() {
        owner_ = nullptr;
        close();
        retry_.cancel();
        waiting_.clear();
        current_.reset();
    }
    void send(Operation operation, std::string name, Message message, Done done);
    void send_streamed(std::string name, Message message, std::string stream, Each each, Done done);
    [[nodiscard]] bool is_connected() const { return registered_; }
    [[nodiscard]] const std::string& failure() const { return failure_; }

private:
    struct Command {
        Packet packet;
        std::string stream;
        Each each;
        Done done;
    };

    void connect();
    void on_connected(ErrorCode error);
    void register_events();
    void close();
    void fail(const std::string& sentence);
    void read();
    void on_read(ErrorCode error, std::size_t count);
    void on_packet(Packet packet);
    void on_answer(Packet packet);
    void push(Command command);
    void send_next();
    void watch();

    /// A handler of the present connection: nothing when there is another one, or none.
    template <class Handler>
    auto bind(Handler handler) {
        return [self = shared_from_this(), socket = socket_, handler](auto&&... arguments) {
            if (self->socket_ == socket) {
                handler(*self, arguments...);
            }
        };
    }

    asio::io_context& io_;
    Client* owner_;  ///< Null: gone.
    ClientOptions options_;
    Backoff backoff_;
    asio::steady_timer retry_;
    asio::steady_timer watch_;
    std::string failure_;

    std::shared_ptr<Unix::socket> socket_;  ///< Null: none.
    PacketStream packets_;
    std::array<char, kReadBytes> buffer_{};
    std::shared_ptr<std::string> output_;  ///< Being written; wiped.
    std::deque<Command> waiting_;
    std::optional<Command> current_;
    bool registered_ = false;
    Clock::time_point registered_at_{};
};

// ---- Connections --------------------------------------------------------------------------------

void Client::Session::connect() {
    if (owner_ == nullptr || socket_ != nullptr) {
        return;
    }
    socket_ = std::make_shared<Unix::socket>(io_);
    if (options_.path.empty() || options_.path.size() >= sizeof(sockaddr_un::sun_path)) {
        fail(
            "the path of the vici socket has " + std::to_string(options_.path.size()) +
            " bytes, not 1 to " + std::to_string(sizeof(sockaddr_un::sun_path) - 1)
        );
        return;
    }
    socket_->async_connect(Unix::endpoint(options_.path), bind([](Session& self, ErrorCode error) {
                               self.on_connected(error);
                           }));
}

void Client::Session::on_connected(ErrorCode error) {
    if (error) {
        fail(why_not_connected(options_.path, error));
        return;
    }
    packets_ = {};
    read();
    register_events();
}

void Client::Session::register_events() {
    for (const std::string& event : options_.events) {
        send(Operation::register_event, event, {}, {});
    }
    // An answer to something that every charon knows: events are registered by then.
    send(Operation::request, "version", {}, bind([](Session& self, const Result<Message>&) {
             self.registered_ = true;
             self.registered_at_ = Clock::now();
             self.failure_.clear();
             if (self.owner_ != nullptr && self.owner_->on_connected) {
                 self.owner_->on_connected();
             }
         }));
}

void Client::Session::close() {
    if (socket_ != nullptr) {
        ErrorCode ignored;
        socket_->close(ignored);
        socket_ = nullptr;
    }
    watch_.cancel();
    registered_ = false;
}

void Client::Session::fail(const std::string& sentence) {
    if (registered_) {
        backoff_.connection_lasted(Clock::now() - registered_at_);
    }
    failure_ = sentence;
    close();
    std::vector<Done> unanswered;
    if (current_.has_value()) {
        unanswered.push_back(std::move(current_->done));
        current_.reset();
    }
    for (Command& command : waiting_) {
        unanswered.push_back(std::move(command.done));
    }
    waiting_.clear();
    retry_.expires_after(backoff_.take());
    retry_.async_wait([self = shared_from_this()](ErrorCode error) {
        if (!error) {
            self->connect();
        }
    });
    for (const Done& done : unanswered) {
        if (owner_ != nullptr && done) {
            done(failure_of(sentence));
        }
    }
    if (owner_ != nullptr && owner_->on_lost) {
        owner_->on_lost();
    }
}

// ---- What is received ---------------------------------------------------------------------------

void Client::Session::read() {
    socket_->async_read_some(
        asio::buffer(buffer_),
        bind([](Session& self, ErrorCode error, std::size_t count) { self.on_read(error, count); })
    );
}

void Client::Session::on_read(ErrorCode error, std::size_t count) {
    if (error) {
        fail(
            error == asio::error::eof
                ? "charon has closed the connection of its vici socket \"" + options_.path + "\""
                : "the connection of the vici socket \"" + options_.path +
                      "\" broke: " + error.message()
        );
        return;
    }
    auto packets = packets_.feed({buffer_.data(), count});
    if (!packets.has_value()) {
        fail(packets.error());
        return;
    }
    const auto socket = socket_;
    for (Packet& packet : *packets) {
        on_packet(std::move(packet));
        // What was called may have ended the connection, or all.
        if (socket_ != socket || owner_ == nullptr) {
            return;
        }
    }
    read();
}

void Client::Session::on_packet(Packet packet) {
    if (packet.operation != Operation::event) {
        on_answer(std::move(packet));
    } else if (current_.has_value() && current_->each && current_->stream == packet.name) {
        // The function may end this command.
        const Each each = current_->each;
        each(packet.message);
    } else if (owner_->on_event) {
        owner_->on_event(packet.name, packet.message);
    }
}

void Client::Session::on_answer(Packet packet) {
    if (!current_.has_value()) {
        fail("charon answers what it was not asked");
        return;
    }
    const bool of_event = current_->packet.operation == Operation::register_event;
    const bool fits = of_event ? packet.operation == Operation::event_confirmed ||
                                     packet.operation == Operation::unknown_event
                               : packet.operation == Operation::response ||
                                     packet.operation == Operation::unknown_command;
    if (!fits) {
        fail("charon answers something else than it was asked");
        return;
    }
    Command command = std::move(*current_);
    current_.reset();
    watch_.cancel();
    send_next();
    if (!command.done) {
        return;
    }
    if (packet.operation == Operation::unknown_command) {
        command.done(
            failure_of("this charon does not know the command \"" + command.packet.name + "\"")
        );
    } else {
        command.done(result_of(command.packet.name, std::move(packet.message)));
    }
}

// ---- What is sent -------------------------------------------------------------------------------

void Client::Session::send(Operation operation, std::string name, Message message, Done done) {
    push({{operation, std::move(name), std::move(message)}, {}, {}, std::move(done)});
}

void Client::Session::send_streamed(
    std::string name, Message message, std::string stream, Each each, Done done
) {
    push(
        {{Operation::request, std::move(name), std::move(message)},
         std::move(stream),
         std::move(each),
         std::move(done)}
    );
}

void Client::Session::push(Command command) {
    if (socket_ == nullptr || waiting_.size() >= kWaitingMax) {
        // Not inside this call.
        asio::post(
            io_,
            [self = shared_from_this(),
             done = std::move(command.done),
             sentence = socket_ == nullptr ? failure_ : "too many commands wait for charon"] {
                if (self->owner_ != nullptr && done) {
                    done(failure_of(sentence));
                }
            }
        );
        return;
    }
    waiting_.push_back(std::move(command));
    send_next();
}

void Client::Session::send_next() {
    while (socket_ != nullptr && !current_.has_value() && output_ == nullptr && !waiting_.empty()) {
        Command command = std::move(waiting_.front());
        waiting_.pop_front();
        auto bytes = encode(command.packet);
        if (!bytes.has_value()) {
            asio::post(
                io_,
                [self = shared_from_this(),
                 done = std::move(command.done),
                 sentence = bytes.error()] {
                    if (self->owner_ != nullptr && done) {
                        done(failure_of(sentence));
                    }
                }
            );
            continue;
        }
        output_ =
            std::shared_ptr<std::string>(new std::string(std::move(*bytes)), [](std::string* text) {
                tunnels::wipe(std::as_writable_bytes(std::span(*text)));
                delete text;
            });
        command.packet.message = {};  // Its secrets are wiped.
        current_ = std::move(command);
        watch();
        // The bytes live as long as they are written, whatever becomes of the connection.
        asio::async_write(
            *socket_,
            asio::buffer(*output_),
            [self = shared_from_this(),
             socket = socket_,
             output = output_](ErrorCode error, std::size_t) {
                if (self->output_ == output) {
                    self->output_ = nullptr;
                }
                if (self->socket_ != socket) {
                    return;
                }
                if (error) {
                    self->fail(
                        "the connection of the vici socket \"" + self->options_.path +
                        "\" broke: " + error.message()
                    );
                    return;
                }
                self->send_next();
            }
        );
    }
}

void Client::Session::watch() {
    watch_.expires_after(options_.patience);
    watch_.async_wait(bind([](Session& self, ErrorCode error) {
        if (!error && self.current_.has_value()) {
            self.fail(
                "charon has not answered \"" + self.current_->packet.name + "\" for " +
                std::to_string(self.options_.patience.count()) + " ms"
            );
        }
    }));
}

// ---- Client -------------------------------------------------------------------------------------

Client::Client(asio::io_context& io, ClientOptions options)
    : session_(std::make_shared<Session>(io, *this, std::move(options))) {
    session_->start();
}

Client::~Client() {
    session_->stop();
}

void Client::command(std::string name, Message request, Done done) {
    session_->send(Operation::request, std::move(name), std::move(request), std::move(done));
}

void Client::command(std::string name, Message request, std::string stream, Each each, Done done) {
    session_->send_streamed(
        std::move(name), std::move(request), std::move(stream), std::move(each), std::move(done)
    );
}

bool Client::is_connected() const {
    return session_->is_connected();
}

const std::string& Client::failure() const {
    return session_->failure();
}

}  // namespace culvert::ctl::vici
