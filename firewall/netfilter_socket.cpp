// SPDX-License-Identifier: GPL-2.0-or-later
//
// Questions to netfilter on top of libmnl. Errors are numbers, which the callers put into sentences
// of their own. One thread at a time.
#include "firewall/netfilter_socket.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <vector>

#include <sys/socket.h>
#include <sys/time.h>

#include <libmnl/libmnl.h>
#include <linux/netlink.h>

namespace culvert::firewall {

namespace {

// The kernel fills messages of a dump up to 32 KiB.
constexpr std::size_t kReceiveBytes = 65536;
// The kernel answers at once or not at all; an answer that does not come must not stop its reader.
constexpr timeval kReceiveTimeout{5, 0};
// What a socket can hold that was not told otherwise, with room for the kernel's own accounting.
constexpr std::size_t kSendBytesUsual = 65536;

}  // namespace

void NetfilterSocket::Closer::operator()(mnl_socket* socket) const {
    mnl_socket_close(socket);
}

tl::expected<NetfilterSocket, int> NetfilterSocket::open() {
    NetfilterSocket made;
    made.socket_.reset(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
    if (!made.socket_ || mnl_socket_bind(made.socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0 ||
        setsockopt(
            mnl_socket_get_fd(made.socket_.get()),
            SOL_SOCKET,
            SO_RCVTIMEO,
            &kReceiveTimeout,
            sizeof(kReceiveTimeout)
        ) != 0) {
        return tl::unexpected(errno);
    }
    return made;
}

tl::expected<void, int> NetfilterSocket::ask(const nlmsghdr* request, Take take, void* data) {
    if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) {
        return tl::unexpected(errno);
    }
    std::vector<char> buffer(kReceiveBytes);
    const unsigned port = mnl_socket_get_portid(socket_.get());
    for (;;) {
        const ssize_t bytes = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
        if (bytes < 0 && errno == EINTR) {
            continue;  // A signal. A dump that others changed ends with this error below.
        }
        if (bytes <= 0) {
            return tl::unexpected(bytes < 0 ? errno : EIO);
        }
        const int outcome = mnl_cb_run(
            buffer.data(), static_cast<std::size_t>(bytes), request->nlmsg_seq, port, take, data
        );
        if (outcome == MNL_CB_STOP) {
            return {};
        }
        if (outcome < 0) {
            return tl::unexpected(errno);
        }
    }
}

tl::expected<void, int> NetfilterSocket::transact(std::span<const std::byte> messages) {
    const int fd = mnl_socket_get_fd(socket_.get());
    if (messages.size() > kSendBytesUsual) {
        const int bytes = static_cast<int>(2 * messages.size());
        // Where it is refused, the kernel says so when the messages are sent.
        static_cast<void>(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)));
    }
    if (mnl_socket_sendto(socket_.get(), messages.data(), messages.size()) < 0) {
        return tl::unexpected(errno);
    }
    // A transaction is done when the call returns, and what the kernel says of it is there.
    alignas(nlmsghdr) std::array<char, 8192> buffer{};
    bool acknowledged = false;
    for (;;) {
        const ssize_t received = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (received < 0 && errno == EINTR) {
            continue;
        }
        if (received <= 0) {
            return acknowledged ? tl::expected<void, int>{} : tl::unexpected(EIO);
        }
        int left = static_cast<int>(received);
        for (const void* at = buffer.data(); mnl_nlmsg_ok(static_cast<const nlmsghdr*>(at), left);
             at = mnl_nlmsg_next(static_cast<const nlmsghdr*>(at), &left)) {
            const auto* message = static_cast<const nlmsghdr*>(at);
            if (message->nlmsg_type != NLMSG_ERROR ||
                mnl_nlmsg_get_payload_len(message) < sizeof(nlmsgerr)) {
                continue;
            }
            const auto* report = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
            if (report->error != 0) {
                return tl::unexpected(-report->error);
            }
            acknowledged = true;
        }
    }
}

}  // namespace culvert::firewall
