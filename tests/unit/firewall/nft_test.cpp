// SPDX-License-Identifier: GPL-2.0-or-later
//
// The backend of nftables against the kernel, nft, iptables-nft and ipset of this machine, in a
// network namespace of each test's own. Needs root.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firewall/backend.hpp"
#include "firewall/claim.hpp"
#include "firewall/evaluate.hpp"
#include "firewall/nft_context.hpp"
#include "tests/unit/firewall/output_of.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::firewall {
namespace {

using culvert::test::run;
using test::output_of;

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t to = std::min(text.find('\n', from), text.size());
        lines.push_back(text.substr(from, to - from));
        from = to + 1;
    }
    return lines;
}

// The lines of `text` without those that `marker` is in.
std::string without(const std::string& text, const std::string& marker) {
    std::string rest;
    for (const std::string& line : lines_of(text)) {
        rest += line.find(marker) == std::string::npos ? line + "\n" : "";
    }
    return rest;
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

Selector gre(const std::string& source = "") {
    Selector selector;
    if (!source.empty()) {
        selector.source = parse_prefix(source).value();
        selector.family = selector.source->address.family;
    }
    return selector;
}

Selector vxlan() {
    Selector selector;
    selector.protocol = kProtocolUdp;
    selector.destination_port = 4789;
    return selector;
}

Edit insert(const Selector& selector, const std::string& comment = "culvert gre") {
    Edit edit;
    edit.selector = selector;
    edit.comment = comment;
    return edit;
}

Header packet(const std::string& source, std::uint8_t protocol, std::uint16_t port = 0) {
    Header header;
    header.source = parse_address(source).value();
    header.destination = {header.source.family, 1};
    header.protocol = protocol;
    header.destination_port = port;
    header.interface_in = value_of_interface("eth0");
    return header;
}

class NftTest : public ::testing::Test {
protected:
    [[nodiscard]] Ruleset read() const {
        auto rules = backend->read();
        if (!rules) {
            throw std::runtime_error(rules.error().text);
        }
        return std::move(*rules);
    }

    [[nodiscard]] std::string verdict(const Header& header) const {
        const Judgement judgement = evaluate(read(), header);
        return judgement.accepted() ? "accept" : judgement.dropped() ? "drop" : "unknown";
    }

    // Inserts into the first base chain that covers the selector's family.
    void change(const std::vector<Edit>& edits) const {
        const auto changed = backend->change(
            [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
                Plan plan = edits;
                for (Edit& edit : plan) {
                    edit.chain = chain_for(rules, edit.selector.family);
                }
                return plan;
            },
            false
        );
        ASSERT_TRUE(changed) << changed.error().text;
    }

    static std::uint32_t chain_for(const Ruleset& rules, Family family) {
        for (const BaseChain& base : rules.input) {
            if (covers(rules.chains[base.chain].families, family)) {
                return base.chain;
            }
        }
        return 0;
    }

    static void nft(const std::string& script) { run("printf '%b' '" + script + "' | nft -f -"); }

    static void make_filter() {
        nft("table inet filter {\\n chain input {\\n type filter hook input priority 0; policy "
            "drop;\\n ct state established,related counter accept\\n tcp dport 22 accept comment "
            "\"ssh\"\\n }\\n}\\n");
    }

    culvert::test::PrivateNetwork here;
    std::unique_ptr<Backend> backend = make_nft_backend();
};

TEST_F(NftTest, IsAbsentWhereNothingWasEverPut) {
    const auto rules = backend->read();
    ASSERT_FALSE(rules);
    EXPECT_EQ(rules.error().kind, Trouble::Kind::absent);
    EXPECT_TRUE(backend->generation());
    unsigned asked = 0;
    const auto changed = backend->change(
        [&](const Ruleset& seen) -> tl::expected<Plan, std::string> {
            asked += seen.input.empty() ? 1U : 100U;
            return Plan{};
        },
        true
    );
    EXPECT_TRUE(changed);
    EXPECT_EQ(asked, 1U);
    EXPECT_EQ(output_of("nft list ruleset"), "");
}

TEST_F(NftTest, HasNoChainsWhereNothingFiltersInput) {
    nft("table inet t {\\n}\\n");
    EXPECT_TRUE(read().input.empty());
}

TEST_F(NftTest, JudgesByRulesOfNft) {
    nft("table inet t {\\n set peers { type ipv4_addr . inet_service; flags interval; elements = {"
        " 10.0.0.0/24 . 4789-4790 } }\\n chain tunnels {\\n meta l4proto gre ip saddr != 10.9.9.9"
        " accept\\n return\\n }\\n chain input {\\n type filter hook input priority 0; policy drop;"
        "\\n ip saddr . udp dport @peers accept\\n ip6 saddr { fd00::/64, fe80::1 } accept\\n"
        " ip saddr vmap { 10.1.0.1 : jump tunnels, 10.9.9.9 : jump tunnels }\\n iifname \"wan*\""
        " accept\\n }\\n}\\n");
    EXPECT_EQ(verdict(packet("10.0.0.7", 17, 4790)), "accept");
    EXPECT_EQ(verdict(packet("10.0.1.7", 17, 4790)), "drop");
    EXPECT_EQ(verdict(packet("fd00::77", 47)), "accept");
    EXPECT_EQ(verdict(packet("fd01::77", 47)), "drop");
    EXPECT_EQ(verdict(packet("10.1.0.1", 47)), "accept");
    EXPECT_EQ(verdict(packet("10.9.9.9", 47)), "drop");
    Header on_wan = packet("10.5.5.5", 47);
    on_wan.interface_in = value_of_interface("wan0");
    EXPECT_EQ(verdict(on_wan), "accept");
}

// nft 1.0.6 lists the first rule as "udp dport != 35209-35210".
TEST_F(NftTest, DoesNotTakeTwoComparisonsForTheRangeThatTheyAreListedAs) {
    nft("table inet t {\\n chain input {\\n type filter hook input priority 0; policy drop;\\n"
        " udp sport < 35209 udp dport > 35210 accept\\n udp dport 100-200 accept\\n }\\n}\\n");
    EXPECT_EQ(verdict(packet("10.0.0.1", 17, 1)), "unknown");
    EXPECT_EQ(verdict(packet("10.0.0.1", 17, 150)), "accept");
    EXPECT_EQ(verdict(packet("10.0.0.1", 47)), "drop");
}

TEST_F(NftTest, JudgesByRulesOfIptablesNft) {
    run("ipset create peers hash:ip && ipset add peers 10.0.0.1");
    run("iptables-nft -P INPUT DROP && iptables-nft -N USER && iptables-nft -A INPUT -j USER &&"
        " iptables-nft -A USER -p udp -m multiport --dports 53,4789:4791 -m comment --comment"
        " 'some ports' -j ACCEPT && iptables-nft -A USER -p gre -m set --match-set peers src"
        " -j ACCEPT && iptables-nft -A USER -p esp -m recent --name x --rcheck -j ACCEPT &&"
        " iptables-nft -A USER ! -s 10.0.0.0/8 -i eth+ -p udp --sport 5 --dport 6 -m mark --mark "
        "1/15"
        " -j DROP");
    EXPECT_EQ(verdict(packet("10.0.0.2", 17, 4790)), "accept");
    EXPECT_EQ(verdict(packet("10.0.0.2", 17, 54)), "drop");
    EXPECT_EQ(verdict(packet("10.0.0.1", 47)), "accept");
    EXPECT_EQ(verdict(packet("10.0.0.2", 47)), "drop");
    EXPECT_EQ(verdict(packet("10.0.0.2", 50)), "unknown");
    const Ruleset rules = read();
    ASSERT_EQ(rules.chains.size(), 2U);
    EXPECT_EQ(rules.chains[0].tool, Tool::iptables_nft);
    EXPECT_EQ(rules.chains[1].rules.at(0).comment, "some ports");
    std::string texts;
    for (const Chain& chain : rules.chains) {
        for (const Rule& rule : chain.rules) {
            texts += rule.text + "\n";
        }
    }
    EXPECT_EQ(
        texts,
        "-j USER\n"
        "-p udp -m multiport --dports 53,4789:4791 -m comment --comment \"some ports\" -j ACCEPT\n"
        "-p gre -m set --match-set peers src -j ACCEPT\n"
        "-p esp -m recent ... -j ACCEPT\n"
        "-i eth+ ! -s 10.0.0.0/8 -p udp -m udp --sport 5 --dport 6 -m mark --mark 0x1/0xf"
        " -j DROP\n"
    );
}

TEST_F(NftTest, LeavesDormantTablesAndOtherFamiliesOut) {
    make_filter();
    nft("table ip off {\\n flags dormant\\n chain input {\\n type filter hook input priority 0;"
        " policy drop;\\n }\\n}\\ntable bridge b {\\n chain input {\\n type filter hook input"
        " priority 0; policy drop;\\n }\\n}\\n");
    const Ruleset rules = read();
    ASSERT_EQ(rules.input.size(), 1U);
    EXPECT_EQ(rules.chains[0].table, "filter");
}

TEST_F(NftTest, ReadsATableThatAProgramOwns) {
    const auto owner = InterfaceClaims::open("nft_test");
    ASSERT_TRUE(owner) << owner.error();
    ASSERT_TRUE((*owner)->claim("lo"));
    const auto context = NftContext::open();
    ASSERT_TRUE(context);
    ASSERT_TRUE(context->run(
        "table inet owned {\n flags owner\n set s { type ipv4_addr\n elements = { 10.0.0.1 }\n }\n"
        " map m { type ipv4_addr : verdict\n elements = { 10.0.0.2 : jump other }\n }\n"
        " chain other {\n accept\n }\n chain input {\n type filter hook input priority 0; policy"
        " drop;\n ip saddr @s accept\n ip saddr vmap @m\n }\n}\n"
    ));
    make_filter();
    nft("add rule inet filter input accept\\n");
    for (unsigned i = 0; i < 10; ++i) {
        EXPECT_EQ(verdict(packet("10.0.0.1", 47)), "accept");
        EXPECT_EQ(verdict(packet("10.0.0.2", 47)), "accept");
        EXPECT_EQ(verdict(packet("10.0.0.3", 47)), "drop");
    }
}

TEST_F(NftTest, ReadsWhatPeopleSee) {
    make_filter();
    const Ruleset rules = read();
    ASSERT_EQ(rules.chains.at(0).rules.size(), 2U);
    EXPECT_EQ(rules.chains[0].rules[0].text, "ct state established,related counter accept");
    EXPECT_EQ(rules.chains[0].rules[1].comment, "ssh");
    EXPECT_GT(rules.chains[0].rules[1].handle, 0U);
    EXPECT_TRUE(rules.input[0].drops_by_policy);
    EXPECT_TRUE(rules.input[0].is_filter);
}

TEST_F(NftTest, InsertsAtTheHeadAndLeavesTheRestAsItIs) {
    make_filter();
    const std::string before = output_of("nft -a list ruleset");
    change({insert(gre())});
    const std::string after = output_of("nft -a list ruleset");
    EXPECT_EQ(without(after, "culvert gre"), before);
    EXPECT_EQ(
        lines_of(output_of("nft list chain inet filter input")).at(3),
        "\t\tmeta nfproto ipv4 meta l4proto gre counter packets 0 bytes 0 accept comment \"culvert"
        " gre\""
    );
    EXPECT_EQ(verdict(packet("10.0.0.1", 47)), "accept");
    EXPECT_EQ(verdict(packet("fd00::1", 47)), "drop");
    EXPECT_TRUE(is_opening(read().chains[0].rules[0], gre()));
}

TEST_F(NftTest, WritesEachKindOfSelector) {
    make_filter();
    Selector ports = vxlan();
    ports.source_port = 1000;
    const std::vector<Selector> selectors{
        gre("10.0.0.1"), gre("10.0.0.0/9"), gre("fd00::/7"), gre("fd00::1"), vxlan(), ports};
    for (const Selector& selector : selectors) {
        change({insert(selector)});
        const Rule rule = read().chains[0].rules[0];
        EXPECT_EQ(selector_of(rule, selector.family), selector) << rule.text;
        EXPECT_EQ(rule.comment, "culvert gre");
    }
}

TEST_F(NftTest, ErasesByHandleWithOthersInOneTransaction) {
    make_filter();
    const std::string before = output_of("nft -a list ruleset");
    change({insert(gre()), insert(vxlan(), "culvert vxlan")});
    ASSERT_EQ(read().chains[0].rules.size(), 4U);
    Edit erase;
    erase.kind = Edit::Kind::erase;
    Edit other = erase;
    other.rule = 1;
    change({erase, other});
    EXPECT_EQ(output_of("nft -a list ruleset"), before);
}

TEST_F(NftTest, WritesAllOrNothing) {
    make_filter();
    const std::string before = output_of("nft -a list ruleset");
    const auto changed = backend->change(
        [&](const Ruleset&) -> tl::expected<Plan, std::string> {
            Edit far;
            far.kind = Edit::Kind::erase;
            far.rule = 17;
            return Plan{insert(gre()), far};
        },
        false
    );
    ASSERT_FALSE(changed);
    EXPECT_NE(changed.error().text.find("rule 17"), std::string::npos) << changed.error().text;
    const auto refused = backend->change(
        [&](const Ruleset&) -> tl::expected<Plan, std::string> {
            return Plan{insert(gre()), insert(gre(), std::string(200, 'x'))};
        },
        false
    );
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text.find("127"), std::string::npos) << refused.error().text;
    EXPECT_EQ(output_of("nft -a list ruleset"), before);
}

