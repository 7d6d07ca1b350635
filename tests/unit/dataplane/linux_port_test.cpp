// SPDX-License-Identifier: GPL-2.0-or-later
//
// The Linux port against the kernel; the fixture draws the topology. Needs CAP_NET_ADMIN and
// CAP_SYS_ADMIN.

#include <array>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "dataplane/virtio_header.hpp"
#include "tests/unit/dataplane/linux_port_fixture.hpp"
#include "tests/unit/dataplane/tcp_stream.hpp"

namespace culvert::dataplane {
namespace {

using testing::address;
using testing::Bytes;
using testing::forward;
using testing::make_frame;
using testing::make_packet;
using testing::packet_bytes;
using testing::poll_until;
using testing::PrivateNetns;
using testing::RawSocket;
using testing::receive_each;
using testing::TcpStream;
using testing::transmit_one;
using LinuxPortTest = testing::LinuxPortFixture;

constexpr std::size_t kMacsBytes = 12;

TEST_F(LinuxPortTest, TellsWhatTheInterfaceIs) {
    const auto port = open_or_throw("p1");
    const PortInfo info = port->info();
    EXPECT_EQ(info.driver, "af_packet");
    EXPECT_EQ(info.mtu, 9000U);
    EXPECT_TRUE(info.link_up);
    EXPECT_FALSE(info.mac.is_zero());
    EXPECT_TRUE(port->carries_offloads());
    switch_host.run("ip link set p1 mtu 1400 address 02:00:00:00:0b:01");
    EXPECT_EQ(port->info().mtu, 1400U);
    EXPECT_EQ(port->info().mac.to_string(), "02:00:00:00:0b:01");
    near_host.run("ip link set f1 down");
    // The kernel tells of a carrier with some delay.
    EXPECT_TRUE(poll_until([] {}, [&] { return !port->info().link_up; }));
}

TEST_F(LinuxPortTest, IsPromiscuousWhileItIsOpen) {
    const std::string promiscuity = "ip -d link show p1 | grep -q ' promiscuity ";
    {
        const auto port = open_or_throw("p1");
        switch_host.run(promiscuity + "1 '");
    }
    switch_host.run(promiscuity + "0 '");
    const PrivateNetns::Scope scope(switch_host);
    const auto port =
        open_linux_port({.interface = "p1", .promiscuous = false}, testing::packet_pools());
    ASSERT_TRUE(port);
    switch_host.run(promiscuity + "0 '");
}

TEST_F(LinuxPortTest, FollowsARenamedInterface) {
    const auto port = open_or_throw("p1");
    switch_host.run("ip link set p1 down && ip link set p1 name other && ip link set other up");
    await_wire(near_host, "f1", "other");
    EXPECT_TRUE(port->info().link_up);
    const Bytes frame = make_frame(100, 1);
    raw_socket(near_host, "f1").send(frame);
    rte_mbuf* packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), frame);
    rte_pktmbuf_free(packet);
}

