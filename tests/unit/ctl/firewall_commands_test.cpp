// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands about the host's firewall, on tables in memory: what they say, what they change, and
// with which status they end.
#include "ctl/firewall_commands.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/firewall/fake_backend.hpp"

namespace culvert::ctl {
namespace {

using namespace firewall::test;  // NOLINT(google-build-using-namespace)

using firewall::Action;
using firewall::Family;
using firewall::Field;
using firewall::kProtocolGre;
using firewall::kProtocolUdp;
using firewall::Rule;
using firewall::Tool;
using firewall::Trouble;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const Trouble kAbsent = {Trouble::Kind::absent, "the kernel has no ip_tables"};
const Trouble kFailed = {Trouble::Kind::failed, "cannot read it: Operation not permitted"};

Rule operators(std::vector<firewall::Step> steps, Action action, const std::string& text) {
    Rule made = rule(std::move(steps), action);
    made.text = text;
    return made;
}
Rule gre_rule(Action action) {
    return operators({is(Field::protocol, kProtocolGre)}, action, "-p gre");
}
Rule udp_to(std::uint16_t port, Action action = Action::accept) {
    return operators(
        {is(Field::protocol, kProtocolUdp), is(Field::destination_port, port)},
        action,
        "-p udp --dport " + std::to_string(port)
    );
}

struct Host {
    FakeTables legacy = legacy_tables();
    FakeTables nft = nft_tables();

    LocalAnswer run(const std::string& method, const LocalCall& call = {}) {
        return run_local_command(method, call, [this](firewall::BackendChoice choice) {
            std::vector<FakeTables*> tables;
            if (choice != firewall::BackendChoice::nft) {
                tables.push_back(&legacy);
            }
            if (choice != firewall::BackendChoice::legacy) {
                tables.push_back(&nft);
            }
            return std::make_unique<firewall::HostFirewall>(backends_of(tables));
        });
    }
    LocalAnswer enable(const LocalCall& call = {}) { return run("enable-protocol", call); }

