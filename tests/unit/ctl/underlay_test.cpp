// SPDX-License-Identifier: GPL-2.0-or-later
//
// The underlay against a real kernel: each test has a network namespace of its own with a veth
// pair whose far end is in a second one, and drives it with `ip`. Needs root.
//
//   this namespace                      peer namespace
//   near 10.0.0.1/24 fd00::1/64  <--->  far 10.0.0.2/24 fd00::2/64  02:00:00:00:00:02
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ctl/route_request.hpp"
#include "ctl/underlay.hpp"
#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::ctl {
namespace {

using test::run;
using tunnels::IpAddress;
using tunnels::MacAddress;

using Events = std::vector<NetlinkEvent>;

constexpr int kGiveUpMs = 30000;  // Far beyond what any answer takes.

const MacAddress kFarMac{{0x02, 0, 0, 0, 0, 0x02}};

template <class T>
std::vector<T> only(const Events& events) {
    std::vector<T> chosen;
    for (const NetlinkEvent& event : events) {
        if (const auto* value = std::get_if<T>(&event)) {
            chosen.push_back(*value);
        }
    }
    return chosen;
}

bool has(const Events& events, const NetlinkEvent& wanted) {
    return std::find(events.begin(), events.end(), wanted) != events.end();
}

class UnderlayTest : public ::testing::Test {
protected:
    UnderlayTest() {
        run("ip link add near type veth peer name far address 02:00:00:00:00:02");
        peer.take("far");
        // Without duplicate detection the link-local addresses, from which IPv6 solicits, are
        // there at once.
        peer.run("sh -c 'cd /proc/sys/net/ipv6/conf; "
                 "for i in all far; do echo 0 > $i/accept_dad; done'");
        run("cd /proc/sys/net/ipv6/conf; for i in all near; do echo 0 > $i/accept_dad; done");
        peer.run("ip addr add 10.0.0.2/24 dev far");
        peer.run("ip addr add fd00::2/64 dev far nodad");
        peer.run("ip link set far up");
        run("ip addr add 10.0.0.1/24 dev near");
        run("ip addr add fd00::1/64 dev near nodad");
        run("ip link set near up");
        // Solicitations follow each other faster than in real life, and a stale entry is verified
        // at once.
        for (const char* family : {"ipv4", "ipv6"}) {
            const std::string folder = "/proc/sys/net/" + std::string(family) + "/neigh/near/";
            run("echo 50 > " + folder + "retrans_time_ms");
            run("echo 0 > " + folder + "delay_first_probe_time");
        }
        reopen();
        near_index = underlay->link("near").value().ifindex;
    }

    void reopen() {
        auto opened = open_underlay();
        if (!opened) {
            throw std::runtime_error(opened.error());
        }
        underlay = std::move(*opened);
    }

    // Collects events until they, or the mirror, are as wanted.
    Events await(const std::function<bool(const Events&)>& reached) {
        Events all;
        for (;;) {
            for (NetlinkEvent& event : underlay->read_events()) {
                all.push_back(std::move(event));
            }
            if (reached(all)) {
                return all;
            }
            pollfd waiting{.fd = underlay->event_fd(), .events = POLLIN, .revents = 0};
            if (poll(&waiting, 1, kGiveUpMs) <= 0) {
                ADD_FAILURE() << "the event did not come";
                return all;
            }
        }
    }

    Events await_event(const NetlinkEvent& wanted) {
        return await([&wanted](const Events& events) { return has(events, wanted); });
    }

    NeighbourEvent await_neighbour(const IpAddress& address, std::uint16_t states) {
        NeighbourEvent last;
        await([&](const Events& events) {
            for (const auto& event : only<NeighbourEvent>(events)) {
                if (event.address == address && (event.state & states) != 0) {
                    last = event;
                    return true;
                }
            }
            return false;
        });
        return last;
    }

