// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is written back into an Open_vSwitch database, of a model with one port of each kind. The
// values are what ovs-vswitchd 3.1 writes for the same devices. Bridge "br0" (0) has its local port
// 0, a Linux interface 1, one that is away 2, a TAP device 3, tunnels 4 and 5, DPDK devices 6 and
// 7, and a patch port 8.
#include "ctl/ovsdb_report.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rte_version.h>

#include "tests/unit/ctl/fake_underlay.hpp"
#include "tests/unit/dataplane/fake_port.hpp"

namespace culvert::ctl {

namespace {

using culvert::testing::FakePort;
using culvert::testing::FakeUnderlay;
using nlohmann::json;
using tunnels::DropReason;
using tunnels::MacAddress;

const MacAddress kBridgeMac{{0x0a, 0, 0, 0, 0, 1}};
const json kNothing = {"set", json::array()};
const json kNoPairs = {"map", json::array()};

class LosingPort final : public dataplane::Port {
public:
    std::size_t receive(unsigned /*queue*/, std::span<rte_mbuf*> /*burst*/) noexcept override {
        return 0;
    }
    std::size_t transmit(unsigned /*worker*/, std::span<rte_mbuf*> /*burst*/) noexcept override {
        return 0;
    }
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return -1; }
    [[nodiscard]] bool carries_offloads() const noexcept override { return false; }
    [[nodiscard]] dataplane::PortInfo info() const override { return {}; }
    [[nodiscard]] dataplane::PortErrors errors() const override {
        return {.rx_missed = 100, .rx_errors = 200, .rx_malformed = 0, .tx_errors = 300};
    }
};

ovsdb::Uuid uuid_of(const std::string& name) {
    return {name};
}

json pairs(const std::map<std::string, std::string>& from) {
    return to_json(ovsdb::map_of(from));
}

class OvsdbReport : public ::testing::Test {
protected:
    OvsdbReport() {
        configuration_.root = uuid_of("root");
        OvsdbBridge& bridge = configuration_.bridges.emplace_back();
        bridge.uuid = uuid_of("bridge");
        bridge.name = "br0";
        bridge.in_state = true;
        bridge.mac = kBridgeMac;
        model_.bridges["br0"].index = 0;
        SwitchPort& local = add("br0", PortRole::local, PortKind::tap);
        local.ifindex = 40;
        local.mac = kBridgeMac;
        local.mtu = 1450;
        local.status.enabled = true;
        SwitchPort& eth = add("eth0", PortRole::device, PortKind::linux_interface);
        eth.ifindex = 3;
        eth.mac = {{0x0a, 0, 0, 0, 0, 2}};
        eth.mtu = 1500;
        eth.status.enabled = true;
        eth.status.running = true;
        eth.status.link_resets = 5;
        eth.status.facts = {DriverFacts{"veth", "1.0", ""}, 10000, true};
        SwitchPort& away = add("eth1", PortRole::device, PortKind::linux_interface);
        away.device = nullptr;
        away.trouble = "the interface eth1 does not exist";
        add("tap0", PortRole::device, PortKind::tap).ifindex = 41;
        SwitchPort& tunnel = add("vx0", PortRole::tunnel, PortKind::linux_interface);
        tunnel.device = nullptr;
        tunnel.resolution.egress_ifindex = 40;
        add("vx1", PortRole::tunnel, PortKind::linux_interface).device = nullptr;
        SwitchPort& dpdk = add("dp0", PortRole::device, PortKind::dpdk);
        dpdk.driver = "net_ixgbe";
        dpdk.numa_node = 1;
        dpdk.up = true;
        dpdk.config.devargs = "0000:03:00.0";
        dpdk.status.enabled = true;
        dpdk.status.running = true;
        dpdk.status.rx_queues = 4;
        dpdk.status.tx_queues = 2;
        dpdk.status.facts.speed_mbps = 25000;
        dpdk.status.facts.full_duplex = false;
        SwitchPort& vhost = add("vh0", PortRole::device, PortKind::dpdk);
        vhost.config.devargs = "net_vhost0,iface=/run/vh0.sock,client=1,queues=2";
        vhost.status.enabled = true;
        vhost.status.rx_queues = 2;
        vhost.status.tx_queues = 2;
        vhost.status.facts.speed_mbps = 10000;
        row("vh0").type = "dpdkvhostuserclient";
        add("patch0", PortRole::device, PortKind::patch).device = nullptr;
        underlay_.known_links[40].name = "br0";
        underlay_.known_links[40].running = true;
        assign();
    }

