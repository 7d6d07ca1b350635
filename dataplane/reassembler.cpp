// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reassembly. The library judges how fragments go together; everything about a single fragment is
// judged here before the library sees it, as it believes lengths, wants headers contiguous, trims
// only within the last segment and writes into the first fragment's header.
//
// It keeps its notes in tx_offload (l2_len, l3_len), which a head segment in a table therefore has
// set and no other segment: that is how fragments are counted in a chain. l4_len, which it leaves
// alone, holds the fragment's ECN.

// rte_ip_frag_table_del_expired_entries() became stable only later, with the same signature.
#define ALLOW_EXPERIMENTAL_API  // NOLINT(readability-identifier-naming): the name that DPDK asks
                                // for.

#include "dataplane/reassembler.hpp"

#include <array>
#include <cstring>

#include <rte_ip.h>
#include <rte_ip_frag.h>

#include "tunnels/checksum.hpp"
#include "tunnels/ecn.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {
namespace {

using tunnels::Be16;
using tunnels::Be32;
using tunnels::Ipv4Header;
using tunnels::Ipv6Header;

constexpr std::uint8_t kNextFragment = 44;
constexpr std::uint16_t kIpv4MoreFragments = 0x2000;
constexpr std::size_t kFragmentHeaderBytes = 8;
constexpr std::uint32_t kUnitBytes = 8;
constexpr std::uint32_t kIpBytesMax = 65535;
constexpr std::uint16_t kIpOffsetMax = 127;  ///< l2_len has 7 bits.
/// ol_flags that say where an mbuf's bytes are.
constexpr std::uint64_t kBufferFlags = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;

enum class Kind : std::uint8_t { malformed, whole, fragment };

struct Fragment {
    Kind kind = Kind::malformed;
    bool is_v4 = false;
    bool more = false;
    std::uint8_t protocol = 0;
    std::uint8_t ecn = 0;
    std::uint32_t header_bytes = 0;  ///< IP header with options or fragment header.
    std::uint32_t payload_bytes = 0;
    std::uint32_t offset_bytes = 0;
};

[[nodiscard]] Fragment parse_ipv4(std::span<const std::byte> ip) noexcept {
    if (ip.size() < sizeof(Ipv4Header)) {
        return {};
    }
    const auto header = tunnels::load<Ipv4Header>(ip.data());
    const std::uint32_t header_bytes = (header.version_ihl & 0xfU) * 4U;
    const std::uint32_t total = header.total_length.host();
    if (header_bytes < sizeof header || header_bytes > ip.size() || total < header_bytes ||
        tunnels::checksum_fold(tunnels::checksum_add(0, ip.first(header_bytes))) != 0xffff) {
        return {};
    }
    const std::uint16_t flags = header.flags_fragment.host();
    return {
        .kind = (flags & tunnels::kIpv4FragmentMask) != 0 ? Kind::fragment : Kind::whole,
        .is_v4 = true,
        .more = (flags & kIpv4MoreFragments) != 0,
        .protocol = header.protocol,
        .ecn = static_cast<std::uint8_t>(header.tos & tunnels::kEcnMask),
        .header_bytes = header_bytes,
        .payload_bytes = total - header_bytes,
        .offset_bytes = (flags & tunnels::kIpv4FragmentOffsetMask) * kUnitBytes};
}

[[nodiscard]] Fragment parse_ipv6(std::span<const std::byte> ip) noexcept {
    if (ip.size() < sizeof(Ipv6Header)) {
        return {};
    }
    const auto header = tunnels::load<Ipv6Header>(ip.data());
    const std::uint32_t length = header.payload_length.host();
    if (header.next_header != kNextFragment) {
        return {.kind = Kind::whole, .header_bytes = sizeof header, .payload_bytes = length};
    }
    if (ip.size() < sizeof header + kFragmentHeaderBytes || length < kFragmentHeaderBytes) {
        return {};
    }
    const std::byte* fragment = ip.data() + sizeof header;
    const std::uint16_t offset_more = tunnels::load<Be16>(fragment + 2).host();
    return {
        .kind = Kind::fragment,
        .is_v4 = false,
        .more = (offset_more & 1U) != 0,
        .protocol = std::to_integer<std::uint8_t>(fragment[0]),
        .ecn =
            static_cast<std::uint8_t>(header.version_class_label.host() >> 20U & tunnels::kEcnMask),
        .header_bytes = sizeof header + kFragmentHeaderBytes,
        .payload_bytes = length - static_cast<std::uint32_t>(kFragmentHeaderBytes),
        // The offset's unit makes it the same bits as the offset in bytes.
        .offset_bytes = offset_more & ~7U};
}

/// What the packet at `ip_offset` is; a fragment that cannot be a part of any packet is malformed.
[[nodiscard]] Fragment parse(const rte_mbuf* m, std::uint32_t ip_offset) noexcept {
    if (ip_offset > kIpOffsetMax || packet::length(m) <= ip_offset) {
        return {};
    }
    const std::uint32_t available = packet::length(m) - ip_offset;
    std::array<std::byte, tunnels::kIpv4HeaderBytesMax> bytes;
    const auto ip = std::span(bytes).first(std::min<std::size_t>(bytes.size(), available));
    if (!packet::copy_out(m, ip_offset, ip)) {
        return {};
    }
    Fragment fragment;
    switch (std::to_integer<unsigned>(ip[0]) >> 4U) {
    case 4:
        fragment = parse_ipv4(ip);
        break;
    case 6:
        fragment = parse_ipv6(ip);
        break;
    default:
        break;
    }
    const std::uint32_t end = fragment.offset_bytes + fragment.payload_bytes;
    const bool fits = end + (fragment.is_v4 ? fragment.header_bytes : 0) <= kIpBytesMax;
    // All but the last fragment end where another one may begin.
    const bool aligned = !fragment.more || fragment.payload_bytes % kUnitBytes == 0;
    if (fragment.header_bytes + fragment.payload_bytes > available ||
        (fragment.kind == Kind::fragment && (fragment.payload_bytes == 0 || !fits || !aligned))) {
        fragment.kind = Kind::malformed;
    }
    return fragment;
}

/// Clears what a packet's way here or this file left in its segments.
void clear_notes(rte_mbuf* m) noexcept {
    for (rte_mbuf* segment = m; segment != nullptr; segment = segment->next) {
        segment->tx_offload = 0;
        segment->ol_flags &= kBufferFlags;
    }
}

/// Of a chain that was, or is, in a table.
[[nodiscard]] std::uint32_t fragments_in(const rte_mbuf* m) noexcept {
    std::uint32_t count = 0;
    for (; m != nullptr; m = m->next) {
        count += m->l3_len != 0 ? 1U : 0U;
    }
    return count;
}

/// A packet that has one fragment, which is all of it (RFC 6946). Precondition: its headers are
/// contiguous and writable.
[[nodiscard]] rte_mbuf* remove_fragment_header(rte_mbuf* m, std::uint32_t ip_offset) noexcept {
    std::byte* front = packet::head(m).data();
    std::byte* ip = front + ip_offset;
    auto header = tunnels::load<Ipv6Header>(ip);
    header.next_header = std::to_integer<std::uint8_t>(ip[sizeof header]);
    header.payload_length =
        Be16(static_cast<std::uint16_t>(header.payload_length.host() - kFragmentHeaderBytes));
    tunnels::store(ip, header);
    std::memmove(front + kFragmentHeaderBytes, front, ip_offset + sizeof header);
    return packet::pull(m, kFragmentHeaderBytes) ? m : nullptr;
}

/// The ECN of the whole (RFC 3168 section 5.3); nullopt when it has to be dropped, as CE would be
/// lost on a transport that does not know it.
[[nodiscard]] std::optional<bool> congestion_experienced(const rte_mbuf* whole) noexcept {
    bool ce = false;
    bool not_ect = false;
    for (const rte_mbuf* segment = whole; segment != nullptr; segment = segment->next) {
        if (segment->l3_len != 0) {
            ce |= segment->l4_len == tunnels::kEcnCe;
            not_ect |= segment->l4_len == tunnels::kEcnNotEct;
        }
    }
    if (ce && not_ect) {
        return std::nullopt;
    }
    return ce;
}

void finish_ipv4(std::byte* ip, bool ce) noexcept {
    if (ce) {
        ip[offsetof(Ipv4Header, tos)] |= std::byte{tunnels::kEcnCe};
    }
    const std::size_t header_bytes = (std::to_integer<std::size_t>(ip[0]) & 0xfU) * 4;
    tunnels::store(ip + offsetof(Ipv4Header, checksum), Be16{});
    const auto sum = tunnels::checksum_fold(tunnels::checksum_add(0, {ip, header_bytes}));
    const auto checksum = static_cast<std::uint16_t>(~sum);
    std::memcpy(ip + offsetof(Ipv4Header, checksum), &checksum, sizeof checksum);
}

void finish_ipv6(std::byte* ip, bool ce) noexcept {
    if (ce) {
        const std::uint32_t word = tunnels::load<Be32>(ip).host();
        tunnels::store(ip, Be32(word | std::uint32_t{tunnels::kEcnCe} << 20U));
    }
}

/// Precondition: the fragment's headers are contiguous.
[[nodiscard]] rte_mbuf* add_to_table(
    rte_ip_frag_tbl* table,
    rte_ip_frag_death_row* dead,
    rte_mbuf* m,
    bool is_v4,
    std::uint64_t now_cycles
) noexcept {
    if (is_v4) {
        auto* ip = rte_pktmbuf_mtod_offset(m, rte_ipv4_hdr*, m->l2_len);
        return rte_ipv4_frag_reassemble_packet(table, dead, m, now_cycles, ip);
    }
    auto* ip = rte_pktmbuf_mtod_offset(m, rte_ipv6_hdr*, m->l2_len);
    auto* fragment =
        rte_pktmbuf_mtod_offset(m, rte_ipv6_fragment_ext*, m->l2_len + sizeof(rte_ipv6_hdr));
    return rte_ipv6_frag_reassemble_packet(table, dead, m, now_cycles, ip, fragment);
}

}  // namespace

