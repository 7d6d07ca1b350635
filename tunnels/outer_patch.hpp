// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes a tunnel's prebuilt headers and completes them for one packet (RFC 791, RFC 8200, RFC 768;
// the UDP source port spreads flows by RFC 7348 section 5). Inline, since transmit does it per
// packet; a burst of packets shares one OuterWriter, which holds what they have in common. Any
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <emmintrin.h>

#include "tunnels/endian.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"

namespace culvert::tunnels {

/// What patch() writes into the headers of one packet.
struct OuterPatch {
    std::size_t frame_bytes = 0;  ///< The whole packet including the template's length.
    std::uint32_t entropy = 0;    ///< Hash of the inner flow; chooses the UDP source port.
    /// The IPv4 identification. A tunnel without DF needs a value that changes from packet to
    /// packet (RFC 6864 section 4.3); with DF any will do.
    std::uint16_t ip_id = 0;
    std::uint8_t tos = 0;  ///< TOS or traffic class, ECN included.
    std::uint8_t ttl = 64;
};

/// The UDP source port for a flow hash, within the template's range.
[[nodiscard]] constexpr std::uint16_t
entropy_port(std::uint16_t first, std::uint16_t count, std::uint32_t hash) noexcept {
    const std::uint32_t mixed = hash * 0x9e3779b1U;
    return static_cast<std::uint16_t>(first + (std::uint64_t{mixed} * count >> 32U));
}
[[nodiscard]] constexpr std::uint16_t
entropy_port(const EncapTemplate& header, std::uint32_t hash) noexcept {
    return entropy_port(header.udp_source_min, header.udp_source_count, hash);
}

class OuterWriter {
public:
    /// The template must outlive this.
    explicit OuterWriter(const EncapTemplate& header) noexcept
        : header_(header), length_(header.length), ip_offset_(header.ip_offset),
          udp_offset_(header.udp_offset), checksum_base_(header.ip_checksum_base),
          source_min_(header.udp_source_min), source_count_(header.udp_source_count),
          is_v4_(header.is_v4) {
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            offsets_[i] = std::min(i * kLaneBytes, length_ - kLaneBytes);
            lanes_[i].bits =
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(header.bytes.data() + offsets_[i])
                );
        }
    }

    /// Copies the template to `out`, which has room for it.
    void copy(std::byte* out) const noexcept {
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + offsets_[i]), lanes_[i].bits);
        }
        if (length_ > kLanesBytes) [[unlikely]] {
            std::memcpy(
                out + kLanesBytes, header_.bytes.data() + kLanesBytes, length_ - kLanesBytes
            );
        }
    }

    /// Writes what differs from packet to packet into `out`, a copy of the template: TOS, TTL,
    /// lengths, IPv4 checksum and the entropy source port. Precondition: the IP packet is at most
    /// 65535 bytes. The UDP checksum is set to 0.
    void patch(std::byte* out, const OuterPatch& patch) const noexcept {
        const std::size_t ip_bytes = patch.frame_bytes - ip_offset_;
        std::byte* ip = out + ip_offset_;
        if (is_v4_) [[likely]] {
            patch_v4(ip, ip_bytes, patch);
        } else {
            store(ip, Be32(0x60000000U | std::uint32_t{patch.tos} << 20U));
            store(
                ip + offsetof(Ipv6Header, payload_length),
                Be16(static_cast<std::uint16_t>(ip_bytes - sizeof(Ipv6Header)))
            );
            ip[offsetof(Ipv6Header, hop_limit)] = std::byte{patch.ttl};
        }
        if (udp_offset_ != 0) {
            std::byte* udp = out + udp_offset_;
            const auto bytes = static_cast<std::uint16_t>(patch.frame_bytes - udp_offset_);
            const std::uint16_t port = entropy_port(source_min_, source_count_, patch.entropy);
            const std::uint32_t length_and_checksum = Be16(bytes).memory_order();
            store(udp + offsetof(UdpHeader, source), Be16(port));
            std::memcpy(udp + offsetof(UdpHeader, length), &length_and_checksum, 4);
        }
    }

private:
    struct Lane {
        __m128i bits;
    };
    static constexpr std::size_t kLaneBytes = sizeof(Lane);
    static constexpr std::size_t kLanesBytes = 4 * kLaneBytes;

    void patch_v4(std::byte* ip, std::size_t ip_bytes, const OuterPatch& patch) const noexcept {
        const std::uint16_t length = Be16(static_cast<std::uint16_t>(ip_bytes)).memory_order();
        const std::uint16_t id = Be16(patch.ip_id).memory_order();
        // In the sum TOS and TTL are half a word each, at the second and the first octet. Few
        // 16-bit words: two foldings leave no carry.
        std::uint32_t sum = std::uint32_t{checksum_base_} + length + id +
                            (std::uint32_t{patch.tos} << 8U) + patch.ttl;
        sum = (sum & 0xffffU) + (sum >> 16U);
        sum = (sum & 0xffffU) + (sum >> 16U);
        const auto checksum = static_cast<std::uint16_t>(~sum);
        ip[offsetof(Ipv4Header, tos)] = std::byte{patch.tos};
        ip[offsetof(Ipv4Header, ttl)] = std::byte{patch.ttl};
        std::memcpy(ip + offsetof(Ipv4Header, total_length), &length, sizeof length);
        std::memcpy(ip + offsetof(Ipv4Header, identification), &id, sizeof id);
        std::memcpy(ip + offsetof(Ipv4Header, checksum), &checksum, sizeof checksum);
    }

    const EncapTemplate& header_;
    /// The first 64 bytes; the last lanes overlap where there are fewer, and no template is shorter
    /// than one lane.
    std::array<Lane, 4> lanes_;
    std::array<std::size_t, 4> offsets_;
    std::size_t length_;
    std::size_t ip_offset_;
    std::size_t udp_offset_;
    std::uint16_t checksum_base_;
    std::uint16_t source_min_;
    std::uint16_t source_count_;
    bool is_v4_;
};

/// Completes `out`, a copy of `header.bytes`, as OuterWriter::patch() does.
inline void patch_outer(
    const EncapTemplate& header, std::span<std::byte> out, const OuterPatch& patch
) noexcept {
    OuterWriter(header).patch(out.data(), patch);
}

}  // namespace culvert::tunnels
