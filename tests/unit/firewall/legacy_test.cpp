// SPDX-License-Identifier: GPL-2.0-or-later
//
// iptables' own tables, made with its commands in a network namespace of each test's own, read back
// and changed. The lock file is one of the test's own, too. Needs root.
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firewall/backend.hpp"
#include "firewall/evaluate.hpp"
#include "firewall/ipset.hpp"
#include "firewall/legacy_entry.hpp"
#include "firewall/legacy_table.hpp"
#include "firewall/xtables_lock.hpp"
#include "tests/unit/firewall/output_of.hpp"
#include "tests/unit/firewall/rules.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::firewall {
namespace {

using culvert::test::run;
using test::gre;
using test::output_of;
using test::udp;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> lines_of(const std::string& text, const std::string& prefix) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        if (line.starts_with(prefix)) {
            lines.push_back(line.substr(prefix.size()));
        }
    }
    return lines;
}

Selector opening(Family family, std::uint8_t protocol = kProtocolGre) {
    Selector selector;
    selector.family = family;
    selector.protocol = protocol;
    return selector;
}

class LegacyTest : public ::testing::Test {
protected:
    LegacyTest() {
        char name[] = "/tmp/culvert_xtables_XXXXXX";
        const int fd = mkstemp(name);
        culvert::test::require(fd >= 0, "a lock file cannot be made");
        close(fd);
        lock_file_ = name;
        setenv("XTABLES_LOCKFILE", name, 1);
    }
    ~LegacyTest() override {
        unsetenv("XTABLES_LOCKFILE");
        std::error_code ignored;
        std::filesystem::remove(lock_file_, ignored);
    }

    static void restore(const std::string& tool, const std::string& rules) {
        run("printf '%s\\n' '*filter\n" + rules + "\nCOMMIT' | " + tool + "-restore -n -c");
    }
    // Without the lines that tell the time.
    static std::string saved(const std::string& tool) {
        return output_of(tool + "-save -c | grep -v '^#'");
    }
    static std::string saved() { return saved("iptables-legacy") + saved("ip6tables-legacy"); }

    // libiptc of iptables 1.8.9 loses the counters of policies, and so do the commands.
    static std::string without_policies(const std::string& text) {
        std::string rest;
        for (const std::string& line : lines_of(text, "")) {
            rest += line.starts_with(':') ? line.substr(0, line.find('[')) : line;
            rest += '\n';
        }
        return rest;
    }

    Ruleset read() {
        auto rules = backend->read();
        EXPECT_TRUE(rules) << rules.error().text;
        return rules.value_or(Ruleset{});
    }
    // Of the chain INPUT of the only table.
    std::vector<std::string> texts() {
        const Ruleset rules = read();
        std::vector<std::string> list;
        for (const Rule& rule : rules.chains.at(0).rules) {
            list.push_back(rule.text);
        }
        return list;
    }
    std::uint64_t generation() {
        const auto number = backend->generation();
        EXPECT_TRUE(number) << number.error().text;
        return number.value_or(0);
    }
    Answer<void> insert(const Selector& selector, bool create = false) {
        return backend->change(
            [&](const Ruleset& rules) { return plan_for(rules, {selector}); }, create
        );
    }
    static Plan plan_for(const Ruleset& rules, const std::vector<Selector>& selectors) {
        return plan_enable(rules, selectors, Mark{false, "gre", ""}).edits;
    }
    // What another program that does not take the lock does.
    static void sneak_in(Family family, std::uint16_t port) {
        auto table = LegacyTable::open(family, kLegacyFilter);
        Selector selector = opening(family, kProtocolUdp);
        selector.destination_port = port;
        ASSERT_TRUE(table);
        ASSERT_TRUE((*table)->insert("INPUT", make_legacy_entry(selector, "sneaked").value()));
        const auto committed = (*table)->commit();
        ASSERT_TRUE(committed) << committed.error().text;
    }
    // Whether a rule of these words holds for a packet: it drops what would pass.
    bool holds(const std::string& words, const Header& header) {
        const bool is_v4 = header.source.family == Family::ipv4;
        const std::string tool = is_v4 ? "iptables-legacy" : "ip6tables-legacy";
        run(tool + " -F INPUT; " + tool + " -A INPUT " + words + " -j DROP");
        const Judgement judgement = evaluate(read(), header);
        EXPECT_FALSE(judgement.is_unknown()) << words;
        return judgement.dropped();
    }

