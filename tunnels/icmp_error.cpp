// SPDX-License-Identifier: GPL-2.0-or-later
//
// ICMP errors about frames that are not ours. A sender is not trusted: nothing is answered that
// could make two hosts answer each other, or one host many. Bytes in, bytes out.
#include "tunnels/icmp_error.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"

namespace culvert::tunnels {
namespace {

constexpr std::uint8_t kProtocolIcmp = 1;
constexpr std::uint8_t kProtocolIcmpv6 = 58;
constexpr std::uint8_t kNextHopByHop = 0;
constexpr std::uint8_t kNextRouting = 43;
constexpr std::uint8_t kNextFragment = 44;
constexpr std::uint8_t kNextDestination = 60;
/// Extension headers that are followed; a packet with more is not answered.
constexpr unsigned kExtensionsMax = 8;

constexpr std::uint8_t kIcmpUnreachable = 3;
constexpr std::uint8_t kIcmpFragmentationNeeded = 4;
constexpr std::uint8_t kIcmpTimeExceeded = 11;
constexpr std::uint8_t kIcmpv6TooBig = 2;
constexpr std::uint8_t kIcmpv6TimeExceeded = 3;
constexpr std::uint8_t kIcmpv6FirstInformational = 128;

constexpr std::uint8_t kErrorTtl = 64;
/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
constexpr std::uint8_t kErrorTos = 0xc0;

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +---------------+---------------+-------------------------------+
// |     type      |     code      |           checksum            |
// +---------------+---------------+-------------------------------+
// |     MTU (ICMPv6), or unused and the MTU in 16 bits (ICMP)     |
// +---------------------------------------------------------------+
struct IcmpHeader {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    Be16 checksum;
    Be32 mtu;
};
static_assert(WireHeader<IcmpHeader> && sizeof(IcmpHeader) == 8);

/// An IP packet that may be answered.
struct Offending {
    bool answerable = false;
    IpAddress source;
    IpAddress destination;
    std::size_t bytes = 0;  ///< Contiguous ones, without Ethernet padding.
};

/// Stands for one host: not this-network, loopback, multicast, reserved or broadcast (RFC 1122
/// section 3.2.1.3).
bool is_host(const std::array<std::uint8_t, 4>& address) noexcept {
    return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

bool is_host(const std::array<std::uint8_t, 16>& address) noexcept {
    const bool zeroes =
        std::all_of(address.begin(), address.end() - 1, [](std::uint8_t b) { return b == 0; });
    const bool unset_or_loopback = zeroes && address[15] <= 1;
    return address[0] != 0xff && !unset_or_loopback;
}

/// Queries and their answers; the rest are errors, or unknown.
bool is_icmp_query(std::uint8_t type) noexcept {
    return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

Offending judge_ipv4(std::span<const std::byte> ip) noexcept {
    if (ip.size() < sizeof(Ipv4Header)) {
        return {};
    }
    const auto header = load<Ipv4Header>(ip.data());
    const std::size_t header_bytes = (header.version_ihl & 0xfU) * std::size_t{4};
    const std::size_t total = header.total_length.host();
    if (header.version_ihl >> 4U != 4 || header_bytes < sizeof(Ipv4Header) ||
        header_bytes > ip.size() || total < header_bytes ||
        checksum_fold(checksum_add(0, ip.first(header_bytes))) != 0xffff) {
        return {};
    }
    if ((header.flags_fragment.host() & kIpv4FragmentOffsetMask) != 0 || !is_host(header.source) ||
        !is_host(header.destination)) {
        return {};
    }
    const std::size_t bytes = std::min(ip.size(), total);
    if (header.protocol == kProtocolIcmp &&
        (bytes == header_bytes || !is_icmp_query(std::to_integer<std::uint8_t>(ip[header_bytes]))
        )) {
        return {};
    }
    return {
        .answerable = true,
        .source = IpAddress::from_v4(header.source.data()),
        .destination = IpAddress::from_v4(header.destination.data()),
        .bytes = bytes};
}

/// Whether the headers behind the fixed one lead to something that may be answered: no ICMPv6
/// error, no later fragment.
bool is_answerable_v6(std::uint8_t next, std::span<const std::byte> rest) noexcept {
    for (unsigned i = 0; i < kExtensionsMax; ++i) {
        if (next == kProtocolIcmpv6) {
            return !rest.empty() &&
                   std::to_integer<std::uint8_t>(rest[0]) >= kIcmpv6FirstInformational;
        }
        const bool is_fragment = next == kNextFragment;
        if (!is_fragment && next != kNextHopByHop && next != kNextRouting &&
            next != kNextDestination) {
            return true;
        }
        if (rest.size() < 8) {
            return false;
        }
        // The offset is the upper 13 bits of the second word (RFC 8200 section 4.5).
        if (is_fragment && (load<Be16>(rest.data() + 2).host() >> 3U) != 0) {
            return false;
        }
        const std::size_t bytes = is_fragment ? 8 : (std::to_integer<std::size_t>(rest[1]) + 1) * 8;
        if (bytes > rest.size()) {
            return false;
        }
        next = std::to_integer<std::uint8_t>(rest[0]);
        rest = rest.subspan(bytes);
    }
    return false;
}

Offending judge_ipv6(std::span<const std::byte> ip) noexcept {
    if (ip.size() < sizeof(Ipv6Header)) {
        return {};
    }
    const auto header = load<Ipv6Header>(ip.data());
    // RFC 4443 would allow "packet too big" about multicast; its source would have to be an address
    // that a bridge has not.
    if (header.version_class_label.host() >> 28U != 6 || !is_host(header.source) ||
        !is_host(header.destination)) {
        return {};
    }
    const std::size_t bytes =
        std::min(ip.size(), sizeof(Ipv6Header) + std::size_t{header.payload_length.host()});
    if (!is_answerable_v6(header.next_header, ip.first(bytes).subspan(sizeof(Ipv6Header)))) {
        return {};
    }
    return {
        .answerable = true,
        .source = IpAddress::from_v6(header.source.data()),
        .destination = IpAddress::from_v6(header.destination.data()),
        .bytes = bytes};
}

void store_checksum(std::byte* field, std::uint64_t sum) noexcept {
    const auto checksum = static_cast<std::uint16_t>(~checksum_fold(sum));
    std::memcpy(field, &checksum, sizeof checksum);
}

/// Both write the packet into `ip`, which has exactly its length, with `quote` at its end.
void write_ipv4(
    const IcmpErrorRequest& request,
    const IpAddress& from,
    const IpAddress& to,
    std::span<const std::byte> quote,
    std::span<std::byte> ip
) noexcept {
    Ipv4Header header;
    header.version_ihl = 0x45;
    header.tos = kErrorTos;
    header.total_length = Be16(static_cast<std::uint16_t>(ip.size()));
    header.ttl = kErrorTtl;
    header.protocol = kProtocolIcmp;
    std::memcpy(header.source.data(), from.v4(), header.source.size());
    std::memcpy(header.destination.data(), to.v4(), header.destination.size());
    store(ip.data(), header);
    store_checksum(
        ip.data() + offsetof(Ipv4Header, checksum), checksum_add(0, ip.first(sizeof header))
    );

    IcmpHeader icmp;
    icmp.type = kIcmpTimeExceeded;
    if (request.error == IcmpError::too_big) {
        icmp.type = kIcmpUnreachable;
        icmp.code = kIcmpFragmentationNeeded;
        icmp.mtu = Be32(std::min(request.mtu, std::uint32_t{0xffff}));
    }
    const std::span<std::byte> message = ip.subspan(sizeof header);
    store(message.data(), icmp);
    std::memcpy(message.data() + sizeof icmp, quote.data(), quote.size());
    store_checksum(message.data() + offsetof(IcmpHeader, checksum), checksum_add(0, message));
}

void write_ipv6(
    const IcmpErrorRequest& request,
    const IpAddress& from,
    const IpAddress& to,
    std::span<const std::byte> quote,
    std::span<std::byte> ip
) noexcept {
    const std::size_t message_bytes = ip.size() - sizeof(Ipv6Header);
    Ipv6Header header;
    header.version_class_label = Be32(0x60000000U | std::uint32_t{kErrorTos} << 20U);
    header.payload_length = Be16(static_cast<std::uint16_t>(message_bytes));
    header.next_header = kProtocolIcmpv6;
    header.hop_limit = kErrorTtl;
    header.source = from.bytes;
    header.destination = to.bytes;
    store(ip.data(), header);

    IcmpHeader icmp;
    icmp.type = kIcmpv6TimeExceeded;
    if (request.error == IcmpError::too_big) {
        icmp.type = kIcmpv6TooBig;
        icmp.mtu = Be32(request.mtu);
    }
    const std::span<std::byte> message = ip.subspan(sizeof header);
    store(message.data(), icmp);
    std::memcpy(message.data() + sizeof icmp, quote.data(), quote.size());
    const std::uint64_t pseudo =
        pseudo_header_sum(from, to, kProtocolIcmpv6, static_cast<std::uint32_t>(message_bytes));
    store_checksum(message.data() + offsetof(IcmpHeader, checksum), checksum_add(pseudo, message));
}

}  // namespace

std::size_t write_icmp_error(
    std::span<const std::byte> head, const IcmpErrorRequest& request, std::span<std::byte> out
) noexcept {
    const std::size_t link_bytes = request.ip_offset;
    if (link_bytes < sizeof(EthernetHeader) || head.size() < link_bytes) {
        return 0;
    }
    auto ethernet = load<EthernetHeader>(head.data());
    if (ethernet.destination.is_group() || ethernet.source.is_group()) {
        return 0;
    }
    const auto ether_type = load<Be16>(head.data() + link_bytes - sizeof(Be16));
    const bool is_v4 = ether_type == Be16(kEtherTypeIpv4);
    if (!is_v4 && ether_type != Be16(kEtherTypeIpv6)) {
        return 0;
    }
    const auto ip = head.subspan(link_bytes);
    const Offending offending = is_v4 ? judge_ipv4(ip) : judge_ipv6(ip);
    const IpAddress from = request.source.value_or(offending.destination);
    if (!offending.answerable || (is_v4 && !from.is_v4())) {
        return 0;
    }
    const std::size_t header_bytes = (is_v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)) + 8;
    const std::size_t limit = is_v4 ? kIcmpv4ErrorBytesMax : kIcmpv6ErrorBytesMax;
    const std::size_t quote_bytes = std::min(offending.bytes, limit - header_bytes);
    const std::size_t frame_bytes = link_bytes + header_bytes + quote_bytes;
    if (frame_bytes > out.size()) {
        return 0;
    }
    std::swap(ethernet.destination, ethernet.source);
    std::memcpy(out.data(), head.data(), link_bytes);
    store(out.data(), ethernet);
    const auto write = is_v4 ? write_ipv4 : write_ipv6;
    write(
        request,
        from,
        offending.source,
        ip.first(quote_bytes),
        out.subspan(link_bytes, header_bytes + quote_bytes)
    );
    return frame_bytes;
}

}  // namespace culvert::tunnels
