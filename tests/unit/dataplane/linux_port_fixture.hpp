// SPDX-License-Identifier: GPL-2.0-or-later
//
// The topology of the Linux port's tests: three network namespaces, two hosts and, between them,
// the switch with an interface to each. veth as it comes, every offload on. Needs CAP_NET_ADMIN and
// CAP_SYS_ADMIN. One thread.
//
//   near host f1 (10.99.0.1) ---- p1 | switch | p2 ---- f2 (10.99.0.2) far host
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/unit/dataplane/port_packets.hpp"
#include "tests/unit/dataplane/private_netns.hpp"

namespace culvert::testing {

using dataplane::Port;

inline constexpr std::uint16_t kProbe = 0x88b6;  // IEEE 802 local experimental ethertype 2.

class LinuxPortFixture : public ::testing::Test {
protected:
    LinuxPortFixture() {
        near_host.run("ip link add f1 address 02:00:00:00:0a:01 mtu 9000 type veth peer name p1");
        near_host.run("ip link set p1 mtu 9000 netns " + switch_host.path());
        far_host.run("ip link add f2 address 02:00:00:00:0a:02 mtu 9000 type veth peer name p2");
        far_host.run("ip link set p2 mtu 9000 netns " + switch_host.path());
        near_host.run("ip addr add 10.99.0.1/24 dev f1 && ip link set f1 up && "
                      "ip neigh add 10.99.0.2 lladdr 02:00:00:00:0a:02 dev f1");
        far_host.run("ip addr add 10.99.0.2/24 dev f2 && ip link set f2 up && "
                     "ip neigh add 10.99.0.1 lladdr 02:00:00:00:0a:01 dev f2");
        switch_host.run("ip link set p1 up && ip link set p2 up");
        await_wire(near_host, "f1", "p1");
        await_wire(far_host, "f2", "p2");
    }

    /// The kernel attaches queues to a device some time after its carrier comes; until then what is
    /// sent is lost.
    void await_wire(const PrivateNetns& host, const std::string& outer, const std::string& inner) {
        const RawSocket at_host = raw_socket(host, outer);
        const RawSocket at_switch = raw_socket(switch_host, inner);
        const Bytes probe = make_frame(60, 0, kProbe);
        EXPECT_TRUE(
            poll_until([&] { at_host.send(probe); }, [&] { return at_switch.receive() == probe; })
        );
        EXPECT_TRUE(
            poll_until([&] { at_switch.send(probe); }, [&] { return at_host.receive() == probe; })
        );
    }

    [[nodiscard]] dataplane::Result<std::unique_ptr<Port>>
    open(const std::string& interface) const {
        const PrivateNetns::Scope scope(switch_host);
        return dataplane::open_linux_port({.interface = interface}, packet_pools());
    }

    [[nodiscard]] std::unique_ptr<Port> open_or_throw(const std::string& interface) const {
        auto port = open(interface);
        if (!port) {
            throw std::runtime_error(port.error());
        }
        return std::move(*port);
    }

    [[nodiscard]] static RawSocket raw_socket(
        const PrivateNetns& netns, const std::string& interface, bool with_virtio_header = false
    ) {
        const PrivateNetns::Scope scope(netns);
        return RawSocket(interface, with_virtio_header);
    }

    [[nodiscard]] static Descriptor socket(const PrivateNetns& netns, int type) {
        const PrivateNetns::Scope scope(netns);
        return Descriptor(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    }

    /// The next packet that `port` receives, probes left out; nullptr when none comes.
    [[nodiscard]] static rte_mbuf* receive_one(Port& port) {
        rte_mbuf* packet = nullptr;
        const Bytes probe = make_frame(60, 0, kProbe);
        EXPECT_TRUE(poll_until(
            [&] {
                if (port.receive(0, std::span(&packet, 1)) == 1 && packet_bytes(packet) == probe) {
                    rte_pktmbuf_free(packet);
                    packet = nullptr;
                }
            },
            [&] { return packet != nullptr; }
        ));
        return packet;
    }

    [[nodiscard]] static Bytes receive_frame(const RawSocket& socket) {
        Bytes frame;
        EXPECT_TRUE(poll_until([&] { frame = socket.receive(); }, [&] { return !frame.empty(); }));
        return frame;
    }

    LeakCheck leak_check;
    PrivateNetns switch_host;
    PrivateNetns near_host;
    PrivateNetns far_host;
};

using Observe = std::function<void(const rte_mbuf*)>;

/// Carries what waits at `from` to `to`.
inline void forward(Port& from, Port& to, const Observe& observe) {
    receive_each(from, [&](rte_mbuf* packet) {
        if (observe) {
            observe(packet);
        }
        transmit_one(to, packet);
    });
}

inline sockaddr_in address(const char* ip, std::uint16_t port) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(port);
    ::inet_pton(AF_INET, ip, &result.sin_addr);
    return result;
}

}  // namespace culvert::testing
