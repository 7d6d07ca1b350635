// SPDX-License-Identifier: GPL-2.0-or-later
//
// The request socket on top of libmnl. A socket per thread that talks would do; today the control
// thread is the only one. Answers of requests that were given up are told by their number.
#include "ctl/netlink_talk.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <sys/time.h>

#include "tunnels/esp/secret.hpp"

namespace culvert::ctl {

std::optional<tunnels::IpAddress> read_ip(unsigned family, std::span<const std::byte> value) {
    if (family == AF_INET && value.size() == 4) {
        return tunnels::IpAddress::from_v4(value.data());
    }
    if (family == AF_INET6 && value.size() == 16) {
        return tunnels::IpAddress::from_v6(value.data());
    }
    return std::nullopt;
}

namespace {

// Datagrams taken by one read_waiting().
constexpr unsigned kReadsMax = 1024;
// Tries of a dump that the kernel says was changed under its hands.
constexpr unsigned kDumpsMax = 8;
constexpr timeval kAnswerTimeout{.tv_sec = 2, .tv_usec = 0};

// The sentence that the kernel adds to some refusals (NETLINK_EXT_ACK), in parentheses, or nothing.
std::string kernel_remark(const nlmsghdr* header, const nlmsgerr* refusal) {
    if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) {
        return {};
    }
    // Unless it was capped, the body of the request is repeated in front of the attributes.
    std::size_t offset = sizeof(nlmsgerr);
    if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) {
        offset += MNL_ALIGN(refusal->msg.nlmsg_len) - sizeof(nlmsghdr);
    }
    if (offset > mnl_nlmsg_get_payload_len(header)) {
        return {};
    }
    std::string remark;
    const auto read_remark = [](const nlattr* attribute, void* result) {
        if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG &&
            mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0) {
            *static_cast<std::string*>(result) =
                " (" + std::string(mnl_attr_get_str(attribute)) + ")";
        }
        return MNL_CB_OK;
    };
    mnl_attr_parse(header, static_cast<unsigned>(offset), read_remark, &remark);
    return remark;
}

std::string name_of(int protocol) {
    return protocol == NETLINK_XFRM ? "XFRM" : "rtnetlink";
}

Refusal refusal_of(int error) {
    return {error, error_text(error)};
}

// The message that ends an answer as an outcome.
tl::expected<void, Refusal> finish(const nlmsghdr* header, bool interrupted) {
    // Both message types start with a negative errno or 0; an old kernel may leave it out of
    // NLMSG_DONE.
    int error = 0;
    if (mnl_nlmsg_get_payload_len(header) >= sizeof(error)) {
        std::memcpy(&error, mnl_nlmsg_get_payload(header), sizeof(error));
    }
    if (error == 0 && interrupted) {
        error = -EINTR;
    }
    if (error >= 0) {
        return {};
    }
    Refusal result = refusal_of(-error);
    if (header->nlmsg_type == NLMSG_ERROR &&
        mnl_nlmsg_get_payload_len(header) >= sizeof(nlmsgerr)) {
        result.text +=
            kernel_remark(header, static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header)));
    }
    return tl::unexpected(std::move(result));
}

}  // namespace

std::string error_text(int error) {
    return std::generic_category().message(error);
}

int receive_datagram(const NetlinkSocket& socket, DatagramBuffer& buffer) {
    sockaddr_nl sender{};
    iovec piece{.iov_base = buffer.bytes.data(), .iov_len = buffer.bytes.size()};
    msghdr message{};
    message.msg_name = &sender;
    message.msg_namelen = sizeof(sender);
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    ssize_t length = -1;
    do {
        length = recvmsg(mnl_socket_get_fd(socket.get()), &message, 0);
    } while (length < 0 && errno == EINTR);
    if (length < 0) {
        return -errno;
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) {
        return -EMSGSIZE;
    }
    return sender.nl_pid == 0 ? static_cast<int>(length) : 0;
}

