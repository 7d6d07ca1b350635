// SPDX-License-Identifier: GPL-2.0-or-later
//
// What becomes of the outer headers of a tunnel packet on their way to the host's rules, and of the
// rules' answer on its way back.

#include "ctl/firewall_admission.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/addresses.hpp"

namespace culvert::ctl {

namespace {

using dataplane::AdmissionQuestion;
using firewall::Action;
using firewall::Field;
using firewall::Policy;
using firewall::Rule;
using firewall::Value;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = TunnelVerdict::Kind;

firewall::Match equal(Field field, Value value) {
    return {
        {{field}},
        std::make_shared<const firewall::TupleSet>(
            1, std::vector<firewall::Interval>{{value, value}}
        )};
}

Rule drop(std::vector<firewall::Step> steps, const std::string& text = "-j DROP") {
    Rule rule;
    rule.steps = std::move(steps);
    rule.action = Action::drop;
    rule.text = text;
    rule.handle = 1;
    return rule;
}

std::shared_ptr<const Policy> policy_of(std::vector<Rule> rules) {
    auto policy = std::make_shared<Policy>();
    policy->readable = true;
    firewall::Chain chain;
    chain.name = "INPUT";
    chain.table = "filter";
    chain.families = firewall::Families::both;
    chain.rules = std::move(rules);
    policy->rules.chains.push_back(std::move(chain));
    policy->rules.input.push_back({});
    return policy;
}

AdmissionQuestion question() {
    return {
        .source = ip("192.0.2.2"),
        .destination = ip("192.0.2.1"),
        .source_port = 40000,
        .destination_port = 4789,
        .bridge = 1,
        .protocol = 17};
}

dataplane::Admitted
ask(std::vector<Rule> rules,
    const AdmissionQuestion& asked = question(),
    UnknownPolicy unknown = UnknownPolicy::accept) {
    const FirewallAdmission admission(
        policy_of(std::move(rules)),
        unknown,
        {firewall::value_of_interface("br-a"), firewall::value_of_interface("br-b")}
    );
    return admission.judge(asked);
}

TEST(FirewallAdmission, EachFieldOfTheQuestionIsTheRules) {
    EXPECT_TRUE(ask({}).yes);
    const std::vector<std::pair<Field, Value>> fields{
        {Field::source, 0xc0000202},
        {Field::destination, 0xc0000201},
        {Field::protocol, 17},
        {Field::source_port, 40000},
        {Field::destination_port, 4789},
        {Field::interface_in, firewall::value_of_interface("br-b")},
        {Field::state, static_cast<Value>(firewall::State::fresh)},
        {Field::family, 4},
    };
    for (const auto& [field, value] : fields) {
        EXPECT_FALSE(ask({drop({equal(field, value)})}).yes) << to_string(field);
        EXPECT_TRUE(ask({drop({equal(field, value ^ 1U)})}).yes) << to_string(field);
    }
}

TEST(FirewallAdmission, OfIpv6TheWholeAddressIsCompared) {
    AdmissionQuestion asked = question();
    asked.source = ip("fd20::2");
    asked.destination = ip("fd20::1");
    const Value prefix = Value{0xfd20} << 112U;
    EXPECT_FALSE(ask({drop({equal(Field::source, prefix | 2U)})}, asked).yes);
    EXPECT_TRUE(ask({drop({equal(Field::source, prefix | 3U)})}, asked).yes);
    EXPECT_FALSE(ask({drop({equal(Field::family, 6)})}, asked).yes);
}

TEST(FirewallAdmission, HoldsForThePeerUnlessRulesReadTheSourcePort) {
    EXPECT_TRUE(ask({drop({equal(Field::source, 1)})}).holds_for_peer);
    EXPECT_FALSE(ask({drop({equal(Field::source_port, 1)})}).holds_for_peer);
    // The rule about the port is not reached.
    const auto other = drop({equal(Field::source, 1), equal(Field::source_port, 1)});
    EXPECT_TRUE(ask({other}).holds_for_peer);
}

TEST(FirewallAdmission, WhatIsUnknownGoesByThePolicyForIt) {
    const std::vector<Rule> rules{drop({firewall::UnknownMatch{"match recent"}})};
    EXPECT_TRUE(ask(rules, question(), UnknownPolicy::accept).yes);
    EXPECT_FALSE(ask(rules, question(), UnknownPolicy::drop).yes);
    const std::vector<Rule> certain{drop({firewall::UnknownMatch{"match recent"}}), drop({})};
    EXPECT_FALSE(ask(certain, question(), UnknownPolicy::accept).yes) << "either way";
}

TEST(FirewallAdmission, AFirewallThatCannotBeReadIsUnknown) {
    auto policy = std::make_shared<Policy>();
    policy->troubles.emplace_back("iptables-legacy: permission denied");
    for (const UnknownPolicy unknown : {UnknownPolicy::accept, UnknownPolicy::drop}) {
        const FirewallAdmission admission(policy, unknown, {});
        EXPECT_EQ(admission.judge(question()).yes, unknown == UnknownPolicy::accept);
        EXPECT_TRUE(admission.judge(question()).holds_for_peer);
    }
}

TEST(FirewallAdmission, ABridgeWithoutLocalDeviceHasNoInterface) {
    AdmissionQuestion asked = question();
    asked.bridge = 7;
    EXPECT_FALSE(ask({drop({equal(Field::interface_in, 0)})}, asked).yes);
}

firewall::Header header() {
    firewall::Header header;
    header.source = to_firewall(ip("192.0.2.2"));
    header.destination = to_firewall(ip("192.0.2.1"));
    header.protocol = 17;
    header.source_port = 32768;
    header.destination_port = 4789;
    return header;
}

TunnelVerdict verdict_of(std::vector<Rule> rules) {
    TunnelVerdict verdict = judge_tunnel(policy_of(std::move(rules)), header());
    verdict.enforced = true;
    return verdict;
}

TEST(TunnelVerdict, NamesTheRuleThatDecided) {
    const auto dropped = verdict_of({drop({equal(Field::protocol, 17)}, "-p udp -j DROP")});
    EXPECT_EQ(dropped.kind, Kind::dropped);
    EXPECT_THAT(dropped.rule, HasSubstr("filter INPUT rule 1: -p udp -j DROP"));
    EXPECT_EQ(to_text(dropped), "dropped by " + dropped.rule);
    EXPECT_EQ(verdict_of({}).kind, Kind::admitted);
}

TEST(TunnelVerdict, ByPortWhereRulesReadTheSendersPort) {
    const auto verdict = verdict_of({drop({equal(Field::source_port, 5)})});
    EXPECT_EQ(verdict.kind, Kind::by_port);
    EXPECT_THAT(to_text(verdict), HasSubstr("the sender's port"));
}

TEST(TunnelVerdict, OfAnEncryptedTunnelRulesAreAskedAboutEspToo) {
    firewall::Header sealed = header();
    sealed.protocol = firewall::kProtocolEsp;
    sealed.source_port = 0;
    sealed.destination_port = 0;
    const auto verdict_of_both = [&](std::vector<Rule> rules) {
        return judge_tunnel(policy_of(std::move(rules)), header(), sealed);
    };
    const Rule no_esp = drop({equal(Field::protocol, 50)}, "-p esp -j DROP");
    const Rule no_udp = drop({equal(Field::protocol, 17)}, "-p udp -j DROP");
    const Rule riddle = drop({equal(Field::protocol, 50), firewall::UnknownMatch{"match recent"}});
    EXPECT_EQ(verdict_of_both({}).kind, Kind::admitted);
    EXPECT_EQ(verdict_of_both({no_esp}).kind, Kind::dropped);
    EXPECT_THAT(verdict_of_both({no_esp}).rule, HasSubstr("-p esp -j DROP"));
    EXPECT_THAT(verdict_of_both({no_udp}).rule, HasSubstr("-p udp -j DROP"));
    EXPECT_THAT(verdict_of_both({no_udp, no_esp}).rule, HasSubstr("-p esp -j DROP"));
    EXPECT_EQ(verdict_of({no_esp}).kind, Kind::admitted);
    const TunnelVerdict unknown = verdict_of_both({riddle});
    EXPECT_EQ(unknown.kind, Kind::unknown);
    EXPECT_EQ(unknown.unknowns.size(), 1U);
    EXPECT_EQ(verdict_of_both({riddle, no_udp}).kind, Kind::dropped);
    EXPECT_EQ(unknown.header->protocol, 17);
    EXPECT_EQ(unknown.sealed->protocol, 50);
}

TEST(TunnelVerdict, UnknownSaysWhy) {
    const auto verdict =
        verdict_of({drop({firewall::UnknownMatch{"match recent"}}, "-m recent -j DROP")});
    EXPECT_EQ(verdict.kind, Kind::unknown);
    ASSERT_EQ(verdict.unknowns.size(), 1U);
    EXPECT_THAT(verdict.unknowns[0], HasSubstr("-m recent -j DROP"));
    EXPECT_THAT(to_text(verdict), HasSubstr(verdict.unknowns[0]));
}

TEST(TunnelVerdict, SaysThatItIsNotEnforced) {
    TunnelVerdict verdict = verdict_of({drop({})});
    verdict.enforced = false;
    EXPECT_TRUE(to_text(verdict).ends_with(" (not enforced)"));
    EXPECT_THAT(to_text(TunnelVerdict{}), HasSubstr("open"));
}

TEST(UnknownRules, AreCountedAndListedUpToABound) {
    Rule target;
    target.action = Action::unknown;
    target.unknown = "NFQUEUE";
    const auto policy =
        policy_of({drop({firewall::UnknownMatch{"match recent"}}), drop({}), target, target});
    const UnknownRules found = unknown_rules(policy->rules, 2);
    EXPECT_EQ(found.count, 3U);
    EXPECT_THAT(found.listed, ElementsAre(HasSubstr("match recent"), HasSubstr("NFQUEUE")));
}

}  // namespace

}  // namespace culvert::ctl
