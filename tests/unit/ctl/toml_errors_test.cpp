// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sentence for each mistake in a single item of the configuration file; tunnels are in
// toml_tunnel_test.cpp. What two items must not say about each other is in validate_test.cpp.
#include "ctl/toml_source.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {

namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(TomlSource, SyntaxErrorNamesLineAndColumn) {
    EXPECT_EQ(
        error_of("[daemon]\nsocket \"x\"\n"),
        "f:2:8: error while parsing key-value pair: expected '=', saw '\"'"
    );
    EXPECT_THAT(error_of("\n[[port]]\nname = \"a\"\nname = \"b\"\n"), StartsWith("f:4:"));
    EXPECT_THAT(error_of("a = \"\xff\"\n"), StartsWith("f:1:"));
}

TEST(TomlSource, HeaderWithoutAKeyIsASyntaxError) {
    EXPECT_EQ(
        error_of("\n[&port]]\n"),
        "f:2:2: error while parsing key: expected bare key starting character or string delimiter, "
        "saw '&'"
    );
    EXPECT_THAT(error_of("[[[port]]]\n"), StartsWith("f:1:3: error while parsing key: "));
    EXPECT_THAT(error_of("[[\n"), StartsWith("f:1:3: error while parsing "));
}

TEST(TomlSource, IntegerThatNoKeyCanHaveIsShownWithItsKey) {
    const std::string rule = " holds an integer that is out of range; valid: -9223372036854775808 "
                             "to 9223372036854775807 at most";
    EXPECT_EQ(
        error_of("[dpdk]\n  mbufs = 9223372036854775808 \r\n"),
        "f:2:30: \"mbufs = 9223372036854775808\"" + rule
    );
    EXPECT_EQ(
        error_of("mtu = 0x10000000000000000"), "f:1:26: \"mtu = 0x10000000000000000\"" + rule
    );
    const std::string digits(100, '9');
    EXPECT_EQ(
        error_of("\n\n\nmtu = -" + digits + "\n"),
        "f:4:108: \"mtu = -" + digits.substr(0, 73) + "...\"" + rule
    );
}

TEST(TomlSource, LettersOutsideOfAsciiAreASyntaxErrorOutsideOfStrings) {
    for (const std::string letter : {"\xc2\xa7", "\xc3\xa9", "\xe3\x80\x81", "\xef\xbb\xbe"}) {
        EXPECT_THAT(error_of("a = 1" + letter + "\n"), StartsWith("f:1:6: error while parsing "));
        EXPECT_THAT(error_of("\n" + letter + "a = 1\n"), StartsWith("f:2:1: error while parsing "));
        EXPECT_THAT(
            error_of("[daemon]\nlog_level = \"\"\"\\\n" + letter + "\"\"\"\n"),
            HasSubstr("log_level = \"" + letter + "\" is unknown")
        );
    }
}

TEST(TomlSource, UnknownKeyNamesTheNearestAndAllValidKeys) {
    expect_refusals({
        {"[workers]\ncpu = [1]\n",
         "f:2: [workers]: unknown key \"cpu\" (did you mean \"cpus\"?); valid: count, cpus, idle, "
         "idle_sleep_us, spread"},
        {kBridge + "[bridge.local]\nzzzzzz = 1\n",
         "f:4: [bridge.local] of \"br0\": unknown key \"zzzzzz\"; valid: addresses, mac, mtu, up, "
         "vlan_mode, tag, trunks"},
        {kTunnel + "Remote-IP = \"1.2.3.4\"\n",
         "f:8: [[tunnel]] \"t1\": unknown key \"Remote-IP\" (did you mean \"remote_ip\"?); valid: "
         "name, bridge, type, packet_type, remote_ip, local_ip, key, in_key, out_key, nvgre, "
         "dst_port, src_port_min, src_port_max, tos, ttl, df, csum, udp6_zero_csum_rx, "
         "udp6_zero_csum_tx, egress_mark, ecn, oversize, seq, late, gbp, gbp_id, gbp_admit, "
         "options, vlan_mode, tag, trunks, esp, ike"},
    });
}

