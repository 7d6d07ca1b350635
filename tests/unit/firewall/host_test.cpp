// SPDX-License-Identifier: GPL-2.0-or-later
#include "firewall/host.hpp"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/firewall/fake_backend.hpp"

namespace culvert::firewall {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Trouble kAbsent = {Trouble::Kind::absent, "the kernel has no ip_tables"};
const Trouble kFailed = {Trouble::Kind::failed, "cannot read it: Operation not permitted"};

Rule gre_rule(Action action) {
    return rule({is(Field::protocol, kProtocolGre)}, action);
}

TEST(BackendChoice, is_read_by_name) {
    for (const auto choice :
         {BackendChoice::automatic, BackendChoice::legacy, BackendChoice::nft}) {
        EXPECT_EQ(parse_backend(to_string(choice)), choice);
    }
    EXPECT_EQ(parse_backend("iptables"), std::nullopt);
    EXPECT_EQ(parse_backend(""), std::nullopt);
}

TEST(HostFirewall, each_backend_has_to_let_a_packet_pass) {
    FakeTables legacy = legacy_tables({gre_rule(Action::accept)});
    FakeTables nft = nft_tables({gre_rule(Action::drop)});
    const Policy policy = HostFirewall(backends_of({&legacy, &nft})).read();
    EXPECT_TRUE(policy.readable);
    EXPECT_THAT(policy.holders, ElementsAre("iptables-legacy", "nftables"));
    EXPECT_TRUE(policy.judge(gre("10.0.0.9")).dropped());
    EXPECT_EQ(policy.judge(gre("10.0.0.9")).decider, (RuleRef{2, 0}));
}

TEST(HostFirewall, an_absent_backend_says_nothing) {
    FakeTables legacy = legacy_tables();
    legacy.trouble = kAbsent;
    FakeTables nft = nft_tables();
    const Policy policy = HostFirewall(backends_of({&legacy, &nft})).read();
    EXPECT_TRUE(policy.readable);
    EXPECT_THAT(policy.holders, IsEmpty());
    EXPECT_THAT(policy.troubles, IsEmpty());
    EXPECT_TRUE(policy.judge(gre("10.0.0.9")).accepted());
}

TEST(HostFirewall, an_unreadable_backend_makes_acceptance_uncertain_and_no_drop) {
    FakeTables legacy = legacy_tables({gre_rule(Action::drop)});
    FakeTables nft = nft_tables();
    nft.trouble = kFailed;
    const Policy policy = HostFirewall(backends_of({&legacy, &nft})).read();
    EXPECT_THAT(policy.troubles, ElementsAre(kFailed.text));
    EXPECT_TRUE(policy.judge(gre("10.0.0.9")).dropped());
    EXPECT_TRUE(policy.judge(udp("10.0.0.9", 1, 4789)).is_unknown());
}

TEST(HostFirewall, no_backend_is_not_readable) {
    FakeTables legacy;
    legacy.trouble = kAbsent;
    FakeTables nft = nft_tables();
    nft.trouble = kFailed;
    EXPECT_FALSE(HostFirewall(backends_of({&legacy, &nft})).read().readable);
}

TEST(HostFirewall, every_change_of_a_backend_is_a_new_generation) {
    FakeTables legacy = legacy_tables();
    FakeTables nft = nft_tables();
    HostFirewall host(backends_of({&legacy, &nft}));
    std::set<std::uint64_t> seen;
    const auto is_new = [&] {
        const std::uint64_t now = host.generation();
        EXPECT_EQ(host.generation(), now);
        return seen.insert(now).second;
    };
    EXPECT_TRUE(is_new());
    EXPECT_FALSE(is_new());
    legacy.generation = 2;
    EXPECT_TRUE(is_new());
    nft.generation = 2;  // The same change in both does not cancel out.
    EXPECT_TRUE(is_new());
    legacy.generation = 1;
    EXPECT_TRUE(is_new());
    legacy.trouble = kFailed;
    EXPECT_TRUE(is_new());
    legacy.trouble = kAbsent;
    EXPECT_TRUE(is_new());
}

TEST(HostFirewall, rules_go_to_the_backends_that_hold_a_policy) {
    FakeTables legacy = legacy_tables();
    FakeTables nft = nft_tables({gre_rule(Action::drop)});
    HostFirewall host(backends_of({&legacy, &nft}));
    const auto names = [&host] {
        std::vector<std::string> all;
        for (const auto& target : host.targets().targets) {
            all.emplace_back(target.backend->name());
        }
        return all;
    };
    EXPECT_THAT(names(), ElementsAre("nftables"));
    legacy.rules = ruleset({chain({})}, true);  // A policy of DROP is one.
    EXPECT_THAT(names(), ElementsAre("iptables-legacy", "nftables"));
    legacy.rules = ruleset({chain({})});
    nft.rules = ruleset({chain({})});
    EXPECT_THAT(names(), ElementsAre("iptables-legacy"));
    legacy.trouble = kAbsent;
    EXPECT_THAT(names(), ElementsAre("nftables"));
    nft.trouble = kFailed;
    EXPECT_THAT(names(), IsEmpty());
    EXPECT_THAT(host.targets().troubles, ElementsAre(kFailed.text));
}

}  // namespace
}  // namespace culvert::firewall
