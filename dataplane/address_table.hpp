// SPDX-License-Identifier: GPL-2.0-or-later
//
// Small tables by IP address that workers read: hosts with their MAC addresses, and sets of
// addresses. Built by the control thread before workers see them; not changed afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include <nmmintrin.h>

#include "tunnels/address.hpp"

namespace culvert::dataplane {

using tunnels::IpAddress;
using tunnels::MacAddress;

/// For tables of a power of two of slots: every bit of the address reaches the low bits. The
/// std::hash of an address does not do that, and is meant for tables of a prime size.
[[nodiscard]] inline std::uint32_t slot_hash(IpAddress::Words words) noexcept {
    const std::uint64_t sum = _mm_crc32_u64(_mm_crc32_u64(0, words[0]), words[1]);
    // A CRC is linear: of its low bits alone, neighbours would share some. The product's high bits
    // depend on all of it.
    return static_cast<std::uint32_t>((sum * 0x9e3779b97f4a7c15ULL) >> 32U);
}

/// MAC addresses of hosts: exact match, open addressing, at most half full.
class HostTable {
public:
    void insert(const IpAddress& host, const MacAddress& mac);
    /// Valid until the next insert(); nullptr when the host is not known.
    [[nodiscard]] const MacAddress* find(const IpAddress& host) const noexcept {
        if (used_ == 0) {
            return nullptr;
        }
        for (std::size_t at = slot_hash(host.words());; ++at) {
            const Slot& slot = slots_[at & (slots_.size() - 1)];
            if (!slot.used || slot.host == host) {
                return slot.used ? &slot.mac : nullptr;
            }
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return used_; }

private:
    struct Slot {
        IpAddress host;
        MacAddress mac;
        bool used = false;
    };
    std::vector<Slot> slots_;  ///< A power of two of them.
    std::size_t used_ = 0;
};

/// A few addresses, asked for one by one.
class AddressSet {
public:
    AddressSet() = default;
    AddressSet(std::initializer_list<IpAddress> addresses) {
        for (const IpAddress& address : addresses) {
            insert(address);
        }
    }
    void insert(const IpAddress& address) {
        if (!contains(address)) {
            addresses_.push_back(address);
            table_.insert(address, {});
        }
    }
    [[nodiscard]] bool contains(const IpAddress& address) const noexcept {
        return table_.find(address) != nullptr;
    }
    [[nodiscard]] std::size_t size() const noexcept { return addresses_.size(); }
    [[nodiscard]] auto begin() const noexcept { return addresses_.begin(); }
    [[nodiscard]] auto end() const noexcept { return addresses_.end(); }

private:
    std::vector<IpAddress> addresses_;
    HostTable table_;
};

}  // namespace culvert::dataplane
