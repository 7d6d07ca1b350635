// SPDX-License-Identifier: GPL-2.0-or-later
//
// The LACP state machine with time of the test's. Two of them are wired to each other where both
// ends matter.

#include "ctl/lacp.hpp"

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

constexpr tunnels::MacAddress kOurs{{0x02, 0, 0, 0, 0, 0x01}};
constexpr tunnels::MacAddress kTheirs{{0x02, 0, 0, 0, 0, 0x02}};
constexpr tunnels::MacAddress kStranger{{0x02, 0, 0, 0, 0, 0x03}};

LacpSettings settings(const tunnels::MacAddress& id, bool active = true, bool fast = true) {
    return {.active = active, .fast = fast, .system_id = id, .system_priority = 65534};
}

LacpMemberInput member(std::uint16_t port, bool up = true) {
    return {
        .port = port,
        .name = "e" + std::to_string(port),
        .port_id = static_cast<std::uint16_t>(port + 1),
        .port_priority = 65535,
        .up = up};
}

/// Two ends with wires between equal ports, some of them cut.
struct Link {
    Lacp ours;
    Lacp theirs;
    std::uint64_t now_ms = 1000;
    std::map<std::uint16_t, bool> cut;
    unsigned sent = 0;

    Link(const LacpSettings& a, const LacpSettings& b, std::uint16_t ports = 2) {
        ours.configure(a);
        theirs.configure(b);
        set_members(ports);
    }
    void set_members(std::uint16_t ports) {
        std::vector<LacpMemberInput> members;
        for (std::uint16_t port = 0; port < ports; ++port) {
            members.push_back(member(port));
        }
        ours.set_members(members, now_ms);
        theirs.set_members(members, now_ms);
    }
    void pass(std::uint64_t ms) {
        for (const std::uint64_t end = now_ms + ms; now_ms < end; now_ms += 100) {
            ours.run(now_ms, [&](std::uint16_t port, const LacpPdu& pdu) {
                ++sent;
                if (!cut[port]) {
                    theirs.receive(port, pdu, now_ms);
                }
            });
            theirs.run(now_ms, [&](std::uint16_t port, const LacpPdu& pdu) {
                if (!cut[port]) {
                    ours.receive(port, pdu, now_ms);
                }
            });
        }
    }
    [[nodiscard]] bool enabled(std::uint16_t port) const {
        return ours.may_enable(*ours.find(port));
    }
};

TEST(Lacp, TwoActiveEndsAgreeAtOnce) {
    Link link(settings(kOurs), settings(kTheirs));
    link.pass(1000);
    EXPECT_TRUE(link.ours.negotiated());
    for (const LacpMember& each : link.ours.members()) {
        EXPECT_EQ(each.status, LacpMemberStatus::current);
        EXPECT_TRUE(each.attached);
        EXPECT_TRUE(link.ours.may_enable(each));
        EXPECT_EQ(each.partner.system_id, kTheirs);
        EXPECT_EQ(each.partner.port_id, each.input.port_id);
    }
    EXPECT_EQ(link.ours.key(), 1);
}

TEST(Lacp, APassiveEndAnswersAndTwoPassiveEndsStaySilent) {
    Link answered(settings(kOurs, true), settings(kTheirs, false));
    answered.pass(2000);
    EXPECT_TRUE(answered.enabled(0));
    Link silent(settings(kOurs, false), settings(kTheirs, false));
    silent.pass(10000);
    EXPECT_EQ(silent.sent, 0U);
    EXPECT_FALSE(silent.ours.negotiated());
    EXPECT_EQ(silent.ours.members()[0].status, LacpMemberStatus::defaulted);
}

TEST(Lacp, SpeaksAsOftenAsThePartnerWants) {
    Link fast(settings(kOurs), settings(kTheirs));
    fast.pass(5000);
    fast.sent = 0;
    fast.pass(10000);
    EXPECT_EQ(fast.sent, 20U);  // Two members, once a second.
    Link slow(settings(kOurs, true, false), settings(kTheirs, true, false));
    slow.pass(61000);
    slow.sent = 0;
    slow.pass(60000);
    EXPECT_EQ(slow.sent, 4U);
}

