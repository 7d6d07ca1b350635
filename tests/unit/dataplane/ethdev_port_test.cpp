// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ethdev port over DPDK's virtual devices: null, ring (a loopback) and pcap (files). Needs no
// privilege.

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_log.h>

#include "tests/unit/dataplane/ethdev_ports.hpp"
#include "tests/unit/dataplane/port_packets.hpp"
#include "tests/unit/dataplane/private_netns.hpp"

namespace culvert::dataplane {
namespace {

using testing::make_packet;
using testing::make_udp_or_tcp;
using testing::open;
using testing::open_or_throw;
using testing::options_for;
using testing::packet_bytes;
using testing::receive_each;
using testing::receive_one;
using testing::TemporaryDirectory;
using testing::transmit_one;
using Bytes = std::vector<std::uint8_t>;

class EthdevPcapTest : public ::testing::Test {
protected:
    [[nodiscard]] std::string path(const std::string& name) const { return directory.path(name); }

    void write_pcap(const std::string& name, const std::vector<Bytes>& frames) const {
        std::ofstream file(path(name), std::ios::binary);
        const std::array<std::uint32_t, 6> header{0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
        file.write(reinterpret_cast<const char*>(header.data()), sizeof header);
        for (const Bytes& frame : frames) {
            const auto bytes = static_cast<std::uint32_t>(frame.size());
            const std::array<std::uint32_t, 4> record{0, 0, bytes, bytes};
            file.write(reinterpret_cast<const char*>(record.data()), sizeof record);
            file.write(reinterpret_cast<const char*>(frame.data()), bytes);
        }
    }

    [[nodiscard]] std::vector<Bytes> read_pcap(const std::string& name) const {
        std::ifstream file(path(name), std::ios::binary);
        file.seekg(24);
        std::vector<Bytes> frames;
        std::array<std::uint32_t, 4> record{};
        while (file.read(reinterpret_cast<char*>(record.data()), sizeof record)) {
            Bytes frame(record[2]);
            file.read(reinterpret_cast<char*>(frame.data()), record[2]);
            frames.push_back(frame);
        }
        return frames;
    }

    TemporaryDirectory directory;
    testing::LeakCheck leak_check;
};

TEST(EthdevPort, TellsWhatTheDeviceIs) {
    const testing::LeakCheck leak_check;
    EthdevPortOptions options = options_for("net_null0");
    options.rx_queues = 2;
    options.tx_queues = 3;
    options.mtu = 2000;
    const auto port = open_or_throw(options);
    const PortInfo info = port->info();
    EXPECT_EQ(info.driver, "net_null");
    EXPECT_EQ(info.rx_queues, 2U);
    EXPECT_EQ(info.tx_queues, 3U);
    EXPECT_EQ(info.mtu, 2000U);
    EXPECT_TRUE(info.link_up);
    EXPECT_FALSE(info.mac.is_zero());
    EXPECT_FALSE(port->carries_offloads());
    EXPECT_EQ(port->wake_fd(0), -1);
}

TEST(EthdevPort, ReadsAQueueForEachWorkerAndAllThatAGuestMaySendBy) {
    const TemporaryDirectory directory;
    for (const auto& [devargs, queues] : std::map<std::string, unsigned>{
             {"net_null0", 3}, {"net_vhost0,iface=" + directory.path("s") + ",queues=4", 4}}) {
        EthdevPortOptions options = options_for(devargs);
        options.rx_queues = 0;
        options.tx_queues = 3;
        EXPECT_EQ(open_or_throw(options)->info().rx_queues, queues);
    }
}

TEST(EthdevPort, ReceivesOnItsQueuesOnly) {
    const testing::LeakCheck leak_check;
    EthdevPortOptions options = options_for("net_null0,size=200");
    options.rx_queues = 2;
    const auto port = open_or_throw(options);
    std::array<rte_mbuf*, 64> burst{};
    for (const unsigned queue : {0U, 1U}) {
        const std::size_t count = port->receive(queue, burst);
        EXPECT_EQ(count, kBurstMax);
        for (std::size_t i = 0; i < count; ++i) {
            EXPECT_EQ(packet::length(burst[i]), 200U);
            rte_pktmbuf_free(burst[i]);
        }
    }
    EXPECT_EQ(port->receive(2, burst), 0U);
    EXPECT_EQ(port->receive(1000, burst), 0U);
}

TEST(EthdevPort, FreesWhatItTransmits) {
    const testing::LeakCheck leak_check;
    const auto port = open_or_throw(options_for("net_null0,no-rx=1"));
    std::array<rte_mbuf*, 100> burst{};
    for (std::size_t i = 0; i < burst.size(); ++i) {
        burst[i] = make_packet(make_udp_or_tcp(100, static_cast<std::uint8_t>(i)));
    }
    EXPECT_EQ(port->transmit(0, burst), burst.size());
    EXPECT_EQ(port->receive(0, burst), 0U);
}

TEST(EthdevPort, CarriesPacketsAndLeavesNoFlags) {
    const testing::LeakCheck leak_check;
    const auto port = open_or_throw(options_for("net_ring0"));
    rte_mbuf* packet = make_packet(make_udp_or_tcp(5000, 1));
    packet::set_offload(packet, {34, 6, GsoType::none, 0, 0});
    packet->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_RX_VLAN;
    ASSERT_TRUE(transmit_one(*port, packet));
    packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), make_udp_or_tcp(5000, 1));
    EXPECT_EQ(packet->ol_flags, 0U);
    rte_pktmbuf_free(packet);
}

/// The loopback device with packets put in behind the port's back, flags as a driver sets them.
class EthdevFlagsTest : public ::testing::Test {
protected:
    EthdevFlagsTest() : ring_port(open_or_throw(options_for("net_ring0"))) {
        EXPECT_EQ(rte_eth_dev_get_port_by_name("net_ring0", &ring_id), 0);
    }

