// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the control thread's model to a snapshot. Bridge "under" (0) has uplink 0, a second port 1
// and its local port 2; bridge "over" (4) has port 7 and tunnel 9, whose next hop is behind the
// uplink.

#include "ctl/patches.hpp"
#include "ctl/switch_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/fake_workers.hpp"
#include "tests/unit/dataplane/fake_port.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakePort;
using culvert::testing::FakeWorkers;
using dataplane::kPortNone;
using dataplane::Snapshot;
using dataplane::TunnelView;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tunnels::DropReason;
using tunnels::IpAddress;
using tunnels::MacAddress;

TEST(DeviceStatusFollow, CountsChangesOfTheCarrierAlone) {
    DeviceStatus status;
    LinkEvent link;
    EXPECT_FALSE(status.follow(link));
    link.enabled = true;
    EXPECT_TRUE(status.follow(link));
    EXPECT_TRUE(status.enabled);
    EXPECT_EQ(status.link_resets, 0U);
    for (const bool running : {true, false, true}) {
        link.running = running;
        EXPECT_TRUE(status.follow(link));
        EXPECT_EQ(status.running, running);
        EXPECT_FALSE(status.follow(link));
    }
    EXPECT_EQ(status.link_resets, 3U);
}

class BuildSnapshot : public ::testing::Test {
protected:
    static constexpr std::uint16_t kUplink = 0;
    static constexpr std::uint16_t kSecond = 1;
    static constexpr std::uint16_t kLocal = 2;
    static constexpr std::uint16_t kVif = 7;
    static constexpr std::uint16_t kTunnel0 = 9;
    static constexpr std::uint16_t kUnder = 0;
    static constexpr std::uint16_t kOver = 4;

    BuildSnapshot() {
        model_.bridges["under"].index = kUnder;
        model_.bridges["over"].index = kOver;
        add_device(kUplink, kUnder, PortRole::device);
        add_device(kSecond, kUnder, PortRole::device);
        SwitchPort& local = add_device(kLocal, kUnder, PortRole::local);
        local.mac = local_mac_;
        local.ifindex = 33;
        add_device(kVif, kOver, PortRole::device);
        SwitchPort& tunnel = insert(kTunnel0, kOver, PortRole::tunnel);
        tunnel.tunnel.type = "vxlan";
        tunnel.tunnel.remote_ip = remote_;
        tunnel.tunnel.in_key = 100;
        tunnel.tunnel.out_key = 200;
        tunnel.tunnel.dst_port = 4789;
        tunnel.resolution.state = Resolution::State::resolved;
        tunnel.resolution.source = local_ip_;
        tunnel.resolution.next_hop_mac = next_hop_mac_;
        tunnel.resolution.mtu = 1600;
        tunnel.resolution.device = {.bridge = kUnder, .mac = local_mac_, .mtu = 1600, .vlan = 0};
        slow_path_.insert_bridge(kUnder, 64, 300);
        slow_path_.insert_bridge(kOver, 64, 300);
        locate_next_hop(kUplink, 0);
    }
    SwitchPort& insert(std::uint16_t index, std::uint16_t bridge, PortRole role) {
        SwitchPort& port = model_.ports[index];
        port.name = "p" + std::to_string(index);
        port.index = index;
        port.bridge = bridge;
        port.role = role;
        port.generation = 50U + index;
        return port;
    }
    SwitchPort& add_device(std::uint16_t index, std::uint16_t bridge, PortRole role) {
        SwitchPort& port = insert(index, bridge, role);
        port.device = std::make_shared<FakePort>(index == kUplink);
        port.mtu = 1600;
        port.up = true;
        return port;
    }
    void locate_next_hop(std::uint16_t port, std::uint16_t vlan) {
        static_cast<void>(slow_path_.insert_fixed(kUnder, {vlan, next_hop_mac_}, port));
    }
    [[nodiscard]] std::unique_ptr<Snapshot> build(unsigned workers = 2) const {
        return build_snapshot(model_, slow_path_, {addresses_, neighbours_, {}}, workers, 17);
    }
    [[nodiscard]] TunnelView tunnel_view() const {
        const auto snapshot = build();
        return snapshot->tunnels.at(snapshot->ports.at(kTunnel0).tunnel);
    }
    Resolution& resolution() { return model_.ports.at(kTunnel0).resolution; }
    static std::uint16_t be16(const TunnelView& view, std::size_t at) {
        return static_cast<std::uint16_t>(
            (std::to_integer<unsigned>(view.header.bytes.at(at)) << 8U) |
            std::to_integer<unsigned>(view.header.bytes.at(at + 1))
        );
    }
    static std::vector<std::uint8_t>
    octets(const TunnelView& view, std::size_t at, std::size_t count) {
        std::vector<std::uint8_t> found;
        for (std::size_t i = at; i < at + count; ++i) {
            found.push_back(std::to_integer<std::uint8_t>(view.header.bytes.at(i)));
        }
        return found;
    }

