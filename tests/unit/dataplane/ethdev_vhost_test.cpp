// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ethdev port over vhost, with virtio_user as its guest: pending work both ways. Needs no
// privilege.

#include <functional>
#include <memory>
#include <vector>

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_log.h>

#include "dataplane/offload.hpp"
#include "dataplane/vhost_guest.hpp"
#include "tests/unit/dataplane/ethdev_ports.hpp"
#include "tests/unit/dataplane/private_netns.hpp"

namespace culvert::dataplane {
namespace {

using testing::make_packet;
using testing::make_udp_or_tcp;
using testing::open_or_throw;
using testing::options_for;
using testing::packet_bytes;
using testing::receive_one;
using testing::TemporaryDirectory;
using testing::transmit_one;
using Bytes = std::vector<std::uint8_t>;

/// A vhost port with a guest that leaves checksums and segmentation to us, and takes none itself
/// unless it says so.
class EthdevVhostTest : public ::testing::Test {
protected:
    explicit EthdevVhostTest(std::uint64_t guest_takes = 0) {
        rte_log_set_level_pattern("lib.vhost.*", RTE_LOG_WARNING);
        const std::string socket = directory.path("vhost.sock");
        host_port = open_or_throw(options_for("net_vhost0,iface=" + socket));
        const std::string guest = "net_virtio_user0,path=" + socket;
        rte_eth_conf conf{};
        conf.txmode.offloads = kGuestOffloads;
        conf.rxmode.offloads = guest_takes;
        if (rte_dev_probe(guest.c_str()) != 0 ||
            rte_eth_dev_get_port_by_name("net_virtio_user0", &guest_id) != 0 ||
            rte_eth_dev_configure(guest_id, 1, 1, &conf) != 0 ||
            rte_eth_rx_queue_setup(guest_id, 0, 256, 0, nullptr, testing::packet_pool()) != 0 ||
            rte_eth_tx_queue_setup(guest_id, 0, 256, 0, nullptr) != 0 ||
            rte_eth_dev_start(guest_id) != 0) {
            throw std::runtime_error("no guest");
        }
        EXPECT_TRUE(testing::poll_until([] {}, [&] { return host_port->info().link_up; }));
    }
    ~EthdevVhostTest() override {
        rte_eth_dev_info info{};
        EXPECT_EQ(rte_eth_dev_info_get(guest_id, &info), 0);
        EXPECT_EQ(rte_eth_dev_stop(guest_id), 0);
        EXPECT_EQ(rte_eth_dev_close(guest_id), 0);
        EXPECT_EQ(rte_dev_remove(info.device), 0);
    }

    /// Sends from the guest what `make` gives until the host receives one.
    rte_mbuf* send(const std::function<rte_mbuf*()>& make) {
        rte_mbuf* received = nullptr;
        EXPECT_TRUE(testing::poll_until(
            [&] {
                rte_mbuf* packet = make();
                EXPECT_EQ(rte_eth_tx_burst(guest_id, 0, &packet, 1), 1);
                received = receive_one(*host_port);
            },
            [&] { return received != nullptr; }
        ));
        return received;
    }

    static constexpr std::uint64_t kGuestOffloads =
        RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
        RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;

    testing::LeakCheck leak_check;
    TemporaryDirectory directory;
    std::unique_ptr<Port> host_port;
    std::uint16_t guest_id = 0;
};

TEST_F(EthdevVhostTest, TakesAChecksumThatTheGuestLeftOut) {
    rte_mbuf* packet = send([] {
        rte_mbuf* made = make_packet(make_udp_or_tcp(200, 1));
        made->l2_len = 14;
        made->l3_len = 20;
        made->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
        return made;
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), make_udp_or_tcp(200, 1));
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).checksum_start, 34);
    EXPECT_EQ(packet::offload(packet).checksum_offset, 6);
    EXPECT_EQ(packet::offload(packet).gso_type, GsoType::none);
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevVhostTest, TakesASuperFrameOfTheGuest) {
    const Bytes frame = make_udp_or_tcp(20000, 1, 6);
    rte_mbuf* packet = send([&] {
        rte_mbuf* made = make_packet(frame);
        made->l2_len = 14;
        made->l3_len = 20;
        made->l4_len = 20;
        made->tso_segsz = 1400;
        made->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
        return made;
    });
    ASSERT_NE(packet, nullptr);
    const Bytes received = packet_bytes(packet);
    ASSERT_EQ(received.size(), frame.size());
    EXPECT_TRUE(std::equal(received.begin() + 54, received.end(), frame.begin() + 54));
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).gso_type, GsoType::tcp4);
    EXPECT_EQ(packet::offload(packet).gso_bytes, 1400);
    EXPECT_EQ(packet::offload(packet).header_bytes, 54);
    rte_pktmbuf_free(packet);
}

/// Sends what `make` gives until the guest has something.
rte_mbuf* send_to_guest(Port& port, std::uint16_t guest, const std::function<rte_mbuf*()>& make) {
    rte_mbuf* packet = nullptr;
    EXPECT_TRUE(testing::poll_until(
        [&] { transmit_one(port, make()); },
        [&] { return rte_eth_rx_burst(guest, 0, &packet, 1) == 1; }
    ));
    return packet;
}

/// The bytes of a frame whose L4 checksum, at `field`, is pending, once it is complete.
Bytes finished(const Bytes& frame, std::uint16_t field) {
    rte_mbuf* packet = make_packet(frame);
    packet::set_offload(packet, {34, static_cast<std::uint8_t>(field - 34), GsoType::none, 0, 0});
    packet = finish_checksum(packet, testing::packet_pool());
    Bytes bytes = packet_bytes(packet);
    rte_pktmbuf_free(packet);
    return bytes;
}

