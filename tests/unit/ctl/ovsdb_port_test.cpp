// SPDX-License-Identifier: GPL-2.0-or-later
//
// Ports and interfaces of an Open_vSwitch database that are no tunnels: VLANs, bonds, devices,
// patch ports, fake bridges, and the error of each that cannot be had.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/ovsdb_made.hpp"

namespace culvert::ctl {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

OvsdbRows with_port(const std::string& type = "", const OvsdbRows::Options& options = {}) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_port("br0", "p", type, options);
    return rows;
}

OvsdbRows with_bond() {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bond("br0", "bond0", {"e1", "e0"});
    return rows;
}

TEST(OvsdbPort, SystemInterfacesMayComeAndGo) {
    for (const char* type : {"", "system"}) {
        const OvsdbConfiguration configuration = made(with_port(type));
        const PortConfig& port = named(configuration.state.ports, "p");
        EXPECT_EQ(port.kind, PortKind::linux_interface);
        EXPECT_EQ(port.interface, "p");
        EXPECT_EQ(port.bridge, "br0");
        EXPECT_TRUE(port.claim);
        EXPECT_TRUE(port.hotplug);
    }
}

TEST(OvsdbPort, InternalAndTapInterfacesAreTaps) {
    OvsdbRows rows = with_port("internal");
    rows.set("Interface", "p", "mac", OvsdbRows::text("02:00:00:00:00:07"));
    rows.set("Interface", "p", "mtu_request", OvsdbRows::number(1400));
    OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.state.ports, "p").kind, PortKind::tap);
    EXPECT_EQ(named(configuration.state.ports, "p").mtu, 1400U);
    EXPECT_EQ(
        named(configuration.state.ports, "p").mac, tunnels::MacAddress::parse("02:00:00:00:00:07")
    );
    rows.set("Interface", "p", "type", OvsdbRows::text("tap"));
    configuration = made(rows);
    EXPECT_EQ(named(configuration.state.ports, "p").kind, PortKind::tap);
    EXPECT_FALSE(named(configuration.state.ports, "p").mac.has_value());
}

TEST(OvsdbPort, MacsOfNoInterfaceAreIgnored) {
    OvsdbRows rows = with_port("internal");
    rows.set("Interface", "p", "mac", OvsdbRows::text("01:00:00:00:00:07"));
    OvsdbConfiguration configuration = made(rows);
    EXPECT_FALSE(named(configuration.state.ports, "p").mac.has_value());
    EXPECT_THAT(
        configuration.warnings, ElementsAre("interface p: cannot set MAC to multicast address")
    );
    rows.set("Interface", "p", "mac", OvsdbRows::text("0:0:0:0:0:0"));
    configuration = made(rows);
    EXPECT_THAT(
        configuration.warnings, ElementsAre("interface p: cannot set MAC to all zero address")
    );
}

TEST(OvsdbPort, AnMtuOutOfRangeIsNotSet) {
    OvsdbRows rows = with_port("internal");
    rows.set("Interface", "p", "mtu_request", OvsdbRows::number(70000));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_FALSE(named(configuration.state.ports, "p").mtu.has_value());
    EXPECT_THAT(
        configuration.warnings,
        ElementsAre("interface p: mtu_request=70000 is out of range; valid: 68-65521")
    );
}

TEST(OvsdbPort, UnknownTypesCannotBeOpened) {
    for (const char* type : {"foo", "stt", "erspan", "gtpu", "dpdkvhostuser", "afxdp"}) {
        const OvsdbConfiguration configuration = made(with_port(type));
        EXPECT_EQ(
            error_of(configuration, "p"),
            "could not open network device p (Address family not supported by protocol)"
        );
        EXPECT_FALSE(has(configuration.state.ports, "p"));
    }
}

