// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bridges, settings and claims of an Open_vSwitch database, and what happens to rows that nothing
// refers to or that two things want.
#include "ctl/ovsdb_configuration.hpp"

#include <chrono>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/ovsdb_made.hpp"

namespace culvert::ctl {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Options = OvsdbRows::Options;

OvsdbRows rows_with_bridge() {
    OvsdbRows rows;
    rows.add_bridge("br0");
    return rows;
}

OvsdbConfiguration with_root_options(const Options& options, const DesiredState& base = {}) {
    OvsdbRows rows;
    rows.set_root("other_config", ovsdb::map_of(options));
    return made(rows, base);
}

OvsdbConfiguration with_bridge_options(const Options& options) {
    OvsdbRows rows = rows_with_bridge();
    rows.set("Bridge", "br0", "other_config", ovsdb::map_of(options));
    return made(rows);
}

TEST(OvsdbConfiguration, AnEmptyDatabaseLeavesTheBase) {
    DesiredState base;
    base.workers.count = 2;
    base.ports.emplace_back().name = "gone";
    const OvsdbConfiguration configuration = make_configuration({}, base);
    EXPECT_EQ(configuration.root.text, "");
    EXPECT_EQ(configuration.state, base.without_items());
}

TEST(OvsdbConfiguration, TheRootSaysWhichConfigurationItIs) {
    OvsdbRows rows;
    rows.set_root("next_cfg", OvsdbRows::number(7));
    rows.set_root("cur_cfg", OvsdbRows::number(6));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(configuration.root, rows.root());
    EXPECT_EQ(configuration.next_cfg, 7);
    EXPECT_EQ(configuration.cur_cfg, 6);
}

TEST(OvsdbConfiguration, ABridgeHasItsOwnPort) {
    OvsdbRows rows = rows_with_bridge();
    rows.set("Port", "br0", "tag", OvsdbRows::number(5));
    rows.set("Interface", "br0", "mtu_request", OvsdbRows::number(1450));
    rows.set("Bridge", "br0", "fail_mode", OvsdbRows::text("secure"));
    const OvsdbConfiguration configuration = made(rows);
    const BridgeConfig& bridge = named(configuration.state.bridges, "br0");
    ASSERT_TRUE(bridge.local.has_value());
    EXPECT_EQ(bridge.local->vlan, (VlanConfig{VlanMode::access, 5, {}}));
    EXPECT_EQ(bridge.local->mtu, 1450U);
    EXPECT_FALSE(bridge.local->up);
    EXPECT_TRUE(named(configuration.interfaces, "br0").local);
    EXPECT_TRUE(named(configuration.bridges, "br0").in_state);
    EXPECT_TRUE(named(configuration.bridges, "br0").fail_secure);
    EXPECT_EQ(named(configuration.bridges, "br0").datapath_type, "netdev");
    EXPECT_THAT(configuration.state.ports, IsEmpty());
}

TEST(OvsdbConfiguration, ABridgesOwnInterfaceIsInternalWhateverItsType) {
    OvsdbRows rows = rows_with_bridge();
    rows.set("Interface", "br0", "type", OvsdbRows::text("gre"));
    EXPECT_TRUE(named(made(rows).state.bridges, "br0").local.has_value());
}

TEST(OvsdbConfiguration, ABridgeWithoutOwnRowHasNoDeviceUnlessItHasAController) {
    OvsdbRows rows;
    rows.add_bare_bridge("br0");
    OvsdbConfiguration configuration = made(rows);
    EXPECT_FALSE(named(configuration.state.bridges, "br0").local.has_value());
    const ovsdb::Uuid controller = rows.insert("Controller", {});
    rows.refer("Bridge", rows.find("Bridge", "br0"), "controller", controller);
    configuration = made(rows);
    EXPECT_TRUE(named(configuration.state.bridges, "br0").local.has_value());
    EXPECT_THAT(configuration.interfaces, IsEmpty());
}

TEST(OvsdbConfiguration, TheMacOfABridgeIsHwaddr) {
    OvsdbConfiguration configuration = with_bridge_options({{"hwaddr", "00:11:22:33:44:55"}});
    const auto mac = tunnels::MacAddress::parse("00:11:22:33:44:55");
    EXPECT_EQ(named(configuration.state.bridges, "br0").local->mac, mac);
    EXPECT_EQ(named(configuration.bridges, "br0").hwaddr, mac);
    EXPECT_THAT(configuration.warnings, IsEmpty());
    configuration = with_bridge_options({{"hwaddr", "01:00:00:00:00:01"}});
    EXPECT_FALSE(named(configuration.state.bridges, "br0").local->mac.has_value());
    EXPECT_THAT(
        configuration.warnings,
        ElementsAre("bridge br0: cannot set MAC address to multicast address 01:00:00:00:00:01")
    );
    configuration = with_bridge_options({{"hwaddr", "0:0:0:0:0:0"}});
    EXPECT_THAT(configuration.warnings, ElementsAre(HasSubstr("cannot set MAC address to zero")));
    configuration = with_bridge_options({{"hwaddr", "0011.2233.4455"}});
    EXPECT_THAT(configuration.warnings, ElementsAre(HasSubstr("hwaddr=0011.2233.4455 is ignored")));
}

TEST(OvsdbConfiguration, ABridgeSpeaksTheVersionsOfOpenFlowThatItNames) {
    OvsdbRows rows = rows_with_bridge();
    EXPECT_EQ(named(made(rows).bridges, "br0").openflow, openflow::kAllVersions);
    rows.set("Bridge", "br0", "protocols", OvsdbRows::text("OpenFlow13"));
    EXPECT_EQ(named(made(rows).bridges, "br0").openflow, 1U << 4U);
    rows.set("Bridge", "br0", "protocols", OvsdbRows::text("OpenFlow16"));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.bridges, "br0").openflow, openflow::kAllVersions);
    EXPECT_THAT(configuration.warnings, ElementsAre(HasSubstr("protocols=OpenFlow16 is ignored")));
}

