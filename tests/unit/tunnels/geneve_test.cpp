// SPDX-License-Identifier: GPL-2.0-or-later
//
// Geneve header and option rules (RFC 8926 sections 3.4 and 3.5) beyond the conformance suite.
#include "tunnels/geneve.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/geneve_options.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::prefix;

/// A header that announces `words` of options, with `options` behind it.
Bytes header_with(unsigned words, std::string_view options) {
    Bytes header = from_hex("00006558 12345600" + std::string(options));
    header[0] = static_cast<std::byte>(words);
    return header;
}

DropReason drop_of(unsigned words, std::string_view options) {
    return Geneve::parse(header_with(words, options)).drop;
}

TEST(GeneveParse, ReadsScapysHeaders) {
    const Bytes plain = tests::vector_file("geneve_ipv4");
    const Parsed without = Geneve::parse(std::span(plain).subspan(42));
    EXPECT_EQ(without.drop, DropReason::none);
    EXPECT_EQ(without.header_bytes, 8);
    EXPECT_EQ(without.payload, Payload::ethernet);
    EXPECT_EQ(without.key, 0x123456U);
    EXPECT_FALSE(without.has_critical_options);

    const Bytes frame = tests::vector_file("geneve_options_ipv6");
    const Parsed with = Geneve::parse(std::span(frame).subspan(62));
    EXPECT_EQ(with.drop, DropReason::none);
    EXPECT_EQ(with.header_bytes, 32);
    EXPECT_EQ(with.key, 300U);
    EXPECT_TRUE(with.has_critical_options);
}

TEST(GeneveParse, DropsOtherVersions) {
    for (unsigned version = 1; version < 4; ++version) {
        EXPECT_EQ(drop_of(version << 6U, ""), DropReason::geneve_version);
    }
}

TEST(GeneveParse, OamPacketsAreNotForwarded) {
    Bytes header = header_with(0, "");
    header[1] = std::byte{0x80};
    EXPECT_EQ(Geneve::parse(header).drop, DropReason::geneve_oam);
}

TEST(GeneveParse, AcceptsEthernetOnly) {
    for (unsigned protocol = 0; protocol <= 0xffff; ++protocol) {
        Bytes header = header_with(0, "");
        tests::set_word(header, 2, protocol);
        const DropReason expected =
            protocol == 0x6558 ? DropReason::none : DropReason::geneve_protocol;
        ASSERT_EQ(Geneve::parse(header).drop, expected) << protocol;
    }
}

TEST(GeneveParse, IgnoresReservedBits) {
    for (unsigned bit = 0; bit < 6; ++bit) {
        Bytes header = header_with(0, "");
        header[1] = static_cast<std::byte>(1U << bit);
        EXPECT_EQ(Geneve::parse(header).drop, DropReason::none);
    }
    Bytes header = header_with(0, "");
    header[7] = std::byte{0xff};
    EXPECT_EQ(Geneve::parse(header).key, 0x123456U);
    EXPECT_EQ(drop_of(2, "010201e1aabbccdd"), DropReason::none) << "the R bits beside the length";
}

TEST(GeneveParse, OptionsTypesTellWhichAreCriticalWhateverTheHeaderSays) {
    for (const unsigned c_bit : {0x00U, 0x40U}) {
        Bytes critical = header_with(3, "01020100 01038001 aabbccdd");
        critical[1] = static_cast<std::byte>(c_bit);
        EXPECT_TRUE(Geneve::parse(critical).has_critical_options) << "Linux 6.1 sends C clear";
        Bytes none = header_with(3, "01020100 01037f01 ffffffff");
        none[1] = static_cast<std::byte>(c_bit);
        EXPECT_EQ(Geneve::parse(none).drop, DropReason::none);
        EXPECT_FALSE(Geneve::parse(none).has_critical_options);
    }
}

TEST(GeneveParse, AnOptionBeyondTheOptionsLengthIsMalformed) {
    // More packet follows in each, so only the lengths contradict each other.
    const std::string more(600, 'f');
    for (unsigned words = 1; words < 64; ++words) {
        for (unsigned length = 0; length < 32; ++length) {
            // One option, and what is left filled with options without data.
            Bytes header = header_with(words, "");
            Bytes options(words * std::size_t{4}, std::byte{0});
            options[3] = static_cast<std::byte>(length);
            header.insert(header.end(), options.begin(), options.end());
            header.insert(header.end(), 600, std::byte{0xff});
            const DropReason expected =
                length + 1 <= words ? DropReason::none : DropReason::geneve_malformed;
            EXPECT_EQ(Geneve::parse(header).drop, expected) << words << " " << length;
        }
    }
    EXPECT_EQ(drop_of(2, "01020102 aabbccdd" + more), DropReason::geneve_malformed);
    EXPECT_EQ(drop_of(3, "01020100 0102011f 00000000" + more), DropReason::geneve_malformed);
}

