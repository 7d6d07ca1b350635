// SPDX-License-Identifier: GPL-2.0-or-later
//
// Options of tunnel interfaces: what each becomes, which faults refuse the interface and with which
// text, and which are only said. The texts are those of Open vSwitch 3.1, recorded from it.
#include "ctl/ovsdb_tunnel.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using tunnels::IpAddress;
using tunnels::Payload;

OvsdbTunnel read(const std::string& type, const OvsdbOptions& options) {
    return read_ovsdb_tunnel("t", type, options, {});
}

/// With a remote_ip of 192.0.2.2 unless the options have one.
OvsdbTunnel read_to_peer(const std::string& type, OvsdbOptions options) {
    options.emplace("remote_ip", "192.0.2.2");
    return read_ovsdb_tunnel("t", type, options, {});
}

/// The tunnel, which has to be there, without a word of warning.
TunnelConfig tunnel(const std::string& type, const OvsdbOptions& options) {
    const OvsdbTunnel result = read_to_peer(type, options);
    EXPECT_THAT(result.error, IsEmpty());
    EXPECT_THAT(result.warnings, IsEmpty());
    return result.tunnel.value_or(TunnelConfig{});
}

std::string error(const std::string& type, const OvsdbOptions& options) {
    const OvsdbTunnel result = read_to_peer(type, options);
    EXPECT_FALSE(result.tunnel.has_value());
    EXPECT_THAT(result.warnings, IsEmpty());
    return result.error;
}

/// A tunnel all the same.
std::vector<std::string> warnings(const std::string& type, const OvsdbOptions& options) {
    const OvsdbTunnel result = read_to_peer(type, options);
    EXPECT_TRUE(result.tunnel.has_value()) << result.error;
    return result.warnings;
}

TEST(OvsdbTunnel, TypesHaveTheirPortsAndPayloads) {
    EXPECT_TRUE(is_ovsdb_tunnel_type("geneve"));
    EXPECT_FALSE(is_ovsdb_tunnel_type("stt"));
    EXPECT_EQ(tunnel("gre", {}).type, "gre");
    EXPECT_EQ(tunnel("gre", {}).dst_port, 0);
    EXPECT_EQ(tunnel("vxlan", {}).dst_port, 4789);
    EXPECT_EQ(tunnel("geneve", {}).dst_port, 6081);
    EXPECT_EQ(tunnel("lisp", {}).dst_port, 4341);
    EXPECT_EQ(tunnel("lisp", {}).packet_type, Payload::ip);
    const TunnelConfig v6 = tunnel("ip6gre", {{"remote_ip", "fd00::2"}});
    EXPECT_EQ(v6.type, "gre");
    EXPECT_EQ(v6.remote_ip, IpAddress::parse("fd00::2"));
    EXPECT_EQ(tunnel("ip6gre", {}).remote_ip, IpAddress::parse("192.0.2.2"));
}

TEST(OvsdbTunnel, DefaultsAreThoseOfOpenVSwitch) {
    const TunnelConfig plain = tunnel("vxlan", {});
    EXPECT_EQ(plain.name, "t");
    EXPECT_EQ(plain.ttl, 64);
    EXPECT_EQ(plain.tos, 0);
    EXPECT_TRUE(plain.df);
    EXPECT_FALSE(plain.csum);
    EXPECT_FALSE(plain.in_key.has_value());
    EXPECT_FALSE(plain.out_key.has_value());
    EXPECT_FALSE(plain.local_ip.has_value());
}