TEST(OvsdbConfiguration, InterfaceMacOfABridgesOwnIsIgnored) {
    OvsdbRows rows = rows_with_bridge();
    rows.set("Interface", "br0", "mac", OvsdbRows::text("02:00:00:00:00:01"));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_FALSE(named(configuration.state.bridges, "br0").local->mac.has_value());
    EXPECT_THAT(
        configuration.warnings,
        ElementsAre("interface br0: mac is ignored, as it is the bridge's own; valid: "
                    "other_config:hwaddr of the bridge")
    );
}

TEST(OvsdbConfiguration, AgeAndSizeOfTheMacTableAreClamped) {
    OvsdbConfiguration configuration = with_bridge_options({});
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_ageing_s, 300U);
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_table_size, 8192U);
    configuration = with_bridge_options({{"mac-aging-time", "60"}, {"mac-table-size", "10000"}});
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_ageing_s, 60U);
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_table_size, 10000U);
    EXPECT_THAT(configuration.warnings, IsEmpty());
    configuration = with_bridge_options({{"mac-aging-time", "5"}, {"mac-table-size", "2000000"}});
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_ageing_s, 15U);
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_table_size, 1000000U);
    EXPECT_THAT(
        configuration.warnings,
        ElementsAre(
            "bridge br0: mac-aging-time=5 is out of range, 15 is taken; valid: 15-3600",
            "bridge br0: mac-table-size=2000000 is out of range, 1000000 is taken; valid: "
            "16-1000000"
        )
    );
    configuration = with_bridge_options({{"mac-aging-time", "0"}, {"mac-table-size", "many"}});
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_ageing_s, 300U);
    EXPECT_EQ(named(configuration.state.bridges, "br0").mac_table_size, 8192U);
}

TEST(OvsdbConfiguration, DatapathIdsAreSixteenDigits) {
    const auto id = [](const std::string& text) {
        return named(with_bridge_options({{"datapath-id", text}}).bridges, "br0")
            .datapath_id_config;
    };
    EXPECT_EQ(id("00000000000000AB"), "00000000000000ab");
    EXPECT_EQ(id("0xab"), "00000000000000ab");
    for (const char* bad :
         {"ab", "0000000000000000", "0x", "00000000000000ag", "-000000000000001"}) {
        EXPECT_EQ(id(bad), "") << bad;
    }
    EXPECT_THAT(
        with_bridge_options({{"datapath-id", "ab"}}).warnings,
        ElementsAre(HasSubstr("datapath-id=ab is ignored"))
    );
}

