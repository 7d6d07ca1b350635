// SPDX-License-Identifier: GPL-2.0-or-later
//
// What may be gathered: the receiver, or whoever cuts the super-frame again, has to get the packets
// back that it would have got one by one. RFC 791 and 6864 (identification), 8200, 9293, 768, 3168;
// virtio 1.2 section 5.1.6 for the request. See bundle.hpp.

#include "dataplane/bundle.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"

namespace culvert::dataplane {
namespace {

using tunnels::Be16;
using tunnels::IpAddress;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;
using tunnels::UdpHeader;

constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kTagBytes = 4;
constexpr unsigned kTagsMax = 2;
constexpr std::uint32_t kIpBytesMax = 65535;

// Fields of a TCP header (RFC 9293 section 3.1).
constexpr std::uint32_t kTcpHeaderBytesMin = 20;
constexpr std::uint32_t kTcpSequence = 4;
constexpr std::uint32_t kTcpAcknowledgment = 8;
constexpr std::uint32_t kTcpFlags = 13;
constexpr std::uint32_t kTcpWindow = 14;
constexpr std::uint8_t kTcpChecksum = 16;
constexpr std::uint32_t kTcpUrgent = 18;
constexpr unsigned kTcpAck = 0x10;
constexpr unsigned kTcpPush = 0x08;
constexpr std::uint8_t kUdpChecksum = offsetof(UdpHeader, checksum);

/// A TCP segment with data, or a UDP packet, and nothing unusual about it.
struct Segment {
    const std::byte* head = nullptr;
    std::uint16_t ip_offset = 0;
    std::uint16_t l4_offset = 0;
    std::uint16_t header_bytes = 0;  ///< Ethernet to the end of the L4 header.
    bool is_v4 = false;
    bool is_udp = false;
    std::uint32_t payload_bytes = 0;
};

std::uint16_t load16(const std::byte* at) noexcept {
    return tunnels::load<Be16>(at).host();
}

std::uint32_t load32(const std::byte* at) noexcept {
    return tunnels::load<tunnels::Be32>(at).host();
}

bool same(const std::byte* a, const std::byte* b, std::size_t from, std::size_t to) noexcept {
    return std::memcmp(a + from, b + from, to - from) == 0;
}

/// Sets what the IP header says and returns the protocol; 0 when it is not one to gather.
std::uint8_t
read_ip(std::span<const std::byte> head, std::uint32_t packet_bytes, Segment& segment) noexcept {
    std::uint32_t offset = kEthernetBytes;
    std::uint16_t type = load16(head.data() + offset - 2);
    for (unsigned tags = 0; tags < kTagsMax && (type == tunnels::kEtherTypeVlan ||
                                                type == tunnels::kEtherTypeServiceVlan);
         ++tags) {
        offset += kTagBytes;
        if (head.size() < offset) {
            return 0;
        }
        type = load16(head.data() + offset - 2);
    }
    segment.ip_offset = static_cast<std::uint16_t>(offset);
    const std::byte* ip = head.data() + offset;
    if (type == tunnels::kEtherTypeIpv4 && head.size() >= offset + sizeof(Ipv4Header)) {
        const auto header = tunnels::load<Ipv4Header>(ip);
        // Bit 15 is reserved; 0x45: no options.
        const bool plain = header.version_ihl == 0x45 &&
                           (header.flags_fragment.host() & ~tunnels::kIpv4DontFragment) == 0 &&
                           offset + header.total_length.host() == packet_bytes;
        segment.is_v4 = true;
        segment.l4_offset = static_cast<std::uint16_t>(offset + sizeof header);
        return plain ? header.protocol : std::uint8_t{0};
    }
    if (type == tunnels::kEtherTypeIpv6 && head.size() >= offset + sizeof(Ipv6Header)) {
        const auto header = tunnels::load<Ipv6Header>(ip);
        segment.l4_offset = static_cast<std::uint16_t>(offset + sizeof header);
        const bool plain = header.version_class_label.host() >> 28U == 6 &&
                           segment.l4_offset + header.payload_length.host() == packet_bytes;
        return plain ? header.next_header : std::uint8_t{0};
    }
    return 0;
}

std::optional<Segment> read_segment(const rte_mbuf* packet, bool trains) noexcept {
    const bool is_train = packet::is_encapsulated(packet);
    const auto head = packet::head(packet);
    if (packet::has_offload(packet) || (is_train && !trains) || head.size() < kEthernetBytes) {
        return std::nullopt;
    }
    Segment segment;
    segment.head = head.data();
    const std::uint8_t protocol = read_ip(head, packet::length(packet), segment);
    if (protocol != (is_train ? kProtocolUdp : kProtocolTcp)) {
        return std::nullopt;
    }
    segment.is_udp = is_train;
    std::uint32_t l4_bytes = sizeof(UdpHeader);
    if (!is_train) {
        if (head.size() < segment.l4_offset + kTcpHeaderBytesMin) {
            return std::nullopt;
        }
        const std::byte* tcp = segment.head + segment.l4_offset;
        l4_bytes = (std::to_integer<std::uint32_t>(tcp[12]) >> 4U) * 4U;
        const unsigned flags = std::to_integer<unsigned>(tcp[kTcpFlags]);
        if (l4_bytes < kTcpHeaderBytesMin || (flags & ~kTcpPush) != kTcpAck) {
            return std::nullopt;
        }
    }
    segment.header_bytes = static_cast<std::uint16_t>(segment.l4_offset + l4_bytes);
    if (segment.header_bytes >= packet::length(packet) || segment.header_bytes > head.size()) {
        return std::nullopt;
    }
    segment.payload_bytes = packet::length(packet) - segment.header_bytes;
    return segment;
}

IpAddress ip_address(const Segment& segment, bool source) noexcept {
    const std::byte* ip = segment.head + segment.ip_offset;
    if (segment.is_v4) {
        return IpAddress::from_v4(ip + (source ? 12 : 16));
    }
    return IpAddress::from_v6(ip + (source ? 8 : 24));
}

std::uint64_t pseudo_sum(const Segment& segment, std::uint32_t l4_bytes) noexcept {
    return tunnels::pseudo_header_sum(
        ip_address(segment, true),
        ip_address(segment, false),
        segment.is_udp ? kProtocolUdp : kProtocolTcp,
        l4_bytes
    );
}

/// Checksums that the receiver will not look at any more. Those of a packet that the switch
/// encapsulated are its own.
bool is_intact(const rte_mbuf* packet, const Segment& segment) noexcept {
    if (segment.is_udp) {
        return true;
    }
    if (segment.is_v4 && tunnels::checksum_fold(tunnels::checksum_add(
                             0, {segment.head + segment.ip_offset, sizeof(Ipv4Header)}
                         )) != 0xffff) {
        return false;
    }
    const std::uint32_t l4_bytes = packet::length(packet) - segment.l4_offset;
    return tunnels::checksum_fold(tunnels::checksum_sum(
               pseudo_sum(segment, l4_bytes), packet::sum(packet, segment.l4_offset, l4_bytes)
           )) == 0xffff;
}

/// Whether `next` is the `index`-th packet behind `first`, as far as IP goes.
bool follows_in_ip(const Segment& first, const Segment& next, std::size_t index) noexcept {
    const std::byte* a = first.head + first.ip_offset;
    const std::byte* b = next.head + next.ip_offset;
    if (!first.is_v4) {
        return same(a, b, 0, 4) && same(a, b, 6, sizeof(Ipv6Header));
    }
    // Whoever cuts the super-frame counts identifications up. Without DF they must be what they
    // were; with it they mean nothing (RFC 6864 section 4.1).
    const auto identification = static_cast<std::uint16_t>(load16(a + 4) + index);
    const bool atomic = (load16(a + 6) & tunnels::kIpv4DontFragment) != 0;
    return same(a, b, 0, 2) && same(a, b, 6, 10) && same(a, b, 12, sizeof(Ipv4Header)) &&
           (atomic || load16(b + 4) == identification);
}

bool follows_in_l4(const Segment& first, const Segment& next, std::uint32_t bytes_before) noexcept {
    const std::byte* a = first.head + first.l4_offset;
    const std::byte* b = next.head + next.l4_offset;
    if (!same(a, b, 0, 4)) {
        return false;
    }
    if (first.is_udp) {
        return (load16(a + kUdpChecksum) == 0) == (load16(b + kUdpChecksum) == 0);
    }
    const unsigned flags = std::to_integer<unsigned>(b[kTcpFlags]) & ~kTcpPush;
    return load32(b + kTcpSequence) == load32(a + kTcpSequence) + bytes_before &&
           same(a, b, kTcpAcknowledgment, kTcpFlags) &&
           flags == std::to_integer<unsigned>(a[kTcpFlags]) &&
           same(a, b, kTcpWindow, kTcpChecksum) &&
           same(a, b, kTcpUrgent, first.header_bytes - std::size_t{first.l4_offset});
}

bool is_pushed(const Segment& segment) noexcept {
    return !segment.is_udp &&
           (segment.head[segment.l4_offset + kTcpFlags] & std::byte{kTcpPush}) != std::byte{0};
}

/// Precondition: `next` and `first` are packets that read_segment() took.
bool follows(
    const Segment& first, const Segment& next, std::size_t index, std::uint32_t bytes_before
) noexcept {
    return next.is_udp == first.is_udp && next.is_v4 == first.is_v4 &&
           next.ip_offset == first.ip_offset && next.header_bytes == first.header_bytes &&
           next.payload_bytes <= first.payload_bytes &&
           first.header_bytes - first.ip_offset + bytes_before + next.payload_bytes <=
               kIpBytesMax &&
           same(first.head, next.head, 0, first.ip_offset) && follows_in_ip(first, next, index) &&
           follows_in_l4(first, next, bytes_before);
}

/// The headers of the super-frame: lengths of the whole, a pending checksum, the last one's PSH.
void write_headers(
    const Segment& first, std::uint32_t payload_bytes, bool pushed, Bundle& bundle
) noexcept {
    std::byte* head = bundle.header.data();
    std::memcpy(head, first.head, first.header_bytes);
    const std::uint32_t l4_bytes = first.header_bytes - first.l4_offset + payload_bytes;
    if (first.is_v4) {
        auto ip = tunnels::load<Ipv4Header>(head + first.ip_offset);
        ip.total_length = Be16(static_cast<std::uint16_t>(sizeof ip + l4_bytes));
        ip.checksum = Be16();
        tunnels::store(head + first.ip_offset, ip);
        const auto checksum = static_cast<std::uint16_t>(
            ~tunnels::checksum_fold(tunnels::checksum_add(0, {head + first.ip_offset, sizeof ip}))
        );
        std::memcpy(
            head + first.ip_offset + offsetof(Ipv4Header, checksum), &checksum, sizeof checksum
        );
    } else {
        tunnels::store(
            head + first.ip_offset + offsetof(Ipv6Header, payload_length),
            Be16(static_cast<std::uint16_t>(l4_bytes))
        );
    }
    std::byte* l4 = head + first.l4_offset;
    if (first.is_udp) {
        tunnels::store(
            l4 + offsetof(UdpHeader, length), Be16(static_cast<std::uint16_t>(l4_bytes))
        );
    } else if (pushed) {
        l4[kTcpFlags] |= std::byte{kTcpPush};
    }
    const std::uint16_t pending = tunnels::checksum_fold(pseudo_sum(first, l4_bytes));
    const std::uint8_t field = first.is_udp ? kUdpChecksum : kTcpChecksum;
    std::memcpy(l4 + field, &pending, sizeof pending);
    bundle.header_bytes = first.header_bytes;
    bundle.is_train = first.is_udp;
    bundle.virtio.flags = kVirtioNeedsChecksum;
    bundle.virtio.gso_type = first.is_udp  ? kVirtioGsoUdpL4
                             : first.is_v4 ? kVirtioGsoTcp4
                                           : kVirtioGsoTcp6;
    bundle.virtio.header_bytes = first.header_bytes;
    bundle.virtio.gso_bytes = static_cast<std::uint16_t>(first.payload_bytes);
    bundle.virtio.checksum_start = first.l4_offset;
    bundle.virtio.checksum_offset = field;
}

}  // namespace

void gather_alone(const rte_mbuf* packet, Bundle& bundle) noexcept {
    bundle.packets = 1;
    bundle.header_bytes = 0;
    bundle.is_train = false;
    bundle.virtio = write_virtio_header(packet);
}

void gather(std::span<rte_mbuf* const> burst, bool trains, Bundle& bundle) noexcept {
    gather_alone(burst.front(), bundle);
    const std::optional<Segment> first =
        burst.size() > 1 ? read_segment(burst.front(), trains) : std::nullopt;
    if (!first || is_pushed(*first)) {
        return;
    }
    std::size_t vectors = 2 + std::size_t{burst.front()->nb_segs};
    std::uint32_t payload_bytes = first->payload_bytes;
    bool pushed = false;
    std::size_t count = 1;
    bool closed = false;
    while (!closed && count < burst.size()) {
        const rte_mbuf* packet = burst[count];
        const std::optional<Segment> next = read_segment(packet, trains);
        vectors += packet->nb_segs;
        if (!next || vectors > kBundleVectorsMax || !follows(*first, *next, count, payload_bytes) ||
            !is_intact(packet, *next) || (count == 1 && !is_intact(burst.front(), *first))) {
            break;
        }
        payload_bytes += next->payload_bytes;
        pushed = is_pushed(*next);
        closed = pushed || next->payload_bytes < first->payload_bytes;
        ++count;
    }
    if (count > 1) {
        bundle.packets = count;
        write_headers(*first, payload_bytes, pushed, bundle);
    }
}

std::size_t vector_count(const Bundle& bundle, std::span<rte_mbuf* const> burst) noexcept {
    std::size_t count = bundle.header_bytes == 0 ? 1 : 2;
    for (const rte_mbuf* packet : burst.first(bundle.packets)) {
        count += packet->nb_segs;
    }
    return count;
}

std::size_t
write_vectors(Bundle& bundle, std::span<rte_mbuf* const> burst, std::span<iovec> vectors) noexcept {
    std::size_t count = 0;
    vectors[count++] = {&bundle.virtio, sizeof bundle.virtio};
    if (bundle.header_bytes != 0) {
        vectors[count++] = {bundle.header.data(), bundle.header_bytes};
    }
    for (rte_mbuf* packet : burst.first(bundle.packets)) {
        std::uint32_t skip = bundle.header_bytes;  // All in the first segment.
        for (rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
            const std::uint32_t bytes = segment->data_len - skip;
            if (bytes != 0) {
                vectors[count++] = {rte_pktmbuf_mtod_offset(segment, void*, skip), bytes};
            }
            skip = 0;
        }
    }
    return count;
}

}  // namespace culvert::dataplane
