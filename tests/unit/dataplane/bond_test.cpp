// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet path through a bond: the two uplinks of the fixture's underlay bridge are its members.

#include "dataplane/bond.hpp"

#include <map>
#include <set>

#include "dataplane/gratuitous_arp.hpp"
#include "tests/unit/dataplane/packet_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::BondHash;
using dataplane::BondRole;
using dataplane::kBondBuckets;
using dataplane::kPortNone;
using dataplane::MemberAdmits;
using dataplane::Upcall;

/// An IPv4 UDP packet in a frame.
Frame make_udp(unsigned source_port, std::size_t payload = 40) {
    Frame frame = make_frame(mac(0x10), mac(0x20), -1, 28 + payload);
    const auto set = [&](std::size_t at, unsigned value) {
        frame[at] = static_cast<std::byte>(value);
    };
    const std::size_t total = 28 + payload;
    set(12, 0x08);
    set(13, 0x00);
    set(14, 0x45);
    set(16, static_cast<unsigned>(total >> 8U));
    set(17, total & 0xffU);
    set(20, 0);
    set(21, 0);
    set(23, 17);
    set(34, source_port >> 8U);
    set(35, source_port & 0xffU);
    return frame;
}

Frame make_lacp() {
    Frame frame = make_frame({{0x01, 0x80, 0xc2, 0, 0, 2}}, mac(0x30), -1, 110);
    frame[12] = std::byte{0x88};
    frame[13] = std::byte{0x09};
    return frame;
}

