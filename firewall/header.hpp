// SPDX-License-Identifier: GPL-2.0-or-later
//
// What rules can read of a packet that comes to the host: the outer headers of a tunnel packet, and
// what netfilter knows beside them. Values; any thread.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "firewall/address.hpp"

namespace culvert::firewall {

constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint8_t kProtocolDccp = 33;
constexpr std::uint8_t kProtocolGre = 47;
constexpr std::uint8_t kProtocolEsp = 50;
constexpr std::uint8_t kProtocolSctp = 132;
constexpr std::uint8_t kProtocolUdpLite = 136;

enum class Field : std::uint8_t {
    family,            ///< 4 or 6.
    source,            ///< 32 or 128 bits; rules compare `family` before.
    destination,       ///< As source.
    protocol,          ///< Above IP, 8 bits.
    source_port,       ///< Of TCP, UDP, UDP-Lite, SCTP and DCCP; no other packet has one.
    destination_port,  ///< As source_port.
    interface_in,      ///< The name, value_of_interface().
    state,             ///< Of conntrack, one bit of State.
    mark,              ///< skb->mark, 32 bits.
    count_,
};

/// Conntrack states as `ct state` of nftables numbers them (NF_CT_STATE_BIT).
enum class State : std::uint8_t {
    invalid = 1,
    established = 2,
    related = 4,
    fresh = 8,  ///< NEW.
    untracked = 64,
};

using FieldSet = std::bitset<static_cast<std::size_t>(Field::count_)>;

struct Header {
    Address source;
    Address destination;  ///< Of the same family.
    std::uint8_t protocol = 0;
    std::uint16_t source_port = 0;       ///< 0 where the protocol has none.
    std::uint16_t destination_port = 0;  ///< As source_port.
    Value interface_in = 0;              ///< value_of_interface().
    State state = State::fresh;

    [[nodiscard]] bool has_ports() const;
};

[[nodiscard]] std::string_view to_string(Field field);
[[nodiscard]] unsigned bits_of(Field field, Family family);

}  // namespace culvert::firewall