TEST(OvsdbTunnel, RemoteIpIsRequired) {
    EXPECT_EQ(read("vxlan", {}).error, "t: vxlan type requires valid 'remote_ip' argument");
    EXPECT_EQ(
        error("gre", {{"remote_ip", "::"}}), "t: gre type requires valid 'remote_ip' argument"
    );
    EXPECT_EQ(
        error("vxlan", {{"remote_ip", "foo"}}),
        "t: bad vxlan 'remote_ip'\nt: vxlan type requires valid 'remote_ip' argument"
    );
    EXPECT_EQ(
        error("vxlan", {{"remote_ip", "foo.bar"}, {"zz", "1"}}),
        "t: unknown vxlan argument 'zz'\nt: bad vxlan 'remote_ip'\n"
        "t: vxlan type requires valid 'remote_ip' argument"
    );
    EXPECT_EQ(
        error("vxlan", {{"remote_ip", "224.0.0.1"}, {"zz", "1"}}),
        "t: unknown vxlan argument 'zz'\nt: multicast remote_ip=224.0.0.1 not allowed"
    );
    EXPECT_EQ(
        error("geneve", {{"remote_ip", "ff02::1"}}), "t: multicast remote_ip=ff02::1 not allowed"
    );
}

TEST(OvsdbTunnel, AddressesOfNoHostAreRefused) {
    for (const char* address : {"0.0.0.0", "255.255.255.255"}) {
        EXPECT_EQ(
            error("vxlan", {{"remote_ip", address}}),
            "t: remote_ip=" + std::string(address) +
                " is not the address of a host; valid: a unicast address, or \"flow\""
        );
    }
    EXPECT_THAT(
        error("vxlan", {{"local_ip", "224.1.1.1"}}), StartsWith("t: local_ip=224.1.1.1 is")
    );
}

TEST(OvsdbTunnel, LocalIpIsCheckedAgainstRemoteIp) {
    EXPECT_EQ(tunnel("gre", {{"local_ip", "192.0.2.1"}}).local_ip, IpAddress::parse("192.0.2.1"));
    EXPECT_FALSE(tunnel("gre", {{"local_ip", "::"}}).local_ip.has_value());
    EXPECT_THAT(warnings("vxlan", {{"local_ip", "foo"}}), ElementsAre("t: bad vxlan 'local_ip'"));
    EXPECT_EQ(
        error("vxlan", {{"local_ip", "flow"}}),
        "t: vxlan type requires 'remote_ip=flow' with 'local_ip=flow'"
    );
    EXPECT_EQ(
        error("vxlan", {{"local_ip", "fd00::1"}}),
        "t: 'remote_ip' and 'local_ip' has to be of the same address family"
    );
    const TunnelConfig flow = tunnel("vxlan", {{"remote_ip", "flow"}, {"local_ip", "flow"}});
    EXPECT_TRUE(flow.remote_flow);
    EXPECT_TRUE(flow.local_flow);
    EXPECT_TRUE(tunnel("vxlan", {{"remote_ip", "flow"}, {"local_ip", "fd00::1"}}).remote_flow);
}

TEST(OvsdbTunnel, KeysAreNumbersOfAnyBaseOrFlow) {
    const TunnelConfig both = tunnel("gre", {{"key", "0x10"}});
    EXPECT_EQ(both.in_key, 16U);
    EXPECT_EQ(both.out_key, 16U);
    const TunnelConfig each = tunnel("gre", {{"key", "5"}, {"in_key", "010"}, {"out_key", "flow"}});
    EXPECT_EQ(each.in_key, 8U);
    EXPECT_TRUE(each.out_key_flow);
    EXPECT_FALSE(each.out_key.has_value());
    EXPECT_TRUE(tunnel("vxlan", {{"key", "flow"}}).in_key_flow);
    EXPECT_EQ(tunnel("vxlan", {{"key", "no number"}}).in_key, 0U);
    EXPECT_EQ(tunnel("gre", {{"key", "4294967295"}}).in_key, 4294967295U);
}

TEST(OvsdbTunnel, KeysThatTheHeaderCannotHoldAreRefused) {
    EXPECT_EQ(
        error("gre", {{"key", "0x1ffffffff"}}),
        "t: key=0x1ffffffff is out of range for gre; valid: 0-4294967295, or \"flow\""
    );
    EXPECT_EQ(
        error("vxlan", {{"out_key", "16777216"}}),
        "t: out_key=16777216 is out of range for vxlan; valid: 0-16777215, or \"flow\""
    );
    EXPECT_THAT(error("lisp", {{"in_key", "-1"}}), StartsWith("t: in_key=-1 is out of range"));
}

