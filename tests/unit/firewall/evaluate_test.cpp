// SPDX-License-Identifier: GPL-2.0-or-later
#include "firewall/evaluate.hpp"

#include <gtest/gtest.h>

#include "tests/unit/firewall/rules.hpp"

namespace culvert::firewall {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

const UnknownMatch kUnknown{"match recent"};

TEST(Evaluate, without_a_chain_everything_passes) {
    const Judgement judgement = evaluate(Ruleset{}, gre("10.0.0.2"));
    EXPECT_TRUE(judgement.accepted());
    EXPECT_FALSE(judgement.decider);
    EXPECT_TRUE(judgement.read.none());
}

TEST(Evaluate, the_policy_decides_what_no_rule_does) {
    const Ruleset open = ruleset({chain({drop({is(Field::protocol, kProtocolUdp)})})});
    const Ruleset closed = ruleset({chain({accept({is(Field::protocol, kProtocolUdp)})})}, true);
    EXPECT_TRUE(evaluate(open, gre("10.0.0.2")).accepted());
    const Judgement judgement = evaluate(closed, gre("10.0.0.2"));
    EXPECT_TRUE(judgement.dropped());
    EXPECT_EQ(judgement.decider, (RuleRef{0, 1}));
}

TEST(Evaluate, the_first_rule_that_matches_decides) {
    const Ruleset rules = ruleset({chain({
        drop({from("10.0.0.2")}),
        accept({is(Field::protocol, kProtocolGre)}),
        drop(),
    })});
    EXPECT_EQ(evaluate(rules, gre("10.0.0.2")).decider, (RuleRef{0, 0}));
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).dropped());
    EXPECT_EQ(evaluate(rules, gre("10.0.0.3")).decider, (RuleRef{0, 1}));
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.3")).accepted());
    EXPECT_TRUE(evaluate(rules, udp("10.0.0.3", 1, 4789)).dropped());
}

TEST(Evaluate, every_condition_of_a_rule_has_to_hold) {
    const Ruleset rules = ruleset({chain({drop({
        is(Field::protocol, kProtocolUdp),
        in(Field::destination_port, {{4789, 4790}}),
        is_not(Field::source_port, 7),
    })})});
    EXPECT_TRUE(evaluate(rules, udp("10.0.0.2", 8, 4790)).dropped());
    EXPECT_TRUE(evaluate(rules, udp("10.0.0.2", 7, 4790)).accepted());
    EXPECT_TRUE(evaluate(rules, udp("10.0.0.2", 8, 4791)).accepted());
}

TEST(Evaluate, a_chain_returns_to_the_rule_behind_the_jump) {
    const Ruleset rules = ruleset({
        chain({jump(1), drop()}),
        chain({
            rule({from("10.0.0.2")}, Action::return_),
            accept({from("10.0.0.0/24")}),
        }),
    });
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).dropped());
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.3")).accepted());
    EXPECT_TRUE(evaluate(rules, gre("10.1.0.3")).dropped());
}

TEST(Evaluate, the_end_of_a_chain_that_was_gone_to_is_the_end_of_the_one_before) {
    const Ruleset rules = ruleset(
        {chain({rule({}, Action::go_to, 1), accept()}), chain({accept({from("10.0.0.2")})})}, true
    );
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).accepted());
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.3")).dropped());
}

TEST(Evaluate, a_return_from_a_base_chain_is_its_policy) {
    const Ruleset rules = ruleset({chain({rule({}, Action::return_), drop()})});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).accepted());
}

TEST(Evaluate, every_base_chain_has_to_let_a_packet_pass) {
    Ruleset rules = ruleset({chain({accept()}), chain({drop({from("10.0.0.2")})})});
    rules.input.push_back({1, 10, false, true});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).dropped());
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.3")).accepted());
    EXPECT_TRUE(evaluate(rules, rules.input[0], gre("10.0.0.2")).accepted());
}

TEST(Evaluate, a_chain_of_the_other_family_says_nothing) {
    const Ruleset rules = ruleset({chain({drop()}, Tool::iptables_legacy, Families::ipv6)}, true);
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).accepted());
    EXPECT_TRUE(evaluate(rules, gre("2001:db8::2")).dropped());
}