    SwitchPort& add(const std::string& name, PortRole role, PortKind kind) {
        const auto index = static_cast<std::uint16_t>(model_.ports.size());
        SwitchPort& port = model_.ports[index];
        port.name = name;
        port.index = index;
        port.role = role;
        port.config.name = name;
        port.config.kind = kind;
        port.device = std::make_shared<FakePort>();
        OvsdbInterface& interface = configuration_.interfaces.emplace_back();
        interface.uuid = uuid_of(name);
        interface.name = name;
        interface.bridge = "br0";
        interface.local = role == PortRole::local;
        OvsdbPort& row = configuration_.ports.emplace_back();
        row.uuid = uuid_of("port " + name);
        row.name = name;
        return port;
    }
    void assign() {
        std::vector<Ofports::Request> requests;
        for (const OvsdbInterface& interface : configuration_.interfaces) {
            if (interface.in_state()) {
                requests.push_back(
                    {.bridge = "br0", .interface = interface.name, .local = interface.local}
                );
            }
        }
        ofports_.assign(requests);
    }
    OvsdbInterface& row(const std::string& name) {
        return *std::find_if(
            configuration_.interfaces.begin(),
            configuration_.interfaces.end(),
            [&](const OvsdbInterface& interface) { return interface.name == name; }
        );
    }
    SwitchPort& port(const std::string& name) {
        SwitchPort* found = model_.find_port(name);
        return *(found != nullptr ? found : model_.find_port(name, true));
    }
    [[nodiscard]] ReportSource source() const {
        return {configuration_, model_, ofports_, underlay_, installation_uuid_};
    }
    static json cell(
        const Report& report,
        const std::string& table,
        const std::string& row,
        const std::string& column
    ) {
        const auto found = report.find({table, uuid_of(row)});
        if (found == report.end() || !found->second.contains(column)) {
            return "not written";
        }
        return to_json(found->second.at(column));
    }
    [[nodiscard]] json status(const std::string& name, const std::string& column) const {
        return cell(status_report(source()), "Interface", name, column);
    }
    [[nodiscard]] std::map<std::string, std::int64_t> counters(const std::string& name) const {
        const Report report = statistics_report(source(), counters_);
        const ovsdb::Datum& statistics = report.at({"Interface", uuid_of(name)}).at("statistics");
        std::map<std::string, std::int64_t> all;
        for (std::size_t i = 0; i < statistics.keys.size(); ++i) {
            all[std::get<std::string>(statistics.keys[i])] =
                std::get<std::int64_t>(statistics.values.at(i));
        }
        return all;
    }