TEST(OvsdbConfiguration, BridgesThatCannotBeMadeAreNotListedWithTheirPorts) {
    OvsdbRows rows;
    rows.add_bridge("a/b");
    rows.add_bridge("a\\b");
    rows.add_bridge("br1");
    rows.set("Bridge", "br1", "datapath_type", OvsdbRows::text("foo"));
    rows.add_bridge("br2");
    rows.set("Bridge", "br2", "datapath_type", OvsdbRows::text(""));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(configuration.state.bridges.size(), 1U);
    EXPECT_EQ(configuration.interfaces.size(), 1U);
    EXPECT_EQ(configuration.ports.size(), 1U);
    EXPECT_FALSE(named(configuration.bridges, "br1").in_state);
    EXPECT_EQ(named(configuration.bridges, "br2").datapath_type, "system");
    EXPECT_THAT(
        configuration.warnings,
        ElementsAre(
            "ignoring bridge with invalid name \"a/b\"",
            "ignoring bridge with invalid name \"a\\\\b\"",
            "failed to create bridge br1: Address family not supported by protocol "
            "(datapath_type=foo; valid: system, netdev)"
        )
    );
}

TEST(OvsdbConfiguration, ABridgeOfALongNameHasNoDevice) {
    OvsdbRows rows;
    rows.add_bridge("sixteen-bytes-xy");
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_FALSE(named(configuration.state.bridges, "sixteen-bytes-xy").local.has_value());
    EXPECT_EQ(
        error_of(configuration, "sixteen-bytes-xy"),
        "could not open network device sixteen-bytes-xy (File name too long)"
    );
}

TEST(OvsdbConfiguration, RowsThatNothingRefersToAreIgnored) {
    OvsdbRows rows = rows_with_bridge();
    rows.insert("Bridge", {{"name", OvsdbRows::text("stray-bridge")}});
    rows.insert("Port", {{"name", OvsdbRows::text("stray-port")}});
    rows.insert("Interface", {{"name", OvsdbRows::text("stray-interface")}});
    rows.refer(
        "Bridge",
        rows.find("Bridge", "br0"),
        "ports",
        ovsdb::Uuid{"00000000-0000-4000-8000-999999999999"}
    );
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(configuration.bridges.size(), 1U);
    EXPECT_EQ(configuration.ports.size(), 1U);
    EXPECT_EQ(configuration.interfaces.size(), 1U);
}

TEST(OvsdbConfiguration, APortOfTwoBridgesIsTheFirstOnes) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bridge("br1");
    rows.add_port("br1", "p");
    rows.refer("Bridge", rows.find("Bridge", "br0"), "ports", rows.find("Port", "p"));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.state.ports, "p").bridge, "br0");
    EXPECT_EQ(configuration.state.ports.size(), 1U);
    EXPECT_THAT(configuration.warnings, ElementsAre("bridge br1: port p is another bridge's"));
}

TEST(OvsdbConfiguration, AnInterfaceOfTwoPortsIsTheFirstOnes) {
    OvsdbRows rows = rows_with_bridge();
    rows.add_port("br0", "p");
    rows.add_bond("br0", "q", {"e0"});
    rows.refer("Port", rows.find("Port", "q"), "interfaces", rows.find("Interface", "p"));
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(named(configuration.interfaces, "p").port, "p");
    EXPECT_EQ(configuration.state.ports.size(), 2U);
    EXPECT_THAT(configuration.state.bonds, IsEmpty());
    EXPECT_THAT(configuration.warnings, ElementsAre("port q: interface p is another port's"));
}

TEST(OvsdbConfiguration, ANameIsTakenOnce) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bare_bridge("br1");
    rows.add_port("br0", "br1", "gre", {{"remote_ip", "192.0.2.2"}});
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(
        error_of(configuration, "br1"), "could not add network device br1 to ofproto (File exists)"
    );
    EXPECT_FALSE(named(configuration.state.bridges, "br1").local.has_value());
}

