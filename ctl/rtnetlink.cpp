// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rtnetlink message parser (RFC 3549; rtnetlink(7)): bytes in, events out, no state and no
// system call. Answers to requests (acknowledgements, the end of a dump, the answer to a route
// request) are the underlay's and not parsed here. Any thread.
#include "ctl/underlay.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "ctl/netlink_bytes.hpp"

namespace culvert::ctl {

namespace {

// The flag is in linux/if.h, which cannot stand beside net/if.h.
constexpr unsigned kLowerUp = 1U << 16U;
constexpr std::uint16_t kUsableStates =
    NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;

bool is_ip(unsigned family) {
    return family == AF_INET || family == AF_INET6;
}

bool read_ip(unsigned family, Bytes value, std::optional<tunnels::IpAddress>& address) {
    if (value.size() != (family == AF_INET ? 4U : 16U)) {
        return false;
    }
    address = family == AF_INET ? tunnels::IpAddress::from_v4(value.data())
                                : tunnels::IpAddress::from_v6(value.data());
    return true;
}

// A hardware address of another size (InfiniBand, tunnels) is no MAC and reads as none.
std::optional<tunnels::MacAddress> read_mac(Bytes value) {
    tunnels::MacAddress mac;
    if (value.size() != mac.bytes.size()) {
        return std::nullopt;
    }
    std::memcpy(mac.bytes.data(), value.data(), mac.bytes.size());
    return mac;
}

// What parsing one message came to.
enum class Outcome { passed_over, malformed, event };

Outcome parse_link(bool removed, Bytes body, NetlinkEvent& result) {
    ifinfomsg info{};
    if (!take(body, info)) {
        return Outcome::malformed;
    }
    // Bridges report their ports, and the leaving of one, as link messages of their own family.
    if (info.ifi_family != AF_UNSPEC) {
        return Outcome::passed_over;
    }
    LinkEvent link;
    link.removed = removed;
    link.ifindex = info.ifi_index;
    link.enabled = (info.ifi_flags & IFF_UP) != 0;
    link.running = (info.ifi_flags & IFF_RUNNING) != 0;
    link.up = link.enabled && (info.ifi_flags & kLowerUp) != 0;
    bool has_mtu = false;
    const bool valid = visit_attributes(body, [&](unsigned type, Bytes value) {
        if (type == IFLA_IFNAME) {
            const auto end = std::find(value.begin(), value.end(), std::byte{0});
            link.name.clear();
            for (auto byte = value.begin(); byte != end; ++byte) {
                link.name += std::to_integer<char>(*byte);
            }
            return !link.name.empty() && link.name.size() < IFNAMSIZ;
        }
        if (type == IFLA_MTU) {
            has_mtu = true;
            return take(value, link.mtu);
        }
        if (type == IFLA_IFALIAS) {
            const auto end = std::find(value.begin(), value.end(), std::byte{0});
            link.alias.clear();
            for (auto byte = value.begin(); byte != end; ++byte) {
                link.alias += std::to_integer<char>(*byte);
            }
        }
        if (type == IFLA_ADDRESS) {
            link.mac = read_mac(value).value_or(tunnels::MacAddress{});
        }
        return true;
    });
    if (!valid || link.ifindex <= 0) {
        return Outcome::malformed;
    }
    // Wireless drivers send link messages that hold an event of theirs and not the link.
    if (!removed && (link.name.empty() || !has_mtu)) {
        return Outcome::passed_over;
    }
    result = std::move(link);
    return Outcome::event;
}

Outcome parse_address(bool removed, Bytes body, NetlinkEvent& result) {
    ifaddrmsg info{};
    if (!take(body, info)) {
        return Outcome::malformed;
    }
    if (!is_ip(info.ifa_family)) {
        return Outcome::passed_over;
    }
    // On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL is ours; IPv6 sends IFA_LOCAL
    // in that case only.
    std::optional<tunnels::IpAddress> local;
    std::optional<tunnels::IpAddress> address;
    const bool valid = visit_attributes(body, [&](unsigned type, Bytes value) {
        if (type == IFA_LOCAL) {
            return read_ip(info.ifa_family, value, local);
        }
        if (type == IFA_ADDRESS) {
            return read_ip(info.ifa_family, value, address);
        }
        return true;
    });
    const auto ours = local ? local : address;
    const auto ifindex = static_cast<int>(info.ifa_index);
    if (!valid || !ours || ifindex <= 0 ||
        info.ifa_prefixlen > (info.ifa_family == AF_INET ? 32 : 128)) {
        return Outcome::malformed;
    }
    result = AddressEvent{removed, ifindex, *ours, info.ifa_prefixlen};
    return Outcome::event;
}

Outcome parse_neighbour(bool removed, Bytes body, NetlinkEvent& result) {
    ndmsg info{};
    if (!take(body, info)) {
        return Outcome::malformed;
    }
    // AF_BRIDGE is a forwarding database; a proxy entry says for whom the kernel answers.
    if (!is_ip(info.ndm_family) || (info.ndm_flags & NTF_PROXY) != 0) {
        return Outcome::passed_over;
    }
    std::optional<tunnels::IpAddress> address;
    std::optional<tunnels::MacAddress> mac;
    const bool valid = visit_attributes(body, [&](unsigned type, Bytes value) {
        if (type == NDA_DST) {
            return read_ip(info.ndm_family, value, address);
        }
        if (type == NDA_LLADDR) {
            mac = read_mac(value);
        }
        return true;
    });
    if (!valid || !address || info.ndm_ifindex <= 0) {
        return Outcome::malformed;
    }
    if (removed || (info.ndm_state & kUsableStates) == 0) {
        mac.reset();
    }
    result = NeighbourEvent{removed, info.ndm_ifindex, *address, mac, info.ndm_state};
    return Outcome::event;
}

// Rules have the same layout, and nexthop objects (struct nhmsg) have the family in front as well.
Outcome parse_route(Bytes body, NetlinkEvent& result) {
    std::uint8_t family = 0;
    if (!take(body, family)) {
        return Outcome::malformed;
    }
    if (family != AF_UNSPEC && !is_ip(family)) {
        return Outcome::passed_over;
    }
    result = RouteEvent{};
    return Outcome::event;
}

Outcome parse_message(std::uint16_t type, Bytes body, NetlinkEvent& result) {
    switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return parse_link(type == RTM_DELLINK, body, result);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return parse_address(type == RTM_DELADDR, body, result);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        return parse_neighbour(type == RTM_DELNEIGH, body, result);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
    case RTM_NEWRULE:
    case RTM_DELRULE:
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
        return parse_route(body, result);
    default:
        return Outcome::passed_over;
    }
}

}  // namespace

std::vector<NetlinkEvent> parse_rtnetlink(std::span<const std::byte> bytes) {
    std::vector<NetlinkEvent> events;
    visit_messages(bytes, [&events](std::uint16_t type, Bytes body) {
        NetlinkEvent event;
        const Outcome outcome = parse_message(type, body, event);
        if (outcome == Outcome::event) {
            events.push_back(std::move(event));
        }
        return outcome != Outcome::malformed;
    });
    return events;
}

}  // namespace culvert::ctl
