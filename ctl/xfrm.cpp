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
    constexpr std::array<int, 2> kGroups{XFRMNLGRP_SA, XFRMNLGRP_EXPIRE};
    auto events = open_event_socket(NETLINK_XFRM, kGroups, kEventBufferBytes);
    if (!events) {
        return tl::unexpected(events.error());
    }
    events_ = std::move(*events);
    if (auto started = talker_.start(NETLINK_XFRM); !started) {
        return started;
    }
    auto all = dump();
    if (!all) {
        return tl::unexpected(all.error());
    }
    mirror_.renew(std::move(*all), first_);
    return {};
}

Result<std::vector<XfrmSa>> NetlinkXfrm::dump() {
    std::vector<XfrmSa> all;
    NetlinkRequest request(XFRM_MSG_GETSA, NLM_F_DUMP);
    request.put_u8(XFRMA_PROTO, IPPROTO_ESP);
    const auto outcome = talker_.dump(
        request,
        [&all] { all.clear(); },
        [&all](const nlmsghdr* header) {
            const auto* bytes = reinterpret_cast<const std::byte*>(header);
            for (XfrmMessage& message : parse_xfrm({bytes, header->nlmsg_len})) {
                if (auto* sa = std::get_if<XfrmSa>(&message)) {
                    all.push_back(std::move(*sa));
                }
            }
        }
    );
    talker_.wipe_answers();
    if (!outcome) {
        return tl::unexpected("The kernel's SAs cannot be read: " + outcome.error().text + ".");
    }
    return all;
}

std::vector<XfrmEvent> NetlinkXfrm::read_events() {
    std::vector<XfrmEvent> events = std::exchange(first_, {});
    const bool drained =
        read_waiting(events_, buffer_, overrun_, [&](std::span<const std::byte> bytes) {
            for (XfrmMessage& message : parse_xfrm(bytes)) {
                mirror_.apply(std::move(message), events);
            }
        });
    tunnels::wipe(buffer_.bytes);
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
