// SPDX-License-Identifier: GPL-2.0-or-later
//
// The anti-replay window. See replay_window.hpp.

#include "tunnels/esp/replay_window.hpp"

#include <algorithm>

namespace culvert::tunnels {

namespace {

constexpr std::uint64_t kBitsPerWord = 64;

std::uint32_t width_of(std::uint32_t packets) noexcept {
    const std::uint32_t bounded =
        std::clamp(packets, ReplayWindow::kPacketsMin, ReplayWindow::kPacketsMax);
    return (bounded + 63) / 64 * 64;
}

std::uint64_t bit_of(std::uint64_t sequence) noexcept {
    return std::uint64_t{1} << (sequence % kBitsPerWord);
}

}  // namespace

ReplayWindow::ReplayWindow(std::uint32_t packets, bool extended, std::uint64_t highest) noexcept
    : highest_(highest), packets_(width_of(packets)),
      ring_mask_(std::bit_ceil(packets_ / 64 + 1) - 1), extended_(extended) {
    if (highest != 0) {
        seen_.fill(~std::uint64_t{0});
        // Of the word that the next numbers fall into, only those that are behind.
        word_of(highest) = bit_of(highest) | (bit_of(highest) - 1);
    }
}

std::uint64_t& ReplayWindow::word_of(std::uint64_t sequence) noexcept {
    return seen_[sequence / kBitsPerWord & ring_mask_];
}

std::uint64_t ReplayWindow::infer(std::uint32_t low) const noexcept {
    if (!extended_) {
        return low;
    }
    const auto highest_low = static_cast<std::uint32_t>(highest_);
    const auto high = static_cast<std::uint32_t>(highest_ >> 32U);
    // The lowest number of the window, modulo 2^32.
    const std::uint32_t bottom = highest_low - packets_ + 1;
    std::uint32_t meant = high;
    if (highest_low >= packets_ - 1) {
        // RFC 4303 appendix A2.1, case A: the window lies between two wraps.
        meant = low >= bottom ? high : high + 1;
    } else if (low >= bottom && high != 0) {
        // Case B: the window holds a wrap, and this one is before it. Nothing is before number 0,
        // so that there it is one far ahead.
        meant = high - 1;
    }
    return std::uint64_t{meant} << 32U | low;
}

ReplayVerdict ReplayWindow::judge(std::uint64_t sequence) const noexcept {
    if (sequence > highest_) {
        return ReplayVerdict::fresh;
    }
    if (sequence == 0) {
        return ReplayVerdict::zero;
    }
    if (highest_ - sequence >= packets_) {
        return ReplayVerdict::late;
    }
    const std::uint64_t word = seen_[sequence / kBitsPerWord & ring_mask_];
    return (word & bit_of(sequence)) != 0 ? ReplayVerdict::repeated : ReplayVerdict::fresh;
}

ReplayVerdict ReplayWindow::accept(std::uint64_t sequence) noexcept {
    const ReplayVerdict verdict = judge(sequence);
    if (verdict != ReplayVerdict::fresh) {
        return verdict;
    }
    if (sequence > highest_) {
        // The words that the window moves into held numbers of one turn of the ring before.
        const std::uint64_t words = std::min<std::uint64_t>(
            sequence / kBitsPerWord - highest_ / kBitsPerWord, ring_mask_ + std::uint64_t{1}
        );
        for (std::uint64_t i = 0; i < words; ++i) {
            word_of(sequence - i * kBitsPerWord) = 0;
        }
        highest_ = sequence;
    }
    word_of(sequence) |= bit_of(sequence);
    return verdict;
}

}  // namespace culvert::tunnels
