// SPDX-License-Identifier: GPL-2.0-or-later
//
// The difference between two desired states: what stands in it, in which order, how it reads. Plans
// are compared as their printed lines, which name every action.
#include "ctl/plan.hpp"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/plan_lines.hpp"

namespace culvert::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

BridgeConfig bridge(const std::string& name) {
    BridgeConfig config;
    config.name = name;
    return config;
}

PortConfig port(const std::string& name, const std::string& on) {
    PortConfig config;
    config.name = name;
    config.bridge = on;
    config.interface = name;
    return config;
}

TunnelConfig tunnel(const std::string& name, const std::string& on, std::uint32_t key) {
    TunnelConfig config;
    config.name = name;
    config.bridge = on;
    config.type = "vxlan";
    config.dst_port = 4789;
    config.remote_ip = tunnels::IpAddress::parse("192.0.2.2").value();
    config.in_key = key;
    config.out_key = key;
    return config;
}

/// One bridge with one port and one tunnel.
DesiredState sample() {
    DesiredState state;
    state.bridges = {bridge("br0")};
    state.ports = {port("p1", "br0")};
    state.tunnels = {tunnel("t1", "br0", 100)};
    return state;
}

/// The plan from sample() to a changed sample().
std::vector<std::string> after(const std::function<void(DesiredState&)>& change) {
    DesiredState to = sample();
    change(to);
    return plan_lines(sample(), to);
}

TEST(Plan, EqualStatesNeedNothing) {
    EXPECT_THAT(plan_lines(sample(), sample()), IsEmpty());
    EXPECT_THAT(plan_lines({}, {}), IsEmpty());
}

TEST(Plan, WhereAnItemWasWrittenDoesNotMatter) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.bridges[0].origin = {"other", 7};
            s.ports[0].origin = {"other", 8};
            s.tunnels[0].origin = {"other", 9};
        }),
        IsEmpty()
    );
}

TEST(Plan, OrderOfItemsDoesNotMatter) {
    DesiredState from = sample();
    from.ports.push_back(port("p2", "br0"));
    DesiredState to = from;
    std::swap(to.ports[0], to.ports[1]);
    EXPECT_THAT(plan_lines(from, to), IsEmpty());
}

TEST(Plan, AddsBridgesThenPortsThenTunnels) {
    EXPECT_THAT(
        plan_lines({}, sample()),
        ElementsAre(
            "add bridge br0",
            "add port p1: linux p1 on bridge br0",
            "add tunnel t1: vxlan to 192.0.2.2 key 100 on bridge br0"
        )
    );
}

TEST(Plan, RemovesTunnelsThenPortsThenBridges) {
    EXPECT_THAT(
        plan_lines(sample(), {}),
        ElementsAre("remove tunnel t1", "remove port p1", "remove bridge br0")
    );
}

TEST(Plan, RemovalsStandBeforeAdditions) {
    DesiredState to;
    to.bridges = {bridge("br1")};
    to.ports = {port("p2", "br1")};
    EXPECT_THAT(
        plan_lines(sample(), to),
        ElementsAre(
            "remove tunnel t1",
            "remove port p1",
            "remove bridge br0",
            "add bridge br1",
            "add port p2: linux p2 on bridge br1"
        )
    );
}

TEST(Plan, NameThatPassesToAnotherKindOfItemIsRemovedFirst) {
    DesiredState to = sample();
    to.tunnels = {tunnel("p1", "br0", 100)};
    to.ports = {port("t1", "br0")};
    EXPECT_THAT(
        plan_lines(sample(), to),
        ElementsAre(
            "remove tunnel t1",
            "remove port p1",
            "add port t1: linux t1 on bridge br0",
            "add tunnel p1: vxlan to 192.0.2.2 key 100 on bridge br0"
        )
    );
}