    /// The comments in INPUT of a family, from the first rule on.
    [[nodiscard]] Words comments(Family family = Family::ipv4) const {
        Words all;
        for (const Rule& one : legacy.rules.chains[family == Family::ipv4 ? 0 : 1].rules) {
            all.push_back(one.comment);
        }
        return all;
    }
};

// ---- enable-protocol ----------------------------------------------------------------------------

TEST(EnableProtocol, inserts_at_the_head_of_input_in_both_families) {
    Host host;
    host.legacy = legacy_tables({udp_to(694)}, {udp_to(694)});
    const LocalAnswer answer = host.enable();
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.text, "Enabling gre with iptables\n");
    EXPECT_THAT(answer.complaints, IsEmpty());
    EXPECT_THAT(host.comments(), ElementsAre("culvert gre", ""));
    EXPECT_THAT(host.comments(Family::ipv6), ElementsAre("culvert gre", ""));
    EXPECT_EQ(host.legacy.changes, 1U);
}

TEST(EnableProtocol, a_second_time_nothing_changes) {
    Host host;
    static_cast<void>(host.enable({{"vxlan"}}));
    const LocalAnswer answer = host.enable({{"vxlan"}});
    EXPECT_EQ(answer.status, 0);
    EXPECT_THAT(
        answer.text,
        StartsWith("iptables already has a rule for udp to port 4789, not explicitly enabling: "
                   "iptables-legacy filter INPUT rule 1: ")
    );
    EXPECT_EQ(host.legacy.changes, 1U);
}

TEST(EnableProtocol, a_rule_that_drops_is_respected_and_said_to_drop) {
    Host host;
    host.legacy = legacy_tables({gre_rule(Action::drop)}, {gre_rule(Action::drop)});
    const LocalAnswer answer = host.enable();
    EXPECT_EQ(answer.status, 0);
    EXPECT_THAT(
        answer.text,
        StartsWith("iptables already has a rule for gre, which drops it, not explicitly enabling")
    );
    EXPECT_EQ(host.legacy.changes, 0U);
}

TEST(EnableProtocol, what_differs_between_families_names_the_family) {
    Host host;
    host.legacy = legacy_tables({gre_rule(Action::accept)}, {udp_to(47890)});
    const LocalAnswer answer = host.enable();
    EXPECT_THAT(answer.text, HasSubstr("iptables already has a rule for gre"));
    EXPECT_THAT(answer.text, HasSubstr("Enabling gre with iptables (IPv6)\n"));
    EXPECT_THAT(host.comments(Family::ipv6), ElementsAre("culvert gre", ""));
}

TEST(EnableProtocol, each_type_and_source_has_its_rule_and_its_comment) {
    Host host;
    const LocalAnswer answer =
        host.enable({{"esp"}, {{"--source", {"10.0.0.1", "10.0.0.2"}}, {"--comment", {"rack 7"}}}});
    EXPECT_EQ(answer.status, 0);
    EXPECT_THAT(answer.text, HasSubstr("Enabling udp to port 500 from 10.0.0.2 with iptables\n"));
    EXPECT_THAT(
        host.comments(),
        ElementsAre(
            "culvert esp-udp: rack 7",
            "culvert esp-udp: rack 7",
            "culvert ike: rack 7",
            "culvert ike: rack 7",
            "culvert esp: rack 7",
            "culvert esp: rack 7"
        )
    );
    EXPECT_THAT(host.comments(Family::ipv6), IsEmpty());
}

TEST(EnableProtocol, a_rule_for_some_senders_is_none_for_all) {
    Host host;
    static_cast<void>(host.enable({{}, {{"--source", {"10.0.0.1"}}}}));
    static_cast<void>(host.enable());
    EXPECT_THAT(host.comments(), ElementsAre("culvert gre", "culvert gre"));
}

TEST(EnableProtocol, every_firewall_that_holds_rules_is_opened) {
    Host host;
    host.legacy = legacy_tables({udp_to(694)}, {udp_to(694)});
    host.nft = nft_tables({}, true);
    const LocalAnswer answer = host.enable();
    EXPECT_EQ(answer.text, "Enabling gre with iptables\nEnabling gre with nftables\n");
    EXPECT_EQ(host.nft.rules.chains[0].rules.size(), 2U);
    EXPECT_THAT(answer.complaints, IsEmpty());
}

TEST(EnableProtocol, a_chosen_backend_is_the_only_one_touched) {
    Host host;
    host.legacy = legacy_tables({udp_to(694)}, {udp_to(694)});
    host.nft = nft_tables({}, true);
    const LocalAnswer answer = host.enable({{}, {{"--backend", {"iptables-legacy"}}}});
    EXPECT_EQ(answer.text, "Enabling gre with iptables\n");
    EXPECT_EQ(host.nft.changes, 0U);
}

TEST(EnableProtocol, a_rule_that_does_not_help_is_said_to) {
    Host host;
    firewall::Chain mangle = chain({operators({}, Action::drop, "-j DROP")});
    mangle.table = "mangle";
    host.legacy.rules.add(ruleset({mangle}));
    host.legacy.rules.input.back().is_filter = false;
    const LocalAnswer answer = host.enable({{}, {{"--source", {"10.0.0.1"}}}});
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.text, "Enabling gre from 10.0.0.1 with iptables\n");
    EXPECT_THAT(
        answer.complaints,
        ElementsAre(
            "the rule does not help, INPUT drops gre from 10.0.0.1 (IPv4): iptables-legacy mangle "
            "INPUT rule 1: -j DROP"
        )
    );
}

TEST(EnableProtocol, without_a_firewall_it_says_so_and_is_content) {
    Host host;
    host.legacy.trouble = kAbsent;
    host.nft.trouble = kAbsent;
    const LocalAnswer answer = host.enable();
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.text, "the host has no firewall, not adding a rule for gre\n");
}

TEST(EnableProtocol, rules_that_cannot_be_listed_are_said_and_left) {
    Host host;
    host.legacy.trouble = kFailed;
    host.nft.trouble = kAbsent;
    const LocalAnswer answer = host.enable({{"vxlan"}});
    EXPECT_EQ(answer.status, 0);
    EXPECT_THAT(
        answer.text, "cannot list the firewall's rules, not adding a rule for udp to port 4789\n"
    );
    EXPECT_THAT(answer.complaints, ElementsAre(kFailed.text));
}