TEST(TomlSource, UnknownSectionNamesTheNearestAndAllSections) {
    const std::string sections =
        "; valid sections: [daemon], [dpdk], [workers], [flow_cache], [firewall], [ike], "
        "[[bridge]], [[port]], [[bond]], [[tunnel]]";
    expect_refusals({
        {"\n[[tunel]]\n", "f:2: unknown section \"tunel\" (did you mean [[tunnel]]?)" + sections},
        {"[logging]\n", "f:1: unknown section \"logging\"" + sections},
        {"mtu = 1\n", "f:1: unknown key outside of a section \"mtu\"" + sections},
    });
}

TEST(TomlSource, SectionOfTheWrongShapeIsRefused) {
    expect_refusals({
        {"[port]\nname = \"p\"\n",
         "f:1: [[port]]: must be a list of tables, each written [[port]]"},
        {"[[daemon]]\n", "f:1: [daemon]: must be one table, not a list of them"},
        {"daemon = 5\n", "f:1: [daemon]: must be a table, got the integer 5"},
        {"port = [1]\n", "f:1: [[port]]: must be a table, got the integer 1"},
        {kBridge + "[bridge.static_mac]\n",
         "f:3: [[bridge.static_mac]]: must be a list of tables, each written "
         "[[bridge.static_mac]]"},
        {kBridge + "[[bridge.local]]\n",
         "f:3: [bridge.local]: must be one table, not a list of them"},
    });
}

TEST(TomlSource, WrongTypeNamesTheTypeAndTheValue) {
    expect_refusals({
        {kPort + "mtu = \"abc\"\n",
         "f:6: [[port]] \"p1\": \"mtu\" must be an integer (68-65535), got the string \"abc\""},
        {kPort + "mtu = 1500.0\n",
         "f:6: [[port]] \"p1\": \"mtu\" must be an integer (68-65535), got a floating-point "
         "number"},
        {kPort + "claim = 1\n",
         "f:6: [[port]] \"p1\": \"claim\" must be true or false, got the integer 1"},
        {kPort + "trunks = 5\n",
         "f:6: [[port]] \"p1\": \"trunks\" must be a list of integers (0-4094), got the integer 5"},
        {kPort + "trunks = [1,\n true]\n",
         "f:7: [[port]] \"p1\": \"trunks[1]\" must be an integer (0-4094), got the boolean true"},
        {kPort + "kind = [\"tap\"]\n",
         "f:6: [[port]] \"p1\": \"kind\" must be a string (\"linux\", \"tap\", \"dpdk\", "
         "\"patch\"), got a "
         "list"},
        {"[dpdk]\nextra_args = \"-v\"\n",
         "f:2: [dpdk]: \"extra_args\" must be a list of strings (one EAL argument each), got the "
         "string \"-v\""},
        {"[dpdk]\nextra_args = [2020-01-01]\n",
         "f:2: [dpdk]: \"extra_args[0]\" must be a string (one EAL argument each), got a date or "
         "time"},
        {"[[bridge]]\nname = 5\n",
         "f:2: [[bridge]]: \"name\" must be a string (1-63 letters, digits, '.', '_' or '-', the "
         "first a letter or digit), got the integer 5"},
    });
}

TEST(TomlSource, TooFewPacketBuffersAreRefused) {
    EXPECT_EQ(
        error_of("[dpdk]\nmbufs = 4095\n"),
        "f:2: [dpdk]: mbufs = 4095 is too few; valid: 0 (automatic) or 4096-1048576"
    );
    EXPECT_EQ(state_of("[dpdk]\nmbufs = 4096\n").dpdk.mbufs, 4096U);
}

