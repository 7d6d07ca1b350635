// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads the flow key of a frame without a VLAN tag, which most are, in one go: read_frame() for all
// frames of a port. Worker threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <smmintrin.h>

#include "dataplane/flow_key.hpp"
#include "dataplane/snapshot.hpp"

namespace culvert::dataplane {

class FrameReader {
public:
    /// What read() touches.
    static constexpr std::uint32_t kReadBytes = 16;

    FrameReader() = default;
    FrameReader(const PortView& view, std::uint16_t port) noexcept
        : front_(port | std::uint32_t{view.vlan.untagged_vlan} << 16U),
          accepts_(view.vlan.accept_untagged && view.vlan.carries(view.vlan.untagged_vlan)) {}

    /// Sets `key` and returns true, or returns false: read_frame() says what such a frame is.
    /// Precondition: kReadBytes are there.
    [[nodiscard]] bool read(const std::byte* frame, FlowKey& key) const noexcept {
        return read(_mm_loadu_si128(reinterpret_cast<const __m128i*>(frame)), key);
    }
    /// The same of the frame's first kReadBytes.
    [[nodiscard]] bool read(__m128i head, FlowKey& key) const noexcept {
        // Destination, source, EtherType: the key has port and VLAN before them.
        const auto low = static_cast<std::uint64_t>(_mm_cvtsi128_si64(head));
        const auto type = static_cast<std::uint16_t>(_mm_extract_epi16(head, 6));
        constexpr std::uint64_t kSourceGroupBit = std::uint64_t{1} << 48U;
        constexpr std::uint64_t kLinkLocalBits = 0xf0ffffffffff;  // 01:80:c2:00:00:0x.
        constexpr std::uint64_t kLinkLocal = 0x0000c28001;
        constexpr std::uint16_t kVlanType = 0x0081;
        const __m128i front = _mm_cvtsi32_si128(static_cast<int>(front_));
        _mm_store_si128(
            reinterpret_cast<__m128i*>(&key), _mm_or_si128(_mm_slli_si128(head, 4), front)
        );
        return accepts_ && (low & kSourceGroupBit) == 0 && (low & kLinkLocalBits) != kLinkLocal &&
               type != kVlanType;
    }

private:
    std::uint32_t front_ = 0;  ///< The first word of the key.
    bool accepts_ = false;
};
static_assert(offsetof(FlowKey, in_port) == 0 && offsetof(FlowKey, vlan) == 2);
static_assert(offsetof(FlowKey, destination) == 4 && offsetof(FlowKey, source) == 10);

}  // namespace culvert::dataplane
