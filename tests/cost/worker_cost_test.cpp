// SPDX-License-Identifier: GPL-2.0-or-later
//
// What carrying a packet between DPDK ports costs a worker besides its instructions: no heap, no
// lock, no system call, no locked instruction. A worker thread carries packets of DPDK's virtual
// devices at full speed while calls of the heap and of locks are counted and system calls are
// watched for, then some bursts in single steps, where each instruction is looked at, those of
// DPDK's drivers and libraries included. Where a packet does cost a locked instruction, a test says
// so and bounds it.
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/worker.hpp"
#include "tests/cost/call_counts.hpp"
#include "tests/cost/tracer.hpp"
#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {
namespace {

constexpr std::uint64_t kWarmUpPackets = 4096;
constexpr std::uint64_t kWatchedPackets = 100'000;
constexpr std::uint64_t kSteppedPackets = 2 * dataplane::kBurstMax;  // Some 20 us an instruction.

constexpr unsigned kPackets = 4096;
constexpr unsigned kPoolCache = 256;  // As the daemon's pools.

struct FreePool {
    void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};
using Pool = std::unique_ptr<rte_mempool, FreePool>;

/// Both spans of a run.
struct Cost {
    CallCounts calls;  ///< Of the worker, over `watched`.
    Trace watched;
    Trace stepped;
};

/// Has a descriptor to be watched, like a port of the kernel, and never a packet.
class QuietPort final : public dataplane::Port {
public:
    ~QuietPort() override { close(fd_); }
    QuietPort() = default;
    QuietPort(const QuietPort&) = delete;
    QuietPort& operator=(const QuietPort&) = delete;

    std::size_t receive(unsigned /*queue*/, std::span<rte_mbuf*> /*burst*/) noexcept override {
        return 0;
    }
    std::size_t transmit(unsigned /*worker*/, std::span<rte_mbuf*> /*burst*/) noexcept override {
        return 0;
    }
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return fd_; }
    [[nodiscard]] bool carries_offloads() const noexcept override { return false; }
    [[nodiscard]] dataplane::PortInfo info() const override { return {.driver = "quiet"}; }
    [[nodiscard]] dataplane::PortErrors errors() const override { return {}; }

private:
    int fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
};

class WorkerCost : public TunnelPath {
protected:
    WorkerCost() {
        snapshot.bridges[0].members = {kUplink};
        for (auto& port : snapshot.ports) {
            port.mtu = 9000;
        }
    }
    ~WorkerCost() override {
        workers.reset();
        close(wake_fd);
        std::filesystem::remove(frames_file);
    }

    std::shared_ptr<dataplane::Port> open(const std::string& devargs) {
        dataplane::EthdevPortOptions options;
        options.name = devargs.substr(0, devargs.find(','));
        options.devargs = devargs;
        auto port = dataplane::open_ethdev_port(options, pools());
        if (!port) {
            throw std::runtime_error(port.error());
        }
        return std::move(*port);
    }

