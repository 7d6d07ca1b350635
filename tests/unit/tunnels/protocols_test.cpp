// SPDX-License-Identifier: GPL-2.0-or-later
//
// The protocol list: names, descriptors and dispatch by index.
#include "tunnels/protocols.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/encap.hpp"

namespace culvert::tunnels {
namespace {

// Usable at compile time.
static_assert(find_protocol("gre").has_value() && find_protocol("vxlan").has_value());
static_assert(!find_protocol("stt").has_value());
static_assert(kProtocols[*find_protocol("vxlan")].outer.default_udp_port == 4789);

TEST(FindProtocol, KnowsTheConfigurationWordsExactly) {
    for (std::size_t i = 0; i < kProtocolCount; ++i) {
        EXPECT_EQ(find_protocol(kProtocols.at(i).name), static_cast<std::uint8_t>(i));
    }
    EXPECT_EQ(find_protocol(""), std::nullopt);
    EXPECT_EQ(find_protocol("GRE"), std::nullopt);
    EXPECT_EQ(find_protocol("gre "), std::nullopt);
    EXPECT_EQ(find_protocol("vxla"), std::nullopt);
}

TEST(ParseProtocol, ChoosesTheParserByIndex) {
    const tests::Bytes gre = tests::from_hex("2000 6558 00000005");
    const tests::Bytes vxlan = tests::from_hex("08000000 00000500");
    const std::uint8_t gre_index = find_protocol("gre").value();
    const std::uint8_t vxlan_index = find_protocol("vxlan").value();
    EXPECT_EQ(parse_protocol(gre_index, gre).key, 5U);
    EXPECT_EQ(parse_protocol(vxlan_index, vxlan).key, 5U);
    EXPECT_EQ(parse_protocol(vxlan_index, gre).drop, DropReason::vxlan_flags);
    EXPECT_EQ(parse_protocol(gre_index, vxlan).drop, DropReason::gre_reserved_bits);
}

TEST(ParseProtocol, DropsWhenThereIsNoSuchProtocol) {
    const tests::Bytes vxlan = tests::from_hex("08000000 00000500");
    for (std::size_t index = kProtocolCount; index <= std::numeric_limits<std::uint8_t>::max();
         ++index) {
        EXPECT_EQ(
            parse_protocol(static_cast<std::uint8_t>(index), vxlan).drop,
            DropReason::tunnel_unknown_peer
        );
    }
}

TEST(AppendHeader, WritesNothingWhenThereIsNoSuchProtocol) {
    EncapTemplate encap;
    append_header(kProtocolCount, HeaderConfig{5}, encap);
    EXPECT_EQ(encap.length, 0);
}

TEST(EncapBytesMax, CoversTheLongestTemplateOfEveryProtocol) {
    OuterConfig outer;
    outer.local = *IpAddress::parse("fd20::1");
    outer.remote = *IpAddress::parse("fd20::2");
    for (std::size_t i = 0; i < kProtocolCount; ++i) {
        const EncapTemplate encap = build_template(
            static_cast<std::uint8_t>(i), LinkHeader{{}, {}, 4094}, outer, HeaderConfig{1}
        );
        EXPECT_LE(encap.length, kEncapBytesMax);
    }
}

}  // namespace
}  // namespace culvert::tunnels
