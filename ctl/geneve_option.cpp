// SPDX-License-Identifier: GPL-2.0-or-later
//
// Geneve options from text. See geneve_option.hpp.
#include "ctl/geneve_option.hpp"

#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

namespace culvert::ctl {

namespace {

/// The number in `text`, hexadecimal behind "0x", at most `max`.
std::optional<std::uint32_t> parse_number(std::string_view text, std::uint32_t max) {
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    text.remove_prefix(is_hex ? 2 : 0);
    std::uint32_t value = 0;
    const auto [end, failure] =
        std::from_chars(text.data(), text.data() + text.size(), value, is_hex ? 16 : 10);
    if (failure != std::errc{} || end != text.data() + text.size() || value > max) {
        return std::nullopt;
    }
    return value;
}

/// The bytes that pairs of hexadecimal digits in `text` stand for.
std::optional<std::vector<std::uint8_t>> parse_hex(std::string_view text) {
    std::vector<std::uint8_t> bytes;
    for (; text.size() >= 2; text.remove_prefix(2)) {
        std::uint8_t byte = 0;
        const auto [end, failure] = std::from_chars(text.data(), text.data() + 2, byte, 16);
        if (failure != std::errc{} || end != text.data() + 2) {
            return std::nullopt;
        }
        bytes.push_back(byte);
    }
    return text.empty() ? std::optional(bytes) : std::nullopt;
}

}  // namespace

std::optional<GeneveOption> parse_geneve_option(std::string_view text) {
    const std::size_t first = text.find(':');
    const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
    if (second == std::string_view::npos) {
        return std::nullopt;
    }
    const auto option_class = parse_number(text.substr(0, first), 0xffff);
    const auto type = parse_number(text.substr(first + 1, second - first - 1), 0xff);
    auto data = parse_hex(text.substr(second + 1));
    if (!option_class || !type || !data) {
        return std::nullopt;
    }
    return GeneveOption{
        static_cast<std::uint16_t>(*option_class),
        static_cast<std::uint8_t>(*type),
        std::move(*data)};
}

}  // namespace culvert::ctl
