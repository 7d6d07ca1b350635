// SPDX-License-Identifier: GPL-2.0-or-later
//
// The lock that iptables, ip6tables and whatever else changes their tables take: flock() on
// /run/xtables.lock, or on the file that XTABLES_LOCKFILE names. Any thread.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace culvert::firewall {

class XtablesLock {
public:
    /// Waits for another holder, whom the sentence names when `wait` was not long enough.
    [[nodiscard]] static tl::expected<XtablesLock, std::string>
    take(std::chrono::milliseconds wait = std::chrono::seconds(10));
    ~XtablesLock();
    XtablesLock(XtablesLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    XtablesLock(const XtablesLock&) = delete;
    XtablesLock& operator=(const XtablesLock&) = delete;
    XtablesLock& operator=(XtablesLock&&) = delete;

private:
    explicit XtablesLock(int fd) : fd_(fd) {}
    int fd_ = -1;
};

}  // namespace culvert::firewall