TEST(EnableProtocol, a_failure_to_insert_is_one) {
    Host host;
    host.legacy.change_trouble = kFailed;
    const LocalAnswer answer = host.enable();
    EXPECT_EQ(answer.status, 1);
    EXPECT_EQ(answer.text, "");
    EXPECT_THAT(
        answer.complaints, ElementsAre("enabling gre with iptables failed: " + kFailed.text)
    );
}

TEST(EnableProtocol, a_dry_run_prints_commands_and_changes_nothing) {
    Host host;
    host.legacy = legacy_tables({gre_rule(Action::accept)}, {udp_to(694)});
    const LocalAnswer answer = host.enable({{}, {{"--dry-run", {}}}});
    EXPECT_EQ(answer.status, 0);
    EXPECT_THAT(answer.text, StartsWith("# iptables already has a rule for gre, not explicitly"));
    EXPECT_THAT(answer.text, HasSubstr("\nip6tables -I INPUT gre # culvert gre\n"));
    EXPECT_EQ(host.legacy.changes, 0U);
    EXPECT_FALSE(host.legacy.created);
}

TEST(EnableProtocol, a_dry_run_counts_on_the_chains_that_would_be_made) {
    Host host;
    host.legacy.trouble = kAbsent;
    host.nft.trouble = kAbsent;
    EXPECT_EQ(
        host.enable({{}, {{"--dry-run", {}}}}).text,
        "iptables -I INPUT gre # culvert gre\nip6tables -I INPUT gre # culvert gre\n"
    );
}

// ---- enable-protocol --compat=ovs-ctl -----------------------------------------------------------

LocalCall compat(const std::string& protocol, const std::string& dport = "") {
    LocalCall call = {{}, {{"--compat", {"ovs-ctl"}}, {"--protocol", {protocol}}}};
    if (!dport.empty()) {
        call.options["--dport"] = {dport};
    }
    return call;
}

TEST(EnableLikeOvsCtl, inserts_for_ipv4_and_without_a_comment) {
    Host host;
    const LocalAnswer answer = host.enable({{}, {{"--compat", {"ovs-ctl"}}}});
    EXPECT_EQ(answer.text, "Enabling gre with iptables\n");
    EXPECT_THAT(host.comments(), ElementsAre(""));
    EXPECT_THAT(host.comments(Family::ipv6), IsEmpty());
}

TEST(EnableLikeOvsCtl, has_the_faults_of_the_original) {
    Host host;
    host.legacy = legacy_tables({udp_to(47890), gre_rule(Action::drop)});
    for (const auto& call : {compat("udp", "4789"), compat("gre")}) {
        const LocalAnswer answer = host.enable(call);
        EXPECT_EQ(answer.status, 0);
        EXPECT_THAT(answer.text, StartsWith("iptables already has a rule for "));
    }
    EXPECT_EQ(host.legacy.changes, 0U);
    const LocalAnswer numeric = host.enable(compat("47"));
    EXPECT_EQ(numeric.status, 1);
    EXPECT_THAT(numeric.complaints, ElementsAre("unknown protocol 47"));
    EXPECT_EQ(host.enable(compat("GRE")).status, 1);  // An alias.
    EXPECT_EQ(host.enable(compat("esp", "5")).status, 2);
    EXPECT_EQ(host.enable(compat("udp", "478901")).status, 2);
}

TEST(EnableLikeOvsCtl, sees_input_only_and_no_ranges) {
    Host host;
    Rule range = udp_to(4789);
    range.steps[1] = in(Field::destination_port, {{4000, 5000}});
    Rule multiport = udp_to(4789);
    multiport.text = "-p udp -m multiport --dports 4789 -j ACCEPT";
    host.legacy.rules = ruleset({chain({jump(1), range, multiport}), chain({udp_to(4789)})});
    EXPECT_EQ(host.enable(compat("udp", "4789")).text, "Enabling udp to port 4789 with iptables\n");
    EXPECT_EQ(host.legacy.rules.chains[0].rules.size(), 4U);
}