TEST_F(LinuxPortTest, KeepsTcpSuperFramesWholeAndTheStreamIntact) {
    const auto p1 = open_or_throw("p1");
    const auto p2 = open_or_throw("p2");
    // The device towards the far host does nothing: the kernel has to finish what we hand it, and
    // the far host verifies it.
    switch_host.run("ethtool -K p2 tx off > /dev/null");
    near_host.run("ip link set f1 mtu 1500");
    far_host.run("ip link set f2 mtu 1500");
    TcpStream stream(near_host, far_host, address("10.99.0.2", 5001), 2U << 20U);
    std::uint32_t longest = 0;
    std::size_t super_frames = 0;
    const auto observe = [&](const rte_mbuf* packet) {
        const std::uint32_t bytes = packet::length(packet);
        EXPECT_TRUE(stream.matches_tcp_segment(packet_bytes(packet), 14));
        if (bytes <= 1514) {
            return;
        }
        ++super_frames;
        longest = std::max(longest, bytes);
        ASSERT_TRUE(packet::has_offload(packet));
        const Offload offload = packet::offload(packet);
        EXPECT_EQ(offload.gso_type, GsoType::tcp4);
        EXPECT_EQ(offload.checksum_start, 34);
        EXPECT_EQ(offload.checksum_offset, 16);
        EXPECT_EQ(offload.header_bytes, 66);
        EXPECT_EQ(offload.gso_bytes, 1448);
        EXPECT_LE(packet->nb_segs, kSegmentsPerPacketMax);
    };
    EXPECT_TRUE(poll_until(
        [&] {
            stream.step();
            forward(*p1, *p2, observe);
            forward(*p2, *p1, {});
        },
        [&] { return stream.done(); }
    ));
    EXPECT_TRUE(stream.intact());
    EXPECT_GT(super_frames, 30U);
    // How long the kernel makes them goes by how fast the far end answers.
    EXPECT_GT(longest, 8U * 1448U);
    EXPECT_EQ(p1->errors().rx_errors, 0U);
    EXPECT_EQ(p2->errors().tx_errors, 0U);
}

TEST_F(LinuxPortTest, TakesSuperFramesOfTheKernelsVxlanDeviceButSendsNone) {
    const auto p1 = open_or_throw("p1");
    const auto p2 = open_or_throw("p2");
    const std::string vxlan = "ip link add vx type vxlan id 7 dstport 4789 nolearning remote ";
    near_host.run(
        vxlan + "10.99.0.2 dev f1 && ip addr add 10.98.0.1/24 dev vx && ip link set vx up"
    );
    far_host.run(
        vxlan + "10.99.0.1 dev f2 && ip addr add 10.98.0.2/24 dev vx && ip link set vx up"
    );
    TcpStream stream(near_host, far_host, address("10.98.0.2", 5001), 1U << 20U);
    constexpr std::uint16_t kInnerTcp = 14 + 20 + 8 + 8 + 14 + 20;
    std::size_t super_frames = 0;
    const auto observe = [&](const rte_mbuf* packet) {
        if (packet::length(packet) <= 9014) {
            return;
        }
        ++super_frames;
        ASSERT_TRUE(packet::has_offload(packet));
        EXPECT_EQ(packet::offload(packet).gso_type, GsoType::tcp4);
        EXPECT_EQ(packet::offload(packet).checksum_start, kInnerTcp);
    };
    EXPECT_TRUE(poll_until(
        [&] {
            stream.step();
            forward(*p1, *p2, observe);
            forward(*p2, *p1, {});
        },
        [&] { return super_frames > 0; }
    ));
    EXPECT_EQ(p1->errors().rx_malformed, 0U);
    EXPECT_EQ(p2->errors().tx_errors, super_frames);
}

TEST_F(LinuxPortTest, TakesAnUnfinishedUdpChecksumAndHasItFinished) {
    const auto p1 = open_or_throw("p1");
    const auto p2 = open_or_throw("p2");
    switch_host.run("ethtool -K p2 tx off > /dev/null");
    const sockaddr_in to = address("10.99.0.2", 5002);
    const Descriptor far = socket(far_host, SOCK_DGRAM);
    ASSERT_EQ(::bind(far.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const Descriptor near = socket(near_host, SOCK_DGRAM);
    const std::array<char, 5> text{'h', 'e', 'l', 'l', 'o'};
    ASSERT_EQ(
        ::sendto(
            near.get(),
            text.data(),
            text.size(),
            0,
            reinterpret_cast<const sockaddr*>(&to),
            sizeof to
        ),
        5
    );
    rte_mbuf* packet = receive_one(*p1);
    ASSERT_NE(packet, nullptr);
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).checksum_start, 34);
    EXPECT_EQ(packet::offload(packet).checksum_offset, 6);
    EXPECT_EQ(packet::offload(packet).gso_type, GsoType::none);
    ASSERT_TRUE(transmit_one(*p2, packet));
    std::array<char, 16> received{};
    ssize_t bytes = -1;
    EXPECT_TRUE(poll_until(
        [&] { bytes = ::recv(far.get(), received.data(), received.size(), 0); },
        [&] { return bytes > 0; }
    ));
    EXPECT_EQ(bytes, 5);
    EXPECT_EQ(received[4], 'o');
}