TEST(Plan, ChangesABridgeInPlace) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.bridges[0].mac_ageing_s = 60;
            s.bridges[0].split_horizon = true;
        }),
        ElementsAre("change bridge br0: mac_ageing_s 300 -> 60, split_horizon false -> true")
    );
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.bridges[0].mac_table_size = 16;
            StaticMac entry;
            entry.mac.bytes[5] = 1;
            entry.port = "p1";
            s.bridges[0].static_macs = {entry};
        }),
        ElementsAre("change bridge br0: mac_table_size 8192 -> 16, static_mac [] -> "
                    "[00:00:00:00:00:01 VLAN 0 port p1]")
    );
}

TEST(Plan, BridgeGainsAndLosesItsLocalPortInPlace) {
    DesiredState with = sample();
    with.bridges[0].local.emplace();
    with.bridges[0].local->addresses = {{tunnels::IpAddress::parse("10.0.0.1").value(), 8}};
    with.bridges[0].local->mtu = 9000;
    EXPECT_THAT(
        plan_lines(sample(), with),
        ElementsAre("change bridge br0: local none -> [10.0.0.1/8] mtu 9000")
    );
    EXPECT_THAT(
        plan_lines(with, sample()),
        ElementsAre("change bridge br0: local [10.0.0.1/8] mtu 9000 -> none")
    );
}

TEST(Plan, ChangesAPortInPlaceWhileItsDeviceStays) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.ports[0].vlan = {VlanMode::native_tagged, 5, {5, 6}};
            s.ports[0].mtu = 1400;
            s.ports[0].claim = false;
            s.ports[0].hotplug = true;
            s.ports[0].rx_workers = {0};
            s.ports[0].mac.emplace();
        }),
        ElementsAre("change port p1: vlan trunk -> native-tagged 5 [5, 6], mtu none -> 1400, mac "
                    "none -> 00:00:00:00:00:00, claim "
                    "true -> false, hotplug false -> true, rx_workers [] -> [0]")
    );
}

TEST(Plan, ReplacesAPortWhoseDeviceDiffers) {
    const std::vector<std::function<void(PortConfig&)>> changes{
        [](PortConfig& p) { p.kind = PortKind::tap; },
        [](PortConfig& p) { p.interface = "eth9"; },
        [](PortConfig& p) { p.devargs = "net_null0"; },
        [](PortConfig& p) { p.rx_queues = 2; },
    };
    for (const auto& change : changes) {
        DesiredState to = sample();
        change(to.ports[0]);
        const Result<std::vector<Action>> actions = plan(sample(), to);
        ASSERT_TRUE(actions.has_value());
        ASSERT_EQ(actions->size(), 2U);
        EXPECT_EQ(std::get<RemovePort>((*actions)[0]).name, "p1");
        EXPECT_EQ(std::get<AddPort>((*actions)[1]).config, to.ports[0]);
    }
}

TEST(Plan, APatchPortGetsAnotherPeerInPlace) {
    DesiredState from = sample();
    from.ports[0].kind = PortKind::patch;
    from.ports[0].interface.clear();
    from.ports[0].peer = "p2";
    EXPECT_THAT(
        plan_lines(DesiredState{}, from),
        ::testing::Contains("add port p1: patch to p2 on bridge br0")
    );
    DesiredState to = from;
    to.ports[0].peer = "p3";
    EXPECT_THAT(plan_lines(from, to), ElementsAre("change port p1: peer \"p2\" -> \"p3\""));
}

TEST(Plan, TwoPortsThatSwapTheirDevicesAreBothRemovedFirst) {
    DesiredState from = sample();
    from.ports = {port("a", "br0"), port("b", "br0")};
    DesiredState to = from;
    std::swap(to.ports[0].interface, to.ports[1].interface);
    EXPECT_THAT(
        plan_lines(from, to),
        ElementsAre(
            "remove port a",
            "remove port b",
            "add port a: linux b on bridge br0",
            "add port b: linux a on bridge br0"
        )
    );
}