    /// A device from which these frames come over and over, and which drops what it is to send.
    /// (That of net_null counts what it drops by a locked addition for each burst.)
    std::shared_ptr<dataplane::Port>
    open_pcap(const std::string& name, const std::vector<Frame>& frames) {
        std::ofstream file(frames_file, std::ios::binary);
        const std::array<std::uint32_t, 6> header{0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
        file.write(reinterpret_cast<const char*>(header.data()), sizeof header);
        for (const Frame& frame : frames) {
            const auto bytes = static_cast<std::uint32_t>(frame.size());
            const std::array<std::uint32_t, 4> record{0, 0, bytes, bytes};
            file.write(reinterpret_cast<const char*>(record.data()), sizeof record);
            file.write(reinterpret_cast<const char*>(frame.data()), bytes);
        }
        file.close();
        return open("net_pcap_" + name + ",rx_pcap=" + frames_file.string() + ",infinite_rx=1");
    }
    std::shared_ptr<dataplane::Port> open_source(const std::vector<Frame>& frames) {
        return open_pcap("source", frames);
    }

    /// The worker reads `sources`; all other ports are a device that takes everything.
    void run(const std::map<std::uint16_t, std::shared_ptr<dataplane::Port>>& sources) {
        dataplane::WorkerOptions options;
        auto started = dataplane::Workers::start(options, flows, pools(), wake_fd);
        ASSERT_TRUE(started) << started.error();
        workers = std::move(*started);
        const auto sink = open_pcap("sink", {outgoing()});
        auto published = std::make_unique<dataplane::Snapshot>(snapshot);
        published->rx.resize(1);
        std::uint16_t index = 0;
        for (auto& port : published->ports) {
            const std::uint16_t number = index++;
            if (port.is_tunnel()) {
                continue;
            }
            const auto source = sources.find(number);
            port.device = source == sources.end() ? sink : source->second;
            if (source != sources.end()) {
                published->rx[0].push_back({port.device, number, 0});
            }
        }
        workers->publish(std::move(published));
    }

    /// What the packets of a running worker cost, of which some leave by `out` and none is dropped.
    void measure(std::uint16_t out) {
        const auto& counts = workers->counters(0);
        const auto& packets_taken = counts.loop.packets;
        while (packets_taken.read() < kWarmUpPackets) {
            ASSERT_EQ(drops(), 0U) << "the packets do not take the way that is to be looked at";
            usleep(1000);
        }
        const pid_t thread = find_thread("culvert-w0");
        ASSERT_NE(thread, 0);
        const std::uint64_t sent = counts.ports[out].tx_packets.read();
        const CallCounts before = call_counts();
        cost.watched = watch_system_calls(thread, packets_taken, kWatchedPackets);
        const CallCounts after = call_counts();
        cost.calls = {after.heap - before.heap, after.locks - before.locks};
        cost.stepped = step(thread, packets_taken, kSteppedPackets);
        EXPECT_GE(cost.watched.packets, kWatchedPackets) << cost.watched.describe();
        EXPECT_GE(cost.stepped.packets, kSteppedPackets) << cost.stepped.describe();
        EXPECT_GT(counts.ports[out].tx_packets.read(), sent + kWatchedPackets / 2);
        EXPECT_EQ(drops(), 0U);
        const auto per_packet = [&](std::uint64_t count) {
            return std::to_string(
                static_cast<double>(count) / static_cast<double>(cost.stepped.packets)
            );
        };
        RecordProperty("instructions_per_packet", per_packet(cost.stepped.instructions));
        RecordProperty(
            "locked_instructions_per_packet",
            per_packet(cost.stepped.count(Act::locked_instruction))
        );
    }

    /// Whatever else it costs.
    void expect_no_calls() const {
        EXPECT_EQ(cost.calls.heap, 0U);
        EXPECT_EQ(cost.calls.locks, 0U);
        EXPECT_EQ(cost.watched.count(Act::system_call), 0U) << cost.watched.describe();
        EXPECT_EQ(cost.stepped.count(Act::system_call), 0U) << cost.stepped.describe();
        EXPECT_EQ(cost.stepped.count(Act::heap_call), 0U) << cost.stepped.describe();
        EXPECT_EQ(cost.stepped.count(Act::lock_call), 0U) << cost.stepped.describe();
        EXPECT_EQ(cost.stepped.error, 0) << cost.stepped.describe();
        EXPECT_EQ(cost.watched.error, 0) << cost.watched.describe();
        EXPECT_GT(cost.stepped.instructions, kSteppedPackets * 10);
    }
    void expect_nothing() const {
        expect_no_calls();
        EXPECT_EQ(cost.stepped.count(Act::locked_instruction), 0U) << cost.stepped.describe();
    }

    [[nodiscard]] std::uint64_t drops() const {
        std::uint64_t sum = 0;
        for (const auto& row : workers->counters(0).drops) {
            for (std::size_t port = 0; port < snapshot.ports.size(); ++port) {
                sum += row[port].read();
            }
        }
        return sum;
    }

    [[nodiscard]] dataplane::PacketPools pools() const { return {packets.get(), shares.get()}; }

    /// Frames of 64 flows of one pair of hosts, from kVif1.
    static std::vector<Frame> outgoing_frames() {
        std::vector<Frame> frames;
        for (std::uint16_t flow = 0; flow < 64; ++flow) {
            IpSpec spec;
            spec.source_port = static_cast<std::uint16_t>(1000 + flow);
            frames.push_back(outgoing(spec));
        }
        return frames;
    }
    /// Packets of 64 flows as the remote end of the tunnel at `port` sends them.
    std::vector<Frame> tunnel_frames(std::uint16_t port) const {
        std::vector<Frame> frames;
        for (std::uint16_t flow = 0; flow < 64; ++flow) {
            IpSpec spec;
            spec.source_port = static_cast<std::uint16_t>(1000 + flow);
            const bool bare = snapshot.ports[port].is_l3;
            frames.push_back(wrap(port, bare ? make_ip(spec) : inner_frame(spec)));
        }
        return frames;
    }
    /// The flow of what comes out of the tunnel at `from`.
    void lead(std::uint16_t from, std::uint16_t to) {
        const bool bare = snapshot.ports[from].is_l3;
        insert_flow(
            {.in_port = from, .destination = mac(1), .source = bare ? mac(0xee) : mac(9)},
            forward(to)
        );
        l3->hosts.insert(IpSpec{}.destination, mac(1));
    }

    Pool packets{rte_pktmbuf_pool_create(
        "cost_packets",
        kPackets,
        kPoolCache,
        0,
        RTE_PKTMBUF_HEADROOM + dataplane::kMbufDataBytes,
        SOCKET_ID_ANY
    )};
    Pool shares{rte_pktmbuf_pool_create("cost_shares", kPackets, kPoolCache, 0, 0, SOCKET_ID_ANY)};
    std::filesystem::path frames_file =
        std::filesystem::temp_directory_path() / ("culvert_cost_" + std::to_string(getpid()));
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    std::unique_ptr<dataplane::Workers> workers;
    Cost cost;
};

class WorkerCostOf : public WorkerCost, public ::testing::WithParamInterface<const char*> {};

TEST_F(WorkerCost, SwitchingCostsNothing) {
    insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, forward(kVif2));
    run({{kVif1, open_source(outgoing_frames())}});
    measure(kVif2);
    expect_nothing();
}

