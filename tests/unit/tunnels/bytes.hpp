// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packet bytes for tests: vectors from files, and helpers that share no code with what is tested.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/source_dir.hpp"

namespace culvert::tests {

using Bytes = std::vector<std::byte>;

inline Bytes from_hex(std::string_view text) {
    std::string digits;
    for (const char c : text) {
        if (std::isxdigit(static_cast<unsigned char>(c)) != 0) {
            digits += c;
        } else if (std::isspace(static_cast<unsigned char>(c)) == 0) {
            throw std::runtime_error(
                "a hex vector holds the character '" + std::string(1, c) + "'"
            );
        }
    }
    if (digits.size() % 2 != 0) {
        throw std::runtime_error("a hex vector has an odd number of digits");
    }
    Bytes bytes;
    for (std::size_t i = 0; i < digits.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

/// The frame in tests/vectors/`name`.hex; lines that start with '#' name its producer.
inline Bytes vector_file(const std::string& name) {
    const std::string path = source_dir() + "/tests/vectors/" + name + ".hex";
    std::ifstream file(path);
    if (!file) {
        throw std::runtime_error("cannot open the test vector " + path);
    }
    std::string hex;
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with('#')) {
            hex += line;
        }
    }
    return from_hex(hex);
}

/// A copy of the first `size` bytes in an allocation of exactly that size, so that AddressSanitizer
/// sees any read behind them.
inline Bytes prefix(std::span<const std::byte> bytes, std::size_t size) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

inline unsigned octet(std::span<const std::byte> bytes, std::size_t at) {
    return std::to_integer<unsigned>(bytes[at]);
}

inline unsigned word_at(std::span<const std::byte> bytes, std::size_t at) {
    return octet(bytes, at) << 8U | octet(bytes, at + 1);
}

inline void set_word(std::span<std::byte> bytes, std::size_t at, unsigned value) {
    bytes[at] = static_cast<std::byte>(value >> 8U & 0xffU);
    bytes[at + 1] = static_cast<std::byte>(value & 0xffU);
}

/// RFC 1071 by the letter: 16-bit words in network order, carries folded as they come.
inline unsigned naive_sum(std::span<const std::byte> bytes, unsigned sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        sum += octet(bytes, i) << 8U;
        if (i + 1 < bytes.size()) {
            sum += octet(bytes, i + 1);
        }
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return sum;
}

/// Makes the checksum of the IPv4 header at `ip` right again after a test changed the header.
inline void fix_ipv4_checksum(std::span<std::byte> frame, std::size_t ip) {
    set_word(frame, ip + 10, 0);
    const std::size_t header_bytes = (octet(frame, ip) & 0xfU) * std::size_t{4};
    set_word(frame, ip + 10, ~naive_sum(frame.subspan(ip, header_bytes)) & 0xffffU);
}

}  // namespace culvert::tests
