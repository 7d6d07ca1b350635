// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets whose bytes are their own. See owned.hpp.

#include "dataplane/owned.hpp"

#include <algorithm>

namespace culvert::dataplane::packet {

namespace {

bool is_own(const rte_mbuf* m) noexcept {
    if (m->nb_segs > kOwnSegmentsMax) {
        return false;
    }
    for (const rte_mbuf* segment = m; segment != nullptr; segment = segment->next) {
        if (!writable(segment)) {
            return false;
        }
    }
    return true;
}

/// Chains an empty segment behind the packet whose last one is `last`.
rte_mbuf* extend(rte_mbuf* m, rte_mbuf* last, rte_mempool* pool) noexcept {
    rte_mbuf* segment = rte_pktmbuf_alloc(pool);
    if (segment != nullptr) {
        last->next = segment;
        ++m->nb_segs;
    }
    return segment;
}

void grow(rte_mbuf* m, rte_mbuf* last, std::uint32_t bytes) noexcept {
    last->data_len = static_cast<std::uint16_t>(last->data_len + bytes);
    m->pkt_len += bytes;
}

}  // namespace

rte_mbuf* own(rte_mbuf* m, rte_mempool* pool) noexcept {
    if (is_own(m)) {
        return m;
    }
    rte_mbuf* made = create(m, 0, pool);
    rte_mbuf* last = made;
    std::uint32_t done = 0;
    while (made != nullptr && done < length(m)) {
        if (rte_pktmbuf_tailroom(last) == 0) {
            last = made->nb_segs < kOwnSegmentsMax ? extend(made, last, pool) : nullptr;
            if (last == nullptr) {
                rte_pktmbuf_free(made);
                return nullptr;
            }
        }
        const std::uint32_t bytes =
            std::min<std::uint32_t>(length(m) - done, rte_pktmbuf_tailroom(last));
        static_cast<void>(
            copy_out(m, done, {rte_pktmbuf_mtod_offset(last, std::byte*, last->data_len), bytes})
        );
        grow(made, last, bytes);
        done += bytes;
    }
    if (made != nullptr) {
        rte_pktmbuf_free(m);
    }
    return made;
}

std::byte* append(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept {
    rte_mbuf* last = rte_pktmbuf_lastseg(m);
    if (rte_pktmbuf_tailroom(last) < bytes) {
        last = extend(m, last, pool);
        if (last == nullptr) {
            return nullptr;
        }
    }
    std::byte* room = rte_pktmbuf_mtod_offset(last, std::byte*, last->data_len);
    grow(m, last, bytes);
    return room;
}

bool join_end(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept {
    if (rte_pktmbuf_lastseg(m)->data_len >= bytes) {
        return true;
    }
    rte_mbuf* end = rte_pktmbuf_alloc(pool);
    if (end == nullptr) {
        return false;
    }
    const std::uint32_t rest = length(m) - bytes;
    static_cast<void>(copy_out(m, rest, {rte_pktmbuf_mtod(end, std::byte*), bytes}));
    trim(m, rest);
    rte_pktmbuf_lastseg(m)->next = end;
    ++m->nb_segs;
    grow(m, end, bytes);
    return true;
}

}  // namespace culvert::dataplane::packet
