// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bonds in a snapshot. Bridge "under" (0) has a bond of ports 0 and 1, and its local port 2; bridge
// "over" (4) has tunnel 9, whose next hop is behind the bond.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/switch_model.hpp"
#include "tests/unit/ctl/fake_workers.hpp"
#include "tests/unit/dataplane/fake_port.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakePort;
using culvert::testing::FakeWorkers;
using dataplane::kPortNone;
using dataplane::Snapshot;
using dataplane::TunnelView;
using ::testing::ElementsAre;
using tunnels::DropReason;

class BuildBondSnapshot : public ::testing::Test {
protected:
    static constexpr std::uint16_t kUplink = 0;
    static constexpr std::uint16_t kSecond = 1;
    static constexpr std::uint16_t kLocal = 2;
    static constexpr std::uint16_t kTunnel0 = 9;
    static constexpr std::uint16_t kBond = 11;
    static constexpr std::uint16_t kUnder = 0;
    static constexpr std::uint16_t kOver = 4;

    BuildBondSnapshot() {
        model_.bridges["under"].index = kUnder;
        model_.bridges["over"].index = kOver;
        add_device(kUplink, PortRole::device);
        add_device(kSecond, PortRole::device);
        add_device(kLocal, PortRole::local);
        add_tunnel();
        add_bond();
        slow_path_.insert_bridge(kUnder, 64, 300);
        static_cast<void>(slow_path_.insert_fixed(kUnder, {0, next_hop_mac_}, kBond));
    }
    SwitchPort& insert(std::uint16_t index, std::uint16_t bridge, PortRole role) {
        SwitchPort& port = model_.ports[index];
        port.name = "p" + std::to_string(index);
        port.index = index;
        port.bridge = bridge;
        port.role = role;
        return port;
    }
    void add_device(std::uint16_t index, PortRole role) {
        SwitchPort& port = insert(index, kUnder, role);
        port.device = std::make_shared<FakePort>(index == kUplink);
        port.mtu = 1600;
        port.up = true;
    }
    void add_tunnel() {
        SwitchPort& port = insert(kTunnel0, kOver, PortRole::tunnel);
        port.tunnel.type = "vxlan";
        port.tunnel.remote_ip = *tunnels::IpAddress::parse("172.20.0.2");
        port.tunnel.dst_port = 4789;
        port.resolution.state = Resolution::State::resolved;
        port.resolution.next_hop_mac = next_hop_mac_;
        port.resolution.mtu = 1600;
        port.resolution.device.bridge = kUnder;
    }
    void add_bond() {
        SwitchPort& port = insert(kBond, kUnder, PortRole::bond);
        port.name = port.bond_config.name = "bond0";
        port.bond_config.mode = BondMode::active_backup;
        port.bond_config.members = {"p0", "p1"};
        port.bond = std::make_shared<BondGroup>();
        port.bond->bond.configure(port.bond_config, 0);
        port.bond->view.port = kBond;
        port.mtu = 1400;
        port.up = true;
        std::vector<BondMemberInput> inputs;
        for (const std::uint16_t member : {kUplink, kSecond}) {
            model_.ports.at(member).config.bond = "bond0";
            inputs.push_back(
                {.port = member, .name = "p" + std::to_string(member), .mac = {}, .up = true}
            );
        }
        port.bond->bond.run(inputs, LacpStatus::off, 0);
        port.bond->admits = {dataplane::MemberAdmits::everything, dataplane::MemberAdmits::nothing};
    }
    [[nodiscard]] std::unique_ptr<Snapshot> build() const {
        return build_snapshot(model_, slow_path_, {}, 2, 17);
    }

    const tunnels::MacAddress next_hop_mac_{{0x02, 0, 0, 0, 0, 0xaa}};
    dataplane::FlowCache flows_{2048};
    FakeWorkers workers_;
    SlowPath slow_path_{workers_, flows_};
    SwitchModel model_;
};

TEST_F(BuildBondSnapshot, TheBondIsAPortOfTheBridgeAndItsMembersAreNot) {
    model_.ports.at(kBond).vlan = {.mode = VlanMode::access, .tag = 9, .trunks = {}};
    const auto snapshot = build();
    EXPECT_THAT(snapshot->bridges[kUnder].members, ElementsAre(kLocal, kBond));
    const auto& bond = snapshot->ports[kBond];
    EXPECT_TRUE(bond.is_bond());
    EXPECT_TRUE(bond.sends());
    EXPECT_EQ(bond.mtu, 1400U);
    EXPECT_FALSE(bond.carries_offloads);  // One member does not.
    EXPECT_EQ(snapshot->bonds.at(bond.bond).port, kBond);
    for (const std::uint16_t member : {kUplink, kSecond}) {
        const auto& view = snapshot->ports[member];
        EXPECT_EQ(view.bridge, kPortNone);
        EXPECT_EQ(view.bond_role, dataplane::BondRole::member);
        EXPECT_EQ(view.vlan.untagged_vlan, 9);
        EXPECT_EQ(view.refusal, DropReason::bond_standby);
    }
    EXPECT_EQ(snapshot->ports[kUplink].admits, dataplane::MemberAdmits::everything);
    EXPECT_EQ(snapshot->ports[kSecond].admits, dataplane::MemberAdmits::nothing);
}

TEST_F(BuildBondSnapshot, AMemberWhoseBondIsNotThereForwardsNothing) {
    model_.ports.erase(kBond);
    const auto snapshot = build();
    EXPECT_EQ(snapshot->ports[kUplink].bridge, kPortNone);
    EXPECT_EQ(snapshot->ports[kUplink].bond_role, dataplane::BondRole::none);
    EXPECT_THAT(snapshot->bridges[kUnder].members, ElementsAre(kLocal));
}

TEST_F(BuildBondSnapshot, ATunnelsNextHopMayBeBehindTheBond) {
    const auto snapshot = build();
    const TunnelView& view = snapshot->tunnels.at(snapshot->ports.at(kTunnel0).tunnel);
    EXPECT_TRUE(view.resolved);
    EXPECT_EQ(view.out_port, kBond);
    EXPECT_EQ(view.underlay_mtu, 1400U);
}

TEST_F(BuildBondSnapshot, MembersAreFoundInTheOrderOfTheBond) {
    BondConfig& config = model_.ports.at(kBond).bond_config;
    config.members = {"p1", "p7", "p0"};
    EXPECT_THAT(
        model_.members_of(config), ElementsAre(&model_.ports.at(kSecond), &model_.ports.at(kUplink))
    );
}

}  // namespace

}  // namespace culvert::ctl
