// SPDX-License-Identifier: GPL-2.0-or-later
//
// The switch as the control thread holds it: ports (devices, local ports, tunnels) and bridges by
// name and index, and the pure function that turns it into a worker's snapshot.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctl/bond_group.hpp"
#include "ctl/config.hpp"
#include "ctl/firewall_admission.hpp"
#include "ctl/link_facts.hpp"
#include "ctl/queue_map.hpp"
#include "ctl/resolver.hpp"
#include "ctl/slow_path.hpp"
#include "ctl/totals.hpp"
#include "ctl/tunnel_encryption.hpp"
#include "dataplane/snapshot.hpp"

namespace culvert::ctl {

enum class PortRole : std::uint8_t { device, local, tunnel, bond };

/// What is shown of a device and does not matter to forwarding.
struct DeviceStatus {
    bool enabled = false;           ///< Administratively up.
    bool running = false;           ///< It can carry packets.
    std::uint64_t link_resets = 0;  ///< Changes of `running` since the device was attached.
    LinkFacts facts;
    unsigned rx_queues = 1;
    unsigned tx_queues = 1;

    /// Takes the flags of an event; true when they are others than before.
    bool follow(const LinkEvent& link);
};

struct SwitchPort {
    std::string name;
    std::uint16_t index = 0;
    PortRole role = PortRole::device;
    std::uint16_t bridge = 0;  ///< Index.
    VlanConfig vlan;
    PortTotals before;             ///< Counters of the index when this port got it.
    std::uint32_t generation = 0;  ///< A change makes the flows that came in here invalid.

    // device and local
    PortConfig config;                        ///< local: kind tap, interface = the bridge's name.
    std::shared_ptr<dataplane::Port> device;  ///< Null while the interface is away.
    std::string driver;
    int ifindex = 0;  ///< 0 for DPDK devices.
    tunnels::MacAddress mac;
    std::uint32_t mtu = 0;
    bool up = false;
    DeviceStatus status;
    bool claimed = false;
    std::string trouble;  ///< Why it does not forward; empty: it does.
    int numa_node = kNumaNodeUnknown;
    std::vector<unsigned> rx_workers;  ///< By receive queue; empty: nobody polls the port.
    /// Of a bond's member with LACP: whether its partner is heard (Interface.lacp_current).
    std::optional<bool> lacp_current;

    // bond; `up`, `mtu` and `mac` are its members': any up, the least, the active one's (which is
    // Port.bond_active_slave; zero: none was ever active)
    BondConfig bond_config;
    std::shared_ptr<BondGroup> bond;
    std::uint16_t patch_peer = dataplane::kPortNone;  ///< Of a patch port that is up.

    /// Whether there is a device behind it, if it could be had.
    [[nodiscard]] bool has_a_device() const {
        return (role == PortRole::device && config.kind != PortKind::patch) ||
               role == PortRole::local;
    }

    // tunnel
    TunnelConfig tunnel;
    Resolution resolution;
    bool resolve_due = false;  ///< It is new or changed.
    std::shared_ptr<dataplane::TunnelSequence> sequence;
    std::optional<TunnelEncryption> encryption;  ///< Nothing: its packets are in clear.
    TunnelVerdict firewall;                      ///< What the host's rules say of its packets.
    std::uint32_t path_mtu = 0;  ///< Learnt from ICMP errors of the underlay; 0: nothing was.
    std::uint32_t path_mtu_until_s = 0;  ///< When that is forgotten.
    std::uint32_t probed_s = 0;          ///< When the neighbour was last asked for.
    std::uint32_t probe_at_s = 0;        ///< When to ask again without traffic.
    std::uint32_t probe_interval_s = 1;
};

struct SwitchBridge {
    std::uint16_t index = 0;
    BridgeConfig config;
    bool routes = false;  ///< It has L3 tunnels, so that frames for its local port are routed.
};

struct SwitchModel {
    std::map<std::uint16_t, SwitchPort> ports;  ///< By index.
    std::map<std::string, SwitchBridge> bridges;
    bool hold = false;  ///< No queue is polled.

    [[nodiscard]] SwitchPort* find_port(const std::string& name, bool local = false);
    /// Members of the bond that are there, in the order of its configuration.
    [[nodiscard]] std::vector<SwitchPort*> members_of(const BondConfig& bond);
    [[nodiscard]] const SwitchPort* find_port(std::uint16_t index) const;
    [[nodiscard]] const std::string* bridge_name(std::uint16_t index) const;
    /// The local port of a bridge, or null.
    [[nodiscard]] SwitchPort* local_port(std::uint16_t bridge);
    /// Local ports by interface index, for resolve().
    [[nodiscard]] std::map<int, LocalDevice> local_devices() const;
};

/// The device of a bridge's local port. Precondition: it has one.
[[nodiscard]] PortConfig local_port_config(const BridgeConfig& bridge);

[[nodiscard]] dataplane::VlanView make_vlan_view(const VlanConfig& config);

/// L3 bytes that the path to a tunnel's remote address carries: of its route or, when an ICMP error
/// said less, of that. Precondition: it has a route.
[[nodiscard]] std::uint32_t effective_path_mtu(const SwitchPort& tunnel);

/// The VLAN in which an untagged frame of such a port is.
[[nodiscard]] std::uint16_t untagged_vlan(const VlanConfig& config);

/// What the kernel says, by interface index.
struct HostFacts {
    std::map<int, std::set<tunnels::IpAddress>> addresses;
    /// Resolved neighbours behind the local ports of bridges that route.
    std::map<int, std::map<tunnels::IpAddress, tunnels::MacAddress>> neighbours;
    /// Their addresses with prefix lengths: the subnets of those hosts.
    std::map<int, std::vector<AddressEvent>> prefixes;
};

class SaDatabase;

/// `slow_path` finds the underlay's port of a next hop. A tunnel that is to be encrypted neither
/// sends nor accepts anything without `associations`.
[[nodiscard]] std::unique_ptr<dataplane::Snapshot> build_snapshot(
    const SwitchModel& model,
    const SlowPath& slow_path,
    const HostFacts& facts,
    unsigned workers,
    std::uint64_t version,
    const SaDatabase* associations = nullptr
);

}  // namespace culvert::ctl
