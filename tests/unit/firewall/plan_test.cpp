// SPDX-License-Identifier: GPL-2.0-or-later
#include "firewall/plan.hpp"

#include <gtest/gtest.h>

#include "tests/unit/firewall/rules.hpp"

namespace culvert::firewall {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

const Mark kMark{false, "gre", ""};

Selector vxlan() {
    Selector selector;
    selector.protocol = kProtocolUdp;
    selector.destination_port = 4789;
    return selector;
}
Selector gre_from(const std::string& source) {
    Selector selector;
    selector.source = parse_prefix(source).value();
    selector.family = selector.source->address.family;
    return selector;
}
Match protocol(std::uint8_t number) {
    return is(Field::protocol, number);
}
Rule ours(Rule rule, const std::string& comment) {
    rule.comment = comment;
    return rule;
}
Opening::Outcome outcome(const Ruleset& rules, const Selector& selector) {
    return plan_enable(rules, {selector}, kMark).openings.at(0).outcome;
}

TEST(Says, of_a_rule_for_the_protocol) {
    EXPECT_EQ(says(accept({protocol(kProtocolGre)}), Selector{}), Says::admits);
    EXPECT_EQ(says(drop({protocol(kProtocolGre)}), Selector{}), Says::refuses);
    EXPECT_EQ(says(accept({protocol(kProtocolUdp)}), Selector{}), Says::nothing);
    EXPECT_EQ(says(accept(), Selector{}), Says::nothing);
    EXPECT_EQ(says(rule({protocol(kProtocolGre)}, Action::none), Selector{}), Says::nothing);
}

TEST(Says, a_rule_that_asks_for_more_admits_partly) {
    const auto with = [](const Step& step) {
        return says(accept({protocol(kProtocolGre), step}), Selector{});
    };
    EXPECT_EQ(with(from("10.0.0.0/8")), Says::admits_partly);
    EXPECT_EQ(with(from_range("10.0.0.1", "10.0.0.9")), Says::admits_partly);
    EXPECT_EQ(with(is(Field::interface_in, value_of_interface("eth0"))), Says::admits_partly);
    EXPECT_EQ(with(UnknownMatch{"match recent"}), Says::admits_partly);
    EXPECT_EQ(with(from("0.0.0.0/0")), Says::admits);
    EXPECT_EQ(with(is(Field::state, 8)), Says::admits);
    EXPECT_EQ(with(is(Field::state, 2)), Says::nothing);
}

TEST(Says, a_sender_within_the_rule_is_admitted_wholly) {
    const Rule rule = accept({protocol(kProtocolGre), from("10.0.0.0/8")});
    EXPECT_EQ(says(rule, gre_from("10.1.0.0/16")), Says::admits);
    EXPECT_EQ(says(rule, gre_from("0.0.0.0/0")), Says::admits_partly);
    EXPECT_EQ(says(rule, gre_from("11.0.0.0/16")), Says::nothing);
    const Rule range = accept({protocol(kProtocolGre), from_range("10.0.0.0", "10.255.255.255")});
    EXPECT_EQ(says(range, gre_from("10.1.0.0/16")), Says::admits);
}

TEST(Says, ports_are_numbers_and_not_text) {
    const auto to = [](Value low, Value high) {
        return accept({protocol(kProtocolUdp), in(Field::destination_port, {{low, high}})});
    };
    EXPECT_EQ(says(to(4789, 4789), vxlan()), Says::admits);
    EXPECT_EQ(says(to(47890, 47890), vxlan()), Says::nothing);
    EXPECT_EQ(says(to(4000, 5000), vxlan()), Says::admits);
    EXPECT_EQ(says(accept({protocol(kProtocolUdp)}), vxlan()), Says::admits);
    // Dropping what is left of UDP is not about VXLAN.
    EXPECT_EQ(says(drop({protocol(kProtocolUdp)}), vxlan()), Says::nothing);
    EXPECT_EQ(
        says(drop({protocol(kProtocolUdp), is(Field::destination_port, 4789)}), vxlan()),
        Says::refuses
    );
    EXPECT_EQ(
        says(accept({protocol(kProtocolUdp), is_not(Field::destination_port, 4789)}), vxlan()),
        Says::nothing
    );
}

TEST(Openings, are_known_by_their_whole_shape) {
    const Rule rule = accept({protocol(kProtocolGre), from("10.0.0.2")});
    EXPECT_TRUE(is_opening(rule, gre_from("10.0.0.2")));
    EXPECT_FALSE(is_opening(rule, Selector{}));
    const Rule range = accept({protocol(kProtocolGre), from_range("10.0.0.0", "10.0.0.255")});
    EXPECT_TRUE(is_opening(range, gre_from("10.0.0.0/24")));
    EXPECT_FALSE(selector_of(
        accept({protocol(kProtocolGre), from_range("10.0.0.1", "10.0.0.255")}), Family::ipv4
    ));
    EXPECT_FALSE(selector_of(accept({protocol(kProtocolGre), UnknownMatch{"x"}}), Family::ipv4));
    EXPECT_FALSE(selector_of(drop({protocol(kProtocolGre)}), Family::ipv4));
    EXPECT_FALSE(selector_of(accept(), Family::ipv4));
    EXPECT_FALSE(selector_of(accept({is(Field::family, 6), protocol(47)}), Family::ipv4));
    EXPECT_EQ(
        selector_of(
            accept({protocol(kProtocolUdp), is(Field::destination_port, 4789)}), Family::ipv4
        ),
        vxlan()
    );
}

TEST(Marks, are_written_and_read) {
    for (const Mark& mark :
         {Mark{false, "gre", ""}, Mark{true, "udp/4790", ""}, Mark{false, "vxlan", "rack: 7"}}) {
        EXPECT_EQ(parse_mark(to_string(mark)), mark) << to_string(mark);
    }
    EXPECT_EQ(to_string(Mark{true, "gre", ""}), "culvert auto gre");
    for (const char* other :
         {"",
          "culvert",
          "culvert is replaced by this",
          "culverts gre",
          "culvert ",
          "culvert auto",
          "not culvert gre",
          "culvert gre and more"}) {
        EXPECT_FALSE(parse_mark(other)) << other;
    }
    EXPECT_EQ(mark_name(vxlan()), "vxlan");
    Selector odd = vxlan();
    odd.destination_port = 4799;
    EXPECT_EQ(mark_name(odd), "udp/4799");
}

TEST(Protocols, have_names_and_numbers) {
    EXPECT_EQ(parse_protocol("gre").value(), kProtocolGre);
    EXPECT_EQ(parse_protocol("47").value(), kProtocolGre);
    for (const char* bad : {"", "grex", "256", "-1", "4 7"}) {
        EXPECT_FALSE(parse_protocol(bad)) << bad;
    }
    EXPECT_EQ(to_string(vxlan()), "udp to port 4789");
    EXPECT_EQ(to_string(gre_from("10.0.0.0/8")), "gre from 10.0.0.0/8");
}

TEST(PlanEnable, inserts_where_no_rule_is_about_it) {
    const Ruleset rules = ruleset({chain({accept({protocol(kProtocolUdp)})})});
    const EnablePlan plan = plan_enable(rules, {Selector{}}, kMark);
    ASSERT_EQ(plan.edits.size(), 1U);
    EXPECT_EQ(plan.edits[0].comment, "culvert gre");
    EXPECT_EQ(plan.openings[0].outcome, Opening::Outcome::inserted);
}

TEST(PlanEnable, leaves_the_operators_decision_alone) {
    EXPECT_EQ(outcome(ruleset({chain({accept({protocol(47)})})}), {}), Opening::Outcome::exists);
    EXPECT_EQ(outcome(ruleset({chain({drop({protocol(47)})})}), {}), Opening::Outcome::refused);
    EXPECT_EQ(
        outcome(ruleset({chain({accept({protocol(47), from("10.0.0.2")})})}), {}),
        Opening::Outcome::inserted
    );
}

TEST(PlanEnable, sees_rules_in_the_chains_that_are_jumped_to) {
    const auto behind = [](std::vector<Step> conditions) {
        return ruleset(
            {chain({jump(1, std::move(conditions)), drop()}),
             chain({accept({protocol(kProtocolGre)})})}
        );
    };
    EXPECT_EQ(outcome(behind({}), {}), Opening::Outcome::exists);
    EXPECT_EQ(outcome(behind({from("10.0.0.0/8")}), {}), Opening::Outcome::inserted);
    const Ruleset split =
        ruleset({chain({jump(1, {protocol(kProtocolGre)}), drop()}), chain({accept()})});
    EXPECT_EQ(outcome(split, {}), Opening::Outcome::exists);
}

TEST(PlanEnable, says_when_nothing_filters_the_family) {
    Selector six;
    six.family = Family::ipv6;
    EXPECT_EQ(outcome(ruleset({chain({})}), six), Opening::Outcome::no_chain);
    EXPECT_EQ(outcome(Ruleset{}, {}), Opening::Outcome::no_chain);
}

TEST(PlanEnable, opens_those_chains_of_nftables_that_would_drop) {
    Ruleset rules = ruleset(
        {chain({}, Tool::nftables, Families::both), chain({}, Tool::nftables, Families::both)}, true
    );
    rules.input.push_back({1, 10, false, true});
    const EnablePlan plan = plan_enable(rules, {Selector{}}, kMark);
    ASSERT_EQ(plan.edits.size(), 1U);
    EXPECT_EQ(plan.edits[0].chain, 0U);
    rules.input[0].drops_by_policy = false;
    EXPECT_EQ(outcome(rules, {}), Opening::Outcome::exists);
}

TEST(PlanDisable, erases_culverts_rules_and_no_other) {
    const Ruleset rules = ruleset({chain({
        accept({protocol(kProtocolGre)}),
        ours(accept({protocol(kProtocolGre)}), "culvert gre"),
        ours(accept({protocol(kProtocolGre), from("10.0.0.2")}), "culvert auto gre"),
        ours(accept({protocol(kProtocolGre)}), "culvert gre is open"),
        ours(drop({protocol(kProtocolGre)}), "culvert gre"),
        ours(accept({protocol(kProtocolEsp)}), "culvert esp"),
    })});
    const Plan plan = plan_disable(rules, {Selector{}});
    ASSERT_EQ(plan.size(), 2U);
    EXPECT_EQ(plan[0].rule, 1U);
    EXPECT_EQ(plan[1].rule, 2U);
}

TEST(PlanAutomatic, makes_the_rules_be_those_wanted) {
    const Ruleset rules = ruleset({chain({
        ours(accept({protocol(kProtocolGre), from("10.0.0.2")}), "culvert auto gre"),
        ours(accept({protocol(kProtocolGre), from("10.0.0.2")}), "culvert auto gre"),
        ours(accept({protocol(kProtocolGre)}), "culvert auto gre"),
        ours(accept({protocol(kProtocolEsp)}), "culvert esp"),
    })});
    const Plan plan = plan_automatic(rules, {gre_from("10.0.0.2"), gre_from("10.0.0.3")});
    ASSERT_EQ(plan.size(), 3U);
    EXPECT_EQ(plan[0].rule, 1U);
    EXPECT_EQ(plan[1].rule, 2U);
    // What the rule that goes would have opened has to be opened anew.
    EXPECT_EQ(plan[2].kind, Edit::Kind::insert);
    EXPECT_EQ(plan[2].selector, gre_from("10.0.0.3"));
    EXPECT_EQ(plan[2].comment, "culvert auto gre");
    EXPECT_EQ(plan_automatic(rules, {}).size(), 3U);
}

}  // namespace
}  // namespace culvert::firewall