/// The keys with a range: values just outside of it are refused, those at its ends are accepted.
TEST(TomlSource, RangesHoldAtBothEnds) {
    struct Bound {
        std::string head;
        std::string key;
        std::string subject;
        std::uint64_t min;
        std::uint64_t max;
    };
    const std::string local = kBridge + "[bridge.local]\n";
    const std::vector<Bound> bounds{
        {"[dpdk]\n", "memory_mb", "[dpdk]", 0, 1048576},
        {"[dpdk]\n", "mbufs", "[dpdk]", 0, 1048576},
        {"[workers]\n", "count", "[workers]", 0, 32},
        {"[workers]\n", "idle_sleep_us", "[workers]", 1, 10000},
        {"[flow_cache]\n", "max_flows", "[flow_cache]", 1024, 16777216},
        {"[flow_cache]\n", "idle_timeout_s", "[flow_cache]", 1, 3600},
        {kBridge, "mac_ageing_s", "[[bridge]] \"br0\"", 10, 1000000},
        {kBridge, "mac_table_size", "[[bridge]] \"br0\"", 16, 1000000},
        {local, "mtu", "[bridge.local] of \"br0\"", 68, 65521},
        {local, "tag", "[bridge.local] of \"br0\"", 1, 4094},
        {kPort, "mtu", "[[port]] \"p1\"", 68, 65535},
        {kPort + "kind = \"tap\"\n", "mtu", "[[port]] \"p1\"", 68, 65521},
        {kPort, "tag", "[[port]] \"p1\"", 1, 4094},
        {kDpdkPort, "rx_queues", "[[port]] \"p1\"", 0, 32},
        {kTunnel, "tag", "[[tunnel]] \"t1\"", 1, 4094},
        {kTunnel, "dst_port", "[[tunnel]] \"t1\"", 1, 65535},
        {kTunnel + "src_port_max = 65535\n", "src_port_min", "[[tunnel]] \"t1\"", 1024, 65535},
        {kTunnel + "src_port_min = 1024\n", "src_port_max", "[[tunnel]] \"t1\"", 1024, 65535},
        {kTunnel, "egress_mark", "[[tunnel]] \"t1\"", 0, 4294967295},
        {kTunnel + "gbp = true\n", "gbp_id", "[[tunnel]] \"t1\"", 0, 65535},
        {kTunnel + "gbp = true\n", "gbp_admit", "[[tunnel]] \"t1\"", 0, 65535},
    };
    for (const Bound& bound : bounds) {
        const auto with = [&](const std::string& value) {
            return bound.head + bound.key + " = " + value + "\n";
        };
        const std::string range = std::to_string(bound.min) + "-" + std::to_string(bound.max);
        const auto line = std::count(bound.head.begin(), bound.head.end(), '\n') + 1;
        const std::string below =
            bound.min == 0 ? std::string("-1") : std::to_string(bound.min - 1);
        for (const std::string& value :
             {below,
              std::to_string(bound.max + 1),
              std::string("-9223372036854775808"),
              std::string("9223372036854775807")}) {
            EXPECT_EQ(
                error_of(with(value)),
                concat(
                    {"f:",
                     std::to_string(line),
                     ": ",
                     bound.subject,
                     ": ",
                     bound.key,
                     " = ",
                     value,
                     " is out of range; valid: ",
                     range}
                )
            );
        }
        EXPECT_TRUE(parse_toml(with(std::to_string(bound.min)), "f").has_value()) << bound.key;
        EXPECT_TRUE(parse_toml(with(std::to_string(bound.max)), "f").has_value()) << bound.key;
    }
}

TEST(TomlSource, SettingsThatCannotWorkAreRefused) {
    expect_refusals({
        {"[daemon]\nsocket = \"x.ctl\"\n",
         "f:2: [daemon]: socket = \"x.ctl\" is not an absolute path; valid: an absolute path of at "
         "most 107 bytes"},
        {"[daemon]\nlog_level = \"loud\"\n",
         "f:2: [daemon]: log_level = \"loud\" is unknown; valid: \"debug\", \"info\", \"warning\", "
         "\"error\""},
        {"[daemon]\nlog_file = \"\"\n",
         "f:2: [daemon]: log_file = \"\" is empty; valid: one or more printable characters"},
        {"[daemon]\ncontrol_cpus = [1024]\n",
         "f:2: [daemon]: control_cpus[0] = 1024 is out of range; valid: 0-1023"},
        {"[dpdk]\nextra_args = [\"a\\u0000b\"]\n",
         "f:2: [dpdk]: extra_args[0] = \"a\\x00b\" is empty or holds a control character; valid: "
         "one EAL argument each"},
        {"[workers]\ncpus = [1, 2, 1]\n",
         "f:2: [workers]: cpus[2] = 1 is listed twice; valid: each CPU once"},
        {"[workers]\ncount = 3\ncpus = [1, 2]\n",
         "f:2: [workers]: count = 3 contradicts cpus, which lists 2 CPUs; valid: 2, or no such "
         "key"},
    });
    EXPECT_THAT(
        error_of("[daemon]\nsocket = \"/" + std::string(107, 'x') + "\"\n"),
        HasSubstr("is too long; valid: an absolute path of at most 107 bytes")
    );
    std::string cpus = "[workers]\ncpus = [0";
    for (unsigned i = 1; i <= 32; ++i) {
        cpus += ", " + std::to_string(i);
    }
    EXPECT_EQ(error_of(cpus + "]\n"), "f:2: [workers]: cpus lists 33 CPUs; valid: at most 32");
}

