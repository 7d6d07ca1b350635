// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of tunnel peers. See peer_table.hpp.

#include "dataplane/peer_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include <nmmintrin.h>

namespace culvert::dataplane {

namespace {

std::uint32_t hash(const PeerKey& key, std::uint8_t level) noexcept {
    std::uint64_t words[5];
    std::memcpy(words, &key, sizeof words);
    std::uint64_t value = 0x9e3779b9U + level;
    for (const std::uint64_t word : words) {
        value = _mm_crc32_u64(value, word);
    }
    return static_cast<std::uint32_t>(value);
}

/// What of `key` a tunnel that matches so can have in common with a packet.
PeerKey masked(PeerKey key, const PeerMatch& match) noexcept {
    if (match.local != PeerMatch::Local::configured) {
        key.local = IpAddress{};
    }
    if (match.any_remote) {
        key.remote = IpAddress{};
    }
    if (match.any_key) {
        key.key = 0;
    }
    return key;
}

}  // namespace

PeerTable::PeerTable(const std::vector<Peer>& peers) {
    if (peers.empty()) {
        return;
    }
    slots_.resize(std::bit_ceil(peers.size() * 2));
    mask_ = slots_.size() - 1;
    for (const Peer& peer : peers) {
        const PeerKey key = masked(peer.key, peer.match);
        const std::uint8_t level = peer.match.level();
        std::size_t at = hash(key, level) & mask_;
        while (slots_[at].port != kPortNone) {
            at = (at + 1) & mask_;
        }
        slots_[at] = {key, peer.port, level};
        if (std::none_of(levels_.begin(), levels_.end(), [&](const PeerMatch& other) {
                return other.level() == level;
            })) {
            levels_.push_back(peer.match);
        }
        if (remotes_.size() <= key.protocol) {
            remotes_.resize(key.protocol + std::size_t{1});
            any_remote_.resize(remotes_.size());
        }
        if (peer.match.any_remote) {
            any_remote_[key.protocol] = true;
        } else {
            remotes_[key.protocol].insert(key.remote);
        }
    }
    std::ranges::sort(levels_, [](const PeerMatch& a, const PeerMatch& b) {
        return a.level() < b.level();
    });
}

std::uint16_t PeerTable::find_exact(const PeerKey& key, std::uint8_t level) const noexcept {
    for (std::size_t at = hash(key, level) & mask_;; at = (at + 1) & mask_) {
        const Slot& slot = slots_[at];
        if (slot.port == kPortNone || (slot.level == level && slot.key == key)) {
            return slot.port;
        }
    }
}

std::uint16_t PeerTable::find(const PeerKey& key) const noexcept {
    for (const PeerMatch& match : levels_) {
        PeerKey wanted = masked(key, match);
        if (match.nvgre_key && !match.any_key) {
            wanted.key >>= 8U;
        }
        const std::uint16_t port = find_exact(wanted, match.level());
        if (port != kPortNone) {
            return port;
        }
    }
    return kPortNone;
}

bool PeerTable::knows(std::uint8_t protocol, const IpAddress& remote) const noexcept {
    return protocol < remotes_.size() &&
           (any_remote_[protocol] || remotes_[protocol].contains(remote));
}

}  // namespace culvert::dataplane
