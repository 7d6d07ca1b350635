// SPDX-License-Identifier: GPL-2.0-or-later
//
// Listings of nftables as libnftables 1.0.6 writes them, and such as nobody writes: what becomes of
// a rule of inet filter input, or of the whole listing. Nothing is asked of the kernel.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "firewall/evaluate.hpp"
#include "firewall/nft_json.hpp"
#include "firewall/nft_listing.hpp"

namespace culvert::firewall {
namespace {

std::string rule(const std::string& expressions, const std::string& chain = "input") {
    return R"(,{"rule":{"family":"inet","table":"filter","chain":")" + chain +
           R"(","handle":7,"expr":[)" + expressions + "]}}";
}

Ruleset read(const std::string& objects) {
    const auto document = parse_nft_json(
        R"({"nftables":[{"metainfo":{}},{"table":{"family":"inet","name":"filter","handle":1}},)"
        R"({"chain":{"family":"inet","table":"filter","name":"other"}},)"
        R"({"chain":{"family":"inet","table":"filter","name":"input","type":"filter",)"
        R"("hook":"input","prio":0,"policy":"drop"}})" +
        objects + "]}"
    );
    if (!document) {
        throw std::runtime_error(document.error());
    }
    return read_nft_json(*document, nullptr);
}

Header packet(const std::string& source, std::uint8_t protocol, std::uint16_t port = 0) {
    Header header;
    header.source = parse_address(source).value();
    header.destination = {header.source.family, 1};
    header.protocol = protocol;
    header.destination_port = port;
    header.source_port = port == 0 ? std::uint16_t{0} : std::uint16_t{40000};
    header.interface_in = value_of_interface("eth0");
    return header;
}

std::string verdict(const Ruleset& rules, const Header& header) {
    const Judgement judgement = evaluate(rules, header);
    return judgement.accepted() ? "accept" : judgement.dropped() ? "drop" : "unknown";
}

// The verdict of one rule that accepts, before the policy that drops.
std::string accepts(const std::string& expressions, const Header& header) {
    return verdict(read(rule(expressions + R"(,{"accept":null})")), header);
}

std::string match(const std::string& op, const std::string& left, const std::string& right) {
    return R"({"match":{"op":")" + op + R"(","left":)" + left + R"(,"right":)" + right + "}}";
}

const std::string kSource = R"({"payload":{"protocol":"ip","field":"saddr"}})";
const std::string kPort = R"({"payload":{"protocol":"udp","field":"dport"}})";
const std::string kState = R"({"ct":{"key":"state"}})";
const Header kGre = packet("10.0.0.1", 47);
const Header kUdp = packet("10.0.0.1", 17, 4789);

TEST(NftJson, ReadsAddressesOfOneFamilyOnly) {
    EXPECT_EQ(accepts(match("==", kSource, R"("10.0.0.1")"), kGre), "accept");
    EXPECT_EQ(accepts(match("!=", kSource, R"("10.0.0.1")"), kGre), "drop");
    EXPECT_EQ(
        accepts(match("==", kSource, R"({"prefix":{"addr":"10.0.0.0","len":8}})"), kGre), "accept"
    );
    EXPECT_EQ(accepts(match("==", kSource, R"({"range":["10.0.0.2","10.0.0.9"]})"), kGre), "drop");
    EXPECT_EQ(accepts(match("!=", kSource, R"("10.0.0.9")"), packet("fd00::1", 47)), "drop")
        << "\"ip saddr\" asks for IPv4 first";
    EXPECT_EQ(
        accepts(match("==", R"({"&":[)" + kSource + R"(,"255.0.0.255"]})", R"("10.0.0.1")"), kGre),
        "accept"
    );
}

