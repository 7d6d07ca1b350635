// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bursts that the Linux port hands to the kernel as super-frames, seen from the other end of a veth
// pair. Needs CAP_NET_ADMIN and CAP_SYS_ADMIN.

#include <cstring>

#include "dataplane/virtio_header.hpp"
#include "tests/unit/dataplane/linux_port_fixture.hpp"
#include "tests/unit/dataplane/segment_burst.hpp"

namespace culvert::dataplane {
namespace {

using testing::Burst;
using testing::Bytes;
using testing::OffloadFrame;
using testing::packet_bytes;
using testing::plain_frame;

class LinuxPortBundleTest : public testing::LinuxPortFixture {
protected:
    struct Received {
        VirtioHeader header;
        Bytes frame;
    };

    /// The next `count` frames that the near host gets.
    static std::vector<Received> receive(const testing::RawSocket& socket, std::size_t count) {
        std::vector<Received> all;
        while (all.size() < count) {
            const Bytes bytes = receive_frame(socket);
            if (bytes.size() <= sizeof(VirtioHeader)) {
                break;
            }
            Received received;
            std::memcpy(&received.header, bytes.data(), sizeof received.header);
            received.frame.assign(bytes.begin() + sizeof(VirtioHeader), bytes.end());
            all.push_back(received);
        }
        return all;
    }

    /// Hands over the packets and returns what they were.
    static std::vector<Bytes> transmit(Port& port, Burst& burst) {
        std::vector<Bytes> sent;
        for (const rte_mbuf* packet : burst.packets) {
            sent.push_back(packet_bytes(packet));
        }
        EXPECT_EQ(port.transmit(0, burst.packets), burst.packets.size());
        burst.packets.clear();
        return sent;
    }
};

TEST_F(LinuxPortBundleTest, TcpSegmentsOfABurstArriveAsOneSuperFrame) {
    const auto port = open_or_throw("p1");
    const auto socket = raw_socket(near_host, "f1", true);
    for (const bool v6 : {false, true}) {
        const OffloadFrame frame = plain_frame(v6, false, 950);
        Burst burst(frame);
        transmit(*port, burst);
        const auto received = receive(socket, 1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0].frame, frame.build());
        EXPECT_EQ(received[0].header.gso_type, v6 ? kVirtioGsoTcp6 : kVirtioGsoTcp4);
        EXPECT_EQ(received[0].header.gso_bytes, testing::kGsoBytes);
    }
}

TEST_F(LinuxPortBundleTest, TunnelPacketsOfABurstArriveAsOneTrainUnlessTheInterfaceForbidsIt) {
    const auto port = open_or_throw("p1");
    const auto socket = raw_socket(near_host, "f1", true);
    const OffloadFrame frame = plain_frame(false, true, 950);
    EXPECT_TRUE(port->info().trains);
    {
        Burst burst(frame);
        transmit(*port, burst);
        const auto received = receive(socket, 1);
        ASSERT_EQ(received.size(), 1U);
        EXPECT_EQ(received[0].frame, frame.build());
        EXPECT_EQ(received[0].header.gso_type, kVirtioGsoUdpL4);
    }
    switch_host.run("ethtool -K p1 tx-udp-segmentation off > /dev/null");
    port->refresh();
    EXPECT_FALSE(port->info().trains);
    Burst burst(frame);
    const std::vector<Bytes> sent = transmit(*port, burst);
    const auto received = receive(socket, sent.size());
    ASSERT_EQ(received.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
        EXPECT_EQ(received[i].frame, sent[i]);
        EXPECT_EQ(received[i].header.gso_type, 0);
    }
}

TEST_F(LinuxPortBundleTest, ATrainThatTheDeviceCannotCutIsCutByTheKernelToTheSamePackets) {
    const auto port = open_or_throw("p1");
    // After the port has looked: what is between us and the wire changes, and we do not know yet.
    switch_host.run("ethtool -K p1 tx off tx-udp-segmentation off > /dev/null");
    const auto socket = raw_socket(near_host, "f1", true);
    Burst burst(plain_frame(false, true, 950));
    const std::vector<Bytes> sent = transmit(*port, burst);
    const auto received = receive(socket, sent.size());
    ASSERT_EQ(received.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
        EXPECT_EQ(received[i].frame, sent[i]);
        EXPECT_EQ(received[i].header.gso_type, 0);
    }
}

TEST_F(LinuxPortBundleTest, OrderIsThatOfTheBurst) {
    const auto port = open_or_throw("p1");
    const auto socket = raw_socket(near_host, "f1", true);
    // Two connections in turn, and between them a frame of neither.
    OffloadFrame one = plain_frame(false, false, 200);
    OffloadFrame other = one;
    other.addresses = testing::pattern(32, 99);
    Burst burst(one);
    Burst second(other);
    burst.packets.push_back(testing::make_packet(testing::make_frame(80, 3)));
    burst.packets.insert(burst.packets.end(), second.packets.begin(), second.packets.end());
    second.packets.clear();
    transmit(*port, burst);
    const auto received = receive(socket, 3);
    ASSERT_EQ(received.size(), 3U);
    EXPECT_EQ(received[0].frame, one.build());
    EXPECT_EQ(received[1].frame, testing::make_frame(80, 3));
    EXPECT_EQ(received[2].frame, other.build());
}

}  // namespace
}  // namespace culvert::dataplane
