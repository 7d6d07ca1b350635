// SPDX-License-Identifier: GPL-2.0-or-later
//
// The XFRM sockets against a real kernel, in a network namespace of its own. The kernel of a build
// machine may lack ESP, but keeps numbers for SAs to come (allocspi), which must be passed over.
// What becomes of whole SAs is tested in a guest. Needs root.
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <poll.h>

#include "ctl/xfrm.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::ctl {
namespace {

using tunnels::IpAddress;

constexpr int kXfrmWaitMs = 30000;  // Far beyond what any answer takes.
const IpAddress kPeerIp = *IpAddress::parse("172.20.0.4");

class XfrmTest : public ::testing::Test {
protected:
    XfrmTest() : xfrm(open_xfrm().value()) {}

    // Waits until an event is there.
    [[nodiscard]] bool is_readable(int wait_ms) const {
        pollfd waiting{.fd = xfrm->event_fd(), .events = POLLIN, .revents = 0};
        return poll(&waiting, 1, wait_ms) == 1;
    }

    test::PrivateNetwork network;
    std::unique_ptr<Xfrm> xfrm;
};

// Precondition: the namespace has no SAs.
void keep_number() {
    test::run("ip xfrm state allocspi src 172.20.0.2 dst 172.20.0.4 proto esp mode transport "
              "reqid 1 min 0x1001 max 0x1001 >/dev/null");
}

TEST_F(XfrmTest, PassesOverNumbersThatAreKeptForSasToCome) {
    EXPECT_TRUE(xfrm->read_events().empty());
    EXPECT_FALSE(is_readable(0));
    keep_number();
    // Those that were there at the start are in what is read then.
    EXPECT_TRUE(open_xfrm().value()->read_events().empty());
    // Of its end the kernel tells, but nothing was there.
    test::run("ip xfrm state delete src 172.20.0.2 dst 172.20.0.4 proto esp spi 0x1001");
    EXPECT_TRUE(is_readable(kXfrmWaitMs));
    EXPECT_TRUE(xfrm->read_events().empty());
    EXPECT_FALSE(is_readable(0));
    keep_number();
    test::run("ip xfrm state flush");
    EXPECT_TRUE(is_readable(kXfrmWaitMs));
    EXPECT_TRUE(xfrm->read_events().empty());
}

TEST_F(XfrmTest, AnSaThatThereIsNotIsNamed) {
    SaUse use;
    use.spi = 0x1001;
    use.destination = kPeerIp;
    const std::string expected =
        "The kernel does not have the SA 0x00001001 to 172.20.0.4 any more.";
    EXPECT_EQ(xfrm->note_use(use).error(), expected);
    EXPECT_EQ(xfrm->expire(0x1001, kPeerIp, false).error(), expected);
}

}  // namespace
}  // namespace culvert::ctl
