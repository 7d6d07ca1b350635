// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a database says of the daemon itself (CPUs, memory, sizes) has to be known before the daemon
// starts its workers, and so before it follows the database.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ctl/config.hpp"
#include "ctl/ovsdb/client.hpp"

namespace culvert::ctl {

/// `base` with start_options() of the database; `base` itself when the database has not been read
/// after `wait`: the daemon answers its control socket then, and its source waits on. Nothing: a
/// signal asks the daemon to end. Before any other io_context exists.
[[nodiscard]] std::optional<DesiredState> read_start_options(
    const std::vector<std::string>& remotes,
    const ovsdb::TlsFiles& tls,
    const DesiredState& base,
    std::chrono::milliseconds wait
);

}  // namespace culvert::ctl
