// SPDX-License-Identifier: GPL-2.0-or-later
//
// Matches and targets that iptables' commands do not write here: old revisions, wrong sizes, sets
// of every shape. legacy_test.cpp has those that they do.
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <linux/netfilter/xt_CONNMARK.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_set.h>

#include "firewall/evaluate.hpp"
#include "firewall/extension.hpp"
#include "tests/unit/firewall/rules.hpp"
#include "tests/unit/firewall/xt_bytes.hpp"

namespace culvert::firewall {
namespace {

using test::bytes_of;
using test::gre;
using test::udp;

class ExtensionTest : public ::testing::Test {
protected:
    template <class T>
    Rule match(const char* name, unsigned revision, const T& info, Family family = Family::ipv4) {
        const auto bytes = bytes_of(info);
        Rule rule;
        read_match({name, static_cast<std::uint8_t>(revision), bytes}, family, sets, rule);
        rule.action = Action::drop;
        return rule;
    }
    template <class T>
    static Rule target(const char* name, unsigned revision, const T& info) {
        const auto bytes = bytes_of(info);
        Rule rule;
        read_target({name, static_cast<std::uint8_t>(revision), bytes}, rule);
        return rule;
    }
    // Nothing: it depends on what cannot be told.
    static std::optional<bool> holds(const Rule& rule, const Header& header) {
        const Judgement judgement = evaluate(test::ruleset({test::chain({rule})}), header);
        return judgement.is_unknown() ? std::nullopt : std::optional(judgement.dropped());
    }
    Rule set_match(std::uint16_t index, std::uint8_t dimensions, std::uint8_t flags) {
        return match("set", 1, xt_set_info_match_v1{{index, dimensions, flags}});
    }

