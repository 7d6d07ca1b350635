// SPDX-License-Identifier: GPL-2.0-or-later
//
// Datapath ids, the address of a bridge that has none configured, and XenServer's inventory.
#include <cstdio>
#include <fstream>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/ctl/ovsdb_made.hpp"

namespace culvert::ctl {
namespace {

using tunnels::MacAddress;

TEST(OvsdbIdentity, TheDatapathIdIsWhatIsConfiguredElseTheMac) {
    OvsdbBridge bridge;
    bridge.name = "xenbr0";
    bridge.mac = mac("02:00:00:00:00:0a");
    EXPECT_EQ(datapath_id(bridge, ""), "000002000000000a");
    EXPECT_EQ(datapath_id(bridge, "uuid"), "000002000000000a");
    bridge.datapath_id_config = "00000000000000ab";
    bridge.hwaddr = mac("02:00:00:00:00:0b");
    EXPECT_EQ(datapath_id(bridge, "uuid"), "00000000000000ab");
}

TEST(OvsdbIdentity, OnXenServerABridgeWithHwaddrHasAHashedId) {
    OvsdbBridge bridge;
    bridge.name = "xenbr0";
    bridge.hwaddr = mac("00:11:22:33:44:55");
    bridge.mac = *bridge.hwaddr;
    EXPECT_EQ(datapath_id(bridge, ""), "0000001122334455");
    // printf '%s' d2a2ae4f-1b1c-4d25-8d5d-0a1f7e3c5b6a,xenbr0 | sha1sum
    EXPECT_EQ(datapath_id(bridge, "d2a2ae4f-1b1c-4d25-8d5d-0a1f7e3c5b6a"), "00008e0d44e3f408");
}

TEST(OvsdbIdentity, TheInventoryNamesTheInstallation) {
    const std::string path = ::testing::TempDir() + "ovsdb_identity_inventory";
    std::ofstream(path) << "PRODUCT_BRAND='XCP-ng'\nINSTALLATION_UUID='d2a2ae4f-1b1c'\nX='1'\n";
    EXPECT_EQ(read_installation_uuid(path), "d2a2ae4f-1b1c");
    std::ofstream(path) << "PRODUCT_BRAND='XCP-ng'\n";
    EXPECT_EQ(read_installation_uuid(path), "");
    std::remove(path.c_str());
    EXPECT_EQ(read_installation_uuid(path), "");
}

class MemberMac : public ::testing::Test {
protected:
    MemberMac() {
        rows_.add_bridge("br0");
        rows_.add_port("br0", "e0");
        rows_.add_port("br0", "e1");
        rows_.add_bridge("br1");
        rows_.add_port("br1", "e2");
    }
    std::optional<MacAddress> find(std::optional<std::uint16_t> tag = {}) {
        return member_mac(made(rows_), "br0", tag, [&](const std::string& interface) {
            const auto found = macs_.find(interface);
            return found == macs_.end() ? std::nullopt : std::optional(mac(found->second));
        });
    }