TEST(OvsdbTunnel, TosAndTtlAreNumbersOrInherit) {
    EXPECT_EQ(tunnel("gre", {{"tos", "0x10"}}).tos, 0x10);
    EXPECT_TRUE(tunnel("gre", {{"tos", "inherit"}}).tos_inherit);
    EXPECT_THAT(warnings("gre", {{"tos", "3"}}), ElementsAre("t: invalid TOS 3"));
    EXPECT_THAT(warnings("gre", {{"tos", "x"}}), ElementsAre("t: invalid TOS x"));
    EXPECT_THAT(warnings("gre", {{"tos", "256"}}), ElementsAre("t: invalid TOS 256"));
    EXPECT_EQ(tunnel("gre", {{"ttl", "7"}}).ttl, 7);
    EXPECT_EQ(tunnel("gre", {{"ttl", "0"}}).ttl, 64);
    EXPECT_EQ(tunnel("gre", {{"ttl", "x"}}).ttl, 64);
    EXPECT_TRUE(tunnel("gre", {{"ttl", "inherit"}}).ttl_inherit);
    EXPECT_THAT(warnings("gre", {{"ttl", "300"}}), ElementsAre("t: invalid TTL 300, taking 64"));
}

TEST(OvsdbTunnel, OnlyTheWordsTrueAndFalseCount) {
    EXPECT_FALSE(tunnel("gre", {{"df_default", "false"}}).df);
    EXPECT_TRUE(tunnel("gre", {{"df_default", "FALSE"}}).df);
    EXPECT_TRUE(tunnel("gre", {{"csum", "true"}}).csum);
    EXPECT_FALSE(tunnel("vxlan", {{"csum", "TRUE"}}).csum);
    EXPECT_TRUE(tunnel("gre", {{"seq", "true"}}).seq);
    EXPECT_EQ(tunnel("gre", {{"egress_pkt_mark", "17"}}).egress_mark, 17U);
    EXPECT_EQ(tunnel("gre", {{"egress_pkt_mark", "abc"}}).egress_mark, 0U);
}

TEST(OvsdbTunnel, OptionsOfOtherTypesAreUnknown) {
    EXPECT_THAT(
        warnings("gre", {{"dst_port", "5"}}), ElementsAre("t: unknown gre argument 'dst_port'")
    );
    EXPECT_THAT(
        warnings("vxlan", {{"seq", "true"}}), ElementsAre("t: unknown vxlan argument 'seq'")
    );
    EXPECT_THAT(
        warnings("lisp", {{"csum", "true"}}), ElementsAre("t: unknown lisp argument 'csum'")
    );
    EXPECT_THAT(
        warnings("geneve", {{"exts", "gbp"}}), ElementsAre("t: unknown geneve argument 'exts'")
    );
    EXPECT_THAT(warnings("ip6gre", {{"x", ""}}), ElementsAre("t: unknown ip6gre argument 'x'"));
}

TEST(OvsdbTunnel, DstPortIsAUdpPort) {
    EXPECT_EQ(tunnel("vxlan", {{"dst_port", "8472"}}).dst_port, 8472);
    for (const char* port : {"0", "70000", "bar"}) {
        EXPECT_EQ(
            error("vxlan", {{"dst_port", port}}),
            "t: dst_port=" + std::string(port) + " is not a UDP port; valid: 1-65535"
        );
    }
}

TEST(OvsdbTunnel, ExtensionsChooseGroupPolicyOrGpe) {
    EXPECT_TRUE(tunnel("vxlan", {{"exts", "gbp"}}).gbp);
    EXPECT_EQ(tunnel("vxlan", {{"exts", "gbp"}, {"gbp_id", "5"}}).gbp_id, 5);
    EXPECT_EQ(tunnel("vxlan", {{"exts", "gbp"}, {"gbp_admit", "6"}}).gbp_admit, 6);
    EXPECT_THAT(
        warnings("vxlan", {{"exts", "gbp,foo"}}), ElementsAre("t: unknown extension 'foo'")
    );
    const TunnelConfig gpe = tunnel("vxlan", {{"exts", "gpe"}, {"packet_type", "legacy_l3"}});
    EXPECT_EQ(gpe.type, "vxlan-gpe");
    EXPECT_EQ(gpe.dst_port, 4789);
    EXPECT_EQ(gpe.packet_type, Payload::ip);
    EXPECT_THAT(error("vxlan", {{"exts", "gbp,gpe"}}), HasSubstr("valid: gbp or gpe"));
    EXPECT_THAT(error("vxlan", {{"gbp_id", "5"}}), HasSubstr("valid: exts=gbp beside it"));
    EXPECT_THAT(
        error("vxlan", {{"exts", "gbp"}, {"gbp_id", "70000"}}), HasSubstr("valid: 0-65535")
    );
}