TEST_F(LinuxPortTest, TakesUdpSuperFrames) {
    const auto p1 = open_or_throw("p1");
    const sockaddr_in to = address("10.99.0.2", 5003);
    const Descriptor near = socket(near_host, SOCK_DGRAM);
    const int segment_bytes = 1000;
    ASSERT_EQ(::setsockopt(near.get(), SOL_UDP, UDP_SEGMENT, &segment_bytes, sizeof(int)), 0);
    const Bytes data(20000, 0x5a);
    ASSERT_EQ(
        ::sendto(
            near.get(),
            data.data(),
            data.size(),
            0,
            reinterpret_cast<const sockaddr*>(&to),
            sizeof to
        ),
        20000
    );
    rte_mbuf* packet = receive_one(*p1);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet::length(packet), 20042U);
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).gso_type, GsoType::udp_l4);
    EXPECT_EQ(packet::offload(packet).gso_bytes, 1000);
    EXPECT_EQ(packet::offload(packet).header_bytes, 42);
    rte_pktmbuf_free(packet);
}

TEST_F(LinuxPortTest, PutsVlanTagsBackIntoTheFrame) {
    const auto port = open_or_throw("p1");
    const RawSocket plain = raw_socket(switch_host, "p1");
    const RawSocket sender = raw_socket(near_host, "f1");
    const std::array<Bytes, 3> tags{
        Bytes{0x81, 0x00, 0xa0, 0x65},
        Bytes{0x88, 0xa8, 0x00, 0x07},
        Bytes{0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x08}};
    for (const Bytes& tag : tags) {
        Bytes frame = make_frame(200, 3);
        frame.insert(frame.begin() + kMacsBytes, tag.begin(), tag.end());
        sender.send(frame);
        rte_mbuf* packet = receive_one(*port);
        ASSERT_NE(packet, nullptr);
        EXPECT_EQ(packet_bytes(packet), frame);
        EXPECT_FALSE(packet::has_offload(packet));
        // The premise: the kernel hands the frame over without its (outer) tag.
        EXPECT_EQ(receive_frame(plain).size(), frame.size() - 4);
        // And a tag that is in the frame goes out as it is.
        EXPECT_TRUE(transmit_one(*port, packet));
        EXPECT_EQ(receive_frame(sender).size(), frame.size() - 4);
    }
}

/// A UDP/IPv4 frame whose checksum is left to the device, with a virtio header in front.
Bytes unfinished_udp_frame(const Bytes& tag, std::uint16_t checksum_offset) {
    Bytes frame = make_frame(400, 5, 0x0800);
    const Bytes ip{0x45, 0, 0x01, 0x82, 0, 0, 0,    0,    64,   17,   0,    0,    10, 99,
                   0,    1, 10,   99,   0, 2, 0x11, 0x11, 0x22, 0x22, 0x01, 0x6e, 0,  0};
    std::copy(ip.begin(), ip.end(), frame.begin() + 14);
    frame.insert(frame.begin() + kMacsBytes, tag.begin(), tag.end());
    VirtioHeader header;
    header.flags = kVirtioNeedsChecksum;
    header.checksum_start = static_cast<std::uint16_t>(34 + tag.size());
    header.checksum_offset = checksum_offset;
    Bytes bytes(sizeof header + frame.size());
    std::memcpy(bytes.data(), &header, sizeof header);
    std::copy(frame.begin(), frame.end(), bytes.begin() + sizeof header);
    return bytes;
}

