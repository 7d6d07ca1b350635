// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sections of a configuration file and their keys. A key is accepted when it stands here;
// docs/configuration.md lists the same ones and a test compares the two. Any thread.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace culvert::ctl {

struct Section {
    std::string_view name;
    bool is_list;  ///< Written [[name]], once for each item; else [name], once.
    std::span<const std::string_view> keys;

    [[nodiscard]] std::string title() const {
        return (is_list ? "[[" : "[") + std::string(name) + (is_list ? "]]" : "]");
    }
};

inline constexpr std::array<std::string_view, 4> kDaemonKeys{
    "socket", "log_level", "log_file", "control_cpus"};
inline constexpr std::array<std::string_view, 5> kDpdkKeys{
    "file_prefix", "extra_args", "memory_mb", "hugepages", "mbufs"};
inline constexpr std::array<std::string_view, 5> kWorkersKeys{
    "count", "cpus", "idle", "idle_sleep_us", "spread"};
inline constexpr std::array<std::string_view, 2> kFlowCacheKeys{"max_flows", "idle_timeout_s"};
inline constexpr std::array<std::string_view, 4> kFirewallKeys{
    "enforce", "unknown", "manage", "backend"};
/// `local`, `static_mac` and `eid` are sections of their own inside a bridge.
inline constexpr std::array<std::string_view, 7> kBridgeKeys{
    "name", "mac_ageing_s", "mac_table_size", "split_horizon", "local", "static_mac", "eid"};
inline constexpr std::array<std::string_view, 7> kBridgeLocalKeys{
    "addresses", "mac", "mtu", "up", "vlan_mode", "tag", "trunks"};
inline constexpr std::array<std::string_view, 3> kStaticMacKeys{"mac", "vlan", "port"};
/// `rloc` is a section of its own inside an EID.
inline constexpr std::array<std::string_view, 2> kEidKeys{"prefix", "rloc"};
inline constexpr std::array<std::string_view, 3> kRlocKeys{"tunnel", "priority", "weight"};
inline constexpr std::array<std::string_view, 15> kPortKeys{
    "name",
    "bridge",
    "kind",
    "interface",
    "devargs",
    "peer",
    "mtu",
    "mac",
    "claim",
    "hotplug",
    "rx_queues",
    "rx_workers",
    "vlan_mode",
    "tag",
    "trunks"};
inline constexpr std::array<std::string_view, 17> kBondKeys{
    "name",
    "bridge",
    "members",
    "mode",
    "lacp",
    "updelay_ms",
    "downdelay_ms",
    "rebalance_ms",
    "hash_basis",
    "primary",
    "lacp_time",
    "lacp_fallback_ab",
    "lacp_system_id",
    "lacp_system_priority",
    "vlan_mode",
    "tag",
    "trunks"};
inline constexpr std::array<std::string_view, 31> kTunnelKeys{
    "name",
    "bridge",
    "type",
    "packet_type",
    "remote_ip",
    "local_ip",
    "key",
    "in_key",
    "out_key",
    "nvgre",
    "dst_port",
    "src_port_min",
    "src_port_max",
    "tos",
    "ttl",
    "df",
    "csum",
    "udp6_zero_csum_rx",
    "udp6_zero_csum_tx",
    "egress_mark",
    "ecn",
    "oversize",
    "seq",
    "late",
    "gbp",
    "gbp_id",
    "gbp_admit",
    "options",
    "vlan_mode",
    "tag",
    "trunks"};

inline constexpr Section kDaemonSection{"daemon", false, kDaemonKeys};
inline constexpr Section kDpdkSection{"dpdk", false, kDpdkKeys};
inline constexpr Section kWorkersSection{"workers", false, kWorkersKeys};
inline constexpr Section kFlowCacheSection{"flow_cache", false, kFlowCacheKeys};
inline constexpr Section kFirewallSection{"firewall", false, kFirewallKeys};
inline constexpr Section kBridgeSection{"bridge", true, kBridgeKeys};
inline constexpr Section kBridgeLocalSection{"bridge.local", false, kBridgeLocalKeys};
inline constexpr Section kStaticMacSection{"bridge.static_mac", true, kStaticMacKeys};
inline constexpr Section kEidSection{"bridge.eid", true, kEidKeys};
inline constexpr Section kRlocSection{"bridge.eid.rloc", true, kRlocKeys};
inline constexpr Section kPortSection{"port", true, kPortKeys};
inline constexpr Section kBondSection{"bond", true, kBondKeys};
inline constexpr Section kTunnelSection{"tunnel", true, kTunnelKeys};

inline constexpr std::array<std::string_view, 9> kSectionKeys{
    "daemon", "dpdk", "workers", "flow_cache", "firewall", "bridge", "port", "bond", "tunnel"};

}  // namespace culvert::ctl
