// SPDX-License-Identifier: GPL-2.0-or-later
//
// Opening, for packets of one SA at a time: 1. sequence numbers are judged, under one lock for all;
// 2. packets that may be fresh are made contiguous where that is needed; 3. the engine verifies and
// deciphers; 4. authentic ones are noted in the window, which judges them anew; 5. the headers move
// over what was ESP. A packet that the host's firewall does not let in gets nowhere here. See
// esp_open.hpp.

#include "dataplane/esp_open.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "dataplane/clock.hpp"
#include "dataplane/esp_find.hpp"
#include "dataplane/move_front.hpp"
#include "dataplane/owned.hpp"
#include "dataplane/packet_marks.hpp"
#include "tunnels/checksum.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/ipv4_checksum.hpp"

namespace culvert::dataplane {

namespace {

using tunnels::Be16;
using tunnels::Be32;
using tunnels::EthernetHeader;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;
using tunnels::ReplayVerdict;
using tunnels::UdpHeader;

constexpr std::uint8_t kNextIpv4 = 4;
constexpr std::uint8_t kNextIpv6 = 41;
constexpr std::size_t kTrailerBytesMax = 257;

void add_one(std::atomic<std::uint64_t>& counter) noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);
}

/// Keeps a packet whose key may arrive; false: there is no room.
bool keep(
    Context& context, std::uint16_t in_port, const tunnels::Outer& outer, const FoundEsp& sealed
) noexcept {
    return context.waiting.add(
        {.packet = sealed.packet,
         .source = outer.source,
         .destination = outer.destination,
         .until_ms = clock_ms() + kEspWaitMs,
         .spi = sealed.spi,
         .port = in_port}
    );
}

/// Opens packets of one SA.
class Opener {
public:
    Opener(Context& context, InboundSa& association, std::uint16_t in_port) noexcept
        : context_(context), association_(association),
          row_(tunnels::row_of(association.key().algorithm())),
          front_(static_cast<std::uint32_t>(tunnels::esp_front_bytes(row_))), in_port_(in_port) {}

    /// Precondition: classify_esp() said of each that it is ours. Afterwards they are opened, or
    /// have a reason.
    void run(std::span<FoundEsp* const> group) noexcept {
        std::array<InboundSa::Judged, kBurstMax> judged;
        for (std::size_t i = 0; i < group.size(); ++i) {
            judged[i].low = group[i]->sequence;
        }
        association_.judge(std::span(judged).first(group.size()));
        for (std::size_t i = 0; i < group.size(); ++i) {
            FoundEsp& sealed = *group[i];
            if (!is_well_formed(sealed)) [[unlikely]] {
                add_one(association_.refusals.malformed);
                sealed.reason = DropReason::esp_malformed;
            } else if (judged[i].verdict != ReplayVerdict::fresh) [[unlikely]] {
                refuse_replay(sealed, judged[i].verdict);
            } else if (!prepare(sealed)) [[unlikely]] {
                sealed.reason = DropReason::no_buffer;
            } else {
                if (pieces_used_ + sealed.packet->nb_segs > pieces_.size()) [[unlikely]] {
                    flush();
                }
                add(sealed, judged[i]);
            }
        }
        flush();
    }

private:
    /// Whether there are whole blocks between front and ICV; their size is a power of two.
    [[nodiscard]] bool is_well_formed(const FoundEsp& sealed) const noexcept {
        const std::uint32_t around = front_ + row_.icv_bytes;
        return sealed.esp_bytes >= around + row_.block_bytes &&
               ((sealed.esp_bytes - around) & (row_.block_bytes - 1U)) == 0;
    }

    void refuse_replay(FoundEsp& sealed, ReplayVerdict verdict) noexcept {
        sealed.reason = DropReason::esp_replay;
        add_one(
            verdict == ReplayVerdict::late ? association_.refusals.late
                                           : association_.refusals.replayed
        );
    }