TEST(OvsdbConfiguration, TunnelsThatTakeTheSamePacketsExcludeEachOther) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_bridge("br1");
    const Options options{{"remote_ip", "192.0.2.2"}, {"key", "7"}};
    rows.add_port("br0", "g1", "gre", options);
    rows.add_port("br1", "g2", "gre", options);
    rows.add_port(
        "br1", "g3", "gre", {{"remote_ip", "192.0.2.2"}, {"key", "7"}, {"packet_type", "legacy_l3"}}
    );
    OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(error_of(configuration, "g1"), "");
    EXPECT_EQ(
        error_of(configuration, "g2"), "could not add network device g2 to ofproto (File exists)"
    );
    EXPECT_EQ(error_of(configuration, "g3"), "");
    EXPECT_EQ(configuration.state.tunnels.size(), 2U);
    // Who has a number already keeps its place.
    rows.set("Interface", "g1", "ofport", OvsdbRows::number(-1));
    rows.set("Interface", "g2", "ofport", OvsdbRows::number(3));
    configuration = made(rows);
    EXPECT_THAT(error_of(configuration, "g1"), HasSubstr("File exists"));
    EXPECT_EQ(error_of(configuration, "g2"), "");
}

TEST(OvsdbConfiguration, AUdpPortIsOneTypesAndOneFormsOfVxlan) {
    OvsdbRows rows = rows_with_bridge();
    rows.add_port("br0", "v1", "vxlan", {{"remote_ip", "192.0.2.2"}, {"key", "1"}});
    rows.add_port(
        "br0", "v2", "vxlan", {{"remote_ip", "192.0.2.2"}, {"key", "2"}, {"exts", "gbp"}}
    );
    rows.add_port(
        "br0", "v3", "geneve", {{"remote_ip", "192.0.2.2"}, {"key", "3"}, {"dst_port", "4789"}}
    );
    rows.add_port(
        "br0", "v4", "vxlan", {{"remote_ip", "192.0.2.2"}, {"key", "4"}, {"exts", "gpe"}}
    );
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(error_of(configuration, "v1"), "");
    EXPECT_EQ(
        error_of(configuration, "v2"),
        "v2: VXLAN-GBP, and non-VXLAN-GBP tunnels can't be configured on the same dst_port"
    );
    EXPECT_EQ(
        error_of(configuration, "v3"),
        "v3: dst_port=4789 is that of v1 with type vxlan; valid: a UDP port for each type"
    );
    EXPECT_THAT(error_of(configuration, "v4"), HasSubstr("valid: a UDP port for each type"));
}

TEST(OvsdbConfiguration, TooManyItemsAreRefused) {
    OvsdbRows rows;
    for (int i = 0; i < 257; ++i) {
        rows.add_bare_bridge(fmt::format("br{:03}", i));
    }
    std::vector<std::string> names;
    for (int i = 0; i < 4096; ++i) {
        names.push_back(fmt::format("e{:04}", i));
    }
    rows.add_bond("br000", "bond0", names);
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(configuration.state.bridges.size(), 256U);
    EXPECT_THAT(
        configuration.warnings,
        Contains("failed to create bridge br256: there are 256 bridges, which is the most")
    );
    EXPECT_EQ(
        error_of(configuration, "e4095"),
        "could not add network device e4095 to ofproto (File too large)"
    );
}

TEST(OvsdbConfiguration, OneBridgeTooManyTakesNothingFromThoseThatAreThere) {
    OvsdbRows rows;
    rows.add_bare_bridge("a-new-one");
    rows.add_bare_bridge("not a name");
    for (int i = 0; i < 256; ++i) {
        const std::string name = fmt::format("br{:03}", i);
        rows.add_bare_bridge(name);
        rows.set("Bridge", name, "datapath_id", OvsdbRows::text("0000020000000001"));
    }
    const OvsdbConfiguration configuration = made(rows);
    ASSERT_EQ(configuration.state.bridges.size(), 256U);
    EXPECT_EQ(configuration.state.bridges.front().name, "br000");
    EXPECT_EQ(configuration.state.bridges.back().name, "br255");
    EXPECT_THAT(
        configuration.warnings,
        Contains("failed to create bridge a-new-one: there are 256 bridges, which is the most")
    );
}

