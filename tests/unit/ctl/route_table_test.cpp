// SPDX-License-Identifier: GPL-2.0-or-later
//
// Routes of the kernel as they are shown: one message at a time, and read in a namespace.
#include "ctl/route_table.hpp"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

class RouteMessage {
public:
    explicit RouteMessage(unsigned type = RTN_UNICAST, unsigned table = RT_TABLE_MAIN)
        : header_(mnl_nlmsg_put_header(bytes_.data())) {
        header_->nlmsg_type = RTM_NEWROUTE;
        route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header_, sizeof(rtmsg)));
        route->rtm_family = AF_INET;
        route->rtm_dst_len = 24;
        route->rtm_type = static_cast<unsigned char>(type);
        route->rtm_table = static_cast<unsigned char>(table);
    }
    void put(std::uint16_t type, const char* address) {
        mnl_attr_put(header_, type, 4, IpAddress::parse(address)->v4());
    }
    void put(std::uint16_t type, std::uint32_t value) { mnl_attr_put_u32(header_, type, value); }
    [[nodiscard]] std::span<const std::byte> bytes() const {
        return {bytes_.data(), header_->nlmsg_len};
    }

    rtmsg* route = nullptr;

private:
    alignas(nlmsghdr) std::array<std::byte, 256> bytes_{};
    nlmsghdr* header_;
};

TEST(RouteTable, ReadsARouteByAGateway) {
    RouteMessage message;
    message.put(RTA_DST, "192.168.7.0");
    message.put(RTA_GATEWAY, "172.20.0.2");
    message.put(RTA_OIF, 3U);
    const auto route = parse_host_route(message.bytes());
    ASSERT_TRUE(route.has_value());
    EXPECT_EQ(route->prefix, IpAddress::parse("192.168.7.0"));
    EXPECT_EQ(route->prefix_bits, 24);
    EXPECT_EQ(route->gateway, IpAddress::parse("172.20.0.2"));
    EXPECT_EQ(route->ifindex, 3);
    EXPECT_FALSE(route->local);
}

TEST(RouteTable, LeavesOutWhatLeadsNowhereOrIsElsewhere) {
    for (const auto& [type, table] :
         {std::pair<unsigned, unsigned>(RTN_BLACKHOLE, RT_TABLE_MAIN),
          std::pair<unsigned, unsigned>(RTN_MULTICAST, RT_TABLE_LOCAL),
          std::pair<unsigned, unsigned>(RTN_UNICAST, 100)}) {
        RouteMessage message(type, table);
        message.put(RTA_DST, "192.168.7.0");
        message.put(RTA_OIF, 3U);
        EXPECT_FALSE(parse_host_route(message.bytes()).has_value()) << type << ' ' << table;
    }
}

TEST(RouteTable, LeavesOutMessagesThatAreCutOff) {
    RouteMessage message;
    message.put(RTA_OIF, 3U);
    EXPECT_TRUE(parse_host_route(message.bytes()).has_value());
    for (std::size_t size = 0; size < message.bytes().size(); ++size) {
        EXPECT_FALSE(parse_host_route(message.bytes().first(size)).has_value()) << size;
    }
}

TEST(RouteTable, HasTheHostsLoopbackAddress) {
    const auto routes = read_host_routes();
    ASSERT_TRUE(routes.has_value()) << routes.error();
    EXPECT_TRUE(std::any_of(routes->begin(), routes->end(), [](const HostRoute& route) {
        return route.local && route.prefix == IpAddress::parse("127.0.0.1");
    }));
}

}  // namespace

}  // namespace culvert::ctl
