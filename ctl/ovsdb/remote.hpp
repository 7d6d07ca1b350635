// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where a server listens, as OVS's tools write it.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/result.hpp"

namespace culvert::ctl::ovsdb {

using dataplane::Result;

struct Remote {
    enum class Kind : std::uint8_t { unix_socket, tcp, ssl };

    Kind kind = Kind::unix_socket;
    std::string text;  ///< As it was given.
    std::string host;  ///< A path for unix_socket; an IPv6 address without its brackets.
    std::uint16_t port = 6640;
};

[[nodiscard]] Result<Remote> parse_remote(const std::string& text);

}  // namespace culvert::ctl::ovsdb
