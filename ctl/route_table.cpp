// SPDX-License-Identifier: GPL-2.0-or-later
//
// See route_table.hpp.

#include "ctl/route_table.hpp"

#include <cerrno>

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "ctl/netlink_talk.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

std::optional<IpAddress> address_in(const nlattr* attribute, unsigned family) {
    const auto* payload = static_cast<const std::byte*>(mnl_attr_get_payload(attribute));
    return read_ip(family, {payload, mnl_attr_get_payload_len(attribute)});
}

struct Reading {
    HostRoute route;
    unsigned family = 0;
    std::uint32_t table = 0;
};

int read_attribute(const nlattr* attribute, void* result) {
    auto& reading = *static_cast<Reading*>(result);
    const bool is_u32 = mnl_attr_get_payload_len(attribute) == sizeof(std::uint32_t);
    switch (mnl_attr_get_type(attribute)) {
    case RTA_DST:
        if (const auto prefix = address_in(attribute, reading.family)) {
            reading.route.prefix = *prefix;
        }
        break;
    case RTA_GATEWAY:
        reading.route.gateway = address_in(attribute, reading.family);
        break;
    case RTA_PREFSRC:
        reading.route.source = address_in(attribute, reading.family);
        break;
    case RTA_OIF:
        if (is_u32) {
            reading.route.ifindex = static_cast<int>(mnl_attr_get_u32(attribute));
        }
        break;
    case RTA_TABLE:
        if (is_u32) {
            reading.table = mnl_attr_get_u32(attribute);
        }
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

}  // namespace

std::optional<HostRoute> parse_host_route(std::span<const std::byte> message) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(message.data());
    if (message.size() < sizeof(nlmsghdr) || header->nlmsg_len > message.size() ||
        header->nlmsg_len < mnl_nlmsg_size(sizeof(rtmsg)) || header->nlmsg_type != RTM_NEWROUTE) {
        return std::nullopt;
    }
    const auto* fixed = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(header));
    const bool is_v4 = fixed->rtm_family == AF_INET;
    if ((!is_v4 && fixed->rtm_family != AF_INET6) || fixed->rtm_dst_len > (is_v4 ? 32 : 128) ||
        (fixed->rtm_type != RTN_UNICAST && fixed->rtm_type != RTN_LOCAL) ||
        (fixed->rtm_flags & RTM_F_CLONED) != 0) {
        return std::nullopt;
    }
    Reading reading;
    reading.family = fixed->rtm_family;
    reading.table = fixed->rtm_table;
    reading.route.prefix_bits = fixed->rtm_dst_len;
    reading.route.local = fixed->rtm_type == RTN_LOCAL;
    const std::array<std::byte, 4> any{};
    reading.route.prefix = is_v4 ? IpAddress::from_v4(any.data()) : IpAddress{};
    mnl_attr_parse(header, sizeof(rtmsg), read_attribute, &reading);
    const bool shown = reading.table == RT_TABLE_MAIN || reading.table == RT_TABLE_LOCAL ||
                       reading.table == RT_TABLE_DEFAULT;
    if (!shown || reading.route.ifindex == 0) {
        return std::nullopt;
    }
    return reading.route;
}

dataplane::Result<std::vector<HostRoute>> read_host_routes() {
    NetlinkTalker talker;
    if (auto started = talker.start(); !started) {
        return tl::unexpected(started.error());
    }
    std::vector<HostRoute> routes;
    for (const int family : {AF_INET, AF_INET6}) {
        NetlinkRequest request(RTM_GETROUTE, NLM_F_DUMP);
        request.put_fixed<rtmsg>().rtm_family = static_cast<unsigned char>(family);
        const auto answered = talker.talk(request, [&](const nlmsghdr* header) {
            const auto route =
                parse_host_route({reinterpret_cast<const std::byte*>(header), header->nlmsg_len});
            if (route && routes.size() < kHostRoutesMax) {
                routes.push_back(*route);
            }
        });
        // EINTR: routes changed meanwhile; what came is good enough to be looked at.
        if (!answered && answered.error().error != EINTR) {
            return tl::unexpected("cannot read the kernel's routes: " + answered.error().text);
        }
    }
    return routes;
}

}  // namespace culvert::ctl