dataplane::Result<NetlinkSocket>
open_event_socket(int protocol, std::span<const int> groups, int buffer_bytes) {
    NetlinkSocket socket(mnl_socket_open2(protocol, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
        return tl::unexpected(
            "The " + name_of(protocol) + " event socket cannot be opened: " + error_text(errno) +
            "."
        );
    }
    for (int group : groups) {
        if (mnl_socket_setsockopt(socket.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) !=
            0) {
            return tl::unexpected(
                "The " + name_of(protocol) + " multicast group " + std::to_string(group) +
                " cannot be joined: " + error_text(errno) + "."
            );
        }
    }
    static_cast<void>(setsockopt(
        mnl_socket_get_fd(socket.get()),
        SOL_SOCKET,
        SO_RCVBUFFORCE,
        &buffer_bytes,
        sizeof(buffer_bytes)
    ));
    return socket;
}

bool read_waiting(
    const NetlinkSocket& socket,
    DatagramBuffer& buffer,
    bool& overrun,
    const std::function<void(std::span<const std::byte>)>& visit
) {
    for (unsigned reads = 0; reads < kReadsMax; ++reads) {
        const int length = receive_datagram(socket, buffer);
        if (length == -EAGAIN || length == -EWOULDBLOCK) {
            return true;
        }
        if (length < 0) {
            overrun = true;
        } else if (!overrun) {
            visit(std::span(buffer.bytes).first(static_cast<std::size_t>(length)));
        }
    }
    return false;
}

dataplane::Result<void> NetlinkTalker::start(int protocol) {
    const std::string name = "The " + name_of(protocol) + " request socket";
    socket_.reset(mnl_socket_open2(protocol, SOCK_CLOEXEC));
    if (!socket_ || mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
        return tl::unexpected(name + " cannot be opened: " + error_text(errno) + ".");
    }
    const int fd = mnl_socket_get_fd(socket_.get());
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof(kAnswerTimeout)) != 0) {
        return tl::unexpected(name + " takes no time limit: " + error_text(errno) + ".");
    }
    // Older kernels lack the two; they then explain less.
    int on = 1;
    static_cast<void>(mnl_socket_setsockopt(socket_.get(), NETLINK_EXT_ACK, &on, sizeof(on)));
    static_cast<void>(mnl_socket_setsockopt(socket_.get(), NETLINK_CAP_ACK, &on, sizeof(on)));
    return {};
}

tl::expected<void, Refusal>
NetlinkTalker::talk(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& visit) {
    request.header()->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_.get(), request.header(), request.header()->nlmsg_len) < 0) {
        return tl::unexpected(refusal_of(errno));
    }
    bool interrupted = false;
    for (;;) {
        int left = receive_datagram(socket_, buffer_);
        if (left < 0) {
            const bool timed_out = left == -EAGAIN || left == -EWOULDBLOCK;
            return tl::unexpected(refusal_of(timed_out ? ETIMEDOUT : -left));
        }
        const auto* header = reinterpret_cast<const nlmsghdr*>(buffer_.bytes.data());
        for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
            // The late answer of a request that was given up has another number.
            if (header->nlmsg_seq != sequence_) {
                continue;
            }
            interrupted = interrupted || (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
                return finish(header, interrupted);
            }
            visit(header);
            if ((header->nlmsg_flags & NLM_F_MULTI) == 0) {
                return {};
            }
        }
    }
}

tl::expected<void, Refusal> NetlinkTalker::dump(
    NetlinkRequest& request,
    const std::function<void()>& begin,
    const std::function<void(const nlmsghdr*)>& visit
) {
    tl::expected<void, Refusal> outcome;
    for (unsigned tries = 0; tries < kDumpsMax; ++tries) {
        begin();
        outcome = talk(request, visit);
        if (outcome || outcome.error().error != EINTR) {
            break;
        }
    }
    return outcome;
}

tl::expected<void, Refusal> NetlinkTalker::talk(NetlinkRequest& request) {
    return talk(request, [](const nlmsghdr*) {});
}

void NetlinkTalker::wipe_answers() {
    tunnels::wipe(buffer_.bytes);
}

}  // namespace culvert::ctl