TEST(Plan, ChangesEveryTunnelOptionInPlace) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            TunnelConfig& t = s.tunnels[0];
            t.type = "gre";
            t.remote_ip = tunnels::IpAddress::parse("fd20::2").value();
            t.local_ip = tunnels::IpAddress::parse("fd20::1");
            t.in_key = 5;
            t.out_key.reset();
            t.dst_port = 0;
            t.tos = 4;
            t.ttl = 1;
            t.df = false;
            t.csum = true;
            t.packet_type = tunnels::Payload::ip;
            t.nvgre = true;
            t.src_port_min = 2000;
            t.src_port_max = 3000;
            t.tos_inherit = true;
            t.ttl_inherit = true;
            t.udp6_zero_csum_rx = true;
            t.udp6_zero_csum_tx = true;
            t.egress_mark = 7;
            t.ecn = tunnels::EcnMode::compatibility;
            t.oversize = dataplane::Oversize::clamp_mss;
            t.seq = true;
            t.late = LatePolicy::drop;
            t.gbp = true;
            t.gbp_id = 8;
            t.gbp_admit = 9;
            t.options = {{0x102, 0x80, {0, 0, 0, 1}}, {1, 2, {}}};
            t.vlan = {VlanMode::access, 9, {}};
        }),
        ElementsAre(
            "change tunnel t1: type \"vxlan\" -> \"gre\", packet_type l2 -> l3, remote_ip "
            "192.0.2.2 -> fd20::2, local_ip none -> fd20::1, in_key 100 -> 5, out_key 100 -> none, "
            "nvgre false -> true, dst_port 4789 -> 0, src_port_min 32768 -> 2000, src_port_max "
            "61000 -> 3000, tos 0 -> inherit, ttl 64 -> inherit, df true -> false, csum false -> "
            "true, udp6_zero_csum_rx false -> true, udp6_zero_csum_tx false -> true, egress_mark 0 "
            "-> 7, ecn normal -> compatibility, oversize none -> clamp-mss, seq false -> true, "
            "late accept -> drop, gbp false -> true, gbp_id none -> 8, gbp_admit none -> 9, "
            "options none -> [0x0102:0x80:00000001, 0x0001:0x02:], vlan trunk -> access 9"
        )
    );
}

TEST(Plan, WordsStandForWhatAFlowBringsAlong) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            TunnelConfig& t = s.tunnels[0];
            t.remote_ip = {};
            t.remote_flow = true;
            t.local_flow = true;
            t.in_key.reset();
            t.in_key_flow = true;
            t.out_key.reset();
            t.out_key_flow = true;
        }),
        ElementsAre("change tunnel t1: remote_ip 192.0.2.2 -> flow, local_ip none -> flow, in_key "
                    "100 -> flow, out_key 100 -> flow")
    );
}

TEST(Plan, ChangedEidsChangeTheirBridgeInPlace) {
    const auto eid = [](std::uint8_t weight) {
        EidConfig config;
        config.prefix = tunnels::IpAddress::parse("10.2.0.0").value();
        config.prefix_bits = 16;
        config.rlocs = {{"t1", 2, weight}, {"t2", 1, 1}};
        return config;
    };
    DesiredState from = sample();
    from.bridges[0].eids = {eid(3)};
    DesiredState to = from;
    to.bridges[0].eids[0].origin = {"f", 99};
    EXPECT_TRUE(plan_lines(from, to).empty()) << "where it was written does not matter";
    to.bridges[0].eids = {eid(4)};
    EXPECT_THAT(
        plan_lines(from, to),
        ElementsAre("change bridge br0: eid [10.2.0.0/16 by [t1 priority 2 weight 3, t2 priority 1 "
                    "weight 1]] -> [10.2.0.0/16 by [t1 priority 2 weight 4, t2 priority 1 weight "
                    "1]]")
    );
}

