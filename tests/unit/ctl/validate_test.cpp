// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the items of a desired state must not say about each other, and the sentence for each. The
// states are built as values here: no file, no parser.
#include "ctl/validate.hpp"

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataplane/limits.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;

BridgeConfig bridge(const std::string& name, std::uint32_t line, bool local = false) {
    BridgeConfig config;
    config.name = name;
    config.origin = {"f", line};
    if (local) {
        config.local.emplace();
    }
    return config;
}

PortConfig port(const std::string& name, std::uint32_t line, const std::string& on = "br0") {
    PortConfig config;
    config.name = name;
    config.bridge = on;
    config.interface = name;
    config.origin = {"f", line};
    return config;
}

PortConfig dpdk_port(const std::string& name, std::uint32_t line, const std::string& devargs) {
    PortConfig config = port(name, line);
    config.kind = PortKind::dpdk;
    config.interface.clear();
    config.devargs = devargs;
    return config;
}

TunnelConfig tunnel(const std::string& name, std::uint32_t line, const std::string& on = "br0") {
    TunnelConfig config;
    config.name = name;
    config.bridge = on;
    config.type = "vxlan";
    config.dst_port = 4789;
    config.remote_ip = tunnels::IpAddress::parse("192.0.2.2").value();
    config.in_key = 100;
    config.out_key = 100;
    config.origin = {"f", line};
    return config;
}

StaticMac static_mac(std::uint8_t last, const std::string& on, std::uint32_t line) {
    StaticMac entry;
    entry.mac.bytes = {2, 0, 0, 0, 0, last};
    entry.port = on;
    entry.origin = {"f", line};
    return entry;
}

DesiredState with_bridge() {
    DesiredState state;
    state.bridges = {bridge("br0", 1)};
    return state;
}

/// The sentence, or nothing when the state is valid.
std::string refusal_of(const DesiredState& state) {
    const Result<void> result = validate(state);
    return result ? std::string{} : result.error();
}

TEST(Validate, AcceptsAnEmptyStateAndAFullOne) {
    EXPECT_EQ(refusal_of(DesiredState{}), "");
    DesiredState state;
    state.bridges = {bridge("br0", 1, true), bridge("br1", 2)};
    state.ports = {port("p1", 3), port("p2", 4, "br1"), dpdk_port("d1", 5, "net_null0")};
    state.tunnels = {tunnel("t1", 6)};
    state.bridges[0].static_macs = {
        static_mac(1, "br0", 7), static_mac(2, "p1", 8), static_mac(3, "t1", 9)};
    EXPECT_EQ(refusal_of(state), "");
}

TEST(Validate, BridgesPortsAndTunnelsShareOneNameSpace) {
    const std::string rule = "; valid: a name that no other bridge, port, bond or tunnel has";
    DesiredState state = with_bridge();
    state.bridges.push_back(bridge("br0", 2));
    EXPECT_EQ(
        refusal_of(state),
        "f:2: [[bridge]] \"br0\": the name is taken by [[bridge]] \"br0\" (f:1)" + rule
    );
    state = with_bridge();
    state.ports = {port("br0", 2)};
    EXPECT_EQ(
        refusal_of(state),
        "f:2: [[port]] \"br0\": the name is taken by [[bridge]] \"br0\" (f:1)" + rule
    );
    state.ports = {port("x", 2), port("x", 3)};
    EXPECT_EQ(
        refusal_of(state), "f:3: [[port]] \"x\": the name is taken by [[port]] \"x\" (f:2)" + rule
    );
    state.ports = {port("x", 7)};
    state.tunnels = {tunnel("x", 3)};
    EXPECT_EQ(
        refusal_of(state), "f:3: [[tunnel]] \"x\": the name is taken by [[port]] \"x\" (f:7)" + rule
    );
}

TEST(Validate, UnknownBridgeListsTheExistingOnes) {
    DesiredState state;
    state.ports = {port("p1", 3, "br9")};
    EXPECT_EQ(
        refusal_of(state),
        "f:3: [[port]] \"p1\": bridge = \"br9\" does not exist; valid: a [[bridge]], of which "
        "there "
        "is none"
    );
    state.bridges = {bridge("br1", 1), bridge("br0", 2)};
    EXPECT_EQ(
        refusal_of(state),
        "f:3: [[port]] \"p1\": bridge = \"br9\" does not exist; valid: \"br0\", \"br1\""
    );
    state.ports.clear();
    state.tunnels = {tunnel("t1", 4, "br9")};
    EXPECT_THAT(
        refusal_of(state), HasSubstr("f:4: [[tunnel]] \"t1\": bridge = \"br9\" does not exist")
    );
    for (unsigned i = 2; i < 20; ++i) {
        state.bridges.push_back(bridge("br" + std::to_string(i + 10), i));
    }
    EXPECT_THAT(refusal_of(state), HasSubstr("\"br25\" and 4 more"));
}

