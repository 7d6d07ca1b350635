// SPDX-License-Identifier: GPL-2.0-or-later
//
// The only place that touches mbuf fields. A packet is an mbuf, perhaps chained, perhaps with work
// that the kernel left to us: an unfinished L4 checksum (CHECKSUM_PARTIAL) or a GSO super-frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <rte_mbuf.h>

#include "dataplane/limits.hpp"
#include "tunnels/drop_reason.hpp"

namespace culvert::dataplane {

using tunnels::DropReason;

enum class GsoType : std::uint8_t { none = 0, tcp4 = 1, tcp6 = 2, udp_l4 = 3 };

/// Work left undone by the sender's kernel (virtio_net_hdr). Offsets count from the start of the
/// packet data.
struct Offload {
    std::uint16_t checksum_start = 0;  ///< Where summing starts (the L4 header).
    std::uint8_t checksum_offset =
        0;  ///< From checksum_start to the checksum field (16 TCP, 6 UDP).
    GsoType gso_type = GsoType::none;
    std::uint16_t gso_bytes = 0;  ///< L4 payload bytes of each segment; 0 when not a super-frame.
    std::uint16_t header_bytes =
        0;  ///< Ethernet to the end of the L4 header; set when gso_type != none.
};
static_assert(sizeof(Offload) == 8);

namespace packet {

/// ol_flags bit that says `tx_offload` holds an Offload. Always cleared before a DPDK device
/// transmits.
inline constexpr std::uint64_t kOffloadPending = RTE_MBUF_F_TX_UDP_CKSUM;

[[nodiscard]] inline bool has_offload(const rte_mbuf* m) noexcept {
    return (m->ol_flags & kOffloadPending) != 0;
}
[[nodiscard]] inline Offload offload(const rte_mbuf* m) noexcept {
    Offload value;
    std::memcpy(static_cast<void*>(&value), &m->tx_offload, sizeof value);
    return value;
}
inline void set_offload(rte_mbuf* m, const Offload& value) noexcept {
    std::memcpy(&m->tx_offload, &value, sizeof value);
    m->ol_flags |= kOffloadPending;
}
inline void clear_offload(rte_mbuf* m) noexcept {
    m->ol_flags &= ~kOffloadPending;
    m->tx_offload = 0;
}

/// ol_flags bit of a packet that the switch put into a UDP tunnel itself, with every checksum
/// final. Cleared, as all of them, before a DPDK device transmits.
inline constexpr std::uint64_t kEncapsulated = RTE_MBUF_F_TX_TUNNEL_UDP;
[[nodiscard]] inline bool is_encapsulated(const rte_mbuf* m) noexcept {
    return (m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK) == kEncapsulated;
}
inline void set_encapsulated(rte_mbuf* m) noexcept {
    m->ol_flags |= kEncapsulated;
}

[[nodiscard]] inline std::uint32_t length(const rte_mbuf* m) noexcept {
    return m->pkt_len;
}
/// The port a packet came in by, to which an ICMP error about it goes.
[[nodiscard]] inline std::uint16_t ingress(const rte_mbuf* m) noexcept {
    return m->port;
}
inline void set_ingress(rte_mbuf* m, std::uint16_t port) noexcept {
    m->port = port;
}

/// The contiguous first bytes.
[[nodiscard]] inline std::span<std::byte> head(rte_mbuf* m) noexcept {
    return {rte_pktmbuf_mtod(m, std::byte*), m->data_len};
}
[[nodiscard]] inline std::span<const std::byte> head(const rte_mbuf* m) noexcept {
    return {rte_pktmbuf_mtod(m, const std::byte*), m->data_len};
}
/// True when no other packet shares the first segment's bytes, so that they may be written.
[[nodiscard]] inline bool writable(const rte_mbuf* m) noexcept {
    return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

/// One segment, whose bytes are its own and no other packet's, with nothing left undone in it: what
/// most packets are, and may be read and written where they lie.
[[nodiscard]] inline bool is_plain(const rte_mbuf* m) noexcept {
    constexpr std::uint64_t kNotPlain = kOffloadPending | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
    return m->nb_segs == 1 && rte_mbuf_refcnt_read(m) == 1 && (m->ol_flags & kNotPlain) == 0;
}

/// Copies out.size() bytes from `offset`, across segments. False when the packet is shorter.
[[nodiscard]] bool
copy_out(const rte_mbuf* m, std::uint32_t offset, std::span<std::byte> out) noexcept;

/// Removes `bytes` from the front across segments and keeps a pending offload right: one whose
/// checksum_start lies in what is removed is discarded (the outer checksum of a tunnel packet).
/// Returns false when the packet is shorter. Afterwards head() is not empty unless the packet is,
/// or the first segment's bytes are shared by another packet.
[[nodiscard]] bool pull(rte_mbuf* m, std::uint32_t bytes) noexcept;

/// pull() within the first segment of a packet that has nothing pending; precondition: it has as
/// many.
inline void pull_head(rte_mbuf* m, std::uint32_t bytes) noexcept {
    m->data_off = static_cast<std::uint16_t>(m->data_off + bytes);
    m->data_len = static_cast<std::uint16_t>(m->data_len - bytes);
    m->pkt_len -= bytes;
}

/// push() of a packet that has nothing pending, into the first segment's headroom; preconditions:
/// it has the room, and writable().
inline void push_head(rte_mbuf* m, std::uint32_t bytes) noexcept {
    m->data_off = static_cast<std::uint16_t>(m->data_off - bytes);
    m->data_len = static_cast<std::uint16_t>(m->data_len + bytes);
    m->pkt_len += bytes;
}

/// Cuts the packet to `bytes` (Ethernet padding behind the outer IP packet).
void trim(rte_mbuf* m, std::uint32_t bytes) noexcept;

/// Makes the first `bytes` contiguous and writable. May replace the head mbuf, so returns the
/// packet; on failure (too short, no buffer) returns nullptr and the packet is still the caller's.
[[nodiscard]] rte_mbuf* make_writable(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept;

/// Puts `bytes` of uninitialised room in front; chains a new buffer when the first one is shared or
/// has no headroom. Shifts a pending offload. Returns the packet, or nullptr (still the caller's)
/// when no buffer is free.
[[nodiscard]] rte_mbuf* push(rte_mbuf* m, std::uint32_t bytes, rte_mempool* pool) noexcept;

/// A second packet that shares the payload (indirect buffers). nullptr when no buffer is free.
[[nodiscard]] rte_mbuf* share(rte_mbuf* m, rte_mempool* pool) noexcept;

/// A packet of `bytes` uninitialised bytes with headroom, that has the metadata of `like` but no
/// offload. nullptr when no buffer is free or `bytes` is more than one holds.
[[nodiscard]] rte_mbuf*
create(const rte_mbuf* like, std::uint32_t bytes, rte_mempool* pool) noexcept;

/// A place in a packet.
struct Cursor {
    rte_mbuf* segment;
    std::uint32_t offset;  ///< Within `segment`.
};
[[nodiscard]] Cursor cursor_at(rte_mbuf* m, std::uint32_t offset) noexcept;

/// Appends `bytes` from `from` (which has as many) to `to` by indirect buffers and moves `from`
/// behind them. False when no buffer is free; `to` then has only a part of them.
[[nodiscard]] bool
append_shared(rte_mbuf* to, Cursor& from, std::uint32_t bytes, rte_mempool* shares) noexcept;

/// One's complement sum over `bytes` from `offset`, across segments.
[[nodiscard]] std::uint64_t
sum(const rte_mbuf* m, std::uint32_t offset, std::uint32_t bytes) noexcept;

}  // namespace packet
}  // namespace culvert::dataplane
