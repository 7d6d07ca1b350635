// SPDX-License-Identifier: GPL-2.0-or-later
//
// For tests of the client: a server on a UNIX socket, on the test's own thread, that says what the
// test wants.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ctl/json_stream.hpp"
#include "ctl/ovsdb/client.hpp"
#include "ctl/ovsdb/mirror.hpp"
#include "tests/unit/ctl/run_until.hpp"
#include "tests/unit/ctl/temporary_folder.hpp"

namespace culvert::ctl::ovsdb::testing {

using ctl::testing::run_until;
using ctl::testing::TemporaryFolder;

/// Plays an ovsdb-server that has one database, D, with a table T.
class FakeServer {
public:
    using Unix = boost::asio::local::stream_protocol;

    FakeServer(boost::asio::io_context& io, const std::string& path)
        : acceptor_(io, Unix::endpoint(path)) {
        accept();
    }

    nlohmann::json schema = nlohmann::json::parse(R"({"name":"D","tables":{"T":{"columns":{
        "name":{"type":"string"},
        "options":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}}}})");
    /// The reply of each method: its result. A method that has none is unknown.
    std::map<std::string, nlohmann::json> results = {
        {"echo", nlohmann::json::array()},
        {"set_db_change_aware", nlohmann::json::object()},
        {"lock", {{"locked", true}}},
        {"monitor_cond_since", nlohmann::json::array({false, "t1", one_row("initial")})},
        {"transact", nlohmann::json::array({nlohmann::json::object()})},
    };
    /// Of _Server; null: there is none.
    nlohmann::json server_contents;
    /// Never answered.
    std::set<std::string> silent;

    std::vector<nlohmann::json> received;  ///< Requests, of all connections.
    unsigned accepted = 0;
    bool open = false;
    bool reading = true;

    /// Updates with the row kRow, whose name is "x".
    static nlohmann::json one_row(const char* kind) {
        return {{"T", {{kRow, {{kind, {{"name", "x"}}}}}}}};
    }
    static constexpr const char* kRow = "00000000-0000-4000-8000-00000000000a";

    [[nodiscard]] unsigned count(const std::string& method) const {
        unsigned found = 0;
        for (const nlohmann::json& request : received) {
            found += request.value("method", "") == method ? 1U : 0U;
        }
        return found;
    }
    [[nodiscard]] const nlohmann::json* last(const std::string& method) const {
        const nlohmann::json* found = nullptr;
        for (const nlohmann::json& request : received) {
            found = request.value("method", "") == method ? &request : found;
        }
        return found;
    }

    void send(std::string bytes) {
        auto sent = std::make_shared<std::string>(std::move(bytes));
        boost::asio::async_write(
            *socket_, boost::asio::buffer(*sent), [sent, socket = socket_](auto, auto) {}
        );
    }
    void notify(const char* method, nlohmann::json parameters) {
        send(nlohmann::json({{"id", nullptr}, {"method", method}, {"params", std::move(parameters)}}
        ).dump());
    }
    /// An update of the client's last monitor.
    void update3(const char* transaction, nlohmann::json updates) {
        notify("update3", nlohmann::json::array({monitor_id(), transaction, std::move(updates)}));
    }
    [[nodiscard]] nlohmann::json monitor_id() const { return monitor_id_; }
    [[nodiscard]] nlohmann::json server_monitor_id() const { return server_monitor_id_; }
    void close() {
        if (socket_ != nullptr) {
            socket_->close();
        }
        open = false;
    }
    void stop() {
        acceptor_.close();
        close();
    }

private:
    void accept() {
        acceptor_.async_accept([this](boost::system::error_code error, Unix::socket socket) {
            if (error) {
                return;
            }
            ++accepted;
            open = true;
            socket_ = std::make_shared<Unix::socket>(std::move(socket));
            read(socket_, std::make_shared<JsonStream>(std::size_t{1} << 30U));
            accept();
        });
    }

    void
    read(const std::shared_ptr<Unix::socket>& socket, const std::shared_ptr<JsonStream>& stream) {
        if (!reading) {
            return;
        }
        auto buffer = std::make_shared<std::vector<char>>(65536);
        socket->async_read_some(
            boost::asio::buffer(*buffer),
            [this, socket, stream, buffer](boost::system::error_code error, std::size_t count) {
                if (error) {
                    open = open && socket != socket_;
                    return;
                }
                const auto texts = stream->feed({buffer->data(), count}).value();
                for (const std::string& text : texts) {
                    received.push_back(nlohmann::json::parse(text));
                    answer(nlohmann::json(received.back()));
                }
                read(socket, stream);
            }
        );
    }

    void answer(const nlohmann::json& message) {
        const std::string method = message.value("method", "");
        if (method.empty() || silent.contains(method)) {
            return;
        }
        const nlohmann::json& parameters = message.at("params");
        nlohmann::json result;
        nlohmann::json error;
        if (method == "get_schema") {
            result = schema;
        } else if (method == "monitor_cond" && parameters[0] == "_Server") {
            server_monitor_id_ = parameters[1];
            result = server_contents;
            error = result.is_null() ? nlohmann::json("unknown database") : nlohmann::json();
        } else if (results.contains(method)) {
            result = results.at(method);
            if (method.starts_with("monitor")) {
                monitor_id_ = parameters[1];
            }
        } else {
            error = "unknown method";
        }
        send(nlohmann::json({{"id", message.at("id")}, {"result", result}, {"error", error}}).dump()
        );
    }

    Unix::acceptor acceptor_;
    std::shared_ptr<Unix::socket> socket_;
    nlohmann::json monitor_id_;
    nlohmann::json server_monitor_id_;
};

/// Options for a FakeServer, with short waits.
inline ClientOptions fake_options(std::vector<std::string> remotes) {
    ClientOptions options;
    options.remotes = std::move(remotes);
    options.database = "D";
    options.wanted = {{"T", {"name", "options"}}};
    options.backoff_min = std::chrono::milliseconds(1);
    options.backoff_max = std::chrono::milliseconds(4);
    return options;
}

/// The name in the first row of T, or nothing.
inline std::string first_name(const Client& client) {
    const Rows& rows = client.replica().rows("T");
    return rows.empty() ? "" : column(rows.begin()->second, "name").string().value_or("");
}

}  // namespace culvert::ctl::ovsdb::testing