TEST(TomlSource, FilePrefixIsAFileName) {
    for (const std::string prefix :
         {"a/b", "..", "", "-a", "a b", "\xc3\xa4", "a\\n", "abcdefghijklmnopqrstuvwxyz1234567"}) {
        EXPECT_THAT(
            error_of("[dpdk]\nfile_prefix = \"" + prefix + "\"\n"),
            HasSubstr("is not a valid name here; valid: 1-32 letters, digits, '.', '_' or '-', the "
                      "first a letter or digit")
        );
    }
}

TEST(TomlSource, BadNamesAreRefused) {
    const std::string rule = " letters, digits, '.', '_' or '-', the first a letter or digit";
    for (const std::string name : {"", ".", "-x", "a/b", "a b", "a\\tb", "\xc3\xa9t\xc3\xa9"}) {
        EXPECT_THAT(
            error_of("[[bridge]]\nname = \"" + name + "\"\n"),
            HasSubstr(" is not a valid name here; valid: 1-63" + rule)
        );
        EXPECT_THAT(
            error_of(concat({kPort, "interface = \"", name, "\"\n"})),
            HasSubstr(" is not a valid name here; valid: 1-15" + rule)
        );
    }
    expect_refusals({
        {"[[bridge]]\nname = \"abcdefghijklmnop\"\n[bridge.local]\n",
         "f:2: [[bridge]] \"abcdefghijklmnop\": name = \"abcdefghijklmnop\" is not a valid name "
         "here; valid: 1-15" +
             rule},
        {kBridge + "[[port]]\nname = \"abcdefghijklmnop\"\nbridge = \"br0\"\nkind = \"tap\"\n",
         "f:4: [[port]] \"abcdefghijklmnop\": name = \"abcdefghijklmnop\" is too long for a device "
         "name, and interface is absent; valid: 1-15" +
             rule},
        {"[[bridge]]\n", "f:1: [[bridge]]: name is missing; valid: 1-63" + rule},
        {kBridge + "[[port]]\nbridge = \"br0\"\n",
         "f:3: [[port]]: name is missing; valid: 1-63" + rule},
    });
}

TEST(TomlSource, ErrorsStayOnOneShortLine) {
    const std::string error =
        error_of("[[bridge]]\nname = \"a\\nb\\u007f" + std::string(5000, 'x') + "\"\n");
    EXPECT_THAT(error, HasSubstr("\"a\\x0ab\\x7fxxx"));
    EXPECT_LT(error.size(), 400U);
    EXPECT_EQ(error.find('\n'), std::string::npos);
    // A character of several bytes is not cut in two.
    EXPECT_THAT(
        error_of("[[bridge]]\nname = \"" + std::string(79, 'x') + "\xc3\xa4\"\n"),
        HasSubstr(std::string(79, 'x') + "...\"")
    );
}

TEST(TomlSource, BadAddressesAreRefused) {
    const std::string local = kBridge + "[bridge.local]\n";
    const std::string rule = "; valid: the address of a host with its prefix length, such as "
                             "\"172.20.0.1/24\" (1-32) or \"fd20::1/64\" (1-128)";
    for (const std::string address :
         {"172.20.0.1",
          "172.20.0.1/0",
          "172.20.0.1/33",
          "172.20.0.1/",
          "172.20.0.1/2x",
          "172.20.0.1/-1",
          "172.20.0.1/280",
          "172.20.0/24",
          "/24",
          "fd20::1/129",
          "fd20::1%eth0/64",
          "224.0.0.1/24",
          "ff02::1/64",
          "0.0.0.0/24",
          "::/64",
          "255.255.255.255/32"}) {
        EXPECT_EQ(
            error_of(concat({local, "addresses = [\"10.0.0.1/8\", \"", address, "\"]\n"})),
            concat(
                {"f:4: [bridge.local] of \"br0\": addresses[1] = \"",
                 address,
                 "\" is not an interface address",
                 rule}
            )
        );
    }
    EXPECT_EQ(
        error_of(local + "addresses = [\"10.0.0.1/8\", \"10.0.0.1/24\"]\n"),
        "f:4: [bridge.local] of \"br0\": addresses[1] = \"10.0.0.1/24\" is listed twice; valid: "
        "each address once"
    );
}

