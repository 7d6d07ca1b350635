// SPDX-License-Identifier: GPL-2.0-or-later
//
// The anti-replay window: numbered cases, the inference of appendix A2 of RFC 4303 by its letter,
// and random traffic beside a model that remembers every number.
#include "tunnels/esp/replay_window.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::tunnels {

void PrintTo(ReplayVerdict verdict, std::ostream* out) {
    constexpr std::array kNames{"fresh", "repeated", "late", "zero"};
    *out << kNames.at(static_cast<std::size_t>(verdict));
}

namespace {

using enum ReplayVerdict;

constexpr std::uint64_t kTurn = std::uint64_t{1} << 32U;  ///< Numbers of one high half.

struct Step {
    std::uint64_t sequence;
    ReplayVerdict verdict;
};

void expect_steps(ReplayWindow& window, const std::vector<Step>& steps) {
    unsigned number = 0;
    for (const Step& step : steps) {
        EXPECT_EQ(window.judge(step.sequence), step.verdict) << "judge, step " << number;
        EXPECT_EQ(window.accept(step.sequence), step.verdict) << "accept, step " << number;
        ++number;
    }
}

const std::vector<std::uint32_t> kWidths{64, 128, 192, 1024, 2048, 4032, 4096};

TEST(ReplayWindow, TakesEachNumberOnce) {
    for (const std::uint32_t width : kWidths) {
        ReplayWindow window(width, true);
        const std::uint64_t w = width;
        expect_steps(
            window,
            {
                {0, zero},               // 0
                {1, fresh},              // 1
                {1, repeated},           // 2
                {9, fresh},              // 3: a gap
                {8, fresh},              // 4: in the gap
                {7, fresh},              // 5
                {7, repeated},           // 6
                {w, fresh},              // 7: the window is full to its left end
                {w - 1, fresh},          // 8
                {w, repeated},           // 9
                {w + 1, fresh},          // 10
                {w + 2, fresh},          // 11: 1 and 2 have left
                {2, late},               // 12
                {3, fresh},              // 13: the leftmost
                {3, repeated},           // 14
                {w + 16, fresh},         // 15
                {3, late},               // 16
                {w + 15, fresh},         // 17
                {16, late},              // 18
                {17, fresh},             // 19
                {17, repeated},          // 20
                {4 * w, fresh},          // 21: beyond all that was seen
                {3 * w, late},           // 22
                {3 * w + 1, fresh},      // 23
                {4 * w - 1, fresh},      // 24
                {4 * w - 1, repeated},   // 25
                {4 * w + w - 1, fresh},  // 26: by one less than the width
                {4 * w, repeated},       // 27: the leftmost one
                {4 * w - 1, late},       // 28
                {6 * w - 1, fresh},      // 29: by the width
                {5 * w - 1, late},       // 30
                {5 * w, fresh},          // 31
                {7 * w, fresh},          // 32: by one more than the width
                {6 * w, late},           // 33
                {6 * w + 1, fresh},      // 34
                {0, zero},               // 35
            }
        );
        EXPECT_EQ(window.highest(), 7 * w);
    }
}

TEST(ReplayWindow, DescendingNumbersAreFreshToItsEnd) {
    for (const std::uint32_t width : kWidths) {
        ReplayWindow window(width, true);
        const std::uint64_t highest = 3 * std::uint64_t{width} + 7;
        for (std::uint64_t back = 0; back < width; ++back) {
            ASSERT_EQ(window.accept(highest - back), fresh) << back;
            ASSERT_EQ(window.accept(highest - back), repeated) << back;
        }
        EXPECT_EQ(window.accept(highest - width), late);
        EXPECT_EQ(window.highest(), highest);
    }
}

TEST(ReplayWindow, AJumpForgetsNothingThatIsStillInside) {
    for (const std::uint32_t width : kWidths) {
        for (std::uint64_t jump = 1; jump < 3 * std::uint64_t{width}; jump += jump < 300 ? 1 : 61) {
            ReplayWindow window(width, true);
            for (std::uint64_t i = 1; i <= width; i += 3) {
                ASSERT_EQ(window.accept(i), fresh);
            }
            const std::uint64_t highest = window.highest() + jump;
            ASSERT_EQ(window.accept(highest), fresh);
            for (std::uint64_t i = 1; i < highest; ++i) {
                const ReplayVerdict expected = highest - i >= width       ? late
                                               : i <= width && i % 3 == 1 ? repeated
                                                                          : fresh;
                ASSERT_EQ(window.judge(i), expected) << width << ' ' << jump << ' ' << i;
            }
        }
    }
}

TEST(ReplayWindow, JudgingChangesNothing) {
    ReplayWindow window(64, true);
    EXPECT_EQ(window.judge(100), fresh);
    EXPECT_EQ(window.judge(100), fresh);
    EXPECT_EQ(window.highest(), 0U);
    EXPECT_EQ(window.accept(5), fresh);
}

TEST(ReplayWindow, AcceptingJudgesAnew) {
    // Two workers have judged the same packet before either has opened it.
    ReplayWindow window(64, true);
    EXPECT_EQ(window.judge(7), fresh);
    EXPECT_EQ(window.judge(7), fresh);
    EXPECT_EQ(window.accept(7), fresh);
    EXPECT_EQ(window.accept(7), repeated);
    // And one that was judged as fresh may be late by the time.
    EXPECT_EQ(window.judge(8), fresh);
    EXPECT_EQ(window.accept(500), fresh);
    EXPECT_EQ(window.accept(8), late);
}

TEST(ReplayWindow, WidthsAreRoundedUpAndBounded) {
    EXPECT_EQ(ReplayWindow(0, false).packets(), 64U);
    EXPECT_EQ(ReplayWindow(32, false).packets(), 64U);
    EXPECT_EQ(ReplayWindow(64, false).packets(), 64U);
    EXPECT_EQ(ReplayWindow(65, false).packets(), 128U);
    EXPECT_EQ(ReplayWindow(4096, false).packets(), 4096U);
    EXPECT_EQ(ReplayWindow(4097, false).packets(), 4096U);
    EXPECT_EQ(ReplayWindow(std::numeric_limits<std::uint32_t>::max(), true).packets(), 4096U);
    EXPECT_TRUE(ReplayWindow(64, true).is_extended());
    EXPECT_FALSE(ReplayWindow(64, false).is_extended());
}

TEST(ReplayWindow, StartsBehindANumber) {
    for (const std::uint32_t width : kWidths) {
        for (const std::uint64_t start :
             {std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{64}, 5 * kTurn + 130}) {
            ReplayWindow window(width, true, start);
            EXPECT_EQ(window.highest(), start);
            for (std::uint64_t i = start > 5000 ? start - 5000 : 0; i <= start; ++i) {
                ASSERT_NE(window.judge(i), fresh) << i;
            }
            for (std::uint64_t i = start + 1; i < start + 200; ++i) {
                ASSERT_EQ(window.accept(i), fresh) << i;
                ASSERT_EQ(window.accept(i), repeated) << i;
            }
            EXPECT_EQ(window.accept(start + 200 + 3 * std::uint64_t{width}), fresh);
            EXPECT_EQ(window.accept(start + 200 + 2 * std::uint64_t{width} + 1), fresh);
        }
    }
}

TEST(ReplayWindow, ShortNumbersEndAt32Bits) {
    ReplayWindow window(64, false);
    const std::uint32_t last = std::numeric_limits<std::uint32_t>::max();
    expect_steps(
        window, {{last - 1, fresh}, {last, fresh}, {last, repeated}, {last - 64, late}, {1, late}}
    );
    // After the last one there is none: what a sender that went on would send is not fresh.
    for (const std::uint32_t low : {0U, 1U, 2U, 63U, 64U, 65U, 0x80000000U}) {
        EXPECT_NE(window.accept(window.infer(low)), fresh) << low;
    }
    EXPECT_EQ(window.infer(5), 5U);
    EXPECT_EQ(window.infer(last), last);
}

/// Appendix A2.1 by its letter; but where the number would be before the first one.
std::uint64_t inferred_by_rfc4303(std::uint64_t highest, std::uint32_t width, std::uint32_t low) {
    const std::uint64_t th = highest >> 32U;
    const std::uint64_t tl = highest & (kTurn - 1);
    if (tl >= width - 1) {
        return (low >= tl - width + 1 ? th : (th + 1) % kTurn) << 32U | low;
    }
    const std::uint64_t left = (tl + kTurn - width + 1) % kTurn;
    return (low >= left && th > 0 ? th - 1 : th) << 32U | low;
}

TEST(ReplayWindow, InfersTheHighHalfAsRfc4303Says) {
    for (const std::uint32_t width : kWidths) {
        const std::uint64_t w = width;
        std::vector<std::uint64_t> highest_ones{1, 2, w - 2, w - 1, w, 1000, kTurn / 2};
        for (const std::uint64_t turn : {std::uint64_t{1}, std::uint64_t{2}, kTurn - 1}) {
            for (const std::uint64_t near :
                 {std::uint64_t{0},
                  std::uint64_t{1},
                  w - 2,
                  w - 1,
                  w,
                  kTurn / 2,
                  kTurn - 2,
                  kTurn - 1}) {
                highest_ones.push_back(turn * kTurn + near);
            }
        }
        for (const std::uint64_t highest : highest_ones) {
            const ReplayWindow window(width, true, highest);
            for (const std::uint64_t base : {std::uint64_t{0}, highest, highest - w, kTurn / 2}) {
                for (std::uint64_t i = 0; i < 7; ++i) {
                    const auto low = static_cast<std::uint32_t>(base + i - 3);
                    ASSERT_EQ(window.infer(low), inferred_by_rfc4303(highest, width, low))
                        << "highest " << highest << " width " << width << " low " << low;
                }
            }
        }
    }
}

TEST(ReplayWindow, EveryNumberInAndAroundItIsInferred) {
    // Up to where the low half is that of a number inside the window.
    for (const std::uint32_t width : kWidths) {
        for (const std::uint64_t highest :
             {kTurn - 3, kTurn, kTurn + 3, 7 * kTurn + width - 1, 7 * kTurn + width}) {
            const ReplayWindow window(width, true, highest);
            const std::uint64_t left = highest - width + 1;
            for (std::uint64_t i = left; i < left + 3 * std::uint64_t{width}; ++i) {
                ASSERT_EQ(window.infer(static_cast<std::uint32_t>(i)), i);
            }
            const std::uint64_t right = left + kTurn - 1;
            ASSERT_EQ(window.infer(static_cast<std::uint32_t>(right)), right);
            // One more is taken for the leftmost, which its ICV will not confirm.
            ASSERT_EQ(window.infer(static_cast<std::uint32_t>(right + 1)), left);
        }
    }
}

TEST(ReplayWindow, GoesOnOverThe32BitBoundary) {
    ReplayWindow window(128, true);
    expect_steps(
        window,
        {
            {kTurn - 200, fresh},
            {kTurn - 2, fresh},
            {kTurn + 1, fresh},
            {kTurn - 1, fresh},
            {kTurn, fresh},  // Its low half is zero, it is not.
            {kTurn, repeated},
            {kTurn - 2, repeated},
            {kTurn - 1, repeated},
            {kTurn + 120, fresh},
            {kTurn - 8, late},
            {kTurn - 7, fresh},
            {kTurn - 7, repeated},
        }
    );
    // As packets carry them.
    EXPECT_EQ(window.infer(0xfffffff9U), kTurn - 7);
    EXPECT_EQ(window.judge(window.infer(0xfffffff9U)), repeated);
    EXPECT_EQ(window.infer(120), kTurn + 120);
    EXPECT_EQ(window.judge(window.infer(120)), repeated);
    // A packet of the turn before, replayed: taken for one of the next turn, which has another ICV.
    EXPECT_EQ(window.infer(0xffffff38U), 2 * kTurn - 200);
}

TEST(ReplayWindow, AtTheEndOf64BitsNothingIsFreshAgain) {
    const std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
    ReplayWindow window(64, true, last - 2);
    EXPECT_EQ(window.accept(last), fresh);
    EXPECT_EQ(window.accept(last - 1), fresh);
    for (const std::uint32_t low : {0U, 1U, 63U, 64U, 1000U, 0xfffffffeU, 0xffffffffU}) {
        EXPECT_NE(window.accept(window.infer(low)), fresh) << low;
    }
}

/// What a window of `width` has to say, by remembering all.
class Model {
public:
    explicit Model(std::uint32_t width) : width_(width) {}