    /// As the database would give it, were there none of its objects: shut.
    void encrypt() { model_.ports.at(kTunnel0).tunnel.esp = EspConfig{}; }

    const MacAddress local_mac_{{0x02, 0, 0, 0, 0, 0xfe}};
    const MacAddress next_hop_mac_{{0x02, 0, 0, 0, 0, 0xaa}};
    const IpAddress local_ip_ = *IpAddress::parse("198.51.100.1");
    const IpAddress remote_ = *IpAddress::parse("192.0.2.9");
    FakeWorkers workers_;
    dataplane::FlowCache flows_{1024};
    SlowPath slow_path_{workers_, flows_};
    SwitchModel model_;
    std::map<int, std::set<IpAddress>> addresses_;
    std::map<int, std::map<IpAddress, MacAddress>> neighbours_;
};

TEST_F(BuildSnapshot, PortsAndBridgesKeepTheirIndices) {
    model_.bridges["over"].config.split_horizon = true;
    model_.ports[kSecond].device.reset();
    model_.ports[kSecond].up = false;
    const auto snapshot = build();
    EXPECT_EQ(snapshot->version, 17U);
    ASSERT_EQ(snapshot->ports.size(), 10U);
    ASSERT_EQ(snapshot->bridges.size(), 5U);
    EXPECT_THAT(snapshot->bridges[kUnder].members, ElementsAre(kUplink, kSecond, kLocal));
    EXPECT_THAT(snapshot->bridges[kOver].members, ElementsAre(kVif, kTunnel0));
    EXPECT_FALSE(snapshot->bridges[kUnder].split_horizon);
    EXPECT_TRUE(snapshot->bridges[kOver].split_horizon);
    EXPECT_EQ(snapshot->ports[3].bridge, kPortNone);
    EXPECT_EQ(snapshot->ports[kVif].bridge, kOver);
    EXPECT_EQ(snapshot->ports[kVif].generation, 57U);
    EXPECT_EQ(snapshot->ports[kVif].mtu, 1600U);
    EXPECT_TRUE(snapshot->ports[kVif].up);
    EXPECT_TRUE(snapshot->ports[kUplink].carries_offloads);
    EXPECT_FALSE(snapshot->ports[kVif].carries_offloads);
    EXPECT_EQ(snapshot->ports[kSecond].device, nullptr);
    EXPECT_TRUE(snapshot->ports[kTunnel0].is_tunnel());
    EXPECT_FALSE(snapshot->ports[kVif].is_tunnel());
}

TEST_F(BuildSnapshot, OnlyABridgeWithALocalDeviceTerminatesTunnels) {
    model_.ports[kLocal].vlan = {.mode = VlanMode::access, .tag = 20, .trunks = {}};
    const auto snapshot = build();
    EXPECT_TRUE(snapshot->bridges[kUnder].terminates_tunnels);
    EXPECT_EQ(snapshot->bridges[kUnder].local_mac, local_mac_);
    EXPECT_EQ(snapshot->bridges[kUnder].local_vlan, 20);
    EXPECT_FALSE(snapshot->bridges[kOver].terminates_tunnels);
    model_.ports[kLocal].device.reset();
    EXPECT_FALSE(build()->bridges[kUnder].terminates_tunnels);
}

