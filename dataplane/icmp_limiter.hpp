// SPDX-License-Identifier: GPL-2.0-or-later
//
// How many ICMP errors a worker sends: a token bucket (RFC 1812 section 4.3.2.8, RFC 4443 section
// 2.4(f)). One per worker, for its thread only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/limits.hpp"

namespace culvert::dataplane {

class IcmpLimiter {
public:
    /// Whether an error may be sent at `now_ms`, of any clock that does not run backwards (a value
    /// before the last one counts as equal to it). If so, it counts as sent.
    [[nodiscard]] bool take(std::uint64_t now_ms) noexcept {
        if (now_ms > last_ms_) {
            const std::uint64_t elapsed_ms = std::min(now_ms - last_ms_, kFillMs);
            credit_ = std::min(credit_ + elapsed_ms * kIcmpErrorsPerSecond, kCreditMax);
            last_ms_ = now_ms;
        }
        if (credit_ < kCreditPerError) {
            return false;
        }
        credit_ -= kCreditPerError;
        return true;
    }

private:
    /// Thousandths, so that a millisecond's share is a whole number for every rate.
    static constexpr std::uint64_t kCreditPerError = 1000;
    static constexpr std::uint64_t kCreditMax = kIcmpErrorsBurst * kCreditPerError;
    static constexpr std::uint64_t kFillMs = kCreditMax / kIcmpErrorsPerSecond + 1;

    std::uint64_t credit_ = kCreditMax;
    std::uint64_t last_ms_ = 0;
};

}  // namespace culvert::dataplane
