// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where messages for syslog go: the C library's syslog(3), a datagram socket of a syslog daemon, an
// address of one over UDP, or nowhere. Never waits: what the other side does not take is lost. The
// caller serialises.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// The number of syslog.h of a facility's name ("daemon", "local0"), already a multiple of 8.
[[nodiscard]] Result<int> parse_facility(std::string_view name);

class SyslogSender {
public:
    /// `method` is of ovs-vswitchd(8), --syslog-method: "libc", "null", "unix:FILE" or
    /// "udp:IP:PORT". `program` names the sender.
    [[nodiscard]] static Result<std::unique_ptr<SyslogSender>>
    open(const std::string& method, const std::string& program);

    SyslogSender() = default;
    virtual ~SyslogSender() = default;
    SyslogSender(const SyslogSender&) = delete;
    SyslogSender& operator=(const SyslogSender&) = delete;

    /// `priority` is facility | severity. One line.
    virtual void send(int priority, const std::string& text) = 0;
};

}  // namespace culvert::ctl
