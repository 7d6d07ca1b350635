// SPDX-License-Identifier: GPL-2.0-or-later
//
// For tests of what talks to charon: plays one at a vici socket, on the test's own thread, that
// answers as the test wants and remembers what it was asked.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include "ctl/vici/message.hpp"
#include "tests/unit/ctl/run_until.hpp"
#include "tests/unit/ctl/temporary_folder.hpp"

namespace culvert::ctl::vici::testing {

using ctl::testing::run_until;
using ctl::testing::TemporaryFolder;

class FakeCharon {
public:
    using Unix = boost::asio::local::stream_protocol;
    /// Makes the answer to a command; nothing: it is not answered.
    using Command = std::function<std::optional<Message>(const Message&)>;

    FakeCharon(boost::asio::io_context& io, const std::string& path)
        : acceptor_(io, Unix::endpoint(path)), socket_(io) {
        accept();
    }

    static Message success() { return Message().add("success", std::string("yes")); }
    static Message refusal(const std::string& reason) {
        return Message().add("success", std::string("no")).add("errmsg", reason);
    }

    std::map<std::string, Command> commands;
    std::set<std::string> unknown_events;
    std::vector<Packet> asked;  ///< Requests, in order.
    std::set<std::string> registered;
    unsigned connections = 0;

    [[nodiscard]] std::vector<Message> asked_for(const std::string& name) const {
        std::vector<Message> found;
        for (const Packet& packet : asked) {
            if (packet.name == name) {
                found.push_back(packet.message);
            }
        }
        return found;
    }
    void raise(const std::string& event, Message message) {
        send(*encode({Operation::event, event, std::move(message)}));
    }
    void send(const std::string& bytes) {
        boost::system::error_code ignored;
        boost::asio::write(socket_, boost::asio::buffer(bytes), ignored);
    }
    void hang_up() {
        boost::system::error_code ignored;
        socket_.close(ignored);
    }

private:
    void accept() {
        acceptor_.async_accept([this](boost::system::error_code error, Unix::socket socket) {
            if (error) {
                return;
            }
            socket_ = std::move(socket);
            stream_ = {};
            registered.clear();
            ++connections;
            read();
            accept();
        });
    }
    void read() {
        socket_.async_read_some(
            boost::asio::buffer(buffer_),
            [this](boost::system::error_code error, std::size_t count) {
                if (error) {
                    return;
                }
                auto packets = stream_.feed({buffer_.data(), count});
                ASSERT_TRUE(packets.has_value()) << packets.error();
                for (Packet& packet : *packets) {
                    answer(packet);
                }
                read();
            }
        );
    }
    void answer(const Packet& packet) {
        if (packet.operation == Operation::register_event) {
            const bool known = !unknown_events.contains(packet.name);
            if (known) {
                registered.insert(packet.name);
            }
            send(*encode({known ? Operation::event_confirmed : Operation::unknown_event, {}, {}}));
            return;
        }
        const auto command = commands.find(packet.name);
        if (packet.name == "version") {
            send(*encode({Operation::response, {}, Message().add("daemon", std::string("charon"))})
            );
            return;
        }
        asked.push_back(packet);
        if (command == commands.end()) {
            send(*encode({Operation::unknown_command, {}, {}}));
        } else if (auto message = command->second(packet.message)) {
            send(*encode({Operation::response, {}, std::move(*message)}));
        }
    }

    Unix::acceptor acceptor_;
    Unix::socket socket_;
    std::array<char, 4096> buffer_{};
    PacketStream stream_;
};

}  // namespace culvert::ctl::vici::testing
