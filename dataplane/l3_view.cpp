// SPDX-License-Identifier: GPL-2.0-or-later
//
// Longest-prefix match. See l3_view.hpp.

#include "dataplane/l3_view.hpp"

#include <algorithm>
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
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const Entry& entry = entries_[i];
        const bool is_v4 = entry.prefix.is_v4();
        const auto same = [&](const Length& length) {
            return length.bits == entry.prefix_bits && length.is_v4 == is_v4;
        };
        auto length = std::find_if(lengths_.begin(), lengths_.end(), same);
        if (length == lengths_.end()) {
            lengths_.push_back({entry.prefix_bits, is_v4, {}});
            length = std::prev(lengths_.end());
        }
        length->entries.emplace(entry.prefix, i);
    }
    std::ranges::sort(lengths_, std::greater<>{}, &Length::bits);
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
    for (std::size_t at = std::hash<IpAddress>{}(host);; ++at) {
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
    for (const Length& length : lengths_) {
        if (length.is_v4 != is_v4) {
            continue;
        }
        const auto found = length.entries.find(prefix_of(address, length.bits));
        if (found != length.entries.end()) {
            return &entries_[found->second];
        }
    }
    return nullptr;
}

}  // namespace culvert::dataplane
