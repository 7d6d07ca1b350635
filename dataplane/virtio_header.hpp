// SPDX-License-Identifier: GPL-2.0-or-later
//
// The header that AF_PACKET and TAP put before each frame (virtio 1.2 section 5.1.6, the legacy 10
// bytes), as a packet's Offload and back. It is also where a packet of a DPDK device whose flags
// ask for the same work gets its Offload. Fields are in host order, which the kernel means by
// "legacy" on x86. Does not handle UFO (gso_type 3, gone from the kernel's own senders) nor the
// tunnel types of newer kernels, which have to be asked for. Any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/packet.hpp"
#include "tunnels/drop_reason.hpp"

namespace culvert::dataplane {

//  0        1         2             4          6               8                10
//  | flags  | gso_type | header_bytes | gso_bytes | checksum_start | checksum_offset |
struct VirtioHeader {
    std::uint8_t flags = 0;
    std::uint8_t gso_type = 0;
    std::uint16_t header_bytes = 0;  ///< Ethernet to L4 header; from the kernel only a hint.
    std::uint16_t gso_bytes = 0;
    std::uint16_t checksum_start = 0;
    std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);

inline constexpr std::uint8_t kVirtioNeedsChecksum = 1;
inline constexpr std::uint8_t kVirtioDataValid = 2;
inline constexpr std::uint8_t kVirtioGsoTcp4 = 1;
inline constexpr std::uint8_t kVirtioGsoTcp6 = 4;
inline constexpr std::uint8_t kVirtioGsoUdpL4 = 5;
inline constexpr std::uint8_t kVirtioGsoEcn = 0x80;  ///< The first segment's CWR is not repeated.

/// Gives the packet the pending work of `header`. `inserted_bytes` is how much was put in front of
/// L3 since the kernel wrote the header (a VLAN tag). An SCTP checksum, which is a CRC and no
/// Offload, is completed here. Returns offload_malformed when header and packet contradict.
[[nodiscard]] DropReason parse_virtio_header(
    const VirtioHeader& header, std::uint16_t inserted_bytes, rte_mbuf* packet
) noexcept;

/// The header that asks the kernel for what is pending in the packet.
[[nodiscard]] VirtioHeader write_virtio_header(const rte_mbuf* packet) noexcept;

/// True for a super-frame inside a tunnel (the kernel's own VXLAN device over veth sends them): the
/// L4 header to segment is not the one behind the first IP header, which the header cannot say.
[[nodiscard]] bool is_tunnelled_super_frame(const rte_mbuf* packet) noexcept;

/// Where the IP header is in front of the L4 header that the pending work of a packet is about;
/// nothing when that is not the first IP header of the frame (a tunnel's).
struct PendingHeaders {
    std::uint16_t l3_start = 0;
    bool is_v4 = false;
};
[[nodiscard]] std::optional<PendingHeaders> find_pending_headers(const rte_mbuf* packet) noexcept;

/// Gives a packet the pending work that a sender described without offsets, by reading its L3 and
/// L4 headers: an L4 checksum, and segments of `gso_bytes` unless 0. With `checksum_complete` the
/// checksum field is first made what a pending one holds (the pseudo-header's sum). A packet that
/// is not TCP, UDP or SCTP stays as it is; a super-frame of another protocol is offload_malformed.
/// Precondition: the packet is writable.
[[nodiscard]] DropReason set_offload_from_headers(
    rte_mbuf* packet, std::uint16_t gso_bytes, bool checksum_complete
) noexcept;

}  // namespace culvert::dataplane