TEST_F(NftTest, WritesWhatIptablesNftReadsAsItsOwn) {
    run("iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT && ip6tables-nft -A INPUT -j DROP");
    const std::string before = output_of("iptables-nft-save -c | grep -v '^#'");
    change(
        {insert(gre()),
         insert(vxlan(), "culvert vxlan"),
         insert(gre("10.0.0.0/9")),
         insert(gre("fd00::/8"))}
    );
    const std::string rules = output_of("iptables-nft -S INPUT");
    EXPECT_NE(
        rules.find("-A INPUT -p gre -m comment --comment \"culvert gre\" -j ACCEPT\n"),
        std::string::npos
    ) << rules;
    EXPECT_NE(
        output_of("ip6tables-nft -S INPUT").find("-A INPUT -s fd00::/8 -p gre"), std::string::npos
    );
    for (const char* rule :
         {"-p gre -m comment --comment 'culvert gre'",
          "-p udp -m udp --dport 4789 -m comment --comment 'culvert vxlan'",
          "-s 10.0.0.0/9 -p gre -m comment --comment 'culvert gre'"}) {
        run("iptables-nft -C INPUT " + std::string(rule) + " -j ACCEPT");
        run("iptables-nft -D INPUT " + std::string(rule) + " -j ACCEPT");
    }
    EXPECT_EQ(output_of("iptables-nft-save -c | grep -v '^#'"), before);
}