TEST(Validate, OneDeviceHasOnePort) {
    const std::string rule = "; valid: a device that nothing else uses";
    DesiredState state = with_bridge();
    state.ports = {port("p1", 2), port("p2", 3)};
    state.ports[1].interface = "p1";
    state.ports[1].kind = PortKind::tap;
    EXPECT_EQ(
        refusal_of(state),
        "f:3: [[port]] \"p2\": interface = \"p1\" is the device of [[port]] \"p1\" (f:2)" + rule
    );
    state.ports = {port("p1", 2)};
    state.ports[0].interface = "br0";
    EXPECT_EQ(refusal_of(state), "") << "a bridge without local port has no device";
    state.bridges[0].local.emplace();
    EXPECT_EQ(
        refusal_of(state),
        "f:2: [[port]] \"p1\": interface = \"br0\" is the device of [[bridge]] \"br0\" (f:1)" + rule
    );
}

TEST(Validate, OneDpdkDeviceHasOnePortHoweverItIsWritten) {
    DesiredState state = with_bridge();
    const auto clash = [&](const std::string& first, const std::string& second) {
        state.ports = {dpdk_port("d1", 2, first), dpdk_port("d2", 3, second)};
        return refusal_of(state);
    };
    EXPECT_EQ(
        clash("0000:03:00.0", "0000:03:00.0,queues=2"),
        "f:3: [[port]] \"d2\": devargs = \"0000:03:00.0,queues=2\" is the device of [[port]] "
        "\"d1\" (f:2); valid: a device that nothing else uses"
    );
    EXPECT_NE(clash("0000:03:0a.0", "03:0A.0"), "");
    EXPECT_NE(clash("pci:0000:03:00.0", "03:00.0"), "");
    EXPECT_NE(clash("net_tap0,iface=a", "vdev:net_tap0,iface=b"), "");
    EXPECT_EQ(clash("0000:03:00.0", "0000:03:00.1"), "");
    EXPECT_EQ(clash("0001:03:00.0", "03:00.0"), "");
    EXPECT_EQ(clash("net_tap0,iface=a", "net_tap1,iface=a"), "");
    EXPECT_EQ(clash("net_tap0", "NET_TAP0"), "");
}

TEST(Validate, TunnelsThatTakeTheSamePacketsAreRefused) {
    DesiredState state = with_bridge();
    state.tunnels = {tunnel("t1", 2), tunnel("t2", 3)};
    EXPECT_EQ(
        refusal_of(state),
        "f:3: [[tunnel]] \"t2\": takes the same packets as [[tunnel]] \"t1\" (f:2): vxlan from "
        "192.0.2.2 to UDP port 4789 with key 100 for any local address; valid: tunnels that differ "
        "in type, packet_type, remote_ip, local_ip, in_key or dst_port"
    );
    const auto local = tunnels::IpAddress::parse("192.0.2.1");
    state.tunnels[0].local_ip = local;
    EXPECT_EQ(refusal_of(state), "") << "the more specific one wins";
    state.tunnels[1].local_ip = local;
    EXPECT_THAT(refusal_of(state), HasSubstr("for 192.0.2.1; valid"));
    state.tunnels[1].local_ip = tunnels::IpAddress::parse("192.0.2.3");
    EXPECT_EQ(refusal_of(state), "");
}

TEST(Validate, TunnelsMayDifferInAnyPartOfTheMatch) {
    DesiredState state = with_bridge();
    const auto differs = [&](auto change) {
        state.tunnels = {tunnel("t1", 2), tunnel("t2", 3)};
        change(state.tunnels[1]);
        return refusal_of(state);
    };
    EXPECT_EQ(differs([](TunnelConfig& t) { t.in_key = 101; }), "");
    EXPECT_EQ(differs([](TunnelConfig& t) { t.dst_port = 4790; }), "");
    EXPECT_EQ(differs([](TunnelConfig& t) { t.remote_ip.bytes[15] = 9; }), "");
    EXPECT_EQ(
        differs([](TunnelConfig& t) {
            t.type = "gre";
            t.dst_port = 0;
        }),
        ""
    );
    EXPECT_NE(differs([](TunnelConfig& t) { t.out_key = 101; }), "") << "out_key is not received";
    EXPECT_NE(differs([](TunnelConfig& t) { t.vlan = {VlanMode::access, 5, {}}; }), "");
}