TEST(TomlSource, BadMacAddressesAreRefused) {
    const std::string tap = kPort + "kind = \"tap\"\n";
    const std::string rule = "; valid: six hexadecimal octets such as \"02:00:00:00:00:01\", the "
                             "first one even";
    expect_refusals({
        {tap + "mac = \"02:00:00:00:00\"\n",
         "f:7: [[port]] \"p1\": mac = \"02:00:00:00:00\" is not a MAC address" + rule},
        {tap + "mac = \"01:00:00:00:00:01\"\n",
         "f:7: [[port]] \"p1\": mac = \"01:00:00:00:00:01\" is a group MAC address" + rule},
        {tap + "mac = \"00:00:00:00:00:00\"\n",
         "f:7: [[port]] \"p1\": mac = \"00:00:00:00:00:00\" is all zero" + rule},
        {kBridge + "[[bridge.static_mac]]\nmac = \"ff:ff:ff:ff:ff:ff\"\nport = \"br0\"\n",
         "f:4: [[bridge.static_mac]] of \"br0\": mac = \"ff:ff:ff:ff:ff:ff\" is a group MAC "
         "address" +
             rule},
        {kBridge + "[[bridge.static_mac]]\nport = \"br0\"\n",
         "f:3: [[bridge.static_mac]] of \"br0\": mac is missing; valid: a unicast MAC address such "
         "as \"02:00:00:00:00:01\""},
    });
}

TEST(TomlSource, ContradictoryVlanKeysAreRefused) {
    expect_refusals({
        {kPort + "tag = 5\ntrunks = [6]\n",
         "f:7: [[port]] \"p1\": tag and trunks together need a vlan_mode; valid: "
         "\"native-untagged\", \"native-tagged\""},
        {kPort + "vlan_mode = \"trunk\"\ntag = 5\n",
         "f:7: [[port]] \"p1\": tag does not apply to vlan_mode = \"trunk\"; valid: \"access\", "
         "\"native-untagged\" or \"native-tagged\" with a tag"},
        {kPort + "vlan_mode = \"access\"\n",
         "f:6: [[port]] \"p1\": vlan_mode = \"access\" needs a tag; valid: 1-4094"},
        {kTunnel + "vlan_mode = \"native-tagged\"\ntrunks = [1]\n",
         "f:8: [[tunnel]] \"t1\": vlan_mode = \"native-tagged\" needs a tag; valid: 1-4094"},
        {kPort + "vlan_mode = \"access\"\ntag = 5\ntrunks = [5]\n",
         "f:8: [[port]] \"p1\": trunks does not apply to vlan_mode = \"access\", which carries the "
         "VLAN of tag only; valid: \"trunk\", \"native-untagged\" or \"native-tagged\" with "
         "trunks"},
        {kPort + "trunks = [1, 4095]\n",
         "f:6: [[port]] \"p1\": trunks[1] = 4095 is out of range; valid: 0-4094"},
        {kPort + "trunks = []\n",
         "f:6: [[port]] \"p1\": trunks lists no VLAN; valid: a list of 0-4094, or no such key, "
         "which carries every VLAN"},
        {kPort + "vlan_mode = \"dot1q\"\n",
         "f:6: [[port]] \"p1\": vlan_mode = \"dot1q\" is unknown; valid: \"trunk\", \"access\", "
         "\"native-untagged\", \"native-tagged\""},
    });
}