void Reassembler::TableDeleter::operator()(rte_ip_frag_tbl* table) const noexcept {
    rte_ip_frag_table_destroy(table);
}

void Reassembler::DeathRowDeleter::operator()(rte_ip_frag_death_row* row) const noexcept {
    delete row;
}

Reassembler::Reassembler() noexcept = default;
Reassembler::Reassembler(Reassembler&&) noexcept = default;
Reassembler& Reassembler::operator=(Reassembler&&) noexcept = default;
Reassembler::~Reassembler() = default;

std::optional<Reassembler>
Reassembler::create(std::uint64_t cycles_per_second, int socket, rte_mempool* pool) {
    Reassembler result;
    result.pool_ = pool;
    result.dead_.reset(new rte_ip_frag_death_row{});
    for (Table& table : result.tables_) {
        table.reset(rte_ip_frag_table_create(
            kReassemblyBuckets,
            kReassemblyBucketEntries,
            kReassemblyEntries,
            cycles_per_second * kReassemblyMs / 1000,
            socket
        ));
        if (table == nullptr) {
            return std::nullopt;
        }
    }
    return result;
}

std::uint32_t Reassembler::free_dead() noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < dead_->cnt; ++i) {
        count += fragments_in(dead_->row[i]);
    }
    rte_ip_frag_free_death_row(dead_.get(), 0);
    held_ -= count;
    return count;
}