TEST(EnableLikeOvsCtl, takes_nothing_that_ovs_ctl_has_not) {
    Host host;
    LocalCall call = compat("gre");
    call.options["--source"] = {"10.0.0.1"};
    EXPECT_EQ(host.enable(call).status, 2);
    EXPECT_EQ(host.legacy.changes, 0U);
}

// ---- disable-protocol ---------------------------------------------------------------------------

TEST(DisableProtocol, removes_what_culvert_inserted_and_nothing_else) {
    Host host;
    Rule like_ours = gre_rule(Action::accept);
    like_ours.steps.emplace_back(from("10.0.0.9"));
    Rule other_shape = udp_to(1);
    other_shape.comment = "culvert gre";
    host.legacy = legacy_tables({like_ours, other_shape}, {});
    static_cast<void>(host.enable());
    static_cast<void>(host.enable({{"vxlan"}}));
    const LocalAnswer answer = host.run("disable-protocol");
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(answer.text, "Removed 2 rules for gre\n");
    EXPECT_THAT(host.comments(), ElementsAre("culvert vxlan", "", "culvert gre"));
    EXPECT_THAT(host.comments(Family::ipv6), ElementsAre("culvert vxlan"));
}

TEST(DisableProtocol, with_a_source_removes_the_rules_of_that_source) {
    Host host;
    static_cast<void>(host.enable({{}, {{"--source", {"10.0.0.1", "10.0.0.2"}}}}));
    EXPECT_EQ(
        host.run("disable-protocol", {{}, {{"--source", {"10.0.0.2"}}}}).text,
        "Removed 1 rule for gre\n"
    );
    EXPECT_THAT(host.comments(), ElementsAre("culvert gre"));
    EXPECT_EQ(host.run("disable-protocol").text, "Removed 1 rule for gre\n");
}

TEST(DisableProtocol, nothing_to_remove_is_no_error) {
    Host host;
    const LocalAnswer answer = host.run("disable-protocol", {{"vxlan", "geneve"}});
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(
        answer.text,
        "Culvert has no rule for udp to port 4789 and udp to port 6081, nothing to remove\n"
    );
    EXPECT_FALSE(host.legacy.created);
}

TEST(DisableProtocol, says_that_automatic_rules_come_back) {
    Host host;
    Rule automatic = gre_rule(Action::accept);
    automatic.comment = "culvert auto gre";
    host.legacy = legacy_tables({automatic});
    const LocalAnswer answer = host.run("disable-protocol");
    EXPECT_EQ(answer.text, "Removed 1 rule for gre\n");
    EXPECT_THAT(answer.complaints, ElementsAre(HasSubstr("[firewall] manage")));
}

// ---- list-protocols and check-protocol ----------------------------------------------------------

nlohmann::json listed(Host& host) {
    const LocalAnswer answer = host.run("list-protocols", {{}, {}, OutputFormat::json});
    EXPECT_EQ(answer.status, 0);
    return nlohmann::json::parse(answer.text);
}
/// The rows of a type in IPv4.
std::vector<nlohmann::json> rows_of(const nlohmann::json& rows, const std::string& type) {
    std::vector<nlohmann::json> found;
    for (const auto& row : rows) {
        if (row["type"] == type && row["family"] == "IPv4") {
            found.push_back(row);
        }
    }
    return found;
}

TEST(ListProtocols, has_each_type_in_each_family) {
    Host host;
    const auto rows = listed(host);
    EXPECT_EQ(rows.size(), 18U);
    for (const auto& row : rows) {
        EXPECT_EQ(row["admitted"], "yes");
        EXPECT_EQ(row["rule"], nullptr);
    }
}

