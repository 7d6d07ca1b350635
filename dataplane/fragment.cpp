// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fragmentation. rte_ip_frag's is not used: it refuses DF, gives every IPv6 fragment the
// identification 0, makes an empty last fragment (perhaps behind the end of its array) when a
// packet ends with an empty segment, and drops the mbuf's metadata. Any thread.
#include "dataplane/fragment.hpp"

#include <algorithm>
#include <cstring>

#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"

namespace culvert::dataplane {
namespace {

using tunnels::Be16;
using tunnels::Be32;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;

constexpr std::uint8_t kNextHopByHop = 0;
constexpr std::uint8_t kNextRouting = 43;
constexpr std::uint8_t kNextFragment = 44;
constexpr std::uint8_t kNextDestination = 60;
constexpr std::uint32_t kIpv4MtuMin = 68;
constexpr std::uint32_t kIpv6MtuMin = 1280;
constexpr std::uint16_t kIpv4MoreFragments = 0x2000;
constexpr std::uint32_t kUnitBytes = 8;  ///< Offsets count these, in both versions.

//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +---------------+---------------+-------------------------+---+-+
// |  next header  |   reserved    |     fragment offset     | 0 |M|
// +---------------+---------------+-------------------------+---+-+
// |                        identification                         |
// +---------------------------------------------------------------+
struct FragmentHeader {
    std::uint8_t next_header = 0;
    std::uint8_t reserved = 0;
    Be16 offset_more;
    Be32 identification;
};
static_assert(tunnels::WireHeader<FragmentHeader> && sizeof(FragmentHeader) == kUnitBytes);

constexpr std::size_t kHeaderBytesMax = tunnels::kIpv4HeaderBytesMax;
static_assert(kHeaderBytesMax >= sizeof(Ipv6Header) + sizeof(FragmentHeader));

/// The headers of all fragments of a packet; lengths, offsets and checksums are still missing.
struct Plan {
    bool is_v4 = false;
    std::array<std::byte, kHeaderBytesMax> first{};
    std::size_t first_bytes = 0;
    std::array<std::byte, kHeaderBytesMax> later{};
    std::size_t later_bytes = 0;
    std::uint32_t header_bytes = 0;   ///< IP header of the packet itself.
    std::uint32_t payload_bytes = 0;  ///< Behind it.
    std::uint16_t offset_units = 0;   ///< Of the packet, when it is a fragment already.
    bool more = false;                ///< Likewise.
};

/// The options of `from` that belong into every fragment (RFC 791 section 3.1: the copied flag), in
/// whole words. Returns their length.
std::size_t copy_options(std::span<const std::byte> from, std::byte* to) noexcept {
    constexpr std::byte kEnd{0};
    constexpr std::byte kNop{1};
    constexpr std::byte kCopied{0x80};
    std::size_t copied = 0;
    while (!from.empty() && from[0] != kEnd) {
        std::size_t bytes = 1;
        if (from[0] != kNop) {
            bytes = from.size() < 2 ? 0 : std::to_integer<std::size_t>(from[1]);
            if (bytes < 2 || bytes > from.size()) {
                break;
            }
            if ((from[0] & kCopied) != std::byte{0}) {
                std::memcpy(to + copied, from.data(), bytes);
                copied += bytes;
            }
        }
        from = from.subspan(bytes);
    }
    const std::size_t padded = (copied + 3) / 4 * 4;
    std::memset(to + copied, 0, padded - copied);
    return padded;
}

/// Both return the bytes of the IP packet, or 0 when it cannot be cut.
std::uint32_t
plan_ipv4(std::span<const std::byte> ip, const FragmentRequest& request, Plan& plan) noexcept {
    if (ip.size() < sizeof(Ipv4Header)) {
        return 0;
    }
    auto header = tunnels::load<Ipv4Header>(ip.data());
    const std::size_t header_bytes = (header.version_ihl & 0xfU) * std::size_t{4};
    const std::uint32_t total = header.total_length.host();
    if (header_bytes < sizeof header || header_bytes > ip.size() || total < header_bytes) {
        return 0;
    }
    const std::uint16_t flags = header.flags_fragment.host();
    const bool has_df = (flags & tunnels::kIpv4DontFragment) != 0;
    if (total > request.mtu && ((has_df && !request.ignore_df) || request.mtu < kIpv4MtuMin)) {
        return 0;
    }
    const std::uint32_t offset_bytes =
        (flags & tunnels::kIpv4FragmentOffsetMask) * std::uint32_t{kUnitBytes};
    if (offset_bytes + total > UINT16_MAX) {
        return 0;
    }
    plan.is_v4 = true;
    plan.more = (flags & kIpv4MoreFragments) != 0;
    plan.offset_units = flags & tunnels::kIpv4FragmentOffsetMask;
    plan.header_bytes = static_cast<std::uint32_t>(header_bytes);
    plan.payload_bytes = total - plan.header_bytes;
    if (has_df) {
        header.identification = Be16(static_cast<std::uint16_t>(request.identification));
    }
    const auto options = ip.subspan(sizeof header, header_bytes - sizeof header);
    tunnels::store(plan.first.data(), header);
    std::copy(options.begin(), options.end(), plan.first.begin() + sizeof header);
    plan.first_bytes = header_bytes;
    plan.later_bytes = sizeof header + copy_options(options, plan.later.data() + sizeof header);
    header.version_ihl = static_cast<std::uint8_t>(0x40U | plan.later_bytes / 4);
    tunnels::store(plan.later.data(), header);
    return total;
}

std::uint32_t
plan_ipv6(std::span<const std::byte> ip, const FragmentRequest& request, Plan& plan) noexcept {
    if (ip.size() < sizeof(Ipv6Header)) {
        return 0;
    }
    auto header = tunnels::load<Ipv6Header>(ip.data());
    plan.header_bytes = sizeof header;
    plan.payload_bytes = header.payload_length.host();
    const std::uint32_t total = plan.header_bytes + plan.payload_bytes;
    const std::uint8_t next = header.next_header;
    if (total > request.mtu &&
        (request.mtu < kIpv6MtuMin || next == kNextHopByHop || next == kNextRouting ||
         next == kNextFragment || next == kNextDestination)) {
        return 0;
    }
    FragmentHeader fragment;
    fragment.next_header = next;
    fragment.identification = Be32(request.identification);
    header.next_header = kNextFragment;
    tunnels::store(plan.first.data(), header);
    tunnels::store(plan.first.data() + sizeof header, fragment);
    plan.first_bytes = sizeof header + sizeof fragment;
    plan.later = plan.first;
    plan.later_bytes = plan.first_bytes;
    return total;
}

/// Completes the header at `ip` of the fragment that has `bytes` of payload from `position` on.
void finish_header(
    const Plan& plan, std::span<std::byte> ip, std::uint32_t position, std::uint32_t bytes
) noexcept {
    const bool more = position + bytes < plan.payload_bytes || plan.more;
    const auto units = static_cast<std::uint16_t>(plan.offset_units + position / kUnitBytes);
    const auto l3_bytes = static_cast<std::uint16_t>(ip.size() + bytes);
    if (!plan.is_v4) {
        const auto length = static_cast<std::uint16_t>(l3_bytes - sizeof(Ipv6Header));
        const auto offset_more =
            static_cast<std::uint16_t>(std::uint32_t{units} << 3U | (more ? 1U : 0U));
        tunnels::store(ip.data() + offsetof(Ipv6Header, payload_length), Be16(length));
        tunnels::store(
            ip.data() + sizeof(Ipv6Header) + offsetof(FragmentHeader, offset_more),
            Be16(offset_more)
        );
        return;
    }
    const auto flags = static_cast<std::uint16_t>(units | (more ? kIpv4MoreFragments : 0U));
    tunnels::store(ip.data() + offsetof(Ipv4Header, total_length), Be16(l3_bytes));
    tunnels::store(ip.data() + offsetof(Ipv4Header, flags_fragment), Be16(flags));
    tunnels::store(ip.data() + offsetof(Ipv4Header, checksum), Be16{});
    const auto sum = tunnels::checksum_fold(tunnels::checksum_add(0, ip));
    const auto checksum = static_cast<std::uint16_t>(~sum);
    std::memcpy(ip.data() + offsetof(Ipv4Header, checksum), &checksum, sizeof checksum);
}

void free_all(FragmentList& fragments) noexcept {
    for (rte_mbuf* fragment : fragments.span()) {
        rte_pktmbuf_free(fragment);
    }
    fragments.count = 0;
}

}  // namespace

bool fragment_packet(
    rte_mbuf* m,
    const FragmentRequest& request,
    rte_mempool* headers,
    rte_mempool* shares,
    FragmentList& fragments
) noexcept {
    const std::span<const std::byte> head = packet::head(m);
    const std::uint32_t link_bytes = request.ip_offset;
    if (head.size() <= link_bytes) {
        return false;
    }
    const auto ip = head.subspan(link_bytes);
    const unsigned version = std::to_integer<unsigned>(ip[0]) >> 4U;
    Plan plan;
    std::uint32_t total = 0;
    if (version == 4) {
        total = plan_ipv4(ip, request, plan);
    } else if (version == 6) {
        total = plan_ipv6(ip, request, plan);
    }
    if (total == 0 || total > packet::length(m) - link_bytes) {
        return false;
    }
    if (total <= request.mtu) {
        fragments.packets[0] = m;
        fragments.count = 1;
        return true;
    }
    // The first header is the longest one, so what fits behind it fits behind all.
    const std::uint32_t step =
        (request.mtu - static_cast<std::uint32_t>(plan.first_bytes)) / kUnitBytes * kUnitBytes;
    if (step == 0 || (plan.payload_bytes + step - 1) / step > kFragmentsMax) {
        return false;
    }
    packet::Cursor from = packet::cursor_at(m, link_bytes + plan.header_bytes);
    for (std::uint32_t position = 0; position < plan.payload_bytes; position += step) {
        const std::uint32_t bytes = std::min(step, plan.payload_bytes - position);
        const std::size_t ip_bytes = position == 0 ? plan.first_bytes : plan.later_bytes;
        const auto& ip_header = position == 0 ? plan.first : plan.later;
        rte_mbuf* fragment =
            packet::create(m, link_bytes + static_cast<std::uint32_t>(ip_bytes), headers);
        if (fragment == nullptr) {
            free_all(fragments);
            return false;
        }
        fragments.packets[fragments.count++] = fragment;
        const std::span<std::byte> room = packet::head(fragment);
        std::memcpy(room.data(), head.data(), link_bytes);
        std::memcpy(room.data() + link_bytes, ip_header.data(), ip_bytes);
        finish_header(plan, room.subspan(link_bytes), position, bytes);
        if (!packet::append_shared(fragment, from, bytes, shares)) {
            free_all(fragments);
            return false;
        }
    }
    rte_pktmbuf_free(m);
    return true;
}

std::optional<std::uint8_t>
fragmented_protocol(std::span<const std::byte> head, std::size_t ip_offset) noexcept {
    if (head.size() <= ip_offset) {
        return std::nullopt;
    }
    const auto ip = head.subspan(ip_offset);
    const unsigned version = std::to_integer<unsigned>(ip[0]) >> 4U;
    if (version == 4 && ip.size() >= sizeof(Ipv4Header)) {
        const auto header = tunnels::load<Ipv4Header>(ip.data());
        if ((header.flags_fragment.host() & tunnels::kIpv4FragmentMask) != 0) {
            return header.protocol;
        }
    } else if (version == 6 && ip.size() >= sizeof(Ipv6Header) + sizeof(FragmentHeader)) {
        if (tunnels::load<Ipv6Header>(ip.data()).next_header == kNextFragment) {
            return tunnels::load<FragmentHeader>(ip.data() + sizeof(Ipv6Header)).next_header;
        }
    }
    return std::nullopt;
}

}  // namespace culvert::dataplane