Frame make_gratuitous_arp(const MacAddress& host, int vlan = -1) {
    Frame frame = make_frame({{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, host, vlan, 46);
    const std::size_t at = vlan >= 0 ? 16 : 12;
    const unsigned arp[] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
    for (std::size_t i = 0; i < std::size(arp); ++i) {
        frame[at + i] = static_cast<std::byte>(arp[i]);
    }
    for (std::size_t i = 0; i < 4; ++i) {
        frame[at + 2 + 14 + i] = frame[at + 2 + 24 + i] = static_cast<std::byte>(10 + i);
    }
    return frame;
}

class BondPath : public PacketPath {
protected:
    static constexpr std::uint16_t kBond = 7;

    BondPath() {
        snapshot.ports.resize(kBond + 1U);
        auto& port = snapshot.ports[kBond];
        port.bridge = 0;
        port.generation = 1;
        port.mtu = 1600;
        port.up = true;
        port.bond_role = BondRole::bond;
        port.bond = 0;
        snapshot.bridges[0].members = {kLocal, kBond};
        dataplane::BondView bond;
        bond.port = kBond;
        bond.members.fill(kUplink);
        snapshot.bonds.push_back(bond);
        for (const std::uint16_t index : {kUplink, kUplink2}) {
            auto& member = snapshot.ports[index];
            member.bridge = kPortNone;
            member.bond_role = BondRole::member;
            member.bond = 0;
            member.admits = MemberAdmits::everything;
            member.refusal = DropReason::bond_standby;
        }
        for (auto& tunnel : snapshot.tunnels) {
            tunnel.out_port = kBond;
        }
    }

    void balance(BondHash hash) {
        auto& bond = snapshot.bonds[0];
        bond.hash = hash;
        bond.load = std::make_shared<dataplane::BondLoad>(1);
        for (std::size_t i = 0; i < kBondBuckets; ++i) {
            bond.members[i] = i % 2 == 0 ? kUplink : kUplink2;
        }
    }
    [[nodiscard]] std::uint64_t load() const {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < kBondBuckets; ++i) {
            sum += snapshot.bonds[0].load->read(i);
        }
        return sum;
    }
    static FlowKey key(std::uint16_t in, const MacAddress& to, const MacAddress& from) {
        return {.in_port = in, .destination = to, .source = from};
    }
};

TEST_F(BondPath, WhatAMemberReceivesIsOfTheBond) {
    insert_flow(key(kBond, mac(1), mac(2)), forward(kLocal));
    receive(kUplink, {make_frame(mac(1), mac(2))});
    receive(kUplink2, {make_frame(mac(1), mac(2))});
    EXPECT_EQ(devices[kLocal]->take_sent().size(), 2U);
    EXPECT_EQ(counters->ports[kUplink].rx_packets.read(), 1U);
    EXPECT_EQ(counters->ports[kUplink2].rx_packets.read(), 1U);
    EXPECT_EQ(counters->ports[kBond].rx_packets.read(), 0U);
}

TEST_F(BondPath, AStandbyMemberAdmitsNothing) {
    snapshot.ports[kUplink2].admits = MemberAdmits::nothing;
    receive(kUplink2, {make_frame(mac(1), mac(2)), make_frame(mac(1), mac(3))});
    EXPECT_EQ(dropped(DropReason::bond_standby, kUplink2), 2U);
    Upcall upcall;
    EXPECT_FALSE(upcalls->pop(upcall));
}

TEST_F(BondPath, AMemberThatIsNotActiveAdmitsUnicastOnly) {
    snapshot.ports[kUplink2].admits = MemberAdmits::unicast;
    insert_flow(key(kBond, mac(1), mac(2)), forward(kLocal));
    const MacAddress group{{0x33, 0x33, 0, 0, 0, 1}};
    receive(
        kUplink2,
        {make_frame(mac(1), mac(2), -1, 61), make_frame(group, mac(2)), make_frame(mac(1), mac(2))}
    );
    const auto sent = devices[kLocal]->take_sent();
    ASSERT_EQ(sent.size(), 2U);
    EXPECT_EQ(sent[0].size(), 75U);  // In their order.
    EXPECT_EQ(dropped(DropReason::bond_standby, kUplink2), 1U);
}

TEST_F(BondPath, APortOfNoBridgeAndNoBondDropsAsBefore) {
    snapshot.ports[kUplink].bond_role = BondRole::none;
    receive(kUplink, {make_frame(mac(1), mac(2))});
    EXPECT_EQ(dropped(DropReason::port_unassigned, kUplink), 1U);
}

TEST_F(BondPath, LacpdusGoToTheSlowPathEvenFromADisabledMember) {
    snapshot.ports[kUplink2].admits = MemberAdmits::nothing;
    snapshot.ports[kUplink2].takes_lacp = true;
    receive(kUplink2, {make_lacp(), make_frame(mac(1), mac(2))});
    Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    EXPECT_EQ(upcall.kind, Upcall::Kind::lacp);
    EXPECT_EQ(upcall.port, kUplink2);
    EXPECT_EQ(upcall.packet->pkt_len, 124U);
    rte_pktmbuf_free(upcall.packet);
    EXPECT_FALSE(upcalls->pop(upcall));
    EXPECT_EQ(dropped(DropReason::bond_standby, kUplink2), 1U);
}

TEST_F(BondPath, WithoutLacpALacpduIsAnyLinkLocalFrame) {
    receive(kUplink, {make_lacp()});
    EXPECT_EQ(dropped(DropReason::link_local_multicast, kBond), 1U);
}

TEST_F(BondPath, ActiveBackupSendsByOneMember) {
    insert_flow(key(kLocal, mac(1), mac(2)), forward(kBond));
    receive(kLocal, {make_frame(mac(1), mac(2)), make_frame(mac(1), mac(2))});
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 2U);
    EXPECT_TRUE(devices[kUplink2]->take_sent().empty());
    // A failover is a change of the view alone: the flow stays.
    snapshot.bonds[0].members.fill(kUplink2);
    receive(kLocal, {make_frame(mac(1), mac(2))});
    EXPECT_EQ(devices[kUplink2]->take_sent().size(), 1U);
}

TEST_F(BondPath, WithoutAMemberPacketsAreDroppedOnTheBond) {
    snapshot.bonds[0].members.fill(kPortNone);
    snapshot.ports[kBond].up = false;
    insert_flow(key(kLocal, mac(1), mac(2)), forward(kBond));
    receive(kLocal, {make_frame(mac(1), mac(2))});
    EXPECT_EQ(dropped(DropReason::bond_no_member, kBond), 1U);
}

TEST_F(BondPath, SlbSendsAHostByOneMemberAndCountsItsBytes) {
    balance(BondHash::source);
    std::map<std::uint8_t, std::set<std::uint16_t>> members;
    std::set<std::uint16_t> used;
    for (unsigned host = 1; host < 64; ++host) {
        insert_flow(key(kLocal, mac(0xf0), mac(host)), forward(kBond));
        for (int i = 0; i < 2; ++i) {
            receive(kLocal, {make_frame(mac(0xf0), mac(host))});
            for (const std::uint16_t member : {kUplink, kUplink2}) {
                if (!devices[member]->take_sent().empty()) {
                    members[static_cast<std::uint8_t>(host)].insert(member);
                    used.insert(member);
                }
            }
        }
    }
    for (const auto& [host, by] : members) {
        EXPECT_EQ(by.size(), 1U) << unsigned{host};
    }
    EXPECT_EQ(used.size(), 2U);
    EXPECT_EQ(load(), 63U * 2 * 74);
}