    test::FakeSets sets;
};

TEST_F(ExtensionTest, AMatchOfAnUnknownNameOrSizeIsUnknown) {
    const Rule unnamed = match("re\ncent", 0, 0);
    EXPECT_EQ(holds(unnamed, gre("10.0.0.2")), std::nullopt);
    EXPECT_EQ(std::get<UnknownMatch>(unnamed.steps.at(0)).what, "match re?cent");
    for (const char* name :
         {"tcp",
          "udp",
          "sctp",
          "dccp",
          "multiport",
          "conntrack",
          "state",
          "mark",
          "set",
          "addrtype",
          "iprange",
          "icmp",
          "icmp6",
          "esp",
          "comment",
          "limit",
          "hashlimit"}) {
        const std::vector<std::byte> short_bytes(3);
        const std::vector<std::byte> bytes(4096);
        for (unsigned revision = 0; revision < 6; ++revision) {
            for (const auto& info : {short_bytes, bytes}) {
                Rule rule;
                const auto number = static_cast<std::uint8_t>(revision);
                read_match({name, number, info}, Family::ipv4, sets, rule);
                rule.action = Action::drop;
                EXPECT_EQ(holds(rule, gre("10.0.0.2")), std::nullopt) << name << revision;
            }
        }
    }
}

TEST_F(ExtensionTest, MultiportOfRevision0HasNeitherRangesNorInversion) {
    xt_multiport info{};
    info.flags = XT_MULTIPORT_EITHER;
    info.count = 2;
    info.ports[0] = 7;
    info.ports[1] = 4789;
    const Rule rule = match("multiport", 0, info);
    EXPECT_EQ(holds(rule, udp("10.0.0.2", 1, 4789)), true);
    EXPECT_EQ(holds(rule, udp("10.0.0.2", 7, 1)), true);
    EXPECT_EQ(holds(rule, udp("10.0.0.2", 8, 100)), false);
    info.count = 16;
    EXPECT_EQ(holds(match("multiport", 0, info), gre("10.0.0.2")), std::nullopt);
}

TEST_F(ExtensionTest, MultiportWithARangeThatDoesNotEndIsUnknown) {
    xt_multiport_v1 info{};
    info.count = 15;
    info.pflags[14] = 1;
    EXPECT_EQ(holds(match("multiport", 1, info), udp("10.0.0.2", 1, 2)), std::nullopt);
}

TEST_F(ExtensionTest, ConntrackOfEveryRevisionTellsTheState) {
    const auto fill = [](auto info) {
        info.match_flags = XT_CONNTRACK_STATE;
        info.state_mask = 8;
        return info;
    };
    const Header packet = gre("10.0.0.2");
    EXPECT_EQ(holds(match("conntrack", 1, fill(xt_conntrack_mtinfo1{})), packet), true);
    EXPECT_EQ(holds(match("conntrack", 2, fill(xt_conntrack_mtinfo2{})), packet), true);
    auto info = fill(xt_conntrack_mtinfo3{});
    EXPECT_EQ(holds(match("conntrack", 3, info), packet), true);
    info.match_flags |= XT_CONNTRACK_STATUS;
    EXPECT_EQ(holds(match("conntrack", 3, info), packet), std::nullopt);
    info.state_mask = 2;
    EXPECT_EQ(holds(match("conntrack", 3, info), packet), false);
    info.match_flags = XT_CONNTRACK_STATE;
    info.state_mask |= XT_CONNTRACK_STATE_DNAT;
    EXPECT_EQ(holds(match("conntrack", 3, info), packet), false) << "nothing was translated";
    info.invert_flags = XT_CONNTRACK_STATE;
    EXPECT_EQ(holds(match("conntrack", 3, info), packet), true);
    info.state_mask |= 8;  // NEW
    EXPECT_EQ(holds(match("conntrack", 3, info), packet), false);
}

TEST_F(ExtensionTest, SetsOfAnotherFamilyOrWithMorePartsHoldNothing) {
    auto set = std::make_shared<Ipset>();
    set->name = "six";
    set->family = Family::ipv6;
    set->parts = {Ipset::Part::address};
    set->tuples =
        std::make_shared<TupleSet>(1, std::vector<Interval>{{0, max_value(bits_of(Family::ipv6))}});
    sets.by_index[1] = set;
    EXPECT_EQ(holds(set_match(1, 1, IPSET_DIM_ONE_SRC), gre("10.0.0.2")), false);
    const auto inverted = set_match(1, 1, IPSET_DIM_ONE_SRC | IPSET_INV_MATCH);
    EXPECT_EQ(holds(inverted, gre("10.0.0.2")), true);

    auto pairs = std::make_shared<Ipset>(*set);
    pairs->family = Family::ipv4;
    pairs->parts = {Ipset::Part::address, Ipset::Part::address};
    pairs->tuples = std::make_shared<TupleSet>(2, std::vector<Interval>{{0, ~0U}, {0, ~0U}});
    sets.by_index[2] = pairs;
    EXPECT_EQ(holds(set_match(2, 1, IPSET_DIM_ONE_SRC), gre("10.0.0.2")), false);
    EXPECT_EQ(holds(set_match(2, 2, IPSET_DIM_ONE_SRC), gre("10.0.0.2")), true);
}

TEST_F(ExtensionTest, SetsOfInterfacesKnowTheOneThatAPacketCameIn) {
    auto set = std::make_shared<Ipset>();
    set->name = "nets";
    set->family = Family::ipv4;
    set->parts = {Ipset::Part::address, Ipset::Part::interface};
    const Value name = value_of_interface("br0");
    set->tuples = std::make_shared<TupleSet>(2, std::vector<Interval>{{0, ~0U}, {name, name}});
    sets.by_index[3] = set;
    const Header packet = gre("10.0.0.2");
    EXPECT_EQ(holds(set_match(3, 2, IPSET_DIM_ONE_SRC | IPSET_DIM_TWO_SRC), packet), true);
    EXPECT_EQ(holds(set_match(3, 2, IPSET_DIM_ONE_SRC), packet), false);
}

TEST_F(ExtensionTest, SetsThatCannotBeReadAndCountersOfElementsAreUnknown) {
    EXPECT_EQ(holds(set_match(9, 1, IPSET_DIM_ONE_SRC), gre("10.0.0.2")), std::nullopt);
    auto set = std::make_shared<Ipset>();
    set->name = "ips";
    set->parts = {Ipset::Part::address};
    sets.by_index[1] = set;
    EXPECT_EQ(holds(set_match(1, 1, IPSET_DIM_ONE_SRC), gre("10.0.0.2")), std::nullopt);
    auto readable = std::make_shared<Ipset>(*set);
    readable->tuples = std::make_shared<TupleSet>(1, std::vector<Interval>{{0, ~0U}});
    sets.by_index[2] = readable;
    xt_set_info_match_v4 info{};
    info.match_set = {2, 1, IPSET_DIM_ONE_SRC};
    EXPECT_EQ(holds(match("set", 4, info), gre("10.0.0.2")), true);
    info.packets.op = IPSET_COUNTER_GT;
    EXPECT_EQ(holds(match("set", 4, info), gre("10.0.0.2")), std::nullopt);
    const auto nomatch = set_match(2, 1, IPSET_DIM_ONE_SRC | IPSET_RETURN_NOMATCH);
    EXPECT_EQ(holds(nomatch, gre("10.0.0.2")), std::nullopt);
}

TEST_F(ExtensionTest, ACommentNeedsNoEnd) {
    xt_comment_info info{};
    std::memset(info.comment, 'x', sizeof info.comment);
    const Rule rule = match("comment", 0, info);
    EXPECT_EQ(rule.comment, std::string(sizeof info.comment, 'x'));
    EXPECT_TRUE(rule.steps.empty());
    std::memcpy(info.comment, "a\x1b[2J\n", 7);
    EXPECT_EQ(match("comment", 0, info).text, "-m comment --comment \"a?[2J?\"");
}

TEST_F(ExtensionTest, MarksAreSetAsTheKernelDoes) {
    const Rule mark = target("MARK", 2, xt_mark_tginfo2{6, 7});
    EXPECT_EQ(mark.action, Action::none);
    const auto& step = std::get<SetMark>(mark.steps.at(0));
    EXPECT_EQ(step.mask, Value{7});
    EXPECT_EQ(step.value, Value{6});
    EXPECT_EQ(std::get<SetMark>(target("MARK", 1, 0).steps.at(0)).value, std::nullopt);

    xt_connmark_tginfo1 info{};
    info.mode = XT_CONNMARK_SAVE;
    EXPECT_TRUE(target("CONNMARK", 1, info).steps.empty());
    info.mode = XT_CONNMARK_RESTORE;
    EXPECT_EQ(std::get<SetMark>(target("CONNMARK", 1, info).steps.at(0)).value, std::nullopt);
}

TEST_F(ExtensionTest, TargetsDropGoOnOrAreUnknown) {
    EXPECT_EQ(target("REJECT", 0, 0).action, Action::drop);
    EXPECT_EQ(target("LOG", 0, 0).action, Action::none);
    const Rule tarpit = target("TARPIT", 0, 0);
    EXPECT_EQ(tarpit.action, Action::unknown);
    EXPECT_EQ(tarpit.unknown, "TARPIT");
    EXPECT_EQ(tarpit.text, "-j TARPIT");

    xt_set_info_target_v3 info{};
    EXPECT_TRUE(target("SET", 3, info).steps.empty());
    info.flags = IPSET_FLAG_MAP_SKBMARK;
    EXPECT_EQ(target("SET", 3, info).steps.size(), 1U);
}

}  // namespace
}  // namespace culvert::firewall