TEST(NftJson, PutsTheProtocolBeforeAPort) {
    EXPECT_EQ(accepts(match("==", kPort, "4789"), kUdp), "accept");
    EXPECT_EQ(accepts(match("==", kPort, "4789"), packet("10.0.0.1", 6, 4789)), "drop");
    EXPECT_EQ(accepts(match("!=", kPort, "53"), kGre), "drop");
    const std::string any = R"({"payload":{"protocol":"th","field":"dport"}})";
    EXPECT_EQ(accepts(match("==", any, "4789"), packet("10.0.0.1", 6, 4789)), "accept");
    EXPECT_EQ(accepts(match("==", any, "4789"), kGre), "unknown");
}

TEST(NftJson, KnowsThatAnotherProtocolIsMeant) {
    const std::string type = R"({"payload":{"protocol":"icmp","field":"type"}})";
    EXPECT_EQ(accepts(match("==", type, "8"), kGre), "drop");
    EXPECT_EQ(accepts(match("==", type, "8"), packet("10.0.0.1", 1)), "unknown");
    EXPECT_EQ(accepts(R"({"reject":{"type":"icmpv6","expr":1}})", kGre), "drop");
}

TEST(NftJson, ReadsComparisons) {
    for (const auto& [op, right, expected] : std::vector<std::array<std::string, 3>>{
             {"<", "4790", "accept"},
             {"<", "4789", "drop"},
             {"<", "0", "drop"},
             {"<=", "4789", "accept"},
             {">", "4789", "drop"},
             {">", "65535", "drop"},
             {">=", "4789", "accept"},
             {"==", R"({"range":[4000,5000]})", "accept"},
             {"!=", R"({"range":[4000,5000]})", "drop"},
             {"==", R"("4789")", "accept"},
             {"==", R"("vxlan")", "unknown"},
             {"==", "70000", "unknown"},
             {"~", "4789", "unknown"},
             {"==", R"({"set":[53,{"range":[4789,4790]}]})", "accept"},
             {"!=", R"({"set":[53,4789]})", "drop"},
             {"==", R"({"set":["*"]})", "accept"}}) {
        EXPECT_EQ(accepts(match(op, kPort, right), kUdp), expected) << op << right;
    }
}

TEST(NftJson, ReadsConntrackStates) {
    for (const auto& [op, right, expected] : std::vector<std::array<std::string, 3>>{
             {"in", "8", "accept"},
             {"in", "[2,4]", "drop"},
             {"in", "[2,8]", "accept"},
             {"==", R"({"set":[1,8]})", "accept"},
             {"!=", "1", "accept"},
             {"!", "8", "drop"},
             {"!", "1", "accept"},
             {"==", R"({"|":[2,8]})", "drop"},
             {"in", R"({"|":[{"|":[1,2]},8]})", "accept"},
             {"in", R"("new")", "accept"},
             {"in", R"(["established","related"])", "drop"}}) {
        EXPECT_EQ(accepts(match(op, kState, right), kGre), expected) << op << right;
    }
}

TEST(NftJson, ReadsInterfaces) {
    const std::string name = R"({"meta":{"key":"iifname"}})";
    EXPECT_EQ(accepts(match("==", name, R"("eth0")"), kGre), "accept");
    EXPECT_EQ(accepts(match("==", name, R"("eth*")"), kGre), "accept");
    EXPECT_EQ(accepts(match("==", name, R"("eth")"), kGre), "drop");
    EXPECT_EQ(accepts(match("!=", name, R"({"set":["lo","wl*"]})"), kGre), "accept");
    EXPECT_EQ(accepts(match("==", name, R"("eth\\*")"), kGre), "unknown") << "an escape";
    const std::string index = R"({"meta":{"key":"iif"}})";
    EXPECT_EQ(accepts(match("==", index, R"("eth0")"), kGre), "accept");
}