    culvert::test::PrivateNetwork here;
    std::unique_ptr<Backend> backend = make_legacy_backend();

private:
    std::string lock_file_;
};

TEST_F(LegacyTest, ReadingMakesNoTable) {
    const auto rules = backend->read();
    ASSERT_FALSE(rules);
    EXPECT_EQ(rules.error().kind, Trouble::Kind::absent);
    const auto number = backend->generation();
    ASSERT_FALSE(number);
    EXPECT_EQ(number.error().kind, Trouble::Kind::absent);
    EXPECT_EQ(output_of("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names"), "");
}

TEST_F(LegacyTest, WritesRulesDownAsIptablesDoes) {
    restore(
        "iptables-legacy",
        "-N other\n"
        "-A INPUT -s 10.0.0.0/8 -d 10.1.2.3 -i eth+ ! -p gre -j ACCEPT\n"
        "-A INPUT ! -s 10.0.0.7/255.0.255.0 ! -i br0 -f -j DROP\n"
        "-A INPUT -p udp -m udp --sport 1:5 ! --dport 4789 -j RETURN\n"
        "-A INPUT -p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j other\n"
        "-A INPUT -p tcp -m multiport ! --dports 1,5:9,80 -g other\n"
        "-A INPUT -p udp -m multiport --ports 1,2\n"
        "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\n"
        "-A INPUT -m state ! --state INVALID,UNTRACKED -j ACCEPT\n"
        "-A INPUT -m mark ! --mark 0x10/0xff -j REJECT --reject-with icmp-host-prohibited\n"
        "-A INPUT -m comment --comment \"it is \\\"so\\\"\" -j MARK --set-xmark 0x1/0xf\n"
        "-A INPUT -m limit --limit 3/min --limit-burst 9 -j ACCEPT\n"
        "-A INPUT -m iprange ! --src-range 10.0.0.1-10.0.0.9 -j ACCEPT\n"
        "-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT\n"
        "-A INPUT -p icmp -m icmp --icmp-type any -j ACCEPT\n"
        "-A INPUT -p esp -m esp --espspi 5 -j ACCEPT\n"
        "-A INPUT -p sctp -m sctp --dport 7 -j ACCEPT"
    );
    const std::string listed = output_of("iptables-legacy -S INPUT");
    EXPECT_THAT(texts(), ElementsAreArray(lines_of(listed, "-A INPUT ")));
    EXPECT_EQ(read().chains[0].rules[9].comment, "it is \"so\"");
}

TEST_F(LegacyTest, WritesRulesOfIpv6DownAsIp6tablesDoes) {
    restore(
        "ip6tables-legacy",
        "-A INPUT -s 2001:db8::/32 -p gre -j ACCEPT\n"
        "-A INPUT ! -d fe80::1 -i br0 -p udp -m udp --dport 4789 -j DROP\n"
        "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT\n"
        "-A INPUT -s ::5/::ffff -j REJECT --reject-with icmp6-adm-prohibited"
    );
    const std::string listed = output_of("ip6tables-legacy -S INPUT");
    EXPECT_THAT(texts(), ElementsAreArray(lines_of(listed, "-A INPUT ")));
}

