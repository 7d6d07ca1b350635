// SPDX-License-Identifier: GPL-2.0-or-later
//
// Padding and trailer of an ESP packet. See esp.hpp.

#include "tunnels/esp/esp.hpp"

namespace culvert::tunnels {

void write_esp_trailer(std::span<std::byte> trailer, std::uint8_t next_header) noexcept {
    const std::size_t padding = trailer.size() - 2;
    for (std::size_t i = 0; i < padding; ++i) {
        trailer[i] = static_cast<std::byte>(i + 1);
    }
    trailer[padding] = static_cast<std::byte>(padding);
    trailer[padding + 1] = std::byte{next_header};
}

std::optional<EspTrailer> parse_esp_trailer(std::span<const std::byte> end) noexcept {
    if (end.size() < 2) {
        return std::nullopt;
    }
    const auto padding = std::to_integer<std::size_t>(end[end.size() - 2]);
    if (padding + 2 > end.size()) {
        return std::nullopt;
    }
    const auto trailer = end.last(padding + 2);
    for (std::size_t i = 0; i < padding; ++i) {
        if (trailer[i] != static_cast<std::byte>(i + 1)) {
            return std::nullopt;
        }
    }
    return EspTrailer{
        .next_header = std::to_integer<std::uint8_t>(end.back()),
        .bytes = static_cast<std::uint16_t>(padding + 2)};
}

}  // namespace culvert::tunnels