TEST(Plan, ChangeCarriesBothSides) {
    DesiredState to = sample();
    to.tunnels[0].in_key = 7;
    const Result<std::vector<Action>> actions = plan(sample(), to);
    ASSERT_TRUE(actions.has_value());
    ASSERT_EQ(actions->size(), 1U);
    EXPECT_EQ(std::get<ChangeTunnel>((*actions)[0]).from, sample().tunnels[0]);
    EXPECT_EQ(std::get<ChangeTunnel>((*actions)[0]).to, to.tunnels[0]);
}

TEST(Plan, MovedPortAndTunnelChangeInPlace) {
    DesiredState from = sample();
    from.bridges.push_back(bridge("br1"));
    DesiredState to = from;
    to.ports[0].bridge = "br1";
    to.tunnels[0].bridge = "br1";
    EXPECT_THAT(
        plan_lines(from, to),
        ElementsAre(
            "change port p1: bridge \"br0\" -> \"br1\"",
            "change tunnel t1: bridge \"br0\" -> \"br1\""
        )
    );
}

TEST(Plan, BridgeGoesAfterTheMembersThatLeaveItAndBeforeItsNameIsTaken) {
    DesiredState from = sample();
    from.bridges.push_back(bridge("br2"));
    from.ports.push_back(port("gone", "br0"));
    DesiredState to;
    to.bridges = {bridge("br1")};
    to.ports = {port("br0", "br1"), port("p1", "br1")};
    to.tunnels = {tunnel("t1", "br1", 100)};
    EXPECT_THAT(
        plan_lines(from, to),
        ElementsAre(
            "remove port gone",
            "remove bridge br2",
            "add bridge br1",
            "change port p1: bridge \"br0\" -> \"br1\"",
            "change tunnel t1: bridge \"br0\" -> \"br1\"",
            "remove bridge br0",
            "add port br0: linux br0 on bridge br1"
        )
    );
}

TEST(Plan, PortWithANewDeviceDoesNotHoldItsOldBridge) {
    DesiredState from = sample();
    from.tunnels.clear();
    DesiredState to;
    to.bridges = {bridge("br1")};
    to.ports = {port("p1", "br1")};
    to.ports[0].interface = "eth9";
    EXPECT_THAT(
        plan_lines(from, to),
        ElementsAre(
            "remove port p1",
            "remove bridge br0",
            "add bridge br1",
            "add port p1: linux eth9 on bridge br1"
        )
    );
}

TEST(Plan, RuntimeSettingsChangeLast) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.daemon.log_level = LogLevel::debug;
            s.flow_cache.idle_timeout_s = 20;
            s.ports.clear();
        }),
        ElementsAre("remove port p1", "set log_level \"debug\", idle_timeout_s 20")
    );
    EXPECT_THAT(
        after([](DesiredState& s) { s.flow_cache.idle_timeout_s = 11; }),
        ElementsAre("set log_level \"info\", idle_timeout_s 11")
    );
}

