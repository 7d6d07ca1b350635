// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's ESP security associations by XFRM netlink (linux/xfrm.h), followed live; and what is
// told back: how much they were used, so that the IKE daemon sees it, and that one should be
// replaced. Control thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ctl/kernel_sa.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// How an SA was used since it was made.
struct SaUse {
    std::uint32_t spi = 0;
    tunnels::IpAddress destination;
    std::uint64_t bytes = 0;
    std::uint64_t packets = 0;
    std::uint64_t used_s = 0;    ///< Seconds since the epoch of the last packet; 0: none.
    std::uint64_t sequence = 0;  ///< Outbound: last sent (or reserved); inbound: highest.
    bool outbound = false;
};

class Xfrm {
public:
    virtual ~Xfrm() = default;
    /// Non-blocking socket, readable when events wait.
    [[nodiscard]] virtual int event_fd() const = 0;
    /// What waits, in the kernel's order. An event may repeat what is known: an SA that was there
    /// already has other properties, or none of them changed. After an overrun everything is read
    /// anew, with removals. To be called about once a second even when nothing waits, which costs
    /// one system call: a reading anew that failed is tried again then.
    virtual std::vector<XfrmEvent> read_events() = 0;
    /// XFRM_MSG_NEWAE. An error, too, when the kernel has removed the SA meanwhile.
    [[nodiscard]] virtual Result<void> note_use(const SaUse& use) = 0;
    /// XFRM_MSG_EXPIRE: soft asks the IKE daemon for a new one, hard ends this one, of which an
    /// event tells. An error as of note_use().
    [[nodiscard]] virtual Result<void>
    expire(std::uint32_t spi, const tunnels::IpAddress& destination, bool hard) = 0;
};

/// Opens the sockets in the caller's network namespace; the first read_events(), for which the
/// event socket need not be readable, has what there is. An error when the kernel has no XFRM, or
/// this process may not read it (CAP_NET_ADMIN).
[[nodiscard]] Result<std::unique_ptr<Xfrm>> open_xfrm();

}  // namespace culvert::ctl