    /// Makes a packet one that can be opened where it lies. False when no buffer is free.
    [[nodiscard]] bool prepare(FoundEsp& sealed) noexcept {
        rte_mbuf*& packet = sealed.packet;
        const std::uint32_t end = sealed.esp_offset + sealed.esp_bytes;
        if (packet::is_plain(packet)) [[likely]] {
            packet->data_len = static_cast<std::uint16_t>(end);
            packet->pkt_len = end;
            return true;
        }
        if (packet::has_offload(packet)) {
            packet::clear_offload(packet);
        }
        packet::trim(packet, end);
        rte_mempool* pool = context_.pools.packets;
        rte_mbuf* made = packet::own(packet, pool);
        if (made == nullptr) {
            return false;
        }
        packet = made;
        if (!packet::join_end(packet, row_.icv_bytes, pool)) {
            return false;
        }
        made = packet::make_writable(packet, sealed.esp_offset + front_, pool);
        if (made == nullptr) {
            return false;
        }
        packet = made;
        return true;
    }

    void add(FoundEsp& sealed, const InboundSa::Judged& judged) noexcept {
        const std::size_t first = pieces_used_;
        std::uint32_t skipped = sealed.esp_offset;
        for (rte_mbuf* segment = sealed.packet; segment != nullptr; segment = segment->next) {
            if (segment->data_len != skipped) [[likely]] {
                pieces_[pieces_used_++] = {
                    rte_pktmbuf_mtod_offset(segment, std::byte*, skipped),
                    segment->data_len - skipped};
            }
            skipped = 0;
        }
        packets_[count_].pieces = std::span(pieces_).subspan(first, pieces_used_ - first);
        packets_[count_].sequence = judged.sequence;
        packets_[count_].is_authentic = false;
        judged_[count_] = judged;
        sealed_[count_] = &sealed;
        ++count_;
    }

