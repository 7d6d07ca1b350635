// SPDX-License-Identifier: GPL-2.0-or-later
//
// The texts of bond/show and lacp/show: the lines that Open vSwitch 3.1 prints (the system test
// compares them with a running one), and the learning packet.

#include "ctl/show_bond.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "ctl/learning_packet.hpp"

namespace culvert::ctl {

namespace {

std::vector<BondMemberInput> two_members() {
    return {
        {.port = 4, .name = "eth1", .mac = {{0x02, 0, 0, 0, 0, 0x11}}, .up = true},
        {.port = 3, .name = "eth0", .mac = {{0x02, 0, 0, 0, 0, 0x10}}, .up = true}};
}

TEST(BondText, IsOpenVswitchs) {
    BondConfig config;
    config.name = "bond0";
    config.mode = BondMode::balance_slb;
    config.updelay_ms = 31000;
    config.downdelay_ms = 200;
    Bond bond;
    bond.configure(config, 1000);
    auto members = two_members();
    bond.run(members, LacpStatus::off, 1000);
    bond.account([](std::size_t i) { return i == 3 ? 5000000U : 0U; });
    members[1].up = false;
    bond.run(members, LacpStatus::off, 1000);
    EXPECT_EQ(
        bond_text(bond, 1050),
        "---- bond0 ----\n"
        "bond_mode: balance-slb\n"
        "bond may use recirculation: no, Recirc-ID : -1\n"
        "bond-hash-basis: 0\n"
        "lb_output action: disabled, bond-id: -1\n"
        "all members active: false\n"
        "updelay: 31000 ms\n"
        "downdelay: 200 ms\n"
        "next rebalance: 9950 ms\n"
        "lacp_status: off\n"
        "lacp_fallback_ab: false\n"
        "active-backup primary: <none>\n"
        "active member mac: 02:00:00:00:00:11(eth1)\n"
        "\n"
        "member eth0: enabled\n"
        "  downdelay expires in 150 ms\n"
        "  may_enable: false\n"
        "  hash 3: 4882 kB load\n"
        "\n"
        "member eth1: enabled\n"
        "  active member\n"
        "  may_enable: true\n"
        "\n"
    );
}

TEST(BondText, OfActiveBackupWithAnUnknownPrimary) {
    BondConfig config;
    config.name = "b";
    config.primary = "eth7";
    Bond bond;
    bond.configure(config, 0);
    bond.run({}, LacpStatus::configured, 0);
    EXPECT_EQ(
        bond_text(bond, 0),
        "---- b ----\n"
        "bond_mode: active-backup\n"
        "bond may use recirculation: no, Recirc-ID : -1\n"
        "bond-hash-basis: 0\n"
        "lb_output action: disabled, bond-id: -1\n"
        "updelay: 0 ms\n"
        "downdelay: 0 ms\n"
        "lacp_status: configured\n"
        "lacp_fallback_ab: false\n"
        "active-backup primary: eth7 (no such member)\n"
        "active member mac: 00:00:00:00:00:00(none)\n"
        "\n"
    );
}

TEST(LacpText, IsOpenVswitchs) {
    Lacp lacp;
    lacp.configure(
        {.active = true,
         .fast = true,
         .system_id = {{0x02, 0, 0, 0, 0, 0x01}},
         .system_priority = 65534}
    );
    const std::vector<LacpMemberInput> members{
        {.port = 3, .name = "eth0", .port_id = 4, .port_priority = 65535, .up = true}};
    lacp.set_members(members, 0);
    LacpPdu pdu;
    pdu.actor = {
        .system_priority = 1,
        .system_id = {{0x02, 0, 0, 0, 0, 0x02}},
        .key = 5,
        .port_priority = 6,
        .port_id = 7,
        .state = 0x3f};
    lacp.receive(3, pdu, 0);
    lacp.run(0, [](std::uint16_t, const LacpPdu&) {});
    EXPECT_EQ(
        lacp_text("bond0", lacp),
        "---- bond0 ----\n"
        "  status: active negotiated\n"
        "  sys_id: 02:00:00:00:00:01\n"
        "  sys_priority: 65534\n"
        "  aggregation key: 4\n"
        "  lacp_time: fast\n"
        "\n"
        "member: eth0: current attached\n"
        "  port_id: 4\n"
        "  port_priority: 65535\n"
        "  may_enable: true\n"
        "\n"
        "  actor sys_id: 02:00:00:00:00:01\n"
        "  actor sys_priority: 65534\n"
        "  actor port_id: 4\n"
        "  actor port_priority: 65535\n"
        "  actor key: 4\n"
        "  actor state: activity timeout synchronized collecting distributing\n"
        "\n"
        "  partner sys_id: 02:00:00:00:00:02\n"
        "  partner sys_priority: 1\n"
        "  partner port_id: 7\n"
        "  partner port_priority: 6\n"
        "  partner key: 5\n"
        "  partner state: activity timeout aggregation synchronized collecting distributing\n"
    );
}

TEST(LearningPacket, IsAReverseArpRequestOfTheHost) {
    const tunnels::MacAddress host{{0x02, 0, 0, 0, 0, 0x21}};
    const LearningPacket plain = write_learning_packet(host, std::nullopt);
    EXPECT_EQ(plain.length, 60U);
    const auto at = [](const LearningPacket& packet, std::size_t i) {
        return std::to_integer<unsigned>(packet.bytes[i]);
    };
    for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_EQ(at(plain, i), 0xffU);
        EXPECT_EQ(at(plain, 6 + i), host.bytes[i]);
        EXPECT_EQ(at(plain, 22 + i), host.bytes[i]);
        EXPECT_EQ(at(plain, 32 + i), host.bytes[i]);
    }
    EXPECT_EQ(at(plain, 12) << 8U | at(plain, 13), 0x8035U);
    EXPECT_EQ(at(plain, 20) << 8U | at(plain, 21), 3U);
    const LearningPacket tagged = write_learning_packet(host, 0x123);
    EXPECT_EQ(at(tagged, 12) << 8U | at(tagged, 13), 0x8100U);
    EXPECT_EQ(at(tagged, 14) << 8U | at(tagged, 15), 0x123U);
    EXPECT_TRUE(
        std::equal(plain.bytes.begin() + 12, plain.bytes.begin() + 42, tagged.bytes.begin() + 16)
    );
}

}  // namespace

}  // namespace culvert::ctl