TEST_F(BondPath, TheBasisMakesOtherChoices) {
    balance(BondHash::source);
    const auto choices = [&] {
        std::string text;
        for (unsigned host = 1; host < 64; ++host) {
            rte_mbuf* packet = make_packet(make_frame(mac(0xf0), mac(host)));
            dataplane::output(*context, kBond, packet, false, 0);
            dataplane::flush(*context);
            text += devices[kUplink]->take_sent().empty() ? '1' : '0';
            static_cast<void>(devices[kUplink2]->take_sent());
        }
        return text;
    };
    const std::string before = choices();
    EXPECT_EQ(choices(), before);
    snapshot.bonds[0].basis = 77;
    EXPECT_NE(choices(), before);
}

TEST_F(BondPath, BalanceTcpSpreadsFlowsOfOneHostAndKeepsEachInOrder) {
    balance(BondHash::flow);
    insert_flow(key(kLocal, mac(0x10), mac(0x20)), forward(kBond));
    std::vector<Frame> frames;
    for (unsigned round = 0; round < 4; ++round) {
        for (unsigned flow = 0; flow < 8; ++flow) {
            frames.push_back(make_udp(1000 + flow, 40 + round));
        }
    }
    receive(kLocal, frames);
    std::map<unsigned, std::vector<std::size_t>> sizes;
    std::map<unsigned, std::set<std::uint16_t>> members;
    for (const std::uint16_t member : {kUplink, kUplink2}) {
        for (const auto& sent : devices[member]->take_sent()) {
            const unsigned flow = std::to_integer<unsigned>(sent[35]);
            sizes[flow].push_back(sent.size());
            members[flow].insert(member);
        }
    }
    std::set<std::uint16_t> used;
    EXPECT_EQ(sizes.size(), 8U);
    for (const auto& [flow, by] : members) {
        EXPECT_EQ(by.size(), 1U);
        EXPECT_TRUE(std::is_sorted(sizes[flow].begin(), sizes[flow].end()));
        used.insert(by.begin(), by.end());
    }
    EXPECT_EQ(used.size(), 2U);
}

TEST_F(BondPath, TunnelPacketsLeaveByTheBondAndComeInByAnyMember) {
    balance(BondHash::flow);
    std::set<std::uint16_t> used;
    for (unsigned flow = 0; flow < 32; ++flow) {
        insert_flow(key(kVif1, mac(0x10), mac(0x20)), forward(kVxlan));
        receive(kVif1, {make_udp(2000 + flow), make_udp(2000 + flow)});
        for (const std::uint16_t member : {kUplink, kUplink2}) {
            const std::size_t count = devices[member]->take_sent().size();
            EXPECT_TRUE(count == 0 || count == 2);
            if (count != 0) {
                used.insert(member);
            }
        }
    }
    EXPECT_EQ(used.size(), 2U);
    insert_flow(key(kVxlan, mac(1), mac(2)), forward(kVif1));
    const Frame inner = make_frame(mac(1), mac(2));
    for (const std::uint16_t member : {kUplink, kUplink2, kUplink}) {
        receive(member, {encapsulate(inner, "vxlan", 100, remote_ip, 4789)});
        EXPECT_EQ(devices[kVif1]->take_sent().size(), 1U) << member;
    }
}

