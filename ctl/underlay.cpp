// SPDX-License-Identifier: GPL-2.0-or-later
//
// The mirror of the kernel's links, addresses and neighbours (RFC 3549) on two netlink sockets of
// libmnl: one subscribed and non-blocking, one for requests and dumps, which waits a bounded time
// for its answer. Not mirrored: routes (asked per request), bridge forwarding entries, alternative
// link names. Control thread only.
#include "ctl/underlay.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "ctl/netlink_talk.hpp"
#include "ctl/route_request.hpp"
#include "ctl/underlay_mirror.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

constexpr int kEventBufferBytes = 2 << 20;

std::uint8_t family_of(const IpAddress& address) {
    return static_cast<std::uint8_t>(address.is_v4() ? AF_INET : AF_INET6);
}

std::uint8_t bits_of(const IpAddress& address) {
    return static_cast<std::uint8_t>(address.is_v4() ? 32 : 128);
}

void append(std::vector<NetlinkEvent>&& more, std::vector<NetlinkEvent>& events) {
    std::move(more.begin(), more.end(), std::back_inserter(events));
}

class NetlinkUnderlay final : public Underlay {
public:
    [[nodiscard]] Result<void> start();

    [[nodiscard]] int event_fd() const override { return mnl_socket_get_fd(events_.get()); }
    std::vector<NetlinkEvent> read_events() override;
    [[nodiscard]] std::optional<LinkEvent> link(const std::string& name) const override;
    [[nodiscard]] std::optional<LinkEvent> link(int ifindex) const override;
    [[nodiscard]] std::vector<LinkEvent> links() const override;
    [[nodiscard]] const std::map<int, std::set<IpAddress>>& addresses() const override {
        return mirror_.addresses;
    }
    [[nodiscard]] std::optional<NeighbourEvent>
    neighbour(int ifindex, const IpAddress& address) const override;
    [[nodiscard]] std::vector<AddressEvent> prefixes(int ifindex) const override;
    [[nodiscard]] std::vector<NeighbourEvent> neighbours(int ifindex) const override;
    [[nodiscard]] Result<Route> route(
        const IpAddress& destination, const std::optional<IpAddress>& source, std::uint32_t mark
    ) override;
    void probe_neighbour(int ifindex, const IpAddress& address) override;
    [[nodiscard]] Result<void>
    add_address(int ifindex, const IpAddress& address, std::uint8_t prefix_bits) override;
    [[nodiscard]] Result<void>
    remove_address(int ifindex, const IpAddress& address, std::uint8_t prefix_bits) override;
    [[nodiscard]] Result<void> set_link_up(int ifindex, bool up) override;
    [[nodiscard]] Result<void> set_link_mtu(int ifindex, std::uint32_t mtu) override;
    [[nodiscard]] Result<void> set_link_mac(int ifindex, const tunnels::MacAddress& mac) override;
    [[nodiscard]] Result<void> remove_links(const std::vector<int>& ifindices) override;

private:
    // What one read_events() has come to.
    struct Reading {
        std::vector<NetlinkEvent> events;
        bool routes_changed = false;
        bool address_removed = false;
    };

    [[nodiscard]] Result<void> subscribe();
    [[nodiscard]] Result<std::vector<NetlinkEvent>> dump(std::uint16_t type);
    [[nodiscard]] Result<UnderlayMirror> dump_all();
    void record(NetlinkEvent event, Reading& reading);
    void restore_addresses(Reading& reading);
    [[nodiscard]] std::string name_of(int ifindex) const;
    [[nodiscard]] Result<void> change_address(
        std::uint16_t type,
        unsigned flags,
        int ifindex,
        const IpAddress& address,
        std::uint8_t prefix_bits
    );

    NetlinkSocket events_;
    NetlinkTalker talker_;
    UnderlayMirror mirror_;
    bool overrun_ = false;  ///< Events were lost, and the mirror is not yet renewed.
    DatagramBuffer buffer_;
};

Result<void> NetlinkUnderlay::start() {
    // The subscription comes first: what changes during the dumps waits as events, and the last
    // word of the kernel about each thing is read last.
    if (auto outcome = subscribe().and_then([this] { return talker_.start(); }); !outcome) {
        return outcome;
    }
    auto mirror = dump_all();
    if (!mirror) {
        return tl::unexpected(mirror.error());
    }
    mirror_ = std::move(*mirror);
    return {};
}