    /// Opens what was added.
    void flush() noexcept {
        if (count_ == 0) {
            return;
        }
        context_.esp.open(
            association_.key(),
            association_.parameters().extended,
            std::span(packets_).first(count_)
        );
        std::size_t authentic = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            if (packets_[i].is_authentic) [[likely]] {
                judged_[authentic] = judged_[i];
                sealed_[authentic] = sealed_[i];
                ++authentic;
            } else {
                sealed_[i]->reason = DropReason::esp_not_authentic;
                add_one(association_.refusals.not_authentic);
            }
        }
        if (authentic != 0) {
            association_.accept(std::span(judged_).first(authentic));
        }
        std::uint64_t bytes = 0;
        std::uint64_t accepted = 0;
        for (std::size_t i = 0; i < authentic; ++i) {
            FoundEsp& sealed = *sealed_[i];
            if (judged_[i].verdict != ReplayVerdict::fresh) [[unlikely]] {
                refuse_replay(sealed, judged_[i].verdict);
                continue;
            }
            bytes += sealed.esp_offset - sealed.ip_offset + sealed.esp_bytes;
            ++accepted;
            sealed.reason = uncover(sealed);
        }
        if (accepted != 0) {
            association_.packets.fetch_add(accepted, std::memory_order_relaxed);
            association_.bytes.fetch_add(bytes, std::memory_order_relaxed);
        }
        count_ = 0;
        pieces_used_ = 0;
    }

    /// Reads the trailer of a deciphered packet.
    [[nodiscard]] std::optional<tunnels::EspTrailer> read_trailer(const FoundEsp& sealed
    ) const noexcept {
        const rte_mbuf* packet = sealed.packet;
        const std::uint32_t inside = sealed.esp_bytes - front_ - row_.icv_bytes;
        const auto bytes = std::min<std::uint32_t>(inside, kTrailerBytesMax);
        const std::uint32_t at = packet::length(packet) - row_.icv_bytes - bytes;
        if (packet->nb_segs == 1) [[likely]] {
            // Most have three octets of padding or fewer.
            const std::byte* end = packet::head(packet).data() + at + bytes;
            const auto padding = std::to_integer<std::uint8_t>(end[-2]);
            if (padding <= 1 && (padding == 0 || end[-3] == std::byte{1})) {
                return tunnels::EspTrailer{
                    .next_header = std::to_integer<std::uint8_t>(end[-1]),
                    .bytes = static_cast<std::uint16_t>(padding + 2)};
            }
            if (padding == 2 && end[-3] == std::byte{2} && end[-4] == std::byte{1}) {
                return tunnels::EspTrailer{
                    .next_header = std::to_integer<std::uint8_t>(end[-1]), .bytes = 4};
            }
            return tunnels::parse_esp_trailer(packet::head(packet).subspan(at, bytes));
        }
        std::array<std::byte, kTrailerBytesMax> end;
        if (!packet::copy_out(packet, at, std::span(end).first(bytes))) {
            return std::nullopt;
        }
        return tunnels::parse_esp_trailer(std::span(end).first(bytes));
    }

    /// Makes a deciphered packet the one that was sealed.
    [[nodiscard]] DropReason uncover(FoundEsp& sealed) noexcept {
        const auto trailer = read_trailer(sealed);
        if (!trailer) {
            add_one(association_.refusals.malformed);
            return DropReason::esp_malformed;
        }
        rte_mbuf*& packet = sealed.packet;
        const SaParameters& parameters = association_.parameters();
        const std::uint32_t rest = packet::length(packet) - row_.icv_bytes - trailer->bytes;
        if (packet->nb_segs == 1) [[likely]] {
            packet->data_len = static_cast<std::uint16_t>(rest);
            packet->pkt_len = rest;
        } else {
            packet::trim(packet, rest);
        }
        // What a device said of checksums was about the packet as it was. A transport checksum
        // that was made before a NAT changed the addresses is wrong, and need not be right
        // (RFC 3948 section 3.1.2).
        packet->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
        if (parameters.udp_destination != 0 && !parameters.tunnel_mode) {
            packet->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        }
        packet::set_association(packet, parameters.id);
        return parameters.tunnel_mode ? uncover_tunnel(sealed, trailer->next_header)
                                      : uncover_transport(sealed, trailer->next_header);
    }

    /// Moves `headers` bytes at the front to where the payload begins, and cuts what was between.
    [[nodiscard]] bool move_headers(FoundEsp& sealed, std::uint32_t headers) noexcept {
        const std::uint32_t gap = sealed.esp_offset + front_ - headers;
        std::byte* frame = packet::head(sealed.packet).data();
        if (headers >= kMovedBytesMin) [[likely]] {
            move_front(frame + gap, frame, headers);
        } else {
            std::memmove(frame + gap, frame, headers);
        }
        if (packet::is_plain(sealed.packet)) [[likely]] {
            packet::pull_head(sealed.packet, gap);
            return true;
        }
        return packet::pull(sealed.packet, gap) && make_head_contiguous(context_, sealed.packet);
    }

    [[nodiscard]] DropReason uncover_transport(FoundEsp& sealed, std::uint8_t next) noexcept {
        const bool in_udp = association_.parameters().udp_destination != 0;
        const std::uint32_t headers =
            sealed.esp_offset - (in_udp ? std::uint32_t{sizeof(UdpHeader)} : 0U);
        if (!move_headers(sealed, headers)) {
            return DropReason::no_buffer;
        }
        std::byte* ip = packet::head(sealed.packet).data() + sealed.ip_offset;
        const std::uint32_t ip_total = packet::length(sealed.packet) - sealed.ip_offset;
        const std::uint32_t ip_bytes = headers - sealed.ip_offset;
        if (std::to_integer<unsigned>(*ip) >> 4U == 6) {
            ip[offsetof(Ipv6Header, next_header)] = std::byte{next};
            tunnels::store(
                ip + offsetof(Ipv6Header, payload_length),
                Be16(static_cast<std::uint16_t>(ip_total - ip_bytes))
            );
            return DropReason::none;
        }
        ip[offsetof(Ipv4Header, protocol)] = std::byte{next};
        tunnels::store(
            ip + offsetof(Ipv4Header, total_length), Be16(static_cast<std::uint16_t>(ip_total))
        );
        tunnels::write_ipv4_checksum(ip, ip_bytes);
        return DropReason::none;
    }

    [[nodiscard]] DropReason uncover_tunnel(FoundEsp& sealed, std::uint8_t next) noexcept {
        if (next != kNextIpv4 && next != kNextIpv6) {
            return DropReason::esp_policy;
        }
        if (!move_headers(sealed, sealed.ip_offset)) {
            return DropReason::no_buffer;
        }
        const bool is_v4 = next == kNextIpv4;
        const auto frame = packet::head(sealed.packet);
        tunnels::store(
            frame.data() + sealed.ip_offset - sizeof(Be16),
            Be16(is_v4 ? tunnels::kEtherTypeIpv4 : tunnels::kEtherTypeIpv6)
        );
        const auto ip = frame.subspan(sealed.ip_offset);
        const unsigned first = ip.empty() ? 0 : std::to_integer<unsigned>(ip[0]);
        if (ip.size() < (is_v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)) ||
            first >> 4U != (is_v4 ? 4U : 6U)) {
            return DropReason::outer_malformed;
        }
        if ((sealed.tos & tunnels::kEcnMask) == tunnels::kEcnNotEct) [[likely]] {
            return DropReason::none;
        }
        const auto second = std::to_integer<unsigned>(ip[1]);
        const auto tos = static_cast<std::uint8_t>(is_v4 ? second : first << 4U | second >> 4U);
        const tunnels::EcnDecap merged = tunnels::ecn_decap(tos, sealed.tos);
        if (merged.anomaly != tunnels::EcnAnomaly::none) {
            context_.counters->ecn[static_cast<std::size_t>(merged.anomaly)][in_port_].add(1);
        }
        if (merged.ecn != (tos & tunnels::kEcnMask)) {
            tunnels::set_ecn(ip, merged.ecn);
        }
        return merged.drop ? DropReason::ecn_illegal : DropReason::none;
    }

    Context& context_;
    InboundSa& association_;
    const tunnels::EspAlgorithmRow& row_;
    std::uint32_t front_;
    std::uint16_t in_port_;
    std::size_t count_ = 0;
    std::size_t pieces_used_ = 0;
    std::array<FoundEsp*, kBurstMax> sealed_;
    std::array<InboundSa::Judged, kBurstMax> judged_;
    std::array<tunnels::EspPacket, kBurstMax> packets_;
    std::array<tunnels::EspPiece, kBurstMax + packet::kOwnSegmentsMax + 2> pieces_;
};