Reassembler::Outcome Reassembler::settle(rte_mbuf* whole, std::uint16_t ip_offset) noexcept {
    const std::uint32_t count = fragments_in(whole);
    held_ -= count;
    std::byte* ip = packet::head(whole).data() + ip_offset;
    const bool is_v4 = std::to_integer<unsigned>(ip[0]) >> 4U == 4;
    const std::optional<bool> ce = congestion_experienced(whole);
    // The first IPv4 header may be longer than the one with which the last fragment did fit.
    if (!ce || (is_v4 && packet::length(whole) - ip_offset > kIpBytesMax)) {
        rte_pktmbuf_free(whole);
        return {.packet = nullptr, .dropped = count};
    }
    clear_notes(whole);
    if (is_v4) {
        finish_ipv4(ip, *ce);
    } else {
        finish_ipv6(ip, *ce);
    }
    return {.packet = whole, .dropped = 0};
}

Reassembler::Outcome
Reassembler::add(rte_mbuf* m, std::uint16_t ip_offset, std::uint64_t now_cycles) noexcept {
    const Fragment fragment = parse(m, ip_offset);
    if (fragment.kind == Kind::whole) {
        return {.packet = m, .dropped = 0};
    }
    rte_mbuf* writable = nullptr;
    if (fragment.kind == Kind::fragment && held_ < kReassemblyHeldMax) {
        const std::uint32_t headers_bytes = ip_offset + fragment.header_bytes;
        const bool written = fragment.offset_bytes == 0;
        writable = m->data_len >= headers_bytes && !written
                       ? m
                       : packet::make_writable(m, headers_bytes, pool_);
    }
    if (writable == nullptr) {
        rte_pktmbuf_free(m);
        return {.packet = nullptr, .dropped = 1};
    }
    m = writable;
    packet::trim(m, ip_offset + fragment.header_bytes + fragment.payload_bytes);
    clear_notes(m);
    if (fragment.offset_bytes == 0 && !fragment.more) {
        return {.packet = remove_fragment_header(m, ip_offset), .dropped = 0};
    }
    m->l2_len = ip_offset & kIpOffsetMax;
    m->l3_len = fragment.header_bytes & 0x1ffU;
    m->l4_len = fragment.ecn;
    ++held_;
    const bool own_table = fragment.is_v4 && fragment.protocol != tunnels::kIpProtocolUdp;
    rte_ip_frag_tbl* table = tables_[own_table ? 1 : 0].get();
    rte_mbuf* whole = add_to_table(table, dead_.get(), m, fragment.is_v4, now_cycles);
    const std::uint32_t dropped = free_dead();
    if (whole == nullptr) {
        return {.packet = nullptr, .dropped = dropped};
    }
    Outcome outcome = settle(whole, whole->l2_len);
    outcome.dropped += dropped;
    return outcome;
}

std::uint32_t Reassembler::expire(std::uint64_t now_cycles) noexcept {
    std::uint32_t dropped = 0;
    for (const Table& table : tables_) {
        // One call frees what the death row holds.
        std::uint32_t freed = 0;
        do {
            rte_ip_frag_table_del_expired_entries(table.get(), dead_.get(), now_cycles);
            freed = free_dead();
            dropped += freed;
        } while (freed != 0);
    }
    return dropped;
}

}  // namespace culvert::dataplane
