// SPDX-License-Identifier: GPL-2.0-or-later
//
// What enable-protocol opens: packets of a protocol, with ports and senders, and how a rule that
// Culvert wrote is told apart from the operator's. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "firewall/address.hpp"
#include "firewall/header.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// The packets that one rule admits.
struct Selector {
    Family family = Family::ipv4;
    std::uint8_t protocol = kProtocolGre;
    std::optional<std::uint16_t> source_port;
    std::optional<std::uint16_t> destination_port;
    std::optional<Prefix> source;
    bool operator==(const Selector&) const = default;
};

/// A tunnel type with what its packets are, as a command line names it.
struct TunnelType {
    std::string_view name;
    std::uint8_t protocol = 0;
    std::optional<std::uint16_t> destination_port;
    std::string_view summary;  ///< "GRE", "VXLAN (udp to port 4789)".
};

/// gre, vxlan, vxlan-gpe, geneve, lisp, stt, esp, ike (udp 500), esp-udp (udp 4500).
[[nodiscard]] std::span<const TunnelType> tunnel_types();
[[nodiscard]] const TunnelType* find_tunnel_type(std::string_view name);

/// The number of a protocol: a number, or a name of /etc/protocols. One sentence when it is none.
[[nodiscard]] tl::expected<std::uint8_t, std::string> parse_protocol(std::string_view text);
/// "gre" where /etc/protocols has a name, else the number.
[[nodiscard]] std::string protocol_name(std::uint8_t protocol);
/// As ovs-ctl says it: "gre", "udp to port 4789", "udp to port X from port Y".
[[nodiscard]] std::string to_string(const Selector& selector);

/// The comment of a rule that Culvert wrote: "culvert NAME", "culvert auto NAME" for one that the
/// daemon keeps by itself ([firewall] manage), each with ": TEXT" where the operator gave a text.
struct Mark {
    bool automatic = false;
    std::string name;  ///< Of the tunnel type, else "PROTOCOL" or "PROTOCOL/PORT".
    std::string text;
    bool operator==(const Mark&) const = default;
};
[[nodiscard]] std::string to_string(const Mark& mark);
/// Nothing when the comment is not of exactly that shape.
[[nodiscard]] std::optional<Mark> parse_mark(std::string_view comment);
[[nodiscard]] std::string mark_name(const Selector& selector);

/// What a rule says of packets of `selector`'s protocol and ports.
enum class Says : std::uint8_t {
    nothing,        ///< It is about other packets, or about every protocol.
    admits,         ///< It accepts them from everywhere `selector` names.
    admits_partly,  ///< It accepts some: a sender, an interface, a mark is asked for as well.
    refuses,        ///< It drops them all.
    refuses_partly,
};
/// A state of NEW that a rule asks for restricts nothing here.
[[nodiscard]] Says says(const Rule& rule, const Selector& selector);
/// Whether a rule is one that Culvert would write for `selector`: that and nothing else, accepted.
[[nodiscard]] bool is_opening(const Rule& rule, const Selector& selector);
/// What a rule of Culvert's opens; nothing when it has another shape, whatever its comment says.
[[nodiscard]] std::optional<Selector> selector_of(const Rule& rule, Family family);

/// A packet that `selector` means, from its source (the first host of it) to `destination`.
[[nodiscard]] Header header_of(const Selector& selector, const Address& destination);

}  // namespace culvert::firewall
