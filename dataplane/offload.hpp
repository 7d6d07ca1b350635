// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finishes in software what the sender's kernel left to a device: L4 checksums and segmentation
// (GSO), for outputs that cannot carry the request further (tunnels, DPDK devices). TCP over
// IPv4/IPv6 and UDP (USO). rte_gso is not used: it has no IPv6 and leaves checksums to the device.
#pragma once

#include "dataplane/packet.hpp"

namespace culvert::dataplane {

/// Segments that one super-frame may become; more is offload_malformed. Linux sends no TCP segment
/// with less than 8 payload bytes (its smallest MSS is 48, with 40 bytes of options): a sender that
/// asks for more segments only wants to keep a worker busy.
inline constexpr std::uint32_t kGsoSegmentsMax = 8192;

/// Judges an Offload against the packet it came with: offsets inside the packet and its first
/// `contiguous` bytes, header_bytes computed for super-frames (0, as gso_bytes, for others). The
/// `virtio_net_hdr.hdr_len` of the kernel is a hint and not used. Up to two VLAN tags and, in a
/// super-frame, IPv6 hop-by-hop, destination and exhausted routing headers are followed. A
/// super-frame inside a tunnel (UDP or GRE) is accepted; it has to be judged anew once it is
/// decapsulated. Returns DropReason::offload_malformed when they contradict, else none.
[[nodiscard]] DropReason validate_offload(const rte_mbuf* m, Offload& offload) noexcept;

/// Computes the pending checksum of a packet that is not a super-frame, and clears the offload.
/// Bytes behind the IP packet (Ethernet padding) are not summed. A packet without offload is
/// returned as it is. Returns the packet (its head may be replaced when shared) or nullptr when no
/// buffer is free or the packet contradicts its offload; it then still is the caller's.
[[nodiscard]] rte_mbuf* finish_checksum(rte_mbuf* m, rte_mempool* pool) noexcept;

/// Cuts a super-frame into segments of gso_bytes payload that share its bytes, with lengths, IPv4
/// ids, TCP sequence numbers and flags (RFC 9293; CWR on the first, FIN/PSH on the last), and
/// checksums final.
class Segmenter {
public:
    /// Pending: each segment has an Offload for its checksum instead of the checksum.
    enum class Checksums : std::uint8_t { final, pending };

    /// Takes the super-frame. `headers` gives header buffers (with headroom), `shares` the indirect
    /// ones.
    Segmenter(
        rte_mbuf* super_frame,
        rte_mempool* headers,
        rte_mempool* shares,
        Checksums checksums = Checksums::final
    ) noexcept;
    ~Segmenter();
    Segmenter(const Segmenter&) = delete;
    Segmenter& operator=(const Segmenter&) = delete;

    /// The next finished segment, or nullptr at the end or when no buffer is free (see failed()).
    [[nodiscard]] rte_mbuf* next() noexcept;
    [[nodiscard]] bool failed() const noexcept { return failed_; }

private:
    void finish(rte_mbuf* segment, std::uint32_t payload_bytes) const noexcept;

    rte_mbuf* super_frame_;
    rte_mempool* headers_;
    rte_mempool* shares_;
    packet::Cursor payload_{};
    Offload offload_;
    Checksums checksums_;
    std::uint16_t pseudo_sum_ = 0;  ///< Of the pseudo-header with length 0, folded.
    std::uint32_t ip_offset_ = 0;
    bool is_v4_ = false;
    std::uint32_t position_ = 0;  ///< Payload bytes already handed out.
    std::uint32_t payload_bytes_ = 0;
    std::uint32_t index_ = 0;
    bool done_ = false;
    bool failed_ = false;
};

}  // namespace culvert::dataplane
