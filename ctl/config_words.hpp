// SPDX-License-Identifier: GPL-2.0-or-later
//
// The values of keys that choose among words, and with config_sections.hpp all words of a
// configuration file. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "ctl/config.hpp"
#include "ctl/config_sections.hpp"

namespace culvert::ctl {

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
inline constexpr std::array<Word<PortKind>, 4> kPortKindWords{{
    {"linux", PortKind::linux_interface},
    {"tap", PortKind::tap},
    {"dpdk", PortKind::dpdk},
    {"patch", PortKind::patch},
}};
inline constexpr std::array<Word<VlanMode>, 4> kVlanModeWords{{
    {"trunk", VlanMode::trunk},
    {"access", VlanMode::access},
    {"native-untagged", VlanMode::native_untagged},
    {"native-tagged", VlanMode::native_tagged},
}};
inline constexpr std::array<Word<BondMode>, 3> kBondModeWords{{
    {"active-backup", BondMode::active_backup},
    {"balance-slb", BondMode::balance_slb},
    {"balance-tcp", BondMode::balance_tcp},
}};
inline constexpr std::array<Word<LacpMode>, 3> kLacpWords{
    {{"off", LacpMode::off}, {"passive", LacpMode::passive}, {"active", LacpMode::active}}};
/// Value: is it fast?
inline constexpr std::array<Word<bool>, 2> kLacpTimeWords{{{"slow", false}, {"fast", true}}};
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
inline constexpr std::array<Word<EspMode>, 2> kEspModeWords{
    {{"transport", EspMode::transport}, {"tunnel", EspMode::tunnel}}};
inline constexpr std::array<Word<IkeControl>, 2> kIkeControlWords{
    {{"vici", IkeControl::vici}, {"follow", IkeControl::follow}}};

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