TEST_F(LinuxPortTest, CountsTheOffsetsOfATaggedFrameFromItsStart) {
    const auto port = open_or_throw("p1");
    raw_socket(near_host, "f1", true).send(unfinished_udp_frame({0x81, 0, 0, 9}, 6));
    rte_mbuf* packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet::length(packet), 404U);
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).checksum_start, 38);
    rte_pktmbuf_free(packet);
}

TEST_F(LinuxPortTest, DropsAndCountsAContradictingHeader) {
    const auto port = open_or_throw("p1");
    const RawSocket sender = raw_socket(near_host, "f1", true);
    sender.send(unfinished_udp_frame({}, 300));
    sender.send(unfinished_udp_frame({}, 6));
    rte_mbuf* packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet::offload(packet).checksum_offset, 6);
    rte_pktmbuf_free(packet);
    EXPECT_EQ(port->errors().rx_malformed, 1U);
    EXPECT_EQ(port->errors().rx_errors, 1U);
}

TEST_F(LinuxPortTest, CarriesFramesOfAllSizesInOrder) {
    const auto p1 = open_or_throw("p1");
    const auto p2 = open_or_throw("p2");
    const RawSocket near = raw_socket(near_host, "f1");
    const RawSocket far = raw_socket(far_host, "f2");
    const std::array<std::size_t, 9> sizes{60, 9014, 2048, 2049, 1514, 4096, 6145, 14, 9000};
    std::uint8_t seed = 0;
    // Long runs of each kind take the receive slots through both their states, twice.
    for (unsigned round = 0; round < 2; ++round) {
        for (const std::size_t bytes : sizes) {
            for (unsigned i = 0; i < 70; ++i) {
                const Bytes frame = make_frame(i % 10 == 9 ? 64 : bytes, ++seed);
                near.send(frame);
                if (i % 35 != 34) {
                    continue;
                }
                std::size_t forwarded = 0;
                const auto count = [&](const rte_mbuf* /*packet*/) { ++forwarded; };
                ASSERT_TRUE(
                    poll_until([&] { forward(*p1, *p2, count); }, [&] { return forwarded == 35; })
                );
                auto expected = static_cast<std::uint8_t>(seed - 35);
                for (unsigned j = i - 34; j <= i; ++j) {
                    ASSERT_EQ(receive_frame(far), make_frame(j % 10 == 9 ? 64 : bytes, ++expected));
                }
            }
        }
    }
    EXPECT_EQ(p2->errors().tx_errors, 0U);
}

TEST_F(LinuxPortTest, DoesNotSeeWhatTheHostSendsThere) {
    const auto port = open_or_throw("p1");
    raw_socket(switch_host, "p1").send(make_frame(100, 1));
    const Bytes frame = make_frame(100, 2);
    raw_socket(near_host, "f1").send(frame);
    rte_mbuf* packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), frame);
    rte_pktmbuf_free(packet);
}

