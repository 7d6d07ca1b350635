// SPDX-License-Identifier: GPL-2.0-or-later
//
// The client's side of the control socket: one JSON-RPC 1.0 request over a UNIX stream socket (see
// unixctl.hpp). Any thread may call it; it blocks, so never a worker or the control thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace culvert::ctl {

using Arguments = std::vector<std::string>;

enum class ClientFailure : std::uint8_t {
    not_running,  ///< No socket there, or nobody listens on it any more.
    unreachable,  ///< Not allowed, not a control socket, or the connection broke.
    timed_out,
    interrupted,  ///< `interrupt_fd` became readable.
    answered,     ///< The daemon received the command and answered with this error.
};

struct ClientError {
    ClientFailure failure = ClientFailure::unreachable;
    std::string text;  ///< One sentence without a final newline (`answered`: the daemon's words).
};

/// Connects to `path`, sends the request and waits at most `timeout_ms` for its answer. The wait
/// also ends when `interrupt_fd` (a signalfd, say) becomes readable, unless it is negative.
[[nodiscard]] tl::expected<std::string, ClientError> call_unixctl(
    const std::string& path,
    const std::string& method,
    const Arguments& arguments,
    unsigned timeout_ms,
    int interrupt_fd = -1
);

}  // namespace culvert::ctl