TEST(NftJson, ReadsFamiliesAndProtocols) {
    EXPECT_EQ(accepts(match("==", R"({"meta":{"key":"nfproto"}})", "2"), kGre), "accept");
    EXPECT_EQ(accepts(match("==", R"({"meta":{"key":"nfproto"}})", "10"), kGre), "drop");
    EXPECT_EQ(accepts(match("==", R"({"meta":{"key":"protocol"}})", "8"), kGre), "accept")
        << "libnftables 1.0.6 writes the EtherType in the byte order of the packet";
    EXPECT_EQ(accepts(match("==", R"({"meta":{"key":"protocol"}})", R"("ip6")"), kGre), "drop");
    EXPECT_EQ(accepts(match("==", R"({"meta":{"key":"l4proto"}})", R"("gre")"), kGre), "accept");
    EXPECT_EQ(
        accepts(match("==", R"({"meta":{"key":"l4proto"}})", R"({"set":[6,17]})"), kGre), "drop"
    );
}

TEST(NftJson, ReadsConcatenationsAndNamedSets) {
    const std::string pair = R"({"concat":[)" + kSource + "," + kPort + "]}";
    const std::string elements =
        R"([{"elem":{"val":{"concat":[{"prefix":{"addr":"10.0.0.0","len":24}},4789]},)"
        R"("comment":"peers","counter":{"packets":1,"bytes":2}}}])";
    const std::string named =
        R"(,{"set":{"family":"inet","table":"filter","name":"peers","elem":)" + elements + "}}";
    const std::string rules =
        named + rule(match("==", pair, R"("@peers")") + R"(,{"accept":null})");
    EXPECT_EQ(verdict(read(rules), kUdp), "accept");
    EXPECT_EQ(verdict(read(rules), packet("10.0.1.1", 17, 4789)), "drop");
    EXPECT_EQ(verdict(read(rules), packet("10.0.0.1", 6, 4789)), "drop");
    EXPECT_EQ(accepts(match("==", pair, R"("@absent")"), kUdp), "unknown");
}

TEST(NftJson, LeavesASetWithConditionsOfItsOwnUnread) {
    const std::string limited =
        R"({"set":[{"elem":{"val":"10.0.0.1","limit":{"rate":5,"per":"second"}}}]})";
    EXPECT_EQ(accepts(match("==", kSource, limited), kGre), "unknown");
}

TEST(NftJson, MakesARuleOfEachVerdictInAMap) {
    const std::string map =
        R"({"vmap":{"key":)" + kSource +
        R"(,"data":{"set":[["10.0.0.1",{"jump":{"target":"other"}}],)"
        R"(["10.0.0.2",{"accept":null}],["10.0.0.3",{"accept":null}],["*",{"drop":null}]]}}})";
    const Ruleset rules =
        read(rule(map) + rule(R"({"accept":null})") + rule(R"({"return":null})", "other"));
    ASSERT_EQ(rules.chains[0].rules.size(), 4U);
    EXPECT_EQ(rules.chains[0].rules[0].action, Action::jump);
    EXPECT_EQ(rules.chains[1].name, "other");
    EXPECT_EQ(verdict(rules, kGre), "accept");
    EXPECT_EQ(verdict(rules, packet("10.0.0.3", 47)), "accept");
    EXPECT_EQ(verdict(rules, packet("10.0.0.4", 47)), "drop");
    EXPECT_EQ(verdict(rules, packet("fd00::1", 47)), "accept");
}

TEST(NftJson, DoubtsAMapWithStatementsBehindIt) {
    const std::string map = R"({"vmap":{"key":)" + kSource +
                            R"(,"data":{"set":[["10.0.0.1",{"continue":null}]]}}},{"drop":null})";
    EXPECT_EQ(verdict(read(rule(map) + rule(R"({"accept":null})")), kGre), "unknown");
}