TEST(OvsdbConfiguration, OpenFlowPortsAreRequestedForWhatIsThere) {
    OvsdbRows rows = rows_with_bridge();
    rows.add_port("br0", "a");
    rows.add_port("br0", "b");
    rows.add_port("br0", "c", "foo");
    rows.set("Interface", "a", "ofport_request", OvsdbRows::number(9));
    rows.set("Interface", "a", "ofport", OvsdbRows::number(65280));
    rows.set("Interface", "b", "ofport", OvsdbRows::number(65279));
    const OvsdbConfiguration configuration = made(rows);
    const auto requests = ofport_requests(configuration);
    ASSERT_EQ(requests.size(), 3U);
    EXPECT_EQ(requests[0].interface, "a");
    EXPECT_EQ(requests[0].bridge, "br0");
    EXPECT_EQ(requests[0].requested, 9);
    EXPECT_FALSE(requests[0].before.has_value());
    EXPECT_EQ(requests[1].before, 65279);
    EXPECT_EQ(requests[2].interface, "br0");
    EXPECT_TRUE(requests[2].local);
}

TEST(OvsdbConfiguration, SwitchWideOptionsAreRead) {
    const OvsdbConfiguration plain = with_root_options({});
    EXPECT_EQ(plain.state.flow_cache.idle_timeout_s, 10U);
    EXPECT_FALSE(plain.flow_restore_wait);
    EXPECT_FALSE(plain.state.hold);
    EXPECT_FALSE(plain.enable_statistics);
    EXPECT_EQ(plain.stats_update_interval_ms, 5000U);
    const OvsdbConfiguration configuration = with_root_options(
        {{"max-idle", "5001"},
         {"flow-restore-wait", "true"},
         {"enable-statistics", "TRUE"},
         {"stats-update-interval", "7000"}}
    );
    EXPECT_EQ(configuration.state.flow_cache.idle_timeout_s, 6U);
    EXPECT_TRUE(configuration.flow_restore_wait);
    EXPECT_TRUE(configuration.state.hold);
    EXPECT_TRUE(configuration.enable_statistics);
    EXPECT_EQ(configuration.stats_update_interval_ms, 7000U);
    EXPECT_EQ(with_root_options({{"stats-update-interval", "1"}}).stats_update_interval_ms, 5000U);
    const OvsdbConfiguration long_idle = with_root_options({{"max-idle", "4000000"}});
    EXPECT_EQ(long_idle.state.flow_cache.idle_timeout_s, 3600U);
    EXPECT_THAT(
        long_idle.warnings,
        ElementsAre("other_config:max-idle=4000000 is out of range; valid: 1-3600000 ms")
    );
}

TEST(OvsdbConfiguration, CulvertsOwnKeysChooseTheFirewall) {
    const OvsdbConfiguration configuration = with_root_options(
        {{"culvert-firewall-enforce", "false"},
         {"culvert-firewall-unknown", "drop"},
         {"culvert-firewall-manage", "tunnels"}}
    );
    EXPECT_FALSE(configuration.state.firewall.enforce);
    EXPECT_EQ(configuration.state.firewall.unknown, UnknownPolicy::drop);
    EXPECT_EQ(configuration.state.firewall.manage, ManagePolicy::tunnels);
    EXPECT_THAT(configuration.warnings, IsEmpty());
    const OvsdbConfiguration bad =
        with_root_options({{"culvert-firewall-manage", "all"}, {"culvert-x", "1"}});
    EXPECT_EQ(bad.state.firewall.manage, ManagePolicy::off);
    EXPECT_THAT(
        bad.warnings,
        ElementsAre(
            "other_config:culvert-firewall-manage=all is unknown and ignored; valid: off, gre, "
            "tunnels",
            HasSubstr("other_config:culvert-x is unknown")
        )
    );
}

