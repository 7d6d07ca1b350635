// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which tunnel a received packet belongs to: an exact table, asked once for each level of
// specificity that some tunnel uses (nearly always one). The levels and their order are Open
// vSwitch's (ofproto/tunnel.c tnl_find): an exact key before any key; within that an exact remote
// before any; within that the configured local address, then none configured, then "flow". Built by
// the control thread, read by workers.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "dataplane/limits.hpp"
#include "tunnels/address.hpp"
#include "tunnels/protocol.hpp"

namespace culvert::dataplane {

using tunnels::IpAddress;

/// What identifies the tunnel of a received packet.
struct PeerKey {
    IpAddress local{};
    IpAddress remote{};
    std::uint32_t key = 0;
    std::uint16_t udp_port = 0;
    std::uint8_t protocol = 0;  ///< Index in tunnels::Protocols.
    tunnels::Payload payload = tunnels::Payload::ethernet;
    bool operator==(const PeerKey&) const = default;
};
static_assert(sizeof(PeerKey) == 40);

/// Which parts of the key a tunnel leaves open.
struct PeerMatch {
    enum class Local : std::uint8_t { configured, any, flow };
    Local local = Local::any;
    bool any_remote = false;  ///< remote_ip = "flow".
    bool any_key = false;     ///< in_key = "flow".
    bool nvgre_key = false;  ///< The upper 24 bits of the received key are the tunnel's (RFC 7637).

    /// 0 is asked first. NVGRE comes after the same level without it.
    [[nodiscard]] constexpr std::uint8_t level() const noexcept {
        const unsigned open = (any_key ? 6U : 0U) + (any_remote ? 3U : 0U);
        return static_cast<std::uint8_t>(
            (open + static_cast<unsigned>(local)) * 2U + (nvgre_key ? 1U : 0U)
        );
    }
};
inline constexpr std::size_t kPeerLevels = 24;

/// Exact table of tunnel peers; open addressing, at most half full.
class PeerTable {
public:
    PeerTable() = default;
    /// Members of `key` that `match` leaves open are ignored.
    struct Peer {
        PeerKey key;
        std::uint16_t port = kPortNone;
        PeerMatch match{};
    };
    explicit PeerTable(const std::vector<Peer>& peers);

    /// The port of the most specific tunnel that matches a received packet; kPortNone when none
    /// does.
    [[nodiscard]] std::uint16_t find(const PeerKey& key) const noexcept;
    /// Whether any tunnel of the protocol has this remote address (to tell "unknown key" from
    /// "unknown peer").
    [[nodiscard]] bool knows(std::uint8_t protocol, const IpAddress& remote) const noexcept;

private:
    struct Slot {
        PeerKey key;
        std::uint16_t port = kPortNone;
        std::uint8_t level = 0;
    };
    [[nodiscard]] std::uint16_t find_exact(const PeerKey& key, std::uint8_t level) const noexcept;

    std::vector<Slot> slots_;
    std::size_t mask_ = 0;
    std::vector<PeerMatch> levels_;  ///< Those in use, in the order they are asked.
    std::vector<std::unordered_set<IpAddress>> remotes_;  ///< By protocol.
    std::vector<bool> any_remote_;                        ///< By protocol.
};

}  // namespace culvert::dataplane
