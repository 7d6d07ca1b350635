// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a forwarding decision depends on. The key is masked to the fields that any rule of the
// ingress port's bridge reads: a learning bridge reads port, VLAN and MAC addresses (the 16-byte L2
// part) and nothing else.
#pragma once

#include <cstdint>
#include <cstring>

#include <nmmintrin.h>

#include "tunnels/address.hpp"

namespace culvert::dataplane {

/// 16 bytes without padding, compared and hashed as two 64-bit words.
struct alignas(16) FlowKey {
    std::uint16_t in_port = 0;  ///< Port index; for a decapsulated packet that of the tunnel port.
    std::uint16_t vlan = 0;     ///< VLAN ID inside the bridge (0 = untagged).
    tunnels::MacAddress destination;
    tunnels::MacAddress source;

    /// All 16 bytes at once, instead of member by member, which is what the default comes to.
    [[nodiscard]] bool operator==(const FlowKey& other) const noexcept {
        const __m128i a = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
        const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(&other));
        return _mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) == 0xffff;
    }
};
static_assert(sizeof(FlowKey) == 16);

[[nodiscard]] inline std::uint32_t hash(const FlowKey& key) noexcept {
    std::uint64_t word[2];
    std::memcpy(word, &key, sizeof word);
    const std::uint64_t low = _mm_crc32_u64(0x9e3779b9U, word[0]);
    const std::uint64_t high = _mm_crc32_u64(low, word[1]);
    // CRC32-C is linear: a multiply spreads keys that differ in few bits over tag and bucket.
    return static_cast<std::uint32_t>((((high << 32U) | low) * 0x9e3779b97f4a7c15ULL) >> 32U);
}

}  // namespace culvert::dataplane