TEST(OvsdbConfiguration, IpsecSettingsAreOfTheWholeSwitch) {
    const IkeDaemonConfig ike = with_root_options({{"certificate", "/c"},
                                                   {"private_key", "/k"},
                                                   {"ca_cert", "/ca"},
                                                   {"culvert-ike", "follow"},
                                                   {"culvert-vici", "/v"}}
    ).state.ike;
    EXPECT_EQ(ike.certificate, "/c");
    EXPECT_EQ(ike.private_key, "/k");
    EXPECT_EQ(ike.ca_cert, "/ca");
    EXPECT_EQ(ike.control, IkeControl::follow);
    EXPECT_EQ(ike.vici, "/v");
    EXPECT_EQ(with_root_options({}).state.ike, IkeDaemonConfig{});
    const OvsdbConfiguration bad = with_root_options(
        {{"certificate", "/c"}, {"ca_cert", "ca"}, {"culvert-ike", "x"}, {"culvert-vici", "v"}}
    );
    EXPECT_EQ(bad.state.ike, IkeDaemonConfig{});
    EXPECT_THAT(
        bad.warnings,
        ElementsAre(
            "other_config:certificate is ignored; valid: certificate and private_key together",
            "other_config:ca_cert=ca is ignored; valid: an absolute path of at most 4095 bytes",
            "other_config:culvert-vici=v is ignored; valid: an absolute path of at most 107 bytes",
            "other_config:culvert-ike=x is unknown and ignored; valid: vici, follow"
        )
    );
}

TEST(OvsdbConfiguration, PeersWithCertificatesNeedThoseOfTheSwitch) {
    OvsdbRows rows;
    rows.add_bridge("br0");
    rows.add_port("br0", "t1", "gre", {{"remote_ip", "192.0.2.2"}, {"remote_cert", "/peer"}});
    const OvsdbConfiguration without = made(rows);
    EXPECT_TRUE(without.state.tunnels.empty());
    rows.set_root(
        "other_config", ovsdb::map_of(Options{{"certificate", "/c"}, {"private_key", "/k"}})
    );
    const OvsdbConfiguration with = made(rows);
    ASSERT_EQ(with.state.tunnels.size(), 1U);
    EXPECT_EQ(with.state.tunnels[0].ike->remote_cert, "/peer");
}

TEST(OvsdbConfiguration, PortsOfIkeAreNoTunnels) {
    for (const char* port : {"500", "4500"}) {
        OvsdbRows rows;
        rows.add_bridge("br0");
        rows.add_port("br0", "a", "gre", {{"remote_ip", "192.0.2.2"}, {"psk", "sesame"}});
        rows.add_port("br0", "b", "vxlan", {{"remote_ip", "192.0.2.2"}, {"dst_port", port}});
        const OvsdbConfiguration after = made(rows);
        ASSERT_EQ(after.state.tunnels.size(), 1U);
        EXPECT_EQ(after.state.tunnels[0].name, "a");
        EXPECT_EQ(
            error_of(after, "b"),
            "b: dst_port=" + std::string(port) +
                " is a port of IKE, which a needs; valid: another UDP port"
        );
        rows.add_port("br0", "0", "vxlan", {{"remote_ip", "192.0.2.3"}, {"dst_port", port}});
        EXPECT_EQ(
            error_of(made(rows), "a"),
            "a: IKE needs UDP port " + std::string(port) +
                ", which is the dst_port of 0; valid: another dst_port there"
        );
    }
}

TEST(OvsdbConfiguration, WhatNeedsARestartIsSaidUnlessItIsSo) {
    const Options options{
        {"culvert-state-dir", "/s"},
        {"pmd-cpu-mask", "0x6"},
        {"dpdk-lcore-mask", "1"},
        {"dpdk-socket-mem", "1024,512"},
        {"dpdk-extra", "--no-pci -a x"},
        {"flow-limit", "200000"}};
    OvsdbRows rows;
    rows.set_root("other_config", ovsdb::map_of(options));
    const DesiredState started = start_options(rows.replica(), {});
    EXPECT_THAT(started.workers.cpus, ElementsAre(1, 2));
    EXPECT_THAT(started.daemon.control_cpus, ElementsAre(0));
    EXPECT_EQ(started.dpdk.memory_mb, 1536U);
    EXPECT_THAT(started.dpdk.extra_args, ElementsAre("--no-pci", "-a", "x"));
    EXPECT_EQ(started.flow_cache.max_flows, 200000U);
    EXPECT_EQ(started.daemon.state_dir, "/s");
    EXPECT_THAT(made(rows, started).warnings, IsEmpty());
    const OvsdbConfiguration otherwise = made(rows);
    EXPECT_EQ(otherwise.warnings.size(), options.size());
    EXPECT_THAT(
        otherwise.warnings,
        Contains("other_config:pmd-cpu-mask=0x6 is not in force; it is taken when the daemon starts"
        )
    );
    EXPECT_EQ(otherwise.state.workers, WorkerConfig{});
}