TEST(ListProtocols, says_who_installed_a_rule_and_whom_it_admits) {
    Host host;
    host.legacy = legacy_tables({udp_to(4789, Action::drop)}, {}, true);
    host.legacy.rules.chains[0].rules[0].packets = 17;
    static_cast<void>(host.enable({{}, {{"--source", {"10.0.0.0/8", "172.16.0.1"}}}}));
    static_cast<void>(host.enable({{"geneve"}}));
    const auto rows = listed(host);
    const auto gre_rows = rows_of(rows, "gre");
    ASSERT_EQ(gre_rows.size(), 2U);
    EXPECT_EQ(gre_rows[0]["admitted"], "some");
    EXPECT_EQ(gre_rows[0]["from"], "172.16.0.1, 10.0.0.0/8");
    EXPECT_EQ(gre_rows[0]["by"], "culvert");
    const auto vxlan = rows_of(rows, "vxlan").at(0);
    EXPECT_EQ(vxlan["admitted"], "no");
    EXPECT_EQ(vxlan["by"], "operator");
    EXPECT_EQ(vxlan["packets"], 17);
    EXPECT_EQ(rows_of(rows, "geneve").at(0)["from"], "any");
    EXPECT_EQ(rows_of(rows, "lisp").at(0)["rule"], nullptr);
    EXPECT_EQ(rows_of(rows, "lisp").at(0)["admitted"], "no");
}

TEST(ListProtocols, unknown_conditions_and_unreadable_tables_make_it_depend) {
    Host host;
    host.legacy =
        legacy_tables({operators({firewall::UnknownMatch{"match recent"}}, Action::drop, "")});
    EXPECT_EQ(rows_of(listed(host), "gre").at(0)["admitted"], "depends");
    host.legacy = legacy_tables();
    host.nft.trouble = kFailed;
    EXPECT_EQ(rows_of(listed(host), "gre").at(0)["admitted"], "depends");
}

TEST(CheckProtocol, ends_with_0_only_when_input_admits_it) {
    Host host;
    host.legacy.rules = {};
    host.nft.trouble = kAbsent;
    EXPECT_EQ(host.run("check-protocol").status, 0);
    EXPECT_EQ(
        host.run("check-protocol").text, "INPUT admits gre (IPv4 and IPv6): nothing filters it\n"
    );
    host.legacy = legacy_tables({}, {}, true);
    const LocalAnswer dropped = host.run("check-protocol", {{"vxlan"}});
    EXPECT_EQ(dropped.status, 1);
    EXPECT_EQ(
        dropped.text,
        "INPUT drops udp to port 4789 (IPv4): the policy DROP of iptables-legacy filter INPUT\n"
        "INPUT drops udp to port 4789 (IPv6): the policy DROP of ip6tables-legacy filter INPUT\n"
    );
}

TEST(CheckProtocol, judges_the_sender_it_is_asked_for) {
    Host host;
    host.legacy = legacy_tables({}, {}, true);
    static_cast<void>(host.enable({{}, {{"--source", {"10.0.0.0/24"}}}}));
    const auto status_of = [&host](const std::string& source) {
        return host.run("check-protocol", {{}, {{"--source", {source}}}}).status;
    };
    EXPECT_EQ(status_of("10.0.0.7"), 0);
    EXPECT_EQ(status_of("10.0.0.0/24"), 0);
    EXPECT_EQ(status_of("10.0.1.7"), 1);
    EXPECT_EQ(status_of("10.0.0.0/23"), 1);
    EXPECT_EQ(status_of("0.0.0.0/0"), 1);
}

TEST(CheckProtocol, an_uncertain_answer_is_no) {
    Host host;
    Rule doubtful = operators({firewall::UnknownMatch{"match recent"}}, Action::drop, "-m recent");
    host.legacy = legacy_tables({doubtful});
    const LocalAnswer answer = host.run("check-protocol", {{}, {{"--source", {"10.0.0.7"}}}});
    EXPECT_EQ(answer.status, 1);
    EXPECT_THAT(answer.text, HasSubstr("match recent"));
    EXPECT_THAT(answer.text, HasSubstr("iptables-legacy filter INPUT rule 1: -m recent"));
}

TEST(CheckProtocol, asks_for_the_interface_that_is_named) {
    Host host;
    Rule by_interface = gre_rule(Action::accept);
    by_interface.steps.emplace_back(is(Field::interface_in, firewall::value_of_interface("xenbr7"))
    );
    host.legacy = legacy_tables({by_interface}, {by_interface}, true);
    EXPECT_EQ(host.run("check-protocol").status, 1);
    EXPECT_EQ(host.run("check-protocol", {{}, {{"--interface", {"xenbr7"}}}}).status, 0);
}

// ---- firewall explain ---------------------------------------------------------------------------

