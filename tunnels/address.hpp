// SPDX-License-Identifier: GPL-2.0-or-later
//
// MAC and IP addresses as values. An IPv4 address is held IPv4-mapped (::ffff:a.b.c.d, RFC 4291
// section 2.5.5.2), so that tables and keys need one address type.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::tunnels {

struct MacAddress {
    /// The octets as they lie in memory, read as integers: what equality is compared by.
    struct [[gnu::packed]] Words {
        std::uint32_t first = 0;
        std::uint16_t last = 0;
    };

    std::array<std::uint8_t, 6> bytes{};

    /// Accepts six hexadecimal octets separated by ':' ("02:00:00:00:00:01").
    [[nodiscard]] static std::optional<MacAddress> parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] constexpr bool is_group() const noexcept { return (bytes[0] & 1U) != 0; }
    [[nodiscard]] constexpr bool is_zero() const noexcept { return *this == MacAddress{}; }
    /// The 48 bits in the low end of an integer, first octet most significant.
    [[nodiscard]] constexpr std::uint64_t to_u64() const noexcept {
        std::uint64_t value = 0;
        for (const std::uint8_t byte : bytes) {
            value = (value << 8U) | byte;
        }
        return value;
    }
    [[nodiscard]] constexpr Words words() const noexcept { return std::bit_cast<Words>(bytes); }
    // clang-tidy 14 takes the defaulted comparison for a null pointer.
    constexpr auto operator<=>(const MacAddress&) const = default;  // NOLINT(modernize-use-nullptr)
    /// Two integers instead of octet by octet, which is what the default comes to.
    constexpr bool operator==(const MacAddress& other) const noexcept {
        const Words a = words();
        const Words b = other.words();
        return ((a.first ^ b.first) | static_cast<std::uint32_t>(a.last ^ b.last)) == 0;
    }
};

static_assert(sizeof(MacAddress) == 6);

struct IpAddress {
    /// The octets as they lie in memory, read as integers: what equality is compared by.
    using Words = std::array<std::uint64_t, 2>;

    std::array<std::uint8_t, 16> bytes{};

    /// Accepts dotted IPv4 or RFC 4291 IPv6 text, without prefix length or zone.
    [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);
    /// `octets` points to 4 bytes in network order.
    [[nodiscard]] static IpAddress from_v4(const void* octets) noexcept {
        // Made in registers: octets written one by one and read back as words would stall.
        std::uint32_t last = 0;
        std::memcpy(&last, octets, sizeof last);
        const std::array<std::uint64_t, 2> words{
            0, std::uint64_t{last} << 32U | std::uint64_t{0xffff0000}};
        IpAddress address;
        address.bytes = std::bit_cast<decltype(address.bytes)>(words);
        return address;
    }
    /// `octets` points to 16 bytes in network order.
    [[nodiscard]] static IpAddress from_v6(const void* octets) noexcept {
        IpAddress address;
        std::memcpy(address.bytes.data(), octets, 16);
        return address;
    }
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] constexpr Words words() const noexcept { return std::bit_cast<Words>(bytes); }
    [[nodiscard]] constexpr bool is_v4() const noexcept {
        constexpr std::uint64_t kMapped = 0xffff0000;  // Octets 8 to 11, in memory order.
        const Words words_of_it = words();
        return (words_of_it[0] | ((words_of_it[1] & 0xffffffffU) ^ kMapped)) == 0;
    }
    /// True for :: (and so for "not set"); 0.0.0.0 is not unspecified in this sense.
    [[nodiscard]] constexpr bool is_unset() const noexcept { return *this == IpAddress{}; }
    [[nodiscard]] constexpr bool is_multicast() const noexcept {
        return is_v4() ? (bytes[12] & 0xf0U) == 0xe0U : bytes[0] == 0xff;
    }
    /// The four octets of an IPv4 address (precondition: is_v4()).
    [[nodiscard]] const std::uint8_t* v4() const noexcept { return &bytes[12]; }
    // clang-tidy 14 takes the defaulted comparison for a null pointer.
    constexpr auto operator<=>(const IpAddress&) const = default;  // NOLINT(modernize-use-nullptr)
    /// Two integers instead of octet by octet, which is what the default comes to.
    constexpr bool operator==(const IpAddress& other) const noexcept {
        const Words a = words();
        const Words b = other.words();
        return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
    }
};

static_assert(sizeof(IpAddress) == 16);

}  // namespace culvert::tunnels

template <>
struct std::hash<culvert::tunnels::MacAddress> {
    std::size_t operator()(const culvert::tunnels::MacAddress& mac) const noexcept {
        return std::hash<std::uint64_t>{}(mac.to_u64());
    }
};

template <>
struct std::hash<culvert::tunnels::IpAddress> {
    std::size_t operator()(const culvert::tunnels::IpAddress& ip) const noexcept {
        const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(ip.bytes);
        const std::uint64_t mixed = (words[0] ^ (words[1] * 0x9e3779b97f4a7c15ULL));
        return mixed ^ (mixed >> 32U);
    }
};