    OvsdbRows rows_;
    std::map<std::string, std::string> macs_{
        {"br0", "00:00:00:00:00:01"},
        {"e0", "00:00:00:00:00:09"},
        {"e1", "00:00:00:00:00:08"},
        {"e2", "00:00:00:00:00:02"}};
};

TEST_F(MemberMac, IsTheLowestOfTheBridgesPorts) {
    EXPECT_EQ(find(), mac("00:00:00:00:00:08"));
    macs_["e1"] = "02:00:00:00:00:08";  // Local.
    EXPECT_EQ(find(), mac("00:00:00:00:00:09"));
    macs_["e0"] = "01:00:00:00:00:09";  // Multicast.
    EXPECT_EQ(find(), std::nullopt);
}

TEST_F(MemberMac, APortsOwnMacStandsForIt) {
    rows_.set("Port", "e0", "mac", OvsdbRows::text("00:00:00:00:00:03"));
    EXPECT_EQ(find(), mac("00:00:00:00:00:03"));
}

TEST_F(MemberMac, OfABondTheFirstMemberCounts) {
    rows_.add_bond("br0", "bond0", {"m2", "m1"});
    macs_["m1"] = "00:00:00:00:00:07";
    macs_["m2"] = "00:00:00:00:00:05";
    EXPECT_EQ(find(), mac("00:00:00:00:00:07"));
    macs_.erase("m1");
    EXPECT_EQ(find(), mac("00:00:00:00:00:05"));
}

TEST_F(MemberMac, OfAFakeBridgePortsOfItsVlanCount) {
    rows_.set("Port", "e0", "tag", OvsdbRows::number(5));
    EXPECT_EQ(find(5), mac("00:00:00:00:00:09"));
    EXPECT_EQ(find(6), std::nullopt);
}

class ChosenAddress : public MemberMac {
protected:
    bool choose() {
        return choose_addresses(configuration_, [&](const std::string& interface) {
            const auto found = macs_.find(interface);
            return found == macs_.end() ? std::nullopt : std::optional(mac(found->second));
        });
    }
    [[nodiscard]] std::optional<MacAddress> local() const {
        return configuration_.state.bridges.at(0).local.value().mac;
    }

    OvsdbConfiguration configuration_;
};

TEST_F(ChosenAddress, IsAMembersAndFollowsIt) {
    configuration_ = made(rows_);
    EXPECT_TRUE(choose());
    EXPECT_EQ(local(), mac("00:00:00:00:00:08"));
    EXPECT_EQ(datapath_id(configuration_.bridges.at(0), ""), "0000000000000008");
    EXPECT_FALSE(choose());
    macs_.erase("e1");
    EXPECT_TRUE(choose());
    EXPECT_EQ(local(), mac("00:00:00:00:00:09"));
}

TEST_F(ChosenAddress, IsOfTheBridgesUuidWhereNoMemberHasOne) {
    macs_.clear();
    configuration_ = made(rows_);
    // As by ovs-vswitchd 3.1 for a bridge of this UUID.
    configuration_.bridges.at(0).uuid = {"4d7a1f6f-21e2-4346-8c2c-2a0e7c7f9c11"};
    EXPECT_TRUE(choose());
    EXPECT_EQ(local(), mac("6e:1f:7a:4d:46:43"));
    configuration_.bridges.at(0).uuid = {"short"};
    EXPECT_TRUE(choose());
    EXPECT_EQ(local(), mac("02:00:00:00:00:00"));
}

TEST_F(ChosenAddress, IsWhatTheDatabaseSays) {
    rows_.set(
        "Bridge",
        "br0",
        "other_config",
        ovsdb::map_of(OvsdbRows::Options{{"hwaddr", "02:00:00:00:00:55"}})
    );
    configuration_ = made(rows_);
    static_cast<void>(choose());
    EXPECT_EQ(local(), mac("02:00:00:00:00:55"));
}

TEST_F(ChosenAddress, OfAFakeBridgeIsAMembersOfItsVlan) {
    rows_.add_port("br0", "fake", "internal");
    rows_.set("Port", "fake", "fake_bridge", OvsdbRows::truth(true));
    rows_.set("Port", "fake", "tag", OvsdbRows::number(5));
    rows_.set("Port", "e0", "tag", OvsdbRows::number(5));
    configuration_ = made(rows_);
    EXPECT_TRUE(choose());
    const auto fake = [&] {
        for (const PortConfig& port : configuration_.state.ports) {
            if (port.name == "fake") {
                return port.mac;
            }
        }
        return std::optional<MacAddress>();
    };
    EXPECT_EQ(fake(), mac("00:00:00:00:00:09"));
    macs_.erase("e0");
    EXPECT_TRUE(choose());
    EXPECT_EQ(fake(), mac("02:00:00:00:00:40")) << "of the bridge's UUID, as ovs-vswitchd has it";
    EXPECT_FALSE(choose());
}

}  // namespace
}  // namespace culvert::ctl