    rte_mbuf* loop(const Bytes& frame, std::uint64_t flags, std::uint16_t segment_bytes = 0) {
        rte_mbuf* packet = make_packet(frame);
        packet->ol_flags = flags;
        packet->tso_segsz = segment_bytes;
        EXPECT_EQ(rte_eth_tx_burst(ring_id, 0, &packet, 1), 1);
        return receive_one(*ring_port);
    }

    testing::LeakCheck leak_check;
    std::unique_ptr<Port> ring_port;
    std::uint16_t ring_id = 0;
};

TEST_F(EthdevFlagsTest, AChecksumThatASenderLeftOutIsPending) {
    rte_mbuf* packet = loop(make_udp_or_tcp(100, 1), RTE_MBUF_F_RX_L4_CKSUM_NONE);
    ASSERT_NE(packet, nullptr);
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).checksum_start, 34);
    EXPECT_EQ(packet::offload(packet).checksum_offset, 6);
    EXPECT_EQ(packet::offload(packet).gso_type, GsoType::none);
    EXPECT_EQ(packet_bytes(packet), make_udp_or_tcp(100, 1));
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevFlagsTest, AMergedPacketIsASuperFrame) {
    const std::uint64_t flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
    rte_mbuf* packet = loop(make_udp_or_tcp(9000, 1, 6), flags, 1400);
    ASSERT_NE(packet, nullptr);
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).gso_type, GsoType::tcp4);
    EXPECT_EQ(packet::offload(packet).gso_bytes, 1400);
    EXPECT_EQ(packet::offload(packet).header_bytes, 54);
    EXPECT_EQ(packet_bytes(packet), make_udp_or_tcp(9000, 1, 6));
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevFlagsTest, OtherFlagsAreNoPendingWork) {
    for (const std::uint64_t flags :
         {RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD,
          RTE_MBUF_F_RX_L4_CKSUM_BAD,
          RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_VLAN}) {
        rte_mbuf* packet = loop(make_udp_or_tcp(100, 1), flags);
        ASSERT_NE(packet, nullptr);
        EXPECT_EQ(packet->ol_flags, 0U);
        rte_pktmbuf_free(packet);
    }
}

TEST_F(EthdevFlagsTest, ASuperFrameThatCannotBeIsDroppedAndCounted) {
    EXPECT_EQ(loop(make_udp_or_tcp(3000, 1, 1), RTE_MBUF_F_RX_LRO, 1400), nullptr);
    EXPECT_EQ(ring_port->errors().rx_malformed, 1U);
    EXPECT_EQ(ring_port->errors().rx_errors, 1U);
    rte_mbuf* packet = loop(make_udp_or_tcp(100, 1), 0);
    ASSERT_NE(packet, nullptr);
    rte_pktmbuf_free(packet);
}

TEST(EthdevPort, TakesOnlyWhatTheQueueHolds) {
    const testing::LeakCheck leak_check;
    const auto port = open_or_throw(options_for("net_ring0"));
    std::size_t taken = 0;
    std::array<rte_mbuf*, kBurstMax> burst{};
    std::size_t count = kBurstMax;
    while (count == kBurstMax && taken < 3000) {
        for (rte_mbuf*& packet : burst) {
            packet = make_packet(make_udp_or_tcp(60, 1));
        }
        count = port->transmit(0, burst);
        taken += count;
    }
    EXPECT_LT(count, kBurstMax);
    rte_pktmbuf_free_bulk(&burst[count], static_cast<unsigned>(kBurstMax - count));
    std::size_t received = 0;
    for (rte_mbuf* packet = receive_one(*port); packet != nullptr; packet = receive_one(*port)) {
        ++received;
        rte_pktmbuf_free(packet);
    }
    EXPECT_EQ(received, taken);
}

