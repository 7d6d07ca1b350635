// SPDX-License-Identifier: GPL-2.0-or-later
//
// The route request and its answer, for both address families. Not asked: routes that depend on
// ports or an input interface. Link-local destinations get the kernel's first choice of an
// interface. Control thread only.
#include "ctl/route_request.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

// What of the answer to RTM_GETROUTE is of interest.
struct RouteAnswer {
    unsigned type = RTN_UNSPEC;
    int ifindex = 0;
    std::optional<IpAddress> source;
    std::optional<IpAddress> gateway;
    std::uint32_t mtu = 0;
};

int read_metric(const nlattr* attribute, void* result) {
    if (mnl_attr_get_type(attribute) == RTAX_MTU &&
        mnl_attr_validate(attribute, MNL_TYPE_U32) == 0) {
        static_cast<RouteAnswer*>(result)->mtu = mnl_attr_get_u32(attribute);
    }
    return MNL_CB_OK;
}

int read_route_attribute(const nlattr* attribute, void* result) {
    auto& answer = *static_cast<RouteAnswer*>(result);
    const auto* payload = static_cast<const std::byte*>(mnl_attr_get_payload(attribute));
    const std::size_t length = mnl_attr_get_payload_len(attribute);
    const unsigned family = length == 4 ? AF_INET : AF_INET6;
    switch (mnl_attr_get_type(attribute)) {
    case RTA_OIF:
        if (mnl_attr_validate(attribute, MNL_TYPE_U32) == 0) {
            answer.ifindex = static_cast<int>(mnl_attr_get_u32(attribute));
        }
        break;
    case RTA_PREFSRC:
        answer.source = read_ip(family, {payload, length});
        break;
    case RTA_GATEWAY:
        answer.gateway = read_ip(family, {payload, length});
        break;
    case RTA_VIA: {
        // A gateway of the other family (RFC 5549): its family in front of the address.
        std::uint16_t via_family = 0;
        if (length > sizeof(via_family)) {
            std::memcpy(&via_family, payload, sizeof(via_family));
            answer.gateway =
                read_ip(via_family, std::span(payload, length).subspan(sizeof(via_family)));
        }
        break;
    }
    case RTA_METRICS:
        mnl_attr_parse_nested(attribute, read_metric, result);
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

RouteAnswer read_route(const nlmsghdr* header) {
    RouteAnswer answer;
    if (header->nlmsg_type == RTM_NEWROUTE && mnl_nlmsg_get_payload_len(header) >= sizeof(rtmsg)) {
        answer.type = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(header))->rtm_type;
        mnl_attr_parse(header, sizeof(rtmsg), read_route_attribute, &answer);
    }
    return answer;
}

// What an errno of RTM_GETROUTE, or a route type that leads nowhere, stands for. IPv4 answers the
// former, IPv6 the latter.
std::string_view explain_no_route(int error, unsigned type) {
    if (error == EHOSTUNREACH || type == RTN_UNREACHABLE) {
        return "a route or rule makes it unreachable";
    }
    if (error == EACCES || type == RTN_PROHIBIT) {
        return "a route or rule prohibits it";
    }
    if (error == EINVAL || type == RTN_BLACKHOLE) {
        return "a blackhole route or rule swallows it";
    }
    return "no route leads there";
}

bool leads_somewhere(unsigned type) {
    return type == RTN_UNICAST || type == RTN_LOCAL || type == RTN_MULTICAST ||
           type == RTN_BROADCAST || type == RTN_ANYCAST;
}

// The address that a socket is bound to.
std::optional<IpAddress> own_address(int fd, bool is_v4) {
    sockaddr_in own4{};
    sockaddr_in6 own6{};
    auto* own = is_v4 ? reinterpret_cast<sockaddr*>(&own4) : reinterpret_cast<sockaddr*>(&own6);
    socklen_t length = is_v4 ? sizeof(own4) : sizeof(own6);
    if (getsockname(fd, own, &length) != 0) {
        return std::nullopt;
    }
    return is_v4 ? IpAddress::from_v4(&own4.sin_addr) : IpAddress::from_v6(&own6.sin6_addr);
}

Result<Route> refuse(const std::string& subject, const std::string& reason) {
    return tl::unexpected("There is no route to " + subject + ": " + reason + ".");
}

}  // namespace

