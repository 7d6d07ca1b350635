// SPDX-License-Identifier: GPL-2.0-or-later
//
// [[tunnel]] in the configuration file: what its keys mean, and the sentence for each mistake. What
// two tunnels must not say about each other is in validate_test.cpp.
#include "ctl/toml_tunnel.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {

namespace {

using ::testing::HasSubstr;
using tunnels::Features;
using tunnels::Payload;
using tunnels::ProtocolDescriptor;

const std::string kGeneve = tunnel_text("geneve");
const std::string kLisp = tunnel_text("lisp");
const std::string kVxlanV6 = tunnel_text("vxlan", "fd20::2");
const std::string kSubject = "f:8: [[tunnel]] \"t1\": ";

bool is_udp(const ProtocolDescriptor& protocol) {
    return protocol.outer.ip_protocol == tunnels::kIpProtocolUdp;
}

TEST(TomlSource, ReadsTunnelDefaults) {
    const TunnelConfig tunnel = tunnel_of(kTunnel);
    TunnelConfig expected;
    expected.name = "t1";
    expected.bridge = "br0";
    expected.type = "vxlan";
    expected.remote_ip = ip("192.0.2.2");
    expected.dst_port = 4789;
    EXPECT_EQ(tunnel, expected);
    EXPECT_EQ(tunnel.ttl, 64);
    EXPECT_TRUE(tunnel.df);
    EXPECT_EQ(tunnel_of(kGre).dst_port, 0);
}

TEST(TomlSource, ReadsEveryTunnelKey) {
    const TunnelConfig tunnel = tunnel_of(
        kTunnel + "local_ip = \"192.0.2.1\"\nin_key = 16777215\nout_key = 0\ndst_port = 8472\n"
                  "tos = 0xb8\nttl = 255\ndf = false\ncsum = true\n"
    );
    EXPECT_EQ(tunnel.local_ip, ip("192.0.2.1"));
    EXPECT_EQ(tunnel.in_key, 16777215U);
    EXPECT_EQ(tunnel.out_key, 0U);
    EXPECT_EQ(tunnel.dst_port, 8472);
    EXPECT_EQ(tunnel.tos, 0xb8);
    EXPECT_EQ(tunnel.ttl, 255);
    EXPECT_FALSE(tunnel.df);
    EXPECT_TRUE(tunnel.csum);
}

TEST(TomlSource, KeySetsBothDirectionsAndOneDirectionLeavesTheOther) {
    const TunnelConfig both = tunnel_of(kGre + "key = 4294967295\n");
    EXPECT_EQ(both.in_key, 4294967295U);
    EXPECT_EQ(both.out_key, 4294967295U);
    const TunnelConfig in = tunnel_of(kGre + "in_key = 7\n");
    EXPECT_EQ(in.in_key, 7U);
    EXPECT_EQ(in.out_key, std::nullopt);
}

TEST(TomlSource, RemoteMayBeLoopbackOrIpv6) {
    for (const std::string address : {"127.0.0.1", "::1", "2001:db8::2"}) {
        const std::string text = concat(
            {kBridge,
             "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\ntype = \"gre\"\nremote_ip = \"",
             address,
             "\"\n"}
        );
        EXPECT_EQ(tunnel_of(text).remote_ip, ip(address));
    }
}

TEST(TomlTunnel, ReadsEveryKeyOfTheOuterHeader) {
    const TunnelConfig tunnel = tunnel_of(
        kVxlanV6 +
        "src_port_min = 2000\nsrc_port_max = 2000\ntos = \"inherit\"\nttl = \"inherit\"\n"
        "udp6_zero_csum_rx = true\nudp6_zero_csum_tx = true\negress_mark = 4294967295\n"
        "ecn = \"compatibility\"\noversize = \"clamp-mss\"\n"
    );
    EXPECT_EQ(tunnel.src_port_min, 2000);
    EXPECT_EQ(tunnel.src_port_max, 2000);
    EXPECT_TRUE(tunnel.tos_inherit);
    EXPECT_EQ(tunnel.tos, 0);
    EXPECT_TRUE(tunnel.ttl_inherit);
    EXPECT_EQ(tunnel.ttl, 64);
    EXPECT_TRUE(tunnel.udp6_zero_csum_rx);
    EXPECT_TRUE(tunnel.udp6_zero_csum_tx);
    EXPECT_EQ(tunnel.egress_mark, 4294967295U);
    EXPECT_EQ(tunnel.ecn, tunnels::EcnMode::compatibility);
    EXPECT_EQ(tunnel.oversize, dataplane::Oversize::clamp_mss);
}

TEST(TomlTunnel, EveryWordOfOversizeIsRead) {
    for (const Word<dataplane::Oversize>& word : kOversizeWords) {
        const std::string text = concat({kVxlanV6, "oversize = \"", word.word, "\"\n"});
        EXPECT_EQ(tunnel_of(text).oversize, word.value) << word.word;
    }
    EXPECT_EQ(
        error_of(kTunnel + "oversize = \"fragment\"\n"),
        kSubject + "oversize = \"fragment\" is unknown; valid: \"ptb\", \"fragment-outer\", "
                   "\"fragment-inner\", \"clamp-mss\", \"drop\""
    );
}

TEST(TomlTunnel, FlowStandsForAddressesAndKeys) {
    const TunnelConfig all =
        tunnel_of(tunnel_text("gre", "flow") + "local_ip = \"flow\"\nkey = \"flow\"\n");
    EXPECT_TRUE(all.remote_flow);
    EXPECT_TRUE(all.remote_ip.is_unset());
    EXPECT_TRUE(all.local_flow);
    EXPECT_EQ(all.local_ip, std::nullopt);
    EXPECT_TRUE(all.in_key_flow);
    EXPECT_TRUE(all.out_key_flow);
    EXPECT_EQ(all.in_key, std::nullopt);
    const TunnelConfig one = tunnel_of(kGre + "in_key = \"flow\"\nout_key = 5\n");
    EXPECT_TRUE(one.in_key_flow);
    EXPECT_FALSE(one.out_key_flow);
    EXPECT_EQ(one.out_key, 5U);
    EXPECT_EQ(tunnel_of(tunnel_text("gre", "flow") + "local_ip = \"::1\"\n").local_ip, ip("::1"));
    expect_refusals({
        {kGre + "local_ip = \"flow\"\n",
         kSubject + "local_ip = \"flow\" needs remote_ip = \"flow\"; valid: an address, no such "
                    "key, or \"flow\" for both"},
        {kGre + "key = \"any\"\n",
         kSubject + "\"key\" must be an integer (0-4294967295) or \"flow\", got the string "
                    "\"any\""},
        {kGre + "local_ip = 5\n",
         kSubject + "\"local_ip\" must be a string (the IPv4 or IPv6 address of one host, without "
                    "prefix length or zone, or \"flow\"), got the integer 5"},
    });
}

TEST(TomlTunnel, PacketTypeFitsTheProtocol) {
    EXPECT_EQ(tunnel_of(kGre).packet_type, Payload::ethernet);
    EXPECT_EQ(tunnel_of(kGre + "packet_type = \"l3\"\n").packet_type, Payload::ip);
    for (const ProtocolDescriptor& protocol : tunnels::kProtocols) {
        const std::string text = tunnel_text(protocol.name);
        EXPECT_EQ(tunnel_of(text).packet_type == Payload::ethernet, protocol.features.ethernet);
        for (const auto& [word, other, carried] :
             {std::tuple("l2", "l3", protocol.features.ethernet),
              std::tuple("l3", "l2", protocol.features.ip)}) {
            const std::string with = concat({text, "packet_type = \"", word, "\"\n"});
            if (carried) {
                EXPECT_EQ(word_of(kPacketTypeWords, tunnel_of(with).packet_type), word);
            } else {
                EXPECT_EQ(
                    error_of(with),
                    concat(
                        {kSubject,
                         "packet_type = \"",
                         word,
                         "\" is nothing that ",
                         protocol.name,
                         " carries; valid: \"",
                         other,
                         "\""}
                    )
                );
            }
        }
    }
}

TEST(TomlTunnel, Ip6greIsGreToAnIpv6Peer) {
    EXPECT_EQ(
        tunnel_of(tunnel_text("ip6gre", "fd20::2")), tunnel_of(tunnel_text("gre", "fd20::2"))
    );
    for (const std::string remote : {"192.0.2.2", "flow"}) {
        EXPECT_EQ(
            error_of(tunnel_text("ip6gre", remote)),
            "f:7: [[tunnel]] \"t1\": remote_ip = \"" + remote +
                "\" does not fit type = \"ip6gre\"; valid: an IPv6 address"
        );
    }
}

/// A key that some protocols do not have is accepted by the others, whatever it is set to.
TEST(TomlTunnel, KeysOfOtherProtocolsAreRefused) {
    struct Case {
        std::string key;
        std::string value;
        bool (*applies)(const ProtocolDescriptor&);
    };
    const auto sequence = [](const ProtocolDescriptor& p) { return p.features.sequence; };
    const auto group = [](const ProtocolDescriptor& p) { return p.features.group_policy; };
    const std::vector<Case> cases{
        {"dst_port", "5000", is_udp},
        {"src_port_min", "40000", is_udp},
        {"src_port_max", "40000", is_udp},
        {"udp6_zero_csum_rx", "false", is_udp},
        {"udp6_zero_csum_tx", "false", is_udp},
        {"csum",
         "false",
         [](const ProtocolDescriptor& p) { return is_udp(p) || p.features.checksum; }},
        {"nvgre", "false", [](const ProtocolDescriptor& p) { return p.features.nvgre_key; }},
        {"seq", "false", sequence},
        {"late", "\"accept\"", sequence},
        {"gbp", "false", group},
        {"options", "[]", [](const ProtocolDescriptor& p) { return p.features.options; }},
    };
    for (const Case& one : cases) {
        for (const ProtocolDescriptor& protocol : tunnels::kProtocols) {
            const std::string text =
                concat({tunnel_text(protocol.name), one.key, " = ", one.value, "\n"});
            if (one.applies(protocol)) {
                EXPECT_EQ(tunnel_of(text).type, protocol.name);
            } else {
                EXPECT_EQ(
                    error_of(text),
                    concat(
                        {kSubject,
                         one.key,
                         " does not apply to type = \"",
                         protocol.name,
                         "\"; valid: ",
                         types_with(one.applies),
                         " tunnels"}
                    )
                );
            }
        }
    }
}

TEST(TomlTunnel, NvgreHasAVsidOf24Bits) {
    const TunnelConfig tunnel = tunnel_of(kGre + "nvgre = true\nkey = 16777215\n");
    EXPECT_TRUE(tunnel.nvgre);
    EXPECT_EQ(tunnel.in_key, 16777215U);
    EXPECT_TRUE(tunnel_of(kGre + "nvgre = true\nkey = \"flow\"\n").in_key_flow);
    const std::string key = "; valid: true with key, the VSID";
    const std::string field =
        " contradicts nvgre = true, whose header has no such field; valid: false";
    expect_refusals({
        {kGre + "nvgre = true\nkey = 16777216\n",
         "f:9: [[tunnel]] \"t1\": key = 16777216 is out of range for an NVGRE VSID; valid: "
         "0-16777215, or \"flow\""},
        {kGre + "nvgre = true\n", kSubject + "nvgre = true needs a key in both directions" + key},
        {kGre + "nvgre = true\nin_key = 1\n",
         kSubject + "nvgre = true needs a key in both directions" + key},
        {kGre + "nvgre = true\nkey = 1\npacket_type = \"l3\"\n",
         kSubject + "nvgre = true carries Ethernet frames; valid: true with packet_type = \"l2\""},
        {kGre + "csum = true\nnvgre = true\nkey = 1\n", kSubject + "csum = true" + field},
        {kGre + "seq = true\nnvgre = true\nkey = 1\n", kSubject + "seq = true" + field},
    });
}

TEST(TomlTunnel, SourcePortsAreARange) {
    expect_refusals({
        {kTunnel + "src_port_min = 5000\nsrc_port_max = 4999\n",
         kSubject +
             "src_port_min = 5000 is above src_port_max = 4999; valid: a minimum that is not "
             "above the maximum"},
        {kTunnel + "src_port_min = 61001\n",
         kSubject + "src_port_min = 61001 is above src_port_max = 61000, the default; valid: a "
                    "minimum that is not above the maximum"},
        {kTunnel + "src_port_max = 32767\n",
         kSubject + "src_port_max = 32767 is below src_port_min = 32768, the default; valid: a "
                    "maximum that is not below the minimum"},
    });
}

TEST(TomlTunnel, TosAndTtlAreNumbersOrInherit) {
    expect_refusals({
        {kGre + "tos = 1\n",
         kSubject + "tos = 1 sets the two lowest bits, which carry ECN; valid: a multiple of 4, "
                    "0-252, or \"inherit\""},
        {kGre + "tos = 256\n",
         kSubject + "tos = 256 is out of range; valid: 0-252, or \"inherit\""},
        {kGre + "tos = \"copy\"\n",
         kSubject + "\"tos\" must be an integer (0-252) or \"inherit\", got the string \"copy\""},
        {kGre + "ttl = 0\n", kSubject + "ttl = 0 is out of range; valid: 1-255, or \"inherit\""},
        {kGre + "ttl = 256\n",
         kSubject + "ttl = 256 is out of range; valid: 1-255, or \"inherit\""},
    });
    EXPECT_EQ(tunnel_of(kGre + "tos = 252\nttl = 1\n").tos, 252);
}

TEST(TomlTunnel, ZeroUdpChecksumsAreSentOverIpv6Only) {
    EXPECT_EQ(
        error_of(kTunnel + "udp6_zero_csum_tx = true\n"),
        kSubject + "udp6_zero_csum_tx = true needs IPv6, and remote_ip = \"192.0.2.2\" is IPv4; "
                   "valid: true with an IPv6 remote_ip"
    );
    EXPECT_TRUE(
        tunnel_of(tunnel_text("vxlan", "flow") + "udp6_zero_csum_tx = true\n").udp6_zero_csum_tx
    );
}

TEST(TomlTunnel, OuterFragmentsNeedPacketsThatMayBeFragmented) {
    EXPECT_EQ(
        error_of(kTunnel + "oversize = \"fragment-outer\"\ndf = true\n"),
        kSubject + "oversize = \"fragment-outer\" contradicts df = true, which forbids fragments; "
                   "valid: df = false beside it, or another word"
    );
    EXPECT_FALSE(tunnel_of(kTunnel + "oversize = \"fragment-outer\"\n").df);
    EXPECT_FALSE(tunnel_of(kTunnel + "oversize = \"fragment-outer\"\ndf = false\n").df);
    EXPECT_TRUE(tunnel_of(kVxlanV6 + "oversize = \"fragment-outer\"\ndf = true\n").df)
        << "IPv6 has no such bit";
    EXPECT_TRUE(tunnel_of(kTunnel + "oversize = \"ptb\"\n").df);
}

TEST(TomlTunnel, ReadsSequenceAndGroupPolicy) {
    const TunnelConfig gre = tunnel_of(kGre + "seq = true\nlate = \"drop\"\ncsum = true\n");
    EXPECT_TRUE(gre.seq);
    EXPECT_EQ(gre.late, LatePolicy::drop);
    EXPECT_TRUE(gre.csum);
    const TunnelConfig vxlan = tunnel_of(kTunnel + "gbp = true\ngbp_id = 0\ngbp_admit = 65535\n");
    EXPECT_TRUE(vxlan.gbp);
    EXPECT_EQ(vxlan.gbp_id, 0);
    EXPECT_EQ(vxlan.gbp_admit, 65535);
    for (const std::string key : {"gbp_id", "gbp_admit"}) {
        for (const std::string before : {"", "gbp = false\n"}) {
            EXPECT_THAT(
                error_of(concat({kTunnel, key, " = 5\n", before})),
                HasSubstr(
                    key + " needs a tunnel that carries group policy; valid: gbp = true "
                          "beside it"
                )
            );
        }
    }
}

TEST(TomlTunnel, ReadsGeneveOptions) {
    const TunnelConfig tunnel = tunnel_of(
        kGeneve +
        "options = [\"0x0102:0x80:0A0b0c0D\", \"65535:255:\", \"010:7:0001020304050607\"]\n"
    );
    const std::vector<GeneveOption> expected{
        {0x102, 0x80, {10, 11, 12, 13}}, {0xffff, 0xff, {}}, {10, 7, {0, 1, 2, 3, 4, 5, 6, 7}}};
    EXPECT_EQ(tunnel.options, expected);
    EXPECT_EQ(
        tunnel_of(kGeneve + "options = [\"0:0:" + std::string(88, 'f') + "\"]\n").options.size(), 1U
    );
}

TEST(TomlTunnel, BadGeneveOptionsAreRefused) {
    const std::string rule = "; valid: \"CLASS:TYPE:DATA\" such as \"0x0102:0x80:00000001\", CLASS "
                             "0-0xffff, TYPE 0-0xff, DATA 0-44 bytes in hexadecimal digits, a "
                             "multiple of 4 bytes";
    const auto error_for = [](const std::string& option) {
        return error_of(concat({kGeneve, "options = [\"1:1:\", \"", option, "\"]\n"}));
    };
    for (const std::string option :
         {"0x10000:0:",
          "65536:0:",
          "0:256:",
          "0:0x100:",
          "1:2",
          "1",
          ":",
          "::",
          "x:1:",
          "0x:1:",
          "-1:1:",
          "1 :1:",
          "ffff:1:",
          "1:2:0",
          "1:2:000000g0",
          "1:2:0x00000001",
          "1:2:00000000:"}) {
        EXPECT_EQ(
            error_for(option),
            concat({kSubject, "options[1] = \"", option, "\" is not an option", rule})
        );
    }
    for (const std::string& option :
         {std::string("1:2:00"), std::string("1:2:0000000000"), "1:2:" + std::string(96, '0')}) {
        EXPECT_THAT(error_for(option), HasSubstr(" has data of a wrong length" + rule));
    }
    EXPECT_EQ(
        error_for("0x01:0x1:00000000"),
        kSubject + "options[1] = \"0x01:0x1:00000000\" repeats the class and type of another; "
                   "valid: each class and type once"
    );
    EXPECT_EQ(
        error_for("1:2:" + std::string(88, '0')),
        kSubject + "options have 52 bytes with a header of 4 bytes each; valid: at most 48"
    );
    EXPECT_EQ(error_for("1:129:0").find("repeats"), std::string::npos);
}

TEST(TomlSource, TunnelKeysFitTheirProtocol) {
    expect_refusals({
        {kTunnel + "key = 16777216\n",
         "f:8: [[tunnel]] \"t1\": key = 16777216 is out of range for vxlan; valid: "
         "0-16777215, or \"flow\""},
        {kTunnel + "in_key = -1\n",
         "f:8: [[tunnel]] \"t1\": in_key = -1 is out of range for vxlan; valid: "
         "0-16777215, or \"flow\""},
        {kGre + "out_key = 4294967296\n",
         "f:8: [[tunnel]] \"t1\": out_key = 4294967296 is out of range for gre; valid: "
         "0-4294967295, or \"flow\""},
        {kGre + "key = 1\nin_key = 1\n",
         "f:9: [[tunnel]] \"t1\": in_key cannot stand beside key, which sets both directions; "
         "valid: key alone, or in_key and out_key"},
    });
}

TEST(TomlSource, TunnelAddressesAreThoseOfHosts) {
    const std::string rule =
        "; valid: the IPv4 or IPv6 address of one host, without prefix length or zone, or \"flow\"";
    const std::vector<std::pair<std::string, std::string>> bad{
        {"224.0.0.1", "is a multicast address"},
        {"ff02::1", "is a multicast address"},
        {"0.0.0.0", "is the unspecified address"},
        {"::", "is the unspecified address"},
        {"255.255.255.255", "is the broadcast address"},
        {"peer.example", "is not an IP address"},
        {"192.0.2.2/24", "is not an IP address"},
        {"fe80::1%eth0", "is not an IP address"},
    };
    for (const auto& [address, problem] : bad) {
        EXPECT_EQ(
            error_of(concat(
                {kBridge,
                 "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\ntype = \"gre\"\n",
                 "remote_ip = \"",
                 address,
                 "\"\n"}
            )),
            concat({"f:7: [[tunnel]] \"t1\": remote_ip = \"", address, "\" ", problem, rule})
        );
        EXPECT_EQ(
            error_of(concat({kGre, "local_ip = \"", address, "\"\n"})),
            concat({"f:8: [[tunnel]] \"t1\": local_ip = \"", address, "\" ", problem, rule})
        );
    }
    EXPECT_EQ(
        error_of(kGre + "local_ip = \"fd20::1\"\n"),
        "f:8: [[tunnel]] \"t1\": local_ip = \"fd20::1\" is not of the family of remote_ip = "
        "\"192.0.2.2\"; valid: an IPv4 address"
    );
}

}  // namespace
}  // namespace culvert::ctl
