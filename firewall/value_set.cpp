// SPDX-License-Identifier: GPL-2.0-or-later
//
// Look-up by the first interval: tuples stand in order of its low end, and reach_ says how far back
// one that still covers a value can stand.
#include "firewall/value_set.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace culvert::firewall {

TupleSet::TupleSet(std::size_t width, std::vector<Interval> intervals) : width_(width) {
    std::vector<std::size_t> order(intervals.size() / width);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return intervals[a * width].low < intervals[b * width].low;
    });
    intervals_.reserve(order.size() * width);
    reach_.reserve(order.size());
    for (const std::size_t index : order) {
        for (std::size_t i = 0; i < width; ++i) {
            intervals_.push_back(intervals[index * width + i]);
        }
        const Value high = intervals[index * width].high;
        reach_.push_back(reach_.empty() ? high : std::max(reach_.back(), high));
    }
}

bool TupleSet::contains(std::span<const Value> values) const noexcept {
    return may_contain(values, ~std::uint32_t{0});
}

bool TupleSet::may_contain(std::span<const Value> values, std::uint32_t known) const noexcept {
    const bool knows_first = (known & 1U) != 0;
    const Value first = values[0];
    // The last tuple that begins at or below the value, and from there back as far as one can
    // reach.
    std::size_t begin = knows_first ? 0 : size();
    std::size_t end = size();
    while (begin < end) {
        const std::size_t middle = begin + (end - begin) / 2;
        if (intervals_[middle * width_].low <= first) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    for (std::size_t index = begin; index-- > 0 && (!knows_first || reach_[index] >= first);) {
        const auto candidate = tuple(index);
        bool holds = true;
        for (std::size_t i = 0; holds && i < width_; ++i) {
            holds = (known >> i & 1U) == 0 || candidate[i].contains(values[i]);
        }
        if (holds) {
            return true;
        }
    }
    return false;
}

}  // namespace culvert::firewall