TEST_F(EthdevPcapTest, ReadsAndWritesFiles) {
    std::vector<Bytes> frames;
    for (const std::size_t bytes : {60UL, 1514UL, 2048UL, 2049UL, 9014UL}) {
        frames.push_back(make_udp_or_tcp(bytes, static_cast<std::uint8_t>(bytes)));
    }
    write_pcap("in.pcap", frames);
    {
        EthdevPortOptions options =
            options_for("net_pcap0,rx_pcap=" + path("in.pcap") + ",tx_pcap=" + path("out.pcap"));
        options.mtu = 9000;
        const auto port = open_or_throw(options);
        EXPECT_EQ(port->info().driver, "net_pcap");
        std::size_t i = 0;
        receive_each(*port, [&](rte_mbuf* packet) {
            EXPECT_EQ(packet_bytes(packet), frames.at(i++));
            EXPECT_TRUE(transmit_one(*port, packet));
        });
        EXPECT_EQ(i, frames.size());
        EXPECT_EQ(port->errors().tx_errors, 0U);
    }
    EXPECT_EQ(read_pcap("out.pcap"), frames);
}

TEST_F(EthdevPcapTest, MakesChainsOneBufferForADeviceThatTakesNone) {
    const Bytes frame = make_udp_or_tcp(1400, 1);
    {
        const auto port = open_or_throw(options_for("net_pcap0,tx_pcap=" + path("out.pcap")));
        // In place, and as a copy where the first segment is shared.
        ASSERT_TRUE(transmit_one(*port, make_packet(frame, 300)));
        rte_mbuf* original = make_packet(frame, 300);
        rte_mbuf* replica = packet::share(original, testing::share_pool());
        ASSERT_NE(replica, nullptr);
        ASSERT_TRUE(transmit_one(*port, replica));
        EXPECT_EQ(packet_bytes(original), frame);
        ASSERT_TRUE(transmit_one(*port, original));
        // A frame that fits no buffer at this MTU is refused; the next one goes.
        std::array<rte_mbuf*, 2> burst{make_packet(make_udp_or_tcp(4000, 2)), make_packet(frame)};
        EXPECT_EQ(port->transmit(0, burst), 2U);
        EXPECT_EQ(port->errors().tx_errors, 1U);
    }
    EXPECT_EQ(read_pcap("out.pcap"), std::vector<Bytes>(4, frame));
}

/// A packet of `tail` behind the bytes of `head`, which it shares.
rte_mbuf* behind_shared(rte_mbuf* head, const Bytes& tail) {
    rte_mbuf* packet = rte_pktmbuf_alloc(testing::share_pool());
    rte_pktmbuf_attach(packet, head);
    EXPECT_EQ(rte_pktmbuf_chain(packet, make_packet(tail)), 0);
    return packet;
}

TEST_F(EthdevPcapTest, WritesNothingBehindSharedBytes) {
    const std::array<Bytes, 2> tails{Bytes(200, 0x11), Bytes(200, 0x22)};
    {
        const auto port = open_or_throw(options_for("net_pcap0,tx_pcap=" + path("out.pcap")));
        rte_mbuf* head = make_packet(make_udp_or_tcp(100, 1));
        std::array<rte_mbuf*, 2> burst{
            behind_shared(head, tails[0]), behind_shared(head, tails[1])};
        EXPECT_EQ(port->transmit(0, burst), 2U);
        rte_pktmbuf_free(head);
    }
    const std::vector<Bytes> frames = read_pcap("out.pcap");
    ASSERT_EQ(frames.size(), 2U);
    for (std::size_t i = 0; i < frames.size(); ++i) {
        EXPECT_EQ(Bytes(frames[i].begin(), frames[i].begin() + 100), make_udp_or_tcp(100, 1));
        EXPECT_EQ(Bytes(frames[i].begin() + 100, frames[i].end()), tails[i]);
    }
}

TEST_F(EthdevPcapTest, WorkersShareAQueueUnderALock) {
    constexpr std::size_t kEach = 1900;
    {
        EthdevPortOptions options = options_for("net_pcap0,tx_pcap=" + path("out.pcap"));
        options.tx_queues = 2;
        const auto port = open_or_throw(options);
        EXPECT_EQ(port->info().tx_queues, 1U);
        // Made here and not by the workers: ThreadSanitizer does not see that the pool's ring
        // orders one thread's use of a buffer before the next one's.
        std::array<std::vector<rte_mbuf*>, 2> packets;
        for (std::size_t worker = 0; worker < packets.size(); ++worker) {
            for (std::size_t i = 0; i < kEach; ++i) {
                packets[worker].push_back(
                    make_packet(make_udp_or_tcp(300, static_cast<std::uint8_t>(worker)))
                );
            }
        }
        std::latch start(2);
        const auto send = [&](unsigned worker) {
            start.arrive_and_wait();
            for (rte_mbuf*& packet : packets[worker]) {
                ASSERT_EQ(port->transmit(worker, std::span(&packet, 1)), 1U);
            }
        };
        std::thread first(send, 0U);
        std::thread second(send, 1U);
        first.join();
        second.join();
    }
    std::array<std::size_t, 2> count{};
    for (const Bytes& frame : read_pcap("out.pcap")) {
        const bool is_first = frame == make_udp_or_tcp(300, 0);
        ASSERT_TRUE(is_first || frame == make_udp_or_tcp(300, 1));
        ++count[is_first ? 0 : 1];
    }
    EXPECT_EQ(count[0], kEach);
    EXPECT_EQ(count[1], kEach);
}

