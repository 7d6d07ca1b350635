// SPDX-License-Identifier: GPL-2.0-or-later
//
// Offsets are those of ARP for IPv4 over Ethernet (RFC 826). See gratuitous_arp.hpp.

#include "dataplane/gratuitous_arp.hpp"

#include <algorithm>
#include <array>

namespace culvert::dataplane {

namespace {

constexpr std::size_t kTypeAt = 12;
constexpr std::size_t kTagBytes = 4;
constexpr std::size_t kArpBytes = 28;
constexpr std::size_t kOperationAt = 6;
constexpr std::size_t kSenderAt = 14;
constexpr std::size_t kTargetAt = 24;
/// Hardware Ethernet, protocol IPv4, lengths 6 and 4.
constexpr std::array<std::byte, kOperationAt> kFront{
    std::byte{0}, std::byte{1}, std::byte{8}, std::byte{0}, std::byte{6}, std::byte{4}};

bool has_type(std::span<const std::byte> frame, std::size_t at, unsigned high, unsigned low) {
    return frame[at] == std::byte(high) && frame[at + 1] == std::byte(low);
}

}  // namespace

bool is_gratuitous_arp(std::span<const std::byte> frame) noexcept {
    if (frame.size() < kTypeAt + 2 + kArpBytes ||
        !std::all_of(frame.begin(), frame.begin() + 6, [](std::byte b) {
            return b == std::byte{0xff};
        })) {
        return false;
    }
    const std::size_t type_at = kTypeAt + (has_type(frame, kTypeAt, 0x81, 0x00) ? kTagBytes : 0);
    if (frame.size() < type_at + 2 + kArpBytes || !has_type(frame, type_at, 0x08, 0x06)) {
        return false;
    }
    const auto arp = frame.subspan(type_at + 2);
    if (!std::equal(kFront.begin(), kFront.end(), arp.begin())) {
        return false;
    }
    const bool same =
        std::equal(arp.begin() + kSenderAt, arp.begin() + kSenderAt + 4, arp.begin() + kTargetAt);
    return has_type(arp, kOperationAt, 0, 2) || (has_type(arp, kOperationAt, 0, 1) && same);
}

}  // namespace culvert::dataplane