TEST_F(LegacyTest, FollowsChainsFromInputAndNoOthers) {
    restore(
        "iptables-legacy",
        ":INPUT DROP [0:0]\n-N first\n-N second\n-N unused\n"
        "-A INPUT -j first\n-A first -p gre -g second\n-A first -j RETURN\n-A second\n"
        "-A second -s 10.0.0.2 -j ACCEPT\n-A unused -j ACCEPT\n-A OUTPUT -j unused"
    );
    const Ruleset rules = read();
    ASSERT_EQ(rules.chains.size(), 3U);
    EXPECT_EQ(rules.chains[0].name, "INPUT");
    EXPECT_EQ(rules.chains[0].rules[0].action, Action::jump);
    EXPECT_EQ(rules.chains[1].name, "first");
    EXPECT_EQ(rules.chains[1].rules[0].action, Action::go_to);
    EXPECT_EQ(rules.chains[1].rules[1].action, Action::return_);
    EXPECT_EQ(rules.chains[2].rules[0].action, Action::none);
    EXPECT_EQ(rules.chains[2].rules[1].handle, 2U);
    ASSERT_EQ(rules.input.size(), 1U);
    EXPECT_TRUE(rules.input[0].drops_by_policy);
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).accepted());
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.3")).dropped());
}

TEST_F(LegacyTest, ReadsEveryTableOfBothFamilies) {
    run("iptables-legacy -t nat -A INPUT -j ACCEPT; iptables-legacy -t security -A INPUT -p gre; "
        "iptables-legacy -A INPUT -p gre -j ACCEPT; iptables-legacy -t mangle -A INPUT -j DROP; "
        "ip6tables-legacy -P INPUT DROP");
    const Ruleset rules = read();
    std::vector<std::string> names;
    std::vector<bool> filters;
    for (const BaseChain& base : rules.input) {
        names.push_back(to_string(rules.chains[base.chain]));
        filters.push_back(base.is_filter);
    }
    EXPECT_THAT(
        names, ElementsAre("mangle INPUT", "filter INPUT", "ip6 filter INPUT", "security INPUT")
    );
    EXPECT_THAT(filters, ElementsAre(false, true, true, false));
    EXPECT_TRUE(rules.input[2].drops_by_policy);
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).dropped());
}

TEST_F(LegacyTest, HeadersHoldAsTheKernelHasThem) {
    EXPECT_TRUE(holds("-s 10.0.0.0/8", gre("10.9.9.9")));
    EXPECT_FALSE(holds("! -s 10.0.0.0/8", gre("10.9.9.9")));
    EXPECT_TRUE(holds("-s 10.0.0.7/255.0.0.255", gre("10.9.9.7")));
    EXPECT_FALSE(holds("-s 10.0.0.7/255.0.0.255", gre("10.9.9.8")));
    EXPECT_TRUE(holds("-d 10.0.0.1", gre("10.9.9.9")));
    EXPECT_TRUE(holds("-i br+", gre("10.9.9.9")));
    EXPECT_FALSE(holds("-i br", gre("10.9.9.9")));
    EXPECT_FALSE(holds("! -i br0", gre("10.9.9.9")));
    EXPECT_TRUE(holds("-p 47", gre("10.9.9.9")));
    EXPECT_FALSE(holds("! -p 47", gre("10.9.9.9")));
    EXPECT_FALSE(holds("-f", gre("10.9.9.9")));
    EXPECT_TRUE(holds("! -f", gre("10.9.9.9")));
    EXPECT_TRUE(holds("-s 2001:db8::/32", gre("2001:db8::7")));
    EXPECT_TRUE(holds("-p gre", gre("2001:db8::7")));
    EXPECT_FALSE(holds("! -p gre", gre("2001:db8::7")));
    EXPECT_FALSE(holds("! -d 2001:db8::1", gre("2001:db8::7")));
}

