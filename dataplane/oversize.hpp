// SPDX-License-Identifier: GPL-2.0-or-later
//
// What happens to a packet that does not fit its tunnel. Any thread.
#pragma once

#include <cstdint>

namespace culvert::dataplane {

enum class Oversize : std::uint8_t {
    /// The sender of IPv6, or of IPv4 with DF, is told by ICMP (RFC 1191, RFC 8201); IPv4 without
    /// DF
    /// is fragmented as by a router.
    ptb,
    fragment_outer,  ///< The encapsulated packet is fragmented.
    fragment_inner,  ///< IPv4 without DF is fragmented inside the tunnel; the rest as ptb.
    clamp_mss,       ///< The MSS of passing TCP SYNs is lowered to fit; the rest as ptb.
    drop,            ///< Dropped and counted.
};

}  // namespace culvert::dataplane
