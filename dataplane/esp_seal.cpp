// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sealing, for a burst: 1. each packet is framed: room is made in front and behind, the headers of
// Ethernet and IP move forward, the trailer is written; 2. sequence numbers are taken for all;
// 3. the engine enciphers all; 4. what depends on the result. See esp_seal.hpp.

#include "dataplane/esp_seal.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/move_front.hpp"
#include "dataplane/owned.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/ipv4_checksum.hpp"

namespace culvert::dataplane {

namespace {

using tunnels::Be16;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;
using tunnels::UdpHeader;

constexpr std::uint8_t kNextIpv4 = 4;
constexpr std::uint8_t kNextIpv6 = 41;
constexpr std::uint32_t kIpBytesMax = 65535;  // By the length fields; of IPv6 a little more fits.

/// How the packets of a tunnel are framed by its SA.
struct Framing {
    const tunnels::EspAlgorithmRow& row;
    const SaParameters& parameters;
    bool is_v4;
    std::uint32_t ip_offset;
    std::uint32_t ip_bytes;   ///< Of an IP header; the headers of tunnels have no options.
    std::uint32_t udp_bytes;  ///< 8 where ESP is in UDP.
    std::uint32_t front;      ///< What comes in front in all.

    Framing(const TunnelView& tunnel, const OutboundSa& association) noexcept
        : row(tunnels::row_of(association.key().algorithm())), parameters(association.parameters()),
          is_v4(tunnel.header.is_v4), ip_offset(tunnel.header.ip_offset),
          ip_bytes(is_v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)),
          udp_bytes(parameters.udp_destination != 0 ? sizeof(UdpHeader) : 0),
          front(static_cast<std::uint32_t>(
              tunnels::esp_front_bytes(row) + udp_bytes + (parameters.tunnel_mode ? ip_bytes : 0)
          )) {}

    [[nodiscard]] std::uint32_t esp_offset() const noexcept {
        return ip_offset + ip_bytes + udp_bytes;
    }
};

/// Makes the moved headers those of an ESP packet of `ip_total` bytes from its IP header on.
void write_ip(const Framing& framing, std::byte* frame, std::uint32_t ip_total) noexcept {
    const SaParameters& parameters = framing.parameters;
    std::byte* ip = frame + framing.ip_offset;
    const auto protocol = static_cast<std::byte>(
        framing.udp_bytes != 0 ? tunnels::kIpProtocolUdp : tunnels::kIpProtocolEsp
    );
    if (framing.is_v4) [[likely]] {
        ip[offsetof(Ipv4Header, protocol)] = protocol;
        tunnels::store(
            ip + offsetof(Ipv4Header, total_length), Be16(static_cast<std::uint16_t>(ip_total))
        );
        if (parameters.tunnel_mode) {
            std::memcpy(ip + offsetof(Ipv4Header, source), parameters.source.v4(), 4);
            std::memcpy(ip + offsetof(Ipv4Header, destination), parameters.destination.v4(), 4);
        }
        tunnels::write_ipv4_checksum(ip);
    } else {
        ip[offsetof(Ipv6Header, next_header)] = protocol;
        tunnels::store(
            ip + offsetof(Ipv6Header, payload_length),
            Be16(static_cast<std::uint16_t>(ip_total - sizeof(Ipv6Header)))
        );
        if (parameters.tunnel_mode) {
            tunnels::store(ip + offsetof(Ipv6Header, source), parameters.source);
            tunnels::store(ip + offsetof(Ipv6Header, destination), parameters.destination);
        }
    }
    if (framing.udp_bytes != 0) {
        const auto bytes = static_cast<std::uint16_t>(ip_total - framing.ip_bytes);
        tunnels::store(
            ip + framing.ip_bytes,
            UdpHeader{
                Be16(parameters.udp_source), Be16(parameters.udp_destination), Be16(bytes), Be16()}
        );
    }
}

/// Over IPv6 a UDP checksum is demanded (RFC 8200 section 8.1); over IPv4 ESP has none (RFC 3948
/// section 2.1).
void write_udp6_checksum(const Framing& framing, rte_mbuf* packet) noexcept {
    const std::uint32_t udp_offset = framing.ip_offset + framing.ip_bytes;
    const std::uint32_t bytes = packet::length(packet) - udp_offset;
    std::byte* frame = packet::head(packet).data();
    const std::byte* ip = frame + framing.ip_offset;
    const std::uint64_t sum = tunnels::checksum_sum(
        tunnels::pseudo_header_sum(
            IpAddress::from_v6(ip + offsetof(Ipv6Header, source)),
            IpAddress::from_v6(ip + offsetof(Ipv6Header, destination)),
            tunnels::kIpProtocolUdp,
            bytes
        ),
        packet::sum(packet, udp_offset, bytes)
    );
    const auto folded = static_cast<std::uint16_t>(~tunnels::checksum_fold(sum));
    const std::uint16_t checksum = folded == 0 ? std::uint16_t{0xffff} : folded;
    std::memcpy(frame + udp_offset + offsetof(UdpHeader, checksum), &checksum, sizeof checksum);
}

class Sealer {
public:
    Sealer(
        Context& context,
        const TunnelView& tunnel,
        OutboundSa& association,
        std::uint16_t port,
        Unsealed& unsealed
    ) noexcept
        : context_(context), association_(association), framing_(tunnel, association),
          unsealed_(unsealed), header_bytes_(tunnel.header.length), port_(port) {}

