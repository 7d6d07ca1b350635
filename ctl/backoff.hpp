// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long to wait before the next connection: twice as long each time, up to a bound, until one
// was of use for a while. No thread affinity.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

namespace culvert::ctl {

class Backoff {
public:
    using Duration = std::chrono::milliseconds;

    Backoff(Duration shortest, Duration longest) : shortest_(shortest), longest_(longest) {}

    /// The next wait.
    [[nodiscard]] Duration take() { return std::exchange(next_, std::min(2 * next_, longest_)); }
    void reset() { next_ = shortest_; }
    /// A connection was of use for so long; one that ends sooner than the longest wait may be one
    /// of many.
    void connection_lasted(std::chrono::steady_clock::duration time) {
        if (time >= longest_) {
            reset();
        }
    }

private:
    Duration shortest_;
    Duration longest_;
    Duration next_ = shortest_;
};

}  // namespace culvert::ctl