TEST_F(NftTest, PlansAgainWhenOthersWereQuicker) {
    make_filter();
    unsigned plans = 0;
    const auto changed = backend->change(
        [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
            if (++plans == 1) {
                run("nft insert rule inet filter input udp dport 53 accept");
            }
            EXPECT_EQ(rules.chains.at(0).rules.size(), plans == 1 ? 2U : 3U);
            return Plan{insert(gre())};
        },
        false
    );
    ASSERT_TRUE(changed) << changed.error().text;
    EXPECT_EQ(plans, 2U);
    EXPECT_EQ(read().chains[0].rules.size(), 4U);
}

TEST_F(NftTest, LosesNoRuleAmongConcurrentWriters) {
    run("iptables-nft -P INPUT ACCEPT");
    constexpr unsigned kWriters = 3;
    constexpr unsigned kRules = 8;
    std::atomic<unsigned> failures{0};
    std::vector<std::thread> writers;
    for (unsigned writer = 0; writer < kWriters; ++writer) {
        writers.emplace_back([&failures, writer] {
            const auto own = make_nft_backend();
            for (unsigned i = 0; i < kRules; ++i) {
                const auto changed = own->change(
                    [&](const Ruleset&) -> tl::expected<Plan, std::string> {
                        return Plan{insert(vxlan(), "ours " + std::to_string(writer))};
                    },
                    false
                );
                failures += changed ? 0U : 1U;
            }
        });
    }
    for (unsigned i = 0; i < 2 * kRules; ++i) {
        run("iptables-nft -A INPUT -p tcp --dport " + std::to_string(1000 + i) + " -j ACCEPT");
    }
    for (std::thread& writer : writers) {
        writer.join();
    }
    const std::string rules = output_of("iptables-nft -S INPUT");
    EXPECT_EQ(failures, 0U);
    EXPECT_EQ(count(rules, "ours "), kWriters * kRules);
    EXPECT_EQ(count(rules, "-p tcp"), 2 * kRules);
}