TEST_F(BuildSnapshot, LocalAddressesOfAllInterfacesCount) {
    addresses_[1] = {*IpAddress::parse("127.0.0.1")};
    addresses_[33] = {local_ip_, *IpAddress::parse("2001:db8::1")};
    const auto snapshot = build();
    EXPECT_EQ(snapshot->local_addresses.size(), 3U);
    EXPECT_TRUE(snapshot->local_addresses.contains(local_ip_));
    EXPECT_FALSE(snapshot->local_addresses.contains(remote_));
}

TEST_F(BuildSnapshot, PeersAreFoundByTheirInKeyAndLocalAddress) {
    const std::uint8_t vxlan = *tunnels::find_protocol("vxlan");
    const auto find = [&](const IpAddress& local, std::uint32_t key) {
        return build()->peers.find(
            {.local = local, .remote = remote_, .key = key, .udp_port = 4789, .protocol = vxlan}
        );
    };
    EXPECT_EQ(find(local_ip_, 100), kTunnel0);
    EXPECT_EQ(find(remote_, 100), kTunnel0);
    EXPECT_EQ(find(local_ip_, 200), kPortNone);
    model_.ports[kTunnel0].tunnel.local_ip = local_ip_;
    EXPECT_EQ(find(local_ip_, 100), kTunnel0);
    EXPECT_EQ(find(remote_, 100), kPortNone);
    model_.ports[kTunnel0].tunnel.in_key.reset();
    EXPECT_EQ(find(local_ip_, 0), kTunnel0);
}

TEST_F(BuildSnapshot, ListenersNameEachProtocolAndPortOnce) {
    for (std::uint16_t index = 10; index < 14; ++index) {
        SwitchPort& port = insert(index, kOver, PortRole::tunnel);
        port.tunnel = model_.ports[kTunnel0].tunnel;
        port.tunnel.in_key = index;
    }
    model_.ports[12].tunnel.dst_port = 8472;
    model_.ports[13].tunnel.type = "gre";
    model_.ports[13].tunnel.dst_port = 0;
    const auto snapshot = build();
    ASSERT_EQ(snapshot->listeners.size(), 3U);
    EXPECT_EQ(snapshot->listeners[0].ip_protocol, tunnels::kIpProtocolUdp);
    EXPECT_EQ(snapshot->listeners[0].udp_port, 4789);
    EXPECT_EQ(snapshot->listeners[1].udp_port, 8472);
    EXPECT_EQ(snapshot->listeners[2].ip_protocol, tunnels::kIpProtocolGre);
    EXPECT_EQ(snapshot->listeners[2].protocol, *tunnels::find_protocol("gre"));
    EXPECT_EQ(snapshot->tunnels.size(), 5U);
}

TEST_F(BuildSnapshot, AResolvedTunnelHasItsHeadersPrebuilt) {
    const TunnelView view = tunnel_view();
    EXPECT_TRUE(view.resolved);
    EXPECT_EQ(view.unresolved, DropReason::none);
    EXPECT_EQ(view.out_port, kUplink);
    EXPECT_EQ(view.out_bridge, kUnder);
    EXPECT_EQ(view.underlay_mtu, 1600U);
    EXPECT_THAT(octets(view, 0, 6), ElementsAre(0x02, 0, 0, 0, 0, 0xaa));
    EXPECT_THAT(octets(view, 6, 6), ElementsAre(0x02, 0, 0, 0, 0, 0xfe));
    EXPECT_EQ(be16(view, 12), 0x0800);
    EXPECT_THAT(octets(view, 26, 4), ElementsAre(198, 51, 100, 1));
    EXPECT_THAT(octets(view, 30, 4), ElementsAre(192, 0, 2, 9));
    EXPECT_EQ(be16(view, 36), 4789);
    EXPECT_THAT(octets(view, 46, 3), ElementsAre(0, 0, 200));  // The VNI that is sent is out_key.
}

