// SPDX-License-Identifier: GPL-2.0-or-later
//
// Checksum completion and segmentation in software. RFC 791, RFC 768, RFC 8200, RFC 9293, RFC 1071;
// RFC 6864 for the identification of segments; virtio 1.1 section 5.1.6 for what a sender leaves
// undone. Tunnels inside the frame (a guest's own) are not segmented: the kernel does that before
// it hands such frames out. Jumbograms (RFC 2675) are refused. Any thread may call it for its
// packets.
//
// A sender is not trusted: everything is judged against the frame itself, and a segment's
// pseudo-header is computed anew, as senders disagree about the length in the one they left.
#include "dataplane/offload.hpp"

#include <algorithm>
#include <array>

#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"

namespace culvert::dataplane {
namespace {

using tunnels::Be16;
using tunnels::Be32;
using tunnels::EthernetHeader;
using tunnels::IpAddress;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;
using tunnels::UdpHeader;
using tunnels::VlanTag;

constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint8_t kNextHopByHop = 0;
constexpr std::uint8_t kNextRouting = 43;
constexpr std::uint8_t kNextFragment = 44;
constexpr std::uint8_t kNextDestination = 60;
constexpr unsigned kVlanTagsMax = 2;
constexpr std::uint32_t kChecksumBytes = 2;

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-------------------------------+-------------------------------+
// |          source port          |       destination port        |
// +-------------------------------+-------------------------------+
// |                        sequence number                        |
// +---------------------------------------------------------------+
// |                     acknowledgment number                     |
// +-------+-------+---------------+-------------------------------+
// | words |  res  |C E U A P R S F|            window             |
// +-------+-------+---------------+-------------------------------+
// |           checksum            |        urgent pointer         |
// +-------------------------------+-------------------------------+
struct TcpHeader {
    Be16 source;
    Be16 destination;
    Be32 sequence;
    Be32 acknowledgment;
    std::uint8_t words = 0;  ///< Header length, in the upper four bits.
    std::uint8_t flags = 0;
    Be16 window;
    Be16 checksum;
    Be16 urgent;
};
static_assert(tunnels::WireHeader<TcpHeader> && sizeof(TcpHeader) == 20);

constexpr std::uint8_t kProtocolGre = 47;
constexpr std::uint8_t kTcpFin = 0x01;
constexpr std::uint8_t kTcpPush = 0x08;
constexpr std::uint8_t kTcpCongestionWindowReduced = 0x80;
constexpr std::uint8_t kTcpChecksumOffset = offsetof(TcpHeader, checksum);
constexpr std::uint8_t kUdpChecksumOffset = offsetof(UdpHeader, checksum);

/// Where the IP packet of a frame lies. Offsets count from the start of the frame.
struct IpLayout {
    bool is_ip = false;  ///< False: only `end` is set.
    bool is_v4 = false;
    bool is_fragment = false;
    std::uint8_t next_header = 0;  ///< Protocol, or the first extension header's type.
    std::uint32_t offset = 0;
    std::uint32_t next_offset = 0;  ///< Behind the IPv4 or fixed IPv6 header.
    std::uint32_t end = 0;          ///< By the IP length; of the frame when it is not IP.
    IpAddress source;
    IpAddress destination;
};

/// Reads a header wherever the segments split it; false when the packet is shorter.
template <tunnels::WireHeader H>
[[nodiscard]] bool load(const rte_mbuf* m, std::uint32_t offset, H& header) noexcept {
    std::array<std::byte, sizeof(H)> bytes;
    if (!packet::copy_out(m, offset, bytes)) {
        return false;
    }
    header = tunnels::load<H>(bytes.data());
    return true;
}

/// Reads a header at `offset` of a contiguous head.
template <tunnels::WireHeader H>
[[nodiscard]] H header_at(std::span<const std::byte> head, std::size_t offset) noexcept {
    return tunnels::load<H>(head.subspan(offset, sizeof(H)).data());
}

template <tunnels::WireHeader H>
void store_at(std::span<std::byte> head, std::size_t offset, const H& header) noexcept {
    tunnels::store(head.subspan(offset, sizeof(H)).data(), header);
}

[[nodiscard]] bool locate_ipv4(const rte_mbuf* m, IpLayout& ip) noexcept {
    Ipv4Header header;
    if (!load(m, ip.offset, header) || header.version_ihl >> 4U != 4) {
        return false;
    }
    const std::uint32_t header_bytes = (header.version_ihl & 0x0fU) * 4U;
    const std::uint32_t total_bytes = header.total_length.host();
    ip.is_ip = true;
    ip.is_v4 = true;
    ip.is_fragment = (header.flags_fragment.host() & tunnels::kIpv4FragmentMask) != 0;
    ip.next_header = header.protocol;
    ip.next_offset = ip.offset + header_bytes;
    ip.end = ip.offset + total_bytes;
    ip.source = IpAddress::from_v4(header.source.data());
    ip.destination = IpAddress::from_v4(header.destination.data());
    return header_bytes >= sizeof(Ipv4Header) && header_bytes <= total_bytes &&
           ip.end <= packet::length(m);
}

[[nodiscard]] bool locate_ipv6(const rte_mbuf* m, IpLayout& ip) noexcept {
    Ipv6Header header;
    if (!load(m, ip.offset, header) || header.version_class_label.host() >> 28U != 6) {
        return false;
    }
    ip.is_ip = true;
    ip.is_fragment = header.next_header == kNextFragment;
    ip.next_header = header.next_header;
    ip.next_offset = ip.offset + static_cast<std::uint32_t>(sizeof(Ipv6Header));
    ip.end = ip.next_offset + header.payload_length.host();
    ip.source = IpAddress::from_v6(header.source.data());
    ip.destination = IpAddress::from_v6(header.destination.data());
    return ip.end <= packet::length(m);
}

/// False when the frame is cut off or says that it is IP and is not.
[[nodiscard]] bool locate_ip(const rte_mbuf* m, IpLayout& ip) noexcept {
    EthernetHeader ethernet;
    if (!load(m, 0, ethernet)) {
        return false;
    }
    std::uint16_t ether_type = ethernet.ether_type.host();
    ip.offset = sizeof ethernet;
    for (unsigned tags = 0; tags < kVlanTagsMax; ++tags) {
        if (ether_type != tunnels::kEtherTypeVlan && ether_type != tunnels::kEtherTypeServiceVlan) {
            break;
        }
        VlanTag tag;
        if (!load(m, ip.offset, tag)) {
            return false;
        }
        ether_type = tag.ether_type.host();
        ip.offset += static_cast<std::uint32_t>(sizeof tag);
    }
    if (ether_type == tunnels::kEtherTypeIpv4) {
        return locate_ipv4(m, ip);
    }
    if (ether_type == tunnels::kEtherTypeIpv6) {
        return locate_ipv6(m, ip);
    }
    ip.next_offset = ip.offset;
    ip.end = packet::length(m);
    return true;
}

/// True when the chain of headers leads from the IP header to `protocol` at exactly `l4_offset`.
[[nodiscard]] bool leads_to(
    const rte_mbuf* m, const IpLayout& ip, std::uint8_t protocol, std::uint32_t l4_offset
) noexcept {
    std::uint8_t next = ip.next_header;
    std::uint32_t offset = ip.next_offset;
    while (!ip.is_v4 && offset < l4_offset) {
        std::array<std::byte, 4> extension;
        if (!packet::copy_out(m, offset, extension)) {
            return false;
        }
        // With segments left, the pseudo-header has the final destination, which stands elsewhere
        // (RFC 8200 section 8.1).
        const bool finished_routing = next == kNextRouting && extension[3] == std::byte{0};
        if (next != kNextHopByHop && next != kNextDestination && !finished_routing) {
            return false;
        }
        next = std::to_integer<std::uint8_t>(extension[0]);
        offset += (std::to_integer<std::uint32_t>(extension[1]) + 1) * 8;
    }
    return offset == l4_offset && next == protocol;
}

/// The L4 header of a super-frame at checksum_start; sets header_bytes.
[[nodiscard]] bool judge_l4(const rte_mbuf* m, Offload& offload, const IpLayout& ip) noexcept {
    const bool is_udp = offload.gso_type == GsoType::udp_l4;
    if (offload.gso_bytes == 0 ||
        offload.checksum_offset != (is_udp ? kUdpChecksumOffset : kTcpChecksumOffset)) {
        return false;
    }
    std::uint32_t l4_bytes = sizeof(UdpHeader);
    if (!is_udp) {
        TcpHeader tcp;
        if (!load(m, offload.checksum_start, tcp)) {
            return false;
        }
        l4_bytes = (tcp.words >> 4U) * 4U;
        if (l4_bytes < sizeof tcp) {
            return false;
        }
    }
    const std::uint32_t header_bytes = offload.checksum_start + l4_bytes;
    if (header_bytes > ip.end || header_bytes > UINT16_MAX) {
        return false;
    }
    const std::uint32_t payload_bytes = ip.end - header_bytes;
    offload.header_bytes = static_cast<std::uint16_t>(header_bytes);
    return payload_bytes / offload.gso_bytes < kGsoSegmentsMax;
}

/// The part of judge() for super-frames; sets header_bytes.
[[nodiscard]] bool judge_gso(const rte_mbuf* m, Offload& offload, const IpLayout& ip) noexcept {
    const bool is_udp = offload.gso_type == GsoType::udp_l4;
    const bool is_tcp = (offload.gso_type == GsoType::tcp4 && ip.is_v4) ||
                        (offload.gso_type == GsoType::tcp6 && !ip.is_v4);
    return ip.is_ip && (is_udp || is_tcp) &&
           leads_to(m, ip, is_udp ? kProtocolUdp : kProtocolTcp, offload.checksum_start) &&
           judge_l4(m, offload, ip);
}

/// A super-frame inside a tunnel, as a local kernel's tunnel device hands it over: the request is
/// about the inner packet, which is judged again once it is decapsulated. Here it only must lie
/// behind the outer headers.
[[nodiscard]] bool judge_tunnelled(const rte_mbuf* m, Offload& offload) noexcept {
    IpLayout ip;
    return offload.gso_type != GsoType::none && locate_ip(m, ip) && ip.is_ip && !ip.is_fragment &&
           (ip.next_header == kProtocolUdp || ip.next_header == kProtocolGre) &&
           offload.checksum_start > ip.next_offset + sizeof(UdpHeader) && judge_l4(m, offload, ip);
}

/// Judges `offload` against the frame, wherever its segments split it.
[[nodiscard]] bool judge(const rte_mbuf* m, Offload& offload, IpLayout& ip) noexcept {
    const std::uint32_t field = std::uint32_t{offload.checksum_start} + offload.checksum_offset;
    if (!locate_ip(m, ip) || ip.is_fragment || offload.checksum_start < ip.next_offset ||
        field + kChecksumBytes > ip.end) {
        return false;
    }
    if (offload.gso_type == GsoType::none) {
        offload.gso_bytes = 0;
        offload.header_bytes = 0;
        return true;
    }
    return judge_gso(m, offload, ip);
}

/// Stores what completes `sum` at `field`. UDP has no other way to say 0 (RFC 768).
void store_checksum(
    std::span<std::byte> head, std::size_t field, std::uint64_t sum, bool is_udp
) noexcept {
    const auto folded = static_cast<std::uint16_t>(~tunnels::checksum_fold(sum));
    const std::uint16_t checksum = is_udp && folded == 0 ? std::uint16_t{0xffff} : folded;
    std::memcpy(head.subspan(field, sizeof checksum).data(), &checksum, sizeof checksum);
}

}  // namespace

DropReason validate_offload(const rte_mbuf* m, Offload& offload) noexcept {
    IpLayout ip;
    if (!judge(m, offload, ip) && !judge_tunnelled(m, offload)) {
        return DropReason::offload_malformed;
    }
    const std::uint32_t field_end =
        std::uint32_t{offload.checksum_start} + offload.checksum_offset + kChecksumBytes;
    const bool contiguous =
        std::max<std::uint32_t>(field_end, offload.header_bytes) <= packet::head(m).size();
    return contiguous ? DropReason::none : DropReason::offload_malformed;
}

rte_mbuf* finish_checksum(rte_mbuf* m, rte_mempool* pool) noexcept {
    if (!packet::has_offload(m)) {
        return m;
    }
    Offload offload = packet::offload(m);
    IpLayout ip;
    if (offload.gso_type != GsoType::none || !judge(m, offload, ip)) {
        return nullptr;
    }
    const std::uint32_t field = std::uint32_t{offload.checksum_start} + offload.checksum_offset;
    rte_mbuf* finished = packet::make_writable(m, field + kChecksumBytes, pool);
    if (finished == nullptr) {
        return nullptr;
    }
    // The field holds the pseudo-header's sum, so that it is summed in with the rest.
    const std::uint64_t sum =
        packet::sum(finished, offload.checksum_start, ip.end - offload.checksum_start);
    store_checksum(
        packet::head(finished), field, sum, offload.checksum_offset == kUdpChecksumOffset
    );
    packet::clear_offload(finished);
    return finished;
}

Segmenter::Segmenter(
    rte_mbuf* super_frame, rte_mempool* headers, rte_mempool* shares, Checksums checksums
) noexcept
    : super_frame_(super_frame), headers_(headers), shares_(shares),
      offload_(packet::offload(super_frame)), checksums_(checksums) {
    IpLayout ip;
    if (!packet::has_offload(super_frame) || offload_.gso_type == GsoType::none ||
        !judge(super_frame, offload_, ip)) {
        failed_ = true;
        return;
    }
    const bool is_udp = offload_.gso_type == GsoType::udp_l4;
    const std::uint8_t protocol = is_udp ? kProtocolUdp : kProtocolTcp;
    pseudo_sum_ =
        tunnels::checksum_fold(tunnels::pseudo_header_sum(ip.source, ip.destination, protocol, 0));
    ip_offset_ = ip.offset;
    is_v4_ = ip.is_v4;
    payload_bytes_ = ip.end - offload_.header_bytes;
    payload_ = packet::cursor_at(super_frame, offload_.header_bytes);
}

Segmenter::~Segmenter() {
    rte_pktmbuf_free(super_frame_);
}

rte_mbuf* Segmenter::next() noexcept {
    if (failed_ || done_) {
        return nullptr;
    }
    const std::uint32_t payload_bytes =
        std::min<std::uint32_t>(offload_.gso_bytes, payload_bytes_ - position_);
    rte_mbuf* segment = packet::create(super_frame_, offload_.header_bytes, headers_);
    if (segment == nullptr || !packet::copy_out(super_frame_, 0, packet::head(segment)) ||
        !packet::append_shared(segment, payload_, payload_bytes, shares_)) {
        rte_pktmbuf_free(segment);
        failed_ = true;
        return nullptr;
    }
    position_ += payload_bytes;
    done_ = position_ == payload_bytes_;
    finish(segment, payload_bytes);
    ++index_;
    return segment;
}

/// Writes what differs from the super-frame's headers, of which `segment` begins with a copy:
///  1. IP length, and for IPv4 the identification and header checksum.
///  2. TCP sequence number and flags, or UDP length.
///  3. The L4 checksum over new pseudo-header, L4 header and payload.
/// Precondition: position_ and done_ are those behind this segment.
void Segmenter::finish(rte_mbuf* segment, std::uint32_t payload_bytes) const noexcept {
    const std::span<std::byte> head = packet::head(segment);
    const std::uint32_t ip_bytes = packet::length(segment) - ip_offset_;
    const std::uint32_t l4_bytes = packet::length(segment) - offload_.checksum_start;
    if (is_v4_) {
        auto ip = header_at<Ipv4Header>(head, ip_offset_);
        ip.total_length = Be16(static_cast<std::uint16_t>(ip_bytes));
        ip.identification = Be16(static_cast<std::uint16_t>(ip.identification.host() + index_));
        ip.checksum = Be16();
        store_at(head, ip_offset_, ip);
        const std::size_t header_bytes = (ip.version_ihl & 0x0fU) * std::size_t{4};
        const std::uint64_t sum = tunnels::checksum_add(0, head.subspan(ip_offset_, header_bytes));
        store_checksum(head, ip_offset_ + offsetof(Ipv4Header, checksum), sum, false);
    } else {
        auto ip = header_at<Ipv6Header>(head, ip_offset_);
        ip.payload_length = Be16(static_cast<std::uint16_t>(ip_bytes - sizeof(Ipv6Header)));
        store_at(head, ip_offset_, ip);
    }
    const bool is_udp = offload_.gso_type == GsoType::udp_l4;
    const Be16 l4_length(static_cast<std::uint16_t>(l4_bytes));
    if (is_udp) {
        auto udp = header_at<UdpHeader>(head, offload_.checksum_start);
        udp.length = l4_length;
        udp.checksum = Be16();
        store_at(head, offload_.checksum_start, udp);
    } else {
        auto tcp = header_at<TcpHeader>(head, offload_.checksum_start);
        tcp.sequence = Be32(tcp.sequence.host() + (position_ - payload_bytes));
        const unsigned not_last = done_ ? 0U : kTcpFin | kTcpPush;
        const unsigned not_first = index_ == 0 ? 0U : kTcpCongestionWindowReduced;
        tcp.flags = static_cast<std::uint8_t>(tcp.flags & ~(not_last | not_first));
        tcp.checksum = Be16();
        store_at(head, offload_.checksum_start, tcp);
    }
    const std::size_t field = std::size_t{offload_.checksum_start} + offload_.checksum_offset;
    if (checksums_ == Checksums::pending) {
        const std::uint16_t pseudo =
            tunnels::checksum_fold(std::uint64_t{pseudo_sum_} + l4_length.memory_order());
        std::memcpy(head.subspan(field, sizeof pseudo).data(), &pseudo, sizeof pseudo);
        packet::set_offload(
            segment,
            {.checksum_start = offload_.checksum_start, .checksum_offset = offload_.checksum_offset}
        );
        return;
    }
    // Folded before they are added: an unfolded sum may use all 64 bits.
    const std::uint64_t sum =
        std::uint64_t{pseudo_sum_} + l4_length.memory_order() +
        tunnels::checksum_fold(packet::sum(segment, offload_.checksum_start, l4_bytes));
    store_checksum(head, field, sum, is_udp);
}

}  // namespace culvert::dataplane
