// SPDX-License-Identifier: GPL-2.0-or-later
//
// Conformance of every protocol in the list: a new protocol is tested here without a new line.
#include "tunnels/protocol.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::prefix;

template <class List>
struct AsTypes;
template <class... P>
struct AsTypes<ProtocolList<P...>> {
    using Types = testing::Types<P...>;
};

struct NameOfProtocol {
    template <class P>
    static std::string GetName(int /*index*/) {
        return std::string(std::string_view(P::kName));
    }
};

template <class P>
class TunnelProtocolSuite : public testing::Test {
protected:
    static constexpr std::uint32_t kKeyMax =
        static_cast<std::uint32_t>((std::uint64_t{1} << P::kKeyBits) - 1);

    /// Keys at the borders and between, and the absence of one.
    static std::vector<HeaderConfig> configs() {
        std::vector<HeaderConfig> all{{std::nullopt}, {0U}, {1U}, {kKeyMax}, {kKeyMax - 1}};
        for (unsigned bit = 0; bit < P::kKeyBits; ++bit) {
            all.push_back({1U << bit});
        }
        std::mt19937 random(7);
        for (int i = 0; i < 50; ++i) {
            all.push_back({random() & kKeyMax});
        }
        return all;
    }

    static Bytes written(const HeaderConfig& config) {
        Bytes out(P::header_bytes(config), std::byte{0xa5});
        P::write(config, out);
        return out;
    }
};

TYPED_TEST_SUITE(TunnelProtocolSuite, AsTypes<Protocols>::Types, NameOfProtocol);

TYPED_TEST(TunnelProtocolSuite, ParsesWhatItWrites) {
    for (const HeaderConfig& config : this->configs()) {
        const Bytes header = this->written(config);
        const Parsed parsed = TypeParam::parse(header);
        ASSERT_EQ(parsed.drop, DropReason::none);
        EXPECT_EQ(parsed.header_bytes, header.size());
        EXPECT_EQ(parsed.has_key, config.key.has_value() || TypeParam::kKeyAlwaysPresent);
        EXPECT_EQ(parsed.key, config.key.value_or(0));
        EXPECT_FALSE(parsed.verify_checksum);
    }
}

TYPED_TEST(TunnelProtocolSuite, TheInnerFrameIsNotPartOfTheHeader) {
    std::mt19937 random(8);
    for (const HeaderConfig& config : this->configs()) {
        Bytes packet = this->written(config);
        const std::size_t header_bytes = packet.size();
        packet.resize(header_bytes + 100);
        std::generate(
            packet.begin() + static_cast<std::ptrdiff_t>(header_bytes),
            packet.end(),
            [&] { return static_cast<std::byte>(random()); }
        );
        const Parsed parsed = TypeParam::parse(packet);
        ASSERT_EQ(parsed.drop, DropReason::none);
        EXPECT_EQ(parsed.header_bytes, header_bytes);
        EXPECT_EQ(parsed.key, config.key.value_or(0));
    }
}

TYPED_TEST(TunnelProtocolSuite, DropsAHeaderCutOffAtAnyLength) {
    for (const HeaderConfig& config : this->configs()) {
        const Bytes header = this->written(config);
        for (std::size_t size = 0; size < header.size(); ++size) {
            EXPECT_NE(TypeParam::parse(prefix(header, size)).drop, DropReason::none) << size;
        }
    }
}

TYPED_TEST(TunnelProtocolSuite, NeverExceedsTheStatedHeaderLength) {
    for (const HeaderConfig& config : this->configs()) {
        EXPECT_LE(TypeParam::header_bytes(config), TypeParam::kHeaderBytesMax);
    }
    std::mt19937 random(9);
    std::size_t accepted = 0;
    for (int i = 0; i < 200000; ++i) {
        Bytes packet = this->written({random() & this->kKeyMax});
        packet.resize(TypeParam::kHeaderBytesMax + 8);
        packet[random() % packet.size()] = static_cast<std::byte>(random());
        const Parsed parsed = TypeParam::parse(packet);
        if (parsed.drop == DropReason::none) {
            ++accepted;
            ASSERT_LE(parsed.header_bytes, TypeParam::kHeaderBytesMax);
            ASSERT_LE(parsed.key, this->kKeyMax);
        }
    }
    EXPECT_GT(accepted, 1000U);
}

TYPED_TEST(TunnelProtocolSuite, WritesEveryByteOfItsSpanAndNoneBesideIt) {
    constexpr std::size_t kGuard = 32;
    for (const HeaderConfig& config : this->configs()) {
        const std::size_t size = TypeParam::header_bytes(config);
        Bytes results[2];
        for (const std::byte fill : {std::byte{0x00}, std::byte{0xff}}) {
            Bytes buffer(size + 2 * kGuard, fill);
            TypeParam::write(config, std::span(buffer).subspan(kGuard, size));
            for (std::size_t i = 0; i < kGuard; ++i) {
                ASSERT_EQ(buffer[i], fill);
                ASSERT_EQ(buffer[kGuard + size + i], fill);
            }
            results[fill == std::byte{0} ? 0 : 1] =
                Bytes(buffer.begin() + kGuard, buffer.end() - kGuard);
        }
        EXPECT_EQ(results[0], results[1]) << "a byte of the header was left as it was";
    }
}

TYPED_TEST(TunnelProtocolSuite, AConfigWithoutKeySendsNoneOrZero) {
    const Parsed parsed = TypeParam::parse(this->written({std::nullopt}));
    ASSERT_EQ(parsed.drop, DropReason::none);
    EXPECT_EQ(parsed.has_key, bool{TypeParam::kKeyAlwaysPresent});
    EXPECT_EQ(parsed.key, 0U);
}

TYPED_TEST(TunnelProtocolSuite, IsDescribedInTheTable) {
    const auto index = find_protocol(TypeParam::kName);
    ASSERT_TRUE(index.has_value());
    const ProtocolDescriptor& row = kProtocols.at(*index);
    EXPECT_EQ(row.name, TypeParam::kName);
    EXPECT_EQ(row.outer.ip_protocol, TypeParam::kOuter.ip_protocol);
    EXPECT_EQ(row.outer.default_udp_port, TypeParam::kOuter.default_udp_port);
    EXPECT_EQ(row.key_bits, unsigned{TypeParam::kKeyBits});
    EXPECT_EQ(row.key_always_present, bool{TypeParam::kKeyAlwaysPresent});
    EXPECT_EQ(row.header_bytes_max, std::size_t{TypeParam::kHeaderBytesMax});
    EXPECT_EQ(row.outer.ip_protocol == kIpProtocolUdp, row.outer.default_udp_port != 0);
    EXPECT_GE(row.key_bits, 1U);
    EXPECT_LE(row.key_bits, 32U);
}

TYPED_TEST(TunnelProtocolSuite, IsReachedByItsIndex) {
    const std::uint8_t index = find_protocol(TypeParam::kName).value();
    for (const HeaderConfig& config : this->configs()) {
        EncapTemplate encap;
        encap.length = 42;
        append_header(index, config, encap);
        const Bytes expected = this->written(config);
        ASSERT_EQ(encap.length, 42 + expected.size());
        const auto header = std::span(encap.bytes).subspan(42, expected.size());
        EXPECT_TRUE(std::equal(header.begin(), header.end(), expected.begin()));
        const Parsed parsed = parse_protocol(index, header);
        EXPECT_EQ(parsed.drop, DropReason::none);
        EXPECT_EQ(parsed.key, config.key.value_or(0));
        EXPECT_EQ(parsed.header_bytes, expected.size());
    }
}

}  // namespace
}  // namespace culvert::tunnels