TEST_P(WorkerCostOf, EncapCostsNothing) {
    const std::uint16_t tunnel = add({.type = GetParam()});
    lead_to(tunnel);
    run({{kVif1, open_source(outgoing_frames())}});
    measure(kUplink);
    expect_nothing();
}

TEST_P(WorkerCostOf, DecapCostsNothing) {
    const std::uint16_t tunnel = add({.type = GetParam()});
    lead(tunnel, kVif1);
    run({{kUplink, open_source(tunnel_frames(tunnel))}});
    measure(kVif1);
    expect_nothing();
}

INSTANTIATE_TEST_SUITE_P(
    EachProtocol,
    WorkerCostOf,
    ::testing::Values("gre", "vxlan", "vxlan-gpe", "geneve", "lisp"),
    [](const auto& protocol) {
        std::string name = protocol.param;
        std::erase(name, '-');
        return name;
    }
);

TEST_F(WorkerCost, AQuietKernelPortCostsASystemCallInSomeRounds) {
    insert_flow({.in_port = kVif1, .destination = mac(9), .source = mac(1)}, forward(kVif2));
    run({{kVif1, open_source(outgoing_frames())}, {kGateway, std::make_shared<QuietPort>()}});
    measure(kVif2);
    // A round carries 32 packets here.
    EXPECT_GT(cost.watched.count(Act::system_call), 0U);
    EXPECT_LE(cost.watched.count(Act::system_call), cost.watched.packets / 256)
        << cost.watched.describe();
}

TEST_F(WorkerCost, EncapOverIpv6CostsNothing) {
    lead_to(add({.type = "vxlan", .v6 = true}));
    run({{kVif1, open_source(outgoing_frames())}});
    measure(kUplink);
    expect_nothing();
}

TEST_F(WorkerCost, RelayingFromTunnelToTunnelCostsNothing) {
    const std::uint16_t from = add({.type = "geneve"});
    const std::uint16_t to = add({.type = "gre"});
    lead(from, to);
    run({{kUplink, open_source(tunnel_frames(from))}});
    measure(kUplink);
    expect_nothing();
}