/// Opens the packets of a burst, SA by SA.
void open_groups(Context& context, std::uint16_t port, std::span<FoundEsp> found) noexcept {
    std::array<FoundEsp*, kBurstMax> group;
    std::uint32_t todo = found.size() == kBurstMax ? ~0U : (1U << found.size()) - 1U;
    while (todo != 0) {
        InboundSa* association =
            found[static_cast<std::size_t>(std::countr_zero(todo))].association;
        std::size_t count = 0;
        for (std::uint32_t rest = todo; rest != 0; rest &= rest - 1) {
            const auto at = static_cast<unsigned>(std::countr_zero(rest));
            if (found[at].association == association) {
                group[count++] = &found[at];
                todo &= ~(1U << at);
            }
        }
        Opener(context, *association, port).run(std::span(group).first(count));
    }
}
static_assert(kBurstMax <= 32);

}  // namespace

Opening open_one(
    Context& context, Arrival& arrival, const tunnels::Outer& outer, DropReason& reason
) noexcept {
    FoundEsp sealed;
    sealed.packet = arrival.packet;
    switch (classify_esp(context, arrival.key.in_port, outer, sealed)) {
    case EspKind::other:
        return Opening::other;
    case EspKind::waits:
        if (keep(context, arrival.key.in_port, outer, sealed)) {
            arrival.packet = nullptr;
            return Opening::kept;
        }
        reason = DropReason::esp_unknown_spi;
        return Opening::dropped;
    case EspKind::dropped:
        reason = sealed.reason;
        return Opening::dropped;
    case EspKind::ours:
        break;
    }
    FoundEsp* group = &sealed;
    Opener(context, *sealed.association, arrival.key.in_port).run(std::span(&group, 1));
    arrival.packet = sealed.packet;
    reason = sealed.reason;
    return reason == DropReason::none ? Opening::opened : Opening::dropped;
}

