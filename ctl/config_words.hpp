// SPDX-License-Identifier: GPL-2.0-or-later
//
// The words of a configuration file: its sections, their keys, and the values of keys that choose
// among words. A key is accepted when it stands here; docs/configuration.md lists the same ones and
// a test compares the two. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "ctl/config.hpp"

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
inline constexpr std::array<std::string_view, 14> kPortKeys{
    "name",
    "bridge",
    "kind",
    "interface",
    "devargs",
    "mtu",
    "mac",
    "claim",
    "hotplug",
    "rx_queues",
    "rx_workers",
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
inline constexpr Section kTunnelSection{"tunnel", true, kTunnelKeys};

inline constexpr std::array<std::string_view, 8> kSectionKeys{
    "daemon", "dpdk", "workers", "flow_cache", "firewall", "bridge", "port", "tunnel"};

template <class E>
struct Word {
    std::string_view word;
    E value;
};

inline constexpr std::array<Word<LogLevel>, 4> kLogLevelWords{{
    {"debug", LogLevel::debug},
    {"info", LogLevel::info},
    {"warning", LogLevel::warning},
    {"error", LogLevel::error},
}};
inline constexpr std::array<Word<Hugepages>, 2> kHugepagesWords{
    {{"auto", Hugepages::automatic}, {"never", Hugepages::never}}};
/// Value: does an idle worker sleep?
inline constexpr std::array<Word<bool>, 2> kIdleWords{{{"sleep", true}, {"poll", false}}};
inline constexpr std::array<Word<UnknownPolicy>, 2> kUnknownWords{
    {{"accept", UnknownPolicy::accept}, {"drop", UnknownPolicy::drop}}};
inline constexpr std::array<Word<ManagePolicy>, 3> kManageWords{{
    {"off", ManagePolicy::off},
    {"gre", ManagePolicy::gre},
    {"tunnels", ManagePolicy::tunnels},
}};
inline constexpr std::array<Word<firewall::BackendChoice>, 3> kBackendWords{{
    {"auto", firewall::BackendChoice::automatic},
    {"iptables-legacy", firewall::BackendChoice::legacy},
    {"nftables", firewall::BackendChoice::nft},
}};
inline constexpr std::array<Word<PortKind>, 3> kPortKindWords{{
    {"linux", PortKind::linux_interface},
    {"tap", PortKind::tap},
    {"dpdk", PortKind::dpdk},
}};
inline constexpr std::array<Word<VlanMode>, 4> kVlanModeWords{{
    {"trunk", VlanMode::trunk},
    {"access", VlanMode::access},
    {"native-untagged", VlanMode::native_untagged},
    {"native-tagged", VlanMode::native_tagged},
}};
/// What stands for an address or a key that a packet brings along.
inline constexpr std::string_view kFlowWord = "flow";
/// What stands for a TOS or TTL that is the inner packet's.
inline constexpr std::string_view kInheritWord = "inherit";
inline constexpr std::array<Word<tunnels::Payload>, 2> kPacketTypeWords{
    {{"l2", tunnels::Payload::ethernet}, {"l3", tunnels::Payload::ip}}};
inline constexpr std::array<Word<tunnels::EcnMode>, 2> kEcnWords{
    {{"normal", tunnels::EcnMode::normal}, {"compatibility", tunnels::EcnMode::compatibility}}};
inline constexpr std::array<Word<dataplane::Oversize>, 5> kOversizeWords{{
    {"ptb", dataplane::Oversize::ptb},
    {"fragment-outer", dataplane::Oversize::fragment_outer},
    {"fragment-inner", dataplane::Oversize::fragment_inner},
    {"clamp-mss", dataplane::Oversize::clamp_mss},
    {"drop", dataplane::Oversize::drop},
}};
inline constexpr std::array<Word<LatePolicy>, 2> kLateWords{
    {{"accept", LatePolicy::accept}, {"drop", LatePolicy::drop}}};

template <class E, std::size_t N>
[[nodiscard]] constexpr std::string_view
word_of(const std::array<Word<E>, N>& words, E value) noexcept {
    for (const Word<E>& word : words) {
        if (word.value == value) {
            return word.word;
        }
    }
    return {};
}

}  // namespace culvert::ctl
