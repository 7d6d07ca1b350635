// SPDX-License-Identifier: GPL-2.0-or-later
//
// A client of one OVSDB database (RFC 7047 and the extensions of ovsdb-server(7)): connects and
// reconnects with back-off, monitors the wanted columns with monitor_cond_since, monitor_cond or
// monitor (what the server has), holds a lock, sends transactions. A reconnect leaves the replica
// as it was until the server's contents are there, and then tells of the difference alone.
// Everything from the server is untrusted: bounded, and a bad message ends the connection, not the
// process. Runs on the thread that runs the io_context: the control thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json_fwd.hpp>

#include "ctl/ovsdb/schema.hpp"
#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl::ovsdb {

/// PEM files for "ssl:" remotes; read anew at each connection.
struct TlsFiles {
    std::string private_key;
    std::string certificate;
    std::string ca_certificate;
    bool operator==(const TlsFiles&) const = default;
};

struct ClientOptions {
    /// "unix:PATH", "tcp:HOST[:PORT]", "ssl:HOST[:PORT]" (port 6640), an IPv6 host in brackets;
    /// several (separated by commas where one argument holds them) are tried in turn.
    std::vector<std::string> remotes;
    std::string database = "Open_vSwitch";
    std::string lock = "ovs_vswitchd";  ///< Empty: none is taken.
    Wanted wanted;                      ///< What the server's schema lacks is left out.
    TlsFiles tls;
    std::size_t message_bytes_max = std::size_t{256} << 20U;
    /// What may wait to be sent: transactions are refused then, and a server that asks for more
    /// answers than it reads is given up.
    std::size_t output_bytes_max = std::size_t{64} << 20U;
    /// What the replica may take in memory; more ends the connection.
    std::size_t replica_bytes_max = std::size_t{1} << 30U;
    std::chrono::milliseconds backoff_min{200};
    std::chrono::milliseconds backoff_max{8000};
    /// Silence after which an echo is sent, and after as much again the connection is given up.
    std::chrono::milliseconds probe_interval{5000};
};

/// Splits a command line's remote ("unix:a,unix:b") and checks each. One sentence on failure.
[[nodiscard]] Result<std::vector<std::string>> parse_remotes(const std::string& text);

class Client {
public:
    /// Connects once the io_context runs.
    Client(boost::asio::io_context& io, ClientOptions options);
    ~Client();  ///< Says goodbye to nobody; callbacks are not called any more.
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// The replica changed, or has become complete again; or the lock was gained or lost, or the
    /// connection. Called at most once for each batch of messages that were there to be read.
    std::function<void()> on_change;

    [[nodiscard]] const Replica& replica() const;
    /// Whether the server's schema has the column; rows of the replica leave empty ones out.
    [[nodiscard]] bool has_column(std::string_view table, std::string_view column) const;
    /// The replica is what the server said last: connected, and its contents are complete. In a
    /// cluster, by way of its leader.
    [[nodiscard]] bool is_synchronised() const;
    [[nodiscard]] bool has_lock() const;
    /// Somebody else holds the lock.
    [[nodiscard]] bool is_lock_contended() const;

    /// Sends <operations> of a "transact" (without the database's name); `done` gets the results,
    /// or a sentence (the failed operation's error and details, or that the connection was lost).
    void
    transact(const nlohmann::json& operations, std::function<void(Result<nlohmann::json>)> done);

    /// Connects anew at once, in order with other files (the SSL table changed).
    void set_tls(const TlsFiles& files);

    /// One line for the log and memory/show, e.g. "unix:/run/openvswitch/db.sock: connected".
    [[nodiscard]] std::string status() const;

private:
    class Session;
    std::shared_ptr<Session> session_;
};

}  // namespace culvert::ctl::ovsdb