TEST(OvsdbPort, NamesThatNoDeviceCanHaveCannotBeOpened) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_port("br0", "sixteen-bytes-xy", "internal");
    rows.add_port("br0", "a:b", "internal");
    rows.add_port("br0", "a b", "internal");
    rows.add_port("br0", "another-long-name");
    rows.add_port("br0", "a/b", "gre", {{"remote_ip", "192.0.2.2"}});
    rows.add_port("br0", "a-tunnel-needs-no-device", "gre", {{"remote_ip", "192.0.2.3"}});
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(
        error_of(configuration, "sixteen-bytes-xy"),
        "could not open network device sixteen-bytes-xy (File name too long)"
    );
    EXPECT_EQ(
        error_of(configuration, "a:b"), "could not open network device a:b (Invalid argument)"
    );
    EXPECT_EQ(
        error_of(configuration, "a b"), "could not open network device a b (Invalid argument)"
    );
    EXPECT_EQ(
        error_of(configuration, "a/b"), "could not open network device a/b (Invalid argument)"
    );
    EXPECT_EQ(
        error_of(configuration, "another-long-name"),
        "could not open network device another-long-name (No such device)"
    );
    EXPECT_EQ(error_of(configuration, "a-tunnel-needs-no-device"), "");
}

TEST(OvsdbPort, ReservedNamesAreIgnored) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    for (const char* name : {"gre_sys", "vxlan_sys_4789", "ovs-system", "ovs-netdev", "udp_sys1"}) {
        rows.add_port("br0", name, "internal");
    }
    rows.add_port("br0", "ovs-other", "internal");
    const OvsdbConfiguration configuration = made(rows);
    for (const char* name : {"gre_sys", "vxlan_sys_4789", "ovs-system", "ovs-netdev", "udp_sys1"}) {
        EXPECT_TRUE(named(configuration.interfaces, name).ignored);
        EXPECT_EQ(error_of(configuration, name), "");
        EXPECT_FALSE(named(configuration.interfaces, name).in_state());
        EXPECT_FALSE(has(configuration.state.ports, name));
    }
    EXPECT_TRUE(has(configuration.state.ports, "ovs-other"));
    EXPECT_THAT(
        configuration.warnings, Contains("could not create interface gre_sys, name is reserved")
    );
}

TEST(OvsdbPort, PatchPortsNameEachOther) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bridge("br1");
    rows.add_port("br0", "pa", "patch", {{"peer", "pb"}});
    rows.add_port("br1", "pb", "patch", {{"peer", "pa"}});
    rows.add_port("br1", "pc", "patch", {{"peer", "pa"}});
    rows.add_port("br1", "pd", "patch", {{"peer", "px"}});
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.state.ports, "pa").kind, PortKind::patch);
    EXPECT_EQ(named(configuration.state.ports, "pa").peer, "pb");
    EXPECT_EQ(named(configuration.interfaces, "pa").complaint, "");
    EXPECT_EQ(named(configuration.interfaces, "pb").complaint, "");
    EXPECT_EQ(
        named(configuration.interfaces, "pc").complaint,
        "No usable peer 'pa' exists in 'netdev' datapath."
    );
    EXPECT_EQ(
        named(configuration.interfaces, "pd").complaint,
        "No usable peer 'px' exists in 'netdev' datapath."
    );
    EXPECT_TRUE(named(configuration.interfaces, "pd").in_state());
}

TEST(OvsdbPort, PatchPortsNeedAPeerAndNothingElse) {
    EXPECT_EQ(
        error_of(made(with_port("patch")), "p"), "p: patch type requires valid 'peer' argument"
    );
    EXPECT_EQ(
        error_of(made(with_port("patch", {{"peer", "p"}})), "p"), "p: patch peer must not be self"
    );
    EXPECT_EQ(
        error_of(made(with_port("patch", {{"peer", "q"}, {"foo", "1"}})), "p"),
        "p: patch type takes only a 'peer' argument"
    );
}

