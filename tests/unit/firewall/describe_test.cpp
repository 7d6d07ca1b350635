// SPDX-License-Identifier: GPL-2.0-or-later
#include "firewall/describe.hpp"

#include <gtest/gtest.h>

#include "tests/unit/firewall/rules.hpp"

namespace culvert::firewall {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

Ruleset one_rule(Tool tool, Families families, const std::string& text) {
    Rule made = drop();
    made.text = text;
    made.handle = 7;
    return ruleset({chain({made}, tool, families)}, true);
}

TEST(Describe, a_rule_has_its_tool_its_chain_and_its_text) {
    EXPECT_EQ(
        describe(one_rule(Tool::iptables_legacy, Families::ipv4, "-p gre -j DROP"), {0, 0}),
        "iptables-legacy filter INPUT rule 1: -p gre -j DROP"
    );
    EXPECT_EQ(
        describe(one_rule(Tool::iptables_nft, Families::ipv6, "-p gre -j DROP"), {0, 0}),
        "ip6tables-nft filter INPUT rule 1: -p gre -j DROP"
    );
    EXPECT_EQ(
        describe(one_rule(Tool::nftables, Families::both, "meta l4proto gre drop"), {0, 0}),
        "nftables inet filter INPUT rule with handle 7: meta l4proto gre drop"
    );
}

TEST(Describe, a_policy_is_written_as_its_tool_does) {
    EXPECT_EQ(
        describe(one_rule(Tool::iptables_legacy, Families::ipv6, ""), {0, 1}),
        "the policy DROP of ip6tables-legacy filter INPUT"
    );
    EXPECT_EQ(
        describe(one_rule(Tool::nftables, Families::ipv4, ""), {0, 1}),
        "the policy drop of nftables ip filter INPUT"
    );
}

TEST(Describe, survives_references_to_what_is_gone) {
    Ruleset rules = one_rule(Tool::iptables_legacy, Families::ipv4, "");
    EXPECT_EQ(describe(rules, {5, 0}), "a chain that is gone");
    EXPECT_EQ(describe(rules, {0, 99}), "the policy DROP of iptables-legacy filter INPUT");
    rules.input.clear();
    EXPECT_EQ(describe(rules, {0, 1}), "the end of iptables-legacy filter INPUT");
}

TEST(Describe, no_byte_of_a_rule_commands_a_terminal) {
    const std::string text =
        describe(one_rule(Tool::iptables_legacy, Families::ipv4, "\x1b[2J\n\x7f"), {0, 0});
    EXPECT_EQ(text, "iptables-legacy filter INPUT rule 1: \\x1b[2J\\x0a\\x7f");
    EXPECT_LT(on_one_line(std::string(100'000, 'x')).size(), 600U);
}

}  // namespace
}  // namespace culvert::firewall
