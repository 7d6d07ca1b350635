// SPDX-License-Identifier: GPL-2.0-or-later
//
// libip4tc and libip6tc under the same names, so that what reads and writes iptables' tables is
// written once. Nothing here but names; for legacy_*.cpp.
#pragma once

#include <cstdint>

#include <libiptc/libiptc.h>
extern "C" {
#include <libiptc/libip6tc.h>
}

#include "firewall/address.hpp"

namespace culvert::firewall {

struct Iptc4 {
    using Entry = ipt_entry;
    using Header = ipt_ip;
    using Info = ipt_getinfo;
    using Entries = ipt_get_entries;
    static constexpr Family kFamily = Family::ipv4;
    static constexpr const char* kTool = "iptables-legacy";
    static constexpr const char* kModule = "ip_tables";
    static constexpr const char* kNamesFile = "/proc/thread-self/net/ip_tables_names";
    static constexpr int kSocketFamily = AF_INET;
    static constexpr int kSocketLevel = IPPROTO_IP;
    static constexpr int kGetInfo = IPT_SO_GET_INFO;
    static constexpr int kGetEntries = IPT_SO_GET_ENTRIES;
    static constexpr std::uint8_t kGotoFlag = IPT_F_GOTO;

    static constexpr auto kInit = iptc_init;
    static constexpr auto kFree = iptc_free;
    static constexpr auto kFirstChain = iptc_first_chain;
    static constexpr auto kNextChain = iptc_next_chain;
    static constexpr auto kFirstRule = iptc_first_rule;
    static constexpr auto kNextRule = iptc_next_rule;
    static constexpr auto kGetTarget = iptc_get_target;
    static constexpr auto kIsBuiltin = iptc_builtin;
    static constexpr auto kGetPolicy = iptc_get_policy;
    static constexpr auto kSetPolicy = iptc_set_policy;
    static constexpr auto kInsertEntry = iptc_insert_entry;
    static constexpr auto kDeleteEntry = iptc_delete_num_entry;
    static constexpr auto kCommit = iptc_commit;
    static constexpr auto kError = iptc_strerror;

    static const Header& header(const Entry& entry) { return entry.ip; }
    static Header& header(Entry& entry) { return entry.ip; }
};

struct Iptc6 {
    using Entry = ip6t_entry;
    using Header = ip6t_ip6;
    using Info = ip6t_getinfo;
    using Entries = ip6t_get_entries;
    static constexpr Family kFamily = Family::ipv6;
    static constexpr const char* kTool = "ip6tables-legacy";
    static constexpr const char* kModule = "ip6_tables";
    static constexpr const char* kNamesFile = "/proc/thread-self/net/ip6_tables_names";
    static constexpr int kSocketFamily = AF_INET6;
    static constexpr int kSocketLevel = IPPROTO_IPV6;
    static constexpr int kGetInfo = IP6T_SO_GET_INFO;
    static constexpr int kGetEntries = IP6T_SO_GET_ENTRIES;
    static constexpr std::uint8_t kGotoFlag = IP6T_F_GOTO;

    static constexpr auto kInit = ip6tc_init;
    static constexpr auto kFree = ip6tc_free;
    static constexpr auto kFirstChain = ip6tc_first_chain;
    static constexpr auto kNextChain = ip6tc_next_chain;
    static constexpr auto kFirstRule = ip6tc_first_rule;
    static constexpr auto kNextRule = ip6tc_next_rule;
    static constexpr auto kGetTarget = ip6tc_get_target;
    static constexpr auto kIsBuiltin = ip6tc_builtin;
    static constexpr auto kGetPolicy = ip6tc_get_policy;
    static constexpr auto kSetPolicy = ip6tc_set_policy;
    static constexpr auto kInsertEntry = ip6tc_insert_entry;
    static constexpr auto kDeleteEntry = ip6tc_delete_num_entry;
    static constexpr auto kCommit = ip6tc_commit;
    static constexpr auto kError = ip6tc_strerror;

    static const Header& header(const Entry& entry) { return entry.ipv6; }
    static Header& header(Entry& entry) { return entry.ipv6; }
};

// Flags that mean the same for both families.
static_assert(IPT_INV_VIA_IN == IP6T_INV_VIA_IN && IPT_INV_VIA_OUT == IP6T_INV_VIA_OUT);
static_assert(IPT_INV_SRCIP == IP6T_INV_SRCIP && IPT_INV_DSTIP == IP6T_INV_DSTIP);
static_assert(IPT_INV_PROTO == IP6T_INV_PROTO && IPT_INV_FRAG == IP6T_INV_FRAG);

}  // namespace culvert::firewall