TEST(OvsdbTunnel, PacketTypeHasToFitTheType) {
    EXPECT_EQ(tunnel("gre", {{"packet_type", "legacy_l3"}}).packet_type, Payload::ip);
    EXPECT_EQ(tunnel("gre", {{"packet_type", "legacy_l2"}}).packet_type, Payload::ethernet);
    EXPECT_EQ(tunnel("lisp", {{"packet_type", "ptap"}}).packet_type, Payload::ip);
    EXPECT_EQ(tunnel("vxlan", {{"packet_type", "ptap"}}).packet_type, Payload::ethernet);
    EXPECT_THAT(
        warnings("gre", {{"packet_type", "ptap"}}),
        ElementsAre("t: packet_type=ptap carries Ethernet frames only")
    );
    EXPECT_EQ(
        error("vxlan", {{"packet_type", "legacy_l3"}, {"abc", "1"}}),
        "t: unknown vxlan argument 'abc'\n"
        "t: legacy_l3 configured on VXLAN (without GPE) tunnel that cannot carry L3 traffic"
    );
    EXPECT_EQ(
        error("lisp", {{"packet_type", "legacy_l2"}}),
        "t: legacy_l2 configured on lisp tunnel that cannot carry L2 traffic"
    );
    EXPECT_EQ(
        error("geneve", {{"packet_type", "legacy_l3"}}),
        "t: legacy_l3 configured on geneve tunnel that cannot carry L3 traffic"
    );
    EXPECT_EQ(
        error("ip6gre", {{"packet_type", "legacy_l3"}}),
        "t: legacy_l3 configured on ip6gre tunnel that cannot carry L3 traffic"
    );
    EXPECT_EQ(error("gre", {{"packet_type", "foo"}}), "t: unknown packet_type 'foo'");
}

TEST(OvsdbTunnel, APskEncryptsEveryType) {
    EXPECT_FALSE(tunnel("gre", {}).is_encrypted());
    for (const char* type : {"gre", "vxlan", "geneve", "lisp"}) {
        const TunnelConfig encrypted = tunnel(type, {{"psk", "sesame"}});
        ASSERT_TRUE(encrypted.ike.has_value()) << type;
        EXPECT_EQ(encrypted.ike->psk.reveal(), "sesame");
        EXPECT_FALSE(encrypted.ike->udp_encap);
        EXPECT_FALSE(encrypted.esp.has_value());
    }
    EXPECT_EQ(tunnel("vxlan", {{"psk", "a"}, {"exts", "gpe"}}).ike->psk.reveal(), "a");
}