LocalCall packet(const std::string& protocol, OutputFormat format = OutputFormat::text) {
    return {
        {}, {{"--protocol", {protocol}}, {"--src", {"10.0.0.2"}}, {"--dst", {"10.0.0.1"}}}, format};
}
/// XenServer's: a chain of its own that ends in REJECT.
FakeTables stock_chains() {
    Rule to_chain = jump(1);
    to_chain.text = "-j RH-Firewall-1-INPUT";
    FakeTables tables = legacy_tables();
    firewall::Chain own = chain(
        {operators({is(Field::state, 2)}, Action::accept, "--ctstate ESTABLISHED -j ACCEPT"),
         operators({}, Action::drop, "-j REJECT")}
    );
    own.name = "RH-Firewall-1-INPUT";
    tables.rules = ruleset({chain({gre_rule(Action::none), to_chain}), own});
    return tables;
}

TEST(FirewallExplain, prints_the_way_and_the_rule_that_decided) {
    Host host;
    host.legacy = stock_chains();
    const LocalAnswer answer = host.run("firewall/explain", packet("gre"));
    EXPECT_EQ(answer.status, 0);
    EXPECT_EQ(
        answer.text,
        "chain iptables-legacy filter INPUT\n"
        "    rule 1: -p gre -> matched\n"
        "    rule 2: -j RH-Firewall-1-INPUT -> matched\n"
        "        chain iptables-legacy filter RH-Firewall-1-INPUT\n"
        "            rule 1: --ctstate ESTABLISHED -j ACCEPT -> not matched\n"
        "            rule 2: -j REJECT -> matched\n"
        "decided by: iptables-legacy filter RH-Firewall-1-INPUT rule 2: -j REJECT\n"
        "verdict: drop\n"
    );
    LocalCall established = packet("47");
    established.options["--state"] = {"ESTABLISHED"};
    EXPECT_THAT(host.run("firewall/explain", established).text, HasSubstr("verdict: accept\n"));
}

TEST(FirewallExplain, does_not_say_that_nothing_filters_where_it_cannot_read) {
    Host host;
    host.legacy.trouble = kAbsent;
    host.nft.trouble = kFailed;
    const LocalAnswer answer = host.run("firewall/explain", packet("gre"));
    EXPECT_EQ(answer.text, "decided by: rules that cannot be read\nverdict: unknown\n");
    host.nft.trouble = kAbsent;
    EXPECT_THAT(
        host.run("firewall/explain", packet("gre")).text, HasSubstr("nothing filters this packet")
    );
}

TEST(FirewallExplain, has_json) {
    Host host;
    host.legacy = stock_chains();
    host.legacy.rules.chains[1].rules[1].steps.emplace_back(firewall::UnknownMatch{"match x"});
    const auto answer =
        nlohmann::json::parse(host.run("firewall/explain", packet("gre", OutputFormat::json)).text);
    EXPECT_EQ(answer["verdict"], "unknown");
    ASSERT_EQ(answer["steps"].size(), 4U);
    EXPECT_EQ(answer["steps"][3]["chain"], "RH-Firewall-1-INPUT");
    EXPECT_EQ(answer["steps"][3]["depth"], 1);
    EXPECT_EQ(answer["steps"][3]["unknown"], "match x");
}

TEST(FirewallExplain, refuses_packets_that_there_are_not) {
    Host host;
    const auto refused = [&host](const std::string& option, const std::string& value) {
        LocalCall call = packet("gre");
        call.options[option] = {value};
        const LocalAnswer answer = host.run("firewall/explain", call);
        EXPECT_EQ(answer.complaints.size(), 1U);
        return answer.status;
    };
    EXPECT_EQ(refused("--protocol", "nosuch"), 2);
    EXPECT_EQ(refused("--protocol", "udp"), 2);  // Without a port.
    EXPECT_EQ(refused("--dport", "5"), 2);
    EXPECT_EQ(refused("--src", "2001:db8::1"), 2);
    EXPECT_EQ(refused("--dst", "10.0.0.0/8"), 2);
    EXPECT_EQ(refused("--state", "new"), 2);
}

}  // namespace
}  // namespace culvert::ctl
