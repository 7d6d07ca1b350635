// SPDX-License-Identifier: GPL-2.0-or-later
//
// The switch on a kernel's network namespace of its own: devices that are made, changed in place,
// kept and taken over, patch ports that find each other, and configurations of a whole data centre.
// Needs CAP_NET_ADMIN and CAP_SYS_ADMIN.

#include "ctl/switch.hpp"

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctl/open_failure.hpp"
#include "firewall/backend.hpp"
#include "tests/unit/ctl/unixctl_fixture.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::ctl {

namespace {

using ::testing::HasSubstr;

EncryptionParts encryption_in(const std::string& folder) {
    EncryptionParts parts;
    parts.state_folder = folder;
    return parts;
}

/// A daemon's parts around one switch; the test's thread is the control thread.
class RunningSwitch {
public:
    explicit RunningSwitch(const DesiredState& running = {})
        : underlay_(std::move(open_underlay().value())),
          claims_(firewall::InterfaceClaims::open("switch-test").value()),
          workers_(dataplane::Workers::start({}, flows_, pools_, wake_fd_).value()),
          slow_path_(*workers_, flows_), guard_([] {
              return std::make_unique<firewall::HostFirewall>(
                  std::vector<std::unique_ptr<firewall::Backend>>{}
              );
          }),
          switch_(
              {*workers_,
               flows_,
               slow_path_,
               *underlay_,
               *claims_,
               guard_,
               pools_,
               encryption_in(running.daemon.state_dir)},
              running.without_items()
          ) {}
    ~RunningSwitch() { close(wake_fd_); }
    RunningSwitch(const RunningSwitch&) = delete;
    RunningSwitch& operator=(const RunningSwitch&) = delete;

    Switch& operator*() { return switch_; }
    Switch* operator->() { return &switch_; }

    /// Applies what has to work. Returns how long it took.
    std::chrono::microseconds
    apply(const DesiredState& state, ApplyMode mode = ApplyMode::item_by_item) {
        const auto start = std::chrono::steady_clock::now();
        const auto applied = switch_.apply(state, mode);
        const auto end = std::chrono::steady_clock::now();
        EXPECT_TRUE(applied) << applied.error();
        if (applied) {
            EXPECT_EQ(applied->trouble, "");
            done = applied->done;
        }
        return std::chrono::duration_cast<std::chrono::microseconds>(end - start);
    }
    /// Waits until the kernel's events have led to `condition`, and removed devices are closed.
    template <class Condition>
    [[nodiscard]] bool wait_until(const Condition& condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (!condition()) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            switch_.on_events(underlay_->read_events());
            workers_->poll();
            std::this_thread::yield();
        }
        return true;
    }
    [[nodiscard]] const SwitchPort* port(const std::string& name, bool local = false) {
        for (const auto& [index, port] : switch_.model().ports) {
            if (port.name == name && (port.role == PortRole::local) == local) {
                return &port;
            }
        }
        return nullptr;
    }
    [[nodiscard]] const dataplane::Snapshot& snapshot() { return *slow_path_.snapshot(); }

    std::vector<std::string> done;  ///< Of the last apply().

private:
    int wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    dataplane::PacketPools pools_{culvert::testing::packet_pool(), culvert::testing::share_pool()};
    dataplane::FlowCache flows_{2048};
    std::unique_ptr<Underlay> underlay_;
    std::unique_ptr<firewall::InterfaceClaims> claims_;
    std::unique_ptr<dataplane::Workers> workers_;
    SlowPath slow_path_;
    firewall::Guard guard_;
    Switch switch_;
};

BridgeConfig bridge(const std::string& name, bool up = false) {
    BridgeConfig config;
    config.name = name;
    config.local = LocalPortConfig{};
    config.local->up = up;
    return config;
}

PortConfig port(const std::string& name, const std::string& on, PortKind kind) {
    PortConfig config;
    config.name = name;
    config.bridge = on;
    config.kind = kind;
    config.interface = kind == PortKind::patch ? "" : name;
    return config;
}

PortConfig patch(const std::string& name, const std::string& on, const std::string& peer) {
    PortConfig config = port(name, on, PortKind::patch);
    config.peer = peer;
    return config;
}

tunnels::MacAddress mac(std::uint8_t last) {
    return {{0x02, 0, 0, 0, 0x55, last}};
}

bool exists(const std::string& device) {
    return if_nametoindex(device.c_str()) != 0;
}

class SwitchTest : public ::testing::Test {
protected:
    test::PrivateNetwork network_;
    DesiredState state_;
};