TEST(Lacp, ASilentPartnerExpiresAndThenIsForgotten) {
    Link link(settings(kOurs), settings(kTheirs));
    link.pass(5000);
    link.cut[0] = true;
    link.pass(3500);
    EXPECT_EQ(link.ours.find(0)->status, LacpMemberStatus::expired);
    EXPECT_FALSE(link.enabled(0));
    EXPECT_TRUE(link.enabled(1));
    link.pass(3500);
    EXPECT_EQ(link.ours.find(0)->status, LacpMemberStatus::defaulted);
    EXPECT_EQ(link.ours.find(0)->partner, LacpInfo{});
    EXPECT_TRUE(link.ours.negotiated());
    link.cut[0] = false;
    // Nothing is known of the partner, so that it is asked for as seldom as a slow one.
    link.pass(31000);
    EXPECT_TRUE(link.enabled(0));
}

TEST(Lacp, ASlowEndWaitsNinetySeconds) {
    Link link(settings(kOurs, true, false), settings(kTheirs, true, false));
    link.pass(2000);
    ASSERT_TRUE(link.enabled(0));
    link.cut[0] = true;
    link.pass(85000);
    EXPECT_EQ(link.ours.find(0)->status, LacpMemberStatus::current);
    link.pass(8000);
    EXPECT_NE(link.ours.find(0)->status, LacpMemberStatus::current);
}

TEST(Lacp, ALinkThatGoesDownExpiresAtOnceAndIsNotSpokenOn) {
    Link link(settings(kOurs), settings(kTheirs));
    link.pass(2000);
    const std::vector<LacpMemberInput> members{member(0, false), member(1)};
    link.ours.set_members(members, link.now_ms);
    EXPECT_FALSE(link.enabled(0));
    EXPECT_TRUE(link.enabled(1));
    link.sent = 0;
    link.pass(1000);
    EXPECT_LE(link.sent, 2U);  // Member 1 alone.
    EXPECT_FALSE(link.enabled(0));
}

TEST(Lacp, AMemberWithAnotherPartnerOrKeyStaysDetached) {
    Lacp lacp;
    lacp.configure(settings(kOurs));
    const std::vector<LacpMemberInput> members{member(0), member(1), member(2)};
    lacp.set_members(members, 0);
    LacpPdu pdu;
    pdu.actor = {
        .system_priority = 65534,
        .system_id = kTheirs,
        .key = 7,
        .port_priority = 1,
        .port_id = 1,
        .state = lacp_state::kActivity | lacp_state::kSynchronized};
    lacp.receive(0, pdu, 0);
    LacpPdu other_key = pdu;
    other_key.actor.key = 8;
    other_key.actor.port_id = 2;
    lacp.receive(1, other_key, 0);
    LacpPdu stranger = pdu;
    stranger.actor.system_id = kStranger;
    stranger.actor.port_id = 3;
    lacp.receive(2, stranger, 0);
    lacp.run(0, [](std::uint16_t, const LacpPdu&) {});
    EXPECT_TRUE(lacp.may_enable(*lacp.find(0)));
    EXPECT_FALSE(lacp.may_enable(*lacp.find(1)));
    EXPECT_FALSE(lacp.may_enable(*lacp.find(2)));
}

TEST(Lacp, ACableToItselfIsNotUsed) {
    Lacp lacp;
    lacp.configure(settings(kOurs));
    const std::vector<LacpMemberInput> members{member(0)};
    lacp.set_members(members, 0);
    LacpPdu own;
    own.actor.system_id = kOurs;
    own.actor.state = lacp_state::kSynchronized;
    lacp.receive(0, own, 0);
    lacp.run(0, [](std::uint16_t, const LacpPdu&) {});
    EXPECT_FALSE(lacp.may_enable(*lacp.find(0)));
    EXPECT_FALSE(lacp.negotiated());
}

TEST(Lacp, FallbackEnablesMembersWithoutAPartner) {
    LacpSettings with_fallback = settings(kOurs);
    with_fallback.fallback_ab = true;
    Lacp lacp;
    lacp.configure(with_fallback);
    const std::vector<LacpMemberInput> members{member(0), member(1)};
    lacp.set_members(members, 0);
    const auto drop = [](std::uint16_t, const LacpPdu&) {};
    lacp.run(0, drop);
    EXPECT_FALSE(lacp.may_enable(*lacp.find(0)));  // Still hoping for one.
    lacp.run(3000, drop);
    EXPECT_TRUE(lacp.may_enable(*lacp.find(0)));
    EXPECT_TRUE(lacp.may_enable(*lacp.find(1)));
    EXPECT_FALSE(lacp.negotiated());
}

}  // namespace

}  // namespace culvert::ctl
