// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sentences of open_*_port() and of the switch in the words of Open vSwitch.
#include "ctl/open_failure.hpp"

#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

TEST(OpenFailure, NamesTheSystemsError) {
    EXPECT_EQ(open_failure_reason("the interface eth7 does not exist"), "No such device");
    EXPECT_EQ(open_failure_reason("the interface eth7 is gone"), "No such device");
    EXPECT_EQ(
        open_failure_reason("TAP device \"x\": it went away while it was set up"), "No such device"
    );
    EXPECT_EQ(
        open_failure_reason("TAP device \"x\": an interface of this name exists already"),
        "Invalid argument"
    );
    EXPECT_EQ(
        open_failure_reason("[[port]] \"a%b\": TAP device \"a%b\": the name is not valid: 1 to 15 "
                            "characters without "
                            "space, '/', ':' and '%' are"),
        "Invalid argument"
    );
    EXPECT_EQ(
        open_failure_reason(
            "interface \"x\": cannot open a packet socket: Operation not permitted (CAP_NET_RAW is "
            "needed)"
        ),
        "Operation not permitted"
    );
    EXPECT_EQ(
        open_failure_reason("TAP device \"x\": cannot create it: Device or resource busy"),
        "Device or resource busy"
    );
    EXPECT_EQ(open_failure_reason("x: No such device or address"), "No such device or address")
        << "not \"No such device\"";
}

TEST(OpenFailure, KeepsASentenceThatNamesNone) {
    EXPECT_EQ(open_failure_reason("the device has no queues"), "the device has no queues");
}

TEST(OpenFailure, IsWordedByTheKindOfDevice) {
    PortConfig config;
    EXPECT_EQ(
        open_failure(config, "eth7", "the interface eth7 does not exist"),
        "could not open network device eth7 (No such device)"
    );
    config.kind = PortKind::dpdk;
    config.devargs = "0000:03:00.0";
    EXPECT_EQ(open_failure(config, "dp0", "x"), "Error attaching device '0000:03:00.0' to DPDK");
    config.devargs = "net_vhost0,iface=/run/x.sock,client=1";
    EXPECT_EQ(
        open_failure(config, "vh0", "port \"vh0\": cannot start: Permission denied"),
        "could not open network device vh0 (Permission denied)"
    );
}

}  // namespace

}  // namespace culvert::ctl
