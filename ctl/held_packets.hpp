// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that wait for an answer of the kernel, by what they wait for: bounded for each and for
// all. Control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <utility>

#include "dataplane/limits.hpp"
#include "dataplane/packet.hpp"

namespace culvert::ctl {

struct HeldPacket {
    rte_mbuf* packet = nullptr;
    unsigned worker = 0;     ///< To which it goes back.
    std::uint16_t port = 0;  ///< Of the tunnel.
    std::uint64_t since_ms = 0;
};

template <class Key>
class HeldPackets {
public:
    HeldPackets() = default;
    ~HeldPackets() {
        for (auto& [key, packets] : waiting_) {
            for (const HeldPacket& held : packets) {
                rte_pktmbuf_free(held.packet);
            }
        }
    }
    HeldPackets(const HeldPackets&) = delete;
    HeldPackets& operator=(const HeldPackets&) = delete;

    [[nodiscard]] bool contains(const Key& key) const { return waiting_.contains(key); }

    /// Takes the packet; false, and it still is the caller's, when kNeighbourQueueMax wait for
    /// `key` or kNeighbourHeldMax in all.
    [[nodiscard]] bool insert(const Key& key, const HeldPacket& held) {
        const auto found = waiting_.find(key);
        if ((found != waiting_.end() && found->second.size() >= dataplane::kNeighbourQueueMax) ||
            count_ >= dataplane::kNeighbourHeldMax) {
            return false;
        }
        waiting_[key].push_back(held);
        ++count_;
        return true;
    }

    /// Gives each packet that waits for `key`, in order, to `take`, and forgets it.
    template <class Take>
    void take(const Key& key, const Take& take) {
        const auto found = waiting_.find(key);
        if (found == waiting_.end()) {
            return;
        }
        const std::deque<HeldPacket> packets = std::move(found->second);
        waiting_.erase(found);
        count_ -= packets.size();
        for (const HeldPacket& held : packets) {
            take(held);
        }
    }

    /// The same for every key that `wanted` says.
    template <class Wanted, class Take>
    void take_if(const Wanted& wanted, const Take& take) {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            const auto next = std::next(at);
            if (wanted(at->first)) {
                this->take(Key(at->first), take);
            }
            at = next;
        }
    }

    /// The same for every packet that came before `before_ms`.
    template <class Take>
    void expire(std::uint64_t before_ms, const Take& take) {
        for (auto at = waiting_.begin(); at != waiting_.end();) {
            auto& packets = at->second;
            while (!packets.empty() && packets.front().since_ms < before_ms) {
                take(packets.front());
                packets.pop_front();
                --count_;
            }
            at = packets.empty() ? waiting_.erase(at) : std::next(at);
        }
    }

private:
    std::map<Key, std::deque<HeldPacket>> waiting_;
    std::size_t count_ = 0;
};

}  // namespace culvert::ctl