/// Has setsockopt(PACKET_IGNORE_OUTGOING) fail for the calling thread, as kernels before 4.20 do.
bool refuse_ignore_outgoing() {
    std::array<sock_filter, 7> code{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + 2 * sizeof(__u64)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_IGNORE_OUTGOING, 0, 2),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(LinuxPortTest, DoesNotSeeWhatTheHostSendsThereOnOldKernels) {
    std::unique_ptr<Port> port;
    std::thread([&] {
        ASSERT_TRUE(refuse_ignore_outgoing());
        port = open_or_throw("p1");
    }).join();
    ASSERT_NE(port, nullptr);
    const RawSocket host = raw_socket(switch_host, "p1");
    const RawSocket sender = raw_socket(near_host, "f1");
    // More than a call takes, so that packets come between what is left out.
    for (std::uint8_t i = 0; i < 100; ++i) {
        host.send(make_frame(100, 200));
        const Bytes frame = make_frame(i % 2 == 0 ? 100 : 9000, i);
        sender.send(frame);
    }
    std::uint8_t seen = 0;
    EXPECT_TRUE(poll_until(
        [&] {
            receive_each(*port, [&](rte_mbuf* packet) {
                EXPECT_EQ(packet_bytes(packet), make_frame(seen % 2 == 0 ? 100 : 9000, seen));
                ++seen;
                rte_pktmbuf_free(packet);
            });
        },
        [&] { return seen == 100; }
    ));
}

TEST_F(LinuxPortTest, SkipsAndCountsWhatTheKernelRefuses) {
    const auto port = open_or_throw("p1");
    const RawSocket near = raw_socket(near_host, "f1");
    std::array<rte_mbuf*, 4> burst{
        make_packet(make_frame(100, 1)),
        make_packet(make_frame(9100, 2)),
        make_packet(make_frame(100, 3)),
        make_packet({1, 2, 3, 4, 5})};
    EXPECT_EQ(port->transmit(0, burst), 4U);
    EXPECT_EQ(receive_frame(near), make_frame(100, 1));
    EXPECT_EQ(receive_frame(near), make_frame(100, 3));
    EXPECT_EQ(port->errors().tx_errors, 2U);
}

TEST_F(LinuxPortTest, SendsPacketsOfMoreSegmentsThanOneCallTakes) {
    const auto port = open_or_throw("p1");
    const RawSocket near = raw_socket(near_host, "f1");
    std::array<rte_mbuf*, kBurstMax> burst{};
    for (std::uint8_t i = 0; i < kBurstMax; ++i) {
        burst[i] = make_packet(make_frame(9000, i), 150);
    }
    EXPECT_EQ(port->transmit(0, burst), kBurstMax);
    for (std::uint8_t i = 0; i < kBurstMax; ++i) {
        EXPECT_EQ(receive_frame(near), make_frame(9000, i));
    }
    // More segments than the kernel takes at all.
    EXPECT_TRUE(transmit_one(*port, make_packet(make_frame(9000, 1), 10)));
    EXPECT_EQ(port->errors().tx_errors, 1U);
}

TEST_F(LinuxPortTest, SurvivesThatTheInterfaceGoesAway) {
    const auto port = open_or_throw("p1");
    near_host.run("ip link del f1");
    std::array<rte_mbuf*, kBurstMax> burst{};
    EXPECT_EQ(port->receive(0, burst), 0U);
    EXPECT_EQ(port->receive(0, burst), 0U);
    EXPECT_FALSE(port->info().link_up);
    EXPECT_TRUE(transmit_one(*port, make_packet(make_frame(100, 1))));
    EXPECT_EQ(port->errors().tx_errors, 1U);
}

TEST_F(LinuxPortTest, WorksAgainAfterTheInterfaceWasDown) {
    const auto port = open_or_throw("p1");
    const RawSocket near = raw_socket(near_host, "f1");
    switch_host.run("ip link set p1 down");
    EXPECT_TRUE(transmit_one(*port, make_packet(make_frame(100, 1))));
    EXPECT_EQ(port->errors().tx_errors, 1U);
    switch_host.run("ip link set p1 up && ip link set p1 down && ip link set p1 up");
    // The error that waits on the socket must cost neither a packet out nor one in.
    EXPECT_TRUE(transmit_one(*port, make_packet(make_frame(100, 2))));
    EXPECT_EQ(port->errors().tx_errors, 1U);
    EXPECT_EQ(receive_frame(near), make_frame(100, 2));
    await_wire(near_host, "f1", "p1");
    near.send(make_frame(100, 3));
    rte_mbuf* packet = receive_one(*port);
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(packet_bytes(packet), make_frame(100, 3));
    rte_pktmbuf_free(packet);
}

TEST_F(LinuxPortTest, CountsWhatTheSocketCouldNotHold) {
    const auto port = open_or_throw("p1");
    const RawSocket near = raw_socket(near_host, "f1");
    constexpr std::uint64_t kSent = 40000;
    for (std::uint64_t i = 0; i < kSent; ++i) {
        near.send(make_frame(60, static_cast<std::uint8_t>(i)));
    }
    const std::uint64_t missed = port->errors().rx_missed;
    EXPECT_GT(missed, 0U);
    std::uint64_t received = 0;
    const auto count = [&](rte_mbuf* packet) {
        ++received;
        rte_pktmbuf_free(packet);
    };
    EXPECT_TRUE(poll_until(
        [&] { receive_each(*port, count); },
        [&] { return received + port->errors().rx_missed == kSent; }
    ));
    EXPECT_GE(port->errors().rx_missed, missed);
    EXPECT_GT(received, 1000U);
}

TEST_F(LinuxPortTest, LetsSeveralWorkersTransmitAtOnce) {
    const auto port = open_or_throw("p1");
    const RawSocket near = raw_socket(near_host, "f1");
    constexpr unsigned kEach = 500;
    // Made here and not by the workers: ThreadSanitizer does not see that the pool's ring orders
    // one thread's use of a buffer before the next one's.
    std::array<std::vector<rte_mbuf*>, 2> packets;
    for (unsigned worker = 0; worker < packets.size(); ++worker) {
        for (unsigned i = 0; i < kEach; ++i) {
            packets[worker].push_back(
                make_packet(make_frame(3000, static_cast<std::uint8_t>(worker)))
            );
        }
    }
    const auto send = [&](unsigned worker) {
        for (rte_mbuf*& packet : packets[worker]) {
            ASSERT_EQ(port->transmit(worker, std::span(&packet, 1)), 1U);
        }
    };
    std::array<unsigned, 2> received{};
    std::thread first(send, 0U);
    std::thread second(send, 1U);
    EXPECT_TRUE(poll_until(
        [&] {
            for (Bytes frame = near.receive(); !frame.empty(); frame = near.receive()) {
                const bool is_first = frame == make_frame(3000, 0);
                ASSERT_TRUE(is_first || frame == make_frame(3000, 1));
                ++received[is_first ? 0 : 1];
            }
        },
        [&] { return received[0] == kEach && received[1] == kEach; }
    ));
    first.join();
    second.join();
}

TEST_F(LinuxPortTest, DescriptorIsReadableWhilePacketsWait) {
    const auto port = open_or_throw("p1");
    pollfd wake{port->wake_fd(0), POLLIN, 0};
    EXPECT_EQ(::poll(&wake, 1, 0), 0);
    raw_socket(near_host, "f1").send(make_frame(100, 1));
    EXPECT_EQ(::poll(&wake, 1, 10000), 1);
    rte_mbuf* packet = receive_one(*port);
    rte_pktmbuf_free(packet);
    EXPECT_EQ(::poll(&wake, 1, 0), 0);
}

TEST_F(LinuxPortTest, SaysWhyAnInterfaceCannotBeOpened) {
    EXPECT_EQ(open("eth9").error(), "interface \"eth9\" does not exist");
    EXPECT_EQ(open("").error(), "interface \"\" does not exist");
    EXPECT_EQ(open("a_name_of_16_by.").error(), "interface \"a_name_of_16_by.\" does not exist");
    switch_host.run("ip tuntap add dev tun7 mode tun");
    EXPECT_EQ(
        open("tun7").error(),
        "interface \"tun7\" is not an Ethernet device (its hardware type is 65534, not 1)"
    );
}

TEST_F(LinuxPortTest, NamesTheMissingCapability) {
    std::string error;
    std::thread([&] {
        const testing::PrivateNetns::Scope scope(switch_host);
        __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        std::array<__user_cap_data_struct, 2> data{};
        ASSERT_EQ(::syscall(SYS_capget, &header, data.data()), 0);
        data[0].effective &= ~(1U << CAP_NET_RAW);
        ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
        error = open_linux_port({.interface = "p1"}, testing::packet_pools()).error();
    }).join();
    EXPECT_EQ(
        error,
        "interface \"p1\": cannot open a packet socket: Operation not permitted (CAP_NET_RAW is "
        "needed)"
    );
}

}  // namespace
}  // namespace culvert::dataplane