TEST_F(EthdevPcapTest, UsesTheQueuesThereAre) {
    write_pcap("in.pcap", {make_udp_or_tcp(60, 1)});
    EthdevPortOptions options =
        options_for("net_pcap0,rx_pcap=" + path("in.pcap") + ",tx_pcap=" + path("out.pcap"));
    options.rx_queues = 4;
    options.tx_queues = 4;
    const auto port = open_or_throw(options);
    EXPECT_EQ(port->info().rx_queues, 1U);
    EXPECT_EQ(port->info().tx_queues, 1U);
    rte_mbuf* packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    rte_pktmbuf_free(packet);
}

TEST(EthdevPort, RemovesTheDeviceItProbed) {
    const testing::LeakCheck leak_check;
    std::uint16_t id = 0;
    for (unsigned i = 0; i < 3; ++i) {
        const auto port = open_or_throw(options_for("net_null5"));
        EXPECT_EQ(rte_eth_dev_get_port_by_name("net_null5", &id), 0);
    }
    EXPECT_NE(rte_eth_dev_get_port_by_name("net_null5", &id), 0);
}

TEST(EthdevPort, AttachesToADeviceThatIsThereAndLeavesIt) {
    const testing::LeakCheck leak_check;
    ASSERT_EQ(rte_dev_probe("net_null6,size=300"), 0);
    std::uint16_t id = 0;
    for (unsigned i = 0; i < 2; ++i) {
        const auto port = open_or_throw(options_for("net_null6"));
        rte_mbuf* packet = receive_one(*port);
        ASSERT_NE(packet, nullptr);
        EXPECT_EQ(packet::length(packet), 300U);
        rte_pktmbuf_free(packet);
    }
    ASSERT_EQ(rte_eth_dev_get_port_by_name("net_null6", &id), 0);
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(id, &info), 0);
    ASSERT_EQ(rte_eth_dev_close(id), 0);
    EXPECT_EQ(rte_dev_remove(info.device), 0);
}

TEST(EthdevPort, RefusesADeviceThatIsInUse) {
    const testing::LeakCheck leak_check;
    const auto port = open_or_throw(options_for("net_null5"));
    EXPECT_EQ(
        open(options_for("net_null5")).error(),
        "port \"p0\" (net_null5): the device is in use by another port"
    );
    rte_mbuf* packet = receive_one(*port);
    EXPECT_NE(packet, nullptr);
    rte_pktmbuf_free(packet);
}

TEST(EthdevPort, SaysWhyADeviceCannotBeOpened) {
    const testing::LeakCheck leak_check;
    const auto error = [](const std::string& devargs, std::optional<std::uint32_t> mtu) {
        EthdevPortOptions options = options_for(devargs);
        options.mtu = mtu;
        const auto port = open(options);
        return port ? std::string() : port.error();
    };
    const std::string hint =
        " (a PCI address whose device is bound to vfio-pci, or a virtual device of DPDK such as "
        "\"net_vhost0,iface=PATH\", is needed)";
    EXPECT_EQ(
        error("net_nope0", {}),
        "port \"p0\" (net_nope0): no bus or driver knows a device of this name" + hint
    );
    EXPECT_EQ(
        error("0000:03:00.7", {}),
        "port \"p0\" (0000:03:00.7): cannot open the device: No such device" + hint
    );
    EXPECT_EQ(error("", {}), "port \"p0\" (): cannot open the device: No such device" + hint);
    EXPECT_EQ(
        error("net_null0,nonsense=1", {}),
        "port \"p0\" (net_null0,nonsense=1): its driver refuses it, DPDK's log says why" + hint
    );
    EXPECT_EQ(
        error("net_null0", 65400), "port \"p0\" (net_null0): MTU 65400 is not valid, 46 to 65381 is"
    );
    EXPECT_EQ(
        error("net_memif0", 1501), "port \"p0\" (net_memif0): MTU 1501 is not valid, 46 to 1500 is"
    );
    // What failed half-way is undone.
    EXPECT_EQ(error("net_null0", 65381), "");
}

}  // namespace
}  // namespace culvert::dataplane
