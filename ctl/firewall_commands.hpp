// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands about the host's firewall: what INPUT says of tunnel packets, and rules that open
// it. They read and write the kernel's tables themselves, so that they work before the daemon does,
// in a start-up script. Each call blocks, while another tool holds the lock of the tables too.
#pragma once

#include "ctl/local_command.hpp"

namespace culvert::ctl {

/// enable-protocol, with --dry-run and --compat.
[[nodiscard]] LocalAnswer enable_protocol(const LocalCall& call, const MakeFirewall& make);
/// enable-protocol --compat=ovs-ctl.
[[nodiscard]] LocalAnswer enable_like_ovs_ctl(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer disable_protocol(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer list_protocols(const LocalCall& call, const MakeFirewall& make);
[[nodiscard]] LocalAnswer check_protocol(const LocalCall& call, const MakeFirewall& make);
/// firewall explain.
[[nodiscard]] LocalAnswer explain_packet(const LocalCall& call, const MakeFirewall& make);

}  // namespace culvert::ctl
