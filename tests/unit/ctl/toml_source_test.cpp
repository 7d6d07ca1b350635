// SPDX-License-Identifier: GPL-2.0-or-later
//
// The configuration file: what a full one means, the defaults of a short one, and files that cannot
// be read. The sentences for mistakes are in toml_errors_test.cpp.
#include "ctl/toml_source.hpp"

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {

namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

PortConfig port_of(const std::string& keys) {
    const DesiredState state = state_of(kPort + keys);
    return state.ports.empty() ? PortConfig{} : state.ports[0];
}

TEST(TomlSource, EmptyFileIsTheDefaultState) {
    const DesiredState state = state_of("");
    EXPECT_EQ(state, DesiredState{});
    EXPECT_EQ(state.daemon.socket, "/run/culvert/culvertd.ctl");
}

TEST(TomlSource, ReadsEverySetting) {
    const DesiredState state = state_of(R"(
[daemon]
socket = "/run/x.ctl"
log_level = "warning"
log_file = "/var/log/x.log"
control_cpus = [0, 3]
[dpdk]
file_prefix = "culvert-a.1_b"
extra_args = ["--log-level=7", "-v"]
memory_mb = 128
hugepages = "never"
mbufs = 4096
[workers]
count = 2
cpus = [2, 1]
idle = "poll"
idle_sleep_us = 10000
[flow_cache]
max_flows = 1024
idle_timeout_s = 3600
[firewall]
enforce = false
unknown = "drop"
manage = "tunnels"
backend = "iptables-legacy"
)");
    EXPECT_EQ(
        state.daemon, (DaemonConfig{"/run/x.ctl", LogLevel::warning, "/var/log/x.log", {0, 3}})
    );
    EXPECT_EQ(
        state.dpdk,
        (DpdkConfig{"culvert-a.1_b", {"--log-level=7", "-v"}, 128, Hugepages::never, 4096})
    );
    EXPECT_EQ(state.workers, (WorkerConfig{2, {2, 1}, false, 10000}));
    EXPECT_EQ(state.flow_cache, (FlowCacheConfig{1024, 3600}));
    EXPECT_EQ(
        state.firewall,
        (FirewallConfig{
            false, UnknownPolicy::drop, ManagePolicy::tunnels, firewall::BackendChoice::legacy})
    );
}

TEST(TomlSource, ReadsBridgeWithLocalPortAndStaticMacs) {
    const DesiredState state = state_of(R"([[bridge]]
name = "br0"
mac_ageing_s = 10
mac_table_size = 16
split_horizon = true
[bridge.local]
addresses = ["172.20.0.1/24", "fd20::1/128"]
mac = "02:00:00:00:00:01"
mtu = 68
up = false
tag = 4094
[[bridge.static_mac]]
mac = "02:00:00:00:00:02"
port = "br0"
[[bridge.static_mac]]
mac = "02:00:00:00:00:02"
vlan = 4094
port = "p1"
[[port]]
name = "p1"
bridge = "br0"
)");
    ASSERT_EQ(state.bridges.size(), 1U);
    const BridgeConfig& bridge = state.bridges[0];
    EXPECT_EQ(bridge.mac_ageing_s, 10U);
    EXPECT_EQ(bridge.mac_table_size, 16U);
    EXPECT_TRUE(bridge.split_horizon);
    EXPECT_EQ(bridge.origin.file, "f");
    EXPECT_EQ(bridge.origin.line, 1U);
    ASSERT_TRUE(bridge.local.has_value());
    LocalPortConfig local;
    local.addresses = {{ip("172.20.0.1"), 24}, {ip("fd20::1"), 128}};
    local.mac = mac("02:00:00:00:00:01");
    local.mtu = 68;
    local.up = false;
    local.vlan = {VlanMode::access, 4094, {}};
    EXPECT_EQ(*bridge.local, local);
    EXPECT_THAT(
        bridge.static_macs,
        ElementsAre(
            StaticMac{mac("02:00:00:00:00:02"), 0, "br0", {}},
            StaticMac{mac("02:00:00:00:00:02"), 4094, "p1", {}}
        )
    );
    EXPECT_EQ(bridge.static_macs[1].origin.line, 15U);
}

TEST(TomlSource, ReadsEidsWithTheirRlocs) {
    const DesiredState state = state_of(
        kBridge + "[bridge.local]\n"
                  "[[bridge.eid]]\nprefix = \"10.2.0.0/16\"\n"
                  "[[bridge.eid.rloc]]\ntunnel = \"t1\"\n"
                  "[[bridge.eid.rloc]]\ntunnel = \"t2\"\npriority = 255\nweight = 0\n"
                  "[[bridge.eid]]\nprefix = \"::/0\"\n"
                  "[[bridge.eid.rloc]]\ntunnel = \"t2\"\npriority = 0\nweight = 100\n"
                  "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\ntype = \"gre\"\n"
                  "packet_type = \"l3\"\nremote_ip = \"192.0.2.2\"\n"
                  "[[tunnel]]\nname = \"t2\"\nbridge = \"br0\"\ntype = \"gre\"\n"
                  "packet_type = \"l3\"\nremote_ip = \"192.0.2.3\"\n"
    );
    EidConfig v4;
    v4.prefix = ip("10.2.0.0");
    v4.prefix_bits = 16;
    v4.rlocs = {{"t1", 1, 1}, {"t2", 255, 0}};
    EidConfig v6;
    v6.rlocs = {{"t2", 0, 100}};
    EXPECT_THAT(state.bridges.at(0).eids, ElementsAre(v4, v6));
    EXPECT_EQ(state.bridges.at(0).eids.at(1).origin.line, 12U);
}

TEST(TomlSource, EmptyLocalSectionGivesALocalPort) {
    EXPECT_EQ(state_of(kBridge + "[bridge.local]\n").bridges[0].local, LocalPortConfig{});
    EXPECT_EQ(state_of(kBridge).bridges[0].local, std::nullopt);
}

TEST(TomlSource, PortDefaultsToTheLinuxInterfaceOfItsName) {
    const PortConfig port = port_of("");
    PortConfig expected;
    expected.name = "p1";
    expected.bridge = "br0";
    expected.interface = "p1";
    EXPECT_EQ(port, expected);
    EXPECT_TRUE(port.claim);
    EXPECT_EQ(port.origin.line, 3U);
}

TEST(TomlSource, ReadsEveryKindOfPort) {
    const PortConfig linux_port =
        port_of("interface = \"eth9\"\nclaim = false\nhotplug = true\nmtu = 9000\n");
    EXPECT_EQ(linux_port.interface, "eth9");
    EXPECT_FALSE(linux_port.claim);
    EXPECT_TRUE(linux_port.hotplug);
    EXPECT_EQ(linux_port.mtu, 9000U);

    const PortConfig tap = port_of("kind = \"tap\"\nmac = \"02:00:00:00:00:03\"\n");
    EXPECT_EQ(tap.kind, PortKind::tap);
    EXPECT_EQ(tap.interface, "p1");
    EXPECT_EQ(tap.mac, mac("02:00:00:00:00:03"));

    // Of a peer that the file does not have the port waits.
    const PortConfig patch = port_of("kind = \"patch\"\npeer = \"p2\"\n");
    EXPECT_EQ(patch.kind, PortKind::patch);
    EXPECT_EQ(patch.peer, "p2");
    EXPECT_EQ(patch.interface, "");

    const PortConfig dpdk =
        port_of("kind = \"dpdk\"\ndevargs = \"net_vhost0,iface=/run/a b\"\nrx_queues = 32\n");
    EXPECT_EQ(dpdk.kind, PortKind::dpdk);
    EXPECT_EQ(dpdk.devargs, "net_vhost0,iface=/run/a b");
    EXPECT_EQ(dpdk.rx_queues, 32U);
    EXPECT_EQ(dpdk.interface, "");
}

TEST(TomlSource, OnlyADeviceNameHasToBeShort) {
    const std::string name(63, 'n');
    const std::string head = kBridge + "[[port]]\nname = \"" + name + "\"\nbridge = \"br0\"\n";
    EXPECT_EQ(state_of(head + "interface = \"abcdefghijklmno\"\n").ports[0].name, name);
    EXPECT_EQ(state_of(head + "kind = \"dpdk\"\ndevargs = \"net_null0\"\n").ports[0].name, name);
    EXPECT_EQ(state_of("[[bridge]]\nname = \"" + name + "\"\n").bridges[0].name, name);
}

TEST(TomlSource, VlanKeysSayTheMode) {
    EXPECT_EQ(port_of("").vlan, (VlanConfig{VlanMode::trunk, 0, {}}));
    EXPECT_EQ(port_of("tag = 10\n").vlan, (VlanConfig{VlanMode::access, 10, {}}));
    EXPECT_EQ(
        port_of("trunks = [20, 0, 10, 20]\n").vlan, (VlanConfig{VlanMode::trunk, 0, {0, 10, 20}})
    );
    EXPECT_EQ(
        port_of("vlan_mode = \"native-tagged\"\ntag = 10\n").vlan,
        (VlanConfig{VlanMode::native_tagged, 10, {}})
    );
}

TEST(TomlSource, NativeVlanBelongsToTheTrunks) {
    EXPECT_EQ(
        port_of("vlan_mode = \"native-untagged\"\ntag = 10\ntrunks = [20]\n").vlan,
        (VlanConfig{VlanMode::native_untagged, 10, {10, 20}})
    );
}

// --- files ---

TEST(LoadToml, NamesAFileThatCannotBeRead) {
    const Result<DesiredState> missing = load_toml("/nonexistent/culvert.toml");
    ASSERT_FALSE(missing.has_value());
    EXPECT_EQ(
        missing.error(),
        "the configuration file \"/nonexistent/culvert.toml\" cannot be read: No such file or "
        "directory"
    );
    const Result<DesiredState> folder = load_toml("/");
    ASSERT_FALSE(folder.has_value());
    EXPECT_EQ(folder.error(), "the configuration file \"/\" cannot be read: Is a directory");
}

TEST(LoadToml, AnEndlessFileIsRefused) {
    const Result<DesiredState> endless = load_toml("/dev/zero");
    ASSERT_FALSE(endless.has_value());
    EXPECT_EQ(
        endless.error(),
        "the configuration file \"/dev/zero\" is too large; valid: at most 16777216 bytes"
    );
}

TEST(LoadToml, ErrorsNameThePathAsGiven) {
    const std::filesystem::path path =
        std::filesystem::path(::testing::TempDir()) / "culvert_toml_source_test.toml";
    std::ofstream(path) << "[daemon]\nsoket = 1\n";
    const Result<DesiredState> state = load_toml(path.string());
    std::filesystem::remove(path);
    ASSERT_FALSE(state.has_value());
    EXPECT_THAT(state.error(), StartsWith(path.string() + ":2: [daemon]: unknown key \"soket\""));
}

TEST(TomlSource, WorkersOfQueuesAreAList) {
    const std::string port = kDpdkPort + "rx_workers = [1, 0, 1]\n[workers]\ncount = 2\n";
    EXPECT_EQ(state_of(port).ports[0].rx_workers, (std::vector<unsigned>{1, 0, 1}));
    EXPECT_EQ(state_of(kPort).ports[0].rx_workers, std::vector<unsigned>{});
    EXPECT_EQ(state_of(kDpdkPort).ports[0].rx_queues, 0U);
}

}  // namespace
}  // namespace culvert::ctl