TEST(GeneveParse, OptionsBehindTheEndOfThePacketAreMalformed) {
    for (unsigned words = 1; words < 64; ++words) {
        Bytes header = header_with(words, "");
        header.resize(8 + words * std::size_t{4});
        EXPECT_EQ(Geneve::parse(header).drop, DropReason::none);
        EXPECT_EQ(Geneve::parse(header).header_bytes, header.size());
        for (std::size_t size = 0; size < header.size(); ++size) {
            EXPECT_EQ(Geneve::parse(prefix(header, size)).drop, DropReason::geneve_malformed);
        }
    }
}

TEST(GeneveParse, TheLongestOptionsAreReadToTheirEnd) {
    Bytes header = header_with(63, "");
    header.resize(Geneve::kParseBytesMax);
    EXPECT_FALSE(Geneve::parse(header).has_critical_options);
    header[Geneve::kParseBytesMax - 2] = std::byte{0x80};  // The type of the 63rd option.
    EXPECT_TRUE(Geneve::parse(header).has_critical_options);
}

Bytes written(std::span<const std::byte> options) {
    const HeaderConfig config{.key = 0xabcdef, .options = options};
    Bytes out(Geneve::header_bytes(config), std::byte{0xff});
    Geneve::write(config, out);
    return out;
}

TEST(GeneveWrite, CopiesTheOptionsAndSaysWhetherOneIsCritical) {
    EXPECT_EQ(written({}), from_hex("00006558 abcdef00"));
    const Bytes plain = from_hex("01027f01 aabbccdd");
    EXPECT_EQ(written(plain), from_hex("02006558 abcdef00 01027f01 aabbccdd"));
    const Bytes critical = from_hex("01027f00 01028000 01020100");
    EXPECT_EQ(written(critical), from_hex("03406558 abcdef00 01027f00 01028000 01020100"));
}

constexpr GeneveOptionType kKnown{0x0102, 0x80};

TEST(GeneveOptionsKnown, EveryCriticalOptionMustBeListed) {
    const std::array<GeneveOptionType, 2> known{kKnown, GeneveOptionType{0x0103, 0xff}};
    EXPECT_TRUE(geneve_options_known({}, known));
    EXPECT_TRUE(geneve_options_known({}, {}));
    EXPECT_TRUE(geneve_options_known(from_hex("01028001 aabbccdd 0103ff00"), known));
    EXPECT_FALSE(geneve_options_known(from_hex("01028001 aabbccdd 0103fe00"), known));
    EXPECT_FALSE(geneve_options_known(from_hex("0103fe00 01028001 aabbccdd"), known));
    EXPECT_FALSE(geneve_options_known(from_hex("01028001 aabbccdd"), {}));
}

TEST(GeneveOptionsKnown, OtherOptionsNeedNotBe) {
    EXPECT_TRUE(geneve_options_known(from_hex("01020001 aabbccdd ffff7f00"), {}));
}

TEST(GeneveOptionsKnown, ClassAndTypeBothCount) {
    const std::array<GeneveOptionType, 1> known{kKnown};
    EXPECT_TRUE(geneve_options_known(from_hex("01028000"), known));
    EXPECT_FALSE(geneve_options_known(from_hex("01038000"), known));
    EXPECT_FALSE(geneve_options_known(from_hex("02018000"), known));
    EXPECT_FALSE(geneve_options_known(from_hex("01028100"), known));
}

TEST(GeneveOptionsKnown, DataIsNotTakenForOptions) {
    EXPECT_TRUE(geneve_options_known(from_hex("01020002 01038000 01038000"), {}));
}

TEST(GeneveOptionsKnown, WhatIsNotWholeIsNotKnown) {
    const std::array<GeneveOptionType, 1> known{kKnown};
    for (const std::string_view cut : {"01", "010280", "01028001", "01028000 0102"}) {
        const Bytes options = from_hex(cut);
        EXPECT_FALSE(geneve_options_known(options, known)) << cut;
        EXPECT_FALSE(geneve_options_whole(options)) << cut;
    }
    EXPECT_TRUE(geneve_options_whole(from_hex("01028000 01020101 01020304")));
}

}  // namespace
}  // namespace culvert::tunnels
