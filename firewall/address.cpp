// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading and writing of addresses, by inet_pton() and inet_ntop().
#include "firewall/address.hpp"

#include <charconv>
#include <cstddef>

#include <arpa/inet.h>

namespace culvert::firewall {

namespace {

using Bytes = std::array<std::uint8_t, 16>;

Bytes bytes_of(const Address& address) {
    Bytes bytes{};
    const unsigned count = bits_of(address.family) / 8;
    for (unsigned i = 0; i < count; ++i) {
        bytes.at(i) = static_cast<std::uint8_t>(address.value >> (8 * (count - 1 - i)));
    }
    return bytes;
}

int af(Family family) {
    return family == Family::ipv4 ? AF_INET : AF_INET6;
}

}  // namespace

bool Prefix::contains(const Address& other) const {
    return other.family == address.family &&
           (other.value & prefix_mask(bits_of(other.family), bits)) == address.value;
}

Value value_of(const std::uint8_t* bytes, unsigned count) {
    Value value = 0;
    for (unsigned i = 0; i < count; ++i) {
        value = (value << 8U) | bytes[i];
    }
    return value;
}

Value value_of_interface(std::string_view name) {
    Bytes bytes{};
    for (std::size_t i = 0; i < name.size() && i < bytes.size(); ++i) {
        bytes.at(i) = static_cast<std::uint8_t>(name[i]);
    }
    return value_of(bytes.data(), bytes.size());
}

tl::expected<Address, std::string> parse_address(std::string_view text) {
    const std::string copy(text);
    const Family family = text.find(':') == std::string_view::npos ? Family::ipv4 : Family::ipv6;
    Bytes bytes{};
    if (inet_pton(af(family), copy.c_str(), bytes.data()) != 1) {
        return tl::unexpected(
            "\"" + copy + "\" is no address; valid: an IPv4 or IPv6 address such as 192.0.2.1 or " +
            "2001:db8::1"
        );
    }
    return Address{family, value_of(bytes.data(), bits_of(family) / 8)};
}

tl::expected<Prefix, std::string> parse_prefix(std::string_view text) {
    const std::size_t slash = text.find('/');
    auto address = parse_address(text.substr(0, slash));
    unsigned bits = address ? bits_of(address->family) : 0;
    bool valid = address.has_value();
    if (valid && slash != std::string_view::npos) {
        const std::string_view length = text.substr(slash + 1);
        const unsigned width = bits;
        const auto [end, error] =
            std::from_chars(length.data(), length.data() + length.size(), bits);
        valid = error == std::errc{} && end == length.data() + length.size() && bits <= width;
    }
    if (!valid) {
        return tl::unexpected(
            "\"" + std::string(text) +
            "\" is no network; valid: an address, or an address and the " +
            "bits of its prefix, such as 192.0.2.0/24 or 2001:db8::/32"
        );
    }
    address->value &= prefix_mask(bits_of(address->family), bits);
    return Prefix{*address, static_cast<std::uint8_t>(bits)};
}

std::string to_string(const Address& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const Bytes bytes = bytes_of(address);
    inet_ntop(af(address.family), bytes.data(), text.data(), text.size());
    return text.data();
}

std::string to_string(const Prefix& prefix) {
    const std::string address = to_string(prefix.address);
    return prefix.bits == bits_of(prefix.address.family)
               ? address
               : address + "/" + std::to_string(prefix.bits);
}

}  // namespace culvert::firewall