    /// Of `packets`, those that are sealed are in front afterwards; returns how many.
    std::size_t run(std::span<rte_mbuf*> packets) noexcept {
        out_ = packets.data();
        for (rte_mbuf* packet : packets) {
            add(packet);
        }
        flush();
        return done_;
    }

private:
    /// An own packet gets three segments more at most: a trailer without room, headers without,
    /// and these made contiguous.
    static constexpr std::size_t kPiecesMore = 3;

    void refuse(rte_mbuf* packet, std::uint32_t inner_bytes, DropReason reason) noexcept {
        ++unsealed_.packets;
        unsealed_.bytes += inner_bytes;
        context_.drop(packet, reason, port_);
    }

    /// Frames a packet, or drops it.
    void add(rte_mbuf* packet) noexcept {
        const tunnels::EspAlgorithmRow& row = framing_.row;
        const std::uint32_t length = packet::length(packet);
        const std::uint32_t inner_bytes = length - header_bytes_;
        const std::uint32_t payload =
            length - framing_.ip_offset - (framing_.parameters.tunnel_mode ? 0 : framing_.ip_bytes);
        // esp_trailer_bytes(), for blocks whose size is a power of two.
        const std::uint32_t trailer = 2 + ((0U - (payload + 2)) & (row.block_bytes - 1U));
        const std::uint32_t behind = trailer + row.icv_bytes;
        const std::uint32_t ip_total = length - framing_.ip_offset + framing_.front + behind;
        if (ip_total > kIpBytesMax) {
            refuse(packet, inner_bytes, DropReason::tunnel_mtu_exceeded);
            return;
        }
        packet->ol_flags &= ~packet::kEncapsulated;
        std::byte* end = nullptr;
        if (packet::is_plain(packet) && rte_pktmbuf_headroom(packet) >= framing_.front &&
            rte_pktmbuf_tailroom(packet) >= behind) [[likely]] {
            end = rte_pktmbuf_mtod_offset(packet, std::byte*, packet->data_len);
            packet->data_len = static_cast<std::uint16_t>(packet->data_len + behind);
            packet->pkt_len += behind;
            packet::push_head(packet, framing_.front);
        } else {
            end = make_room(packet, behind);
            if (end == nullptr) {
                refuse(packet, inner_bytes, DropReason::no_buffer);
                return;
            }
        }
        std::byte* frame = packet::head(packet).data();
        const std::byte* ip = frame + framing_.front + framing_.ip_offset;
        const auto next = framing_.parameters.tunnel_mode
                              ? (framing_.is_v4 ? kNextIpv4 : kNextIpv6)
                              : std::to_integer<std::uint8_t>(
                                    ip[framing_.is_v4 ? offsetof(Ipv4Header, protocol)
                                                      : offsetof(Ipv6Header, next_header)]
                                );
        tunnels::write_esp_trailer({end, trailer}, next);
        move_front(frame, frame + framing_.front, framing_.ip_offset + framing_.ip_bytes);
        write_ip(framing_, frame, ip_total);
        keep(packet, inner_bytes);
    }