TEST_F(BuildSnapshot, TheUnderlayMtuIsTheSmallestOnTheWay) {
    model_.ports[kUplink].mtu = 1500;
    EXPECT_EQ(tunnel_view().underlay_mtu, 1500U);
    model_.ports[kUplink].mtu = 9000;
    EXPECT_EQ(tunnel_view().underlay_mtu, 1600U);
    model_.ports[kUplink].mtu = 0;  // Unknown.
    EXPECT_EQ(tunnel_view().underlay_mtu, 1600U);
}

TEST_F(BuildSnapshot, ATaggedUnderlayPortHasTheTagInTheTemplate) {
    resolution().device.vlan = 20;
    locate_next_hop(kUplink, 20);
    const TunnelView tagged = tunnel_view();
    EXPECT_EQ(tagged.out_vlan, 20);
    EXPECT_EQ(be16(tagged, 12), 0x8100);
    EXPECT_EQ(be16(tagged, 14) & 0xfffU, 20U);
    EXPECT_EQ(be16(tagged, 16), 0x0800);
    model_.ports[kUplink].vlan = {.mode = VlanMode::access, .tag = 20, .trunks = {}};
    EXPECT_EQ(be16(tunnel_view(), 12), 0x0800);
}

TEST_F(BuildSnapshot, TheNextHopIsSoughtInTheVlanOfTheLocalPort) {
    resolution().device.vlan = 20;
    const TunnelView view = tunnel_view();
    EXPECT_TRUE(view.resolved);
    EXPECT_EQ(view.out_port, kPortNone);
}

TEST_F(BuildSnapshot, AnUnknownPortOfTheNextHopFloodsItsBridgeUntagged) {
    slow_path_.flush_port(kUnder, kUplink);
    resolution().device.vlan = 20;
    const TunnelView view = tunnel_view();
    EXPECT_TRUE(view.resolved);
    EXPECT_EQ(view.unresolved, DropReason::none);
    EXPECT_EQ(view.out_port, kPortNone);
    EXPECT_EQ(view.out_bridge, kUnder);
    EXPECT_EQ(view.out_vlan, 20);
    EXPECT_EQ(be16(view, 12), 0x0800);
}

TEST_F(BuildSnapshot, PatchPortsLeadOnToTheNextHopAndFromOtherBridges) {
    model_.ports.at(kVif).rx_workers = {0, 1};
    EXPECT_TRUE(build()->ports.at(kTunnel0).spread) << "a NIC of a bridge that nothing joins";
    for (const std::uint16_t index : {std::uint16_t{3}, std::uint16_t{5}}) {
        SwitchPort& end = insert(index, index == 3 ? kUnder : kOver, PortRole::device);
        end.config.kind = PortKind::patch;
        end.config.peer = index == 3 ? "p5" : "p3";
    }
    EXPECT_TRUE(link_patches(model_));
    EXPECT_FALSE(link_patches(model_)) << "nothing changed since";
    locate_next_hop(3, 0);
    EXPECT_TRUE(tunnel_view().resolved);
    EXPECT_EQ(tunnel_view().out_port, 3);
    EXPECT_TRUE(build()->ports.at(3).carries_offloads);
    EXPECT_FALSE(build()->ports.at(kTunnel0).spread) << "several workers get its packets";
}

TEST_F(BuildSnapshot, ANextHopBehindTheHostOrATunnelOrNothingIsNoWayOut) {
    for (const std::uint16_t port : {kLocal, kTunnel0, std::uint16_t{3}}) {
        locate_next_hop(port, 0);
        const TunnelView view = tunnel_view();
        EXPECT_FALSE(view.resolved) << port;
        EXPECT_EQ(view.unresolved, DropReason::tunnel_no_route) << port;
    }
}

