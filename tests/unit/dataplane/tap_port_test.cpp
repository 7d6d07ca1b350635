// SPDX-License-Identifier: GPL-2.0-or-later
//
// The TAP port against the kernel's stack, in network namespaces of its own. Needs CAP_NET_ADMIN
// and CAP_SYS_ADMIN.

#include <array>
#include <memory>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>

#include "tests/unit/dataplane/port_packets.hpp"
#include "tests/unit/dataplane/private_netns.hpp"
#include "tests/unit/dataplane/tcp_stream.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::dataplane {
namespace {

using testing::Bytes;
using testing::make_packet;
using testing::packet_bytes;
using testing::poll_until;
using testing::PrivateNetns;
using testing::receive_each;
using testing::transmit_one;

constexpr std::size_t kEtherTypeAt = 12;

/// Writes the Internet checksum of `bytes` from `start` on at `field`.
void write_checksum(Bytes& bytes, std::size_t start, std::size_t end, std::size_t field) {
    const auto all = std::as_bytes(std::span(bytes));
    const auto sum = static_cast<std::uint16_t>(
        ~tunnels::checksum_fold(tunnels::checksum_add(0, all.subspan(start, end - start)))
    );
    std::memcpy(&bytes[field], &sum, sizeof sum);
}

class TapPortTest : public ::testing::Test {
protected:
    [[nodiscard]] static Result<std::unique_ptr<Port>>
    open(const PrivateNetns& netns, const TapPortOptions& options) {
        const PrivateNetns::Scope scope(netns);
        return open_tap_port(options, testing::packet_pools());
    }

    /// A port whose device has an address and is up.
    [[nodiscard]] static std::unique_ptr<Port>
    open_host(const PrivateNetns& netns, std::uint8_t host, std::uint32_t mtu = 1500) {
        TapPortOptions options;
        options.name = "tap0";
        options.mac = tunnels::MacAddress{{2, 0, 0, 0, 0xcc, host}};
        options.mtu = mtu;
        auto port = open(netns, options);
        if (!port) {
            throw std::runtime_error(port.error());
        }
        netns.run(
            "ip addr add 10.97.0." + std::to_string(host) + "/24 dev tap0 && ip link set tap0 up"
        );
        return std::move(*port);
    }

    /// The next frame from the host with this ethertype, as packet.
    [[nodiscard]] static rte_mbuf* receive_ethertype(Port& port, std::uint16_t ethertype) {
        rte_mbuf* found = nullptr;
        EXPECT_TRUE(poll_until(
            [&] {
                rte_mbuf* packet = nullptr;
                if (port.receive(0, std::span(&packet, 1)) == 0) {
                    return;
                }
                const Bytes frame = packet_bytes(packet);
                if (frame[kEtherTypeAt] * 256 + frame[kEtherTypeAt + 1] == ethertype) {
                    found = packet;
                } else {
                    rte_pktmbuf_free(packet);
                }
            },
            [&] { return found != nullptr; }
        ));
        return found;
    }