TEST(Evaluate, an_unknown_condition_matters_only_where_its_ways_end_differently) {
    EXPECT_TRUE(
        evaluate(ruleset({chain({drop({kUnknown}), accept()})}), gre("10.0.0.2")).is_unknown()
    );
    EXPECT_TRUE(
        evaluate(ruleset({chain({accept({kUnknown}), accept()})}), gre("10.0.0.2")).accepted()
    );
    // Whether it would hold or not, another condition of the rule does not.
    const Ruleset narrow = ruleset({chain({drop({kUnknown, from("10.9.0.0/16")})})});
    EXPECT_TRUE(evaluate(narrow, gre("10.0.0.2")).accepted());
    EXPECT_TRUE(evaluate(narrow, gre("10.9.0.2")).is_unknown());
    EXPECT_EQ(evaluate(narrow, gre("10.9.0.2")).decider, (RuleRef{0, 0}));
}

TEST(Evaluate, an_unknown_jump_may_or_may_not_have_happened) {
    const Ruleset rules = ruleset({chain({jump(1, {kUnknown}), drop()}), chain({accept()})});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).is_unknown());
    const Ruleset alike = ruleset({chain({jump(1, {kUnknown}), drop()}), chain({drop()})});
    EXPECT_TRUE(evaluate(alike, gre("10.0.0.2")).dropped());
}

TEST(Evaluate, a_target_that_is_not_known_may_do_anything) {
    Rule queue;
    queue.action = Action::unknown;
    queue.unknown = "target NFQUEUE";
    const Judgement judgement = evaluate(ruleset({chain({queue, drop()})}), gre("10.0.0.2"));
    EXPECT_TRUE(judgement.is_unknown());
    // Its mark may be another one as well.
    Ruleset rules = ruleset({chain({queue}), chain({drop({is(Field::mark, 0)})})});
    rules.input.push_back({1, 10, false, true});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).is_unknown());
}

TEST(Evaluate, marks_are_carried_from_rule_to_rule_and_chain_to_chain) {
    const auto rules_with = [](std::vector<Step> conditions) {
        conditions.emplace_back(SetMark{0xff, 0x12});
        Ruleset rules = ruleset({
            chain({rule(std::move(conditions), Action::none)}),
            chain({drop({is(Field::mark, 0x12)})}),
        });
        rules.input.push_back({1, 10, false, true});
        return rules;
    };
    EXPECT_TRUE(evaluate(rules_with({}), gre("10.0.0.2")).dropped());
    EXPECT_TRUE(evaluate(rules_with({from("10.9.0.0/16")}), gre("10.0.0.2")).accepted());
    EXPECT_TRUE(evaluate(rules_with({kUnknown}), gre("10.0.0.2")).is_unknown());
}

TEST(Evaluate, a_packet_accepted_in_the_middle_has_the_mark_of_there) {
    // Accepted with mark 1 by a rule that may not match, else with mark 2.
    Ruleset rules = ruleset({
        chain({
            rule({SetMark{0xff, 1}}, Action::none),
            accept({kUnknown}),
            rule({SetMark{0xff, 2}}, Action::none),
        }),
        chain({drop({is(Field::mark, 1)})}),
    });
    rules.input.push_back({1, 10, false, true});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).is_unknown());
}

TEST(Evaluate, steps_before_the_condition_that_fails_have_happened) {
    const Ruleset rules = ruleset({chain({
        rule({SetMark{0xff, 1}, from("10.9.0.0/16"), SetMark{0xff, 2}}, Action::none),
        drop({is(Field::mark, 1)}),
    })});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).dropped());
    EXPECT_TRUE(evaluate(rules, gre("10.9.0.2")).accepted());
}

TEST(Evaluate, a_port_that_the_packet_does_not_have_is_unknown) {
    const Ruleset rules = ruleset({chain({drop({is(Field::destination_port, 4789)})})});
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).is_unknown());
    EXPECT_TRUE(evaluate(rules, udp("10.0.0.2", 1, 4789)).dropped());
}

TEST(Evaluate, a_packet_without_ports_is_no_tuple_of_another_protocol) {
    const auto tuples = [](std::uint8_t protocol) {
        return std::make_shared<const TupleSet>(
            2, std::vector<Interval>{{protocol, protocol}, {4789, 4789}}
        );
    };
    const auto others_dropped = [&](std::uint8_t protocol) {
        return ruleset({chain({drop({Match{
            {{Field::protocol}, {Field::destination_port}}, tuples(protocol), true}})})});
    };
    EXPECT_TRUE(evaluate(others_dropped(kProtocolUdp), gre("10.0.0.2")).dropped());
    EXPECT_TRUE(evaluate(others_dropped(kProtocolUdp), udp("10.0.0.2", 1, 4789)).accepted());
    EXPECT_TRUE(evaluate(others_dropped(kProtocolGre), gre("10.0.0.2")).is_unknown());
}

