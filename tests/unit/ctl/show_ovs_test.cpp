// SPDX-License-Identifier: GPL-2.0-or-later
//
// OVS's verbs: the lines are those of ovs-vswitchd 3.1 for the same bridges, ports and tunnels.
#include "ctl/show_ovs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/fake_underlay.hpp"
#include "tests/unit/ctl/fake_workers.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakeUnderlay;
using culvert::testing::FakeWorkers;
using ::testing::HasSubstr;
using tunnels::IpAddress;
using tunnels::MacAddress;

class ShowOvs : public ::testing::Test {
protected:
    ShowOvs() {
        model_.bridges["br0"].index = 0;
        model_.bridges["br0"].config.name = "br0";
        model_.bridges["br-phy"].index = 1;
        SwitchPort& local = add(1, "br-phy", PortRole::local, 1);
        local.ifindex = 7;
        local.mac = *MacAddress::parse("02:00:00:00:aa:01");
        add(2, "vif1", PortRole::device, 0);
        SwitchPort& vxlan = add(4, "t0", PortRole::tunnel, 0);
        vxlan.tunnel.type = "vxlan";
        vxlan.tunnel.remote_ip = *IpAddress::parse("172.20.0.2");
        vxlan.tunnel.in_key = vxlan.tunnel.out_key = 77;
        vxlan.tunnel.dst_port = 4789;
        SwitchPort& gre = add(5, "t1", PortRole::tunnel, 0);
        gre.tunnel.type = "gre";
        gre.tunnel.remote_ip = *IpAddress::parse("172.20.0.3");
        ofports_.assign(
            {{.bridge = "br-phy", .interface = "br-phy", .local = true},
             {.bridge = "br0", .interface = "vif1"},
             {.bridge = "br0", .interface = "t0"},
             {.bridge = "br0", .interface = "t1"}}
        );
        slow_path_.insert_bridge(0, 64, 300);
        slow_path_.insert_bridge(1, 64, 300);
    }

    SwitchPort& add(std::uint16_t index, const char* name, PortRole role, std::uint16_t bridge) {
        SwitchPort& port = model_.ports[index];
        port.name = name;
        port.index = index;
        port.role = role;
        port.bridge = bridge;
        return port;
    }
    std::string text(OvsVerb* verb, const Arguments& arguments = {}) {
        const auto answer = verb(view_, arguments);
        return answer ? *answer : "error: " + answer.error();
    }

    SwitchModel model_;
    Ofports ofports_;
    dataplane::FlowCache flows_{dataplane::kFlowsMin};
    FakeWorkers workers_;
    FakeUnderlay underlay_;
    SlowPath slow_path_{workers_, flows_};
    OvsView view_{model_, ofports_, slow_path_, workers_, flows_, underlay_};
};

TEST_F(ShowOvs, StaticAddressesCanBeAddedAndDeleted) {
    EXPECT_EQ(text(ovs_fdb_add, {"br0", "vif1", "5", "00:11:22:33:44:55"}), "");
    EXPECT_EQ(
        text(ovs_fdb_show, {"br0"}),
        " port  VLAN  MAC                Age\n"
        "    1     5  00:11:22:33:44:55  static\n"
    );
    EXPECT_EQ(text(ovs_fdb_flush, {}), "table successfully flushed");
    EXPECT_THAT(text(ovs_fdb_show, {"br0"}), HasSubstr("static")) << "a flush forgets the learned";
    EXPECT_EQ(text(ovs_fdb_del, {"br0", "5", "00:11:22:33:44:55"}), "");
    EXPECT_EQ(text(ovs_fdb_show, {"br0"}), " port  VLAN  MAC                Age\n");
    EXPECT_EQ(
        text(ovs_fdb_del, {"br0", "5", "00:11:22:33:44:55"}),
        "error: could not find static mac entry"
    );
}

TEST_F(ShowOvs, TheLocalPortIsCalledLocal) {
    slow_path_.insert_fixed(1, {0, *MacAddress::parse("02:00:00:00:aa:01")}, 1);
    EXPECT_THAT(text(ovs_fdb_show, {"br-phy"}), HasSubstr("\nLOCAL     0  02:00:00:00:aa:01  "));
    EXPECT_THAT(
        text(ovs_fdb_del, {"br-phy", "0", "02:00:00:00:aa:01"}), HasSubstr("the bridge's own")
    );
}

TEST_F(ShowOvs, MistakesInAddressesAreRefused) {
    EXPECT_EQ(text(ovs_fdb_show, {"br9"}), "error: no such bridge");
    EXPECT_EQ(text(ovs_fdb_flush, {"br9"}), "error: no such bridge");
    EXPECT_EQ(text(ovs_fdb_add, {"br0", "vif1", "0", "zz"}), "error: bad MAC address");
    EXPECT_EQ(
        text(ovs_fdb_add, {"br0", "vif1", "0", "01:00:00:00:00:01"}), "error: bad MAC address"
    );
    EXPECT_THAT(text(ovs_fdb_add, {"br0", "vif1", "4096", "00:11:22:33:44:55"}), HasSubstr("4096"));
    EXPECT_THAT(
        text(ovs_fdb_add, {"br0", "br-phy", "0", "00:11:22:33:44:55"}), HasSubstr("has no port")
    );
}