TEST(Validate, AbsentKeyAndKeyZeroMatchTheSamePackets) {
    DesiredState state = with_bridge();
    state.tunnels = {tunnel("t1", 2), tunnel("t2", 3)};
    state.tunnels[0].in_key.reset();
    state.tunnels[1].in_key = 0;
    for (TunnelConfig& t : state.tunnels) {
        t.type = "gre";
        t.dst_port = 0;
    }
    EXPECT_THAT(
        refusal_of(state), HasSubstr("(f:2): gre from 192.0.2.2 with key 0 or none for any local")
    );
    state.tunnels[1].in_key = 1;
    EXPECT_EQ(refusal_of(state), "");
}

TEST(Validate, StaticMacStandsOnAPortOfItsBridge) {
    DesiredState state;
    state.bridges = {bridge("br0", 1), bridge("br1", 2)};
    state.bridges[0].static_macs = {static_mac(1, "p1", 5)};
    const std::string head = "f:5: [[bridge.static_mac]] of \"br0\": port = ";
    EXPECT_EQ(
        refusal_of(state),
        head + "\"p1\" is no port of this bridge; valid: one of its ports, of which there is none"
    );
    state.ports = {port("p1", 3, "br1"), port("p2", 4, "br0")};
    EXPECT_EQ(refusal_of(state), head + "\"p1\" is no port of this bridge; valid: \"p2\"");
    state.ports[0].bridge = "br0";
    EXPECT_EQ(refusal_of(state), "");
    state.bridges[0].static_macs[0].port = "br0";
    EXPECT_EQ(refusal_of(state), head + "\"br0\" is no port of this bridge; valid: \"p1\", \"p2\"");
    state.bridges[0].local.emplace();
    EXPECT_EQ(refusal_of(state), "");
}

TEST(Validate, StaticMacStandsOnceInAVlan) {
    DesiredState state = with_bridge();
    state.ports = {port("p1", 2), port("p2", 3)};
    state.bridges[0].static_macs = {static_mac(1, "p1", 4), static_mac(1, "p2", 5)};
    EXPECT_EQ(
        refusal_of(state),
        "f:5: [[bridge.static_mac]] of \"br0\": mac = \"02:00:00:00:00:01\" stands twice in VLAN 0 "
        "(also f:4); valid: each address once in a VLAN"
    );
    state.bridges[0].static_macs[1].vlan = 7;
    EXPECT_EQ(refusal_of(state), "");
}

/// The sentence for two GRE tunnels of which each is changed.
template <class First, class Second>
std::string gre_pair(First first, Second second) {
    DesiredState state = with_bridge();
    state.tunnels = {tunnel("t1", 2), tunnel("t2", 3)};
    for (TunnelConfig& t : state.tunnels) {
        t.type = "gre";
        t.dst_port = 0;
    }
    first(state.tunnels[0]);
    second(state.tunnels[1]);
    return refusal_of(state);
}

TEST(Validate, FlowIsALevelOfItsOwn) {
    const auto plain = [](TunnelConfig&) {};
    const auto remote = [](TunnelConfig& t) {
        t.remote_ip = {};
        t.remote_flow = true;
    };
    const auto key = [](TunnelConfig& t) {
        t.in_key.reset();
        t.in_key_flow = true;
    };
    const auto local = [&](TunnelConfig& t) {
        remote(t);
        t.local_flow = true;
    };
    EXPECT_EQ(gre_pair(plain, remote), "");
    EXPECT_EQ(gre_pair(plain, key), "");
    EXPECT_EQ(gre_pair(remote, local), "") << "any local address and \"flow\" are two levels";
    EXPECT_THAT(
        gre_pair(remote, remote), HasSubstr("gre from any peer with key 100 for any local address;")
    );
    EXPECT_THAT(
        gre_pair(key, key), HasSubstr("gre from 192.0.2.2 with any key for any local address;")
    );
    EXPECT_THAT(gre_pair(local, local), HasSubstr(" for any local address (flow); valid"));
}

TEST(Validate, FramesAndPacketsMayHaveATunnelEach) {
    const auto plain = [](TunnelConfig&) {};
    const auto l3 = [](TunnelConfig& t) { t.packet_type = tunnels::Payload::ip; };
    EXPECT_EQ(gre_pair(plain, l3), "");
    EXPECT_THAT(gre_pair(l3, l3), HasSubstr("(f:2): gre (l3) from 192.0.2.2 with key 100"));
}