TEST_F(BuildSnapshot, UnresolvedTunnelsDropOrWaitByTheirState) {
    resolution().state = Resolution::State::no_route;
    EXPECT_FALSE(tunnel_view().resolved);
    EXPECT_EQ(tunnel_view().unresolved, DropReason::tunnel_no_route);
    resolution().state = Resolution::State::no_neighbour;
    EXPECT_FALSE(tunnel_view().resolved);
    EXPECT_EQ(tunnel_view().unresolved, DropReason::none);
    // Packets from the peer are taken all the same.
    EXPECT_TRUE(build()->peers.knows(*tunnels::find_protocol("vxlan"), remote_));
}

TEST_F(BuildSnapshot, AnEmptyModelGivesAnEmptySnapshot) {
    const auto snapshot = build_snapshot({}, slow_path_, {}, 3, 1);
    EXPECT_THAT(snapshot->ports, IsEmpty());
    EXPECT_THAT(snapshot->bridges, IsEmpty());
    EXPECT_EQ(snapshot->rx.size(), 3U);
}

TEST_F(BuildSnapshot, TheModelFindsItsPortsByRole) {
    model_.ports[kLocal].name = model_.ports[kVif].name;
    EXPECT_EQ(model_.find_port("p7")->index, kVif);
    EXPECT_EQ(model_.find_port("p7", true)->index, kLocal);
    EXPECT_EQ(model_.find_port("p0", true), nullptr);
    EXPECT_EQ(std::as_const(model_).find_port(3), nullptr);
    EXPECT_EQ(*model_.bridge_name(kOver), "over");
    EXPECT_EQ(model_.bridge_name(1), nullptr);
    EXPECT_EQ(model_.local_port(kUnder)->index, kLocal);
    EXPECT_EQ(model_.local_port(kOver), nullptr);
    const auto locals = model_.local_devices();
    ASSERT_EQ(locals.size(), 1U);
    EXPECT_EQ(locals.at(33).mac, local_mac_);
    EXPECT_EQ(locals.at(33).mtu, 1600U);
}

TEST_F(BuildSnapshot, ThePathMtuThatWasLearntCountsWhileItIsLess) {
    SwitchPort& port = model_.ports.at(kTunnel0);
    EXPECT_EQ(effective_path_mtu(port), 1600U);
    port.path_mtu = 1400;
    EXPECT_EQ(effective_path_mtu(port), 1400U);
    EXPECT_EQ(tunnel_view().underlay_mtu, 1400U);
    resolution().mtu = 1300;
    EXPECT_EQ(effective_path_mtu(port), 1300U);
    EXPECT_EQ(tunnel_view().underlay_mtu, 1300U);
}

TEST_F(BuildSnapshot, ATunnelsOptionsAreInItsView) {
    const TunnelView plain = tunnel_view();
    EXPECT_EQ(plain.transmit.payload, tunnels::Payload::ethernet);
    EXPECT_FALSE(plain.transmit.inherit_tos);
    EXPECT_FALSE(plain.transmit.inherit_ttl);
    EXPECT_EQ(plain.transmit.ecn, tunnels::EcnMode::normal);
    EXPECT_EQ(plain.transmit.oversize, dataplane::Oversize::ptb);
    EXPECT_FALSE(plain.receive.admits_group_policy);
    EXPECT_EQ(plain.receive.only_group, std::nullopt);
    EXPECT_FALSE(plain.receive.udp6_zero_checksum);
    EXPECT_FALSE(plain.receive.drop_late);
    EXPECT_THAT(plain.receive.known_options, IsEmpty());

    SwitchPort& port = model_.ports.at(kTunnel0);
    port.sequence = std::make_shared<dataplane::TunnelSequence>();
    TunnelConfig& config = port.tunnel;
    config.tos_inherit = true;
    config.ttl_inherit = true;
    config.ecn = tunnels::EcnMode::compatibility;
    config.oversize = dataplane::Oversize::clamp_mss;
    config.gbp = true;
    config.gbp_id = 0x1234;
    config.gbp_admit = 77;
    config.udp6_zero_csum_rx = true;
    config.late = LatePolicy::drop;
    for (const bool resolved : {true, false}) {
        resolution().state =
            resolved ? Resolution::State::resolved : Resolution::State::no_neighbour;
        const TunnelView view = tunnel_view();
        EXPECT_TRUE(view.transmit.inherit_tos);
        EXPECT_TRUE(view.transmit.inherit_ttl);
        EXPECT_EQ(view.transmit.ecn, tunnels::EcnMode::compatibility);
        EXPECT_EQ(view.transmit.oversize, dataplane::Oversize::clamp_mss);
        EXPECT_TRUE(view.receive.admits_group_policy);
        EXPECT_EQ(view.receive.only_group, 77);
        EXPECT_TRUE(view.receive.udp6_zero_checksum);
        EXPECT_TRUE(view.receive.drop_late);
        EXPECT_EQ(view.sequence, port.sequence) << "numbers outlive snapshots";
    }
}

