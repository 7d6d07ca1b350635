// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of tunnel peers. Built by the control thread, read by workers.

#include "dataplane/snapshot.hpp"

#include <bit>
#include <cstring>

#include <nmmintrin.h>

namespace culvert::dataplane {

std::uint32_t hash(const PeerKey& key) noexcept {
    std::uint64_t words[5];
    std::memcpy(words, &key, sizeof words);
    std::uint64_t value = 0x9e3779b9U;
    for (const std::uint64_t word : words) {
        value = _mm_crc32_u64(value, word);
    }
    return static_cast<std::uint32_t>(value);
}

PeerTable::PeerTable(const std::vector<Peer>& peers) {
    if (peers.empty()) {
        return;
    }
    slots_.resize(std::bit_ceil(peers.size() * 2));
    mask_ = slots_.size() - 1;
    for (const Peer& peer : peers) {
        std::size_t at = hash(peer.key) & mask_;
        while (slots_[at].port != kPortNone) {
            at = (at + 1) & mask_;
        }
        slots_[at] = peer;
        (peer.key.local.is_unset() ? any_local_ : specific_local_) = true;
        if (remotes_.size() <= peer.key.protocol) {
            remotes_.resize(peer.key.protocol + std::size_t{1});
        }
        remotes_[peer.key.protocol].insert(peer.key.remote);
    }
}

std::uint16_t PeerTable::find_exact(const PeerKey& key) const noexcept {
    for (std::size_t at = hash(key) & mask_;; at = (at + 1) & mask_) {
        const Peer& peer = slots_[at];
        if (peer.port == kPortNone || peer.key == key) {
            return peer.port;
        }
    }
}

std::uint16_t PeerTable::find(const PeerKey& key) const noexcept {
    if (specific_local_) {
        const std::uint16_t port = find_exact(key);
        if (port != kPortNone) {
            return port;
        }
    }
    if (any_local_) {
        PeerKey any = key;
        any.local = IpAddress{};
        return find_exact(any);
    }
    return kPortNone;
}

bool PeerTable::knows(std::uint8_t protocol, const IpAddress& remote) const noexcept {
    return protocol < remotes_.size() && remotes_[protocol].contains(remote);
}

}  // namespace culvert::dataplane
