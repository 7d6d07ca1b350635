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

inline constexpr std::array<std::string_view, 5> kDaemonKeys{
    "socket", "log_level", "log_file", "control_cpus", "state_dir"};
inline constexpr std::array<std::string_view, 5> kDpdkKeys{
    "file_prefix", "extra_args", "memory_mb", "hugepages", "mbufs"};
inline constexpr std::array<std::string_view, 5> kWorkersKeys{
    "count", "cpus", "idle", "idle_sleep_us", "spread"};
inline constexpr std::array<std::string_view, 2> kFlowCacheKeys{"max_flows", "idle_timeout_s"};
inline constexpr std::array<std::string_view, 4> kFirewallKeys{
    "enforce", "unknown", "manage", "backend"};
inline constexpr std::array<std::string_view, 9> kIkeKeys{
    "control",
    "vici",
    "certificate",
    "private_key",
    "ca_cert",
    "proposals",
    "esp_proposals",
    "rekey_s",
    "dpd_s"};
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
/// `esp` and `ike` are sections of their own inside a tunnel.
inline constexpr std::array<std::string_view, 33> kTunnelKeys{
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
    "trunks",
    "esp",
    "ike"};
inline constexpr std::array<std::string_view, 15> kTunnelEspKeys{
    "algorithm",
    "mode",
    "spi_in",
    "spi_out",
    "key_in_file",
    "key_out_file",
    "esn",
    "replay_window",
    "udp_encap",
    "soft_bytes",
    "soft_packets",
    "soft_s",
    "hard_bytes",
    "hard_packets",
    "hard_s"};
inline constexpr std::array<std::string_view, 4> kTunnelIkeKeys{
    "psk_file", "remote_cert", "remote_name", "udp_encap"};
/// In place of `true` for udp_encap of [tunnel.esp].
inline constexpr std::array<std::string_view, 2> kUdpEncapKeys{"local_port", "remote_port"};

inline constexpr Section kDaemonSection{"daemon", false, kDaemonKeys};
inline constexpr Section kDpdkSection{"dpdk", false, kDpdkKeys};
inline constexpr Section kWorkersSection{"workers", false, kWorkersKeys};
inline constexpr Section kFlowCacheSection{"flow_cache", false, kFlowCacheKeys};
inline constexpr Section kFirewallSection{"firewall", false, kFirewallKeys};
inline constexpr Section kIkeSection{"ike", false, kIkeKeys};
inline constexpr Section kBridgeSection{"bridge", true, kBridgeKeys};
inline constexpr Section kBridgeLocalSection{"bridge.local", false, kBridgeLocalKeys};
inline constexpr Section kStaticMacSection{"bridge.static_mac", true, kStaticMacKeys};
inline constexpr Section kEidSection{"bridge.eid", true, kEidKeys};
inline constexpr Section kRlocSection{"bridge.eid.rloc", true, kRlocKeys};
inline constexpr Section kPortSection{"port", true, kPortKeys};
inline constexpr Section kBondSection{"bond", true, kBondKeys};
inline constexpr Section kTunnelSection{"tunnel", true, kTunnelKeys};
inline constexpr Section kTunnelEspSection{"tunnel.esp", false, kTunnelEspKeys};
inline constexpr Section kTunnelIkeSection{"tunnel.ike", false, kTunnelIkeKeys};
inline constexpr Section kUdpEncapSection{"tunnel.esp.udp_encap", false, kUdpEncapKeys};

inline constexpr std::array<std::string_view, 10> kSectionKeys{
    "daemon",
    "dpdk",
    "workers",
    "flow_cache",
    "firewall",
    "ike",
    "bridge",
    "port",
    "bond",
    "tunnel"};

}  // namespace culvert::ctl