TEST_F(LegacyTest, MatchesHoldAsTheKernelHasThem) {
    const Header vxlan = udp("10.0.0.2", 5000, 4789);
    EXPECT_TRUE(holds("-p udp --dport 4000:4789", vxlan));
    EXPECT_FALSE(holds("-p udp ! --dport 4789", vxlan));
    EXPECT_FALSE(holds("-p udp --dport 4790:", vxlan));
    EXPECT_FALSE(holds("-p udp --dport 4789 --sport 5001", vxlan));
    EXPECT_TRUE(holds("-p udp -m multiport --dports 1,4780:4790", vxlan));
    EXPECT_FALSE(holds("-p udp -m multiport ! --ports 1,5000", vxlan));
    EXPECT_FALSE(holds("-p udp -m multiport --sports 1,4789", vxlan));
    EXPECT_FALSE(holds("-p udp -m multiport --ports 1", gre("10.0.0.2")));
    EXPECT_TRUE(holds("-m conntrack --ctstate NEW,RELATED", vxlan));
    EXPECT_FALSE(holds("-m conntrack ! --ctstate NEW", vxlan));
    EXPECT_FALSE(holds("-m state --state ESTABLISHED", vxlan));
    EXPECT_TRUE(holds("-m mark --mark 0", vxlan));
    EXPECT_FALSE(holds("-m mark ! --mark 0/0xf", vxlan));
    EXPECT_TRUE(holds("-m iprange --src-range 10.0.0.1-10.0.0.2", vxlan));
    EXPECT_FALSE(holds("-m iprange ! --dst-range 10.0.0.1-10.0.0.2", vxlan));
    EXPECT_TRUE(holds("-m addrtype --dst-type LOCAL", vxlan));
    EXPECT_FALSE(holds("-m addrtype ! --dst-type LOCAL", vxlan));
    EXPECT_TRUE(holds("-m limit --limit 1/hour", vxlan));
    EXPECT_TRUE(holds("-m hashlimit --hashlimit-upto 5/s --hashlimit-name upto", vxlan));
    EXPECT_FALSE(holds("-m hashlimit --hashlimit-above 5/s --hashlimit-name above", vxlan));
    EXPECT_FALSE(holds("-p icmp --icmp-type 8", vxlan));
    EXPECT_TRUE(holds("-m iprange --src-range ::1-2001:db8::7", gre("2001:db8::7")));
}

TEST_F(LegacyTest, SetsHoldTheirElements) {
    run("ipset create nets hash:net && ipset add nets 10.0.0.0/24 && "
        "ipset create six hash:ip family inet6 && ipset create ports bitmap:port range 1-5000 && "
        "ipset add ports 4789 && ipset create pairs hash:ip,port && ipset add pairs "
        "10.0.0.2,udp:4789");
    const Header vxlan = udp("10.0.0.2", 5000, 4789);
    EXPECT_TRUE(holds("-m set --match-set nets src", vxlan));
    EXPECT_FALSE(holds("-m set ! --match-set nets src", vxlan));
    EXPECT_FALSE(holds("-m set --match-set nets src", gre("10.0.1.2")));
    EXPECT_TRUE(holds("-m set --match-set ports dst", vxlan));
    EXPECT_FALSE(holds("-m set --match-set ports src", vxlan));
    EXPECT_FALSE(holds("-m set --match-set ports dst", gre("10.0.0.2")));
    EXPECT_TRUE(holds("-m set --match-set pairs src,dst", vxlan));
    EXPECT_FALSE(holds("-m set --match-set pairs dst,dst", vxlan));
    EXPECT_FALSE(holds("-m set --match-set pairs src", vxlan));
    run("ipset add nets 10.0.1.0/24");
    EXPECT_TRUE(holds("-m set --match-set nets src", gre("10.0.1.2")));
    EXPECT_THAT(texts(), ElementsAre("-m set --match-set nets src -j DROP"));
}