TEST_F(NftTest, TellsWhenAnythingChanges) {
    run("ipset create peers hash:ip");
    run("iptables-nft -A INPUT -m set --match-set peers src -j DROP");
    static_cast<void>(read());
    const auto before = backend->generation().value();
    EXPECT_EQ(backend->generation().value(), before);
    run("ipset add peers 10.0.0.1");
    const auto with_element = backend->generation().value();
    EXPECT_NE(with_element, before);
    run("nft add table inet t");
    EXPECT_NE(backend->generation().value(), with_element);
}

TEST_F(NftTest, TellsWhenAnElementHasTimedOut) {
    run("nft 'add table inet t; add set inet t s { type ipv4_addr; flags timeout; };"
        " add element inet t s { 10.0.0.1 timeout 1s };"
        " add chain inet t in { type filter hook input priority 0; };"
        " add rule inet t in ip saddr @s drop'");
    static_cast<void>(read());
    const auto before = backend->generation().value();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (backend->generation().value() == before && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    EXPECT_NE(backend->generation().value(), before);
    EXPECT_EQ(verdict(packet("10.0.0.1", 47)), "accept");
}

TEST_F(NftTest, SaysTheCommandThatDoesTheSame) {
    make_filter();
    run("iptables-nft -P INPUT ACCEPT");
    for (const Selector& selector : {gre(), gre("10.0.0.0/9"), vxlan()}) {
        for (const bool is_iptables : {false, true}) {
            const Ruleset rules = read();
            Edit edit = insert(selector, "culvert it's");
            while (rules.chains[edit.chain].tool !=
                   (is_iptables ? Tool::iptables_nft : Tool::nftables)) {
                ++edit.chain;
            }
            const auto plan = [&](const Ruleset&) -> tl::expected<Plan, std::string> {
                return Plan{edit};
            };
            ASSERT_TRUE(backend->change(plan, false));
            const std::string changed = output_of("iptables-nft -S; nft list table inet filter");
            Edit erase = edit;
            erase.kind = Edit::Kind::erase;
            run(backend->command_of(read(), erase));
            run(backend->command_of(rules, edit));
            EXPECT_EQ(output_of("iptables-nft -S; nft list table inet filter"), changed);
        }
    }
    const Ruleset rules = read();
    Edit edit = insert(gre());
    while (rules.chains[edit.chain].tool != Tool::nftables) {
        ++edit.chain;
    }
    EXPECT_EQ(
        backend->command_of(rules, edit),
        "nft insert rule inet filter input meta nfproto ipv4 meta l4proto 47 counter accept comment"
        " '\"culvert gre\"'"
    );
}

}  // namespace
}  // namespace culvert::firewall