    OvsdbConfiguration configuration_;
    SwitchModel model_;
    Ofports ofports_;
    FakeUnderlay underlay_;
    std::string installation_uuid_;
    CounterSource counters_{
        .totals =
            [](const SwitchPort& port) {
                PortTotals totals{
                    .rx_packets = 10U + port.index,
                    .rx_bytes = 20,
                    .tx_packets = 30,
                    .tx_bytes = 40};
                totals.drops[static_cast<std::size_t>(DropReason::port_down)] = 1;
                totals.drops[static_cast<std::size_t>(DropReason::port_mtu_exceeded)] = 2;
                totals.drops[static_cast<std::size_t>(DropReason::tx_failed)] = 4;
                totals.drops[static_cast<std::size_t>(DropReason::hairpin)] = 8;
                return totals;
            },
        .links = {},
        .system = {{"cpu", "8"}}};
};

TEST_F(OvsdbReport, ALinuxInterfaceHasWhatItsKernelSays) {
    EXPECT_EQ(status("eth0", "ofport"), 1);
    EXPECT_EQ(status("eth0", "error"), kNothing);
    EXPECT_EQ(status("eth0", "admin_state"), "up");
    EXPECT_EQ(status("eth0", "link_state"), "up");
    EXPECT_EQ(status("eth0", "link_resets"), 5);
    EXPECT_EQ(status("eth0", "link_speed"), 10'000'000'000);
    EXPECT_EQ(status("eth0", "duplex"), "full");
    EXPECT_EQ(status("eth0", "mtu"), 1500);
    EXPECT_EQ(status("eth0", "mac_in_use"), "0a:00:00:00:00:02");
    EXPECT_EQ(status("eth0", "ifindex"), 3);
    EXPECT_EQ(status("eth0", "lacp_current"), kNothing);
    EXPECT_EQ(
        status("eth0", "status"),
        pairs({{"driver_name", "veth"}, {"driver_version", "1.0"}, {"firmware_version", ""}})
    );
    EXPECT_EQ(status("eth0", "statistics"), "not written");
}

TEST_F(OvsdbReport, WhatALinkDoesNotTellIsEmpty) {
    EXPECT_EQ(status("br0", "ofport"), 65534);
    EXPECT_EQ(status("br0", "admin_state"), "up");
    EXPECT_EQ(status("br0", "link_state"), "down");
    EXPECT_EQ(status("br0", "link_resets"), 0);
    EXPECT_EQ(status("br0", "link_speed"), kNothing);
    EXPECT_EQ(status("br0", "duplex"), kNothing);
    EXPECT_EQ(status("br0", "mtu"), 1450);
    EXPECT_EQ(status("br0", "status"), kNoPairs);
    port("eth0").status.facts.full_duplex = false;
    EXPECT_EQ(status("eth0", "duplex"), "half");
}

TEST_F(OvsdbReport, AMissingDeviceHasAnErrorAndNothingElse) {
    const Report report = status_report(source());
    EXPECT_EQ(cell(report, "Interface", "eth1", "ofport"), -1);
    EXPECT_EQ(
        cell(report, "Interface", "eth1", "error"),
        "could not open network device eth1 (No such device)"
    );
    for (const char* column :
         {"admin_state",
          "duplex",
          "ifindex",
          "lacp_current",
          "link_resets",
          "link_speed",
          "link_state",
          "mac_in_use",
          "mtu"}) {
        EXPECT_EQ(cell(report, "Interface", "eth1", column), kNothing) << column;
    }
    EXPECT_EQ(cell(report, "Interface", "eth1", "status"), kNoPairs);
    EXPECT_EQ(cell(report, "Interface", "eth1", "statistics"), kNoPairs);
    EXPECT_TRUE(counters("eth1").empty());
}

TEST_F(OvsdbReport, ARowThatIsNotInTheStateHasItsError) {
    row("vx0").error = "vx0: vxlan type requires valid 'remote_ip' argument";
    row("vx1").ignored = true;
    model_.ports.erase(4);
    model_.ports.erase(5);
    EXPECT_EQ(status("vx0", "ofport"), -1);
    EXPECT_EQ(status("vx0", "error"), "vx0: vxlan type requires valid 'remote_ip' argument");
    EXPECT_EQ(status("vx1", "ofport"), -1);
    EXPECT_EQ(status("vx1", "error"), kNothing);
    EXPECT_EQ(status("vx1", "link_state"), kNothing);
    EXPECT_TRUE(counters("vx0").empty());
}

TEST_F(OvsdbReport, AnInterfaceThatIsNotAppliedYetIsLeftAlone) {
    model_.ports.erase(4);
    port("eth1").trouble.clear();
    EXPECT_EQ(status("vx0", "ofport"), "not written");
    EXPECT_EQ(status("eth1", "ofport"), "not written");
}

TEST_F(OvsdbReport, AnInterfaceWithoutANumberIsNotThere) {
    ofports_.assign({});
    EXPECT_EQ(status("eth0", "ofport"), -1);
    EXPECT_EQ(
        status("eth0", "error"),
        "could not add network device eth0 to ofproto (No space left on device)"
    );
    EXPECT_EQ(status("eth0", "mtu"), kNothing);
}

TEST_F(OvsdbReport, TroubleOfADeviceThatIsThereIsToldBesidesItsStatus) {
    port("eth0").trouble = "interface \"eth0\" cannot be claimed";
    row("patch0").complaint = "No usable peer 'p1' exists in 'netdev' datapath.";
    EXPECT_EQ(status("eth0", "error"), "interface \"eth0\" cannot be claimed");
    EXPECT_EQ(status("eth0", "ofport"), 1);
    EXPECT_EQ(status("patch0", "error"), "No usable peer 'p1' exists in 'netdev' datapath.");
    EXPECT_EQ(status("patch0", "ofport"), 8);
}

TEST_F(OvsdbReport, TunnelsAndPatchPortsAreUpAndHaveAnAddressOfTheirOwn) {
    for (const char* name : {"vx0", "vx1", "patch0"}) {
        EXPECT_EQ(status(name, "admin_state"), "up") << name;
        EXPECT_EQ(status(name, "link_state"), "up") << name;
        EXPECT_EQ(status(name, "link_resets"), 0) << name;
        EXPECT_EQ(status(name, "ifindex"), 0) << name;
        EXPECT_EQ(status(name, "mtu"), kNothing) << name;
        EXPECT_EQ(status(name, "link_speed"), kNothing) << name;
        EXPECT_EQ(status(name, "duplex"), kNothing) << name;
        EXPECT_EQ(status(name, "error"), kNothing) << name;
        const auto mac = MacAddress::parse(status(name, "mac_in_use").get<std::string>());
        ASSERT_TRUE(mac) << name;
        EXPECT_EQ(mac->bytes[0] & 3U, 2U) << name << ": local and unicast";
    }
    EXPECT_NE(status("vx0", "mac_in_use"), status("vx1", "mac_in_use"));
}

TEST_F(OvsdbReport, ATunnelTellsByWhichInterfaceItLeaves) {
    EXPECT_EQ(
        status("vx0", "status"),
        pairs({{"tunnel_egress_iface", "br0"}, {"tunnel_egress_iface_carrier", "up"}})
    );
    underlay_.known_links[40].running = false;
    EXPECT_EQ(
        status("vx0", "status"),
        pairs({{"tunnel_egress_iface", "br0"}, {"tunnel_egress_iface_carrier", "down"}})
    );
    EXPECT_EQ(status("vx1", "status"), kNoPairs);
    port("vx1").encryption = TunnelEncryption{};
    EXPECT_EQ(status("vx1", "status"), pairs({{"esp", "no key"}}));
    EXPECT_EQ(status("patch0", "status"), kNoPairs);
}

TEST_F(OvsdbReport, ADpdkDeviceTellsItsDriverAndQueues) {
    EXPECT_EQ(
        status("dp0", "status"),
        pairs(
            {{"driver_name", "net_ixgbe"},
             {"if_descr", std::string(rte_version()) + " net_ixgbe"},
             {"if_type", "6"},
             {"n_rxq", "4"},
             {"n_txq", "2"},
             {"numa_id", "1"}}
        )
    );
    EXPECT_EQ(status("dp0", "ifindex"), 0);
    EXPECT_EQ(status("dp0", "link_speed"), 25'000'000'000);
    EXPECT_EQ(status("dp0", "duplex"), "half");
    SwitchPort& lost = port("dp0");
    lost.device = nullptr;
    lost.trouble = "port \"dp0\" (0000:03:00.0): no bus or driver knows a device of this name";
    EXPECT_EQ(status("dp0", "error"), "Error attaching device '0000:03:00.0' to DPDK");
}

TEST_F(OvsdbReport, AVhostPortTellsWhetherAGuestIsThere) {
    EXPECT_EQ(status("vh0", "status"), pairs({{"mode", "client"}, {"status", "disconnected"}}));
    EXPECT_EQ(status("vh0", "link_state"), "down");
    EXPECT_EQ(status("vh0", "link_speed"), kNothing) << "a speed of no link";
    SwitchPort& vhost = port("vh0");
    vhost.up = true;
    vhost.numa_node = 0;
    EXPECT_EQ(
        status("vh0", "status"),
        pairs(
            {{"mode", "client"},
             {"status", "connected"},
             {"socket", "/run/vh0.sock"},
             {"n_rxq", "2"},
             {"n_txq", "2"},
             {"numa", "0"}}
        )
    );
    vhost.config.devargs = "net_vhost0,iface=/run/vh0.sock";
    EXPECT_EQ(json(status("vh0", "status")).dump().find("client"), std::string::npos)
        << "it listens";
}

TEST_F(OvsdbReport, BridgesPortsAndTheRootHaveTheirs) {
    configuration_.ports[1].bond = true;
    const Report report = status_report(source());
    EXPECT_EQ(cell(report, "Bridge", "bridge", "datapath_id"), "00000a0000000001");
    EXPECT_EQ(cell(report, "Bridge", "bridge", "datapath_version"), "<built-in>");
    EXPECT_EQ(cell(report, "Bridge", "bridge", "status"), kNoPairs);
    EXPECT_EQ(cell(report, "Bridge", "bridge", "rstp_status"), kNoPairs);
    EXPECT_EQ(cell(report, "Port", "port br0", "bond_active_slave"), kNothing);
    EXPECT_EQ(cell(report, "Port", "port br0", "status"), kNoPairs);
    EXPECT_EQ(cell(report, "Port", "port eth0", "bond_active_slave"), "not written");
    EXPECT_EQ(
        cell(report, "Open_vSwitch", "root", "datapath_types"),
        json::parse(R"(["set", ["netdev", "system"]])")
    );
    EXPECT_EQ(
        cell(report, "Open_vSwitch", "root", "iface_types"),
        json::parse(R"(["set", ["dpdk", "dpdkvhostuserclient", "geneve", "gre", "internal",
            "ip6gre", "lisp", "patch", "system", "tap", "vxlan"]])")
    );
    EXPECT_EQ(cell(report, "Open_vSwitch", "root", "dpdk_initialized"), true);
    EXPECT_EQ(cell(report, "Open_vSwitch", "root", "dpdk_version"), rte_version());
    EXPECT_EQ(cell(report, "Open_vSwitch", "root", "cur_cfg"), "not written");
}

TEST_F(OvsdbReport, ABondHasItsActiveMemberAndMembersWhetherTheyHearThePartner) {
    SwitchPort& bond = model_.ports[90];
    bond.name = "bond0";
    bond.index = 90;
    bond.role = PortRole::bond;
    OvsdbPort& row = configuration_.ports.emplace_back();
    row.uuid = uuid_of("port bond0");
    row.name = "bond0";
    row.bond = true;
    const auto active = [&] {
        return cell(status_report(source()), "Port", "port bond0", "bond_active_slave");
    };
    EXPECT_EQ(active(), "not written");
    bond.bond = std::make_shared<BondGroup>();
    EXPECT_EQ(active(), "not written") << "an earlier process's stays until one is active";
    bond.bond->was_active = true;
    EXPECT_EQ(active(), "00:00:00:00:00:00") << "all members are down";
    bond.mac = kBridgeMac;
    EXPECT_EQ(active(), "0a:00:00:00:00:01");
    EXPECT_EQ(status("eth0", "lacp_current"), kNothing);
    port("eth0").lacp_current = false;
    EXPECT_EQ(status("eth0", "lacp_current"), false);
    port("eth0").lacp_current = true;
    EXPECT_EQ(status("eth0", "lacp_current"), true);
}

TEST_F(OvsdbReport, ABridgeThatIsNotMadeHasNoDatapath) {
    configuration_.bridges[0].in_state = false;
    const Report report = status_report(source());
    EXPECT_EQ(cell(report, "Bridge", "bridge", "datapath_id"), kNothing);
    EXPECT_EQ(cell(report, "Bridge", "bridge", "datapath_version"), "");
}

TEST_F(OvsdbReport, TheDatapathIdIsOfTheHostWhereTheAddressIsConfigured) {
    configuration_.bridges[0].hwaddr = kBridgeMac;
    installation_uuid_ = "f1b3f8a6-0000-4000-8000-000000000001";
    const json id = cell(status_report(source()), "Bridge", "bridge", "datapath_id");
    EXPECT_EQ(id.get<std::string>().size(), 16U);
    EXPECT_NE(id, "00000a0000000001");
}

TEST_F(OvsdbReport, TunnelsAndPatchPortsCountWhatTheSwitchCounts) {
    const std::map<std::string, std::int64_t> expected{
        {"rx_packets", 14}, {"rx_bytes", 20}, {"tx_packets", 30}, {"tx_bytes", 40}};
    EXPECT_EQ(counters("vx0"), expected);
    EXPECT_EQ(counters("patch0").at("rx_packets"), 18);
    EXPECT_EQ(counters("patch0").size(), 4U);
}

TEST_F(OvsdbReport, ALinuxInterfaceCountsWhatItsKernelCountsAndWhatTheSwitchLost) {
    port("eth0").device = std::make_shared<LosingPort>();
    counters_.links[3] = {
        .rx_packets = 1001,
        .tx_packets = 1002,
        .rx_bytes = 1003,
        .tx_bytes = 1004,
        .rx_errors = 1005,
        .tx_errors = 1006,
        .rx_dropped = 1007,
        .tx_dropped = 1008,
        .rx_multicast = 1009,
        .collisions = 1010,
        .rx_over_errors = 1011,
        .rx_crc_errors = 1012,
        .rx_frame_errors = 1013,
        .rx_missed_errors = 1014};
    const std::map<std::string, std::int64_t> expected{
        {"rx_packets", 1001},
        {"tx_packets", 1002},
        {"rx_bytes", 1003},
        {"tx_bytes", 1004},
        {"rx_errors", 1005 + 200},
        {"tx_errors", 1006 + 300},
        {"rx_dropped", 1007 + 100},
        {"tx_dropped", 1008 + 7},
        {"rx_multicast_packets", 1009},
        {"collisions", 1010},
        {"rx_over_err", 1011},
        {"rx_crc_err", 1012},
        {"rx_frame_err", 1013},
        {"rx_missed_errors", 1014}};
    EXPECT_EQ(counters("eth0"), expected);
}

TEST_F(OvsdbReport, ADeviceOfOursIsSeenFromTheSwitch) {
    for (const char* name : {"br0", "tap0"}) {
        counters_.links[port(name).ifindex] = {
            .rx_packets = 1,
            .tx_packets = 2,
            .rx_bytes = 3,
            .tx_bytes = 4,
            .rx_errors = 5,
            .tx_errors = 6,
            .rx_dropped = 8,
            .tx_dropped = 16,
            .rx_multicast = 9,
            .rx_over_errors = 99,
            .rx_crc_errors = 99,
            .rx_frame_errors = 99,
            .rx_missed_errors = 99};
        const std::map<std::string, std::int64_t> expected{
            {"rx_packets", 2},
            {"tx_packets", 1},
            {"rx_bytes", 4},
            {"tx_bytes", 3},
            {"rx_errors", 6},
            {"tx_errors", 5},
            {"rx_dropped", 16},
            {"tx_dropped", 8 + 7},
            {"rx_multicast_packets", 9},
            {"collisions", 0},
            {"rx_over_err", 0},
            {"rx_crc_err", 0},
            {"rx_frame_err", 0},
            {"rx_missed_errors", 0}};
        EXPECT_EQ(counters(name), expected) << name;
    }
}

TEST_F(OvsdbReport, ADpdkDeviceHasNoCountersThatNobodyKeeps) {
    port("dp0").device = std::make_shared<LosingPort>();
    const std::map<std::string, std::int64_t> expected{
        {"rx_packets", 16},
        {"rx_bytes", 20},
        {"tx_packets", 30},
        {"tx_bytes", 40},
        {"rx_dropped", 100},
        {"tx_dropped", 7},
        {"rx_errors", 200},
        {"tx_errors", 300}};
    EXPECT_EQ(counters("dp0"), expected);
    EXPECT_EQ(counters("eth0").size(), 4U) << "nor has an interface without the kernel's";
}

TEST_F(OvsdbReport, FiguresOfTheHostAreWrittenWhereTheyAreAskedFor) {
    const auto written = [&] {
        return cell(statistics_report(source(), counters_), "Open_vSwitch", "root", "statistics");
    };
    EXPECT_EQ(written(), kNoPairs);
    configuration_.enable_statistics = true;
    EXPECT_EQ(written(), pairs({{"cpu", "8"}}));
    EXPECT_EQ(
        cell(statistics_report(source(), counters_), "Port", "port eth0", "statistics"), kNoPairs
    );
}

bool has_every_column(const std::string& /*table*/, const std::string& /*column*/) {
    return true;
}

class Operations : public ::testing::Test {
protected:
    const ovsdb::Uuid first_{"00000000-0000-4000-8000-000000000001"};
    const ovsdb::Uuid second_{"00000000-0000-4000-8000-000000000002"};
    Report report_{
        {{"Interface", second_},
         {{"mtu", ovsdb::set_of(ovsdb::Atom(std::int64_t{1500}))},
          {"error", ovsdb::empty_set()},
          {"status", ovsdb::map_of(std::map<std::string, std::string>{{"a", "b"}})}}},
        {{"Bridge", first_}, {{"datapath_id", ovsdb::set_of(ovsdb::Atom(std::string("1")))}}}};
};

TEST_F(Operations, WriteWhatDiffersRowByRow) {
    ovsdb::Replica replica;
    replica.tables["Interface"][second_] = {
        {"mtu", ovsdb::empty_set()},
        {"error", ovsdb::empty_set()},
        {"status", ovsdb::map_of(std::map<std::string, std::string>{})}};
    replica.tables["Bridge"][first_] = {{"datapath_id", ovsdb::empty_set()}};
    EXPECT_EQ(operations(report_, replica, has_every_column), json::parse(R"([
        {"op": "update", "table": "Bridge",
         "where": [["_uuid", "==", ["uuid", "00000000-0000-4000-8000-000000000001"]]],
         "row": {"datapath_id": "1"}},
        {"op": "update", "table": "Interface",
         "where": [["_uuid", "==", ["uuid", "00000000-0000-4000-8000-000000000002"]]],
         "row": {"mtu": 1500, "status": ["map", [["a", "b"]]]}}])"));
}

TEST_F(Operations, LeaveOutWhatTheDatabaseHasNot) {
    ovsdb::Replica replica;
    replica.tables["Interface"][second_] = {};
    const auto only_mtu = [](const std::string&, const std::string& column) {
        return column == "mtu";
    };
    const json written = operations(report_, replica, only_mtu);
    ASSERT_EQ(written.size(), 1U);
    EXPECT_EQ(written[0]["row"], json::parse(R"({"mtu": 1500})"));
}

TEST_F(Operations, AreNoneWhenTheDatabaseHasItAll) {
    ovsdb::Replica replica;
    for (const auto& [place, columns] : report_) {
        replica.tables[place.first][place.second] = columns;
    }
    EXPECT_EQ(operations(report_, replica, has_every_column), json::array());
}

}  // namespace

}  // namespace culvert::ctl