TEST_F(LegacyTest, WhatIsNotKnownIsUnknown) {
    run("iptables-legacy -A INPUT -p gre -m recent --name culvert --rcheck -j ACCEPT; "
        "iptables-legacy -A INPUT -p esp -m statistic --mode random --probability 0.5 -j NFQUEUE");
    const Ruleset rules = read();
    const auto* const match = std::get_if<UnknownMatch>(&rules.chains[0].rules[0].steps.at(1));
    ASSERT_NE(match, nullptr);
    EXPECT_EQ(match->what, "match recent");
    EXPECT_EQ(rules.chains[0].rules[1].action, Action::unknown);
    EXPECT_EQ(rules.chains[0].rules[1].unknown, "NFQUEUE");
}

TEST_F(LegacyTest, MarksAreSetAndRead) {
    run("iptables-legacy -t mangle -A INPUT -p gre -j MARK --set-mark 5; "
        "iptables-legacy -t mangle -A INPUT -p gre -j MARK --or-mark 2; "
        "iptables-legacy -A INPUT -m mark --mark 7 -j DROP; "
        "iptables-legacy -t mangle -A INPUT -p esp -j CONNMARK --restore-mark");
    const Ruleset rules = read();
    EXPECT_TRUE(evaluate(rules, gre("10.0.0.2")).dropped());
    EXPECT_TRUE(evaluate(rules, udp("10.0.0.2", 1, 2)).accepted());
    Header esp = gre("10.0.0.2");
    esp.protocol = kProtocolEsp;
    EXPECT_TRUE(evaluate(rules, esp).is_unknown());
}

TEST_F(LegacyTest, InsertsWhatIptablesWouldAndLeavesTheRest) {
    restore(
        "iptables-legacy",
        ":INPUT DROP [7:77]\n:other - [0:0]\n[3:33] -A INPUT -p tcp -j other\n"
        "[5:55] -A other -m limit --limit 1/min -j ACCEPT"
    );
    const std::string before = saved();
    Selector vxlan = opening(Family::ipv4, kProtocolUdp);
    vxlan.destination_port = 4789;
    vxlan.source = parse_prefix("10.2.0.0/16").value();
    ASSERT_TRUE(insert(vxlan));
    const Ruleset rules = read();
    const std::string rule =
        "-s 10.2.0.0/16 -p udp -m udp --dport 4789 -m comment --comment \"culvert gre\" -j ACCEPT";
    EXPECT_EQ(rules.chains[0].rules[0].text, rule);
    EXPECT_EQ(rules.chains[0].rules[0].comment, "culvert gre");
    const std::string after = saved();
    std::string expected = before;
    expected.insert(expected.find("[3:33]"), "[0:0] -A INPUT " + rule + '\n');
    EXPECT_EQ(after, expected);

    ASSERT_TRUE(backend->change(
        [](const Ruleset&) {
            Edit first;
            first.kind = Edit::Kind::erase;
            return Plan{first};
        },
        false
    ));
    EXPECT_EQ(saved(), before);
    ASSERT_TRUE(insert(vxlan));

    Edit edit;
    edit.selector = vxlan;
    edit.comment = "culvert gre";
    EXPECT_EQ(
        backend->command_of(rules, edit),
        "iptables-legacy -I INPUT -s 10.2.0.0/16 -p udp -m udp --dport 4789 -m comment --comment "
        "'culvert gre' -j ACCEPT"
    );
    edit.kind = Edit::Kind::erase;
    run(backend->command_of(rules, edit));
    EXPECT_EQ(without_policies(saved()), without_policies(before));
    edit.kind = Edit::Kind::insert;
    run(backend->command_of(rules, edit));
    EXPECT_EQ(without_policies(saved()), without_policies(after));
}