TEST_F(BuildSnapshot, WhatATunnelSendsIsInItsTemplate) {
    TunnelConfig& config = model_.ports.at(kTunnel0).tunnel;
    config.tos = 0x48;
    config.ttl = 9;
    config.src_port_min = 50000;
    config.src_port_max = 50003;
    config.gbp = true;
    TunnelView view = tunnel_view();
    EXPECT_EQ(view.header.tos, 0x48);
    EXPECT_EQ(view.header.ttl, 9);
    EXPECT_EQ(view.header.udp_source_min, 50000);
    EXPECT_EQ(view.header.udp_source_count, 4);
    EXPECT_FALSE(view.header.udp_checksum);
    EXPECT_EQ(be16(view, 20), 0x4000) << "DF";
    EXPECT_THAT(octets(view, 42, 4), ElementsAre(0x08, 0, 0, 0)) << "no group unless said";
    EXPECT_TRUE(view.header.patched) << "a packet may bring one";
    config.gbp_id = 0x1234;
    config.csum = true;
    config.out_key_flow = true;
    view = tunnel_view();
    EXPECT_TRUE(view.header.udp_checksum);
    EXPECT_THAT(octets(view, 42, 7), ElementsAre(0x88, 0, 0x12, 0x34, 0, 0, 0));
}

TEST_F(BuildSnapshot, DfIsClearWhereTheOuterPacketMayBeCut) {
    TunnelConfig& config = model_.ports.at(kTunnel0).tunnel;
    config.df = false;
    EXPECT_EQ(be16(tunnel_view(), 20), 0);
    EXPECT_EQ(tunnel_view().transmit.oversize, dataplane::Oversize::fragment_outer);
    config.df = true;
    config.oversize = dataplane::Oversize::fragment_outer;
    EXPECT_EQ(be16(tunnel_view(), 20), 0);
    config.df = false;
    config.oversize = dataplane::Oversize::drop;
    EXPECT_EQ(be16(tunnel_view(), 20), 0);
    EXPECT_EQ(tunnel_view().transmit.oversize, dataplane::Oversize::drop);
}

TEST_F(BuildSnapshot, GreAndGeneveOptionsAreInTheTemplate) {
    TunnelConfig& config = model_.ports.at(kTunnel0).tunnel;
    config.type = "gre";
    config.dst_port = 0;
    config.csum = true;
    config.seq = true;
    config.nvgre = true;
    TunnelView view = tunnel_view();
    EXPECT_EQ(be16(view, 34), 0xb000) << "checksum, key, sequence number";
    EXPECT_TRUE(view.header.sequenced);
    EXPECT_TRUE(view.header.nvgre_key);
    EXPECT_EQ(view.header.checksum_offset, 4);
    config = {};
    config.type = "geneve";
    config.remote_ip = remote_;
    config.dst_port = 6081;
    config.options = {
        {.option_class = 0x0102, .type = 0x81, .data = {1, 2, 3, 4}},
        {.option_class = 0x0103, .type = 2, .data = {}}};
    view = tunnel_view();
    EXPECT_THAT(octets(view, 50, 12), ElementsAre(1, 2, 0x81, 1, 1, 2, 3, 4, 1, 3, 2, 0));
    EXPECT_THAT(
        view.receive.known_options,
        ElementsAre(tunnels::GeneveOptionType{0x0102, 0x81}, tunnels::GeneveOptionType{0x0103, 2})
    );
}

