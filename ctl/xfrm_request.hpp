// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is told to the kernel of an SA that is used outside of it, as XFRM messages. The kernel
// takes sequence numbers only in the form that it keeps them in.
#pragma once

#include <cstdint>

#include "ctl/netlink_talk.hpp"
#include "ctl/xfrm.hpp"
#include "ctl/xfrm_mirror.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

/// XFRM_MSG_NEWAE: use and sequence number. When the SA was made stays as it is.
class XfrmUseRequest : public NetlinkRequest {
public:
    XfrmUseRequest(const SaUse& use, const XfrmMirror::Entry& entry);
};

/// XFRM_MSG_EXPIRE.
class XfrmExpireRequest : public NetlinkRequest {
public:
    XfrmExpireRequest(
        std::uint32_t spi,
        const tunnels::IpAddress& destination,
        bool hard,
        const XfrmMirror::Entry& entry
    );
};

}  // namespace culvert::ctl