TEST_F(EthdevVhostTest, AGuestThatTakesNothingGetsFinishedPackets) {
    EXPECT_FALSE(host_port->carries_offloads());
    const Bytes frame = make_udp_or_tcp(5000, 1);
    rte_mbuf* packet = send_to_guest(*host_port, guest_id, [&] {
        rte_mbuf* made = make_packet(frame);
        packet::set_offload(made, {34, 6, GsoType::none, 0, 0});
        return made;
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), finished(frame, 40));
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevVhostTest, AGuestThatTakesNothingGetsTheSegmentsOfASuperFrame) {
    const Bytes frame = make_udp_or_tcp(54 + 3 * 1400, 1, 6);
    rte_mbuf* packet = send_to_guest(*host_port, guest_id, [&] {
        rte_mbuf* made = make_packet(frame);
        packet::set_offload(made, {34, 16, GsoType::tcp4, 1400, 54});
        return made;
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet->pkt_len, 1454U);
    rte_pktmbuf_free(packet);
}

/// A guest as Linux is one: csum, tso and gro on.
class EthdevVhostOffloadTest : public EthdevVhostTest {
protected:
    EthdevVhostOffloadTest()
        : EthdevVhostTest(
              RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM |
              RTE_ETH_RX_OFFLOAD_TCP_LRO
          ) {
        EXPECT_TRUE(testing::poll_until([] {}, [&] { return host_port->carries_offloads(); }));
    }
};

TEST_F(EthdevVhostOffloadTest, AChecksumStaysPendingOnTheWayToTheGuest) {
    const Bytes frame = make_udp_or_tcp(500, 1);
    rte_mbuf* packet = send_to_guest(*host_port, guest_id, [&] {
        rte_mbuf* made = make_packet(frame);
        packet::set_offload(made, {34, 6, GsoType::none, 0, 0});
        return made;
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
    const Bytes received = packet_bytes(packet);
    EXPECT_TRUE(std::equal(received.begin() + 42, received.end(), frame.begin() + 42));
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevVhostOffloadTest, ASuperFrameReachesTheGuestWhole) {
    const Bytes frame = make_udp_or_tcp(20054, 1, 6);
    rte_mbuf* packet = send_to_guest(*host_port, guest_id, [&] {
        rte_mbuf* made = make_packet(frame);
        packet::set_offload(made, {34, 16, GsoType::tcp4, 1400, 54});
        return made;
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet->pkt_len, 20054U);
    EXPECT_NE(packet->ol_flags & RTE_MBUF_F_RX_LRO, 0U);
    EXPECT_EQ(packet->tso_segsz, 1400);
    const Bytes received = packet_bytes(packet);
    EXPECT_TRUE(std::equal(received.begin() + 54, received.end(), frame.begin() + 54));
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevVhostOffloadTest, SharedBytesAreNotWrittenTo) {
    const Bytes frame = make_udp_or_tcp(500, 1);
    rte_mbuf* original = make_packet(frame);
    packet::set_offload(original, {34, 6, GsoType::none, 0, 0});
    rte_mbuf* packet = send_to_guest(*host_port, guest_id, [&] {
        return packet::share(original, testing::share_pool());
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(original), frame);
    rte_pktmbuf_free(packet);
    rte_pktmbuf_free(original);
}

TEST_F(EthdevVhostOffloadTest, WhatNoRequestCanSayIsFinished) {
    // UDP super-frames, which the library knows as fragments (UFO) only.
    const Bytes frame = make_udp_or_tcp(42 + 3 * 1000, 1);
    rte_mbuf* packet = send_to_guest(*host_port, guest_id, [&] {
        rte_mbuf* made = make_packet(frame);
        packet::set_offload(made, {34, 6, GsoType::udp_l4, 1000, 42});
        return made;
    });
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet->pkt_len, 1042U);
    EXPECT_NE(packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
    rte_pktmbuf_free(packet);
}

TEST_F(EthdevVhostOffloadTest, WhatAFullQueueRefusesIsStillPending) {
    const Bytes frame = make_udp_or_tcp(500, 1);
    rte_mbuf* refused = nullptr;
    EXPECT_TRUE(testing::poll_until(
        [&] {
            rte_mbuf* made = make_packet(frame);
            packet::set_offload(made, {34, 6, GsoType::none, 0, 0});
            if (host_port->transmit(0, std::span(&made, 1)) == 0) {
                refused = made;
            }
        },
        [&] { return refused != nullptr; }
    ));
    ASSERT_TRUE(packet::has_offload(refused));
    EXPECT_EQ(packet::offload(refused).checksum_start, 34);
    EXPECT_EQ(packet::offload(refused).checksum_offset, 6);
    rte_pktmbuf_free(refused);
    rte_mbuf* packet = nullptr;
    while (rte_eth_rx_burst(guest_id, 0, &packet, 1) == 1) {
        rte_pktmbuf_free(packet);
    }
}

TEST(VhostGuest, DevargsLetTheGuestSegmentUnlessTheySayOtherwise) {
    EXPECT_EQ(with_vhost_offloads("net_vhost0,iface=/s"), "net_vhost0,iface=/s,tso=1");
    EXPECT_EQ(with_vhost_offloads("net_vhost0,iface=/s,tso=0"), "net_vhost0,iface=/s,tso=0");
    EXPECT_EQ(with_vhost_offloads("0000:03:00.0"), "0000:03:00.0");
}

}  // namespace
}  // namespace culvert::dataplane