TEST(NftJson, FollowsTheMark) {
    const std::string mark = R"({"meta":{"key":"mark"}})";
    const auto set = [&](const std::string& value) {
        return rule(R"({"mangle":{"key":)" + mark + R"(,"value":)" + value + "}}");
    };
    const std::string rest = rule(match("==", mark, "261") + R"(,{"accept":null})");
    EXPECT_EQ(
        verdict(read(set("7") + set(R"({"|":[{"&":[)" + mark + R"(,5]},256]})") + rest), kGre),
        "accept"
    );
    EXPECT_EQ(verdict(read(set("260") + set(R"({"^":[)" + mark + ",1]}") + rest), kGre), "accept");
    EXPECT_EQ(verdict(read(set(R"({"map":{"key":)" + mark + "}}") + rest), kGre), "unknown");
}

TEST(NftJson, TakesLimitsAsKept) {
    EXPECT_EQ(accepts(R"({"limit":{"rate":10,"per":"second"}})", kGre), "accept");
    EXPECT_EQ(accepts(R"({"limit":{"rate":10,"per":"second","inv":true}})", kGre), "drop");
    EXPECT_EQ(accepts(R"({"counter":null},{"log":{"prefix":"x"}})", kGre), "accept");
    EXPECT_EQ(accepts(R"({"quota":{"val":1}})", kGre), "unknown");
}

TEST(NftJson, KnowsWhatAPacketForTheHostIs) {
    const std::string type = R"({"fib":{"result":"type","flags":["daddr"]}})";
    EXPECT_EQ(accepts(match("==", type, "2"), kGre), "accept");
    EXPECT_EQ(accepts(match("!=", type, R"({"set":[2,3]})"), kGre), "drop");
    const std::string output = R"({"fib":{"result":"oif","flags":["saddr","iif"]}})";
    EXPECT_EQ(accepts(match("==", output, "false"), kGre), "unknown");
}

TEST(NftJson, DoubtsTwoNegatedPortsThatTheKernelComparesAtOnce) {
    const std::string source = R"({"payload":{"protocol":"udp","field":"sport"}})";
    EXPECT_EQ(
        accepts(match("!=", source, "53") + "," + match("!=", kPort, "4789"), kUdp), "unknown"
    );
    EXPECT_EQ(accepts(match("==", source, "53") + "," + match("!=", kPort, "4789"), kUdp), "drop");
    EXPECT_EQ(accepts(match("!=", source, "53") + "," + match("!=", kPort, "4789"), kGre), "drop");
}

TEST(NftJson, NamesWhatItDoesNotKnow) {
    const Ruleset rules = read(rule(
        match("==", R"({"meta":{"key":"skuid"}})", "0") +
        R"(,{"xt":{"type":"match","name":"recent"}},{"xt":{"type":"target","name":"TARPIT"}})"
    ));
    const Rule& read_rule = rules.chains[0].rules[0];
    ASSERT_EQ(read_rule.steps.size(), 2U);
    EXPECT_EQ(std::get<UnknownMatch>(read_rule.steps[0]).what, "meta skuid");
    EXPECT_EQ(std::get<UnknownMatch>(read_rule.steps[1]).what, "match recent");
    EXPECT_EQ(read_rule.action, Action::unknown);
    EXPECT_EQ(read_rule.unknown, "target TARPIT");
    EXPECT_EQ(verdict(read(rule(R"("jump {\n\t\t\taccept\n\t\t}")")), kGre), "unknown");
    EXPECT_EQ(verdict(read(rule(R"({"jump":{"target":"absent"}})")), kGre), "unknown");
    EXPECT_EQ(verdict(read(rule(R"({"queue":null})")), kGre), "unknown");
    const std::string bare =
        R"(,{"rule":{"family":"inet","table":"filter","chain":"input","handle":7}})";
    EXPECT_EQ(verdict(read(bare), kGre), "unknown");
}