TEST(OvsdbConfiguration, BadStartOptionsChangeNothing) {
    OvsdbRows rows;
    rows.set_root(
        "other_config",
        ovsdb::map_of(Options{
            {"pmd-cpu-mask", "0xfg"},
            {"dpdk-lcore-mask", "0"},
            {"dpdk-socket-mem", "x,1"},
            {"dpdk-alloc-mem", "-1"},
            {"dpdk-extra", " "},
            {"culvert-state-dir", "s"},
            {"flow-limit", "none"}})
    );
    EXPECT_EQ(start_options(rows.replica(), {}), DesiredState{});
    const std::string why = " is ignored; valid: a mask of CPUs in hexadecimal digits";
    EXPECT_THAT(
        made(rows).warnings,
        ::testing::UnorderedElementsAre(
            "other_config:pmd-cpu-mask=0xfg" + why,
            "other_config:dpdk-lcore-mask=0" + why,
            "other_config:culvert-state-dir=s is ignored; valid: the absolute path of a folder"
        )
    );
}

TEST(OvsdbConfiguration, TheSslTableNamesFiles) {
    OvsdbRows rows;
    const ovsdb::Uuid ssl = rows.insert(
        "SSL",
        {{"private_key", OvsdbRows::text("/k")},
         {"certificate", OvsdbRows::text("/c")},
         {"ca_cert", OvsdbRows::text("/a")}}
    );
    EXPECT_EQ(made(rows).tls, ovsdb::TlsFiles{});
    rows.refer("Open_vSwitch", rows.root(), "ssl", ssl);
    EXPECT_EQ(made(rows).tls, (ovsdb::TlsFiles{"/k", "/c", "/a"}));
}

TEST(OvsdbConfiguration, ColumnsWithoutEffectAreSaid) {
    OvsdbRows rows = rows_with_bridge();
    rows.add_port("br0", "p");
    rows.set("Bridge", "br0", "mcast_snooping_enable", OvsdbRows::truth(true));
    rows.set("Bridge", "br0", "stp_enable", OvsdbRows::truth(false));
    rows.refer("Bridge", rows.find("Bridge", "br0"), "mirrors", rows.insert("Mirror", {}));
    rows.set("Port", "p", "protected", OvsdbRows::truth(true));
    rows.set("Interface", "p", "ingress_policing_rate", OvsdbRows::number(1000));
    rows.set("Interface", "p", "bfd", ovsdb::map_of(Options{{"enable", "true"}}));
    rows.set("Interface", "p", "lldp", ovsdb::map_of(Options{{"enable", "false"}}));
    const std::string why = " has no effect, since the switch does no such thing";
    EXPECT_THAT(
        made(rows).warnings,
        ElementsAre(
            "Bridge br0: column mirrors" + why,
            "Bridge br0: column mcast_snooping_enable" + why,
            "Port p: column protected" + why,
            "Interface p: column ingress_policing_rate" + why,
            "Interface p: column bfd" + why
        )
    );
}

TEST(OvsdbConfiguration, EveryColumnThatIsReadIsWanted) {
    const ovsdb::Wanted& wanted = wanted_columns();
    EXPECT_EQ(wanted.size(), 5U);
    EXPECT_TRUE(wanted.at("Interface").contains("ofport"));
    EXPECT_TRUE(wanted.at("Port").contains("bond_active_slave"));
    EXPECT_TRUE(wanted.at("Port").contains("rstp_status"));
    EXPECT_TRUE(wanted.at("Bridge").contains("rstp_status"));
    EXPECT_FALSE(wanted.at("Interface").contains("external_ids"));
}

}  // namespace
}  // namespace culvert::ctl
