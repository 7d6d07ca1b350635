// SPDX-License-Identifier: GPL-2.0-or-later
//
// Everything a worker reads to forward packets, immutable once published. The control thread builds
// a new one for each change; workers adopt it at a quiescent point; the old one is freed after its
// grace period (rte_rcu_qsbr). Devices are shared_ptrs, so that a removed port closes only when no
// worker can still hold it.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "dataplane/limits.hpp"
#include "dataplane/port.hpp"
#include "tunnels/address.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {

using tunnels::IpAddress;
using tunnels::MacAddress;

/// VLAN membership of a port, ready for the packet path.
struct VlanView {
    std::uint16_t untagged_vlan = kVlanNone;  ///< VLAN of frames that arrive without a tag.
    bool accept_untagged = true;
    bool accept_tagged = true;
    bool send_untagged_vlan_tagged = false;              ///< native-tagged.
    std::shared_ptr<const std::bitset<4096>> carried{};  ///< VLANs carried; null: all.

    [[nodiscard]] bool carries(std::uint16_t vlan) const noexcept {
        return !carried || carried->test(vlan);
    }
    /// Whether a frame of `vlan` leaves with a tag.
    [[nodiscard]] bool tags(std::uint16_t vlan) const noexcept {
        return vlan != kVlanNone && (vlan != untagged_vlan || send_untagged_vlan_tagged);
    }
};

struct PortView {
    std::shared_ptr<Port> device;  ///< Null for a tunnel and for an interface that is away.
    std::uint32_t generation = 0;  ///< Flow entries of this ingress port are valid while equal.
    std::uint32_t mtu = 0;         ///< L3 bytes; 0: unlimited.
    std::uint16_t bridge = kPortNone;
    std::uint16_t tunnel = kPortNone;  ///< Index into Snapshot::tunnels.
    bool up = false;
    bool carries_offloads = false;
    VlanView vlan;

    [[nodiscard]] bool is_tunnel() const noexcept { return tunnel != kPortNone; }
};

struct BridgeView {
    MacAddress local_mac;
    bool terminates_tunnels = false;  ///< It has a local port: tunnel packets to its MAC are ours.
    bool split_horizon = false;
    std::uint16_t local_vlan = kVlanNone;
    std::vector<std::uint16_t> members;  ///< Port indices.
};

struct TunnelView {
    tunnels::EncapTemplate header;
    bool resolved = false;
    tunnels::DropReason unresolved =
        tunnels::DropReason::none;  ///< none: ask the slow path to resolve.
    std::uint16_t out_port =
        kPortNone;  ///< kPortNone: the next hop's port is unknown, flood `out_bridge`.
    std::uint16_t out_bridge = 0;
    std::uint16_t out_vlan = kVlanNone;
    std::uint32_t underlay_mtu = 0;
};

/// What identifies the tunnel of a received packet.
struct PeerKey {
    IpAddress local{};  ///< Unset: any.
    IpAddress remote{};
    std::uint32_t key = 0;
    std::uint16_t udp_port = 0;
    std::uint8_t protocol = 0;  ///< Index in tunnels::Protocols.
    std::uint8_t reserved = 0;
    bool operator==(const PeerKey&) const = default;
};
static_assert(sizeof(PeerKey) == 40);

[[nodiscard]] std::uint32_t hash(const PeerKey& key) noexcept;

/// Exact table of tunnel peers; open addressing, at most half full.
class PeerTable {
public:
    PeerTable() = default;
    struct Peer {
        PeerKey key;
        std::uint16_t port = kPortNone;
    };
    explicit PeerTable(const std::vector<Peer>& peers);

    /// The tunnel's port: one with this local address, else one for any. kPortNone when there is
    /// none.
    [[nodiscard]] std::uint16_t find(const PeerKey& key) const noexcept;
    /// Whether any tunnel of the protocol has this remote address (to tell "unknown key" from
    /// "unknown peer").
    [[nodiscard]] bool knows(std::uint8_t protocol, const IpAddress& remote) const noexcept;

private:
    [[nodiscard]] std::uint16_t find_exact(const PeerKey& key) const noexcept;

    std::vector<Peer> slots_;
    std::size_t mask_ = 0;
    bool any_local_ = false;
    bool specific_local_ = false;
    std::vector<std::unordered_set<IpAddress>> remotes_;
};

/// A tunnel type that at least one tunnel uses.
struct Listener {
    std::uint8_t ip_protocol = 0;
    std::uint8_t protocol = 0;  ///< Index in tunnels::Protocols.
    std::uint16_t udp_port = 0;
};

struct RxQueue {
    std::shared_ptr<Port> device;
    std::uint16_t port = kPortNone;
    std::uint16_t queue = 0;
};

struct Snapshot {
    std::uint64_t version = 0;
    std::vector<PortView> ports;  ///< By port index.
    std::vector<BridgeView> bridges;
    std::vector<TunnelView> tunnels;
    std::vector<Listener> listeners;
    PeerTable peers;
    std::unordered_set<IpAddress> local_addresses;
    std::vector<std::vector<RxQueue>> rx;  ///< By worker.

    [[nodiscard]] const PortView* port(std::uint16_t index) const noexcept {
        return index < ports.size() ? &ports[index] : nullptr;
    }
};

}  // namespace culvert::dataplane
