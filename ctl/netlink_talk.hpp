// SPDX-License-Identifier: GPL-2.0-or-later
//
// One request to rtnetlink or XFRM and its whole answer (RFC 3549; netlink(7)): the request being
// built, the socket that waits a bounded time, and the kernel's refusals in words. Also the reading
// of one datagram, which the event sockets share. Control thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <libmnl/libmnl.h>
#include <linux/netlink.h>

#include "dataplane/result.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

/// The kernel sizes dump datagrams by what the reader offers, to at most 32 KiB; links with many
/// virtual functions do not fit into less.
constexpr std::size_t kDatagramBytes = std::size_t{64} << 10U;

struct SocketDeleter {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
using NetlinkSocket = std::unique_ptr<mnl_socket, SocketDeleter>;

/// Room for one datagram.
struct DatagramBuffer {
    alignas(nlmsghdr) std::array<std::byte, kDatagramBytes> bytes;
};

/// Reads one datagram and returns its length, 0 for one that the kernel did not send, or a negative
/// errno (-EMSGSIZE: it was longer than the buffer).
[[nodiscard]] int receive_datagram(const NetlinkSocket& socket, DatagramBuffer& buffer);

/// A non-blocking socket of `protocol` (NETLINK_ROUTE, NETLINK_XFRM) that has joined the groups and
/// room for `buffer_bytes` of events; with less than CAP_NET_ADMIN an overrun comes earlier.
[[nodiscard]] dataplane::Result<NetlinkSocket>
open_event_socket(int protocol, std::span<const int> groups, int buffer_bytes);

/// Reads the datagrams that wait on an event socket, up to a bound, so that a storm of changes
/// cannot hold the control thread. `overrun` is set once some were lost, and while it is set none
/// is visited. Returns whether all were read.
[[nodiscard]] bool read_waiting(
    const NetlinkSocket& socket,
    DatagramBuffer& buffer,
    bool& overrun,
    const std::function<void(std::span<const std::byte>)>& visit
);

/// "No such device" and so on.
[[nodiscard]] std::string error_text(int error);

/// An address of the family (AF_INET, AF_INET6) in network byte order; nothing when it is not of
/// that length, or the family is another one.
[[nodiscard]] std::optional<tunnels::IpAddress>
read_ip(unsigned family, std::span<const std::byte> value);

/// A request in the making; the sequence number is the talker's.
class NetlinkRequest {
public:
    NetlinkRequest(std::uint16_t type, unsigned flags)
        : header_(mnl_nlmsg_put_header(bytes_.data())) {
        header_->nlmsg_type = type;
        header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    }
    NetlinkRequest(const NetlinkRequest&) = delete;
    NetlinkRequest& operator=(const NetlinkRequest&) = delete;

    template <class T>
    T& put_fixed() {
        return *static_cast<T*>(mnl_nlmsg_put_extra_header(header_, sizeof(T)));
    }
    void put_bytes(std::uint16_t type, std::span<const std::byte> value) {
        mnl_attr_put(header_, type, value.size(), value.data());
    }
    void put_u8(std::uint16_t type, std::uint8_t value) { mnl_attr_put_u8(header_, type, value); }
    void put_ip(std::uint16_t type, const tunnels::IpAddress& address) {
        if (address.is_v4()) {
            mnl_attr_put(header_, type, 4, address.v4());
        } else {
            mnl_attr_put(header_, type, address.bytes.size(), address.bytes.data());
        }
    }
    void put_u32(std::uint16_t type, std::uint32_t value) {
        mnl_attr_put_u32(header_, type, value);
    }
    [[nodiscard]] nlmsghdr* header() { return header_; }

private:
    // The longest is XFRM_MSG_NEWAE with the bitmap of the largest replay window, of 512 bytes.
    alignas(nlmsghdr) std::array<std::byte, 1024> bytes_{};
    nlmsghdr* header_;
};

/// What the kernel answered instead of doing it.
struct Refusal {
    int error = 0;
    std::string text;  ///< Without a full stop.
};

/// Sends requests and waits for the whole answer.
class NetlinkTalker {
public:
    /// NETLINK_ROUTE or NETLINK_XFRM.
    [[nodiscard]] dataplane::Result<void> start(int protocol = NETLINK_ROUTE);

    /// Calls `visit` for each message of the answer but the acknowledgement. EINTR: a dump was
    /// complete, but the kernel's state changed under it.
    [[nodiscard]] tl::expected<void, Refusal>
    talk(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& visit);
    /// talk() for a dump, anew while the kernel says that its state changed under it. `begin` is
    /// called before each try.
    [[nodiscard]] tl::expected<void, Refusal> dump(
        NetlinkRequest& request,
        const std::function<void()>& begin,
        const std::function<void(const nlmsghdr*)>& visit
    );
    /// For requests that are answered by an acknowledgement alone.
    [[nodiscard]] tl::expected<void, Refusal> talk(NetlinkRequest& request);
    /// Overwrites what the answers were read into, which may hold keys.
    void wipe_answers();

private:
    NetlinkSocket socket_;
    std::uint32_t sequence_ = 0;
    DatagramBuffer buffer_;
};

}  // namespace culvert::ctl
