// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tells the service manager how the daemon is doing (the protocol of sd_notify(3), Type=notify and
// Type=notify-reload): one datagram of NAME=VALUE lines to the socket named by NOTIFY_SOCKET, a
// path or, with a leading '@', an abstract name. Without that variable nothing is sent. Does not
// pass file descriptors and does not speak to vsock managers. The control thread calls it.
#pragma once

#include <string_view>

namespace culvert::ctl {

/// Sends `state`, e.g. "READY=1\nSTATUS=2 bridges". Returns whether a manager took it; a daemon
/// works without one, so ignoring that is normal.
bool sd_notify(std::string_view state) noexcept;

/// "READY=1" with a status line for `systemctl status`; also ends a reload.
bool sd_notify_ready(std::string_view status);

/// "RELOADING=1" with the MONOTONIC_USEC stamp that Type=notify-reload needs.
bool sd_notify_reloading();

/// "STOPPING=1".
bool sd_notify_stopping() noexcept;

}  // namespace culvert::ctl