TEST_F(ShowOvs, DatapathAndTunnelsReadAsInOvs) {
    EXPECT_EQ(
        text(ovs_dpif_show),
        "netdev@ovs-netdev: hit:0 missed:0\n"
        "  br-phy:\n"
        "    br-phy 65534/2: (tap)\n"
        "  br0:\n"
        "    t0 2/5: (vxlan: key=77, remote_ip=172.20.0.2)\n"
        "    t1 3/6: (gre: remote_ip=172.20.0.3)\n"
        "    vif1 1/3: (system)\n"
    );
    EXPECT_EQ(
        text(ovs_list_tunnels),
        "port 5: t0 (vxlan: ::->172.20.0.2, key=0x4d, legacy_l2, dp port=5, ttl=64)\n"
        "port 6: t1 (gre: ::->172.20.0.3, key=0, legacy_l2, dp port=6, ttl=64)\n"
    );
    EXPECT_EQ(
        text(ovs_tnl_ports),
        "Listening ports:\nvxlan_sys_4789 (5) ref_cnt=1\ngre_sys (6) ref_cnt=1\n"
    );
    EXPECT_EQ(text(ovs_ofproto_list), "br-phy\nbr0\n");
    EXPECT_THAT(text(ovs_dpctl_show, {"-s"}), HasSubstr("  port 3: vif1\n    RX packets:0 "));
    EXPECT_THAT(text(ovs_dpctl_show, {"dp9"}), HasSubstr("no datapath named"));
}

TEST_F(ShowOvs, OptionsOfATunnelAreThoseThatDiffer) {
    SwitchPort& port = *model_.find_port("t0");
    port.tunnel.local_ip = IpAddress::parse("172.20.0.1");
    port.tunnel.dst_port = 4790;
    port.tunnel.out_key.reset();
    port.tunnel.tos_inherit = true;
    port.tunnel.ttl = 9;
    port.tunnel.df = false;
    port.tunnel.csum = true;
    EXPECT_EQ(
        ovs_port_type(port),
        "vxlan: csum=true, df_default=false, dst_port=4790, in_key=77, local_ip=172.20.0.1, "
        "remote_ip=172.20.0.2, tos=inherit, ttl=9"
    );
    EXPECT_THAT(
        text(ovs_list_tunnels),
        HasSubstr(
            "port 5: t0 (vxlan: 172.20.0.1->172.20.0.2, key=0x4d, out_key=none, legacy_l2, dp "
            "port=5, tos=inherit, ttl=9, df=false, csum=true)\n"
        )
    );
}

TEST_F(ShowOvs, FlowsHaveOvsSyntax) {
    dataplane::FlowKey key;
    key.in_port = 2;
    key.vlan = 5;
    key.source = *MacAddress::parse("02:00:00:00:00:01");
    key.destination = *MacAddress::parse("02:00:00:00:00:02");
    ASSERT_TRUE(flows_.insert(key, {dataplane::FlowVerdict::forward, {}, 4}, 1, 100).ok);
    const std::string tail = ",packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:"
                             "02),vlan(vid=5), packets:?, bytes:?, used:never, actions:";
    EXPECT_EQ(text(ovs_dpctl_flows), "recirc_id(0),in_port(3)" + tail + "5\n");
    EXPECT_EQ(text(ovs_dpif_flows, {"-m", "br0"}), "recirc_id(0),in_port(vif1)" + tail + "t0\n");
    EXPECT_EQ(text(ovs_dpif_flows, {"br-phy"}), "");
    EXPECT_EQ(text(ovs_dpif_flows, {"br9"}), "error: no such bridge");
}

TEST_F(ShowOvs, NeighboursAreThoseBehindLocalPorts) {
    underlay_.known_neighbours[{7, *IpAddress::parse("172.20.0.2")}] = {
        false, 7, *IpAddress::parse("172.20.0.2"), MacAddress::parse("56:28:d2:2f:aa:b8"), 2};
    EXPECT_EQ(
        text(ovs_neigh_show),
        "IP                                            MAC                 Bridge\n"
        "==========================================================================\n"
        "172.20.0.2                                    56:28:d2:2f:aa:b8   br-phy\n"
    );
}

TEST_F(ShowOvs, CountersHaveNames) {
    EXPECT_EQ(text(ovs_coverage_read, {"flow_hit"}), "0");
    EXPECT_EQ(text(ovs_coverage_read, {"nope"}), "error: No such counter");
    EXPECT_THAT(text(ovs_coverage_show), HasSubstr(" events never hit\n"));
}

}  // namespace

}  // namespace culvert::ctl