// --- patch ports ---

TEST_F(SwitchTest, PatchPortsAreUpWhileTheyNameEachOther) {
    state_.bridges = {bridge("br0"), bridge("br1")};
    state_.ports = {patch("p0", "br0", "p1")};
    RunningSwitch running;
    running.apply(state_, ApplyMode::whole);
    EXPECT_FALSE(running.port("p0")->up);
    EXPECT_THAT(running.port("p0")->trouble, HasSubstr("p1"));
    EXPECT_TRUE(running->failures().empty()) << "a missing peer is no failure of the port";

    state_.ports.push_back(patch("p1", "br1", "other"));
    running.apply(state_, ApplyMode::whole);
    EXPECT_FALSE(running.port("p0")->up);
    EXPECT_FALSE(running.port("p1")->up);

    const std::uint16_t index = running.port("p1")->index;
    state_.ports[1].peer = "p0";
    running.apply(state_, ApplyMode::whole);
    EXPECT_EQ(running.port("p1")->index, index) << "changed in place";
    EXPECT_TRUE(running.port("p0")->up);
    EXPECT_TRUE(running.port("p1")->up);
    EXPECT_EQ(running.port("p0")->trouble, "");
    const auto& ports = running.snapshot().ports;
    EXPECT_EQ(ports[running.port("p0")->index].patch, index);
    EXPECT_EQ(ports[index].patch, running.port("p0")->index);

    state_.ports.pop_back();
    running.apply(state_, ApplyMode::whole);
    EXPECT_FALSE(running.port("p0")->up);
    EXPECT_FALSE(running.snapshot().ports[running.port("p0")->index].is_patch());
}

// --- devices that are kept ---

TEST_F(SwitchTest, KeptDevicesOutliveTheSwitchWithTheirAddressesAndRoutes) {
    state_.keep_devices = true;
    state_.bridges = {bridge("br0")};
    state_.ports = {port("int0", "br0", PortKind::tap)};
    tunnels::MacAddress before;
    {
        RunningSwitch running(state_);
        running.apply(state_);
        test::run("ip addr add 10.9.0.1/24 dev br0 && ip link set br0 up");
        test::run("ip route add 10.77.0.0/16 via 10.9.0.7 dev br0");
        test::run("ip addr add 10.8.0.1/24 dev int0 && ip link set int0 up");
        before = running.port("br0", true)->mac;
    }
    EXPECT_TRUE(exists("br0"));
    EXPECT_TRUE(test::succeeds("ip -4 addr show dev br0 | grep -q 10.9.0.1/24"));
    EXPECT_TRUE(test::succeeds("ip route show 10.77.0.0/16 | grep -q 'via 10.9.0.7'"));
    const unsigned index = if_nametoindex("br0");

    RunningSwitch again(state_);
    again.apply(state_);
    EXPECT_TRUE(again->failures().empty());
    EXPECT_EQ(if_nametoindex("br0"), index) << "taken over, not made anew";
    EXPECT_EQ(again.port("br0", true)->mac, before);
    EXPECT_TRUE(again.wait_until([&] { return again.port("br0", true)->up; }));
    EXPECT_TRUE(test::succeeds("ip route show 10.77.0.0/16 | grep -q 'via 10.9.0.7'"));
    EXPECT_TRUE(test::succeeds("ip -4 addr show dev int0 | grep -q 10.8.0.1/24"));
}

TEST_F(SwitchTest, WithoutKeepingDevicesVanishWithTheSwitch) {
    state_.bridges = {bridge("br0")};
    {
        RunningSwitch running;
        running.apply(state_);
        EXPECT_TRUE(exists("br0"));
    }
    EXPECT_FALSE(exists("br0"));
}

TEST_F(SwitchTest, DevicesAreMadeDownAndNamedAsTheirs) {
    state_.keep_devices = true;
    state_.bridges = {bridge("br0")};
    RunningSwitch running(state_);
    running.apply(state_);
    EXPECT_TRUE(test::succeeds("ip link show br0 | grep -q 'alias culvert: br0'"));
    EXPECT_FALSE(test::succeeds("ip link show br0 | grep -q ',UP'"));
}

TEST_F(SwitchTest, KeptDevicesThatNothingWantsAreDeletedAtTheStart) {
    test::run("ip tuntap add dev foreign mode tap");
    state_.keep_devices = true;
    state_.bridges = {bridge("br0"), bridge("br1")};
    {
        RunningSwitch running(state_);
        running.apply(state_);
    }
    EXPECT_TRUE(exists("br1"));
    state_.bridges.pop_back();
    RunningSwitch again(state_);
    again.apply(state_);
    EXPECT_TRUE(exists("br0"));
    EXPECT_FALSE(exists("br1"));
    EXPECT_TRUE(exists("foreign"));
}