TEST_F(LegacyTest, EveryKindOfOpeningIsErasedByItsCommand) {
    run("iptables-legacy -P INPUT DROP; ip6tables-legacy -P INPUT DROP");
    const std::string before = saved();
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        for (const unsigned protocol : {6U, 17U, 33U, 47U, 132U}) {
            Selector selector = opening(family, static_cast<std::uint8_t>(protocol));
            if (protocol != kProtocolGre) {
                selector.source_port = 5;
                selector.destination_port = 4789;
            }
            selector.source =
                parse_prefix(family == Family::ipv4 ? "10.0.0.9" : "2001:db8::/48").value();
            const auto inserted = insert(selector);
            ASSERT_TRUE(inserted) << inserted.error().text << " for " << protocol;
            const Ruleset rules = read();
            Edit edit;
            edit.kind = Edit::Kind::erase;
            edit.chain = family == Family::ipv4 ? 0 : 1;
            EXPECT_THAT(backend->command_of(rules, edit), HasSubstr(" -D INPUT -s "));
            EXPECT_TRUE(culvert::test::succeeds(backend->command_of(rules, edit)))
                << backend->command_of(rules, edit);
            EXPECT_EQ(saved(), before);
        }
    }
}

TEST_F(LegacyTest, ErasesTheRulesThatAPlanNames) {
    restore(
        "iptables-legacy",
        "-A INPUT -p 1\n-A INPUT -p 2\n-A INPUT -p 3\n-A INPUT -p 4\n-A INPUT -p 5\n-A INPUT -p 6"
    );
    const auto erased = [](std::uint32_t rule) {
        Edit edit;
        edit.kind = Edit::Kind::erase;
        edit.rule = rule;
        return edit;
    };
    ASSERT_TRUE(backend->change(
        [&](const Ruleset&) {
            return Plan{erased(1), erased(5), erased(0), erased(3)};
        },
        false
    ));
    EXPECT_THAT(
        lines_of(output_of("iptables-legacy -S INPUT"), "-A INPUT "), ElementsAre("-p ggp", "-p st")
    );
    const auto outcome = backend->change([&](const Ruleset&) { return Plan{erased(2)}; }, false);
    ASSERT_FALSE(outcome);
    EXPECT_THAT(outcome.error().text, HasSubstr("rule 2"));
}

TEST_F(LegacyTest, WaitsForTheLock) {
    run("iptables-legacy -P INPUT DROP");
    culvert::test::Child holder([] {
        auto lock = XtablesLock::take();
        culvert::test::require(lock.has_value(), "the lock cannot be taken");
        static XtablesLock kept = *std::move(lock);
    });
    const auto refused = XtablesLock::take(std::chrono::milliseconds(20));
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error(), HasSubstr("process " + std::to_string(holder.pid()) + ","));

    auto outcome =
        std::async(std::launch::async, [&] { return insert(opening(Family::ipv4)).has_value(); });
    EXPECT_EQ(outcome.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
    holder.kill_and_reap();
    EXPECT_TRUE(outcome.get());
}

TEST_F(LegacyTest, PlansAgainWhenATableChangesMeanwhile) {
    run("iptables-legacy -P INPUT DROP; ip6tables-legacy -P INPUT DROP");
    std::vector<std::size_t> rules_of_ipv4;
    std::vector<std::size_t> rules_of_ipv6;
    const auto outcome = backend->change(
        [&](const Ruleset& rules) {
            rules_of_ipv4.push_back(rules.chains[0].rules.size());
            rules_of_ipv6.push_back(rules.chains[1].rules.size());
            if (rules_of_ipv6.size() < 3) {
                sneak_in(Family::ipv6, static_cast<std::uint16_t>(rules_of_ipv6.size()));
            }
            return plan_for(rules, {opening(Family::ipv4), opening(Family::ipv6)});
        },
        false
    );
    ASSERT_TRUE(outcome) << outcome.error().text;
    EXPECT_THAT(rules_of_ipv4, ElementsAre(0, 0, 0));
    EXPECT_THAT(rules_of_ipv6, ElementsAre(0, 1, 2));
    const Ruleset rules = read();
    EXPECT_EQ(rules.chains[0].rules.size(), 1U);
    EXPECT_EQ(rules.chains[1].rules.size(), 3U);
}