TEST_F(BondPath, AFloodLeavesByOneMember) {
    const MacAddress group{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    insert_flow(key(kLocal, group, mac(2)), flood());
    receive(kLocal, {make_frame(group, mac(2))});
    EXPECT_EQ(devices[kUplink]->take_sent().size() + devices[kUplink2]->take_sent().size(), 1U);
    // And never back to where it came from.
    insert_flow(key(kBond, group, mac(3)), flood());
    receive(kUplink2, {make_frame(group, mac(3))});
    EXPECT_TRUE(devices[kUplink]->take_sent().empty());
    EXPECT_EQ(devices[kLocal]->take_sent().size(), 1U);
}

TEST_F(BondPath, ATunnelFloodsTheUnderlayThroughTheBondOnce) {
    snapshot.tunnels[0].out_port = kPortNone;
    insert_flow(key(kVif1, mac(1), mac(2)), forward(kVxlan));
    receive(kVif1, {make_frame(mac(1), mac(2))});
    EXPECT_EQ(devices[kUplink]->take_sent().size(), 1U);
    EXPECT_TRUE(devices[kUplink2]->take_sent().empty());
    EXPECT_EQ(devices[kLocal]->take_sent().size(), 1U);
}

TEST_F(BondPath, TagsAreTheBonds) {
    auto& bond = snapshot.ports[kBond];
    bond.vlan.untagged_vlan = 5;
    snapshot.ports[kUplink].vlan = bond.vlan;
    rte_mbuf* packet = make_packet(make_frame(mac(1), mac(2)));
    dataplane::output(*context, kBond, packet, false, 7);
    dataplane::output(*context, kBond, make_packet(make_frame(mac(1), mac(2), 5)), true, 5);
    dataplane::flush(*context);
    const auto sent = devices[kUplink]->take_sent();
    ASSERT_EQ(sent.size(), 2U);
    EXPECT_EQ(sent[0], make_frame(mac(1), mac(2), 7));
    EXPECT_EQ(sent[1], make_frame(mac(1), mac(2)));
}

TEST_F(BondPath, WhatControlSendsToABondGoesByTheHostsMember) {
    balance(BondHash::source);
    insert_flow(key(kLocal, mac(1), mac(2)), forward(kBond));
    receive(kLocal, {make_frame(mac(1), mac(2))});
    const bool by_first = !devices[kUplink]->take_sent().empty();
    static_cast<void>(devices[kUplink2]->take_sent());
    dataplane::transmit(*context, kBond, make_packet(make_frame(mac(9), mac(2))));
    dataplane::flush(*context);
    EXPECT_EQ(devices[kUplink]->take_sent().size(), by_first ? 1U : 0U);
    EXPECT_EQ(devices[kUplink2]->take_sent().size(), by_first ? 0U : 1U);
    dataplane::transmit(*context, kUplink2, make_packet(make_lacp()));
    dataplane::flush(*context);
    EXPECT_EQ(devices[kUplink2]->take_sent().size(), 1U);
}

TEST_F(BondPath, AnAnnouncementThatLeavesIsTold) {
    balance(BondHash::source);
    snapshot.bonds[0].reflects = true;
    const MacAddress broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    insert_flow(key(kLocal, broadcast, mac(2)), flood());
    receive(kLocal, {make_gratuitous_arp(mac(2)), make_frame(broadcast, mac(2))});
    Upcall upcall;
    ASSERT_TRUE(upcalls->pop(upcall));
    EXPECT_EQ(upcall.kind, Upcall::Kind::announced);
    EXPECT_EQ(upcall.key, key(kLocal, broadcast, mac(2)));
    EXPECT_FALSE(upcalls->pop(upcall));
}

TEST(GratuitousArp, IsToldFromOtherFrames) {
    EXPECT_TRUE(dataplane::is_gratuitous_arp(make_gratuitous_arp(mac(2))));
    EXPECT_TRUE(dataplane::is_gratuitous_arp(make_gratuitous_arp(mac(2), 7)));
    Frame answer = make_gratuitous_arp(mac(2));
    answer[21] = std::byte{2};
    answer[41] ^= std::byte{1};
    EXPECT_TRUE(dataplane::is_gratuitous_arp(answer));
    Frame question = make_gratuitous_arp(mac(2));
    question[41] ^= std::byte{1};
    EXPECT_FALSE(dataplane::is_gratuitous_arp(question));
    Frame unicast = make_gratuitous_arp(mac(2));
    unicast[0] = std::byte{0x02};
    EXPECT_FALSE(dataplane::is_gratuitous_arp(unicast));
    const Frame whole = make_gratuitous_arp(mac(2), 7);
    for (std::size_t length = 0; length < 46; ++length) {
        EXPECT_FALSE(dataplane::is_gratuitous_arp(std::span(whole).first(length))) << length;
    }
}

}  // namespace

}  // namespace culvert::testing
