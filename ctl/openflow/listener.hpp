// SPDX-License-Identifier: GPL-2.0-or-later
//
// The UNIX sockets BRIDGE.mgmt and BRIDGE.snoop of one bridge, on which OpenFlow is spoken.
// Everything runs on the thread that runs the io_context: the control thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "ctl/openflow/bridge.hpp"
#include "ctl/openflow/session.hpp"
#include "dataplane/result.hpp"

namespace boost::asio {
class io_context;
}

namespace culvert::ctl::openflow {

struct ListenerLimits {
    std::size_t connections_max = 16;  ///< Of one socket; a further one is closed.
    /// Who stops in the middle of a message or before the first, or does not read what it asked
    /// for, for this long, is closed. Who is idle between messages may stay.
    std::chrono::milliseconds stall_max{30'000};
};

struct ListenerOptions {
    std::string path;
    Versions versions = kAllVersions;
    bool snoop = false;
    ListenerLimits limits = {};
};

class Listener {
public:
    /// Listens at `path`, with mode 0660. The socket of a dead process is replaced, a live one is
    /// an error. `bridge` outlives the listener.
    [[nodiscard]] static dataplane::Result<std::unique_ptr<Listener>>
    open(boost::asio::io_context& io, Bridge& bridge, const ListenerOptions& options);

    virtual ~Listener() = default;  ///< Closes the connections and removes the socket.
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

protected:
    Listener() = default;
};

}  // namespace culvert::ctl::openflow
