// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon once its arguments and its process are settled. The control thread (the caller's) runs
// the slow path, the control socket, the configuration's source and what the kernel tells; workers
// forward.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "ctl/config.hpp"
#include "ctl/ofports.hpp"
#include "ctl/openflow/bridges.hpp"
#include "ctl/switch.hpp"
#include "ctl/underlay.hpp"

namespace culvert::ctl {

inline constexpr int kExitEnvironment = 1;  ///< Something the daemon needs is not there.
inline constexpr int kExitUsage = 2;        ///< Arguments or configuration.

/// Where the desired state comes from: a file (toml_control.hpp) or a database
/// (ovsdb_control.hpp). Control thread.
class ControlSource {
public:
    ControlSource() = default;
    virtual ~ControlSource() = default;
    ControlSource(const ControlSource&) = delete;
    ControlSource& operator=(const ControlSource&) = delete;

    /// Told after each state that was taken, also when it changed nothing of the switch.
    std::function<void()> on_configured;

    /// Applies the first state, or sees to it that it will be applied; then `on_ready` is called,
    /// once. A sentence when the daemon cannot run by it.
    [[nodiscard]] virtual Result<void> start(std::function<void()> on_ready) = 0;
    /// Reads the source again (SIGHUP, `culvert-ctl reload`); what was done, a line each.
    [[nodiscard]] virtual Result<std::string> reload() = 0;
    /// About ten times a second, after the switch's.
    virtual void tick() {}
    /// What it says of a bridge's OpenFlow.
    [[nodiscard]] virtual openflow::BridgeSettings openflow(const std::string& /*bridge*/) const {
        return {};
    }

protected:
    void tell_configured() const {
        if (on_configured) {
            on_configured();
        }
    }
};

/// Where the commands of culvert-ctl and ovs-appctl are answered.
struct ControlSocket {
    std::string path;
    bool required = true;  ///< False: that it cannot be had is a warning.
};

struct DaemonOptions {
    std::vector<ControlSocket> sockets;
    std::string rundir;   ///< Where the bridges' OpenFlow sockets are.
    std::string version;  ///< What the command "version" says.
    /// What is fixed at the start: its bridges, ports and tunnels size the buffers only, and the
    /// source applies them.
    DesiredState state;
    std::function<
        std::unique_ptr<ControlSource>(boost::asio::io_context& io, Switch& to, Ofports& ofports)>
        make_source;
    std::function<void()> on_ready;  ///< The source's first state is applied. May be empty.
};

/// Whether DPDK starts as the state says, tried in a child, as a process can start it only once.
/// For a process without threads.
[[nodiscard]] Result<void> try_dpdk(const DesiredState& state);

/// Starts what the switch stands on, in this order, and serves; the destructors stop it in the
/// opposite one. Returns the exit status.
[[nodiscard]] int run_daemon(const DaemonOptions& options, Underlay& underlay);

}  // namespace culvert::ctl