    // What the kernel counts as lost for the event socket.
    [[nodiscard]] unsigned long overruns() const {
        struct stat status {};
        fstat(underlay->event_fd(), &status);
        std::ifstream table("/proc/thread-self/net/netlink");
        for (std::string line; std::getline(table, line);) {
            std::istringstream fields(line);
            std::vector<std::string> words;
            for (std::string word; fields >> word;) {
                words.push_back(word);
            }
            if (words.size() >= 10 && words[9] == std::to_string(status.st_ino)) {
                return std::stoul(words[8]);
            }
        }
        throw std::runtime_error("the event socket is not in /proc/net/netlink");
    }

    test::PrivateNetwork here;
    test::PeerNetwork peer;
    std::unique_ptr<Underlay> underlay;
    int near_index = 0;
};

TEST_F(UnderlayTest, StartsWithThePresentState) {
    run("ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev near nud permanent");
    run("ip link set near mtu 1400");
    reopen();
    const auto link = underlay->link("near").value();
    EXPECT_EQ(link.mtu, 1400U);
    EXPECT_TRUE(link.up);
    EXPECT_FALSE(link.mac.is_zero());
    EXPECT_EQ(underlay->link(near_index), link);
    EXPECT_TRUE(underlay->addresses().at(near_index).contains(ip("10.0.0.1")));
    EXPECT_TRUE(underlay->addresses().at(near_index).contains(ip("fd00::1")));
    EXPECT_TRUE(underlay->addresses().at(1).contains(ip("127.0.0.1")));
    const auto neighbour = underlay->neighbour(near_index, ip("10.0.0.7")).value();
    EXPECT_EQ(neighbour.mac, (MacAddress{{0x02, 0, 0, 0, 0, 0x07}}));
    EXPECT_EQ(neighbour.state, NUD_PERMANENT);
    EXPECT_FALSE(underlay->link("nosuch"));
    EXPECT_FALSE(underlay->link(4711));
    EXPECT_FALSE(underlay->neighbour(near_index, ip("10.0.0.8")));
}

TEST_F(UnderlayTest, FollowsALinkFromBirthToRemoval) {
    run("ip link add vif1.0 type veth peer name other");
    await([&](const Events&) { return underlay->link("vif1.0").has_value(); });
    LinkEvent link = underlay->link("vif1.0").value();
    EXPECT_FALSE(link.up);

    run("ip link set vif1.0 mtu 1234");
    link.mtu = 1234;
    await_event(link);

    run("ip link set vif1.0 address 02:00:00:00:00:11");
    link.mac = MacAddress{{0x02, 0, 0, 0, 0, 0x11}};
    await_event(link);

    run("ip link set vif1.0 name vif2.0");
    link.name = "vif2.0";
    await_event(link);
    EXPECT_FALSE(underlay->link("vif1.0"));
    EXPECT_EQ(underlay->link("vif2.0"), link);

    run("ip link set vif2.0 up; ip link set other up");
    link.up = true;
    link.enabled = true;
    link.running = true;
    await_event(link);
    // Without a peer that is up there is no carrier.
    run("ip link set other down");
    link.up = false;
    link.running = false;
    await_event(link);

    run("ip link del vif2.0");
    const auto events = await([&](const Events&) { return !underlay->link(link.ifindex); });
    const auto links = only<LinkEvent>(events);
    EXPECT_TRUE(std::any_of(links.begin(), links.end(), [&link](const LinkEvent& event) {
        return event.removed && event.ifindex == link.ifindex;
    }));
    EXPECT_FALSE(underlay->link("vif2.0"));
}

TEST_F(UnderlayTest, KeepsALinkThatLeavesABridge) {
    run("ip link add br0 type bridge");
    run("ip link set near master br0");
    run("ip link set near nomaster");
    run("ip link set near mtu 1300");  // The last change, so that all before it is read.
    const auto events =
        await([&](const Events&) { return underlay->link(near_index).value().mtu == 1300; });
    for (const auto& link : only<LinkEvent>(events)) {
        EXPECT_FALSE(link.removed) << link.name;
    }
}

TEST_F(UnderlayTest, FollowsAddresses) {
    run("ip addr add 10.5.0.1/16 dev near");
    auto events = await_event(AddressEvent{false, near_index, ip("10.5.0.1"), 16});
    EXPECT_TRUE(has(events, RouteEvent{}));
    EXPECT_TRUE(underlay->addresses().at(near_index).contains(ip("10.5.0.1")));
    run("ip addr add fd05::1/128 dev near nodad");
    await_event(AddressEvent{false, near_index, ip("fd05::1"), 128});

    run("ip addr del 10.5.0.1/16 dev near; ip addr del fd05::1/128 dev near");
    events = await([&](const Events& seen) {
        return has(seen, AddressEvent{true, near_index, ip("10.5.0.1"), 16}) &&
               has(seen, AddressEvent{true, near_index, ip("fd05::1"), 128});
    });
    EXPECT_FALSE(underlay->addresses().at(near_index).contains(ip("10.5.0.1")));
    EXPECT_FALSE(underlay->addresses().at(near_index).contains(ip("fd05::1")));
}

TEST_F(UnderlayTest, KeepsAnAddressWhileAnotherPrefixHoldsIt) {
    run("ip addr add 10.5.0.1/16 dev near; ip addr add 10.5.0.1/24 dev near");
    await_event(AddressEvent{false, near_index, ip("10.5.0.1"), 24});
    run("ip addr del 10.5.0.1/16 dev near");
    await_event(AddressEvent{true, near_index, ip("10.5.0.1"), 16});
    EXPECT_TRUE(underlay->addresses().at(near_index).contains(ip("10.5.0.1")));
    run("ip addr del 10.5.0.1/24 dev near");
    await_event(AddressEvent{true, near_index, ip("10.5.0.1"), 24});
    EXPECT_FALSE(underlay->addresses().at(near_index).contains(ip("10.5.0.1")));
}

TEST_F(UnderlayTest, KeepsAnAddressWhileAnotherPeerHoldsIt) {
    run("ip addr add 10.5.0.1 peer 10.5.0.2/32 dev near");
    run("ip addr add 10.5.0.1 peer 10.5.0.3/32 dev near");
    await([&](const Events& seen) { return only<AddressEvent>(seen).size() == 2; });
    run("ip addr del 10.5.0.1 peer 10.5.0.2/32 dev near");
    const auto events = await_event(AddressEvent{true, near_index, ip("10.5.0.1"), 32});
    EXPECT_TRUE(underlay->addresses().at(near_index).contains(ip("10.5.0.1")));
    // The events say so too, in this order.
    const auto addresses = only<AddressEvent>(events);
    ASSERT_EQ(addresses.size(), 2U);
    EXPECT_TRUE(addresses[0].removed);
    EXPECT_EQ(addresses[1], (AddressEvent{false, near_index, ip("10.5.0.1"), 32}));
}

TEST_F(UnderlayTest, ForgetsAddressesAndNeighboursOfARemovedLink) {
    run("ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev near nud permanent");
    await_neighbour(ip("10.0.0.7"), NUD_PERMANENT);
    run("ip link del near");
    const auto events = await([&](const Events&) { return !underlay->link(near_index); });
    EXPECT_TRUE(has(events, AddressEvent{true, near_index, ip("10.0.0.1"), 24}));
    EXPECT_TRUE(has(events, RouteEvent{}));
    EXPECT_FALSE(underlay->addresses().contains(near_index));
    EXPECT_FALSE(underlay->neighbour(near_index, ip("10.0.0.7")));
}

TEST_F(UnderlayTest, ResolvesANeighbourOnProbe) {
    for (const char* address : {"10.0.0.2", "fd00::2"}) {
        ASSERT_FALSE(underlay->neighbour(near_index, ip(address))) << address;
        underlay->probe_neighbour(near_index, ip(address));
        const auto event = await_neighbour(ip(address), NUD_REACHABLE);
        EXPECT_EQ(event.mac, kFarMac) << address;
        EXPECT_EQ(underlay->neighbour(near_index, ip(address)), event);
    }
}

TEST_F(UnderlayTest, ReportsANeighbourThatDoesNotAnswerAndProbesItAgain) {
    const struct {
        const char* address;
        const char* add;
    } cases[]{
        {"10.0.0.9", "ip addr add 10.0.0.9/24 dev far"},
        {"fd00::9", "ip addr add fd00::9/64 dev far nodad"}};
    for (const auto& [address, add] : cases) {
        underlay->probe_neighbour(near_index, ip(address));
        EXPECT_FALSE(await_neighbour(ip(address), NUD_FAILED).mac) << address;
        // An unanswered probe of a failed entry is reported again.
        underlay->probe_neighbour(near_index, ip(address));
        EXPECT_FALSE(await_neighbour(ip(address), NUD_FAILED).mac) << address;
        peer.run(add);
        underlay->probe_neighbour(near_index, ip(address));
        EXPECT_EQ(await_neighbour(ip(address), NUD_REACHABLE).mac, kFarMac) << address;
    }
}

TEST_F(UnderlayTest, VerifiesAStaleNeighbourOnProbe) {
    for (const std::string address : {"10.0.0.2", "fd00::2"}) {
        run("ip neigh replace " + address + " lladdr 02:00:00:00:00:02 dev near nud stale");
        const auto stale = await_neighbour(ip(address.c_str()), NUD_STALE);
        EXPECT_EQ(stale.mac, kFarMac);  // Usable while it is verified.
        underlay->probe_neighbour(near_index, ip(address.c_str()));
        EXPECT_EQ(await_neighbour(ip(address.c_str()), NUD_REACHABLE).mac, kFarMac) << address;
    }
}

TEST_F(UnderlayTest, LeavesAPermanentNeighbourAlone) {
    run("ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev near nud permanent");
    await_neighbour(ip("10.0.0.7"), NUD_PERMANENT);
    underlay->probe_neighbour(near_index, ip("10.0.0.7"));
    reopen();
    EXPECT_EQ(underlay->neighbour(near_index, ip("10.0.0.7")).value().state, NUD_PERMANENT);
}

TEST_F(UnderlayTest, FollowsARemovedNeighbour) {
    run("ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev near nud permanent");
    await_neighbour(ip("10.0.0.7"), NUD_PERMANENT);
    run("ip neigh del 10.0.0.7 dev near");
    const auto events =
        await([&](const Events&) { return !underlay->neighbour(near_index, ip("10.0.0.7")); });
    EXPECT_TRUE(only<NeighbourEvent>(events).back().removed);
}

TEST_F(UnderlayTest, FindsTheRouteOnLinkAndThroughAGateway) {
    EXPECT_EQ(
        underlay->route(ip("10.0.0.2"), std::nullopt).value(),
        (Route{near_index, ip("10.0.0.1"), ip("10.0.0.2"), 0, false})
    );
    run("ip route add 10.9.0.0/16 via 10.0.0.2 mtu 1400");
    EXPECT_EQ(
        underlay->route(ip("10.9.1.1"), std::nullopt).value(),
        (Route{near_index, ip("10.0.0.1"), ip("10.0.0.2"), 1400, false})
    );
}

TEST_F(UnderlayTest, FindsAnIpv6GatewayOfAnIpv4Route) {
    run("ip route add 10.9.0.0/16 via inet6 fe80::2 dev near");
    EXPECT_EQ(
        underlay->route(ip("10.9.1.1"), std::nullopt).value(),
        (Route{near_index, ip("10.0.0.1"), ip("fe80::2"), 0, false})
    );
}

TEST_F(UnderlayTest, FindsIpv6RoutesAndKeepsAGivenSource) {
    run("ip addr add fd00::11/64 dev near nodad");
    run("ip -6 route add fd09::/64 via fd00::2 src fd00::1 mtu 1400");
    EXPECT_EQ(
        underlay->route(ip("fd09::1"), std::nullopt).value(),
        (Route{near_index, ip("fd00::1"), ip("fd00::2"), 1400, false})
    );
    EXPECT_EQ(
        underlay->route(ip("fd09::1"), ip("fd00::11")).value(),
        (Route{near_index, ip("fd00::11"), ip("fd00::2"), 1400, false})
    );
    EXPECT_EQ(underlay->route(ip("fd00::2"), std::nullopt).value().next_hop, ip("fd00::2"));
}

TEST_F(UnderlayTest, KeepsAGivenIpv4Source) {
    run("ip addr add 10.0.0.11/24 dev near");
    EXPECT_EQ(
        underlay->route(ip("10.0.0.2"), ip("10.0.0.11")).value(),
        (Route{near_index, ip("10.0.0.11"), ip("10.0.0.2"), 0, false})
    );
}

TEST_F(UnderlayTest, PicksTheSourceThatASocketWouldGet) {
    EXPECT_EQ(source_of_socket(ip("10.0.0.2"), near_index), ip("10.0.0.1"));
    EXPECT_EQ(source_of_socket(ip("fd00::2"), near_index), ip("fd00::1"));
    EXPECT_EQ(source_of_socket(ip("10.77.0.1"), near_index), std::nullopt);
    run("ip addr add fe80::55/64 dev near nodad");
    const auto link_local = source_of_socket(ip("fe80::2"), near_index);
    ASSERT_TRUE(link_local);
    EXPECT_EQ(link_local->to_string().rfind("fe80:", 0), 0U) << link_local->to_string();
}

TEST_F(UnderlayTest, FollowsPolicyRules) {
    run("ip addr add 10.0.0.11/24 dev near");
    run("ip route add 10.9.0.0/16 via 10.0.0.2");
    run("ip route add 10.9.0.0/16 via 10.0.0.3 table 100");
    run("ip rule add from 10.0.0.11 lookup 100");
    EXPECT_EQ(underlay->route(ip("10.9.1.1"), std::nullopt).value().next_hop, ip("10.0.0.2"));
    EXPECT_EQ(underlay->route(ip("10.9.1.1"), ip("10.0.0.1")).value().next_hop, ip("10.0.0.2"));
    EXPECT_EQ(underlay->route(ip("10.9.1.1"), ip("10.0.0.11")).value().next_hop, ip("10.0.0.3"));
}

TEST_F(UnderlayTest, KnowsADestinationOnThisHost) {
    EXPECT_TRUE(underlay->route(ip("10.0.0.1"), std::nullopt).value().local);
    EXPECT_TRUE(underlay->route(ip("fd00::1"), std::nullopt).value().local);
}

TEST_F(UnderlayTest, NamesTheReasonWhenThereIsNoRoute) {
    run("ip route add unreachable 10.21.0.0/16; ip -6 route add unreachable fd21::/64");
    run("ip route add prohibit 10.22.0.0/16; ip -6 route add prohibit fd22::/64");
    run("ip route add blackhole 10.23.0.0/16; ip -6 route add blackhole fd23::/64");
    const struct {
        const char* destination;
        const char* reason;
    } cases[]{
        {"10.20.0.1", "no route leads there"},
        {"fd20::1", "no route leads there"},
        {"10.21.0.1", "makes it unreachable"},
        {"fd21::1", "makes it unreachable"},
        {"10.22.0.1", "prohibits it"},
        {"fd22::1", "prohibits it"},
        {"10.23.0.1", "swallows it"},
        {"fd23::1", "swallows it"}};
    for (const auto& [destination, reason] : cases) {
        const auto route = underlay->route(ip(destination), std::nullopt);
        ASSERT_FALSE(route) << destination;
        EXPECT_NE(route.error().find(destination), std::string::npos) << route.error();
        EXPECT_NE(route.error().find(reason), std::string::npos) << route.error();
    }
}

TEST_F(UnderlayTest, RefusesASourceOfAnotherHostOrFamily) {
    const auto foreign = underlay->route(ip("10.0.0.2"), ip("192.0.2.9"));
    ASSERT_FALSE(foreign);
    EXPECT_NE(foreign.error().find("192.0.2.9 is not an address of this host"), std::string::npos)
        << foreign.error();
    const auto mixed = underlay->route(ip("10.0.0.2"), ip("fd00::1"));
    ASSERT_FALSE(mixed);
    EXPECT_NE(mixed.error().find("one address family"), std::string::npos) << mixed.error();
}

TEST_F(UnderlayTest, ReportsRoutesRulesAndNexthops) {
    for (const char* command :
         {"ip route add 10.9.0.0/16 via 10.0.0.2",
          "ip route del 10.9.0.0/16",
          "ip -6 route add fd09::/64 via fd00::2",
          "ip rule add from 10.0.0.1 lookup 100",
          "ip -6 rule add from fd00::1 lookup 100",
          "ip nexthop add id 5 via 10.0.0.2 dev near",
          "ip nexthop del id 5"}) {
        await([](const Events&) { return true; });
        run(command);
        SCOPED_TRACE(command);
        await_event(RouteEvent{});
    }
}

TEST_F(UnderlayTest, ReportsRoutesThatGoAwayWithTheirLink) {
    run("ip route add 10.9.0.0/16 via 10.0.0.2");
    await_event(RouteEvent{});
    run("ip link set near down");
    await_event(RouteEvent{});
    EXPECT_FALSE(underlay->route(ip("10.9.1.1"), std::nullopt));
}

TEST_F(UnderlayTest, FoldsAStormOfRoutesIntoOneEventARead) {
    run("for i in $(seq 200); do echo route add 10.9.$i.0/24 via 10.0.0.2; "
        "echo route del 10.9.$i.0/24; done | ip -batch -");
    run("ip link set near mtu 1300");
    std::size_t reads = 0;
    std::size_t route_events = 0;
    await([&](const Events& events) {
        ++reads;
        route_events = only<RouteEvent>(events).size();
        return underlay->link(near_index).value().mtu == 1300;
    });
    EXPECT_GE(route_events, 1U);
    EXPECT_LE(route_events, reads);
}

TEST_F(UnderlayTest, RecoversFromAnOverrunWithTheDifferences) {
    run("ip link add keep type veth peer name goes");
    run("ip addr add 10.6.0.1/24 dev near");
    run("ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev near nud permanent");
    run("ip neigh add 10.0.0.8 lladdr 02:00:00:00:00:08 dev near nud permanent");
    await([&](const Events&) { return underlay->neighbour(near_index, ip("10.0.0.8")).has_value(); }
    );
    const auto kept = underlay->link("keep").value();
    const unsigned long before = overruns();

    const int tiny = 1;
    ASSERT_EQ(setsockopt(underlay->event_fd(), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
    run("for i in $(seq 100); do echo route add 10.9.$i.0/24 via 10.0.0.2; done | ip -batch -");
    run("ip link del keep");
    run("ip link add fresh type veth peer name other");
    run("ip addr del 10.6.0.1/24 dev near; ip addr add 10.7.0.1/24 dev near");
    run("ip neigh del 10.0.0.7 dev near");
    run("ip neigh replace 10.0.0.8 lladdr 02:00:00:00:00:18 dev near nud permanent");
    ASSERT_GT(overruns(), before) << "nothing was lost, so the test shows nothing";

    const auto events = await([&](const Events&) { return underlay->link("fresh").has_value(); });
    LinkEvent removed = kept;
    removed.removed = true;
    EXPECT_TRUE(has(events, removed));
    EXPECT_TRUE(has(events, underlay->link("fresh").value()));
    EXPECT_TRUE(has(events, AddressEvent{true, near_index, ip("10.6.0.1"), 24}));
    EXPECT_TRUE(has(events, AddressEvent{false, near_index, ip("10.7.0.1"), 24}));
    const NeighbourEvent gone{true, near_index, ip("10.0.0.7"), std::nullopt, NUD_PERMANENT};
    EXPECT_TRUE(has(events, gone));
    const NeighbourEvent moved{
        false, near_index, ip("10.0.0.8"), MacAddress{{0x02, 0, 0, 0, 0, 0x18}}, NUD_PERMANENT};
    EXPECT_TRUE(has(events, moved));
    EXPECT_TRUE(has(events, RouteEvent{}));
    EXPECT_FALSE(underlay->link("keep"));
    EXPECT_FALSE(underlay->addresses().at(near_index).contains(ip("10.6.0.1")));
    EXPECT_FALSE(underlay->neighbour(near_index, ip("10.0.0.7")));

    // Afterwards events come singly again.
    run("ip addr add 10.8.0.1/24 dev near");
    await_event(AddressEvent{false, near_index, ip("10.8.0.1"), 24});
}

TEST_F(UnderlayTest, SetsUpADevice) {
    run("ip link add port type veth peer name other");
    run("ip link set other up");
    await([&](const Events&) { return underlay->link("port").has_value(); });
    const int port = underlay->link("port").value().ifindex;
    ASSERT_TRUE(underlay->set_link_mtu(port, 1450));
    ASSERT_TRUE(underlay->set_link_up(port, true));
    ASSERT_TRUE(underlay->add_address(port, ip("10.4.0.1"), 24));
    ASSERT_TRUE(underlay->add_address(port, ip("fd04::1"), 64));
    ASSERT_TRUE(underlay->add_address(port, ip("10.4.0.1"), 24)) << "adding again must not fail";
    await([&](const Events&) {
        const auto link = underlay->link(port).value();
        const auto found = underlay->addresses().find(port);
        return link.up && link.mtu == 1450 && found != underlay->addresses().end() &&
               found->second.contains(ip("10.4.0.1")) && found->second.contains(ip("fd04::1"));
    });
    ASSERT_TRUE(underlay->remove_address(port, ip("10.4.0.1"), 24));
    ASSERT_TRUE(underlay->remove_address(port, ip("fd04::1"), 64));
    ASSERT_TRUE(underlay->set_link_up(port, false));
    await([&](const Events&) { return !underlay->link(port).value().up; });
    EXPECT_FALSE(underlay->addresses().contains(port));
}

TEST_F(UnderlayTest, NamesWhatCannotBeSetUp) {
    const auto mtu = underlay->set_link_mtu(near_index, 70000);
    ASSERT_FALSE(mtu);
    EXPECT_EQ(
        mtu.error(),
        "The MTU of the interface near cannot be set to 70000: Invalid argument (mtu greater than "
        "device maximum)."
    );
    const auto up = underlay->set_link_up(4711, true);
    ASSERT_FALSE(up);
    EXPECT_NE(up.error().find("index 4711"), std::string::npos) << up.error();
    const auto prefix = underlay->add_address(near_index, ip("10.4.0.1"), 33);
    ASSERT_FALSE(prefix);
    EXPECT_NE(prefix.error().find("at most 32"), std::string::npos) << prefix.error();
    const auto missing = underlay->remove_address(near_index, ip("10.4.0.1"), 24);
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().find("10.4.0.1/24"), std::string::npos) << missing.error();
}

TEST_F(UnderlayTest, DoesNotPassItsSocketsOn) {
    EXPECT_NE(fcntl(underlay->event_fd(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(fcntl(underlay->event_fd(), F_GETFL) & O_NONBLOCK, 0);
}

}  // namespace
}  // namespace culvert::ctl
