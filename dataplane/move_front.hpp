// SPDX-License-Identifier: GPL-2.0-or-later
//
// Moves the headers at the front of a packet by some bytes, onto or off what is enciphered. Any
// thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <emmintrin.h>

namespace culvert::dataplane {

inline constexpr std::uint32_t kMovedBytesMin = 32;

/// memmove() of kMovedBytesMin bytes or more, made for headers of Ethernet and IP: those are read
/// whole before any is written.
inline void move_front(std::byte* to, const std::byte* from, std::uint32_t bytes) noexcept {
    constexpr std::uint32_t kLane = 16;
    if (bytes > 4 * kLane) [[unlikely]] {
        std::memmove(to, from, bytes);
        return;
    }
    const auto load = [&](std::uint32_t at) noexcept {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
    };
    const auto store = [&](std::uint32_t at, __m128i lane) noexcept {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), lane);
    };
    const std::uint32_t last = bytes - kLane;
    const std::uint32_t third = std::min(2 * kLane, last);
    const __m128i a = load(0);
    const __m128i b = load(kLane);
    const __m128i c = load(third);
    const __m128i d = load(last);
    store(0, a);
    store(kLane, b);
    store(third, c);
    store(last, d);
}

}  // namespace culvert::dataplane