TEST(Plan, EncryptionIsSaidAndItsSecretsAreNot) {
    const auto key = [](char c) {
        const std::string text(36, c);
        return tunnels::Secret(std::as_bytes(std::span(text)));
    };
    DesiredState plain = sample();
    DesiredState esp = plain;
    esp.tunnels[0].esp.emplace().spi_in = 0x1001;
    esp.tunnels[0].esp->key_in = key('S');
    DesiredState none = sample();
    none.tunnels.clear();
    EXPECT_THAT(
        plan_lines(none, esp),
        ElementsAre("add tunnel t1: vxlan to 192.0.2.2 key 100 on bridge br0, encrypted by "
                    "aes-gcm-256")
    );
    DesiredState rekeyed = esp;
    rekeyed.tunnels[0].esp->key_in = key('T');
    rekeyed.tunnels[0].esp->spi_in = 0x1002;
    EXPECT_THAT(
        plan_lines(esp, rekeyed),
        ElementsAre("change tunnel t1: esp.spi_in 0x1001 -> 0x1002, esp.key_in one -> another")
    );
    DesiredState ike = plain;
    ike.tunnels[0].ike.emplace().psk = PrivateText("open sesame");
    EXPECT_THAT(
        plan_lines(none, ike),
        ElementsAre("add tunnel t1: vxlan to 192.0.2.2 key 100 on bridge br0, encrypted by IKE "
                    "with a pre-shared key")
    );
    DesiredState other = ike;
    other.tunnels[0].ike->psk = PrivateText("sesame open");
    EXPECT_THAT(plan_lines(ike, other), ElementsAre("change tunnel t1: ike.psk one -> another"));
    EXPECT_THAT(
        plan_lines(plain, ike),
        ElementsAre("change tunnel t1: ike.psk none -> true, ike.udp_encap none -> false")
    );
    DesiredState certificates = plain;
    certificates.tunnels[0].ike.emplace().remote_name = "host2";
    EXPECT_THAT(
        plan_lines(none, certificates), ElementsAre(HasSubstr("encrypted by IKE with certificates"))
    );
}

TEST(Plan, TheIkeDaemonIsFollowedAtAReload) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.ike.control = IkeControl::follow;
            s.ike.dpd_s = 0;
        }),
        ElementsAre("change ike: control \"vici\" -> \"follow\", dpd_s 30 -> 0")
    );
}

TEST(Plan, FirewallSettingsChangeInPlace) {
    EXPECT_THAT(
        after([](DesiredState& s) {
            s.firewall.enforce = false;
            s.firewall.manage = ManagePolicy::gre;
        }),
        ElementsAre("change firewall: enforce true -> false, manage \"off\" -> \"gre\"")
    );
    EXPECT_THAT(
        after([](DesiredState& s) { s.firewall.unknown = UnknownPolicy::drop; }),
        ElementsAre("change firewall: unknown \"accept\" -> \"drop\"")
    );
}

TEST(Plan, KeysThatNeedARestartAreRefusedByName) {
    const std::vector<std::pair<std::function<void(DesiredState&)>, std::string>> changes{
        {[](DesiredState& s) { s.daemon.socket = "/run/x"; },
         "[daemon] socket (from \"/run/culvert/culvertd.ctl\" to \"/run/x\")"},
        {[](DesiredState& s) { s.daemon.log_file = "/x"; },
         "[daemon] log_file (from none to \"/x\")"},
        {[](DesiredState& s) {
             s.daemon.control_cpus = {1, 2};
         },
         "[daemon] control_cpus (from [] to [1, 2])"},
        {[](DesiredState& s) { s.dpdk.file_prefix = "a"; },
         "[dpdk] file_prefix (from none to \"a\")"},
        {[](DesiredState& s) { s.dpdk.extra_args = {"-v"}; },
         "[dpdk] extra_args (from [] to [\"-v\"])"},
        {[](DesiredState& s) { s.dpdk.memory_mb = 1; }, "[dpdk] memory_mb (from 0 to 1)"},
        {[](DesiredState& s) { s.dpdk.hugepages = Hugepages::never; },
         "[dpdk] hugepages (from \"auto\" to \"never\")"},
        {[](DesiredState& s) { s.dpdk.mbufs = 4096; }, "[dpdk] mbufs (from 0 to 4096)"},
        {[](DesiredState& s) { s.workers.count = 2; }, "[workers] count (from 0 to 2)"},
        {[](DesiredState& s) { s.workers.cpus = {1}; }, "[workers] cpus (from [] to [1])"},
        {[](DesiredState& s) { s.workers.idle_sleep = false; },
         "[workers] idle (from \"sleep\" to \"poll\")"},
        {[](DesiredState& s) { s.workers.spread = false; },
         "[workers] spread (from true to false)"},
        {[](DesiredState& s) { s.workers.idle_sleep_us = 1; },
         "[workers] idle_sleep_us (from 200 to 1)"},
        {[](DesiredState& s) { s.flow_cache.max_flows = 1024; },
         "[flow_cache] max_flows (from 1048576 to 1024)"},
        {[](DesiredState& s) { s.firewall.backend = firewall::BackendChoice::nft; },
         "[firewall] backend (from \"auto\" to \"nftables\")"},
    };
    for (const auto& [change, named] : changes) {
        DesiredState to = sample();
        change(to);
        const Result<std::vector<Action>> actions = plan(sample(), to);
        ASSERT_FALSE(actions.has_value()) << named;
        EXPECT_EQ(
            actions.error(),
            "a running daemon cannot change " + named +
                "; restart culvertd, or keep the running values"
        );
    }
    DesiredState both = sample();
    both.dpdk.mbufs = 4096;
    both.workers.count = 2;
    EXPECT_THAT(
        plan(sample(), both).error(),
        HasSubstr("[dpdk] mbufs (from 0 to 4096), [workers] count (from 0 to 2); restart")
    );
}