TEST(TomlSource, KeysOfAnotherKindOfPortAreRefused) {
    const std::string tap = kPort + "kind = \"tap\"\n";
    expect_refusals({
        {kPort + "devargs = \"net_null0\"\n",
         "f:6: [[port]] \"p1\": devargs does not apply to kind = \"linux\"; valid: \"dpdk\" "
         "ports"},
        {kPort + "rx_queues = 1\n",
         "f:6: [[port]] \"p1\": rx_queues does not apply to kind = \"linux\"; valid: \"dpdk\" "
         "ports"},
        {kPort + "mac = \"02:00:00:00:00:01\"\n",
         "f:6: [[port]] \"p1\": mac does not apply to kind = \"linux\"; valid: \"tap\" ports"},
        {tap + "claim = true\n",
         "f:7: [[port]] \"p1\": claim does not apply to kind = \"tap\"; valid: \"linux\" ports"},
        {tap + "hotplug = false\n",
         "f:7: [[port]] \"p1\": hotplug does not apply to kind = \"tap\"; valid: \"linux\" ports"},
        {kDpdkPort + "claim = true\n",
         "f:8: [[port]] \"p1\": claim does not apply to kind = \"dpdk\"; valid: \"linux\" ports"},
        {kDpdkPort + "interface = \"eth0\"\n",
         "f:8: [[port]] \"p1\": interface does not apply to kind = \"dpdk\"; valid: \"linux\" or "
         "\"tap\" ports"},
        {kPort + "peer = \"p2\"\n",
         "f:6: [[port]] \"p1\": peer does not apply to kind = \"linux\"; valid: \"patch\" ports"},
        {kPatch + "interface = \"eth0\"\n",
         "f:8: [[port]] \"p1\": interface does not apply to kind = \"patch\"; valid: \"linux\" or "
         "\"tap\" ports"},
        {kPatch + "mtu = 1500\n",
         "f:8: [[port]] \"p1\": mtu does not apply to kind = \"patch\"; valid: ports with a "
         "device"},
        {kPatch + "rx_workers = [0]\n",
         "f:8: [[port]] \"p1\": rx_workers does not apply to kind = \"patch\"; valid: ports with a "
         "device"},
        {kPort + "kind = \"patch\"\n",
         "f:3: [[port]] \"p1\": peer is missing; valid: the name of the patch port at the other "
         "end"},
        {kPort + "kind = \"patch\"\npeer = \"p1\"\n",
         "f:3: [[port]] \"p1\": peer = \"p1\" is the port itself; valid: the name of another patch "
         "port"},
        {kPort + "kind = \"dpdk\"\n",
         "f:3: [[port]] \"p1\": devargs is missing; valid: a DPDK device such as \"0000:03:00.0\" "
         "or \"net_vhost0,iface=/run/vm.sock\""},
        {kPort + "kind = \"dpdk\"\ndevargs = \",iface=x\"\n",
         "f:7: [[port]] \"p1\": devargs = \",iface=x\" names no device; valid: DEVICE or "
         "DEVICE,OPTION=VALUE,..."},
        {kPort + "kind = \"afxdp\"\n",
         "f:6: [[port]] \"p1\": kind = \"afxdp\" is unknown; valid: \"linux\", \"tap\", \"dpdk\", "
         "\"patch\""},
    });
}

TEST(TomlSource, TunnelsNeedTheirKeys) {
    const std::string head = kBridge + "[[tunnel]]\nname = \"t1\"\n";
    expect_refusals({
        {head, "f:3: [[tunnel]] \"t1\": bridge is missing; valid: the name of a [[bridge]]"},
        {head + "bridge = \"br0\"\n",
         "f:3: [[tunnel]] \"t1\": type is missing; valid: " + type_words()},
        {head + "bridge = \"br0\"\ntype = \"stt\"\n",
         "f:6: [[tunnel]] \"t1\": type = \"stt\" is unknown; valid: " + type_words()},
        {head + "bridge = \"br0\"\ntype = \"gre\"\n",
         "f:3: [[tunnel]] \"t1\": remote_ip is missing; valid: the IPv4 or IPv6 address of the "
         "peer, or \"flow\""},
    });
}

