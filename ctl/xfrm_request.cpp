// SPDX-License-Identifier: GPL-2.0-or-later
//
// The two messages, filled in as net/xfrm/xfrm_user.c reads them.
#include "ctl/xfrm_request.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

std::uint8_t family_of(const IpAddress& address) {
    return address.is_v4() ? AF_INET : AF_INET6;
}

xfrm_address_t xfrm_address(const IpAddress& address) {
    xfrm_address_t result{};
    auto* const octets = reinterpret_cast<std::uint8_t*>(&result);
    const std::span<const std::uint8_t> from(address.bytes);
    std::ranges::copy(address.is_v4() ? from.last(sizeof(result.a4)) : from, octets);
    return result;
}

void put_mark(NetlinkRequest& request, const std::optional<XfrmMark>& mark) {
    if (mark) {
        request.put_bytes(XFRMA_MARK, bytes_of(xfrm_mark{mark->value, mark->mask}));
    }
}

// Of what came in, the whole window counts as seen: which of it was is known here and not told.
constexpr std::uint32_t kAllSeen = ~std::uint32_t{0};

void put_sequence(NetlinkRequest& request, const SaUse& use, const XfrmMirror::Entry& entry) {
    const auto low = static_cast<std::uint32_t>(use.sequence);
    const auto high = entry.extended ? static_cast<std::uint32_t>(use.sequence >> 32U) : 0;
    if (!entry.replay.bitmap_words) {
        request.put_bytes(
            XFRMA_REPLAY_VAL,
            bytes_of(
                use.outbound ? xfrm_replay_state{low, 0, 0} : xfrm_replay_state{0, low, kAllSeen}
            )
        );
        return;
    }
    // struct xfrm_replay_state_esn: number of words, oseq, seq, oseq_hi, seq_hi, window, bitmap.
    constexpr std::size_t kHead = sizeof(xfrm_replay_state_esn) / sizeof(std::uint32_t);
    constexpr std::size_t kWordsMax = XFRMA_REPLAY_ESN_MAX / 32;
    const std::size_t words = std::min<std::size_t>(*entry.replay.bitmap_words, kWordsMax);
    std::array<std::uint32_t, kHead + kWordsMax> state{};
    state[0] = static_cast<std::uint32_t>(words);
    state[use.outbound ? 1 : 2] = low;
    state[use.outbound ? 3 : 4] = high;
    state[5] = entry.replay.window;
    const std::span<std::uint32_t> used = std::span(state).first(kHead + words);
    if (!use.outbound) {
        std::ranges::fill(used.subspan(kHead), kAllSeen);
    }
    request.put_bytes(XFRMA_REPLAY_ESN_VAL, std::as_bytes(used));
}

}  // namespace

XfrmUseRequest::XfrmUseRequest(const SaUse& use, const XfrmMirror::Entry& entry)
    : NetlinkRequest(XFRM_MSG_NEWAE, NLM_F_ACK | NLM_F_REPLACE) {
    auto& fixed = put_fixed<xfrm_aevent_id>();
    fixed.sa_id.daddr = xfrm_address(use.destination);
    fixed.sa_id.spi = htonl(use.spi);
    fixed.sa_id.family = family_of(use.destination);
    fixed.sa_id.proto = IPPROTO_ESP;
    const xfrm_lifetime_cur lifetime{use.bytes, use.packets, entry.added_s, use.used_s};
    put_bytes(XFRMA_LTIME_VAL, bytes_of(lifetime));
    put_sequence(*this, use, entry);
    put_mark(*this, entry.mark);
}

XfrmExpireRequest::XfrmExpireRequest(
    std::uint32_t spi, const IpAddress& destination, bool hard, const XfrmMirror::Entry& entry
)
    : NetlinkRequest(XFRM_MSG_EXPIRE, NLM_F_ACK) {
    auto& fixed = put_fixed<xfrm_user_expire>();
    fixed.state.id.daddr = xfrm_address(destination);
    fixed.state.id.spi = htonl(spi);
    fixed.state.id.proto = IPPROTO_ESP;
    fixed.state.family = family_of(destination);
    fixed.hard = hard ? 1 : 0;
    put_mark(*this, entry.mark);
}

}  // namespace culvert::ctl
