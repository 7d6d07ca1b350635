// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the options of the commands about the host's firewall mean, and what is said of bad ones.
#include "ctl/packet_options.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ctl {
namespace {

using firewall::Family;
using firewall::Selector;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> selected(const LocalCall& call) {
    std::vector<std::string> all;
    const auto selectors = read_selectors(call);
    if (!selectors.has_value()) {
        return {std::to_string(selectors.error().status) + ": " + selectors.error().sentence};
    }
    for (const Selector& selector : *selectors) {
        all.push_back(
            firewall::to_string(selector) + (selector.family == Family::ipv4 ? "" : " IPv6")
        );
    }
    return all;
}

TEST(PacketOptions, gre_of_both_families_is_what_is_meant_when_nothing_is_named) {
    EXPECT_THAT(selected({}), ElementsAre("gre", "gre IPv6"));
}

TEST(PacketOptions, types_have_their_ports) {
    const LocalCall udp = {{"vxlan", "vxlan-gpe", "geneve", "lisp"}, {{"--source", {"10.0.0.1"}}}};
    EXPECT_THAT(
        selected(udp),
        ElementsAre(
            "udp to port 4789 from 10.0.0.1",
            "udp to port 4790 from 10.0.0.1",
            "udp to port 6081 from 10.0.0.1",
            "udp to port 4341 from 10.0.0.1"
        )
    );
    EXPECT_THAT(
        selected({{"esp", "stt"}, {{"--source", {"0.0.0.0/0"}}}}),
        ElementsAre("esp", "udp to port 500", "udp to port 4500", "tcp to port 7471")
    );
    EXPECT_THAT(
        selected({{"gre", "gre"}, {{"--protocol", {"47"}}}}), ElementsAre("gre", "gre IPv6")
    );
}

TEST(PacketOptions, ports_are_those_of_what_is_named) {
    EXPECT_THAT(
        selected({{"vxlan"}, {{"--dport", {"8472"}}}}),
        ElementsAre("udp to port 8472", "udp to port 8472 IPv6")
    );
    EXPECT_THAT(
        selected({{}, {{"--protocol", {"udp"}}, {"--dport", {"7"}}, {"--sport", {"8"}}}}),
        ElementsAre("udp to port 7 from port 8", "udp to port 7 from port 8 IPv6")
    );
    EXPECT_THAT(
        selected({{}, {{"--dport", {"7"}}}}), ElementsAre(StartsWith("1: gre has no ports"))
    );
    // iptables cannot list a rule with a port of UDP-Lite.
    EXPECT_THAT(
        selected({{}, {{"--protocol", {"136"}}, {"--dport", {"7"}}}}),
        ElementsAre(HasSubstr("has no ports that rules can ask for"))
    );
}

TEST(PacketOptions, sources_say_the_family) {
    EXPECT_THAT(
        selected({{}, {{"--source", {"10.1.2.3/8,2001:db8::1", "10.0.0.0/8"}}}}),
        ElementsAre("gre from 10.0.0.0/8", "gre from 2001:db8::1 IPv6")
    );
    EXPECT_THAT(selected({{}, {{"--source", {"::/0"}}}}), ElementsAre("gre IPv6"));
}

TEST(PacketOptions, what_is_wrong_is_said_with_the_value) {
    EXPECT_THAT(
        selected({{}, {{"--protocol", {"nosuch"}}}}),
        ElementsAre(StartsWith("1: unknown protocol \"nosuch\""))
    );
    EXPECT_THAT(
        selected({{}, {{"--protocol", {"0"}}}}), ElementsAre(StartsWith("1: protocol \"0\""))
    );
    for (const char* port : {"", "0", "65536", "-1", "80x", "vxlan"}) {
        EXPECT_THAT(
            selected({{"vxlan"}, {{"--dport", {port}}}}),
            ElementsAre(StartsWith("2: --dport \"" + std::string(port) + "\""))
        );
    }
    for (const char* source : {"", "10.0.0", "10.0.0.1/33", "host", "10.0.0.1,"}) {
        EXPECT_THAT(
            selected({{}, {{"--source", {source}}}}), ElementsAre(StartsWith("2: --source: "))
        );
    }
    std::string many;
    for (unsigned i = 0; i <= kSourcesMax; ++i) {
        many += (i == 0 ? "" : ",") + ("10.0." + std::to_string(i / 256) + ".") +
                std::to_string(i % 256);
    }
    EXPECT_THAT(selected({{}, {{"--source", {many}}}}), ElementsAre(HasSubstr("at most 256")));
}

TEST(PacketOptions, a_comment_is_one_that_every_tool_prints_as_it_is) {
    const auto accepted = [](const std::string& text) {
        return read_comment({{}, {{"--comment", {text}}}}).has_value();
    };
    EXPECT_TRUE(accepted("rack 7: to host2's"));
    EXPECT_TRUE(accepted(std::string(80, 'x')));
    EXPECT_FALSE(accepted(std::string(81, 'x')));
    EXPECT_FALSE(accepted("say \"hello\""));
    EXPECT_FALSE(accepted("a\\b"));
    EXPECT_FALSE(accepted("a\nb"));
}

}  // namespace
}  // namespace culvert::ctl