TEST(Validate, AVsidIsNoKey) {
    const auto plain = [](TunnelConfig&) {};
    const auto nvgre = [](TunnelConfig& t) { t.nvgre = true; };
    const auto flow = [](TunnelConfig& t) { t.in_key_flow = true; };
    const auto nvgre_flow = [](TunnelConfig& t) { t.nvgre = t.in_key_flow = true; };
    EXPECT_EQ(gre_pair(plain, nvgre), "");
    EXPECT_THAT(gre_pair(nvgre, nvgre), HasSubstr("with VSID 100 for any local"));
    EXPECT_THAT(gre_pair(flow, nvgre_flow), HasSubstr("with any key for any local"));
}

TEST(Validate, AUdpPortCarriesOneTypeAndOneKindOfHeader) {
    DesiredState state = with_bridge();
    state.tunnels = {tunnel("t1", 2), tunnel("t2", 3)};
    state.tunnels[1].type = "geneve";
    EXPECT_EQ(
        refusal_of(state),
        "f:3: [[tunnel]] \"t2\": dst_port = 4789 is that of [[tunnel]] \"t1\" (f:2) with type = "
        "\"vxlan\"; valid: a UDP port for each type"
    );
    state.tunnels[1].dst_port = 6081;
    EXPECT_EQ(refusal_of(state), "");
    state.tunnels[1] = tunnel("t2", 3);
    state.tunnels[1].in_key = 101;
    state.tunnels[1].gbp = true;
    EXPECT_EQ(
        refusal_of(state),
        "f:3: [[tunnel]] \"t2\": gbp = true differs from [[tunnel]] \"t1\" (f:2), which has "
        "dst_port = 4789 too; valid: the same gbp in all tunnels of a UDP port"
    );
    state.tunnels[0].gbp = true;
    EXPECT_EQ(refusal_of(state), "");
    state.tunnels[0].gbp = false;
    state.tunnels[1].dst_port = 4790;
    EXPECT_EQ(refusal_of(state), "");
}

EidConfig eid(const std::string& prefix, std::uint8_t bits, std::uint32_t line) {
    EidConfig config;
    config.prefix = tunnels::IpAddress::parse(prefix).value();
    config.prefix_bits = bits;
    config.rlocs = {{"t1", 1, 1}};
    config.origin = {"f", line};
    return config;
}

/// A bridge with a local port, an EID by L3 tunnel t1, and L3 tunnel t2.
DesiredState with_eid() {
    DesiredState state;
    state.bridges = {bridge("br0", 1, true)};
    state.bridges[0].eids = {eid("10.2.0.0", 16, 5)};
    state.tunnels = {tunnel("t1", 2), tunnel("t2", 3)};
    for (TunnelConfig& t : state.tunnels) {
        t.type = "gre";
        t.dst_port = 0;
        t.packet_type = tunnels::Payload::ip;
    }
    state.tunnels[1].in_key = 7;
    return state;
}

TEST(Validate, RlocsAreL3TunnelsOfTheBridge) {
    const std::string head = "f:5: [[bridge.eid]] of \"br0\": prefix = \"10.2.0.0/16\" has an RLOC "
                             "with tunnel = ";
    const std::string rule = ", which is no tunnel of this bridge with packet_type = \"l3\" and a "
                             "remote_ip; valid: ";
    EXPECT_EQ(refusal_of(with_eid()), "");
    DesiredState state = with_eid();
    state.bridges[0].eids[0].rlocs.push_back({"t9", 1, 1});
    EXPECT_EQ(refusal_of(state), head + "\"t9\"" + rule + "\"t1\", \"t2\"");
    state = with_eid();
    state.tunnels[0].packet_type = tunnels::Payload::ethernet;
    EXPECT_EQ(refusal_of(state), head + "\"t1\"" + rule + "\"t2\"");
    state = with_eid();
    state.tunnels[0].remote_flow = true;
    EXPECT_EQ(refusal_of(state), head + "\"t1\"" + rule + "\"t2\"") << "nothing can be sent by it";
    state = with_eid();
    state.bridges.push_back(bridge("br1", 9));
    state.tunnels[0].bridge = state.tunnels[1].bridge = "br1";
    EXPECT_EQ(refusal_of(state), head + "\"t1\"" + rule + "one of these, of which there is none");
    state = with_eid();
    state.bridges[0].eids[0].rlocs.push_back({"t1", 2, 5});
    EXPECT_EQ(refusal_of(state), head + "\"t1\" twice; valid: each tunnel once");
}