    testing::LeakCheck leak_check;
    PrivateNetns host_netns;
};

TEST_F(TapPortTest, CreatesTheDeviceAsAskedAndTakesItAway) {
    {
        TapPortOptions options;
        options.name = "br-test";
        options.mac = tunnels::MacAddress{{2, 0, 0, 0, 0xcc, 9}};
        options.mtu = 8000;
        const auto port = open(host_netns, options);
        ASSERT_TRUE(port) << port.error();
        const PortInfo info = (*port)->info();
        EXPECT_EQ(info.driver, "tap");
        EXPECT_EQ(info.mac, *options.mac);
        EXPECT_EQ(info.mtu, 8000U);
        EXPECT_FALSE(info.link_up);
        EXPECT_TRUE((*port)->carries_offloads());
        host_netns.run("ip link set br-test up");
        EXPECT_TRUE(poll_until([] {}, [&] { return (*port)->info().link_up; }));
    }
    host_netns.run("! ip link show br-test 2> /dev/null");
}

TEST_F(TapPortTest, TheHostAnswersPing) {
    const auto port = open_host(host_netns, 1);
    // Who has 10.97.0.1? Tell 10.97.0.2 at 02:00:00:00:cc:02.
    const Bytes request{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0xcc, 2,  8,    6,
                        0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,    0,  0xcc, 2,
                        10,   97,   0,    2,    0,    0,    0, 0, 0, 0, 10,   97, 0,    1};
    ASSERT_TRUE(transmit_one(*port, make_packet(request)));
    rte_mbuf* packet = receive_ethertype(*port, 0x0806);
    ASSERT_NE(packet, nullptr);
    const Bytes reply = packet_bytes(packet);
    rte_pktmbuf_free(packet);
    EXPECT_EQ(Bytes(reply.begin(), reply.begin() + 6), Bytes({2, 0, 0, 0, 0xcc, 2}));
    EXPECT_EQ(Bytes(reply.begin() + 22, reply.begin() + 28), Bytes({2, 0, 0, 0, 0xcc, 1}));

    Bytes echo{2, 0,  0, 0, 0xcc, 1,  2,  0, 0, 0,  0xcc, 2, 8, 0, 0x45, 0, 0, 0,    0,    0, 0,
               0, 64, 1, 0, 0,    10, 97, 0, 2, 10, 97,   0, 1, 8, 0,    0, 0, 0x12, 0x34, 0, 1};
    constexpr std::size_t kBytes = 1514;
    echo.resize(kBytes, 0xa5);
    echo[16] = (kBytes - 14) / 256;
    echo[17] = (kBytes - 14) % 256;
    write_checksum(echo, 14, 34, 24);
    write_checksum(echo, 34, kBytes, 36);
    ASSERT_TRUE(transmit_one(*port, make_packet(echo, 700)));
    packet = receive_ethertype(*port, 0x0800);
    ASSERT_NE(packet, nullptr);
    const Bytes answer = packet_bytes(packet);
    rte_pktmbuf_free(packet);
    ASSERT_EQ(answer.size(), kBytes);
    EXPECT_EQ(answer[34], 0);
    EXPECT_EQ(Bytes(answer.begin() + 38, answer.end()), Bytes(echo.begin() + 38, echo.end()));
    EXPECT_EQ(port->errors().tx_errors, 0U);
}

TEST_F(TapPortTest, CarriesTcpSuperFramesBothWays) {
    const PrivateNetns other;
    const auto near = open_host(host_netns, 1);
    const auto far = open_host(other, 2);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(5001);
    ::inet_pton(AF_INET, "10.97.0.2", &to.sin_addr);
    testing::TcpStream stream(host_netns, other, to, 2U << 20U);
    std::uint32_t longest = 0;
    const auto carry = [&](Port& from, Port& into) {
        receive_each(from, [&](rte_mbuf* packet) {
            const Bytes frame = packet_bytes(packet);
            if (&from == near.get() && frame[kEtherTypeAt] == 8 && frame[kEtherTypeAt + 1] == 0) {
                EXPECT_TRUE(packet::has_offload(packet));
                EXPECT_TRUE(stream.matches_tcp_segment(frame, 14));
            }
            if (packet::length(packet) > longest) {
                longest = packet::length(packet);
            }
            if (packet::length(packet) > 1514) {
                EXPECT_EQ(packet::offload(packet).gso_type, GsoType::tcp4);
                EXPECT_EQ(packet::offload(packet).header_bytes, 66);
            }
            transmit_one(into, packet);
        });
    };
    EXPECT_TRUE(poll_until(
        [&] {
            stream.step();
            carry(*near, *far);
            carry(*far, *near);
        },
        [&] { return stream.done(); }
    ));
    EXPECT_TRUE(stream.intact());
    // How long the kernel makes them goes by how fast the far end answers.
    EXPECT_GT(longest, 8U * 1448U);
    EXPECT_EQ(near->errors().rx_errors, 0U);
    EXPECT_EQ(far->errors().tx_errors, 0U);
}

/// Sends `bytes` of UDP from the namespace, in segments unless `segment_bytes` is 0.
void send_udp(const PrivateNetns& netns, std::size_t bytes, int segment_bytes) {
    const PrivateNetns::Scope scope(netns);
    testing::run("ip neigh replace 10.97.0.9 lladdr 02:00:00:00:cc:09 dev tap0");
    const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(5002);
    ::inet_pton(AF_INET, "10.97.0.9", &to.sin_addr);
    if (segment_bytes != 0) {
        ASSERT_EQ(::setsockopt(socket.get(), SOL_UDP, UDP_SEGMENT, &segment_bytes, sizeof(int)), 0);
    }
    const Bytes data(bytes, 0x5a);
    ASSERT_EQ(
        ::sendto(
            socket.get(),
            data.data(),
            data.size(),
            0,
            reinterpret_cast<const sockaddr*>(&to),
            sizeof to
        ),
        static_cast<ssize_t>(bytes)
    );
}

TEST_F(TapPortTest, TakesAnUnfinishedUdpChecksum) {
    const auto port = open_host(host_netns, 1);
    send_udp(host_netns, 100, 0);
    rte_mbuf* packet = receive_ethertype(*port, 0x0800);
    ASSERT_NE(packet, nullptr);
    ASSERT_TRUE(packet::has_offload(packet));
    EXPECT_EQ(packet::offload(packet).checksum_start, 34);
    EXPECT_EQ(packet::offload(packet).checksum_offset, 6);
    rte_pktmbuf_free(packet);
}

TEST_F(TapPortTest, TakesUdpSuperFramesOrTheirSegments) {
    const auto port = open_host(host_netns, 1);
    send_udp(host_netns, 20000, 1000);
    std::size_t payload = 0;
    while (payload < 20000) {
        rte_mbuf* packet = receive_ethertype(*port, 0x0800);
        ASSERT_NE(packet, nullptr);
        ASSERT_TRUE(packet::has_offload(packet));
        const Offload offload = packet::offload(packet);
        // Kernels before 6.2 segment for a TAP device themselves.
        if (offload.gso_type == GsoType::udp_l4) {
            EXPECT_EQ(offload.gso_bytes, 1000);
            EXPECT_EQ(offload.header_bytes, 42);
        } else {
            EXPECT_EQ(packet::length(packet), 1042U);
        }
        payload += packet::length(packet) - 42;
        rte_pktmbuf_free(packet);
    }
    EXPECT_EQ(payload, 20000U);
}

TEST_F(TapPortTest, CarriesJumboFrames) {
    const auto port = open_host(host_netns, 1, 9000);
    const testing::RawSocket host = [&] {
        const PrivateNetns::Scope scope(host_netns);
        return testing::RawSocket("tap0");
    }();
    for (std::uint8_t i = 0; i < 40; ++i) {
        const Bytes frame = testing::make_frame(i % 3 == 0 ? 60 : 9014, i);
        host.send(frame);
        rte_mbuf* packet = receive_ethertype(*port, 0x88b5);
        ASSERT_NE(packet, nullptr);
        EXPECT_EQ(packet_bytes(packet), frame);
        ASSERT_TRUE(transmit_one(*port, packet));
        Bytes back;
        ASSERT_TRUE(poll_until([&] { back = host.receive(); }, [&] { return !back.empty(); }));
        EXPECT_EQ(back, frame);
    }
}

TEST_F(TapPortTest, CountsWhatTheDeviceQueueCouldNotHold) {
    const auto port = open_host(host_netns, 1);
    const testing::RawSocket host = [&] {
        const PrivateNetns::Scope scope(host_netns);
        return testing::RawSocket("tap0");
    }();
    // The qdisc would hold back what the device cannot take.
    host_netns.run("ip link set tap0 txqueuelen 10 && tc qdisc replace dev tap0 root noqueue");
    for (unsigned i = 0; i < 100; ++i) {
        EXPECT_TRUE(host.try_send(testing::make_frame(60, 1)) || errno == ENOBUFS);
    }
    std::uint64_t received = 0;
    EXPECT_TRUE(poll_until(
        [&] {
            receive_each(*port, [&](rte_mbuf* packet) {
                received += packet_bytes(packet)[kEtherTypeAt] == 0x88 ? 1U : 0U;
                rte_pktmbuf_free(packet);
            });
        },
        [&] { return received + port->errors().rx_missed >= 100; }
    ));
    EXPECT_GT(port->errors().rx_missed, 0U);
    EXPECT_GT(received, 0U);
}

TEST_F(TapPortTest, RefusesPacketsWhileTheDeviceIsDown) {
    const auto port = open_host(host_netns, 1);
    host_netns.run("ip link set tap0 down");
    std::array<rte_mbuf*, 2> burst{
        make_packet(testing::make_frame(60, 1)), make_packet(testing::make_frame(60, 1), 10)};
    EXPECT_EQ(port->transmit(0, burst), 2U);
    EXPECT_EQ(port->errors().tx_errors, 2U);
}

TEST_F(TapPortTest, SurvivesThatTheDeviceGoesAway) {
    const auto port = open_host(host_netns, 1);
    host_netns.run("ip link del tap0");
    std::array<rte_mbuf*, kBurstMax> burst{};
    EXPECT_EQ(port->receive(0, burst), 0U);
    EXPECT_FALSE(port->info().link_up);
    EXPECT_TRUE(transmit_one(*port, make_packet(testing::make_frame(60, 1))));
    EXPECT_EQ(port->errors().tx_errors, 1U);
}

TEST_F(TapPortTest, DescriptorIsReadableWhilePacketsWait) {
    const auto port = open_host(host_netns, 1);
    receive_each(*port, [](rte_mbuf* packet) { rte_pktmbuf_free(packet); });
    pollfd wake{port->wake_fd(0), POLLIN, 0};
    EXPECT_EQ(::poll(&wake, 1, 0), 0);
    send_udp(host_netns, 100, 0);
    EXPECT_EQ(::poll(&wake, 1, 10000), 1);
    EXPECT_EQ(wake.revents, POLLIN);
}

TEST_F(TapPortTest, SaysWhyADeviceCannotBeCreated) {
    const auto error = [&](const TapPortOptions& options) {
        const auto port = open(host_netns, options);
        return port ? std::string() : port.error();
    };
    host_netns.run("ip link add taken type veth peer name other");
    EXPECT_EQ(
        error({.name = "taken", .mac = {}, .mtu = {}}),
        "TAP device \"taken\": an interface of this name exists already"
    );
    host_netns.run("ip tuntap add dev persistent mode tap");
    EXPECT_EQ(
        error({.name = "persistent", .mac = {}, .mtu = {}}),
        "TAP device \"persistent\": an interface of this name exists already"
    );
    for (const char* name : {"", "sixteen_letters_", "tap%d", "a/b", "a b", ".."}) {
        EXPECT_EQ(
            error({.name = name, .mac = {}, .mtu = {}}),
            "TAP device \"" + std::string(name) +
                "\": the name is not valid: 1 to 15 characters without space, '/', ':' and '%' are"
        );
    }
    EXPECT_EQ(
        error({.name = "tap1", .mac = tunnels::MacAddress{{1, 0, 0, 0, 0, 1}}, .mtu = {}}),
        "TAP device \"tap1\": cannot set MAC address 01:00:00:00:00:01: Cannot assign requested "
        "address (a unicast address other than zero is needed)"
    );
    EXPECT_EQ(
        error({.name = "tap1", .mac = {}, .mtu = 65522}),
        "TAP device \"tap1\": MTU 65522 is not valid, 68 to 65521 is"
    );
    EXPECT_EQ(
        error({.name = "tap1", .mac = {}, .mtu = 67}),
        "TAP device \"tap1\": MTU 67 is not valid, 68 to 65521 is"
    );
    EXPECT_EQ(error({.name = "tap1", .mac = {}, .mtu = 65521}), "");
    host_netns.run("! ip link show tap1 2> /dev/null");
}

}  // namespace
}  // namespace culvert::dataplane
