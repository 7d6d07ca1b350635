// SPDX-License-Identifier: GPL-2.0-or-later
//
// Key material. See secret.hpp.

#include "tunnels/esp/secret.hpp"

#include <algorithm>

#include <string.h>  // explicit_bzero

namespace culvert::tunnels {

Secret::Secret(std::span<const std::byte> bytes) noexcept
    : size_(static_cast<std::uint8_t>(bytes.size())) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

void Secret::wipe() noexcept {
    tunnels::wipe(bytes_);
    size_ = 0;
}

bool Secret::operator==(const Secret& other) const noexcept {
    return size_ == other.size_ && equal_in_constant_time(bytes(), other.bytes());
}

void wipe(std::span<std::byte> memory) noexcept {
    explicit_bzero(memory.data(), memory.size());
}

bool equal_in_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
    std::byte differing{0};
    for (std::size_t i = 0; i < a.size(); ++i) {
        differing |= a[i] ^ b[i];
    }
    return differing == std::byte{0};
}

}  // namespace culvert::tunnels
