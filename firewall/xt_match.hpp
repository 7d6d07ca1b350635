// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the readers of the xt matches share: a match with the rule that it becomes a part of, and
// the conditions that many of them put down. The readers' own files follow the kernel's xt_*.c in
// what holds when; a comment there says where that surprises. For extension.cpp; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firewall/extension.hpp"

namespace culvert::firewall::xt {

constexpr std::uint8_t kProtocolIcmp = 1;
constexpr std::uint8_t kProtocolIcmp6 = 58;
/// The protocols whose headers begin with two ports.
constexpr std::initializer_list<std::uint8_t> kProtocolsWithPorts = {
    kProtocolTcp, kProtocolUdp, kProtocolDccp, kProtocolSctp, kProtocolUdpLite};

/// struct xt_sctp_info, whose own header is C and no C++.
struct SctpInfo {
    std::uint16_t dpts[2];
    std::uint16_t spts[2];
    std::uint32_t chunk_map[64];
    std::uint32_t chunk_match_type;
    std::uint8_t flag_info[4][3];
    std::int32_t flag_count;
    std::uint32_t flags;
    std::uint32_t invflags;
};
static_assert(sizeof(SctpInfo) == 292);

// What is put down of a rule.

/// Appends to the rule's text, behind a space.
void say(Rule& rule, std::string_view text);
/// The field, masked, is in one of the intervals, or in none of them.
void where(
    Rule& rule,
    Field field,
    std::vector<Interval> intervals,
    bool negated = false,
    Value mask = ~Value{0}
);
/// Holds for no packet.
void never(Rule& rule);

/// A match that is being read. What its reader cannot tell becomes unknown(), never nothing.
struct Reading {
    const Extension& match;
    Family family;
    IpsetReader& sets;
    Rule& rule;

    void say(std::string_view text) const { xt::say(rule, text); }
    void where(
        Field field, std::vector<Interval> intervals, bool negated = false, Value mask = ~Value{0}
    ) const {
        xt::where(rule, field, std::move(intervals), negated, mask);
    }
    void never() const { xt::never(rule); }
    /// Left out where the rule asks for just that already.
    void where_protocol(std::initializer_list<std::uint8_t> protocols) const;
    /// "match NAME", and `part` of it where the rest is known.
    void unknown(std::string_view part = {}) const;
};

/// The bytes of a match as the structure of its revision; nothing when they have another size. The
/// kernel pads them to eight bytes, nftables' listing of some versions does not.
template <class T>
[[nodiscard]] std::optional<T> info_of(std::span<const std::byte> info) {
    constexpr std::size_t kPadded = (sizeof(T) + 7) / 8 * 8;
    if (info.size() != sizeof(T) && info.size() != kPadded) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, info.data(), sizeof(T));
    return value;
}

/// The name that an array of bytes holds, which a zero may end; control characters become '?'.
[[nodiscard]] std::string printable(std::string_view bytes);
/// As iptables writes a string into its listing, with quotes where a shell needs them.
[[nodiscard]] std::string quoted(std::string_view text);
/// "0x2f".
[[nodiscard]] std::string hexadecimal(std::uint32_t value);

// A reader answers false when the revision, or the size of the bytes, is not one that it knows; it
// has appended nothing then.
bool read_tcp(const Reading& reading);
bool read_udp(const Reading& reading);  ///< And UDP-Lite.
bool read_sctp(const Reading& reading);
bool read_dccp(const Reading& reading);
bool read_multiport(const Reading& reading);

bool read_conntrack(const Reading& reading);
bool read_state(const Reading& reading);
bool read_mark(const Reading& reading);
bool read_set(const Reading& reading);
bool read_addrtype(const Reading& reading);
bool read_iprange(const Reading& reading);
bool read_icmp(const Reading& reading);  ///< And ICMPv6.
bool read_esp(const Reading& reading);

bool read_comment(const Reading& reading);
bool read_limit(const Reading& reading);
bool read_hashlimit(const Reading& reading);

}  // namespace culvert::firewall::xt