TEST_F(BuildSnapshot, ZeroUdpChecksumsOverIpv6AreSentWhereAsked) {
    TunnelConfig& config = model_.ports.at(kTunnel0).tunnel;
    config.remote_ip = *IpAddress::parse("2001:db8::9");
    resolution().source = *IpAddress::parse("2001:db8::1");
    EXPECT_TRUE(tunnel_view().header.udp_checksum);
    config.udp6_zero_csum_tx = true;
    EXPECT_FALSE(tunnel_view().header.udp_checksum);
}

TEST_F(BuildSnapshot, WordsOfTheFlowMatchAnythingAndComeLast) {
    const std::uint8_t vxlan = *tunnels::find_protocol("vxlan");
    constexpr std::uint16_t kOpen = 10;
    SwitchPort& open = insert(kOpen, kOver, PortRole::tunnel);
    open.tunnel.type = "vxlan";
    open.tunnel.dst_port = 4789;
    open.tunnel.remote_flow = true;
    open.tunnel.local_flow = true;
    open.tunnel.in_key_flow = true;
    const auto snapshot = build();
    const auto find = [&](const IpAddress& from, std::uint32_t key) {
        return snapshot->peers.find(
            {.local = local_ip_, .remote = from, .key = key, .udp_port = 4789, .protocol = vxlan}
        );
    };
    EXPECT_EQ(find(remote_, 100), kTunnel0);
    EXPECT_EQ(find(remote_, 101), kOpen);
    EXPECT_EQ(find(local_ip_, 100), kOpen);
    const TunnelView& view = snapshot->tunnels.at(snapshot->ports.at(kOpen).tunnel);
    EXPECT_FALSE(view.resolved);
    EXPECT_EQ(view.unresolved, DropReason::tunnel_no_remote);
}

TEST_F(BuildSnapshot, ABridgeWithL3TunnelsHasItsRoutes) {
    SwitchPort& gateway = add_device(8, kOver, PortRole::local);
    gateway.ifindex = 44;
    gateway.mac = local_mac_;
    gateway.vlan = {.mode = VlanMode::access, .tag = 20, .trunks = {}};
    SwitchPort& tunnel = model_.ports.at(kTunnel0);
    tunnel.tunnel.type = "gre";
    tunnel.tunnel.dst_port = 0;
    tunnel.tunnel.packet_type = tunnels::Payload::ip;
    tunnel.vlan = {.mode = VlanMode::access, .tag = 30, .trunks = {}};
    const auto ip = [](const char* text) { return *IpAddress::parse(text); };
    addresses_[44] = {
        ip("10.0.0.254"), ip("fe80::1"), ip("fd10::fe"), ip("10.0.1.254"), ip("fd10::ff")};
    addresses_[33] = {local_ip_};
    neighbours_[44] = {{ip("10.0.0.1"), next_hop_mac_}};
    neighbours_[33] = {{ip("198.51.100.7"), next_hop_mac_}};
    SwitchBridge& bridge = model_.bridges.at("over");
    bridge.config.eids = {
        {.prefix = ip("10.9.0.0"),
         .prefix_bits = 16,
         .rlocs =
             {{.tunnel = tunnel.name, .priority = 3, .weight = 9},
              {.tunnel = "p7", .priority = 1, .weight = 1},
              {.tunnel = "gone", .priority = 1, .weight = 1}},
         .origin = {}}};
    EXPECT_EQ(build()->bridges.at(kOver).l3, nullptr) << "it does not route";
    bridge.routes = true;
    const auto snapshot = build();
    EXPECT_EQ(snapshot->bridges.at(kUnder).l3, nullptr);
    const auto l3 = snapshot->bridges.at(kOver).l3;
    ASSERT_NE(l3, nullptr);
    const auto* entry = l3->eids.find(ip("10.9.1.1"));
    ASSERT_NE(entry, nullptr);
    ASSERT_EQ(entry->rlocs.size(), 1U) << "a device is no RLOC";
    EXPECT_EQ(entry->rlocs[0].port, kTunnel0);
    EXPECT_EQ(entry->rlocs[0].priority, 3);
    EXPECT_EQ(entry->rlocs[0].weight, 9);
    EXPECT_EQ(l3->hosts.size(), 1U);
    ASSERT_NE(l3->hosts.find(ip("10.0.0.1")), nullptr);
    EXPECT_EQ(*l3->hosts.find(ip("10.0.0.1")), next_hop_mac_);
    EXPECT_EQ(l3->gateway.size(), 5U);
    EXPECT_EQ(l3->gateway_v4, ip("10.0.0.254"));
    EXPECT_EQ(l3->gateway_v6, ip("fd10::fe")) << "one that is known beyond the link";
    EXPECT_TRUE(snapshot->ports.at(kTunnel0).is_l3);
    EXPECT_FALSE(snapshot->ports.at(kVif).is_l3);
    EXPECT_EQ(snapshot->ports.at(kTunnel0).vlan.untagged_vlan, 20) << "that of the gateway";
    EXPECT_EQ(snapshot->bridges.at(kOver).local_port, 8);
    addresses_[44] = {ip("fe80::1")};
    EXPECT_EQ(build()->bridges.at(kOver).l3->gateway_v6, ip("fe80::1"));
    gateway.device = nullptr;
    EXPECT_EQ(build()->bridges.at(kOver).l3, nullptr);
}