Result<void> NetlinkUnderlay::subscribe() {
    constexpr std::array<int, 8> kGroups{
        RTNLGRP_LINK,
        RTNLGRP_NEIGH,
        RTNLGRP_IPV4_IFADDR,
        RTNLGRP_IPV6_IFADDR,
        RTNLGRP_IPV4_ROUTE,
        RTNLGRP_IPV6_ROUTE,
        RTNLGRP_IPV4_RULE,
        RTNLGRP_IPV6_RULE};
    auto events = open_event_socket(NETLINK_ROUTE, kGroups, kEventBufferBytes);
    if (!events) {
        return tl::unexpected(events.error());
    }
    events_ = std::move(*events);
    // Kernels before 5.3 have no nexthop objects.
    int group = RTNLGRP_NEXTHOP;
    static_cast<void>(
        mnl_socket_setsockopt(events_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof(group))
    );
    return {};
}

Result<std::vector<NetlinkEvent>> NetlinkUnderlay::dump(std::uint16_t type) {
    std::vector<NetlinkEvent> events;
    // One size fits the three: the kernel reads the family, which is in front, and no more.
    NetlinkRequest request(type, NLM_F_DUMP);
    request.put_fixed<ifinfomsg>().ifi_family = AF_UNSPEC;
    const auto outcome = talker_.dump(
        request,
        [&events] { events.clear(); },
        [&events](const nlmsghdr* header) {
            const auto* bytes = reinterpret_cast<const std::byte*>(header);
            append(parse_rtnetlink({bytes, header->nlmsg_len}), events);
        }
    );
    if (!outcome) {
        return tl::unexpected(
            "The kernel's links, addresses and neighbours cannot be read (rtnetlink message type " +
            std::to_string(type) + "): " + outcome.error().text + "."
        );
    }
    return events;
}

Result<UnderlayMirror> NetlinkUnderlay::dump_all() {
    UnderlayMirror mirror;
    for (const std::uint16_t type : {RTM_GETLINK, RTM_GETADDR, RTM_GETNEIGH}) {
        const auto events = dump(type);
        if (!events) {
            return tl::unexpected(events.error());
        }
        for (const NetlinkEvent& event : *events) {
            mirror.apply(event);
        }
    }
    return mirror;
}

std::vector<NetlinkEvent> NetlinkUnderlay::read_events() {
    Reading reading;
    const bool drained =
        read_waiting(events_, buffer_, overrun_, [&](std::span<const std::byte> bytes) {
            for (NetlinkEvent& event : parse_rtnetlink(bytes)) {
                record(std::move(event), reading);
            }
        });
    if (overrun_ && drained) {
        // What waited since the overrun was thrown away: replayed after the dump, it would put
        // older states over newer ones whose own messages are lost.
        if (auto fresh = dump_all()) {
            append(differences(mirror_, *fresh), reading.events);
            mirror_ = std::move(*fresh);
            overrun_ = false;
            reading.routes_changed = true;
        }
    } else if (!overrun_ && reading.address_removed) {
        restore_addresses(reading);
    }
    if (reading.routes_changed) {
        reading.events.emplace_back(RouteEvent{});
    }
    return std::move(reading.events);
}

void NetlinkUnderlay::record(NetlinkEvent event, Reading& reading) {
    if (std::holds_alternative<RouteEvent>(event)) {
        reading.routes_changed = true;
        return;
    }
    if (const auto* link_event = std::get_if<LinkEvent>(&event)) {
        // The IPv4 routes of a link that goes down are dropped without a message of their own.
        const auto known = link(link_event->ifindex);
        reading.routes_changed = reading.routes_changed || link_event->up != (known && known->up);
        if (link_event->removed) {
            // The kernel withdraws addresses and neighbours before their link; what were left
            // would stay for ever.
            append(detach_link(mirror_, link_event->ifindex), reading.events);
        }
    } else if (const auto* address = std::get_if<AddressEvent>(&event)) {
        reading.routes_changed = true;
        reading.address_removed = reading.address_removed || address->removed;
    }
    mirror_.apply(event);
    reading.events.push_back(std::move(event));
}

