// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's SAs on two netlink sockets of libmnl: one subscribed and non-blocking, one for
// requests and dumps. What is read holds keys and is overwritten after it was parsed. Policies are
// not read: what an SA is for is said by its request number and its selector. Control thread only.
#include "ctl/xfrm.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include <linux/xfrm.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "ctl/netlink_talk.hpp"
#include "ctl/xfrm_message.hpp"
#include "ctl/xfrm_mirror.hpp"
#include "ctl/xfrm_request.hpp"
#include "tunnels/esp/secret.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

// Datagrams taken by one read_events(), so that a storm of changes cannot hold the control thread.
constexpr unsigned kReadsMax = 1024;
// Tries of a dump that the kernel says was changed under its hands.
constexpr unsigned kDumpsMax = 8;
// Some thousand SAs that come at once, as when an IKE daemon starts.
constexpr int kEventBufferBytes = 8 << 20;

// "the SA 0x00001001 to 192.0.2.1"
std::string name_of(std::uint32_t spi, const IpAddress& destination) {
    std::array<char, 16> number{};
    static_cast<void>(std::snprintf(number.data(), number.size(), "0x%08x", spi));
    return "the SA " + std::string(number.data()) + " to " + destination.to_string();
}

class NetlinkXfrm final : public Xfrm {
public:
    [[nodiscard]] Result<void> start();

    [[nodiscard]] int event_fd() const override { return mnl_socket_get_fd(events_.get()); }
    std::vector<XfrmEvent> read_events() override;
    [[nodiscard]] Result<void> note_use(const SaUse& use) override;
    [[nodiscard]] Result<void>
    expire(std::uint32_t spi, const IpAddress& destination, bool hard) override;

private:
    [[nodiscard]] Result<void> subscribe();
    [[nodiscard]] Result<std::vector<XfrmSa>> dump();
    [[nodiscard]] Result<void>
    tell(NetlinkRequest& request, std::uint32_t spi, const IpAddress& destination);

    NetlinkSocket events_;
    NetlinkTalker talker_;
    XfrmMirror mirror_;
    std::vector<XfrmEvent> first_;  ///< What there was at the start.
    bool overrun_ = false;          ///< Events were lost, and the mirror is not yet renewed.
    DatagramBuffer buffer_;
};

Result<void> NetlinkXfrm::start() {
    // The subscription comes first: what changes during the dump waits as events.
    if (auto outcome = subscribe().and_then([this] { return talker_.start(NETLINK_XFRM); });
        !outcome) {
        return outcome;
    }
    auto all = dump();
    if (!all) {
        return tl::unexpected(all.error());
    }
    mirror_.renew(std::move(*all), first_);
    return {};
}

Result<void> NetlinkXfrm::subscribe() {
    events_.reset(mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!events_ || mnl_socket_bind(events_.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
        return tl::unexpected("The XFRM event socket cannot be opened: " + error_text(errno) + ".");
    }
    for (int group : {XFRMNLGRP_SA, XFRMNLGRP_EXPIRE}) {
        if (mnl_socket_setsockopt(events_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) !=
            0) {
            return tl::unexpected(
                "The XFRM multicast group " + std::to_string(group) +
                " cannot be joined: " + error_text(errno) + "."
            );
        }
    }
    // Beyond the system's limit that needs CAP_NET_ADMIN; without it an overrun comes earlier.
    static_cast<void>(setsockopt(
        event_fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kEventBufferBytes, sizeof(kEventBufferBytes)
    ));
    return {};
}

Result<std::vector<XfrmSa>> NetlinkXfrm::dump() {
    Refusal last;
    for (unsigned tries = 0; tries < kDumpsMax; ++tries) {
        std::vector<XfrmSa> all;
        NetlinkRequest request(XFRM_MSG_GETSA, NLM_F_DUMP);
        request.put_u8(XFRMA_PROTO, IPPROTO_ESP);
        const auto outcome = talker_.talk(request, [&all](const nlmsghdr* header) {
            const auto* bytes = reinterpret_cast<const std::byte*>(header);
            for (XfrmMessage& message : parse_xfrm({bytes, header->nlmsg_len})) {
                if (auto* sa = std::get_if<XfrmSa>(&message)) {
                    all.push_back(std::move(*sa));
                }
            }
        });
        talker_.wipe_answers();
        if (outcome) {
            return all;
        }
        last = outcome.error();
        if (last.error != EINTR) {
            break;
        }
    }
    return tl::unexpected("The kernel's SAs cannot be read: " + last.text + ".");
}

std::vector<XfrmEvent> NetlinkXfrm::read_events() {
    std::vector<XfrmEvent> events = std::exchange(first_, {});
    bool drained = false;
    for (unsigned reads = 0; reads < kReadsMax && !drained; ++reads) {
        const int length = receive_datagram(events_, buffer_);
        if (length == -EAGAIN || length == -EWOULDBLOCK) {
            drained = true;
        } else if (length < 0) {
            overrun_ = true;
            tunnels::wipe(buffer_.bytes);
        } else {
            const auto bytes =
                std::span<std::byte>(buffer_.bytes).first(static_cast<std::size_t>(length));
            if (!overrun_) {
                for (XfrmMessage& message : parse_xfrm(bytes)) {
                    mirror_.apply(std::move(message), events);
                }
            }
            tunnels::wipe(bytes);
        }
    }
    if (overrun_ && drained) {
        // What waited since the overrun was thrown away: replayed after the dump, it would put
        // older states over newer ones whose own messages are lost.
        if (auto all = dump()) {
            mirror_.renew(std::move(*all), events);
            overrun_ = false;
        }
    }
    return events;
}

Result<void>
NetlinkXfrm::tell(NetlinkRequest& request, std::uint32_t spi, const IpAddress& destination) {
    if (const auto outcome = talker_.talk(request); !outcome) {
        return tl::unexpected(
            "The kernel cannot be told of the use or the end of " + name_of(spi, destination) +
            ": " + outcome.error().text + "."
        );
    }
    return {};
}

Result<void> NetlinkXfrm::note_use(const SaUse& use) {
    const XfrmMirror::Entry* const entry = mirror_.find(use.spi, use.destination);
    if (entry == nullptr) {
        return tl::unexpected(
            "The kernel does not have " + name_of(use.spi, use.destination) + " any more."
        );
    }
    XfrmUseRequest request(use, *entry);
    return tell(request, use.spi, use.destination);
}

Result<void> NetlinkXfrm::expire(std::uint32_t spi, const IpAddress& destination, bool hard) {
    const XfrmMirror::Entry* const entry = mirror_.find(spi, destination);
    if (entry == nullptr) {
        return tl::unexpected(
            "The kernel does not have " + name_of(spi, destination) + " any more."
        );
    }
    XfrmExpireRequest request(spi, destination, hard, *entry);
    return tell(request, spi, destination);
}

}  // namespace

Result<std::unique_ptr<Xfrm>> open_xfrm() {
    auto xfrm = std::make_unique<NetlinkXfrm>();
    if (auto outcome = xfrm->start(); !outcome) {
        return tl::unexpected(outcome.error());
    }
    return xfrm;
}

}  // namespace culvert::ctl