    /// The room in front and behind of a packet that is chained, shared, or full. Returns where the
    /// latter is; may replace the packet. Nullptr when no buffer is free.
    std::byte* make_room(rte_mbuf*& packet, std::uint32_t behind) noexcept {
        rte_mempool* pool = context_.pools.packets;
        rte_mbuf* made = packet::own(packet, pool);
        if (made == nullptr) {
            return nullptr;
        }
        packet = made;
        std::byte* end = packet::append(packet, behind, pool);
        if (end == nullptr) {
            return nullptr;
        }
        made = packet::push(packet, framing_.front, pool);
        if (made == nullptr) {
            return nullptr;
        }
        packet = made;
        // Old headers and new ones, whose front the IV is part of.
        const std::uint32_t wanted = framing_.front + framing_.ip_offset + framing_.ip_bytes;
        made = packet::make_writable(packet, wanted, pool);
        if (made == nullptr) {
            return nullptr;
        }
        packet = made;
        return end;
    }

    void keep(rte_mbuf* packet, std::uint32_t inner_bytes) noexcept {
        // Only now: a copy may have more segments than what it was made of.
        if (pieces_used_ + packet->nb_segs > pieces_.size()) [[unlikely]] {
            flush();
        }
        const std::size_t first = pieces_used_;
        std::uint32_t skipped = framing_.esp_offset();
        for (rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
            if (segment->data_len != 0) [[likely]] {
                pieces_[pieces_used_++] = {
                    rte_pktmbuf_mtod_offset(segment, std::byte*, skipped),
                    segment->data_len - skipped};
            }
            skipped = 0;
        }
        framed_[count_] = packet;
        inner_bytes_[count_] = inner_bytes;
        sealed_[count_].pieces = std::span(pieces_).subspan(first, pieces_used_ - first);
        ++count_;
    }

    /// Seals what is framed; it goes behind what is done.
    void flush() noexcept {
        if (count_ == 0) {
            return;
        }
        std::uint64_t first = 0;
        const std::uint32_t taken = association_.take(static_cast<std::uint32_t>(count_), first);
        for (std::size_t i = taken; i < count_; ++i) {
            refuse(framed_[i], inner_bytes_[i], DropReason::esp_sequence);
        }
        std::uint64_t bytes = 0;
        for (std::size_t i = 0; i < taken; ++i) {
            sealed_[i].sequence = first + i;
            bytes += packet::length(framed_[i]) - framing_.ip_offset;
        }
        if (taken != 0) [[likely]] {
            const SaParameters& parameters = association_.parameters();
            context_.esp.seal(
                association_.key(),
                parameters.spi,
                parameters.extended,
                std::span(sealed_).first(taken)
            );
            association_.packets.fetch_add(taken, std::memory_order_relaxed);
            association_.bytes.fetch_add(bytes, std::memory_order_relaxed);
        }
        for (std::size_t i = 0; i < taken; ++i) {
            if (framing_.udp_bytes != 0 && !framing_.is_v4) {
                write_udp6_checksum(framing_, framed_[i]);
            }
            out_[done_++] = framed_[i];
        }
        count_ = 0;
        pieces_used_ = 0;
    }

    Context& context_;
    OutboundSa& association_;
    const Framing framing_;
    Unsealed& unsealed_;
    std::uint32_t header_bytes_;
    std::uint16_t port_;
    rte_mbuf** out_ = nullptr;  ///< The packets' places, of which `done_` hold sealed ones.
    std::size_t done_ = 0;
    std::size_t count_ = 0;
    std::size_t pieces_used_ = 0;
    std::array<rte_mbuf*, kBurstMax> framed_;
    std::array<std::uint32_t, kBurstMax> inner_bytes_;
    std::array<tunnels::EspPacket, kBurstMax> sealed_;
    std::array<tunnels::EspPiece, kBurstMax + packet::kOwnSegmentsMax + kPiecesMore> pieces_;
};

/// Whether an SA is for packets of a tunnel; the control thread gives no tunnel another one.
bool fits(const OutboundSa& association, const TunnelView& tunnel) noexcept {
    return association.parameters().destination.is_v4() == tunnel.header.is_v4;
}

}  // namespace

std::uint32_t seal_front_bytes(const TunnelView& tunnel) noexcept {
    return tunnel.esp->out ? Framing(tunnel, *tunnel.esp->out).front : 0;
}

std::size_t seal(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    std::span<rte_mbuf*> packets,
    Unsealed& unsealed
) noexcept {
    OutboundSa* association = tunnel.esp->out.get();
    if (association == nullptr || !fits(*association, tunnel)) [[unlikely]] {
        for (rte_mbuf* packet : packets) {
            ++unsealed.packets;
            unsealed.bytes += packet::length(packet) - tunnel.header.length;
            context.drop(packet, DropReason::esp_required, port);
        }
        return 0;
    }
    return Sealer(context, tunnel, *association, port, unsealed).run(packets);
}

}  // namespace culvert::dataplane