TEST(TomlSource, BadEidsAreRefused) {
    const std::string eid = kBridge + "[[bridge.eid]]\n";
    const std::string subject = ": [[bridge.eid]] of \"br0\": ";
    const std::string rule = "; valid: an address with its prefix length, such as \"10.2.0.0/16\" "
                             "(0-32) or \"fd20:2::/32\" (0-128), the bits behind the prefix zero";
    const std::string rloc = "[[bridge.eid.rloc]]\n";
    expect_refusals({
        {eid, "f:3" + subject + "prefix is missing" + rule},
        {eid + "prefix = \"10.2.0.0/16\"\n",
         "f:4" + subject +
             "prefix = \"10.2.0.0/16\" has 0 RLOCs; valid: 1-32 times "
             "[[bridge.eid.rloc]]"},
        {eid + "prefix = \"10.2.0.0/16\"\n" + rloc,
         "f:5: [[bridge.eid.rloc]] of \"10.2.0.0/16\": tunnel is missing; valid: the name of a "
         "tunnel with packet_type = \"l3\""},
        {eid + "prefix = \"10.2.0.0/16\"\n" + rloc + "tunnel = \"t\"\npriority = 256\n",
         "f:7: [[bridge.eid.rloc]] of \"10.2.0.0/16\": priority = 256 is out of range; valid: "
         "0-255"},
        {eid + "prefix = \"10.2.0.0/16\"\n" + rloc + "tunnel = \"t\"\nweight = 101\n",
         "f:7: [[bridge.eid.rloc]] of \"10.2.0.0/16\": weight = 101 is out of range; valid: "
         "0-100"},
    });
    for (const std::string prefix :
         {"10.2.0.0", "10.2.0.0/33", "10.2.0.0/", "/8", "fd20::/129", "fd20::/-1", "x/8"}) {
        EXPECT_EQ(
            error_of(concat({eid, "prefix = \"", prefix, "\"\n"})),
            concat({"f:4", subject, "prefix = \"", prefix, "\" is not a prefix", rule})
        );
    }
    for (const std::string prefix : {"10.2.0.1/16", "0.0.0.1/0", "fd20::1/127", "10.0.0.1/31"}) {
        EXPECT_EQ(
            error_of(concat({eid, "prefix = \"", prefix, "\"\n"})),
            concat(
                {"f:4", subject, "prefix = \"", prefix, "\" has bits set behind the prefix", rule}
            )
        );
    }
    std::string many = eid + "prefix = \"::/0\"\n";
    for (unsigned i = 0; i < 33; ++i) {
        many += rloc + "tunnel = \"t" + std::to_string(i) + "\"\n";
    }
    EXPECT_THAT(error_of(many), HasSubstr("prefix = \"::/0\" has 33 RLOCs; valid: 1-32 times"));
}

TEST(TomlSource, CrossItemErrorsCarryFileAndLine) {
    EXPECT_EQ(
        error_of("[[port]]\nname = \"p1\"\nbridge = \"br1\"\n" + kBridge),
        "f:1: [[port]] \"p1\": bridge = \"br1\" does not exist; valid: \"br0\""
    );
}

/// What a main thread has; frames of AddressSanitizer (clang's above all) are several times larger.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = std::size_t{64} << 20U;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::size_t kStackBytes = std::size_t{64} << 20U;
#else
constexpr std::size_t kStackBytes = std::size_t{8} << 20U;
#endif
#else
constexpr std::size_t kStackBytes = std::size_t{8} << 20U;
#endif

/// error_of() on a stack of kStackBytes.
std::string error_on_that_stack(const std::string& text) {
    struct Work {
        const std::string& text;
        std::string error;
    };
    Work work{text, {}};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackBytes);
    pthread_t thread{};
    const auto run = [](void* argument) -> void* {
        auto* mine = static_cast<Work*>(argument);
        mine->error = error_of(mine->text);
        return nullptr;
    };
    EXPECT_EQ(pthread_create(&thread, &attributes, run, &work), 0);
    EXPECT_EQ(pthread_join(thread, nullptr), 0);
    pthread_attr_destroy(&attributes);
    return work.error;
}

TEST(TomlSource, DeepKeysEndInAnErrorNotInTheStack) {
    std::string key = "a";
    while (key.size() < 16376) {
        key += ".a";
    }
    EXPECT_THAT(error_on_that_stack(key + " = 1\n"), HasSubstr("unknown section \"a\""));
    EXPECT_EQ(
        error_on_that_stack("\n" + key + std::string(100, ' ') + "= 1\n"),
        "f:2: the line is too long; valid: at most 16384 bytes"
    );
}

}  // namespace
}  // namespace culvert::ctl
