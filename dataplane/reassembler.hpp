// SPDX-License-Identifier: GPL-2.0-or-later
//
// Puts fragments of IP packets together again (RFC 791 section 3.2, RFC 8200 section 4.5) with
// DPDK's rte_ip_frag tables. One per worker, for its thread only. Fragments are hostile until
// proven otherwise: whatever overlaps, repeats or contradicts takes its packet with it (RFC 5722).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "dataplane/limits.hpp"
#include "dataplane/packet.hpp"

struct rte_ip_frag_tbl;
struct rte_ip_frag_death_row;

namespace culvert::dataplane {

class Reassembler {
public:
    struct Outcome {
        rte_mbuf* packet = nullptr;  ///< Whole, or nullptr.
        std::uint32_t dropped = 0;   ///< Fragments given up and freed, the added one included.
    };

    /// Memory from `socket`; nullopt when there is none. `cycles_per_second` is of the clock given
    /// to add(); `pool` gives a buffer when the first fragment's header is shared or in pieces.
    [[nodiscard]] static std::optional<Reassembler>
    create(std::uint64_t cycles_per_second, int socket, rte_mempool* pool);

    Reassembler(Reassembler&&) noexcept;
    Reassembler& operator=(Reassembler&&) noexcept;
    ~Reassembler();

    /// Takes the fragment whose IP header is at `ip_offset`. Returns the packet that it completes:
    /// the frame of the first fragment with all payload chained behind, without fragment header,
    /// lengths and IPv4 checksum right, CE if a fragment had it (RFC 3168 section 5.3), and without
    /// padding. The caller parses it anew: tags may differ between fragments. What is no fragment
    /// comes back as it is (an IPv6 packet in one fragment without its fragment header, RFC 6946).
    /// IPv6 fragment headers have to follow the fixed header directly. Precondition: no pending
    /// Offload; whatever else is in ol_flags and tx_offload is lost.
    [[nodiscard]] Outcome
    add(rte_mbuf* fragment, std::uint16_t ip_offset, std::uint64_t now_cycles) noexcept;

    /// Frees the fragments that wait longer than kReassemblyMs, and says how many. add() alone
    /// frees them only as their room is needed.
    std::uint32_t expire(std::uint64_t now_cycles) noexcept;

    /// Fragments that wait now.
    [[nodiscard]] std::uint32_t held() const noexcept { return held_; }

private:
    struct TableDeleter {
        void operator()(rte_ip_frag_tbl* table) const noexcept;
    };
    struct DeathRowDeleter {
        void operator()(rte_ip_frag_death_row* row) const noexcept;
    };
    using Table = std::unique_ptr<rte_ip_frag_tbl, TableDeleter>;
    /// The library's key has no protocol (RFC 791 wants it), so UDP has a table of its own.
    static constexpr std::size_t kTables = 2;

    Reassembler() noexcept;
    Outcome settle(rte_mbuf* whole, std::uint16_t ip_offset) noexcept;
    std::uint32_t free_dead() noexcept;

    std::array<Table, kTables> tables_;
    std::unique_ptr<rte_ip_frag_death_row, DeathRowDeleter> dead_;
    rte_mempool* pool_ = nullptr;
    std::uint32_t held_ = 0;
};

}  // namespace culvert::dataplane
