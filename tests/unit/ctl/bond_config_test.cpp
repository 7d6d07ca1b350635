// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bonds as they are configured: read from a file, checked against other items, planned.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/plan.hpp"
#include "ctl/validate.hpp"
#include "tests/unit/ctl/plan_lines.hpp"
#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kPorts = kBridge + "[[port]]\nname = \"e0\"\nbridge = \"br0\"\n"
                                     "[[port]]\nname = \"e1\"\nbridge = \"br0\"\n";
const std::string kBond =
    kPorts + "[[bond]]\nname = \"bond0\"\nbridge = \"br0\"\nmembers = [\"e0\", \"e1\"]\n";

TEST(BondConfig, HasOpenVswitchsDefaults) {
    const DesiredState state = state_of(kBond);
    ASSERT_EQ(state.bonds.size(), 1U);
    const BondConfig& bond = state.bonds[0];
    EXPECT_EQ(bond.mode, BondMode::active_backup);
    EXPECT_EQ(bond.lacp, LacpMode::off);
    EXPECT_EQ(bond.updelay_ms, 0U);
    EXPECT_EQ(bond.rebalance_ms, 10000U);
    EXPECT_EQ(bond.lacp_system_priority, 65534);
    EXPECT_FALSE(bond.lacp_system_id);
    EXPECT_EQ(state.ports[0].bond, "bond0");
    EXPECT_EQ(state.ports[1].bond, "bond0");
}

TEST(BondConfig, TakesEveryKey) {
    const DesiredState state = state_of(
        kBond +
        "mode = \"balance-tcp\"\nlacp = \"active\"\nupdelay_ms = 31000\ndowndelay_ms = 200\n"
        "rebalance_ms = 1000\nhash_basis = 4294967295\nprimary = \"e1\"\n"
        "lacp_time = \"fast\"\nlacp_fallback_ab = true\n"
        "lacp_system_id = \"02:00:00:00:00:07\"\nlacp_system_priority = 3\n"
        "tag = 5\nvlan_mode = \"native-untagged\"\n"
    );
    const BondConfig& bond = state.bonds.at(0);
    EXPECT_EQ(bond.mode, BondMode::balance_tcp);
    EXPECT_EQ(bond.lacp, LacpMode::active);
    EXPECT_EQ(bond.updelay_ms, 31000U);
    EXPECT_EQ(bond.downdelay_ms, 200U);
    EXPECT_EQ(bond.rebalance_ms, 1000U);
    EXPECT_EQ(bond.hash_basis, 4294967295U);
    EXPECT_EQ(bond.primary, "e1");
    EXPECT_TRUE(bond.lacp_fast);
    EXPECT_TRUE(bond.lacp_fallback_ab);
    EXPECT_EQ(bond.lacp_system_id->to_string(), "02:00:00:00:00:07");
    EXPECT_EQ(bond.lacp_system_priority, 3);
    EXPECT_EQ(bond.vlan.tag, 5);
}