namespace {

/// Puts what was opened into its place among the packets of a burst, and drops what was not.
/// Returns what is left of the burst.
std::span<rte_mbuf* const> put_back(
    Context& context,
    std::uint16_t port,
    std::span<const FoundEsp> opened,
    std::span<const std::uint8_t> places,
    std::span<rte_mbuf*> burst
) noexcept {
    bool dropped = false;
    for (std::size_t i = 0; i < opened.size(); ++i) {
        const bool is_opened = opened[i].reason == DropReason::none;
        if (!is_opened) {
            context.drop(opened[i].packet, opened[i].reason, port);
            dropped = true;
        }
        burst[places[i]] = is_opened ? opened[i].packet : nullptr;
    }
    if (!dropped) {
        return burst;
    }
    const auto end = std::remove(burst.begin(), burst.end(), nullptr);
    return burst.first(static_cast<std::size_t>(end - burst.begin()));
}

}  // namespace

std::span<rte_mbuf* const> open_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst, BurstArray& room
) noexcept {
    const Snapshot& snapshot = *context.snapshot;
    const PortView& view = snapshot.ports[port];
    const BridgeView& bridge = snapshot.bridges[view.bridge];
    // Frames without a tag only, which have to be of the VLAN that the local port is in; those with
    // one are opened when they are read.
    if (!view.vlan.accept_untagged || view.vlan.untagged_vlan != bridge.local_vlan ||
        !view.vlan.carries(bridge.local_vlan)) {
        return burst;
    }
    constexpr std::size_t kReadBytes =
        sizeof(EthernetHeader) + sizeof(Ipv6Header) + sizeof(UdpHeader);
    const SaTable& table = snapshot.associations;
    context.known_esp.follow(snapshot.version);
    std::array<FoundEsp, kBurstMax> found;
    std::array<std::uint8_t, kBurstMax> places;  // Of what was found, in `room`.
    std::size_t found_count = 0;
    std::size_t count = 0;
    IpAddress local;  // The last one that was looked up, and is.
    for (rte_mbuf* packet : burst) {
        room[count++] = packet;
        if (!packet::is_plain(packet) || packet->data_len < kReadBytes) {
            continue;
        }
        const auto head = packet::head(std::as_const(packet));
        const KnownEspPacket* known = context.known_esp.find(port, head);
        if (known != nullptr) [[likely]] {
            recognise(*known, packet, found[found_count]);
            places[found_count++] = static_cast<std::uint8_t>(count - 1);
            continue;
        }
        if (std::memcmp(head.data(), bridge.local_mac.bytes.data(), sizeof(MacAddress)) != 0 ||
            !looks_like_esp(table, head.data())) {
            continue;
        }
        const tunnels::Outer outer = tunnels::parse_outer(head, head.size());
        if (outer.drop == DropReason::outer_fragment ||
            (outer.destination != local && !snapshot.local_addresses.contains(outer.destination))) {
            continue;
        }
        local = outer.destination;
        FoundEsp& sealed = found[found_count];
        sealed = {.packet = packet};
        switch (classify_esp(context, port, outer, sealed)) {
        case EspKind::other:
            break;
        case EspKind::ours:
            learn_esp(context, port, outer, sealed);
            places[found_count++] = static_cast<std::uint8_t>(count - 1);
            break;
        case EspKind::waits:
            --count;
            if (!keep(context, port, outer, sealed)) {
                context.drop(packet, DropReason::esp_unknown_spi, port);
            }
            break;
        case EspKind::dropped:
            --count;
            context.drop(packet, sealed.reason, port);
            break;
        }
    }
    const auto opened = std::span(found).first(found_count);
    open_groups(context, port, opened);
    return put_back(context, port, opened, places, std::span(room).first(count));
}

}  // namespace culvert::dataplane
