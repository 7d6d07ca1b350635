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

#include "dataplane/limits.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

/// Where an item was written, for messages: "file:line". Not part of equality.
struct Origin {
    std::string file;
    std::uint32_t line = 0;
    constexpr bool operator==(const Origin&) const noexcept { return true; }
};

enum class LogLevel : std::uint8_t { debug, info, warning, error };

struct DaemonConfig {  // [daemon]: changes need a restart, except log_level
    std::string socket = "/run/culvert/culvertd.ctl";  ///< Control socket.
    LogLevel log_level = LogLevel::info;
    std::string log_file;                ///< Empty: stderr.
    std::vector<unsigned> control_cpus;  ///< Empty: every CPU the process may use.
    bool operator==(const DaemonConfig&) const = default;
};

enum class Hugepages : std::uint8_t { automatic, never };

struct DpdkConfig {                       // [dpdk]: changes need a restart
    std::string file_prefix;              ///< Empty: culvert-PID.
    std::vector<std::string> extra_args;  ///< Appended to the EAL arguments.
    std::uint32_t memory_mb = 0;          ///< 0: what the pools need.
    Hugepages hugepages = Hugepages::automatic;
    std::uint32_t mbufs = 16384;  ///< Packet buffers, 4096-1048576.
    bool operator==(const DpdkConfig&) const = default;
};

struct WorkerConfig {            // [workers]: changes need a restart
    std::uint32_t count = 0;     ///< 0: one per entry of cpus, or 1.
    std::vector<unsigned> cpus;  ///< Worker i is pinned to cpus[i]; empty: not pinned.
    bool idle_sleep = true;      ///< False: busy-poll.
    std::uint32_t idle_sleep_us =
        200;  ///< Longest sleep while a polled (DPDK) port exists, 1-10000.
    bool operator==(const WorkerConfig&) const = default;
};

struct FlowCacheConfig {                                 // [flow_cache]: max_flows needs a restart
    std::uint32_t max_flows = dataplane::kFlowsDefault;  ///< kFlowsMin-kFlowsMax.
    std::uint32_t idle_timeout_s = 10;  ///< An entry unused for this long is removed, 1-3600.
    bool operator==(const FlowCacheConfig&) const = default;
};

/// VLAN membership of a port.
enum class VlanMode : std::uint8_t {
    trunk,   ///< Carries `trunks` (all when empty), tagged; untagged frames belong to VLAN 0.
    access,  ///< Carries `tag` only, untagged.
    native_untagged,  ///< A trunk on which `tag` is the untagged VLAN.
    native_tagged,    ///< As native_untagged, but sends `tag` tagged (accepts both).
};

struct VlanConfig {
    VlanMode mode = VlanMode::trunk;
    std::uint16_t tag = 0;  ///< 1-4094 unless mode is trunk.
    std::vector<std::uint16_t>
        trunks;  ///< Sorted, unique, 0-4094 (0 = untagged frames), `tag` included; empty: all.
    bool operator==(const VlanConfig&) const = default;
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

struct BridgeConfig {  // [[bridge]]
    std::string name;  ///< 1-15 characters when it has a local port, else 1-63.
    std::optional<LocalPortConfig> local;
    std::uint32_t mac_ageing_s = 300;     ///< 10-1000000.
    std::uint32_t mac_table_size = 8192;  ///< 16-1000000; the oldest entry makes room.
    bool split_horizon = false;           ///< True: never forward from tunnel to tunnel.
    std::vector<StaticMac> static_macs;   // [[bridge.static_mac]]
    Origin origin;
    bool operator==(const BridgeConfig&) const = default;
};

enum class PortKind : std::uint8_t {
    linux_interface,
    tap,
    dpdk
};  ///< kind = "linux" | "tap" | "dpdk"

struct PortConfig {  // [[port]]
    std::string name;
    std::string bridge;
    PortKind kind = PortKind::linux_interface;
    std::string interface;  ///< linux: defaults to name. tap: the device's name, defaults to name.
    std::string devargs;    ///< dpdk only, required there.
    VlanConfig vlan;
    std::optional<std::uint32_t> mtu;        ///< Set on the device; absent: follow the device.
    std::optional<tunnels::MacAddress> mac;  ///< tap only.
    bool claim = true;            ///< linux only: keep the kernel's stack off the interface.
    bool hotplug = false;         ///< linux only: may be missing at start, joins when it appears.
    std::uint32_t rx_queues = 1;  ///< dpdk only, 1-32.
    Origin origin;
    bool operator==(const PortConfig&) const = default;
};

struct TunnelConfig {  // [[tunnel]]
    std::string name;
    std::string bridge;
    std::string type;  ///< kName of a protocol in tunnels/protocols.hpp.
    tunnels::IpAddress remote_ip;
    std::optional<tunnels::IpAddress>
        local_ip;  ///< Absent: the route's source address; any is accepted.
    std::optional<std::uint32_t>
        in_key;  ///< `key` sets both; absent: none (GRE without key, VNI 0).
    std::optional<std::uint32_t> out_key;
    std::uint16_t dst_port = 0;  ///< 0 for protocols without UDP; else filled with the default.
    std::uint8_t tos = 0;        ///< Low two bits zero.
    std::uint8_t ttl = 64;       ///< 1-255.
    bool df = true;
    bool csum = false;  ///< Send UDP checksums over IPv4 too.
    VlanConfig vlan;
    Origin origin;
    bool operator==(const TunnelConfig&) const = default;
};

struct DesiredState {
    DaemonConfig daemon;
    DpdkConfig dpdk;
    WorkerConfig workers;
    FlowCacheConfig flow_cache;
    std::vector<BridgeConfig> bridges;
    std::vector<PortConfig> ports;
    std::vector<TunnelConfig> tunnels;
    bool operator==(const DesiredState&) const = default;

    /// The same daemon with nothing to forward: what a start begins from.
    [[nodiscard]] DesiredState without_items() const {
        return {daemon, dpdk, workers, flow_cache, {}, {}, {}};
    }
};

}  // namespace culvert::ctl
