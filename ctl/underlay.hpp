// SPDX-License-Identifier: GPL-2.0-or-later
//
// A mirror of the kernel's links, addresses, routes and neighbours by rtnetlink (RFC 3549),
// followed live: the kernel stays the authority. Control thread only. The message parser is pure
// (bytes in, event out), for tests and fuzzing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/result.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

using dataplane::Result;

struct LinkEvent {
    bool removed = false;
    int ifindex = 0;
    std::string name;
    tunnels::MacAddress mac;
    std::uint32_t mtu = 0;
    bool up = false;       ///< IFF_UP and IFF_LOWER_UP.
    bool enabled = false;  ///< IFF_UP: the administrator wants it up.
    bool running = false;  ///< IFF_RUNNING: it can carry packets.
    std::string alias;     ///< ifalias.
    bool operator==(const LinkEvent&) const = default;
};

struct AddressEvent {
    bool removed = false;
    int ifindex = 0;
    tunnels::IpAddress address;
    std::uint8_t prefix_bits = 0;
    bool operator==(const AddressEvent&) const = default;
};

struct NeighbourEvent {
    bool removed = false;
    int ifindex = 0;
    tunnels::IpAddress address;
    std::optional<tunnels::MacAddress> mac;  ///< Absent: unresolved or failed.
    std::uint16_t state = 0;                 ///< NUD_*.
    bool operator==(const NeighbourEvent&) const = default;
};

/// A route, a rule or a nexthop object changed, or something that changes routes without a word of
/// its own: a link that went up, down or away, an address that came or went. Routes are asked of
/// the kernel (RTM_GETROUTE) and not mirrored, so that every table, rule and metric counts as the
/// kernel counts it.
struct RouteEvent {
    bool operator==(const RouteEvent&) const = default;
};

using NetlinkEvent = std::variant<LinkEvent, AddressEvent, NeighbourEvent, RouteEvent>;

/// Parses one or more rtnetlink messages. Unknown message types are passed over; a truncated or
/// contradictory message ends the parse (what came before is kept). Never reads outside `bytes`.
[[nodiscard]] std::vector<NetlinkEvent> parse_rtnetlink(std::span<const std::byte> bytes);

/// Answer to "how does the host reach `destination`".
struct Route {
    int ifindex = 0;
    tunnels::IpAddress source;    ///< Preferred source address.
    tunnels::IpAddress next_hop;  ///< The gateway, or the destination itself when on link.
    std::uint32_t mtu = 0;        ///< RTA_METRICS RTAX_MTU, 0 when unset.
    bool local = false;           ///< The destination is this host.
    bool operator==(const Route&) const = default;
};

class Underlay {
public:
    virtual ~Underlay() = default;

    /// Non-blocking netlink socket subscribed to links, addresses, routes and neighbours; readable
    /// when events wait.
    [[nodiscard]] virtual int event_fd() const = 0;

    /// Reads what waits, up to a bound (the socket stays readable while more waits), updates the
    /// mirror and returns the events in the kernel's order; an event may repeat what the mirror
    /// says already. At most one RouteEvent a call, the last. After an overrun (ENOBUFS) it dumps
    /// everything anew and returns the differences, removals included, and a RouteEvent.
    virtual std::vector<NetlinkEvent> read_events() = 0;

    [[nodiscard]] virtual std::optional<LinkEvent> link(const std::string& name) const = 0;
    [[nodiscard]] virtual std::optional<LinkEvent> link(int ifindex) const = 0;
    [[nodiscard]] virtual std::vector<LinkEvent> links() const = 0;
    /// Every address of the host, by interface index.
    [[nodiscard]] virtual const std::map<int, std::set<tunnels::IpAddress>>& addresses() const = 0;
    /// The addresses of an interface with their prefix lengths.
    [[nodiscard]] virtual std::vector<AddressEvent> prefixes(int ifindex) const = 0;
    [[nodiscard]] virtual std::optional<NeighbourEvent>
    neighbour(int ifindex, const tunnels::IpAddress& address) const = 0;
    /// Every neighbour of an interface, resolved or not.
    [[nodiscard]] virtual std::vector<NeighbourEvent> neighbours(int ifindex) const = 0;

    /// Asks the kernel (RTM_GETROUTE, with `source` when given, and for packets that carry `mark`);
    /// an error names the kernel's answer. A `source` that was given is the source of the answer.
    [[nodiscard]] virtual Result<Route> route(
        const tunnels::IpAddress& destination,
        const std::optional<tunnels::IpAddress>& source,
        std::uint32_t mark = 0
    ) = 0;

    /// Asks the kernel to resolve or refresh a neighbour (RTM_NEWNEIGH with NTF_USE); the answer
    /// comes as an event. Nothing is sent for a neighbour that the kernel holds reachable. A stale
    /// one is asked after the kernel's delay_first_probe_time (5 s), and is usable meanwhile.
    virtual void probe_neighbour(int ifindex, const tunnels::IpAddress& address) = 0;

    // Set-up of local ports (devices of ours).
    [[nodiscard]] virtual Result<void>
    add_address(int ifindex, const tunnels::IpAddress& address, std::uint8_t prefix_bits) = 0;
    [[nodiscard]] virtual Result<void>
    remove_address(int ifindex, const tunnels::IpAddress& address, std::uint8_t prefix_bits) = 0;
    [[nodiscard]] virtual Result<void> set_link_up(int ifindex, bool up) = 0;
    [[nodiscard]] virtual Result<void> set_link_mtu(int ifindex, std::uint32_t mtu) = 0;
    [[nodiscard]] virtual Result<void>
    set_link_mac(int ifindex, const tunnels::MacAddress& mac) = 0;
    /// Together: the kernel waits for each link that is deleted alone.
    [[nodiscard]] virtual Result<void> remove_links(const std::vector<int>& ifindices) = 0;
};

/// Opens the sockets in the caller's network namespace and dumps the present state.
[[nodiscard]] Result<std::unique_ptr<Underlay>> open_underlay();

}  // namespace culvert::ctl
