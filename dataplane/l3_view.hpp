// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a bridge with L3 tunnels (LISP, GRE and VXLAN-GPE with bare IP packets) routes by: the
// map-cache of EID prefixes to RLOCs (RFC 9300 section 3), whose RLOCs are tunnels of the bridge,
// and the hosts that the kernel knows behind the bridge's local port, which is their gateway. Built
// by the control thread, read by workers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/address_table.hpp"
#include "dataplane/limits.hpp"
#include "tunnels/address.hpp"

namespace culvert::dataplane {

struct Rloc {
    std::uint16_t port = kPortNone;  ///< Of the tunnel.
    std::uint8_t priority = 1;       ///< The lowest comes first; 255 is never used.
    std::uint8_t weight = 1;
};

inline constexpr std::uint8_t kRlocPriorityNever = 255;

/// Longest-prefix match from EIDs to RLOC sets: one table for each prefix length in use, open
/// addressing, at most half full.
class EidMap {
public:
    struct Entry {
        IpAddress prefix;  ///< With the bits behind prefix_bits zero.
        std::uint8_t prefix_bits = 0;
        std::vector<Rloc> rlocs;
    };
    EidMap() = default;
    explicit EidMap(std::vector<Entry> entries);

    /// The entry with the longest prefix that covers `address`, or nullptr.
    [[nodiscard]] const Entry* find(const IpAddress& address) const noexcept;

    /// The length of the longest prefix that covers `address`; nothing when none does.
    [[nodiscard]] std::optional<std::uint8_t> covered_bits(const IpAddress& address
    ) const noexcept {
        const Entry* entry = find(address);
        return entry == nullptr ? std::nullopt : std::optional(entry->prefix_bits);
    }

    /// The RLOC for a flow: among those for which `usable(port)` holds, those of the lowest
    /// priority, by weight (equal shares when all weights are 0). kPortNone when none is usable.
    template <class Usable>
    [[nodiscard]] static std::uint16_t
    choose(const Entry& entry, std::uint32_t flow_hash, const Usable& usable) noexcept {
        unsigned best = kRlocPriorityNever;
        unsigned count = 0;
        unsigned total = 0;
        for (const Rloc& rloc : entry.rlocs) {
            if (rloc.priority > best || rloc.priority == kRlocPriorityNever || !usable(rloc.port)) {
                continue;
            }
            if (rloc.priority < best) {
                best = rloc.priority;
                count = 0;
                total = 0;
            }
            ++count;
            total += rloc.weight;
        }
        if (count == 0) {
            return kPortNone;
        }
        const bool by_weight = total != 0;
        const std::uint32_t mixed = flow_hash * 0x9e3779b1U;
        auto at = static_cast<unsigned>(std::uint64_t{mixed} * (by_weight ? total : count) >> 32U);
        for (const Rloc& rloc : entry.rlocs) {
            if (rloc.priority != best || !usable(rloc.port)) {
                continue;
            }
            const unsigned share = by_weight ? rloc.weight : 1U;
            if (at < share) {
                return rloc.port;
            }
            at -= share;
        }
        return kPortNone;
    }

private:
    struct Length {
        IpAddress::Words mask{};  ///< Kept bits, as they lie in memory.
        std::uint32_t first_slot = 0;
        std::uint32_t slots = 1;  ///< A power of two.
        std::uint8_t bits = 0;
        bool is_v4 = false;
    };
    struct Slot {
        IpAddress::Words prefix{};
        std::uint32_t entry = 0;  ///< Its index plus one; 0: free.
    };
    [[nodiscard]] Slot& slot_of(const Length& length, IpAddress::Words prefix) noexcept;

    std::vector<Entry> entries_;
    std::vector<Length> lengths_;  ///< Longest first.
    std::vector<Slot> slots_;
};

/// The address with the bits behind `prefix_bits` (of 32 or 128) zero.
[[nodiscard]] IpAddress prefix_of(IpAddress address, unsigned prefix_bits) noexcept;

struct L3View {
    EidMap eids;
    EidMap on_link;  ///< Subnets of the local port, without RLOCs: their hosts are here.

    /// The entry by which packets for `address` leave; nullptr when none does, or when a subnet of
    /// the local port covers it as closely or closer.
    [[nodiscard]] const EidMap::Entry* find_eid(const IpAddress& address) const noexcept {
        const EidMap::Entry* entry = eids.find(address);
        if (entry == nullptr) {
            return nullptr;
        }
        const std::optional<std::uint8_t> here = on_link.covered_bits(address);
        return here && *here >= entry->prefix_bits ? nullptr : entry;
    }

    HostTable hosts;                      ///< The kernel's neighbours.
    AddressSet gateway;                   ///< Addresses of the local port.
    std::optional<IpAddress> gateway_v4;  ///< The source of our ICMP errors.
    std::optional<IpAddress> gateway_v6;
};

}  // namespace culvert::dataplane
