// SPDX-License-Identifier: GPL-2.0-or-later
//
// A client of charon's vici socket: connects and reconnects with back-off, registers for events,
// sends one command after the other and hands their answers out. Everything from the socket is
// untrusted: a bad packet ends the connection, not the process. Runs on the thread that runs the
// io_context: the control thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "ctl/vici/message.hpp"

namespace culvert::ctl::vici {

struct ClientOptions {
    std::string path;                 ///< Of the socket.
    std::vector<std::string> events;  ///< One that charon does not know is done without.
    std::chrono::milliseconds backoff_min{200};
    std::chrono::milliseconds backoff_max{5000};
    /// After which a command that is not answered ends the connection.
    std::chrono::milliseconds patience{10000};
};

class Client {
public:
    using Done = std::function<void(Result<Message>)>;
    using Each = std::function<void(const Message&)>;

    /// Connects once the io_context runs.
    Client(boost::asio::io_context& io, ClientOptions options);
    ~Client();  ///< Callbacks are not called any more.
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// There is a connection, and its events are registered.
    std::function<void()> on_connected;
    /// There is none any more, or an attempt failed; failure() says why.
    std::function<void()> on_lost;
    /// One of the events, outside of the command that streams it.
    std::function<void(const std::string& name, const Message& message)> on_event;

    /// Sends a command, behind those before it. `done` gets the answer, or a sentence: charon's own
    /// when it says that there was no success, or that the connection was lost. An error about the
    /// command names it, never what is in it. While it runs, events called `stream` go to `each`.
    void command(std::string name, Message request, Done done = {});
    void command(std::string name, Message request, std::string stream, Each each, Done done);

    [[nodiscard]] bool is_connected() const;
    /// Why there is no connection, in one sentence; empty while there is one, and at first.
    [[nodiscard]] const std::string& failure() const;

private:
    class Session;
    std::shared_ptr<Session> session_;
};

}  // namespace culvert::ctl::vici
