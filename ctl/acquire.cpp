// SPDX-License-Identifier: GPL-2.0-or-later
//
// A socket that is connected makes the kernel find route and policies of what it would send, and so
// ask for an SA that is missing, before anything is sent.
#include "ctl/acquire.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>

#include "ctl/descriptor.hpp"
#include "ctl/netlink_talk.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

class SocketAddress {
public:
    SocketAddress(const IpAddress& address, std::uint16_t port) {
        if (address.is_v4()) {
            sockaddr_in v4{};
            v4.sin_family = AF_INET;
            v4.sin_port = htons(port);
            std::memcpy(&v4.sin_addr, address.v4(), sizeof(v4.sin_addr));
            std::memcpy(&storage_, &v4, sizeof(v4));
            length_ = sizeof(v4);
        } else {
            sockaddr_in6 v6{};
            v6.sin6_family = AF_INET6;
            v6.sin6_port = htons(port);
            std::memcpy(&v6.sin6_addr, address.bytes.data(), sizeof(v6.sin6_addr));
            std::memcpy(&storage_, &v6, sizeof(v6));
            length_ = sizeof(v6);
        }
    }
    [[nodiscard]] const sockaddr* data() const {
        return reinterpret_cast<const sockaddr*>(&storage_);
    }
    [[nodiscard]] socklen_t length() const { return length_; }

private:
    sockaddr_storage storage_{};
    socklen_t length_ = 0;
};

Descriptor open_socket(int family, bool udp) {
    return Descriptor(socket(
        family,
        (udp ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC | SOCK_NONBLOCK,
        udp ? IPPROTO_UDP : IPPROTO_GRE
    ));
}

}  // namespace

dataplane::Result<void>
acquire_association(const IpAddress& local, const IpAddress& remote, std::uint16_t udp_port) {
    const bool udp = udp_port != 0;
    const Descriptor one = open_socket(local.is_v4() ? AF_INET : AF_INET6, udp);
    const SocketAddress from(local, 0);
    const SocketAddress to(remote, udp_port);
    if (!one.is_open() || bind(one.get(), from.data(), from.length()) != 0 ||
        connect(one.get(), to.data(), to.length()) != 0) {
        return tl::unexpected(
            "The kernel cannot be asked for an SA from " + local.to_string() + " to " +
            remote.to_string() + ": " + error_text(errno) + "."
        );
    }
    return {};
}

}  // namespace culvert::ctl