TEST(NftJson, LeavesOtherHooksAndTablesOut) {
    const std::string others =
        R"(,{"table":{"family":"netdev","name":"culvert_x"}},)"
        R"({"chain":{"family":"netdev","table":"culvert_x","name":"ingress","type":"filter",)"
        R"("hook":"ingress","prio":-500,"policy":"drop"}},)"
        R"({"chain":{"family":"inet","table":"filter","name":"forward","type":"filter",)"
        R"("hook":"forward","prio":0,"policy":"drop"}},)"
        R"({"chain":{"family":"ip","table":"nat","name":"INPUT","type":"nat","hook":"input",)"
        R"("prio":100,"policy":"accept"}},)"
        R"({"chain":{"family":"ip","table":"early","name":"in","type":"filter","hook":"input",)"
        R"("prio":-300,"policy":"accept"}})";
    const Ruleset rules = read(others);
    ASSERT_EQ(rules.input.size(), 2U);
    EXPECT_EQ(rules.chains.size(), 2U);
    EXPECT_EQ(rules.chains[rules.input[0].chain].table, "early");
    EXPECT_FALSE(rules.input[0].is_filter);
    EXPECT_TRUE(rules.input[1].drops_by_policy);
}

TEST(NftJson, ChainsOfNatDropFirstPackets) {
    const auto nat = [](const std::string& policy, const std::string& expressions) {
        return read(
            rule(R"({"accept":null})") +
            R"(,{"chain":{"family":"inet","table":"n","name":"in","type":"nat","hook":"input",)" +
            R"("prio":100,"policy":")" + policy + R"("}},{"rule":{"family":"inet","table":"n",)" +
            R"("chain":"in","handle":2,"expr":[)" + expressions + "]}}"
        );
    };
    const std::string gre = match("==", R"({"meta":{"key":"l4proto"}})", "47");
    EXPECT_EQ(verdict(nat("accept", gre + R"(,{"drop":null})"), kGre), "drop");
    EXPECT_EQ(verdict(nat("accept", gre + R"(,{"drop":null})"), kUdp), "accept");
    EXPECT_EQ(verdict(nat("drop", gre + R"(,{"accept":null})"), kUdp), "drop");
    EXPECT_EQ(verdict(nat("drop", gre + R"(,{"accept":null})"), kGre), "accept");
    Header later = kUdp;
    later.state = State::established;
    EXPECT_EQ(verdict(nat("drop", gre + R"(,{"accept":null})"), later), "accept");
    EXPECT_EQ(nat("accept", gre + R"(,{"masquerade":null})").input.size(), 1U);
}

// The kernel goes on to the next rule where a map has no element for the packet, or the packet not
// the header that is read.
TEST(NftJson, ValuesThatNotEveryPacketHasAreConditions) {
    const std::string map = R"({"map":{"key":)" + kSource + R"(,"data":{"set":[["10.0.0.9",1]]}}})";
    for (const char* statement : {"counter", "limit", "quota", "ct helper", "ct timeout"}) {
        EXPECT_EQ(accepts(R"({")" + std::string(statement) + "\":" + map + "}", kGre), "unknown")
            << statement;
    }
    for (const char* key : {R"({"meta":{"key":"mark"}})", R"({"ct":{"key":"mark"}})"}) {
        const auto set = [&](const std::string& value) {
            return accepts(
                R"({"mangle":{"key":)" + std::string(key) + R"(,"value":)" + value + "}}", kGre
            );
        };
        EXPECT_EQ(set(map), "unknown");
        EXPECT_EQ(set(R"({"payload":{"protocol":"ip","field":"dscp"}})"), "unknown");
        EXPECT_EQ(set(R"({"|":[{"meta":{"key":"mark"}},1]})"), "accept");
        EXPECT_EQ(set(R"({"ct":{"key":"mark"}})"), "accept");
    }
}

// firewalld has "ct status dnat accept" in front of all that it refuses.
TEST(NftJson, NothingIsTranslated) {
    const std::string status = R"({"ct":{"key":"status"}})";
    EXPECT_EQ(accepts(match("in", status, "32"), kGre), "drop");
    EXPECT_EQ(accepts(match("in", status, "48"), kGre), "drop");
    EXPECT_EQ(accepts(match("!", status, "32"), kGre), "accept");
    EXPECT_EQ(accepts(match("in", status, "8"), kGre), "unknown");
    EXPECT_EQ(accepts(match("in", status, "34"), kGre), "unknown");
}

