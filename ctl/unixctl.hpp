// SPDX-License-Identifier: GPL-2.0-or-later
//
// JSON-RPC 1.0 over a UNIX stream socket, as OVS's unixctl speaks it (ovs: lib/unixctl.c), so that
// `ovs-appctl -t SOCKET COMMAND` works too: {"method": NAME, "params": [STRING...], "id": ANY} is
// answered with
// {"id": ANY, "result": TEXT, "error": null} or {"id": ANY, "result": null, "error": TEXT}.
// Messages follow each other without delimiter; a client may send several and half-close.
// Everything runs on the thread that runs the io_context: the control thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "ctl/table.hpp"
#include "ctl/unixctl_client.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// Answers with the text for the user, or with an error sentence.
using CommandHandler = std::function<Result<std::string>(const Arguments&)>;

struct Command {
    std::string usage;  ///< After the name, e.g. "[BRIDGE]"; shown by list-commands.
    unsigned arguments_min = 0;
    unsigned arguments_max = 0;
    CommandHandler handler;
    /// "--limit N" takes a value, "--all" does not. They do not count as arguments, and any other
    /// word that starts with "--" is refused. Without options such words are arguments. The handler
    /// gets every word as it came, and takes the options out with take_option() and take_flag().
    std::vector<std::string> options = {};
};

/// Removes the option `name` and its value from `arguments`; the value of the last one counts.
/// Nothing: the option is not there. The server has checked that a value follows.
[[nodiscard]] std::optional<std::string> take_option(Arguments& arguments, std::string_view name);
/// Removes `name`; returns whether it was there.
[[nodiscard]] bool take_flag(Arguments& arguments, std::string_view name);
/// Removes "--format text|json" (the option's usage in Command::options); text when absent.
[[nodiscard]] Result<OutputFormat> take_format(Arguments& arguments);

/// Runs one request text against the commands and returns the response text. Pure but for the
/// handlers. Adds the command "list-commands". Ends every answer with a newline, as OVS does.
[[nodiscard]] std::string
answer_request(const std::map<std::string, Command>& commands, std::string_view request);

/// The response that refuses a request that could not be read: its id is null.
[[nodiscard]] std::string answer_refusal(std::string sentence);

struct UnixctlLimits {
    std::size_t clients_max = 32;             ///< A further one is told so and closed.
    std::size_t request_bytes_max = 1 << 20;  ///< A longer one is told so and closed.
    /// A client that stops in the middle of a request, or does not read its answer for this long,
    /// is closed. One that is idle between requests may stay.
    std::chrono::milliseconds stall_max{30'000};
};

class UnixctlServer {
public:
    /// Binds `path` (mode 0660; its folder is created with mode 0755). A stale socket of a dead
    /// process is replaced, a live one is an error that names the path.
    [[nodiscard]] static Result<std::unique_ptr<UnixctlServer>> open(
        boost::asio::io_context& io,
        const std::string& path,
        std::map<std::string, Command> commands,
        const UnixctlLimits& limits = {}
    );
    virtual ~UnixctlServer() = default;  ///< Closes clients and removes the socket.

    UnixctlServer(const UnixctlServer&) = delete;
    UnixctlServer& operator=(const UnixctlServer&) = delete;

protected:
    UnixctlServer() = default;
};

}  // namespace culvert::ctl