TEST(Validate, APrefixStandsOnceInABridge) {
    DesiredState state = with_eid();
    state.bridges[0].eids = {eid("10.2.0.0", 16, 5), eid("10.2.0.0", 17, 6), eid("fd20::", 16, 7)};
    EXPECT_EQ(refusal_of(state), "");
    state.bridges[0].eids.push_back(eid("10.2.0.0", 16, 8));
    EXPECT_EQ(
        refusal_of(state),
        "f:8: [[bridge.eid]] of \"br0\": prefix = \"10.2.0.0/16\" stands twice (also f:5); valid: "
        "each prefix once in a bridge"
    );
}

TEST(Validate, EidsNeedALocalPort) {
    DesiredState state = with_eid();
    state.bridges[0].local.reset();
    EXPECT_EQ(
        refusal_of(state),
        "f:5: [[bridge.eid]] of \"br0\": prefix = \"10.2.0.0/16\" needs a local port, which is the "
        "gateway to it; valid: a bridge with [bridge.local]"
    );
}

TEST(Validate, AStaticMacMayPointToAnL3Tunnel) {
    DesiredState state = with_eid();
    state.bridges[0].static_macs = {static_mac(1, "t1", 9)};
    EXPECT_EQ(refusal_of(state), "");
}

TEST(Validate, BoundsOfTheDataplaneHold) {
    DesiredState state;
    for (unsigned i = 0; i < dataplane::kBridgesMax; ++i) {
        state.bridges.push_back(bridge("b" + std::to_string(i), i));
    }
    EXPECT_EQ(refusal_of(state), "");
    state.bridges.push_back(bridge("last", 999));
    EXPECT_EQ(
        refusal_of(state), "f:999: [[bridge]] \"last\": is one bridge too many; valid: at most 256"
    );

    state = with_bridge();
    for (unsigned i = 0; i + 1 < dataplane::kPortsMax; ++i) {
        state.ports.push_back(port("p" + std::to_string(i), i));
    }
    state.tunnels = {tunnel("t1", 1)};
    EXPECT_EQ(refusal_of(state), "");
    state.bridges[0].local.emplace();
    EXPECT_EQ(
        refusal_of(state),
        "the configuration has 4097 ports, bonds, tunnels and local ports; valid: at most 4096 "
        "together"
    );
}

TEST(Validate, AnItemFromNoFileHasNoPlace) {
    DesiredState state = with_bridge();
    state.bridges[0].origin = {};
    state.ports = {port("br0", 0)};
    state.ports[0].origin = {};
    EXPECT_EQ(
        refusal_of(state),
        "[[port]] \"br0\": the name is taken by [[bridge]] \"br0\"; valid: a name that no other "
        "bridge, port, bond or tunnel has"
    );
}

TEST(Validate, QueuesGoToWorkersThatThereAre) {
    DesiredState state = with_bridge();
    state.ports = {port("p1", 4)};
    state.ports[0].rx_workers = {1};
    EXPECT_EQ(
        refusal_of(state),
        "f:4: [[port]] \"p1\": rx_workers names worker 1, but [workers] makes 1; valid: 0"
    );
    state.workers.cpus = {4, 5};
    EXPECT_EQ(refusal_of(state), "");
    state.ports[0].rx_workers = {2};
    EXPECT_EQ(
        refusal_of(state),
        "f:4: [[port]] \"p1\": rx_workers names worker 2, but [workers] makes 2; valid: 0-1"
    );
}

TEST(Validate, NoMoreWorkersThanQueuesAreListed) {
    DesiredState state = with_bridge();
    state.workers.count = 4;
    state.ports = {port("p1", 4)};
    state.ports[0].rx_workers = {0, 1};
    EXPECT_EQ(
        refusal_of(state),
        "f:4: [[port]] \"p1\": rx_workers lists 2 workers, but the port has 1 receive queue; "
        "valid: at most one worker for each queue"
    );
    state.ports = {dpdk_port("p1", 4, "net_null0")};
    state.ports[0].rx_queues = 2;
    state.ports[0].rx_workers = {0, 1, 2};
    EXPECT_EQ(
        refusal_of(state),
        "f:4: [[port]] \"p1\": rx_workers lists 3 workers, but the port has 2 receive queues; "
        "valid: at most one worker for each queue"
    );
    state.ports[0].rx_queues = 0;  // How many the device has is not known here.
    EXPECT_EQ(refusal_of(state), "");
}

}  // namespace
}  // namespace culvert::ctl
