// SPDX-License-Identifier: GPL-2.0-or-later
//
// The desired state of the switch, as a value. Every configuration source (the TOML file, later
// OVSDB) makes one of these; plan.hpp compares two of them; switch.hpp applies the difference.
// Defaults here are the documented ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/bond_config.hpp"
#include "ctl/config_item.hpp"
#include "ctl/daemon_config.hpp"
#include "ctl/tunnel_config.hpp"
#include "firewall/host.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

/// What becomes of a tunnel packet of which the host's rules give no definite answer.
enum class UnknownPolicy : std::uint8_t { accept, drop };

/// Which rules the daemon keeps in the host's firewall by itself.
enum class ManagePolicy : std::uint8_t {
    off,
    gre,      ///< GRE from everywhere.
    tunnels,  ///< The types of the tunnels there are, from their remote addresses.
};

struct FirewallConfig {   // [firewall]: backend needs a restart
    bool enforce = true;  ///< Tunnel packets have to be let in by the host's rules (INPUT).
    UnknownPolicy unknown = UnknownPolicy::accept;
    ManagePolicy manage = ManagePolicy::off;
    firewall::BackendChoice backend = firewall::BackendChoice::automatic;
    bool operator==(const FirewallConfig&) const = default;
};

/// "address/prefix" of a local port.
struct InterfaceAddress {
    tunnels::IpAddress address;
    std::uint8_t prefix_bits = 0;
    bool operator==(const InterfaceAddress&) const = default;
};

/// The bridge's own TAP device, named as the bridge, which carries the host's addresses.
struct LocalPortConfig {
    std::vector<InterfaceAddress>
        addresses;  ///< Added at creation; the kernel stays authority afterwards.
    std::optional<tunnels::MacAddress> mac;
    std::optional<std::uint32_t> mtu;  ///< 68-65535.
    VlanConfig vlan;
    bool up = true;  ///< Set the device up at creation.
    bool operator==(const LocalPortConfig&) const = default;
};

struct StaticMac {
    tunnels::MacAddress mac;
    std::uint16_t vlan = 0;
    std::string port;  ///< Name of a port, tunnel, or the bridge itself (its local port).
    Origin origin;
    bool operator==(const StaticMac&) const = default;
};

/// One way to reach an EID prefix (RFC 9300 section 3): a tunnel of an L3 type on the same bridge.
struct RlocConfig {  // [[bridge.eid.rloc]]
    std::string tunnel;
    std::uint8_t priority = 1;  ///< 0-255; the lowest usable one is taken, 255 never.
    std::uint8_t weight = 1;    ///< 0-100; flows spread in proportion over those of one priority.
    bool operator==(const RlocConfig&) const = default;
};

/// An entry of the map-cache: which RLOCs lead to the hosts of a prefix.
struct EidConfig {              // [[bridge.eid]]
    tunnels::IpAddress prefix;  ///< With the bits behind prefix_bits zero.
    std::uint8_t prefix_bits = 0;
    std::vector<RlocConfig> rlocs;  ///< 1-32.
    Origin origin;
    bool operator==(const EidConfig&) const = default;
};

struct BridgeConfig {  // [[bridge]]
    std::string name;  ///< 1-15 characters when it has a local port, else 1-63.
    std::optional<LocalPortConfig> local;
    std::uint32_t mac_ageing_s = 300;     ///< 10-1000000.
    std::uint32_t mac_table_size = 8192;  ///< 16-1000000; the oldest entry makes room.
    bool split_horizon = false;           ///< True: never forward from tunnel to tunnel.
    std::vector<StaticMac> static_macs;   // [[bridge.static_mac]]
    std::vector<EidConfig> eids;          ///< [[bridge.eid]]; needs a local port, the gateway.
    Origin origin;
    bool operator==(const BridgeConfig&) const = default;
};

enum class PortKind : std::uint8_t {
    linux_interface,
    tap,
    dpdk,
    patch  ///< A cable to the patch port `peer`, of another bridge mostly.
};         ///< kind = "linux" | "tap" | "dpdk" | "patch"

struct PortConfig {  // [[port]]
    std::string name;
    std::string bridge;
    PortKind kind = PortKind::linux_interface;
    std::string interface;  ///< linux: defaults to name. tap: the device's name, defaults to name.
    std::string devargs;    ///< dpdk only, required there.
    std::string peer;       ///< patch only, required there: the name of the other end.
    std::string bond;       ///< The bond whose member it is; empty: none. `bridge` is the bond's.
    LacpPortConfig lacp;    ///< Of a member.
    VlanConfig vlan;
    std::optional<std::uint32_t> mtu;        ///< Set on the device; absent: follow the device.
    std::optional<tunnels::MacAddress> mac;  ///< tap only.
    bool claim = true;     ///< linux only: keep the kernel's stack off the interface.
    bool hotplug = false;  ///< linux only: may be missing at start, joins when it appears.
    std::uint32_t rx_queues =
        0;  ///< dpdk only, 1-32; 0: as many as workers, if the device has them.
    std::vector<unsigned> rx_workers;  ///< Of receive queue i the i-th; empty: automatic.
    Origin origin;
    bool operator==(const PortConfig&) const = default;
};

struct DesiredState {
    DaemonConfig daemon;
    DpdkConfig dpdk;
    WorkerConfig workers;
    FlowCacheConfig flow_cache;
    FirewallConfig firewall;
    IkeDaemonConfig ike;
    std::vector<BridgeConfig> bridges;
    std::vector<PortConfig> ports;
    std::vector<BondConfig> bonds;
    std::vector<TunnelConfig> tunnels;
    bool hold = false;  ///< Everything is made, but no packet is taken (OVS: flow-restore-wait).
    /// TAP devices outlive the daemon with the host's addresses and routes, and the next one takes
    /// them over (a database's; those of a file vanish with the daemon).
    bool keep_devices = false;
    bool operator==(const DesiredState&) const = default;

    /// The same daemon with nothing to forward: what a start begins from.
    [[nodiscard]] DesiredState without_items() const {
        return {
            daemon, dpdk, workers, flow_cache, firewall, ike, {}, {}, {}, {}, false, keep_devices};
    }
};

}  // namespace culvert::ctl
