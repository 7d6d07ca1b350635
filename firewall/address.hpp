// SPDX-License-Identifier: GPL-2.0-or-later
//
// Addresses and prefixes as the host's firewall writes them. Values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace culvert::firewall {

/// A value of at most 16 bytes that rules compare: an address, a port, an interface's name. Fields
/// shorter than that stand in the low bits.
__extension__ using Value = unsigned __int128;

enum class Family : std::uint8_t { ipv4, ipv6 };

struct Address {
    Family family = Family::ipv4;
    Value value = 0;  ///< As a number; IPv4 in the low 32 bits.
    bool operator==(const Address&) const = default;
};

struct Prefix {
    Address address;  ///< With the bits behind `bits` zero.
    std::uint8_t bits = 0;
    bool operator==(const Prefix&) const = default;

    [[nodiscard]] bool contains(const Address& other) const;
};

[[nodiscard]] constexpr unsigned bits_of(Family family) {
    return family == Family::ipv4 ? 32 : 128;
}
/// The highest value of a field of `bits` bits, 0 to 128.
[[nodiscard]] constexpr Value max_value(unsigned bits) {
    return bits == 0 ? Value{0} : ~Value{0} >> (128 - bits);
}
[[nodiscard]] constexpr Value prefix_mask(unsigned width, unsigned bits) {
    return max_value(width) ^ max_value(width - bits);
}
/// The bytes of a value, most significant first, as a number; at most 16.
[[nodiscard]] Value value_of(const std::uint8_t* bytes, unsigned count);
/// The name of an interface as a number: its bytes from the most significant on, then zeroes, so
/// that a prefix of names is a mask.
[[nodiscard]] Value value_of_interface(std::string_view name);

/// One sentence when it is none.
[[nodiscard]] tl::expected<Address, std::string> parse_address(std::string_view text);
/// "ADDRESS" or "ADDRESS/BITS"; bits behind the prefix are cleared, as iptables does.
[[nodiscard]] tl::expected<Prefix, std::string> parse_prefix(std::string_view text);

[[nodiscard]] std::string to_string(const Address& address);
/// Without "/BITS" where it is one host.
[[nodiscard]] std::string to_string(const Prefix& prefix);

}  // namespace culvert::firewall
