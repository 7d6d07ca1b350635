// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtio_net_hdr to Offload and back. RFC 9293 (TCP), 768 (UDP), 9260 appendix A (the CRC32c of
// SCTP, which Linux leaves pending like a checksum but which no Offload can describe). Any thread.

#include "dataplane/virtio_header.hpp"

#include <algorithm>
#include <optional>

#include <rte_hash_crc.h>
#include <rte_mbuf_ptype.h>
#include <rte_net.h>

#include "dataplane/offload.hpp"
#include "tunnels/address.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint8_t kTcpChecksumOffset = 16;
constexpr std::uint8_t kUdpChecksumOffset = 6;
constexpr std::uint8_t kSctpChecksumOffset = 8;  // No other protocol has its checksum there.
constexpr std::uint32_t kSctpHeaderBytes = 12;
constexpr std::uint8_t kIpProtocolTcp = 6;
constexpr std::uint8_t kIpProtocolUdp = 17;
constexpr std::uint32_t kTcpFlagsOffset = 13;
constexpr std::byte kTcpFlagCwr{0x80};

struct L4 {
    std::uint32_t ptype = 0;
    std::uint32_t l3_start = 0;
    std::uint32_t start = 0;
    std::uint8_t checksum_offset = 0;
    GsoType gso_type = GsoType::none;
};

/// The unfragmented TCP, UDP or SCTP header of an IPv4 or IPv6 packet.
std::optional<L4> find_l4(const rte_mbuf* packet) noexcept {
    rte_net_hdr_lens lengths{};
    const std::uint32_t ptype = rte_net_get_ptype(
        packet, &lengths, RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK
    );
    L4 l4;
    l4.ptype = ptype;
    l4.l3_start = lengths.l2_len;
    l4.start = std::uint32_t{lengths.l2_len} + lengths.l3_len;
    switch (ptype & RTE_PTYPE_L4_MASK) {
    case RTE_PTYPE_L4_TCP:
        l4.checksum_offset = kTcpChecksumOffset;
        l4.gso_type = RTE_ETH_IS_IPV4_HDR(ptype) ? GsoType::tcp4 : GsoType::tcp6;
        return l4;
    case RTE_PTYPE_L4_UDP:
        l4.checksum_offset = kUdpChecksumOffset;
        l4.gso_type = GsoType::udp_l4;
        return l4;
    case RTE_PTYPE_L4_SCTP:
        l4.checksum_offset = kSctpChecksumOffset;
        return l4;
    default:
        return std::nullopt;
    }
}

std::uint32_t add_crc(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
    // rte_hash_crc() reads words at any address, which is undefined in C++.
    while (bytes.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        crc = rte_hash_crc_8byte(word, crc);
        bytes = bytes.subspan(sizeof word);
    }
    for (const std::byte byte : bytes) {
        crc = rte_hash_crc_1byte(std::to_integer<std::uint8_t>(byte), crc);
    }
    return crc;
}

/// Writes the CRC32c of an SCTP packet that reaches to the end of the frame. Linux does the same
/// for devices without that offload.
DropReason finish_sctp(rte_mbuf* packet, std::uint32_t start) noexcept {
    const auto head = packet::head(packet);
    if (start + kSctpHeaderBytes > head.size()) {
        return DropReason::offload_malformed;
    }
    std::uint32_t crc = 0;
    std::memcpy(head.data() + start + kSctpChecksumOffset, &crc, sizeof crc);
    crc = 0xffffffffU;
    std::uint32_t skip = start;
    for (const rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
        crc = add_crc(crc, packet::head(segment).subspan(skip));
        skip = 0;
    }
    crc = ~crc;
    std::memcpy(head.data() + start + kSctpChecksumOffset, &crc, sizeof crc);
    return DropReason::none;
}

/// Makes a complete checksum a pending one.
void write_pseudo_header_sum(rte_mbuf* packet, const L4& l4) noexcept {
    const auto head = packet::head(packet);
    const std::byte* l3 = head.data() + l4.l3_start;
    const bool is_v4 = RTE_ETH_IS_IPV4_HDR(l4.ptype) != 0;
    const std::uint16_t sum = tunnels::checksum_fold(tunnels::pseudo_header_sum(
        is_v4 ? tunnels::IpAddress::from_v4(l3 + 12) : tunnels::IpAddress::from_v6(l3 + 8),
        is_v4 ? tunnels::IpAddress::from_v4(l3 + 16) : tunnels::IpAddress::from_v6(l3 + 24),
        l4.checksum_offset == kTcpChecksumOffset ? kIpProtocolTcp : kIpProtocolUdp,
        packet::length(packet) - l4.start
    ));
    std::memcpy(head.data() + l4.start + l4.checksum_offset, &sum, sizeof sum);
}

DropReason set_validated(rte_mbuf* packet, Offload offload) noexcept {
    const DropReason reason = validate_offload(packet, offload);
    if (reason == DropReason::none) {
        packet::set_offload(packet, offload);
    }
    return reason;
}