std::optional<IpAddress> source_of_socket(const IpAddress& destination, int ifindex) {
    constexpr std::uint16_t kAnyPort = 9;
    sockaddr_in6 to6{};
    sockaddr_in to4{};
    const sockaddr* to = reinterpret_cast<const sockaddr*>(&to6);
    socklen_t to_bytes = sizeof(to6);
    if (destination.is_v4()) {
        to4.sin_family = AF_INET;
        to4.sin_port = htons(kAnyPort);
        std::memcpy(&to4.sin_addr, destination.v4(), sizeof(to4.sin_addr));
        to = reinterpret_cast<const sockaddr*>(&to4);
        to_bytes = sizeof(to4);
    } else {
        to6.sin6_family = AF_INET6;
        to6.sin6_port = htons(kAnyPort);
        std::memcpy(&to6.sin6_addr, destination.bytes.data(), sizeof(to6.sin6_addr));
        if (IN6_IS_ADDR_LINKLOCAL(&to6.sin6_addr)) {
            to6.sin6_scope_id = static_cast<std::uint32_t>(ifindex);
        }
    }
    const int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return std::nullopt;
    }
    std::optional<IpAddress> source;
    if (connect(fd, to, to_bytes) == 0) {
        source = own_address(fd, destination.is_v4());
    }
    close(fd);
    return source;
}

Result<Route> request_route(
    NetlinkTalker& talker,
    const IpAddress& destination,
    const std::optional<IpAddress>& source,
    std::uint32_t mark
) {
    const std::string subject =
        destination.to_string() + (source ? " from " + source->to_string() : "");
    if (source && source->is_v4() != destination.is_v4()) {
        return refuse(subject, "the two must be of one address family");
    }
    const auto address_bits = static_cast<std::uint8_t>(destination.is_v4() ? 32 : 128);
    NetlinkRequest request(RTM_GETROUTE, 0);
    auto& fixed = request.put_fixed<rtmsg>();
    fixed.rtm_family = static_cast<std::uint8_t>(destination.is_v4() ? AF_INET : AF_INET6);
    fixed.rtm_dst_len = address_bits;
    request.put_ip(RTA_DST, destination);
    if (source) {
        fixed.rtm_src_len = address_bits;
        request.put_ip(RTA_SRC, *source);
    }
    if (mark != 0) {
        request.put_u32(RTA_MARK, mark);
    }
    RouteAnswer answer;
    const auto outcome =
        talker.talk(request, [&answer](const nlmsghdr* header) { answer = read_route(header); });
    if (!outcome) {
        const int error = outcome.error().error;
        std::string explanation(explain_no_route(error, RTN_UNSPEC));
        // For such an IPv4 source older kernels say EINVAL; IPv6 does not look at it.
        if (source && (error == ENETUNREACH || error == EINVAL)) {
            explanation += ", or " + source->to_string() + " is not an address of this host";
        }
        return refuse(
            subject, "the kernel answers \"" + outcome.error().text + "\" (" + explanation + ")"
        );
    }
    if (!leads_somewhere(answer.type)) {
        return refuse(
            subject,
            std::string(explain_no_route(0, answer.type)) + " (route type " +
                std::to_string(answer.type) + ")"
        );
    }
    auto chosen = source ? source : answer.source;
    if (!chosen) {
        chosen = source_of_socket(destination, answer.ifindex);
    }
    if (!chosen || chosen->is_unset()) {
        return refuse(subject, "the kernel has no source address for it");
    }
    return Route{
        answer.ifindex,
        *chosen,
        answer.gateway.value_or(destination),
        answer.mtu,
        answer.type == RTN_LOCAL};
}

}  // namespace culvert::ctl