// The same address may be there twice with different point-to-point peers. An event does not hold
// the peer, so a removal may have been of one of several; the kernel knows which addresses remain.
void NetlinkUnderlay::restore_addresses(Reading& reading) {
    const auto present = dump(RTM_GETADDR);
    if (!present) {
        overrun_ = true;
        return;
    }
    for (const NetlinkEvent& event : *present) {
        const auto* address = std::get_if<AddressEvent>(&event);
        if (address != nullptr &&
            !mirror_.prefixes.contains({address->ifindex, address->address, address->prefix_bits}
            )) {
            mirror_.apply(*address);
            reading.events.push_back(event);
        }
    }
}

std::optional<LinkEvent> NetlinkUnderlay::link(const std::string& name) const {
    const auto found =
        std::find_if(mirror_.links.begin(), mirror_.links.end(), [&name](const auto& entry) {
            return entry.second.name == name;
        });
    return found == mirror_.links.end() ? std::nullopt : std::optional(found->second);
}

std::optional<LinkEvent> NetlinkUnderlay::link(int ifindex) const {
    const auto found = mirror_.links.find(ifindex);
    return found == mirror_.links.end() ? std::nullopt : std::optional(found->second);
}

std::vector<LinkEvent> NetlinkUnderlay::links() const {
    std::vector<LinkEvent> all;
    for (const auto& [ifindex, link] : mirror_.links) {
        all.push_back(link);
    }
    return all;
}

std::optional<NeighbourEvent>
NetlinkUnderlay::neighbour(int ifindex, const IpAddress& address) const {
    const auto found = mirror_.neighbours.find({ifindex, address});
    return found == mirror_.neighbours.end() ? std::nullopt : std::optional(found->second);
}

std::vector<AddressEvent> NetlinkUnderlay::prefixes(int ifindex) const {
    std::vector<AddressEvent> all;
    for (auto at = mirror_.prefixes.lower_bound({ifindex, IpAddress{}, std::uint8_t{0}});
         at != mirror_.prefixes.end() && std::get<0>(*at) == ifindex;
         ++at) {
        all.push_back({false, ifindex, std::get<1>(*at), std::get<2>(*at)});
    }
    return all;
}

std::vector<NeighbourEvent> NetlinkUnderlay::neighbours(int ifindex) const {
    std::vector<NeighbourEvent> all;
    for (auto at = mirror_.neighbours.lower_bound({ifindex, IpAddress{}});
         at != mirror_.neighbours.end() && at->first.first == ifindex;
         ++at) {
        all.push_back(at->second);
    }
    return all;
}

Result<Route> NetlinkUnderlay::route(
    const IpAddress& destination, const std::optional<IpAddress>& source, std::uint32_t mark
) {
    return request_route(talker_, destination, source, mark);
}

void NetlinkUnderlay::probe_neighbour(int ifindex, const IpAddress& address) {
    // Kernels since 5.16 take the permanence away from an entry that is "used" by netlink, and a
    // device without ARP has nothing to ask.
    const auto known = neighbour(ifindex, address);
    if (known && (known->state & (NUD_PERMANENT | NUD_NOARP)) != 0) {
        return;
    }
    NetlinkRequest request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
    auto& fixed = request.put_fixed<ndmsg>();
    fixed.ndm_family = family_of(address);
    fixed.ndm_ifindex = ifindex;
    fixed.ndm_state = NUD_NONE;
    fixed.ndm_flags = NTF_USE;
    request.put_ip(NDA_DST, address);
    // A refusal means that the link is gone or down, of which an event tells.
    static_cast<void>(talker_.talk(request));
}

std::string NetlinkUnderlay::name_of(int ifindex) const {
    const auto known = link(ifindex);
    return "interface " + (known ? known->name : "with index " + std::to_string(ifindex));
}