TEST_F(SwitchTest, ADeletedBridgeOrPortDeletesItsKeptDevice) {
    state_.keep_devices = true;
    state_.bridges = {bridge("br0"), bridge("br1")};
    state_.ports = {port("int0", "br0", PortKind::tap)};
    RunningSwitch running(state_);
    running.apply(state_);
    state_.bridges.pop_back();
    state_.ports.clear();
    running.apply(state_);
    EXPECT_TRUE(running.wait_until([] { return !exists("br1") && !exists("int0"); }));
    EXPECT_TRUE(exists("br0"));
    // And back again under the same name, at once.
    state_.ports = {port("int0", "br0", PortKind::tap)};
    running.apply(state_);
    EXPECT_TRUE(exists("int0"));
}

TEST_F(SwitchTest, DiscardedDevicesVanishWithTheSwitch) {
    state_.keep_devices = true;
    state_.bridges = {bridge("br0")};
    state_.ports = {port("int0", "br0", PortKind::tap)};
    {
        RunningSwitch running(state_);
        running.apply(state_);
        running->discard_devices();
        EXPECT_TRUE(exists("br0"));
    }
    EXPECT_FALSE(exists("br0"));
    EXPECT_FALSE(exists("int0"));
}

TEST_F(SwitchTest, ASwitchThatLetsGoLeavesKeptDevicesToTheNextOne) {
    state_.keep_devices = true;
    state_.bridges = {bridge("br0")};
    RunningSwitch running(state_);
    running.apply(state_);
    running.apply(state_.without_items(), ApplyMode::let_go);
    EXPECT_EQ(running.port("br0", true), nullptr);
    const unsigned index = if_nametoindex("br0");
    EXPECT_NE(index, 0U);
    running.apply(state_);
    EXPECT_EQ(if_nametoindex("br0"), index);
    EXPECT_TRUE(running->failures().empty());
}

TEST_F(SwitchTest, ADeviceOfSomebodyElseIsNotTakenOver) {
    test::run("ip tuntap add dev br0 mode tap");
    test::run("ip link add int0 type veth peer name far0");
    state_.keep_devices = true;
    state_.bridges = {bridge("br0"), bridge("br1")};
    state_.ports = {port("int0", "br1", PortKind::tap)};
    RunningSwitch running(state_);
    const auto applied = running->apply(state_, ApplyMode::item_by_item);
    ASSERT_TRUE(applied);
    EXPECT_THAT(applied->trouble, HasSubstr("\"br0\""));
    EXPECT_THAT(running->failures().at("int0"), HasSubstr("exists already"));
    EXPECT_THAT(running.port("br0", true)->trouble, HasSubstr("exists already"));
    EXPECT_TRUE(exists("br1")) << "the others are made all the same";
}

TEST_F(SwitchTest, AnInterfaceThatIsMissingIsSaidToBe) {
    state_.bridges = {bridge("br0")};
    state_.ports = {port("eth9", "br0", PortKind::linux_interface)};
    RunningSwitch running(state_);
    running.apply(state_);
    EXPECT_EQ(open_failure_reason(running.port("eth9")->trouble), "No such device");
    test::run("ip link add eth9 type veth peer name far9");
    EXPECT_TRUE(running.wait_until([&] { return running.port("eth9")->device != nullptr; }));
    EXPECT_EQ(running.port("eth9")->trouble, "");
}

TEST_F(SwitchTest, MacAndMtuChangeInPlace) {
    state_.keep_devices = true;
    state_.bridges = {bridge("br0", true)};
    state_.ports = {port("int0", "br0", PortKind::tap)};
    RunningSwitch running(state_);
    running.apply(state_);
    test::run("ip addr add 10.9.0.1/24 dev br0");
    const unsigned bridge_index = if_nametoindex("br0");
    const unsigned port_index = if_nametoindex("int0");
    state_.bridges[0].local->mac = mac(1);
    state_.bridges[0].local->mtu = 1400;
    state_.ports[0].mac = mac(2);
    state_.ports[0].mtu = 1300;
    running.apply(state_);
    EXPECT_EQ(if_nametoindex("br0"), bridge_index);
    EXPECT_EQ(if_nametoindex("int0"), port_index);
    EXPECT_TRUE(test::succeeds("ip link show br0 | grep -q 02:00:00:00:55:01"));
    EXPECT_TRUE(test::succeeds("ip link show br0 | grep -q 'mtu 1400'"));
    EXPECT_TRUE(test::succeeds("ip link show int0 | grep -q 02:00:00:00:55:02"));
    EXPECT_TRUE(test::succeeds("ip link show int0 | grep -q 'mtu 1300'"));
    EXPECT_TRUE(test::succeeds("ip -4 addr show dev br0 | grep -q 10.9.0.1/24"));
    EXPECT_TRUE(running.wait_until([&] { return running.port("br0", true)->mtu == 1400; }));
    EXPECT_EQ(running.snapshot().bridges[0].local_mac, mac(1));
}

