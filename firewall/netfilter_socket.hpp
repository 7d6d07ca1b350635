// SPDX-License-Identifier: GPL-2.0-or-later
//
// A netlink socket to netfilter, for the few questions that no library asks well. It belongs to the
// network namespace that the thread was in when it was opened. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <tl/expected.hpp>

struct mnl_socket;
struct nlmsghdr;

namespace culvert::firewall {

class NetfilterSocket {
public:
    /// The error is errno.
    [[nodiscard]] static tl::expected<NetfilterSocket, int> open();

    /// Called for each message of an answer; as a callback of libmnl.
    using Take = int (*)(const nlmsghdr* message, void* data);

    /// Sends one request and takes the answer up to its end (NLM_F_DUMP) or acknowledgement
    /// (NLM_F_ACK), one of which the request must ask for. The error is errno: EINTR for a dump
    /// that others changed meanwhile.
    [[nodiscard]] tl::expected<void, int> ask(const nlmsghdr* request, Take take, void* data);

    /// Sends messages that the kernel takes as one transaction, and returns the first error.
    [[nodiscard]] tl::expected<void, int> transact(std::span<const std::byte> messages);

private:
    struct Closer {
        void operator()(mnl_socket* socket) const;
    };
    std::unique_ptr<mnl_socket, Closer> socket_;
};

}  // namespace culvert::firewall
