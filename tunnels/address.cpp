// SPDX-License-Identifier: GPL-2.0-or-later
//
// Text forms of MAC and IP addresses (RFC 4291 section 2.2 read, RFC 5952 written). The C library
// converts IP text; a zone ("%eth0") or a prefix length is not accepted. Any thread may call this,
// but not per packet: strings are allocated.
#include "tunnels/address.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <arpa/inet.h>

namespace culvert::tunnels {

namespace {

constexpr std::size_t kMacTextLength = 17;  // Six pairs of digits and five colons.

std::optional<std::uint8_t> hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return static_cast<std::uint8_t>(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return static_cast<std::uint8_t>(c - 'a' + 10);
    }
    if (c >= 'A' && c <= 'F') {
        return static_cast<std::uint8_t>(c - 'A' + 10);
    }
    return std::nullopt;
}

}  // namespace

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
    if (text.size() != kMacTextLength) {
        return std::nullopt;
    }
    MacAddress mac;
    for (std::size_t i = 0; i < mac.bytes.size(); ++i) {
        const std::size_t at = i * 3;
        const auto high = hex_digit(text[at]);
        const auto low = hex_digit(text[at + 1]);
        const bool separated = i + 1 == mac.bytes.size() || text[at + 2] == ':';
        if (!high || !low || !separated) {
            return std::nullopt;
        }
        mac.bytes[i] = static_cast<std::uint8_t>(*high << 4U | *low);
    }
    return mac;
}

std::string MacAddress::to_string() const {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(kMacTextLength);
    for (const std::uint8_t byte : bytes) {
        if (!text.empty()) {
            text += ':';
        }
        text += kDigits[byte >> 4U];
        text += kDigits[byte & 0xfU];
    }
    return text;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    // inet_pton reads up to a NUL, so an embedded one would hide what follows it.
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    std::copy(text.begin(), text.end(), terminated.begin());
    std::array<std::uint8_t, 16> octets{};
    if (inet_pton(AF_INET, terminated.data(), octets.data()) == 1) {
        return from_v4(octets.data());
    }
    if (inet_pton(AF_INET6, terminated.data(), octets.data()) == 1) {
        return from_v6(octets.data());
    }
    return std::nullopt;
}

std::string IpAddress::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    // The buffer has room for every address, so inet_ntop cannot fail.
    const bool v4_address = is_v4();
    const void* octets = v4_address ? v4() : bytes.data();
    inet_ntop(v4_address ? AF_INET : AF_INET6, octets, text.data(), text.size());
    return text.data();
}

}  // namespace culvert::tunnels
