// SPDX-License-Identifier: GPL-2.0-or-later
//
// Network namespaces for tests of the ports: they have no name, so they vanish with the last
// descriptor even when a test crashes, and only the calling thread enters them. Needs CAP_SYS_ADMIN
// and CAP_NET_ADMIN, and says so when they are missing. One thread.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "dataplane/kernel_device.hpp"

namespace culvert::testing {

using dataplane::Descriptor;

inline void require(bool condition, const std::string& what) {
    if (!condition) {
        throw std::system_error(errno, std::generic_category(), what);
    }
}

/// Runs a shell command in the calling thread's network namespace.
inline void run(const std::string& command) {
    require(std::system(command.c_str()) == 0, "the command failed: " + command);
}

class PrivateNetns {
public:
    PrivateNetns() {
        const Descriptor before(current());
        require(::unshare(CLONE_NEWNET) == 0, "a network namespace needs CAP_SYS_ADMIN");
        own_ = Descriptor(current());
        run("ip link set lo up && { echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; } && "
            "{ echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; }");
        require(::setns(before.get(), CLONE_NEWNET) == 0, "setns");
    }

    /// The calling thread is inside while this lives.
    class Scope {
    public:
        explicit Scope(const PrivateNetns& netns) : before_(current()) {
            require(::setns(netns.own_.get(), CLONE_NEWNET) == 0, "setns");
        }
        ~Scope() { static_cast<void>(::setns(before_.get(), CLONE_NEWNET)); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

    private:
        Descriptor before_;
    };

    void run(const std::string& command) const {
        const Scope scope(*this);
        testing::run(command);
    }

    /// What `ip link set DEV netns` takes.
    [[nodiscard]] std::string path() const {
        return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(own_.get());
    }

private:
    static int current() {
        const int fd = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        require(fd >= 0, "/proc/thread-self/ns/net");
        return fd;
    }

    Descriptor own_;
};

/// Calls `step` until `done` holds; false after a minute.
template <class Step, class Done>
bool poll_until(const Step& step, const Done& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        step();
    }
    return true;
}

using Bytes = std::vector<std::uint8_t>;

/// A plain packet socket: the other end of a wire.
class RawSocket {
public:
    explicit RawSocket(const std::string& interface, bool with_virtio_header = false)
        : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        require(socket_.is_open(), "a packet socket needs CAP_NET_RAW");
        const int one = 1;
        const int bytes = 16 << 20;
        static_cast<void>(
            ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes)
        );
        static_cast<void>(
            ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes)
        );
        static_cast<void>(
            ::setsockopt(socket_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one)
        );
        if (with_virtio_header) {
            require(
                ::setsockopt(socket_.get(), SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) == 0,
                "PACKET_VNET_HDR"
            );
        }
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
        require(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind to " + interface);
    }

    /// False, with errno, when the kernel does not take it.
    [[nodiscard]] bool try_send(const Bytes& frame) const {
        return ::send(socket_.get(), frame.data(), frame.size(), 0) ==
               static_cast<ssize_t>(frame.size());
    }

    void send(const Bytes& frame) const { require(try_send(frame), "send a frame"); }

    /// Empty when nothing waits.
    [[nodiscard]] Bytes receive() const {
        Bytes frame(70000);
        const ssize_t bytes = ::recv(socket_.get(), frame.data(), frame.size(), 0);
        frame.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
        return frame;
    }

private:
    Descriptor socket_;
};

/// An Ethernet frame from 02::0a:01 to 02::0a:02 with a payload that says where it is cut.
inline Bytes make_frame(std::size_t bytes, std::uint8_t seed, std::uint16_t ethertype = 0x88b5) {
    Bytes frame{2, 0, 0, 0, 0x0a, 2, 2, 0, 0, 0, 0x0a, 1};
    frame.push_back(static_cast<std::uint8_t>(ethertype >> 8U));
    frame.push_back(static_cast<std::uint8_t>(ethertype & 0xffU));
    for (std::size_t i = frame.size(); i < bytes; ++i) {
        frame.push_back(static_cast<std::uint8_t>(i * 7 + i / 256 + seed));
    }
    return frame;
}

}  // namespace culvert::testing