TEST(OvsdbTunnel, CertificatesNeedThoseOfTheHost) {
    IkeDaemonConfig daemon;
    const std::string needs = " needs a certificate of this host; valid: other_config:certificate "
                              "and other_config:private_key of Open_vSwitch";
    EXPECT_EQ(error("gre", {{"remote_cert", "/peer"}}), "t: remote_cert" + needs);
    EXPECT_EQ(error("gre", {{"remote_name", "peer"}}), "t: remote_name" + needs);
    daemon.certificate = "/c";
    daemon.private_key = "/k";
    const auto read_with = [&](OvsdbOptions options) {
        options.emplace("remote_ip", "192.0.2.2");
        return read_ovsdb_tunnel("t", "gre", options, daemon);
    };
    EXPECT_EQ(read_with({{"remote_cert", "/peer"}}).tunnel->ike->remote_cert, "/peer");
    EXPECT_EQ(
        read_with({{"remote_name", "peer"}}).error,
        "t: remote_name needs the certificate of who signed the peer's; valid: "
        "other_config:ca_cert of Open_vSwitch"
    );
    daemon.ca_cert = "/ca";
    EXPECT_EQ(read_with({{"remote_name", "peer"}}).tunnel->ike->remote_name, "peer");
    const OvsdbTunnel both = read_with({{"remote_cert", "/peer"}, {"remote_name", "peer"}});
    EXPECT_EQ(both.tunnel->ike->remote_cert, "/peer");
    EXPECT_EQ(both.tunnel->ike->remote_name, "");
    EXPECT_THAT(
        both.warnings,
        ElementsAre("t: remote_name has no effect beside remote_cert, which has the peer's name")
    );
    EXPECT_TRUE(read_with({{"psk", "a"}}).tunnel.has_value());
    EXPECT_EQ(
        read_with({{"remote_cert", "peer"}}).error,
        "t: remote_cert=peer is not an absolute path; valid: the file with the peer's certificate"
    );
    EXPECT_THAT(read_with({{"remote_name", ""}}).error, StartsWith("t: remote_name is empty; "));
}

TEST(OvsdbTunnel, WhatWantsEncryptionIsNotSentInClear) {
    const std::string valid =
        "; valid: a pre-shared key of 1-1024 bytes without control characters";
    // An empty value too: somebody meant it.
    EXPECT_EQ(error("vxlan", {{"psk", ""}}), "t: psk is empty" + valid);
    EXPECT_EQ(error("vxlan", {{"psk", std::string(1025, 'x')}}), "t: psk is too long" + valid);
    EXPECT_EQ(error("vxlan", {{"psk", "x\ny"}}), "t: psk has a control character" + valid);
    for (const char* other : {"remote_cert", "remote_name"}) {
        EXPECT_EQ(
            error("gre", {{"psk", "sesame"}, {other, "/a"}}),
            "t: psk cannot stand beside " + std::string(other) +
                "; valid: a pre-shared key or certificates, not both"
        );
    }
    EXPECT_EQ(
        error("gre", {{"psk", "sesame"}, {"remote_ip", "flow"}}),
        "t: an encrypted tunnel needs one peer; valid: an address in remote_ip"
    );
}

TEST(OvsdbTunnel, OptionsOfTheIkeDaemonAreForUdp) {
    for (const char* key : {"ipsec_encapsulation", "ipsec_forceencaps"}) {
        EXPECT_TRUE(tunnel("gre", {{"psk", "a"}, {key, "yes"}}).ike->udp_encap);
        EXPECT_FALSE(tunnel("gre", {{"psk", "a"}, {key, "no"}}).ike->udp_encap);
    }
    EXPECT_THAT(
        warnings("gre", {{"psk", "a"}, {"ipsec_ikelifetime", "1h"}}),
        ElementsAre("t: ipsec_ikelifetime has no effect; valid: ipsec_encapsulation, "
                    "ipsec_forceencaps")
    );
}

TEST(OvsdbTunnel, WhoDrivesTheIkeDaemonJudgesItsOptions) {
    IkeDaemonConfig daemon;
    daemon.control = IkeControl::follow;
    for (const char* key : {"psk", "remote_cert", "remote_name"}) {
        const OvsdbTunnel read =
            read_ovsdb_tunnel("t", "gre", {{"remote_ip", "192.0.2.2"}, {key, ""}}, daemon);
        ASSERT_TRUE(read.tunnel.has_value()) << read.error;
        EXPECT_EQ(read.tunnel->ike, IkeConfig{}) << "and the key is not kept";
    }
}

