// SPDX-License-Identifier: GPL-2.0-or-later
//
// Everything a worker reads to forward packets, immutable once published. The control thread builds
// a new one for each change; workers adopt it at a quiescent point; the old one is freed after its
// grace period (rte_rcu_qsbr). Devices are shared_ptrs, so that a removed port closes only when no
// worker can still hold it.
#pragma once

#include <atomic>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "dataplane/admission.hpp"
#include "dataplane/bond_view.hpp"
#include "dataplane/l3_view.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/oversize.hpp"
#include "dataplane/peer_table.hpp"
#include "dataplane/port.hpp"
#include "dataplane/sa_table.hpp"
#include "tunnels/address.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/geneve_options.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {

using tunnels::DropReason;
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
    std::shared_ptr<Port> device;      ///< Null for a tunnel and for an interface that is away.
    std::uint32_t generation = 0;      ///< Flow entries of this ingress port are valid while equal.
    std::uint32_t mtu = 0;             ///< L3 bytes; 0: unlimited.
    std::uint16_t bridge = kPortNone;  ///< None for a bond's member: its packets are the bond's.
    std::uint16_t tunnel = kPortNone;  ///< Index into Snapshot::tunnels.
    std::uint16_t patch = kPortNone;   ///< Of a patch port that is up: its peer. It has no device.
    std::uint16_t bond = kPortNone;    ///< Of a bond or a member: index into Snapshot::bonds.
    bool up = false;
    bool carries_offloads = false;
    bool spread = false;  ///< A tunnel whose outer headers do not tell inner flows apart (GRE).
    bool is_l3 = false;   ///< A tunnel of bare IP packets: frames are routed to it, not bridged.
    BondRole bond_role = BondRole::none;
    MemberAdmits admits = MemberAdmits::nothing;
    DropReason refusal = DropReason::none;  ///< Of what a member does not admit.
    bool takes_lacp = false;                ///< A member whose LACPDUs are the slow path's.
    VlanView vlan;

    [[nodiscard]] bool is_tunnel() const noexcept { return tunnel != kPortNone; }
    [[nodiscard]] bool is_patch() const noexcept { return patch != kPortNone; }
    [[nodiscard]] bool is_bond() const noexcept { return bond_role == BondRole::bond; }
    /// Whether packets can be queued on it: a device's or a bond's, up.
    [[nodiscard]] bool sends() const noexcept { return (device || is_bond()) && up; }
};
static_assert(sizeof(PortView) == 64, "finding a port is a shift, and its view two lines at most");

struct BridgeView {
    MacAddress local_mac;
    bool terminates_tunnels = false;  ///< It has a local port: tunnel packets to its MAC are ours.
    bool split_horizon = false;
    std::uint16_t local_vlan = kVlanNone;
    std::uint16_t local_port = kPortNone;
    std::vector<std::uint16_t> members;  ///< Port indices.
    std::shared_ptr<const L3View> l3;    ///< Null: no tunnel of the bridge carries bare IP packets.
};

/// What a tunnel's receive side judges by, once the peer is found.
struct TunnelReceive {
    tunnels::Payload payload = tunnels::Payload::ethernet;
    bool admits_group_policy = false;         ///< VXLAN-GBP.
    std::optional<std::uint16_t> only_group;  ///< Frames with another policy id are dropped.
    bool udp6_zero_checksum = false;          ///< A zero UDP checksum over IPv6 is accepted.
    bool drop_late = false;                   ///< By sequence number.
    std::vector<tunnels::GeneveOptionType> known_options;
};

/// What transmit makes of each packet of a tunnel, beside the template.
struct TunnelTransmit {
    tunnels::Payload payload = tunnels::Payload::ethernet;
    bool inherit_tos = false;
    bool inherit_ttl = false;
    tunnels::EcnMode ecn = tunnels::EcnMode::normal;
    Oversize oversize = Oversize::ptb;
};

/// Sequence numbers of a tunnel (RFC 2890), shared by workers and outliving snapshots.
struct TunnelSequence {
    std::atomic<std::uint32_t> next_sent{0};
    std::atomic<std::uint64_t> last_received{kNothing};
    static constexpr std::uint64_t kNothing = ~std::uint64_t{0};

    /// Notes a received number; false when it is not above the last one (RFC 1982 arithmetic).
    [[nodiscard]] bool advance(std::uint32_t received) noexcept;
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
    /// IP bytes of the largest packet with the tunnel's headers, and of one on the wire: the same
    /// but where ESP adds to it.
    std::uint32_t underlay_mtu = 0;
    std::uint32_t wire_mtu = 0;
    std::shared_ptr<const EspPolicy> esp;  ///< Null: in clear.
    TunnelTransmit transmit;
    TunnelReceive receive;
    std::shared_ptr<TunnelSequence> sequence;

    /// Bytes of headers in front of what the tunnel carries, counted from the outer IP header.
    [[nodiscard]] std::uint32_t overhead() const noexcept {
        return std::uint32_t{header.length} - header.ip_offset;
    }
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
    std::vector<BondView> bonds;
    std::vector<Listener> listeners;
    PeerTable peers;
    SaTable associations;  ///< Inbound.
    std::unordered_set<IpAddress> local_addresses;
    std::shared_ptr<const Admission> admission;  ///< Null: every tunnel packet is let in.
    std::vector<std::vector<RxQueue>> rx;        ///< By worker.

    [[nodiscard]] const PortView* port(std::uint16_t index) const noexcept {
        return index < ports.size() ? &ports[index] : nullptr;
    }
};

}  // namespace culvert::dataplane