TEST(Plan, FirstPlanOfADaemonHasEveryItemAndNoSetting) {
    DesiredState to = sample();
    to.daemon.log_level = LogLevel::debug;
    to.dpdk.mbufs = 4096;
    to.workers.count = 2;
    to.flow_cache.max_flows = 1024;
    const DesiredState start = to.without_items();
    EXPECT_THAT(start.bridges, IsEmpty());
    EXPECT_EQ(plan_lines(start, to), plan_lines({}, sample()));
}

TEST(Describe, NamesWhatAnItemIs) {
    PortConfig tap = port("vm1", "br0");
    tap.kind = PortKind::tap;
    tap.interface = "tap5";
    tap.vlan = {VlanMode::access, 7, {}};
    EXPECT_EQ(describe(AddPort{tap}), "add port vm1: tap tap5 on bridge br0, access 7");
    PortConfig dpdk = port("vm2", "br0");
    dpdk.kind = PortKind::dpdk;
    dpdk.devargs = "net_vhost0,iface=/run/x";
    dpdk.vlan.trunks = {1, 2};
    EXPECT_EQ(
        describe(AddPort{dpdk}),
        "add port vm2: dpdk net_vhost0,iface=/run/x on bridge br0, trunk [1, 2]"
    );
    TunnelConfig keyless = tunnel("t1", "br0", 0);
    keyless.type = "gre";
    keyless.in_key.reset();
    keyless.out_key.reset();
    keyless.local_ip = tunnels::IpAddress::parse("192.0.2.1");
    EXPECT_EQ(
        describe(AddTunnel{keyless}), "add tunnel t1: gre from 192.0.2.1 to 192.0.2.2 on bridge br0"
    );
    keyless.out_key = 5;
    EXPECT_EQ(
        describe(AddTunnel{keyless}),
        "add tunnel t1: gre from 192.0.2.1 to 192.0.2.2 in_key none out_key 5 on bridge br0"
    );
    TunnelConfig special = tunnel("t1", "br0", 5);
    special.remote_ip = {};
    special.remote_flow = true;
    special.in_key.reset();
    special.in_key_flow = true;
    special.out_key.reset();
    special.out_key_flow = true;
    special.ttl_inherit = true;
    special.seq = true;
    EXPECT_EQ(
        describe(AddTunnel{special}),
        "add tunnel t1: vxlan to flow key flow on bridge br0, ttl inherit"
    ) << "vxlan has no seq";
    BridgeConfig with_local = bridge("br0");
    with_local.local.emplace();
    with_local.local->mac.emplace();
    with_local.local->up = false;
    with_local.local->vlan = {VlanMode::access, 4, {}};
    EXPECT_EQ(
        describe(AddBridge{with_local}),
        "add bridge br0: local port [] mac 00:00:00:00:00:00 access 4 down"
    );
}

}  // namespace
}  // namespace culvert::ctl