TEST(BondConfig, RefusesWhatDoesNotFit) {
    const std::string head = kPorts + "[[bond]]\nname = \"bond0\"\nbridge = \"br0\"\n";
    EXPECT_THAT(error_of(head + "members = []\n"), HasSubstr("members lists 0 ports; valid: 1-32"));
    EXPECT_THAT(error_of(head + "members = [\"e7\"]\n"), HasSubstr("member \"e7\" does not exist"));
    EXPECT_THAT(
        error_of(head + "members = [\"e0\", \"e0\"]\n"), HasSubstr("member \"e0\" is listed twice")
    );
    EXPECT_THAT(error_of(kBond + "rebalance_ms = 999\n"), HasSubstr("is too short; valid: 0"));
    EXPECT_THAT(
        error_of(kBond + "lacp_time = \"fast\"\n"),
        HasSubstr("does not apply to lacp = \"off\"; valid: with \"active\" or \"passive\"")
    );
    EXPECT_THAT(
        error_of(kBond + "[[bond]]\nname = \"bond1\"\nbridge = \"br0\"\nmembers = [\"e1\"]\n"),
        HasSubstr("member \"e1\" is one of bond \"bond0\"")
    );
    EXPECT_THAT(
        error_of(
            kBond + "[[bridge]]\nname = \"br1\"\n[[port]]\nname = \"e2\"\nbridge = \"br1\"\n"
                    "[[bond]]\nname = \"bond1\"\nbridge = \"br0\"\nmembers = [\"e2\"]\n"
        ),
        HasSubstr("member \"e2\" has bridge = \"br1\"; valid: the bond's, \"br0\"")
    );
    EXPECT_THAT(
        error_of(
            kPorts + "[[port]]\nname = \"e2\"\nbridge = \"br0\"\ntag = 5\n"
                     "[[bond]]\nname = \"bond1\"\nbridge = \"br0\"\nmembers = [\"e2\"]\n"
        ),
        HasSubstr("member \"e2\" has VLAN keys of its own")
    );
    EXPECT_THAT(
        error_of(kPorts + "[[bond]]\nname = \"e0\"\nbridge = \"br0\"\nmembers = [\"e1\"]\n"),
        HasSubstr("the name is taken by")
    );
    EXPECT_THAT(
        error_of(kPorts + "[[bond]]\nname = \"b\"\nbridge = \"br7\"\nmembers = [\"e1\"]\n"),
        HasSubstr("bridge = \"br7\" does not exist")
    );
}

TEST(BondConfig, AStaticAddressIsBehindTheBondAndNotItsMember) {
    const std::string entry = "[[bridge.static_mac]]\nmac = \"02:00:00:00:00:01\"\nport = \"%\"\n";
    const auto with = [&](const std::string& port) {
        std::string text = entry;
        text.replace(text.find('%'), 1, port);
        return kBridge + text + kBond.substr(kBridge.size());
    };
    EXPECT_EQ(state_of(with("bond0")).bonds.size(), 1U);
    EXPECT_THAT(error_of(with("e0")), HasSubstr("port = \"e0\" is no port of this bridge"));
}

TEST(BondPlan, MakesTheBondAndTellsItsMembers) {
    const DesiredState ports = state_of(kPorts);
    const DesiredState bonded = state_of(kBond + "mode = \"balance-slb\"\n");
    EXPECT_THAT(
        plan_lines(ports, bonded),
        ElementsAre(
            "add bond bond0: balance-slb over [\"e0\", \"e1\"] on bridge br0",
            "change port e0: bond none -> \"bond0\"",
            "change port e1: bond none -> \"bond0\""
        )
    );
    EXPECT_THAT(
        plan_lines(bonded, ports),
        ElementsAre(
            "remove bond bond0",
            "change port e0: bond \"bond0\" -> none",
            "change port e1: bond \"bond0\" -> none"
        )
    );
    DesiredState changed = bonded;
    changed.bonds[0].updelay_ms = 500;
    changed.bonds[0].lacp = LacpMode::active;
    EXPECT_THAT(
        plan_lines(bonded, changed),
        ElementsAre("change bond bond0: lacp \"off\" -> \"active\", updelay_ms 0 -> 500")
    );
}

TEST(BondPlan, AMemberLeavesWithoutTouchingTheOther) {
    const DesiredState both = state_of(kBond);
    DesiredState one = both;
    one.bonds[0].members = {"e0"};
    one.ports[1].bond.clear();
    ASSERT_TRUE(validate(one).has_value());
    EXPECT_THAT(
        plan_lines(both, one),
        ElementsAre(
            "change bond bond0: members [\"e0\", \"e1\"] -> [\"e0\"]",
            "change port e1: bond \"bond0\" -> none"
        )
    );
}

}  // namespace

}  // namespace culvert::ctl