TEST(OvsdbPort, DpdkPortsHaveDevicesAndQueues) {
    const OvsdbConfiguration configuration =
        made(with_port("dpdk", {{"dpdk-devargs", "0000:03:00.0"}, {"n_rxq", "2"}}));
    const PortConfig& port = named(configuration.state.ports, "p");
    EXPECT_EQ(port.kind, PortKind::dpdk);
    EXPECT_EQ(port.devargs, "0000:03:00.0");
    EXPECT_EQ(port.rx_queues, 2U);
    const OvsdbConfiguration many =
        made(with_port("dpdk", {{"dpdk-devargs", "0000:03:00.0"}, {"n_rxq", "99"}}));
    EXPECT_EQ(named(many.state.ports, "p").rx_queues, 32U);
    EXPECT_THAT(many.warnings, ElementsAre("p: n_rxq=99 is above 32, which is taken"));
    EXPECT_THAT(error_of(made(with_port("dpdk")), "p"), HasSubstr("requires 'dpdk-devargs'"));
}

TEST(OvsdbPort, OneDeviceIsOnePorts) {
    OvsdbRows rows = with_port("dpdk", {{"dpdk-devargs", "0000:03:00.0"}});
    rows.add_port("br0", "q", "dpdk", {{"dpdk-devargs", "03:00.0,a=1"}});
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(error_of(configuration, "p"), "");
    EXPECT_EQ(
        error_of(configuration, "q"),
        "could not add network device q to ofproto (Device or resource busy)"
    );
}

TEST(OvsdbPort, VhostUserClientsAreVirtualDevicesOfAStableName) {
    DesiredState base;
    base.workers.count = 3;
    OvsdbRows rows = with_port("dpdkvhostuserclient", {{"vhost-server-path", "/run/vm.sock"}});
    rows.add_port("br0", "a+b", "dpdkvhostuserclient", {{"vhost-server-path", "/run/b.sock"}});
    rows.add_port("br0", "none", "dpdkvhostuserclient");
    rows.add_port("br0", "comma", "dpdkvhostuserclient", {{"vhost-server-path", "/run/a,b"}});
    const OvsdbConfiguration configuration = made(rows, base);
    EXPECT_EQ(
        named(configuration.state.ports, "p").devargs,
        "net_vhost_p,iface=/run/vm.sock,client=1,queues=3"
    );
    EXPECT_THAT(
        named(configuration.state.ports, "a+b").devargs,
        ::testing::MatchesRegex("net_vhost_[0-9a-f]{16},iface=/run/b.sock,client=1,queues=3")
    );
    EXPECT_THAT(error_of(configuration, "none"), HasSubstr("requires 'vhost-server-path'"));
    EXPECT_THAT(error_of(configuration, "comma"), HasSubstr("without comma"));
}

TEST(OvsdbPort, PortAndInterfaceNamesMayDiffer) {
    OvsdbRows rows;
    rows.add_bridge("xapi1");
    rows.add_bond("xapi1", "xapi1_port1", {"xapi1_iface1"});
    rows.set("Interface", "xapi1_iface1", "type", OvsdbRows::text("vxlan"));
    rows.set(
        "Interface",
        "xapi1_iface1",
        "options",
        ovsdb::map_of(OvsdbRows::Options{{"remote_ip", "192.0.2.2"}, {"key", "1"}})
    );
    rows.set("Port", "xapi1_port1", "tag", OvsdbRows::number(7));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.interfaces, "xapi1_iface1").port, "xapi1_port1");
    EXPECT_EQ(named(configuration.interfaces, "xapi1_iface1").bridge, "xapi1");
    const TunnelConfig& tunnel = named(configuration.state.tunnels, "xapi1_iface1");
    EXPECT_EQ(tunnel.bridge, "xapi1");
    EXPECT_EQ(tunnel.in_key, 1U);
    EXPECT_EQ(tunnel.vlan, (VlanConfig{VlanMode::access, 7, {}}));
}

struct VlanCase {
    std::optional<std::int64_t> tag;
    std::vector<std::int64_t> trunks;
    std::string mode;
    VlanConfig vlan;
};

