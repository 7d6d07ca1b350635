// SPDX-License-Identifier: GPL-2.0-or-later
//
// The question whether the host lets a tunnel packet in, as the packet path asks it: the answer is
// the host's firewall's, which the kernel cannot give for packets that bypass it. Asked once for
// each peer, or flow where rules read the sender's port, and kept until the next snapshot
// (admission_memo.hpp). Immutable; any worker asks.
#pragma once

#include <cstdint>

#include "tunnels/address.hpp"

namespace culvert::dataplane {

/// The outer headers of a tunnel packet.
struct AdmissionQuestion {
    tunnels::IpAddress source;
    tunnels::IpAddress destination;
    std::uint16_t source_port = 0;  ///< 0 where the protocol has none.
    std::uint16_t destination_port = 0;
    std::uint16_t bridge =
        0;  ///< Index into Snapshot::bridges: its local device is where it comes in.
    std::uint8_t protocol = 0;
    bool operator==(const AdmissionQuestion&) const = default;
};

struct Admitted {
    bool yes = true;
    bool holds_for_peer = true;  ///< Whatever the source port is; else for this flow.
};

class Admission {
public:
    virtual ~Admission() = default;
    [[nodiscard]] virtual Admitted judge(const AdmissionQuestion& question) const noexcept = 0;
};

}  // namespace culvert::dataplane
