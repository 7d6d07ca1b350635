// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel is asked for an SA as by a packet, in a network namespace of its own that has an IKE
// daemon's policies, seen by who listens in that daemon's place. Needs root.
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <poll.h>

#include "ctl/acquire.hpp"
#include "ctl/netlink_bytes.hpp"
#include "ctl/netlink_talk.hpp"
#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::ctl {
namespace {

using tunnels::IpAddress;

constexpr int kAcquireWaitMs = 30000;  // Far beyond what any answer takes.

class AcquireTest : public ::testing::Test {
protected:
    AcquireTest() {
        test::run("ip link add near type veth peer name far");
        test::run("ip link set near up");
        test::run("ip link set far up");
        test::run("ip addr add 172.20.0.2/24 dev near");
        test::run("ip addr add fd20::2/64 dev near nodad");
        before_ = sent();
        listener_.reset(mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK));
        int group = XFRMNLGRP_ACQUIRE;
        test::require(
            listener_ && mnl_socket_bind(listener_.get(), 0, MNL_SOCKET_AUTOPID) == 0 &&
                mnl_socket_setsockopt(
                    listener_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)
                ) == 0,
            "the XFRM group of acquires cannot be joined"
        );
    }

    static void add_policy(const std::string& selector) {
        test::run(
            "ip xfrm policy add " + selector + " dir out tmpl proto esp reqid 7 mode transport"
        );
    }

    // IPv4 packets of the namespace since the start: OutRequests, the tenth number.
    [[nodiscard]] static std::string sent() {
        std::ifstream counters("/proc/net/snmp");
        std::string word;
        std::string names;
        std::getline(counters, names);
        for (int i = 0; i <= 10; ++i) {
            counters >> word;
        }
        return word;
    }

    // What an IKE daemon is asked; nothing: it is not asked.
    [[nodiscard]] std::optional<xfrm_user_acquire> asked(int wait_ms) {
        pollfd waiting{.fd = mnl_socket_get_fd(listener_.get()), .events = POLLIN, .revents = 0};
        if (poll(&waiting, 1, wait_ms) != 1) {
            return std::nullopt;
        }
        const int length = receive_datagram(listener_, buffer_);
        std::optional<xfrm_user_acquire> found;
        visit_messages(
            Bytes(buffer_.bytes).first(static_cast<std::size_t>(length)),
            [&found](std::uint16_t type, Bytes body) {
                xfrm_user_acquire acquire{};
                EXPECT_EQ(type, XFRM_MSG_ACQUIRE);
                EXPECT_TRUE(take(body, acquire));
                found = acquire;
                return true;
            }
        );
        return found;
    }

    [[nodiscard]] bool nothing_was_sent() const { return sent() == before_; }

private:
    test::PrivateNetwork network_;
    NetlinkSocket listener_;
    DatagramBuffer buffer_;
    std::string before_;
};

TEST_F(AcquireTest, AsksForTheSaOfGre) {
    add_policy("src 172.20.0.2/32 dst 172.20.0.4/32 proto gre");
    ASSERT_TRUE(acquire_association(ip("172.20.0.2"), ip("172.20.0.4"), 0));
    const auto acquire = asked(kAcquireWaitMs);
    ASSERT_TRUE(acquire);
    EXPECT_EQ(acquire->sel.proto, IPPROTO_GRE);
    EXPECT_EQ(acquire->sel.saddr.a4, htonl(0xac140002));
    EXPECT_EQ(acquire->sel.daddr.a4, htonl(0xac140004));
    // As long as the daemon works at it, it is not asked again.
    ASSERT_TRUE(acquire_association(ip("172.20.0.2"), ip("172.20.0.4"), 0));
    EXPECT_FALSE(asked(0));
    EXPECT_TRUE(nothing_was_sent());
}

TEST_F(AcquireTest, AsksForTheSaOfAUdpTunnel) {
    add_policy("src 172.20.0.2/32 dst 172.20.0.4/32 proto udp dport 4789");
    ASSERT_TRUE(acquire_association(ip("172.20.0.2"), ip("172.20.0.4"), 4789));
    const auto acquire = asked(kAcquireWaitMs);
    ASSERT_TRUE(acquire);
    EXPECT_EQ(acquire->sel.proto, IPPROTO_UDP);
    EXPECT_EQ(acquire->sel.dport, htons(4789));
    EXPECT_TRUE(nothing_was_sent());
}

TEST_F(AcquireTest, AsksOverIpv6) {
    add_policy("src fd20::2/128 dst fd20::4/128 proto gre");
    ASSERT_TRUE(acquire_association(ip("fd20::2"), ip("fd20::4"), 0));
    const auto acquire = asked(kAcquireWaitMs);
    ASSERT_TRUE(acquire);
    EXPECT_EQ(acquire->sel.family, AF_INET6);
    EXPECT_EQ(IpAddress::from_v6(&acquire->sel.daddr), ip("fd20::4"));
}

TEST_F(AcquireTest, NobodyIsAskedWithoutAPolicy) {
    add_policy("src 172.20.0.2/32 dst 172.20.0.4/32 proto udp dport 4789");
    ASSERT_TRUE(acquire_association(ip("172.20.0.2"), ip("172.20.0.4"), 0));
    ASSERT_TRUE(acquire_association(ip("172.20.0.2"), ip("172.20.0.9"), 4789));
    EXPECT_FALSE(asked(0));
    EXPECT_TRUE(nothing_was_sent());
}

TEST_F(AcquireTest, AnAddressThatTheHostHasNotIsNamed) {
    EXPECT_EQ(
        acquire_association(ip("172.20.0.3"), ip("172.20.0.4"), 0).error(),
        "The kernel cannot be asked for an SA from 172.20.0.3 to 172.20.0.4: Cannot assign "
        "requested address."
    );
}

}  // namespace
}  // namespace culvert::ctl