Result<void> NetlinkUnderlay::change_address(
    std::uint16_t type,
    unsigned flags,
    int ifindex,
    const IpAddress& address,
    std::uint8_t prefix_bits
) {
    const std::string subject =
        "The address " + address.to_string() + "/" + std::to_string(prefix_bits) + " cannot be " +
        (type == RTM_NEWADDR ? "added to the " : "removed from the ") + name_of(ifindex);
    if (prefix_bits > bits_of(address)) {
        return tl::unexpected(
            subject + ": its prefix length must be at most " + std::to_string(bits_of(address)) +
            "."
        );
    }
    NetlinkRequest request(type, flags | NLM_F_ACK);
    auto& fixed = request.put_fixed<ifaddrmsg>();
    fixed.ifa_family = family_of(address);
    fixed.ifa_prefixlen = prefix_bits;
    fixed.ifa_index = static_cast<std::uint32_t>(ifindex);
    request.put_ip(IFA_LOCAL, address);
    request.put_ip(IFA_ADDRESS, address);
    if (const auto outcome = talker_.talk(request); !outcome) {
        return tl::unexpected(subject + ": " + outcome.error().text + ".");
    }
    return {};
}

Result<void>
NetlinkUnderlay::add_address(int ifindex, const IpAddress& address, std::uint8_t prefix_bits) {
    return change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifindex, address, prefix_bits);
}

Result<void>
NetlinkUnderlay::remove_address(int ifindex, const IpAddress& address, std::uint8_t prefix_bits) {
    return change_address(RTM_DELADDR, 0, ifindex, address, prefix_bits);
}

Result<void> NetlinkUnderlay::set_link_up(int ifindex, bool up) {
    NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK);
    auto& fixed = request.put_fixed<ifinfomsg>();
    fixed.ifi_index = ifindex;
    fixed.ifi_flags = up ? IFF_UP : 0;
    fixed.ifi_change = IFF_UP;
    if (const auto outcome = talker_.talk(request); !outcome) {
        return tl::unexpected(
            "The " + name_of(ifindex) + " cannot be set " + (up ? "up" : "down") + ": " +
            outcome.error().text + "."
        );
    }
    return {};
}

Result<void> NetlinkUnderlay::set_link_mtu(int ifindex, std::uint32_t mtu) {
    NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK);
    request.put_fixed<ifinfomsg>().ifi_index = ifindex;
    request.put_u32(IFLA_MTU, mtu);
    if (const auto outcome = talker_.talk(request); !outcome) {
        return tl::unexpected(
            "The MTU of the " + name_of(ifindex) + " cannot be set to " + std::to_string(mtu) +
            ": " + outcome.error().text + "."
        );
    }
    return {};
}

Result<void> NetlinkUnderlay::set_link_mac(int ifindex, const tunnels::MacAddress& mac) {
    NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK);
    request.put_fixed<ifinfomsg>().ifi_index = ifindex;
    mnl_attr_put(request.header(), IFLA_ADDRESS, mac.bytes.size(), mac.bytes.data());
    if (const auto outcome = talker_.talk(request); !outcome) {
        return tl::unexpected(
            "The MAC address of the " + name_of(ifindex) + " cannot be set to " + mac.to_string() +
            ": " + outcome.error().text + "."
        );
    }
    return {};
}

Result<void> NetlinkUnderlay::remove_links(const std::vector<int>& ifindices) {
    // A number that nobody has chosen for a group of links.
    constexpr std::uint32_t kGroup = 0x43756c76;
    std::vector<int> grouped;
    for (const int ifindex : ifindices) {
        NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK);
        request.put_fixed<ifinfomsg>().ifi_index = ifindex;
        request.put_u32(IFLA_GROUP, kGroup);
        if (talker_.talk(request)) {
            grouped.push_back(ifindex);
        }
    }
    if (grouped.empty()) {
        return {};  // They are gone.
    }
    NetlinkRequest request(RTM_DELLINK, NLM_F_ACK);
    request.put_fixed<ifinfomsg>();
    request.put_u32(IFLA_GROUP, kGroup);
    if (const auto outcome = talker_.talk(request); !outcome) {
        return tl::unexpected(
            "The " + name_of(grouped.front()) + " and " + std::to_string(grouped.size() - 1) +
            " others cannot be deleted: " + outcome.error().text + "."
        );
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Underlay>> open_underlay() {
    auto underlay = std::make_unique<NetlinkUnderlay>();
    if (auto outcome = underlay->start(); !outcome) {
        return tl::unexpected(outcome.error());
    }
    return underlay;
}

}  // namespace culvert::ctl
