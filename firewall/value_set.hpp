// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sets of tuples of intervals: what a rule compares fields with. One port, a list of ports, an
// ipset of networks and ports and a set of nftables are all one of these. Immutable once made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "firewall/address.hpp"

namespace culvert::firewall {

/// Both ends belong to it.
struct Interval {
    Value low = 0;
    Value high = 0;
    bool operator==(const Interval&) const = default;

    [[nodiscard]] bool contains(Value value) const { return low <= value && value <= high; }
};

class TupleSet {
public:
    /// `intervals` holds the tuples one behind the other, `width` intervals each (at least 1).
    TupleSet(std::size_t width, std::vector<Interval> intervals);

    [[nodiscard]] std::size_t width() const { return width_; }
    [[nodiscard]] std::size_t size() const { return intervals_.size() / width_; }
    [[nodiscard]] std::span<const Interval> tuple(std::size_t index) const {
        return std::span(intervals_).subspan(index * width_, width_);
    }

    /// Whether a tuple holds `values`, of which there are width(). Logarithmic for one field, and
    /// for several where the first field's intervals are disjoint or equal.
    [[nodiscard]] bool contains(std::span<const Value> values) const noexcept;
    /// Whether a tuple holds those of `values` whose bit in `known` is set, the first having the
    /// lowest. Linear where the first is not known.
    [[nodiscard]] bool
    may_contain(std::span<const Value> values, std::uint32_t known) const noexcept;

private:
    std::size_t width_ = 1;
    std::vector<Interval> intervals_;  ///< Tuples in order of the first interval's low end.
    std::vector<Value> reach_;  ///< By tuple: the highest end of the first intervals up to it.
};

}  // namespace culvert::firewall