TEST(OvsdbPort, VlansFollowTagTrunksAndMode) {
    const std::vector<VlanCase> cases{
        {{}, {}, "", {VlanMode::trunk, 0, {}}},
        {{}, {7, 5}, "", {VlanMode::trunk, 0, {5, 7}}},
        {5, {}, "", {VlanMode::access, 5, {}}},
        {5, {7}, "", {VlanMode::access, 5, {}}},
        {5, {7}, "trunk", {VlanMode::trunk, 0, {7}}},
        {0, {}, "", {VlanMode::trunk, 0, {0}}},
        {{}, {}, "access", {VlanMode::trunk, 0, {0}}},
        {5, {7}, "native-untagged", {VlanMode::native_untagged, 5, {5, 7}}},
        {5, {0, 7}, "native-tagged", {VlanMode::native_tagged, 5, {5, 7}}},
        {5, {}, "native-tagged", {VlanMode::native_tagged, 5, {}}},
        {{}, {7}, "native-untagged", {VlanMode::trunk, 0, {7}}},
        {{}, {7, 4095}, "", {VlanMode::trunk, 0, {7}}},
        {{}, {}, "unheard-of", {VlanMode::trunk, 0, {}}},
    };
    for (const VlanCase& vlan : cases) {
        OvsdbRows rows = with_port();
        if (vlan.tag) {
            rows.set("Port", "p", "tag", OvsdbRows::number(*vlan.tag));
        }
        rows.set("Port", "p", "trunks", OvsdbRows::numbers(vlan.trunks));
        if (!vlan.mode.empty()) {
            rows.set("Port", "p", "vlan_mode", OvsdbRows::text(vlan.mode));
        }
        const OvsdbConfiguration configuration = made(rows);
        EXPECT_EQ(named(configuration.state.ports, "p").vlan, vlan.vlan)
            << vlan.tag.value_or(-1) << " " << vlan.mode;
    }
}

TEST(OvsdbPort, VlansThatCannotBeCarriedRefuseTheInterfaces) {
    OvsdbRows rows = with_port();
    rows.set("Port", "p", "vlan_mode", OvsdbRows::text("dot1q-tunnel"));
    EXPECT_EQ(error_of(made(rows), "p"), "port p: vlan_mode=dot1q-tunnel is not available");
    rows = with_port();
    rows.set("Port", "p", "tag", OvsdbRows::number(4095));
    EXPECT_EQ(error_of(made(rows), "p"), "port p: tag=4095 is out of range; valid: 0-4094");
    rows = with_port();
    // Without any VLAN left it would carry all of them.
    rows.set("Port", "p", "trunks", OvsdbRows::numbers({4095}));
    EXPECT_EQ(error_of(made(rows), "p"), "port p: trunks has no VLAN of 0-4094");
}

TEST(OvsdbPort, AnAccessPortSaysThatItIgnoresTrunks) {
    OvsdbRows rows = with_port();
    rows.set("Port", "p", "tag", OvsdbRows::number(5));
    rows.set("Port", "p", "trunks", OvsdbRows::numbers({7}));
    EXPECT_THAT(
        made(rows).warnings,
        ElementsAre("port p: trunks is ignored, since tag makes an access port")
    );
}

TEST(OvsdbPort, AFakeBridgeIsATapOfItsParent) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_port("br0", "xapi5", "internal");
    rows.set("Port", "xapi5", "fake_bridge", OvsdbRows::truth(true));
    rows.set("Port", "xapi5", "tag", OvsdbRows::number(5));
    rows.set("Interface", "xapi5", "mac", OvsdbRows::text("00:11:22:33:44:55"));
    const OvsdbConfiguration configuration = made(rows);
    const PortConfig& port = named(configuration.state.ports, "xapi5");
    EXPECT_EQ(port.bridge, "br0");
    EXPECT_EQ(port.kind, PortKind::tap);
    EXPECT_EQ(port.vlan, (VlanConfig{VlanMode::access, 5, {}}));
    EXPECT_EQ(port.mac, tunnels::MacAddress::parse("00:11:22:33:44:55"));
    EXPECT_TRUE(named(configuration.ports, "xapi5").fake_bridge);
    EXPECT_EQ(named(configuration.ports, "xapi5").tag, 5);
}