/// Frames go round: out through one tunnel, over a device that is a loop, back in through the other
/// tunnel, and over the loop of kVif1 to the first one again.
class RoundTripCost : public WorkerCost {
protected:
    RoundTripCost() {
        out = add({.type = "vxlan", .key = 1});
        back = add({.type = "vxlan", .key = 1, .remote = local_ip});
        snapshot.bridges[0].local_mac = mac(0xaa);
        snapshot.local_addresses = {remote_ip};
        tunnel(out).underlay_mtu = 9000;
        tunnel(out).wire_mtu = 9000;
        lead_to(out);
        insert_flow({.in_port = back, .destination = mac(9), .source = mac(1)}, forward(kVif1));
    }
    /// Both ends of one SA are ours.
    void encrypt(tunnels::EspAlgorithm algorithm) {
        dataplane::SaParameters parameters;
        parameters.id = 1;
        parameters.spi = 0x1000;
        parameters.source = local_ip;
        parameters.destination = remote_ip;
        parameters.extended = true;
        const tunnels::Secret key(
            std::vector<std::byte>(tunnels::row_of(algorithm).key_bytes(), std::byte{3})
        );
        auto sender = std::make_shared<dataplane::OutboundSa>(parameters, algorithm, key, 1);
        sender->allow_below(std::uint64_t{1} << 40U);
        const auto receiver =
            std::make_shared<dataplane::InboundSa>(parameters, algorithm, key, 1024);
        tunnel(out).esp =
            std::make_shared<dataplane::EspPolicy>(dataplane::EspPolicy{std::move(sender), {}});
        tunnel(back).esp =
            std::make_shared<dataplane::EspPolicy>(dataplane::EspPolicy{nullptr, {parameters.id}});
        snapshot.associations = dataplane::SaTable({receiver}, {});
    }
    void go_round(std::size_t bytes, std::uint16_t buffers) {
        // The memory of a ring outlives its device.
        static unsigned rings = 0;
        const auto vif = open("net_ring_" + std::to_string(rings++));
        const auto uplink = open("net_ring_" + std::to_string(rings++));
        IpSpec spec;
        spec.bytes = bytes;
        std::vector<rte_mbuf*> chains;
        for (unsigned i = 0; i < 256; ++i) {
            chains.push_back(make_chain(outgoing(spec)));
            ASSERT_EQ(chains.back()->nb_segs, buffers);
        }
        ASSERT_EQ(vif->transmit(0, chains), chains.size());
        run({{kVif1, vif}, {kUplink, uplink}});
        measure(kVif1);
        workers.reset();
        for (const auto& port : {vif, uplink}) {
            std::array<rte_mbuf*, dataplane::kBurstMax> burst{};
            while (const std::size_t count = port->receive(0, burst)) {
                rte_pktmbuf_free_bulk(burst.data(), static_cast<unsigned>(count));
            }
        }
    }

    std::uint16_t out = 0;
    std::uint16_t back = 0;
};

TEST_F(RoundTripCost, ChainedBuffersCostNothing) {
    go_round(4000, 3);
    expect_nothing();
}

TEST_F(RoundTripCost, EncryptionCostsAFewLockedInstructionsForABurst) {
    encrypt(tunnels::EspAlgorithm::aes_gcm_128);
    go_round(100, 1);
    expect_no_calls();
    // Sequence numbers, the window before and after, and what is counted at each SA; for a burst,
    // not for a packet.
    EXPECT_LE(cost.stepped.count(Act::locked_instruction), cost.stepped.packets / 2)
        << cost.stepped.describe();
}

TEST_F(RoundTripCost, EncryptionOfChainsMakesNoCalls) {
    encrypt(tunnels::EspAlgorithm::aes_gcm_128);
    go_round(4000, 3);
    expect_no_calls();
}

TEST_F(WorkerCost, FloodingCostsTheReferencesToOnePacket) {
    snapshot.bridges[1].members = {kVif1, kVif2, kGateway, kVxlan, kGre};
    insert_flow(
        {.in_port = kVif1, .destination = mac(0xff), .source = mac(1)}, PacketPath::flood()
    );
    std::vector<Frame> frames;
    for (unsigned i = 0; i < 32; ++i) {
        frames.push_back(ethernet(mac(0xff), mac(1), make_ip({})));
    }
    run({{kVif1, open_source(frames)}});
    measure(kVif2);
    expect_no_calls();
    // The buffers of a shared packet count their references, and do so by locked instructions,
    // since they may go different ways: taking one and giving it back, for each of the four copies.
    EXPECT_LE(cost.stepped.count(Act::locked_instruction), cost.stepped.packets * 4 * 2)
        << cost.stepped.describe();
}

TEST_F(WorkerCost, ASequenceNumberCostsOneAddition) {
    TunnelSpec spec{.type = "gre"};
    spec.header.sequence = true;
    lead_to(add(spec));
    run({{kVif1, open_source(outgoing_frames())}});
    measure(kUplink);
    expect_no_calls();
    // Workers share the numbers of a tunnel, which are to be without gaps.
    EXPECT_LE(cost.stepped.count(Act::locked_instruction), cost.stepped.packets + 64)
        << cost.stepped.describe();
}

}  // namespace
}  // namespace culvert::testing