TEST_F(BuildSnapshot, QueuesAreWithTheirWorkers) {
    model_.ports[kUplink].rx_workers = {1, 0, 1};
    model_.ports[kVif].rx_workers = {0};
    const auto snapshot = build();
    ASSERT_EQ(snapshot->rx[0].size(), 2U);
    EXPECT_EQ(snapshot->rx[0][0].queue, 1U);
    EXPECT_EQ(snapshot->rx[0][1].port, kVif);
    ASSERT_EQ(snapshot->rx[1].size(), 2U);
    EXPECT_EQ(snapshot->rx[1][0].queue, 0U);
    EXPECT_EQ(snapshot->rx[1][1].queue, 2U);
    EXPECT_EQ(snapshot->rx[1][1].device, model_.ports[kUplink].device);
}

TEST_F(BuildSnapshot, InnerFlowsAreSharedOutWhereOneWorkerGetsThemAll) {
    model_.ports[kUplink].rx_workers = {1};
    model_.ports[kVif].rx_workers = {0, 1};
    EXPECT_TRUE(build()->ports[kTunnel0].spread) << "no tunnel packets come by the second port";
    model_.ports[kUplink].rx_workers = {1, 0};
    EXPECT_FALSE(build()->ports[kTunnel0].spread) << "the NIC spreads by UDP source port";
    resolution().state = Resolution::State::no_route;
    EXPECT_FALSE(build()->ports[kTunnel0].spread) << "nor without a route: peers may still send";
    encrypt();
    EXPECT_TRUE(build()->ports[kTunnel0].spread) << "ESP hides the source port";
    model_.ports.at(kTunnel0).tunnel.esp.reset();
    model_.ports[kTunnel0].tunnel.type = "gre";
    EXPECT_TRUE(build()->ports[kTunnel0].spread) << "GRE has no source port";
}

TEST_F(BuildSnapshot, ATunnelInClearHasNoPolicy) {
    EXPECT_EQ(tunnel_view().esp, nullptr);
    EXPECT_EQ(tunnel_view().wire_mtu, 1600U);
}

TEST_F(BuildSnapshot, AnEncryptedTunnelIsShutWhateverIsKnownOfIt) {
    encrypt();
    for (const auto state :
         {Resolution::State::resolved,
          Resolution::State::no_neighbour,
          Resolution::State::no_route}) {
        resolution().state = state;
        const TunnelView view = tunnel_view();
        ASSERT_NE(view.esp, nullptr);
        EXPECT_EQ(view.esp->out, nullptr);
        EXPECT_TRUE(view.esp->accepts.empty());
    }
}

}  // namespace

}  // namespace culvert::ctl
