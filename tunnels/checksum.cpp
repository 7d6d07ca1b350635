// SPDX-License-Identifier: GPL-2.0-or-later
//
// The Internet checksum (RFC 1071). A one's complement sum may be taken over words of any width and
// in either byte order, and folded afterwards (RFC 1071 section 2): bulk data is added as 32-bit
// lanes into 64-bit lanes, which leaves room for 2^32 additions before a carry could be lost.
// Any thread may call everything here.
#include "tunnels/checksum.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <emmintrin.h>

#include "tunnels/address.hpp"
#include "tunnels/endian.hpp"

namespace culvert::tunnels {

namespace {

template <class Word>
std::uint64_t load_word(const std::byte* from) noexcept {
    Word word;
    std::memcpy(&word, from, sizeof word);
    return word;
}

__m128i load_lanes(const std::byte* from) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

/// The even and the odd 32-bit lanes of `lanes`, each widened to 64 bits, added up.
__m128i widen_add(__m128i sum, __m128i lanes) noexcept {
    const __m128i low_half = _mm_set1_epi64x(0xffffffff);
    sum = _mm_add_epi64(sum, _mm_and_si128(lanes, low_half));
    return _mm_add_epi64(sum, _mm_srli_epi64(lanes, 32));
}

constexpr std::size_t kBlockBytes = 64;

/// Sum of `blocks` * kBlockBytes bytes. Two accumulators, as each addition waits for the last.
std::uint64_t sum_blocks(const std::byte* data, std::size_t blocks) noexcept {
    __m128i first = _mm_setzero_si128();
    __m128i second = _mm_setzero_si128();
    for (; blocks != 0; --blocks, data += kBlockBytes) {
        first = widen_add(first, load_lanes(data));
        second = widen_add(second, load_lanes(data + 16));
        first = widen_add(first, load_lanes(data + 32));
        second = widen_add(second, load_lanes(data + 48));
    }
    first = _mm_add_epi64(first, second);
    first = _mm_add_epi64(first, _mm_srli_si128(first, 8));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(first));
}

/// Sum of fewer than kBlockBytes bytes. An odd last byte is the first of its word in memory.
std::uint64_t sum_tail(const std::byte* data, std::size_t bytes) noexcept {
    std::uint64_t sum = 0;
    for (; bytes >= 8; bytes -= 8, data += 8) {
        sum = checksum_sum(sum, load_word<std::uint64_t>(data));
    }
    std::uint64_t rest = 0;
    if ((bytes & 4U) != 0) {
        rest += load_word<std::uint32_t>(data);
        data += 4;
    }
    if ((bytes & 2U) != 0) {
        rest += load_word<std::uint16_t>(data);
        data += 2;
    }
    if ((bytes & 1U) != 0) {
        rest += load_word<std::uint8_t>(data);
    }
    return checksum_sum(sum, rest);
}

}  // namespace

std::uint64_t
checksum_add(std::uint64_t sum, std::span<const std::byte> data, bool odd_start) noexcept {
    const std::size_t blocks = data.size() / kBlockBytes;
    const std::size_t block_bytes = blocks * kBlockBytes;
    std::uint64_t added = blocks != 0 ? sum_blocks(data.data(), blocks) : 0;
    added = checksum_sum(added, sum_tail(data.data() + block_bytes, data.size() - block_bytes));
    if (odd_start) {
        // Every byte stands in the other half of its word, so the halves of the sum change places.
        added = swap_bytes(checksum_fold(added));
    }
    return checksum_sum(sum, added);
}

std::uint64_t pseudo_header_sum(
    const IpAddress& source,
    const IpAddress& destination,
    std::uint8_t protocol,
    std::uint32_t length_bytes
) noexcept {
    // One sum serves both families: the ::ffff prefix of a mapped address adds 0xffff, which is
    // zero in one's complement, and protocol and length have the same weight in both headers.
    std::uint64_t sum = std::uint64_t{Be32(length_bytes).memory_order()} +
                        Be16(std::uint16_t{protocol}).memory_order();
    for (const IpAddress* address : {&source, &destination}) {
        std::uint64_t half = 0;
        std::memcpy(&half, &address->bytes[0], sizeof half);
        sum = checksum_sum(sum, half);
        std::memcpy(&half, &address->bytes[8], sizeof half);
        sum = checksum_sum(sum, half);
    }
    return sum;
}

}  // namespace culvert::tunnels