TEST(OvsdbPort, ABondHasItsMembersAndDefaults) {
    OvsdbRows rows = with_bond();
    rows.set("Port", "bond0", "tag", OvsdbRows::number(5));
    const OvsdbConfiguration configuration = made(rows);
    BondConfig expected;
    expected.name = "bond0";
    expected.bridge = "br0";
    expected.members = {"e0", "e1"};
    expected.vlan = {VlanMode::access, 5, {}};
    EXPECT_EQ(named(configuration.state.bonds, "bond0"), expected);
    EXPECT_EQ(named(configuration.state.ports, "e0").bond, "bond0");
    EXPECT_EQ(named(configuration.state.ports, "e1").bridge, "br0");
    EXPECT_TRUE(named(configuration.ports, "bond0").bond);
    EXPECT_FALSE(named(configuration.ports, "br0").bond);
}

TEST(OvsdbPort, ABondHasEveryOption) {
    OvsdbRows rows = with_bond();
    rows.set("Port", "bond0", "bond_mode", OvsdbRows::text("balance-tcp"));
    rows.set("Port", "bond0", "lacp", OvsdbRows::text("active"));
    rows.set("Port", "bond0", "bond_updelay", OvsdbRows::number(31000));
    rows.set("Port", "bond0", "bond_downdelay", OvsdbRows::number(200));
    rows.set(
        "Port",
        "bond0",
        "other_config",
        ovsdb::map_of(OvsdbRows::Options{
            {"bond-rebalance-interval", "2000"},
            {"bond-hash-basis", "7"},
            {"bond-primary", "e1"},
            {"lacp-time", "FAST"},
            {"lacp-fallback-ab", "true"},
            {"lacp-system-id", "2:0:0:0:0:9"},
            {"lacp-system-priority", "100"}})
    );
    const OvsdbConfiguration configuration = made(rows);
    const BondConfig& bond = named(configuration.state.bonds, "bond0");
    EXPECT_EQ(bond.mode, BondMode::balance_tcp);
    EXPECT_EQ(bond.lacp, LacpMode::active);
    EXPECT_EQ(bond.updelay_ms, 31000U);
    EXPECT_EQ(bond.downdelay_ms, 200U);
    EXPECT_EQ(bond.rebalance_ms, 2000U);
    EXPECT_EQ(bond.hash_basis, 7U);
    EXPECT_EQ(bond.primary, "e1");
    EXPECT_TRUE(bond.lacp_fast);
    EXPECT_TRUE(bond.lacp_fallback_ab);
    EXPECT_EQ(bond.lacp_system_id, tunnels::MacAddress::parse("02:00:00:00:00:09"));
    EXPECT_EQ(bond.lacp_system_priority, 100);
    EXPECT_THAT(configuration.warnings, IsEmpty());
}

TEST(OvsdbPort, MembersSayOfThemselvesWhatLacpSays) {
    OvsdbRows rows = with_bond();
    const auto set = [&](const std::string& name, const OvsdbRows::Options& options) {
        rows.set("Interface", name, "other_config", ovsdb::map_of(options));
    };
    set("e0", {{"lacp-port-id", "7"}, {"lacp-port-priority", "8"}, {"lacp-aggregation-key", "9"}});
    set("e1",
        {{"lacp-port-id", "65536"}, {"lacp-port-priority", "0"}, {"lacp-aggregation-key", "-1"}});
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.state.ports, "e0").lacp, (LacpPortConfig{7, 8, 9}));
    EXPECT_EQ(named(configuration.state.ports, "e1").lacp, LacpPortConfig{});
}