TEST(Evaluate, names_the_fields_that_the_answer_stands_on) {
    const Ruleset rules = ruleset({chain({
        accept({is(Field::protocol, kProtocolGre)}),
        drop({from("10.0.0.2"), is(Field::source_port, 5)}),
    })});
    const auto reads = [&](const Header& header, Field field) {
        return evaluate(rules, header).read.test(static_cast<std::size_t>(field));
    };
    EXPECT_FALSE(reads(gre("10.0.0.2"), Field::source));
    EXPECT_TRUE(reads(udp("10.0.0.3", 5, 4789), Field::source));
    EXPECT_FALSE(reads(udp("10.0.0.3", 5, 4789), Field::source_port));
    EXPECT_TRUE(reads(udp("10.0.0.2", 5, 4789), Field::source_port));
}

TEST(Evaluate, a_loop_and_a_forest_of_jumps_end) {
    EXPECT_TRUE(evaluate(ruleset({chain({jump(0)})}), gre("10.0.0.2")).is_unknown());
    std::vector<Chain> chains;
    constexpr std::uint32_t kDeep = 30;
    for (std::uint32_t i = 0; i < kDeep; ++i) {
        chains.push_back(chain({jump(i + 1), jump(i + 1)}));
    }
    chains.push_back(chain({}));
    EXPECT_TRUE(evaluate(ruleset(std::move(chains)), gre("10.0.0.2")).is_unknown());
}

TEST(Evaluate, the_trace_tells_the_rules_in_the_order_of_the_walk) {
    const Ruleset rules =
        ruleset({chain({drop({from("10.9.0.0/16")}), jump(1), drop()}), chain({accept({kUnknown})})}
        );
    Trace trace;
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2"), &trace).is_unknown());
    ASSERT_EQ(trace.size(), 4U);
    EXPECT_EQ(trace[0].outcome, TraceStep::Outcome::not_matched);
    EXPECT_EQ(trace[1].outcome, TraceStep::Outcome::matched);
    EXPECT_EQ(trace[2].at, (RuleRef{1, 0}));
    EXPECT_EQ(trace[2].depth, 1U);
    EXPECT_EQ(trace[2].unknown, "match recent");
    EXPECT_EQ(trace[3].at, (RuleRef{0, 2}));
}

TEST(TupleSet, finds_values_in_overlapping_intervals_and_tuples) {
    const TupleSet one(1, {{5, 10}, {1, 100}, {20, 30}});
    for (const Value value : {1U, 5U, 11U, 20U, 31U, 100U}) {
        EXPECT_TRUE(one.contains(std::vector<Value>{value}));
    }
    EXPECT_FALSE(one.contains(std::vector<Value>{0}));
    EXPECT_FALSE(one.contains(std::vector<Value>{101}));
    const TupleSet two(2, {{1, 5}, {7, 7}, {1, 5}, {9, 9}, {3, 3}, {8, 8}});
    EXPECT_TRUE(two.contains(std::vector<Value>{2, 9}));
    EXPECT_TRUE(two.contains(std::vector<Value>{3, 8}));
    EXPECT_FALSE(two.contains(std::vector<Value>{2, 8}));
    EXPECT_FALSE(TupleSet(1, {}).contains(std::vector<Value>{0}));
}

TEST(Address, is_read_and_written) {
    EXPECT_EQ(to_string(parse_prefix("10.1.2.3/8").value()), "10.0.0.0/8");
    EXPECT_EQ(to_string(parse_prefix("2001:db8::1").value()), "2001:db8::1");
    EXPECT_EQ(to_string(parse_prefix("0.0.0.0/0").value()), "0.0.0.0/0");
    EXPECT_TRUE(parse_prefix("10.0.0.0/8").value().contains(parse_address("10.9.9.9").value()));
    EXPECT_FALSE(parse_prefix("::/0").value().contains(parse_address("10.9.9.9").value()));
    for (const char* bad :
         {"", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "::/129", "a/8", "1.2.3.4/x"}) {
        EXPECT_FALSE(parse_prefix(bad)) << bad;
    }
    EXPECT_EQ(value_of_interface("ab") >> 112U, Value{0x6162});
}

}  // namespace
}  // namespace culvert::firewall