    ReplayVerdict accept(std::uint64_t sequence) {
        if (sequence == 0) {
            return zero;
        }
        if (seen_.empty()) {
            seen_.insert(sequence);
            return fresh;
        }
        const std::uint64_t highest = *seen_.rbegin();
        if (sequence <= highest && highest - sequence >= width_) {
            return late;
        }
        return seen_.insert(sequence).second ? fresh : repeated;
    }

private:
    std::uint64_t width_;
    std::set<std::uint64_t> seen_;
};

TEST(ReplayWindow, RandomTrafficIsJudgedAsByTheModel) {
    std::mt19937_64 random(7);
    for (const std::uint32_t width : kWidths) {
        for (const bool extended : {false, true}) {
            ReplayWindow window(width, extended);
            Model model(width);
            // Starts so that numbers of 64 bits cross a boundary.
            std::uint64_t next = extended ? kTurn - 5 * std::uint64_t{width} : 1;
            for (unsigned i = 0; i < 20000; ++i) {
                std::uint64_t sequence = next;
                const std::uint64_t kind = random() % 100;
                if (kind < 50) {
                    ++next;
                } else if (kind < 90) {
                    sequence -= std::min<std::uint64_t>(next, random() % (width + 20));
                } else if (kind < 99) {
                    sequence += random() % 70;
                    next = sequence + 1;
                } else {
                    sequence += random() % (3 * std::uint64_t{width});
                    next = sequence + 1;
                }
                const auto low = static_cast<std::uint32_t>(sequence);
                // As received; left of the window only if it is not yet another turn's.
                if (window.infer(low) != sequence) {
                    ASSERT_TRUE(extended && sequence + width <= window.highest());
                    continue;
                }
                const ReplayVerdict judged = window.judge(sequence);
                const ReplayVerdict expected = model.accept(sequence);
                ASSERT_EQ(judged, expected) << width << ' ' << sequence;
                ASSERT_EQ(window.accept(sequence), expected) << width << ' ' << sequence;
            }
        }
    }
}

}  // namespace
}  // namespace culvert::tunnels
