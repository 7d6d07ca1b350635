// SPDX-License-Identifier: GPL-2.0-or-later
//
// Longest-prefix match. See l3_view.hpp.

#include "dataplane/l3_view.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

namespace culvert::dataplane {

IpAddress prefix_of(IpAddress address, unsigned prefix_bits) noexcept {
    // An IPv4 address is held as ::ffff:a.b.c.d.
    unsigned bits = address.is_v4() ? 96U + prefix_bits : prefix_bits;
    for (std::uint8_t& octet : address.bytes) {
        const unsigned kept = std::min(bits, 8U);
        octet = static_cast<std::uint8_t>(octet & (0xff00U >> kept));
        bits -= kept;
    }
    return address;
}

EidMap::EidMap(std::vector<Entry> entries) : entries_(std::move(entries)) {
    for (const Entry& entry : entries_) {
        const bool is_v4 = entry.prefix.is_v4();
        const auto same = [&](const Length& length) {
            return length.bits == entry.prefix_bits && length.is_v4 == is_v4;
        };
        auto length = std::find_if(lengths_.begin(), lengths_.end(), same);
        if (length == lengths_.end()) {
            lengths_.push_back({.bits = entry.prefix_bits, .is_v4 = is_v4});
            length = std::prev(lengths_.end());
        }
        ++length->slots;  // Their number at first.
    }
    for (Length& length : lengths_) {
        IpAddress kept;
        kept.bytes.fill(0xff);
        length.mask = prefix_of(kept, length.is_v4 ? 96U + length.bits : length.bits).words();
        length.first_slot = static_cast<std::uint32_t>(slots_.size());
        length.slots = std::bit_ceil(length.slots * 2);
        slots_.resize(slots_.size() + length.slots);
        for (std::uint32_t i = 0; i < entries_.size(); ++i) {
            const Entry& entry = entries_[i];
            if (entry.prefix_bits != length.bits || entry.prefix.is_v4() != length.is_v4) {
                continue;
            }
            Slot& slot = slot_of(length, entry.prefix.words());
            if (slot.entry == 0) {  // Of two of one prefix the first counts.
                slot = {entry.prefix.words(), i + 1};
            }
        }
    }
    std::ranges::sort(lengths_, std::greater<>{}, &Length::bits);
}

/// Where the prefix is, or the free slot where it would be.
EidMap::Slot& EidMap::slot_of(const Length& length, IpAddress::Words prefix) noexcept {
    for (std::uint32_t at = slot_hash(prefix);; ++at) {
        Slot& slot = slots_[length.first_slot + (at & (length.slots - 1))];
        if (slot.entry == 0 || slot.prefix == prefix) {
            return slot;
        }
    }
}

void HostTable::insert(const IpAddress& host, const MacAddress& mac) {
    if (used_ * 2 >= slots_.size()) {
        constexpr std::size_t kSlotsMin = 16;
        std::vector<Slot> old(std::max(kSlotsMin, slots_.size() * 2));
        old.swap(slots_);
        used_ = 0;
        for (const Slot& slot : old) {
            if (slot.used) {
                insert(slot.host, slot.mac);
            }
        }
    }
    for (std::size_t at = slot_hash(host.words());; ++at) {
        Slot& slot = slots_[at & (slots_.size() - 1)];
        if (slot.used && slot.host != host) {
            continue;
        }
        used_ += slot.used ? 0 : 1;
        slot = {host, mac, true};
        return;
    }
}

const EidMap::Entry* EidMap::find(const IpAddress& address) const noexcept {
    const bool is_v4 = address.is_v4();
    const IpAddress::Words words = address.words();
    for (const Length& length : lengths_) {
        if (length.is_v4 != is_v4) {
            continue;
        }
        const IpAddress::Words prefix{words[0] & length.mask[0], words[1] & length.mask[1]};
        for (std::uint32_t at = slot_hash(prefix);; ++at) {
            const Slot& slot = slots_[length.first_slot + (at & (length.slots - 1))];
            if (slot.entry == 0) {
                break;
            }
            if (slot.prefix == prefix) {
                return &entries_[slot.entry - 1];
            }
        }
    }
    return nullptr;
}

}  // namespace culvert::dataplane