// --- many ---

/// 200 bridges with local ports, the first one with the underlay, and 1000 tunnels on the others.
DesiredState data_centre() {
    DesiredState state;
    state.keep_devices = true;
    for (unsigned i = 0; i < 200; ++i) {
        state.bridges.push_back(bridge("br" + std::to_string(i), true));
    }
    state.bridges[0].local->addresses = {{*tunnels::IpAddress::parse("10.1.0.1"), 16}};
    for (unsigned i = 0; i < 1000; ++i) {
        TunnelConfig tunnel;
        tunnel.name = "t" + std::to_string(i);
        tunnel.bridge = "br" + std::to_string(1 + i % 199);
        tunnel.type = "vxlan";
        tunnel.dst_port = 4789;
        tunnel.remote_ip = *tunnels::IpAddress::parse(
            "10.1." + std::to_string(1 + i / 250) + "." + std::to_string(1 + i % 250)
        );
        tunnel.in_key = tunnel.out_key = 1000 + i;
        state.tunnels.push_back(tunnel);
    }
    return state;
}

TEST_F(SwitchTest, TwoHundredBridgesAndAThousandTunnelsAreOneSnapshot) {
    const DesiredState state = data_centre();
    RunningSwitch running(state);
    const auto took = running.apply(state);
    RecordProperty("microseconds", std::to_string(took.count()));
    EXPECT_TRUE(running->failures().empty());
    EXPECT_EQ(running.snapshot().tunnels.size(), 1000U);
    EXPECT_LE(running->version(), 3U) << "a snapshot for an item makes a start quadratic";
    const std::uint64_t version = running->version();
    const auto removal_took = running.apply(state.without_items());
    RecordProperty("removal_microseconds", std::to_string(removal_took.count()));
    EXPECT_LE(running->version(), version + 2);
    EXPECT_FALSE(exists("br0") || exists("br199"));
}

TEST_F(SwitchTest, OneChangedTunnelLeavesTheOthersAsTheyAre) {
    DesiredState state = data_centre();
    RunningSwitch running(state);
    running.apply(state);
    EXPECT_TRUE(running.wait_until([&] { return running.port("br0", true)->up; }));
    std::map<std::string, std::uint32_t> generations;
    for (const auto& [index, port] : running->model().ports) {
        generations[port.name] = port.generation;
    }
    state.tunnels[500].remote_ip = *tunnels::IpAddress::parse("10.1.9.9");
    const auto took = running.apply(state);
    RecordProperty("microseconds", std::to_string(took.count()));
    EXPECT_EQ(running.done.size(), 1U);
    for (const auto& [index, port] : running->model().ports) {
        EXPECT_EQ(generations[port.name], port.generation) << port.name << "'s flows are void";
    }
    running->discard_devices();
}

// --- encryption ---

class EncryptedSwitchTest : public SwitchTest {
protected:
    EncryptedSwitchTest() {
        state_.daemon.state_dir = folder_.file("state");
        state_.bridges = {bridge("br0", true), bridge("br1")};
        state_.bridges[0].local->addresses = {{*tunnels::IpAddress::parse("10.1.0.1"), 16}};
        TunnelConfig tunnel;
        tunnel.name = "t1";
        tunnel.bridge = "br1";
        tunnel.type = "gre";
        tunnel.remote_ip = *tunnels::IpAddress::parse("10.1.0.2");
        state_.tunnels = {tunnel};
    }
    void encrypt(const std::string& seed) { state_.tunnels[0].esp = keys(seed, 0x1000); }
    static EspConfig keys(const std::string& seed, std::uint32_t spi) {
        const auto key = [&](const char* direction) {
            std::string bytes = direction + seed;
            bytes.resize(36);
            return tunnels::Secret(std::as_bytes(std::span(bytes)));
        };
        EspConfig esp;
        esp.spi_in = spi;
        esp.spi_out = spi + 0x100000;
        esp.key_in = key("in");
        esp.key_out = key("out");
        return esp;
    }
    static const dataplane::TunnelView& view(RunningSwitch& running) {
        return running.snapshot().tunnels.at(
            running.snapshot().ports.at(running.port("t1")->index).tunnel
        );
    }

