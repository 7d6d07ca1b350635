// SPDX-License-Identifier: GPL-2.0-or-later
//
// BigEndian. That implicit conversions do not compile is also checked in tests/compile_fail.
#include "tunnels/endian.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <gtest/gtest.h>

#include "tunnels/headers.hpp"

namespace culvert::tunnels {
namespace {

static_assert(Be16(std::uint16_t{0x1234}).host() == 0x1234);
static_assert(Be64(std::uint64_t{1}).host() == 1);
static_assert(!std::is_convertible_v<std::uint16_t, Be16>);
static_assert(!std::is_convertible_v<Be16, std::uint16_t>);
static_assert(!std::is_constructible_v<std::uint16_t, Be16>);
static_assert(!std::is_constructible_v<Be16, std::uint32_t>, "a wider value would be cut off");
static_assert(std::is_trivially_copyable_v<Be32>);

template <class T>
std::array<std::uint8_t, sizeof(T)> octets(const T& value) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

TEST(BigEndian, StoresTheMostSignificantOctetFirst) {
    EXPECT_EQ(octets(Be16(std::uint16_t{0x0102})), (std::array<std::uint8_t, 2>{1, 2}));
    EXPECT_EQ(octets(Be32(0x01020304U)), (std::array<std::uint8_t, 4>{1, 2, 3, 4}));
    EXPECT_EQ(
        octets(Be64(std::uint64_t{0x0102030405060708})),
        (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8})
    );
}

TEST(BigEndian, ReadsWhatTheWireHoldsAtAnyAddress) {
    const std::array<std::byte, 5> wire{
        std::byte{0xff}, std::byte{0xde}, std::byte{0xad}, std::byte{0xbe}, std::byte{0xef}};
    EXPECT_EQ(load<Be32>(&wire[1]).host(), 0xdeadbeefU);
    EXPECT_EQ(load<Be16>(&wire[3]).host(), 0xbeefU);
}

TEST(BigEndian, IsZeroByDefaultAndComparesByValue) {
    EXPECT_EQ(Be32{}, Be32(0U));
    EXPECT_NE(Be16(std::uint16_t{1}), Be16(std::uint16_t{0x0100}));
}

TEST(BigEndian, MemoryOrderIsTheRawMachineWord) {
    EXPECT_EQ(Be16(std::uint16_t{0x0102}).memory_order(), 0x0201);
}

}  // namespace
}  // namespace culvert::tunnels
