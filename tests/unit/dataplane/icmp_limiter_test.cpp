// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rate and the burst of ICMP errors, by a clock that the test sets.
#include "dataplane/icmp_limiter.hpp"

#include <gtest/gtest.h>

namespace culvert::dataplane {
namespace {

unsigned taken(IcmpLimiter& limiter, std::uint64_t now_ms) {
    unsigned count = 0;
    while (limiter.take(now_ms)) {
        ++count;
    }
    return count;
}

TEST(IcmpLimiter, AllowsABurstAndThenTheRate) {
    IcmpLimiter limiter;
    EXPECT_EQ(taken(limiter, 5000), kIcmpErrorsBurst);
    EXPECT_EQ(taken(limiter, 5000), 0U);
    EXPECT_EQ(taken(limiter, 5001), kIcmpErrorsPerSecond / 1000);
    EXPECT_EQ(taken(limiter, 5011), kIcmpErrorsPerSecond / 100);
}

TEST(IcmpLimiter, SavesNoMoreThanABurst) {
    IcmpLimiter limiter;
    EXPECT_EQ(taken(limiter, 0), kIcmpErrorsBurst);
    EXPECT_EQ(taken(limiter, 3600000), kIcmpErrorsBurst);
    EXPECT_EQ(taken(limiter, UINT64_MAX), kIcmpErrorsBurst);
}

TEST(IcmpLimiter, AClockThatStepsBackGivesNothing) {
    IcmpLimiter limiter;
    EXPECT_EQ(taken(limiter, 1000), kIcmpErrorsBurst);
    EXPECT_EQ(taken(limiter, 500), 0U);
    EXPECT_EQ(taken(limiter, 1000), 0U);
    EXPECT_EQ(taken(limiter, 1001), kIcmpErrorsPerSecond / 1000);
}

}  // namespace
}  // namespace culvert::dataplane