TEST(NftJson, SaysHowLongItsSetsKeep) {
    const auto keeps_for = [](const std::string& set, const std::string& used) {
        const auto document = parse_nft_json(
            R"({"nftables":[{"table":{"family":"inet","name":"filter"}},)"
            R"({"chain":{"family":"inet","table":"filter","name":"input","type":"filter",)"
            R"("hook":"input","prio":0,"policy":"drop"}},)"
            R"({"set":{"family":"inet","table":"filter","name":"s",)" +
            set + "}}" + rule(match("==", kSource, "\"@" + used + '"') + R"(,{"drop":null})") + "]}"
        );
        std::optional<std::uint64_t> seconds;
        static_cast<void>(read_nft_json(document.value(), nullptr, &seconds));
        return seconds;
    };
    const std::string timed = R"("flags":["timeout"],"elem":["10.0.0.1",)"
                              R"({"elem":{"val":"10.0.0.2","timeout":60,"expires":50}},)"
                              R"({"elem":{"val":"10.0.0.3","timeout":60,"expires":40}}])";
    EXPECT_EQ(keeps_for(timed, "s"), 40U);
    EXPECT_EQ(keeps_for(timed, "another"), std::nullopt) << "nobody reads it";
    EXPECT_EQ(keeps_for(R"("elem":["10.0.0.1"])", "s"), std::nullopt);
    EXPECT_EQ(keeps_for(R"("flags":["timeout","dynamic"])", "s"), 0U);
}

TEST(NftJson, MetersAskForTheirKey) {
    const std::string meter = R"({"meter":{"key":)" + kSource +
                              R"(,"stmt":{"limit":{"rate":1,"per":"second"}},"name":"m"}})";
    EXPECT_EQ(accepts(meter, kGre), "accept");
    EXPECT_EQ(accepts(meter, packet("fd00::1", 47)), "drop");
}

TEST(NftJson, RefusesWhatIsNoListing) {
    EXPECT_FALSE(parse_nft_json(""));
    EXPECT_FALSE(parse_nft_json("{"));
    EXPECT_FALSE(parse_nft_json(R"({"rules":[]})"));
    EXPECT_FALSE(parse_nft_json(R"({"nftables":)" + std::string(1'000'000, '[')));
    EXPECT_TRUE(parse_nft_json(R"({"nftables":["[[[["]})"));
}

TEST(NftJson, SurvivesNamesThatAreNotUtf8) {
    EXPECT_TRUE(parse_nft_json("{\"nftables\":[{\"table\":{\"name\":\"\xff\xc3(\"}}]}"));
}

TEST(NftListing, FindsTheTextOfEachRule) {
    const auto texts = nft_rule_texts(
        "table inet filter { # handle 1\n"
        "\tset s { # handle 2\n\t\ttype ipv4_addr\n\t}\n\n"
        "\tchain input { # handle 1\n"
        "\t\ttype filter hook input priority filter; policy drop;\n"
        "\t\tudp dport 53 accept comment \" # handle 9\" # handle 4\n"
        "\t\tjump { # handle 6\n\t\t\ttcp dport 5 accept # handle 5\n\t\t} # handle 7\n"
        "\t}\n}\n"
        "table ip x { # handle 2\n\tchain c { # handle 1\n\t\taccept # handle 4\n\t}\n}\n"
    );
    const NftTable filter{"inet", "filter"};
    EXPECT_EQ(texts.at({filter, "input", 4}), R"(udp dport 53 accept comment " # handle 9")");
    EXPECT_EQ(texts.at({filter, "input", 7}), "jump { ... }");
    EXPECT_EQ(texts.at({{"ip", "x"}, "c", 4}), "accept");
    EXPECT_FALSE(texts.contains({filter, "input", 5}));
}

}  // namespace
}  // namespace culvert::firewall
