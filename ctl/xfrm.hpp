// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's ESP security associations by XFRM netlink (linux/xfrm.h), followed live; and what is
// told back: how much they were used, so that the IKE daemon sees it, and that one should be
// replaced. Control thread only. The parser is pure, for tests and fuzzing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ctl/kernel_sa.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// Parses one or more XFRM messages (NEWSA, UPDSA, DELSA, EXPIRE, FLUSHSA as far as they are of
/// ESP). Larval SAs and unknown messages are passed over; a truncated or contradictory message ends
/// the parse (what came before is kept). Never reads outside `bytes`.
[[nodiscard]] std::vector<XfrmEvent> parse_xfrm(std::span<const std::byte> bytes);

/// How an SA was used since it was made.
struct SaUse {
    std::uint32_t spi = 0;
    tunnels::IpAddress destination;
    std::uint64_t bytes = 0;
    std::uint64_t packets = 0;
    std::uint64_t used_s = 0;    ///< Seconds since the epoch of the last packet; 0: none.
    std::uint64_t sequence = 0;  ///< Outbound: last sent (or reserved); inbound: highest.
    bool outbound = false;
    bool extended = false;
    std::uint32_t replay_window = 0;
};

class Xfrm {
public:
    virtual ~Xfrm() = default;
    /// Non-blocking socket, readable when events wait.
    [[nodiscard]] virtual int event_fd() const = 0;
    /// What waits, in the kernel's order; after an overrun everything is read anew, with removals.
    virtual std::vector<XfrmEvent> read_events() = 0;
    /// XFRM_MSG_NEWAE.
    [[nodiscard]] virtual Result<void> note_use(const SaUse& use) = 0;
    /// XFRM_MSG_EXPIRE: soft asks the IKE daemon for a new one, hard ends this one.
    [[nodiscard]] virtual Result<void>
    expire(std::uint32_t spi, const tunnels::IpAddress& destination, bool hard) = 0;
};

/// Opens the sockets in the caller's network namespace; the first read_events() has what there is.
/// An error when the kernel has no XFRM.
[[nodiscard]] Result<std::unique_ptr<Xfrm>> open_xfrm();

}  // namespace culvert::ctl