std::optional<GsoType> parse_gso_type(std::uint8_t type) noexcept {
    switch (type & ~kVirtioGsoEcn) {
    case 0:
        return GsoType::none;
    case kVirtioGsoTcp4:
        return GsoType::tcp4;
    case kVirtioGsoTcp6:
        return GsoType::tcp6;
    case kVirtioGsoUdpL4:
        return GsoType::udp_l4;
    default:
        return std::nullopt;
    }
}

/// The kernel's own segmentation repeats no CWR, but a device has to be told (RFC 3168 6.1.2).
bool has_cwr(const rte_mbuf* packet, const Offload& offload) noexcept {
    const auto head = packet::head(packet);
    const std::size_t at = std::size_t{offload.checksum_start} + kTcpFlagsOffset;
    return at < head.size() && (head[at] & kTcpFlagCwr) != std::byte{0};
}

}  // namespace

DropReason parse_virtio_header(
    const VirtioHeader& header, std::uint16_t inserted_bytes, rte_mbuf* packet
) noexcept {
    const std::optional<GsoType> gso_type = parse_gso_type(header.gso_type);
    const bool checksum_pending = (header.flags & kVirtioNeedsChecksum) != 0;
    if (!gso_type || (*gso_type != GsoType::none && header.gso_bytes == 0)) {
        return DropReason::offload_malformed;
    }
    if (!checksum_pending) {
        // A NIC that merges received segments (LRO) hands over super-frames with good checksums.
        return *gso_type == GsoType::none
                   ? DropReason::none
                   : set_offload_from_headers(packet, header.gso_bytes, true);
    }
    const std::uint32_t start = std::uint32_t{header.checksum_start} + inserted_bytes;
    if (start > UINT16_MAX || header.checksum_offset > UINT8_MAX) {
        return DropReason::offload_malformed;
    }
    if (*gso_type == GsoType::none && header.checksum_offset == kSctpChecksumOffset) {
        return finish_sctp(packet, start);
    }
    Offload offload;
    offload.checksum_start = static_cast<std::uint16_t>(start);
    offload.checksum_offset = static_cast<std::uint8_t>(header.checksum_offset);
    offload.gso_type = *gso_type;
    offload.gso_bytes = *gso_type == GsoType::none ? std::uint16_t{0} : header.gso_bytes;
    return set_validated(packet, offload);
}

VirtioHeader write_virtio_header(const rte_mbuf* packet) noexcept {
    VirtioHeader header;
    if (!packet::has_offload(packet)) {
        return header;
    }
    const Offload offload = packet::offload(packet);
    header.flags = kVirtioNeedsChecksum;
    header.checksum_start = offload.checksum_start;
    header.checksum_offset = offload.checksum_offset;
    switch (offload.gso_type) {
    case GsoType::none:
        return header;
    case GsoType::tcp4:
        header.gso_type = kVirtioGsoTcp4;
        break;
    case GsoType::tcp6:
        header.gso_type = kVirtioGsoTcp6;
        break;
    case GsoType::udp_l4:
        header.gso_type = kVirtioGsoUdpL4;
        break;
    }
    if (offload.gso_type != GsoType::udp_l4 && has_cwr(packet, offload)) {
        header.gso_type = static_cast<std::uint8_t>(header.gso_type | kVirtioGsoEcn);
    }
    header.gso_bytes = offload.gso_bytes;
    header.header_bytes = offload.header_bytes;
    return header;
}

bool is_tunnelled_super_frame(const rte_mbuf* packet) noexcept {
    if (!packet::has_offload(packet)) {
        return false;
    }
    const Offload offload = packet::offload(packet);
    if (offload.gso_type == GsoType::none) {
        return false;
    }
    const std::optional<L4> l4 = find_l4(packet);
    return !l4 || l4->start != offload.checksum_start;
}

std::optional<PendingHeaders> find_pending_headers(const rte_mbuf* packet) noexcept {
    const Offload offload = packet::offload(packet);
    const std::optional<L4> l4 = find_l4(packet);
    if (!l4 || l4->start != offload.checksum_start ||
        l4->checksum_offset != offload.checksum_offset) {
        return std::nullopt;
    }
    return PendingHeaders{
        static_cast<std::uint16_t>(l4->l3_start), RTE_ETH_IS_IPV4_HDR(l4->ptype) != 0};
}

DropReason set_offload_from_headers(
    rte_mbuf* packet, std::uint16_t gso_bytes, bool checksum_complete
) noexcept {
    const std::optional<L4> l4 = find_l4(packet);
    if (!l4 || (gso_bytes != 0 && l4->gso_type == GsoType::none)) {
        return gso_bytes == 0 ? DropReason::none : DropReason::offload_malformed;
    }
    if (l4->checksum_offset == kSctpChecksumOffset) {
        return finish_sctp(packet, l4->start);
    }
    Offload offload;
    offload.checksum_start = static_cast<std::uint16_t>(l4->start);
    offload.checksum_offset = l4->checksum_offset;
    offload.gso_type = gso_bytes == 0 ? GsoType::none : l4->gso_type;
    offload.gso_bytes = gso_bytes;
    const DropReason reason = set_validated(packet, offload);
    if (reason == DropReason::none && checksum_complete) {
        write_pseudo_header_sum(packet, *l4);
    }
    return reason;
}

}  // namespace culvert::dataplane
