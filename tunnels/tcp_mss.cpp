// SPDX-License-Identifier: GPL-2.0-or-later
//
// MSS clamping. The checksum is corrected by the difference (RFC 1624 equation 3), as the payload
// of a SYN (TCP Fast Open) need not be contiguous, and a wrong checksum has to stay wrong. Bytes
// in, bytes out.
#include "tunnels/tcp_mss.hpp"

#include <algorithm>
#include <cstring>

#include "tunnels/checksum.hpp"
#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"

namespace culvert::tunnels {
namespace {

constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::size_t kTcpHeaderBytes = 20;
constexpr std::size_t kTcpWordsOffset = 12;  ///< Header length, in the upper four bits.
constexpr std::size_t kTcpFlagsOffset = 13;
constexpr std::size_t kTcpChecksumOffset = 16;
constexpr std::byte kTcpSyn{0x02};
constexpr std::byte kOptionEnd{0};
constexpr std::byte kOptionNop{1};
constexpr std::byte kOptionMss{2};
constexpr std::size_t kOptionMssBytes = 4;

/// The TCP header with its options, as far as it is within `ip`; empty when the packet is no
/// unfragmented TCP.
std::span<std::byte> tcp_header(std::span<std::byte> ip) noexcept {
    std::size_t offset = 0;
    std::size_t total = 0;
    const unsigned version = ip.empty() ? 0 : std::to_integer<unsigned>(ip[0]) >> 4U;
    if (version == 4 && ip.size() >= sizeof(Ipv4Header)) {
        const auto header = load<Ipv4Header>(ip.data());
        offset = (header.version_ihl & 0xfU) * std::size_t{4};
        total = header.total_length.host();
        if (offset < sizeof(Ipv4Header) || header.protocol != kProtocolTcp ||
            (header.flags_fragment.host() & kIpv4FragmentMask) != 0) {
            return {};
        }
    } else if (version == 6 && ip.size() >= sizeof(Ipv6Header)) {
        const auto header = load<Ipv6Header>(ip.data());
        offset = sizeof header;
        total = offset + header.payload_length.host();
        if (header.next_header != kProtocolTcp) {
            return {};
        }
    }
    total = std::min(total, ip.size());
    if (total < offset + kTcpHeaderBytes || offset == 0) {
        return {};
    }
    const auto tcp = ip.first(total).subspan(offset);
    const std::size_t bytes = (std::to_integer<std::size_t>(tcp[kTcpWordsOffset]) >> 4U) * 4;
    if (bytes < kTcpHeaderBytes) {
        return {};
    }
    return tcp.first(std::min(bytes, tcp.size()));
}

/// The checksum of `tcp` after the word at `offset` changed. At an odd offset the octets of the
/// word stand in the other halves of two words.
void correct_checksum(
    std::span<std::byte> tcp, std::size_t offset, Be16 before, Be16 after
) noexcept {
    std::uint16_t removed = before.memory_order();
    std::uint16_t added = after.memory_order();
    if (offset % 2 != 0) {
        removed = swap_bytes(removed);
        added = swap_bytes(added);
    }
    std::uint16_t checksum = 0;
    std::memcpy(&checksum, tcp.data() + kTcpChecksumOffset, sizeof checksum);
    const std::uint64_t sum = std::uint64_t{static_cast<std::uint16_t>(~checksum)} +
                              static_cast<std::uint16_t>(~removed) + added;
    checksum = static_cast<std::uint16_t>(~checksum_fold(sum));
    std::memcpy(tcp.data() + kTcpChecksumOffset, &checksum, sizeof checksum);
}

}  // namespace

bool clamp_mss(std::span<std::byte> ip, std::uint32_t mtu, bool checksum_partial) noexcept {
    const std::span<std::byte> tcp = tcp_header(ip);
    if (tcp.empty() || (tcp[kTcpFlagsOffset] & kTcpSyn) == std::byte{0}) {
        return false;
    }
    const bool is_v4 = std::to_integer<unsigned>(ip[0]) >> 4U == 4;
    const std::uint32_t headers_bytes = is_v4 ? 40 : 60;
    if (mtu <= headers_bytes) {
        return false;
    }
    const std::uint32_t limit = std::min(mtu - headers_bytes, std::uint32_t{0xffff});
    bool changed = false;
    std::size_t at = kTcpHeaderBytes;
    while (at < tcp.size() && tcp[at] != kOptionEnd) {
        if (tcp[at] == kOptionNop) {
            ++at;
            continue;
        }
        if (at + 1 >= tcp.size()) {
            break;
        }
        const auto bytes = std::to_integer<std::size_t>(tcp[at + 1]);
        if (bytes < 2 || bytes > tcp.size() - at) {
            break;
        }
        if (tcp[at] == kOptionMss && bytes == kOptionMssBytes) {
            const auto before = load<Be16>(tcp.data() + at + 2);
            if (before.host() > limit) {
                const Be16 after(static_cast<std::uint16_t>(limit));
                store(tcp.data() + at + 2, after);
                if (!checksum_partial) {
                    correct_checksum(tcp, at + 2, before, after);
                }
                changed = true;
            }
        }
        at += bytes;
    }
    return changed;
}

}  // namespace culvert::tunnels