TEST_F(LegacyTest, GivesUpWhenATableNeverStandsStill) {
    run("iptables-legacy -P INPUT DROP");
    std::uint16_t calls = 0;
    const auto outcome = backend->change(
        [&](const Ruleset& rules) {
            sneak_in(Family::ipv4, ++calls);
            return plan_for(rules, {opening(Family::ipv4)});
        },
        false
    );
    ASSERT_FALSE(outcome);
    EXPECT_THAT(outcome.error().text, HasSubstr("without the lock"));
    EXPECT_EQ(calls, 16);
    EXPECT_EQ(texts().size(), 16U);
}

TEST_F(LegacyTest, MakesTheTableThatARuleGoesInto) {
    const auto absent = insert(opening(Family::ipv6));
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().kind, Trouble::Kind::absent);
    ASSERT_TRUE(insert(opening(Family::ipv6), true));
    EXPECT_EQ(output_of("cat /proc/net/ip_tables_names"), "");
    EXPECT_EQ(output_of("cat /proc/net/ip6_tables_names"), "filter\n");
    EXPECT_THAT(
        lines_of(output_of("ip6tables-legacy -S INPUT"), "-A INPUT "),
        ElementsAre("-p gre -m comment --comment \"culvert gre\" -j ACCEPT")
    );
}

TEST_F(LegacyTest, APlanThatFailsChangesNothing) {
    run("iptables-legacy -P INPUT DROP");
    const std::string before = saved();
    const auto refused = backend->change(
        [](const Ruleset&) -> tl::expected<Plan, std::string> {
            return tl::unexpected(std::string("no"));
        },
        false
    );
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().text, "no");
    Selector selector = opening(Family::ipv4);
    selector.destination_port = 5;
    const auto no_ports = insert(selector);
    ASSERT_FALSE(no_ports);
    EXPECT_THAT(no_ports.error().text, HasSubstr("gre have no ports"));
    EXPECT_EQ(saved(), before);
}

TEST_F(LegacyTest, TheGenerationFollowsRulesAndSetsAndNotCounters) {
    run("ipset create nets hash:net; iptables-legacy -A INPUT -m set --match-set nets src; "
        "ip6tables-legacy -P INPUT ACCEPT");
    read();
    const std::uint64_t first = generation();
    run("ping -q -c 1 -W 20 127.0.0.1 >/dev/null");
    EXPECT_THAT(saved("iptables-legacy"), Not(HasSubstr("INPUT ACCEPT [0:0]")));
    EXPECT_EQ(generation(), first);
    run("ipset add nets 10.0.0.0/8");
    const std::uint64_t second = generation();
    EXPECT_NE(second, first);
    read();
    const std::uint64_t third = generation();
    run("ip6tables-legacy -P INPUT DROP");
    const std::uint64_t fourth = generation();
    EXPECT_NE(fourth, third);
    run("iptables-legacy -I INPUT -p gre -j ACCEPT");
    const std::uint64_t fifth = generation();
    EXPECT_NE(fifth, fourth);
    run("iptables-legacy -D INPUT 1");
    EXPECT_EQ(generation(), fourth);
}

TEST_F(LegacyTest, ReadsAThousandRules) {
    std::string rules = "-P INPUT DROP\n";
    for (unsigned i = 1; i <= 1000; ++i) {
        rules += "-A INPUT -s 10.0." + std::to_string(i / 250) + '.' + std::to_string(i % 250) +
                 " -p udp -m udp --dport 4789 -m comment --comment n" + std::to_string(i) +
                 " -j ACCEPT\n";
    }
    restore("iptables-legacy", rules);
    EXPECT_EQ(texts().size(), 1000U);
    EXPECT_EQ(generation(), generation());
    ASSERT_TRUE(insert(opening(Family::ipv4)));
    EXPECT_EQ(texts().size(), 1001U);
}

}  // namespace
}  // namespace culvert::firewall
