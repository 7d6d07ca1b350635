// SPDX-License-Identifier: GPL-2.0-or-later
//
// Mbuf chains. Two facts carry everything here: the fields of an mbuf belong to the packet it is
// in, while the bytes it points to may be shared with other packets through indirect mbufs; so
// offsets and lengths may always change, bytes only when writable() says so. Each function
// allocates before it changes anything, so that a failure leaves the packet as it was. Any thread
// may call it for a packet of its own.
#include "dataplane/packet.hpp"

#include <algorithm>

#include "tunnels/checksum.hpp"

namespace culvert::dataplane::packet {
namespace {

/// Flags that say where an mbuf's bytes are, and so never move to another mbuf.
constexpr std::uint64_t kBufferFlags = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;

void copy_metadata(rte_mbuf* to, const rte_mbuf* from) noexcept {
    to->ol_flags = (to->ol_flags & kBufferFlags) | (from->ol_flags & ~kBufferFlags);
    to->tx_offload = from->tx_offload;
    to->port = from->port;
    to->vlan_tci = from->vlan_tci;
    to->vlan_tci_outer = from->vlan_tci_outer;
    to->packet_type = from->packet_type;
    to->hash = from->hash;
    rte_mbuf_dynfield_copy(to, from);
}

/// A segment that is not the first carries no metadata.
void clear_metadata(rte_mbuf* segment) noexcept {
    segment->ol_flags &= kBufferFlags;
    segment->tx_offload = 0;
}

void advance(rte_mbuf* segment, std::uint32_t bytes) noexcept {
    segment->data_off = static_cast<std::uint16_t>(segment->data_off + bytes);
    segment->data_len = static_cast<std::uint16_t>(segment->data_len - bytes);
}

/// Segment by segment, as rte_pktmbuf_free expects a chain with the totals of a whole packet.
void free_chain(rte_mbuf* segment) noexcept {
    while (segment != nullptr) {
        rte_mbuf* next = segment->next;
        rte_pktmbuf_free_seg(segment);
        segment = next;
    }
}

struct Rest {
    rte_mbuf* first;        ///< nullptr when nothing is left.
    std::uint16_t dropped;  ///< Segments freed.
};

/// Removes `bytes` from the front of a chain and frees every segment that this leaves empty.
[[nodiscard]] Rest drop_front(rte_mbuf* segment, std::uint32_t bytes) noexcept {
    Rest rest{.first = segment, .dropped = 0};
    while (rest.first != nullptr && bytes >= rest.first->data_len) {
        bytes -= rest.first->data_len;
        rte_mbuf* next = rest.first->next;
        rte_pktmbuf_free_seg(rest.first);
        rest.first = next;
        ++rest.dropped;
    }
    if (rest.first != nullptr) {
        advance(rest.first, bytes);
    }
    return rest;
}

/// Lets the empty first mbuf point to the bytes of the second, which is then freed: the caller
/// keeps its pointer to the packet, and the packet starts with bytes again. Impossible while
/// another packet shares the bytes embedded in the first mbuf.
void adopt_next(rte_mbuf* m) noexcept {
    if (RTE_MBUF_DIRECT(m) && !writable(m)) {
        return;
    }
    if (!RTE_MBUF_DIRECT(m)) {
        const std::uint64_t flags = m->ol_flags & ~kBufferFlags;
        rte_pktmbuf_detach(m);
        m->ol_flags |= flags;
    }
    rte_mbuf* second = m->next;
    const rte_mbuf before = *m;
    rte_pktmbuf_attach(m, second);
    copy_metadata(m, &before);
    m->next = second->next;
    m->nb_segs = static_cast<std::uint16_t>(before.nb_segs - 1);
    m->pkt_len = before.pkt_len;
    rte_pktmbuf_free_seg(second);
}

void shift_offload_forward(rte_mbuf* m, std::uint32_t bytes) noexcept {
    Offload value = offload(m);
    value.checksum_start = static_cast<std::uint16_t>(value.checksum_start + bytes);
    if (value.header_bytes != 0) {
        value.header_bytes = static_cast<std::uint16_t>(value.header_bytes + bytes);
    }
    set_offload(m, value);
}

void shift_offload_back(rte_mbuf* m, std::uint32_t bytes) noexcept {
    Offload value = offload(m);
    if (value.checksum_start < bytes) {
        clear_offload(m);
        return;
    }
    value.checksum_start = static_cast<std::uint16_t>(value.checksum_start - bytes);
    if (value.header_bytes != 0) {
        value.header_bytes = static_cast<std::uint16_t>(value.header_bytes - bytes);
    }
    set_offload(m, value);
}

}  // namespace

bool copy_out(const rte_mbuf* m, std::uint32_t offset, std::span<std::byte> out) noexcept {
    if (offset > m->pkt_len || out.size() > m->pkt_len - offset) {
        return false;
    }
    for (const rte_mbuf* segment = m; !out.empty(); segment = segment->next) {
        if (offset >= segment->data_len) {
            offset -= segment->data_len;
            continue;
        }
        const std::size_t bytes = std::min<std::size_t>(out.size(), segment->data_len - offset);
        std::memcpy(out.data(), rte_pktmbuf_mtod_offset(segment, const std::byte*, offset), bytes);
        out = out.subspan(bytes);
        offset = 0;
    }
    return true;
}

bool pull(rte_mbuf* m, std::uint32_t bytes) noexcept {
    if (bytes > m->pkt_len) {
        return false;
    }
    if (has_offload(m)) {
        shift_offload_back(m, bytes);
    }
    m->pkt_len -= bytes;
    if (bytes < m->data_len || m->next == nullptr) {
        advance(m, bytes);
        return true;
    }
    const std::uint32_t behind = bytes - m->data_len;
    advance(m, m->data_len);
    const Rest rest = drop_front(m->next, behind);
    m->next = rest.first;
    m->nb_segs = static_cast<std::uint16_t>(m->nb_segs - rest.dropped);
    if (rest.first != nullptr) {
        adopt_next(m);
    }
    return true;
}

void trim(rte_mbuf* m, std::uint32_t bytes) noexcept {
    if (bytes >= m->pkt_len) {
        return;
    }
    m->pkt_len = bytes;
    std::uint16_t segments = 1;
    rte_mbuf* last = m;
    while (bytes > last->data_len) {
        bytes -= last->data_len;
        last = last->next;
        ++segments;
    }
    last->data_len = static_cast<std::uint16_t>(bytes);
    free_chain(last->next);
    last->next = nullptr;
    m->nb_segs = segments;
}

rte_mbuf* make_writable(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept {
    if (bytes > m->pkt_len) {
        return nullptr;
    }
    if (bytes == 0 || (m->data_len >= bytes && writable(m))) {
        return m;
    }
    if (writable(m) && rte_pktmbuf_tailroom(m) >= bytes - m->data_len) {
        const std::uint32_t missing = bytes - m->data_len;
        std::byte* end = rte_pktmbuf_mtod_offset(m, std::byte*, m->data_len);
        if (!copy_out(m, m->data_len, {end, missing})) {
            return nullptr;
        }
        const Rest rest = drop_front(m->next, missing);
        m->next = rest.first;
        m->nb_segs = static_cast<std::uint16_t>(m->nb_segs - rest.dropped);
        m->data_len = static_cast<std::uint16_t>(bytes);
        return m;
    }
    rte_mbuf* head = create(m, bytes, pool);
    if (head == nullptr) {
        return nullptr;
    }
    if (!copy_out(m, 0, packet::head(head))) {
        rte_pktmbuf_free(head);
        return nullptr;
    }
    copy_metadata(head, m);
    clear_metadata(m);
    head->pkt_len = m->pkt_len;
    const std::uint16_t segments = m->nb_segs;
    const Rest rest = drop_front(m, bytes);
    head->next = rest.first;
    head->nb_segs = static_cast<std::uint16_t>(1 + segments - rest.dropped);
    return head;
}

rte_mbuf* push(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept {
    rte_mbuf* head = m;
    if (writable(m) && rte_pktmbuf_headroom(m) >= bytes) {
        m->data_off = static_cast<std::uint16_t>(m->data_off - bytes);
        m->data_len = static_cast<std::uint16_t>(m->data_len + bytes);
        m->pkt_len += bytes;
    } else {
        head = create(m, bytes, pool);
        if (head == nullptr) {
            return nullptr;
        }
        copy_metadata(head, m);
        clear_metadata(m);
        head->pkt_len = m->pkt_len + bytes;
        const std::uint16_t segments = m->nb_segs;
        const Rest rest = drop_front(m, 0);
        head->next = rest.first;
        head->nb_segs = static_cast<std::uint16_t>(1 + segments - rest.dropped);
    }
    if (has_offload(head)) {
        shift_offload_forward(head, bytes);
    }
    return head;
}

rte_mbuf* share(rte_mbuf* m, rte_mempool* pool) noexcept {
    rte_mbuf* head = nullptr;
    rte_mbuf** link = &head;
    rte_mbuf* segment = m;
    do {
        rte_mbuf* indirect = rte_pktmbuf_alloc(pool);
        if (indirect == nullptr) {
            free_chain(head);
            return nullptr;
        }
        // Also copies ol_flags and tx_offload, and follows an indirect segment to its owner.
        rte_pktmbuf_attach(indirect, segment);
        *link = indirect;
        link = &indirect->next;
        segment = segment->next;
    } while (segment != nullptr);
    head->pkt_len = m->pkt_len;
    head->nb_segs = m->nb_segs;
    return head;
}

rte_mbuf* create(const rte_mbuf* like, std::uint32_t bytes, rte_mempool* pool) noexcept {
    rte_mbuf* m = rte_pktmbuf_alloc(pool);
    if (m == nullptr) {
        return nullptr;
    }
    if (bytes > rte_pktmbuf_tailroom(m)) {
        rte_pktmbuf_free(m);
        return nullptr;
    }
    copy_metadata(m, like);
    clear_offload(m);
    m->data_len = static_cast<std::uint16_t>(bytes);
    m->pkt_len = bytes;
    return m;
}

Cursor cursor_at(rte_mbuf* m, std::uint32_t offset) noexcept {
    while (offset >= m->data_len && m->next != nullptr) {
        offset -= m->data_len;
        m = m->next;
    }
    return {.segment = m, .offset = offset};
}

bool append_shared(rte_mbuf* to, Cursor& from, std::uint32_t bytes, rte_mempool* shares) noexcept {
    rte_mbuf* last = rte_pktmbuf_lastseg(to);
    while (bytes != 0) {
        const std::uint32_t available = from.segment->data_len - from.offset;
        if (available == 0) {
            from = {.segment = from.segment->next, .offset = 0};
            continue;
        }
        rte_mbuf* indirect = rte_pktmbuf_alloc(shares);
        if (indirect == nullptr) {
            return false;
        }
        const std::uint32_t taken = std::min(bytes, available);
        rte_pktmbuf_attach(indirect, from.segment);
        clear_metadata(indirect);
        advance(indirect, from.offset);
        indirect->data_len = static_cast<std::uint16_t>(taken);
        indirect->pkt_len = taken;
        last->next = indirect;
        last = indirect;
        ++to->nb_segs;
        to->pkt_len += taken;
        from.offset += taken;
        bytes -= taken;
    }
    return true;
}

std::uint64_t sum(const rte_mbuf* m, std::uint32_t offset, std::uint32_t bytes) noexcept {
    std::uint64_t total = 0;
    bool odd = false;
    for (const rte_mbuf* segment = m; segment != nullptr && bytes != 0; segment = segment->next) {
        if (offset >= segment->data_len) {
            offset -= segment->data_len;
            continue;
        }
        const std::uint32_t taken = std::min(bytes, segment->data_len - offset);
        const std::byte* data = rte_pktmbuf_mtod_offset(segment, const std::byte*, offset);
        total = tunnels::checksum_add(total, {data, taken}, odd);
        odd ^= (taken & 1U) != 0;
        bytes -= taken;
        offset = 0;
    }
    return total;
}

}  // namespace culvert::dataplane::packet