    testing::TemporaryFolder folder_;
};

TEST_F(EncryptedSwitchTest, TheFirstSnapshotWithTheTunnelHasItsPolicy) {
    encrypt("a");
    RunningSwitch running(state_);
    running.apply(state_);
    ASSERT_NE(view(running).esp, nullptr);
    EXPECT_TRUE(running.wait_until([&] { return view(running).esp->out != nullptr; }));
    const dataplane::SaParameters& parameters = view(running).esp->out->parameters();
    EXPECT_EQ(parameters.source, *tunnels::IpAddress::parse("10.1.0.1"));
    const dataplane::InboundSa* inbound =
        running.snapshot().associations.find(0x1000, *tunnels::IpAddress::parse("10.1.0.1"));
    ASSERT_NE(inbound, nullptr);
    EXPECT_THAT(view(running).esp->accepts, ::testing::ElementsAre(inbound->parameters().id));
    EXPECT_TRUE(running.port("t1")->encryption->established);
}

TEST_F(EncryptedSwitchTest, FromClearToEncryptedAndToOtherKeysAndBack) {
    RunningSwitch running(state_);
    running.apply(state_);
    EXPECT_EQ(view(running).esp, nullptr);
    encrypt("a");
    running.apply(state_);
    ASSERT_NE(view(running).esp, nullptr);
    EXPECT_TRUE(running.wait_until([&] { return view(running).esp->out != nullptr; }));
    const auto before = view(running).esp->out;
    encrypt("b");
    running.apply(state_);
    ASSERT_NE(view(running).esp->out, nullptr);
    EXPECT_NE(view(running).esp->out, before);
    state_.tunnels[0].esp.reset();
    running.apply(state_);
    EXPECT_EQ(view(running).esp, nullptr);
    EXPECT_FALSE(running.port("t1")->encryption);
}

TEST_F(EncryptedSwitchTest, AnotherSwitchOnTheFolderGoesOnBehindTheNumbers) {
    encrypt("a");
    std::uint64_t last = 0;
    for (int life = 0; life < 2; ++life) {
        RunningSwitch running(state_);
        running.apply(state_);
        ASSERT_TRUE(running.wait_until([&] { return view(running).esp->out != nullptr; }));
        std::uint64_t number = 0;
        ASSERT_EQ(view(running).esp->out->take(1, number), 1U);
        EXPECT_GT(number, last);
        last = number;
    }
}

TEST_F(EncryptedSwitchTest, InnerPacketsLeaveRoomForEsp) {
    encrypt("a");
    RunningSwitch running(state_);
    running.apply(state_);
    EXPECT_TRUE(running.wait_until([&] { return running.port("br0", true)->up; }));
    test::run("ip neigh replace 10.1.0.2 lladdr 02:00:00:00:99:01 dev br0 nud permanent");
    ASSERT_TRUE(running.wait_until([&] { return view(running).wire_mtu != 0; }));
    EXPECT_EQ(view(running).wire_mtu, 1500U);
    // 20 of IP, 8 + 8 of header and IV, 16 of ICV, 2 and padding to a multiple of 4.
    EXPECT_EQ(view(running).underlay_mtu, 1466U);
}

TEST_F(EncryptedSwitchTest, AThousandEncryptedTunnelsAreOneSnapshot) {
    DesiredState state = data_centre();
    state.daemon.state_dir = state_.daemon.state_dir;
    for (std::size_t i = 0; i < state.tunnels.size(); ++i) {
        state.tunnels[i].esp = keys(std::to_string(i), static_cast<std::uint32_t>(1000 + i));
    }
    RunningSwitch running(state);
    const auto took = running.apply(state);
    RecordProperty("microseconds", std::to_string(took.count()));
    EXPECT_LE(running->version(), 3U);
    EXPECT_TRUE(running.wait_until([&] {
        const auto& tunnels = running.snapshot().tunnels;
        return std::all_of(tunnels.begin(), tunnels.end(), [](const dataplane::TunnelView& tunnel) {
            return tunnel.esp && tunnel.esp->out;
        });
    }));
    running->discard_devices();
}

}  // namespace

}  // namespace culvert::ctl