TEST(OvsdbPort, ABondsBadOptionsAreReplaced) {
    OvsdbRows rows = with_bond();
    rows.set("Port", "bond0", "bond_mode", OvsdbRows::text("stable"));
    rows.set("Port", "bond0", "lacp", OvsdbRows::text("passive"));
    rows.set("Port", "bond0", "bond_updelay", OvsdbRows::number(-1));
    rows.set(
        "Port",
        "bond0",
        "other_config",
        ovsdb::map_of(OvsdbRows::Options{
            {"bond-rebalance-interval", "5"},
            {"bond-primary", "e9"},
            {"bond-detect-mode", "x"},
            {"lacp-system-id", "me"},
            {"lacp-system-priority", "70000"}})
    );
    const OvsdbConfiguration configuration = made(rows);
    const BondConfig& bond = named(configuration.state.bonds, "bond0");
    EXPECT_EQ(bond.mode, BondMode::active_backup);
    EXPECT_EQ(bond.lacp, LacpMode::off);
    EXPECT_EQ(bond.updelay_ms, 0U);
    EXPECT_EQ(bond.rebalance_ms, 1000U);
    EXPECT_EQ(bond.primary, "");
    EXPECT_EQ(bond.lacp_system_priority, 65534);
    EXPECT_THAT(configuration.warnings, Contains("port bond0: unknown bond_mode stable"));
    EXPECT_THAT(configuration.warnings, Contains(HasSubstr("lacp-system-id=me is not")));
    EXPECT_THAT(
        configuration.warnings,
        Contains("port bond0: unsupported bond-detect-mode x, defaulting to carrier")
    );
}

TEST(OvsdbPort, NeverIsARebalanceInterval) {
    OvsdbRows rows = with_bond();
    rows.set(
        "Port",
        "bond0",
        "other_config",
        ovsdb::map_of(OvsdbRows::Options{{"bond-rebalance-interval", "0"}})
    );
    EXPECT_EQ(named(made(rows).state.bonds, "bond0").rebalance_ms, 0U);
}

TEST(OvsdbPort, TunnelsAndPatchPortsCannotBeMembers) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bond("br0", "bond0", {"e0", "e1", "t", "x"});
    rows.set("Interface", "t", "type", OvsdbRows::text("gre"));
    rows.set("Interface", "x", "type", OvsdbRows::text("patch"));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_THAT(named(configuration.state.bonds, "bond0").members, ElementsAre("e0", "e1"));
    EXPECT_EQ(
        error_of(configuration, "t"),
        "t: cannot be a member of bond bond0; valid: interfaces of type system, internal, tap or "
        "dpdk"
    );
    EXPECT_THAT(error_of(configuration, "x"), HasSubstr("cannot be a member"));
}

TEST(OvsdbPort, OneMemberLeftIsAPlainPort) {
    OvsdbRows rows = with_bond();
    rows.set("Interface", "e1", "type", OvsdbRows::text("foo"));
    rows.set("Port", "bond0", "tag", OvsdbRows::number(5));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_THAT(configuration.state.bonds, IsEmpty());
    EXPECT_EQ(named(configuration.state.ports, "e0").bond, "");
    EXPECT_EQ(named(configuration.state.ports, "e0").vlan.tag, 5);
    EXPECT_FALSE(named(configuration.ports, "bond0").bond);
}

TEST(OvsdbPort, ABondsFakeInterfaceIsATap) {
    OvsdbRows rows = with_bond();
    rows.set("Port", "bond0", "bond_fake_iface", OvsdbRows::truth(true));
    const OvsdbConfiguration configuration = made(rows);
    const PortConfig& fake = named(configuration.state.ports, "bond0.fake");
    EXPECT_EQ(fake.kind, PortKind::tap);
    EXPECT_EQ(fake.interface, "bond0");
    EXPECT_EQ(fake.bond, "");
    EXPECT_FALSE(has(configuration.interfaces, "bond0.fake"));
}

TEST(OvsdbPort, ABondCannotHaveABridgesName) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bare_bridge("br1");
    rows.add_bond("br0", "br1", {"e0", "e1"});
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_THAT(configuration.state.bonds, IsEmpty());
    EXPECT_EQ(
        error_of(configuration, "e0"), "could not add network device e0 to ofproto (File exists)"
    );
    EXPECT_THAT(configuration.warnings, Contains(HasSubstr("port br1: the name is taken")));
}

TEST(OvsdbPort, LacpNeedsABond) {
    OvsdbRows rows = with_port();
    rows.set("Port", "p", "lacp", OvsdbRows::text("active"));
    EXPECT_THAT(
        made(rows).warnings, ElementsAre("port p: LACP needs a bond of two or more interfaces")
    );
}

}  // namespace
}  // namespace culvert::ctl
