// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rebalancing of a bond: buckets go from the busiest member to the idlest while that brings them
// nearer to each other by enough. The thresholds are Open vSwitch's.

#include <algorithm>
#include <map>

#include "ctl/bond.hpp"
#include "ctl/log.hpp"

namespace culvert::ctl {

namespace {

/// A difference below this, or below a thirty-second of the lesser load, is not worth a move.
constexpr std::uint64_t kWorthBytes = 100000;
constexpr unsigned kWorthShift = 5;
/// Moving has to take away a tenth of what a member is off the middle.
constexpr std::uint64_t kGainShare = 10;

struct Load {
    std::uint16_t port = dataplane::kPortNone;
    std::uint64_t bytes = 0;
    std::vector<std::size_t> buckets;  ///< With load, the heaviest first.
};

/// Buckets of `from` to be moved to a member with `to_bytes`; none when that would not help.
std::vector<std::size_t>
choose_moves(const Load& from, std::uint64_t to_bytes, const Bond::Buckets& buckets) {
    std::vector<std::size_t> moves;
    if (from.buckets.size() < 2) {
        return moves;  // One bucket can't be split; moved, it would be as heavy elsewhere.
    }
    const std::uint64_t ideal = (from.bytes + to_bytes) / 2 - to_bytes;
    const std::uint64_t gain_min = ideal / kGainShare;
    std::uint64_t moved = 0;
    for (const std::size_t bucket : from.buckets) {
        if (moved + buckets[bucket].load_bytes <= ideal) {
            moves.push_back(bucket);
            moved += buckets[bucket].load_bytes;
        }
        if (ideal - moved < gain_min) {
            break;
        }
    }
    if (moves.empty()) {
        moves.push_back(from.buckets.back());
        moved = buckets[from.buckets.back()].load_bytes;
    }
    const std::uint64_t lesser = std::min(from.bytes - moved, to_bytes + moved);
    if (lesser <= to_bytes || lesser - to_bytes < gain_min) {
        moves.clear();
    }
    return moves;
}

}  // namespace

bool Bond::rebalance(std::uint64_t now_ms) {
    if (!rebalances() || now_ms < next_rebalance_ms_) {
        return false;
    }
    next_rebalance_ms_ = now_ms + config_.rebalance_ms;
    std::vector<Load> loads;
    for (const BondMember& member : members_) {
        if (member.enabled) {
            loads.push_back({member.input.port, 0, {}});
        }
    }
    for (Load& load : loads) {
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            if (buckets_[i].member == load.port && buckets_[i].load_bytes != 0) {
                load.bytes += buckets_[i].load_bytes;
                load.buckets.push_back(i);
            }
        }
        std::stable_sort(
            load.buckets.begin(),
            load.buckets.end(),
            [&](std::size_t a, std::size_t b) {
                return buckets_[a].load_bytes > buckets_[b].load_bytes;
            }
        );
    }
    bool moved = false;
    while (loads.size() > 1) {
        std::stable_sort(loads.begin(), loads.end(), [](const Load& a, const Load& b) {
            return a.bytes > b.bytes;
        });
        Load& from = loads.front();
        Load& to = loads.back();
        const std::uint64_t overload = from.bytes - to.bytes;
        if (overload < to.bytes >> kWorthShift || overload < kWorthBytes) {
            break;
        }
        const auto moves = choose_moves(from, to.bytes, buckets_);
        if (moves.empty()) {
            loads.erase(loads.begin());  // Nothing of it can be moved usefully.
            continue;
        }
        for (const std::size_t bucket : moves) {
            buckets_[bucket].member = to.port;
            from.bytes -= buckets_[bucket].load_bytes;
            to.bytes += buckets_[bucket].load_bytes;
            std::erase(from.buckets, bucket);  // And not moved on in this round.
        }
        moved = true;
    }
    for (Bucket& bucket : buckets_) {
        bucket.load_bytes /= 2;
    }
    if (moved) {
        logger("bond").info("{}: load was moved between members", config_.name);
    }
    return moved;
}

}  // namespace culvert::ctl
