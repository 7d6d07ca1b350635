// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is said on one connection to a server: learns whether this server may be used (of a cluster,
// the leader), takes the lock, asks for the schema and the contents in the newest way the server
// knows, follows the updates, passes transactions. Messages in, bytes out: no sockets, no clock. An
// error of receive() ends the connection. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "ctl/ovsdb/mirror.hpp"
#include "ctl/ovsdb/schema.hpp"

namespace culvert::ctl::ovsdb {

struct DialogueOptions {
    std::string database;
    std::string lock;  ///< Empty: none is taken.
    Wanted wanted;
};

class Dialogue {
public:
    using Done = std::function<void(Result<nlohmann::json>)>;

    /// Transactions that may wait for their answers.
    static constexpr std::size_t kTransactionsMax = 4096;

    /// Both are referred to. The mirror outlives the dialogue: its contents stay.
    Dialogue(const DialogueOptions& options, Mirror& mirror);

    /// Takes a message's text. An error is one sentence, and the connection must end.
    [[nodiscard]] Result<void> receive(std::string_view text);

    /// `done` comes by way of take_finished().
    void transact(const nlohmann::json& operations, Done done);
    /// Asks the server for a sign of life.
    void probe();
    /// The connection is lost: what waits for an answer fails.
    void fail(const std::string& sentence);

    /// Bytes for the server.
    [[nodiscard]] std::string take_output();
    [[nodiscard]] std::size_t output_bytes() const noexcept { return output_.size(); }
    /// To be called, in order; they may call anything.
    [[nodiscard]] std::vector<std::function<void()>> take_finished();
    /// Whether something that a user sees has changed since the last call.
    [[nodiscard]] bool take_changed();

    [[nodiscard]] bool is_synchronised() const noexcept { return synchronised_; }
    [[nodiscard]] bool has_lock() const noexcept { return lock_ == Lock::held; }
    [[nodiscard]] bool is_lock_contended() const noexcept { return lock_ == Lock::contended; }
    /// After an error: the server itself is well, but of no use (not the leader, say).
    [[nodiscard]] bool is_unsuitable() const noexcept { return unsuitable_; }

private:
    enum class Request : std::uint8_t {
        change_aware,
        server_monitor,
        lock,
        schema,
        monitor,
        transact,
        probe,
    };
    /// Newest first.
    enum class Method : std::uint8_t { cond_since, cond, plain };
    enum class Lock : std::uint8_t { none, held, contended };

    struct Pending {
        Request request;
        Done done;
    };

    void
    send(Request request, const char* method, const nlohmann::json& parameters, Done done = {});
    void
    answer(const nlohmann::json& id, const nlohmann::json& result, const nlohmann::json& error);
    void ask_for_schema();
    void ask_for_contents();

    [[nodiscard]] Result<void> take(std::string_view text);
    [[nodiscard]] Result<void> on_request(nlohmann::json& message);
    [[nodiscard]] Result<void> on_reply(nlohmann::json& message);
    [[nodiscard]] Result<void> on_server_contents(nlohmann::json* result);
    [[nodiscard]] Result<void> check_server();
    [[nodiscard]] Result<void> on_schema(const nlohmann::json& schema);
    [[nodiscard]] Result<void> on_monitor_error(const nlohmann::json& error);
    [[nodiscard]] Result<void> on_contents(nlohmann::json& result);
    [[nodiscard]] Result<void> on_update(std::string_view method, nlohmann::json& parameters);
    [[nodiscard]] Result<void> on_monitor_canceled(const nlohmann::json& parameters);
    [[nodiscard]] Result<void> on_lock_reply(const nlohmann::json& result);
    [[nodiscard]] Result<void>
    on_lock_notice(std::string_view method, const nlohmann::json& parameters);
    void finish(Done done, Result<nlohmann::json> result);
    void set_lock(Lock lock);

    const DialogueOptions& options_;
    Mirror& mirror_;
    Mirror server_;  ///< Of the database _Server.
    std::string output_;
    std::vector<std::function<void()>> finished_;
    std::map<std::int64_t, Pending> pending_;
    std::int64_t next_id_ = 0;
    std::size_t transactions_ = 0;
    std::int64_t generation_ = 0;  ///< Of the monitor, so that each has a name of its own.
    std::string asked_since_;      ///< The transaction in the last monitor_cond_since.
    Method method_ = Method::cond_since;
    Lock lock_ = Lock::none;
    bool follows_server_ = false;  ///< There is a database _Server, and it is monitored.
    bool suitable_ = false;        ///< The server may be used; the rest has been asked for.
    bool unsuitable_ = false;
    bool synchronised_ = false;
    bool changed_ = false;
};

}  // namespace culvert::ctl::ovsdb
