// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the control thread's model to a snapshot. Bridge "under" (0) has uplink 0, a second port 1
// and its local port 2; bridge "over" (4) has port 7 and tunnel 9, whose next hop is behind the
// uplink.

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
using dataplane::kVlanNone;
using dataplane::Snapshot;
using dataplane::TunnelView;
using dataplane::VlanView;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tunnels::DropReason;
using tunnels::IpAddress;
using tunnels::MacAddress;

TEST(MakeVlanView, ATrunkCarriesAllOrWhatItLists) {
    const VlanView all = make_vlan_view({});
    EXPECT_TRUE(all.carries(kVlanNone));
    EXPECT_TRUE(all.carries(4094));
    EXPECT_TRUE(all.accept_tagged);
    EXPECT_TRUE(all.accept_untagged);
    EXPECT_EQ(all.untagged_vlan, kVlanNone);
    EXPECT_FALSE(all.tags(kVlanNone));
    EXPECT_TRUE(all.tags(10));
    const VlanView some = make_vlan_view({.mode = VlanMode::trunk, .trunks = {10, 20}});
    EXPECT_TRUE(some.carries(10));
    EXPECT_TRUE(some.carries(20));
    EXPECT_FALSE(some.carries(11));
    EXPECT_FALSE(some.carries(kVlanNone));
    EXPECT_TRUE(make_vlan_view({.trunks = {0, 10}}).carries(kVlanNone));
}

TEST(MakeVlanView, AnAccessPortCarriesItsTagOnlyAndUntagged) {
    const VlanView view = make_vlan_view({.mode = VlanMode::access, .tag = 10, .trunks = {}});
    EXPECT_EQ(view.untagged_vlan, 10);
    EXPECT_TRUE(view.carries(10));
    EXPECT_FALSE(view.carries(11));
    EXPECT_FALSE(view.carries(kVlanNone));
    EXPECT_FALSE(view.accept_tagged);
    EXPECT_FALSE(view.tags(10));
}

TEST(MakeVlanView, NativeUntaggedSendsItsTagWithoutAndAcceptsBoth) {
    const VlanView view =
        make_vlan_view({.mode = VlanMode::native_untagged, .tag = 10, .trunks = {20}});
    EXPECT_EQ(view.untagged_vlan, 10);
    EXPECT_TRUE(view.accept_tagged);
    EXPECT_TRUE(view.accept_untagged);
    EXPECT_TRUE(view.carries(10));
    EXPECT_TRUE(view.carries(20));
    EXPECT_FALSE(view.carries(30));
    EXPECT_FALSE(view.tags(10));
    EXPECT_TRUE(view.tags(20));
    EXPECT_TRUE(make_vlan_view({.mode = VlanMode::native_untagged, .tag = 10, .trunks = {}}
    ).carries(30));
}

TEST(MakeVlanView, NativeTaggedSendsItsTagTagged) {
    const VlanView view =
        make_vlan_view({.mode = VlanMode::native_tagged, .tag = 10, .trunks = {}});
    EXPECT_EQ(view.untagged_vlan, 10);
    EXPECT_TRUE(view.accept_untagged);
    EXPECT_TRUE(view.accept_tagged);
    EXPECT_TRUE(view.tags(10));
    EXPECT_TRUE(view.tags(20));
    EXPECT_TRUE(view.carries(20));
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
        return build_snapshot(model_, slow_path_, addresses_, workers, 17);
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

    const MacAddress local_mac_{{0x02, 0, 0, 0, 0, 0xfe}};
    const MacAddress next_hop_mac_{{0x02, 0, 0, 0, 0, 0xaa}};
    const IpAddress local_ip_ = *IpAddress::parse("198.51.100.1");
    const IpAddress remote_ = *IpAddress::parse("192.0.2.9");
    FakeWorkers workers_;
    dataplane::FlowCache flows_{1024};
    SlowPath slow_path_{workers_, flows_};
    SwitchModel model_;
    std::map<int, std::set<IpAddress>> addresses_;
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

TEST_F(BuildSnapshot, EachQueueHasOneWorkerWhateverOtherPortsExist) {
    const auto queues = [](const Snapshot& snapshot, unsigned worker) {
        std::vector<std::uint16_t> ports;
        for (const auto& queue : snapshot.rx.at(worker)) {
            ports.push_back(queue.port);
        }
        return ports;
    };
    const auto snapshot = build(2);
    ASSERT_EQ(snapshot->rx.size(), 2U);
    EXPECT_THAT(queues(*snapshot, 0), ElementsAre(kUplink, kLocal));
    EXPECT_THAT(queues(*snapshot, 1), ElementsAre(kSecond, kVif));
    model_.ports.erase(kSecond);
    EXPECT_THAT(queues(*build(2), 1), ElementsAre(kVif));
    EXPECT_EQ(build(1)->rx.at(0).size(), 3U);
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

}  // namespace

}  // namespace culvert::ctl