TEST(OvsdbTunnel, CulvertsOwnOptionsAreTaken) {
    const TunnelConfig udp = tunnel(
        "vxlan",
        {{"ecn", "compatibility"},
         {"oversize", "clamp-mss"},
         {"src_port_min", "50000"},
         {"src_port_max", "50100"},
         {"udp6_zero_csum_rx", "true"}}
    );
    EXPECT_EQ(udp.ecn, tunnels::EcnMode::compatibility);
    EXPECT_EQ(udp.oversize, dataplane::Oversize::clamp_mss);
    EXPECT_EQ(udp.src_port_min, 50000);
    EXPECT_EQ(udp.src_port_max, 50100);
    EXPECT_TRUE(udp.udp6_zero_csum_rx);
    EXPECT_EQ(tunnel("gre", {{"late", "drop"}}).late, LatePolicy::drop);
    EXPECT_TRUE(tunnel("gre", {{"nvgre", "true"}, {"key", "5"}}).nvgre);
    EXPECT_TRUE(
        tunnel("vxlan", {{"remote_ip", "fd00::2"}, {"udp6_zero_csum_tx", "true"}}).udp6_zero_csum_tx
    );
    const TunnelConfig geneve = tunnel("geneve", {{"options", "0x0102:0x80:00000001,0x0103:1:"}});
    ASSERT_EQ(geneve.options.size(), 2U);
    EXPECT_EQ(geneve.options[0].option_class, 0x0102);
    EXPECT_EQ(geneve.options[1].type, 1);
}

TEST(OvsdbTunnel, BadValuesOfCulvertsOwnOptionsAreErrors) {
    EXPECT_EQ(error("gre", {{"ecn", "x"}}), "t: ecn=x is unknown; valid: normal, compatibility");
    EXPECT_THAT(error("gre", {{"oversize", "x"}}), HasSubstr("valid: ptb, fragment-outer"));
    EXPECT_THAT(error("gre", {{"late", "x"}}), HasSubstr("valid: accept, drop"));
    EXPECT_THAT(error("vxlan", {{"src_port_min", "1"}}), HasSubstr("valid: 1024-65535"));
    EXPECT_THAT(error("vxlan", {{"src_port_min", "61001"}}), HasSubstr("61001-61000"));
    EXPECT_THAT(error("vxlan", {{"src_port_max", "2000"}}), HasSubstr("32768-2000"));
    EXPECT_THAT(error("vxlan", {{"udp6_zero_csum_rx", "1"}}), HasSubstr("valid: true, false"));
    EXPECT_THAT(error("vxlan", {{"udp6_zero_csum_tx", "true"}}), HasSubstr("needs IPv6"));
    EXPECT_THAT(error("geneve", {{"options", "zz"}}), HasSubstr("CLASS:TYPE:DATA"));
    EXPECT_THAT(error("geneve", {{"options", "1:1:,1:1:"}}), HasSubstr("twice"));
    EXPECT_THAT(
        error("geneve", {{"options", "1:1:" + std::string(88, '0') + ",1:2:00000000"}}),
        HasSubstr("56 bytes")
    );
}

TEST(OvsdbTunnel, NvgreHasKeyAndNoOptionalFields) {
    EXPECT_THAT(error("gre", {{"nvgre", "true"}}), HasSubstr("needs a key"));
    EXPECT_THAT(
        error("gre", {{"nvgre", "true"}, {"key", "5"}, {"seq", "true"}}),
        HasSubstr("seq=true contradicts")
    );
    EXPECT_THAT(
        error("gre", {{"nvgre", "true"}, {"key", "5"}, {"packet_type", "legacy_l3"}}),
        HasSubstr("carries Ethernet frames")
    );
    EXPECT_THAT(error("gre", {{"nvgre", "true"}, {"key", "16777216"}}), HasSubstr("an NVGRE VSID"));
}

TEST(OvsdbTunnel, FragmentsOfTheOuterPacketNeedDfOff) {
    EXPECT_FALSE(tunnel("gre", {{"oversize", "fragment-outer"}}).df);
    EXPECT_FALSE(tunnel("gre", {{"oversize", "fragment-outer"}, {"df_default", "false"}}).df);
    EXPECT_THAT(
        error("gre", {{"oversize", "fragment-outer"}, {"df_default", "true"}}),
        HasSubstr("contradicts df_default=true")
    );
}

}  // namespace
}  // namespace culvert::ctl
