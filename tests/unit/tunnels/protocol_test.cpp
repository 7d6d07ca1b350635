// SPDX-License-Identifier: GPL-2.0-or-later
//
// Conformance of every protocol in the list: a new protocol is tested here without a new line.
#include "tunnels/protocol.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::naive_sum;
using tests::prefix;
using tests::set_word;
using tests::word_at;

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

/// None, one without data, several of which one is critical, and as many as may be sent.
const std::array<Bytes, 4>& option_sets() {
    static const std::array<Bytes, 4> sets{
        Bytes{},
        from_hex("0102 01 00"),
        from_hex("0102 01 01 aabbccdd  0103 80 00  ffff 7f 02 1122334455667788"),
        from_hex("0102 02 0a" + std::string(80, '5') + "0102 03 00")};
    return sets;
}

template <class P>
class TunnelProtocolSuite : public testing::Test {
protected:
    static constexpr Features kFeatures = P::kFeatures;
    static constexpr std::uint32_t kKeyMax =
        static_cast<std::uint32_t>((std::uint64_t{1} << P::kKeyBits) - 1);
    static constexpr std::uint32_t kVsidMax = 0xffffff;

    /// Replaces each of `configs` by copies of it in which `set` has set each of `values`.
    template <class Values, class Set>
    static void multiply(std::vector<HeaderConfig>& configs, const Values& values, const Set& set) {
        std::vector<HeaderConfig> product;
        for (const HeaderConfig& config : configs) {
            for (const auto& value : values) {
                product.push_back(config);
                set(product.back(), value);
            }
        }
        configs = std::move(product);
    }

    /// Every combination of what the protocol's features offer, without a key.
    static std::vector<HeaderConfig> variants() {
        constexpr std::array kBoth{false, true};
        std::vector<HeaderConfig> all;
        if (kFeatures.ethernet) {
            all.push_back({.payload = Payload::ethernet});
        }
        if (kFeatures.ip) {
            all.push_back({.payload = Payload::ip});
        }
        if (kFeatures.checksum) {
            multiply(all, kBoth, [](HeaderConfig& config, bool on) { config.checksum = on; });
        }
        if (kFeatures.sequence) {
            multiply(all, kBoth, [](HeaderConfig& config, bool on) { config.sequence = on; });
        }
        if (kFeatures.group_policy) {
            using Id = std::optional<std::uint16_t>;
            constexpr std::array kIds{Id{}, Id{0}, Id{0x1234}, Id{0xffff}};
            multiply(all, kIds, [](HeaderConfig& config, Id id) { config.group_policy = id; });
            multiply(all, kBoth, [](HeaderConfig& config, bool on) {
                config.carry_group_policy = on;
            });
        }
        if (kFeatures.options) {
            multiply(all, option_sets(), [](HeaderConfig& config, const Bytes& options) {
                config.options = options;
            });
        }
        if (kFeatures.nvgre_key) {
            multiply(all, kBoth, [](HeaderConfig& config, bool on) { config.nvgre_key = on; });
        }
        return all;
    }

    /// Variants with keys at the borders and between, and the absence of one.
    static std::vector<HeaderConfig> configs() {
        using Key = std::optional<std::uint32_t>;
        std::vector<Key> keys{std::nullopt, 0U, 1U, kKeyMax, kKeyMax - 1};
        for (unsigned bit = 0; bit < P::kKeyBits; ++bit) {
            keys.emplace_back(1U << bit);
        }
        std::mt19937 random(7);
        for (int i = 0; i < 20; ++i) {
            keys.emplace_back(random() & kKeyMax);
        }
        std::vector<HeaderConfig> all = variants();
        multiply(all, keys, [](HeaderConfig& config, Key key) {
            config.key = key;
            if (config.nvgre_key && key.has_value()) {
                config.key = *key & kVsidMax;
            }
        });
        return all;
    }

    static std::vector<PacketFacts> facts() {
        return {
            {},
            {.is_v6 = true,
             .sequence = 0xffffffff,
             .entropy = 0xffffffff,
             .group_policy = std::uint16_t{0xffff}},
            {.is_v6 = false,
             .sequence = 0x01020304,
             .entropy = 0x12345678,
             .group_policy = std::uint16_t{0}},
            {.is_v6 = true, .sequence = 1, .entropy = 0x80, .group_policy = std::uint16_t{0xabcd}}};
    }

    static Bytes written(const HeaderConfig& config) {
        Bytes out(P::header_bytes(config), std::byte{0xa5});
        P::write(config, out);
        return out;
    }

    /// The facts that a tunnel of `config` hands to patch().
    static PacketFacts of_tunnel(const HeaderConfig& config, PacketFacts facts) {
        facts.nvgre_key = config.nvgre_key;
        if (!config.carry_group_policy) {
            facts.group_policy.reset();
        }
        return facts;
    }

    static Bytes patched(const HeaderConfig& config, const PacketFacts& facts) {
        Bytes out = written(config);
        P::patch(out, of_tunnel(config, facts));
        return out;
    }

    /// `parsed` is what a header of `config` with `facts` says, in `size` bytes.
    static void expect_parsed(
        const Parsed& parsed, const HeaderConfig& config, const PacketFacts& facts, std::size_t size
    ) {
        ASSERT_EQ(drop_reason_name(parsed.drop), "none");
        EXPECT_EQ(parsed.header_bytes, size);
        EXPECT_EQ(parsed.payload, config.payload);
        EXPECT_EQ(parsed.verify_checksum, config.checksum);
        EXPECT_EQ(parsed.has_sequence, config.sequence);
        EXPECT_EQ(parsed.sequence, config.sequence ? facts.sequence : 0U);
        const std::optional<std::uint16_t> own = of_tunnel(config, facts).group_policy;
        const std::optional<std::uint16_t> policy = own.has_value() ? own : config.group_policy;
        EXPECT_EQ(parsed.has_group_policy, policy.has_value());
        EXPECT_EQ(parsed.group_policy, policy.value_or(0));
        EXPECT_EQ(
            parsed.has_critical_options, std::ranges::equal(config.options, option_sets()[2])
        );
        if (P::kKeyAlwaysPresent || config.key.has_value() || config.nvgre_key) {
            EXPECT_TRUE(parsed.has_key);
        }
        const std::uint32_t key = config.key.value_or(0);
        EXPECT_EQ(parsed.key, config.nvgre_key ? key << 8U | (facts.entropy & 0xffU) : key);
    }
};

TYPED_TEST_SUITE(TunnelProtocolSuite, AsTypes<Protocols>::Types, NameOfProtocol);

TYPED_TEST(TunnelProtocolSuite, ParsesWhatItWrites) {
    for (const HeaderConfig& config : this->configs()) {
        const Bytes header = this->written(config);
        this->expect_parsed(TypeParam::parse(header), config, {}, header.size());
    }
}

TYPED_TEST(TunnelProtocolSuite, ParsesWhatItPatches) {
    for (const HeaderConfig& config : this->configs()) {
        for (const PacketFacts& facts : this->facts()) {
            const Bytes header = this->patched(config, facts);
            this->expect_parsed(TypeParam::parse(header), config, facts, header.size());
        }
    }
}

TYPED_TEST(TunnelProtocolSuite, TheInnerFrameIsNotPartOfTheHeader) {
    std::mt19937 random(8);
    for (const HeaderConfig& config : this->configs()) {
        Bytes packet = this->written(config);
        const std::size_t header_bytes = packet.size();
        packet.resize(header_bytes + 300);
        std::generate(
            packet.begin() + static_cast<std::ptrdiff_t>(header_bytes),
            packet.end(),
            [&] { return static_cast<std::byte>(random()); }
        );
        this->expect_parsed(TypeParam::parse(packet), config, {}, header_bytes);
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

TYPED_TEST(TunnelProtocolSuite, AnyFlippedBitIsRefusedOrLeavesTheHeaderWithinItsPacket) {
    for (const HeaderConfig& config : this->variants()) {
        const Bytes header = this->written(config);
        for (std::size_t bit = 0; bit < header.size() * 8; ++bit) {
            Bytes packet = header;
            packet[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
            const Parsed parsed = TypeParam::parse(packet);
            if (parsed.drop == DropReason::none) {
                EXPECT_LE(parsed.header_bytes, packet.size()) << bit;
                EXPECT_LE(parsed.key, this->kKeyMax) << bit;
            }
        }
    }
}

TYPED_TEST(TunnelProtocolSuite, NeverExceedsTheStatedHeaderLength) {
    const std::vector<HeaderConfig> configs = this->configs();
    std::size_t longest = 0;
    for (const HeaderConfig& config : configs) {
        longest = std::max(longest, TypeParam::header_bytes(config));
    }
    EXPECT_EQ(longest, std::size_t{TypeParam::kHeaderBytesMax});
    EXPECT_LE(longest, std::size_t{TypeParam::kParseBytesMax});
    std::mt19937 random(9);
    std::size_t accepted = 0;
    for (int i = 0; i < 200000; ++i) {
        Bytes packet = this->written(configs[random() % configs.size()]);
        packet.resize(TypeParam::kParseBytesMax + 8);
        packet[random() % packet.size()] = static_cast<std::byte>(random());
        const Parsed parsed = TypeParam::parse(packet);
        if (parsed.drop == DropReason::none) {
            ++accepted;
            ASSERT_LE(parsed.header_bytes, TypeParam::kParseBytesMax);
            ASSERT_LE(parsed.key, this->kKeyMax);
        }
    }
    EXPECT_GT(accepted, 1000U);
}

TYPED_TEST(TunnelProtocolSuite, ReadsNoByteBehindTheStatedLength) {
    const std::vector<HeaderConfig> configs = this->configs();
    std::mt19937 random(10);
    for (int i = 0; i < 20000; ++i) {
        Bytes packet = this->written(configs[random() % configs.size()]);
        packet.resize(TypeParam::kParseBytesMax + 64, std::byte{0xff});
        packet[random() % TypeParam::kParseBytesMax] = static_cast<std::byte>(random());
        const Parsed whole = TypeParam::parse(packet);
        const Parsed cut = TypeParam::parse(prefix(packet, TypeParam::kParseBytesMax));
        ASSERT_EQ(drop_reason_name(whole.drop), drop_reason_name(cut.drop));
        if (whole.drop == DropReason::none) {
            ASSERT_EQ(whole.header_bytes, cut.header_bytes);
        }
    }
}

TYPED_TEST(TunnelProtocolSuite, WritesEveryByteOfItsSpanAndNoneBesideIt) {
    constexpr std::size_t kGuard = 32;
    for (const HeaderConfig& config : this->configs()) {
        const std::size_t size = TypeParam::header_bytes(config);
        std::array<Bytes, 2> results;
        for (const std::byte fill : {std::byte{0x00}, std::byte{0xff}}) {
            Bytes buffer(size + 2 * kGuard, fill);
            const auto out = std::span(buffer).subspan(kGuard, size);
            TypeParam::write(config, out);
            TypeParam::patch(out, {.is_v6 = true, .sequence = 0x55aa55aa, .nvgre_key = true});
            for (std::size_t i = 0; i < kGuard; ++i) {
                ASSERT_EQ(buffer[i], fill);
                ASSERT_EQ(buffer[kGuard + size + i], fill);
            }
            results.at(fill == std::byte{0} ? 0 : 1) = Bytes(out.begin(), out.end());
        }
        EXPECT_EQ(results[0], results[1]) << "a byte of the header was left as it was";
    }
}

TYPED_TEST(TunnelProtocolSuite, PatchingDependsOnTheFactsAlone) {
    for (const HeaderConfig& config : this->configs()) {
        for (const PacketFacts& any : this->facts()) {
            const PacketFacts facts = this->of_tunnel(config, any);
            const Bytes once = this->patched(config, facts);
            Bytes again = once;
            TypeParam::patch(again, facts);
            EXPECT_EQ(again, once) << "twice";
            if (config.carry_group_policy && !facts.group_policy.has_value()) {
                continue;  // The id of another packet would stay.
            }
            for (const PacketFacts& earlier : this->facts()) {
                Bytes late = this->patched(config, earlier);
                TypeParam::patch(late, facts);
                EXPECT_EQ(late, once) << "after the facts of another packet";
            }
        }
    }
}

TYPED_TEST(TunnelProtocolSuite, SaysWhetherPatchingChangesAnything) {
    for (const HeaderConfig& config : this->configs()) {
        const Bytes header = this->written(config);
        bool changed = false;
        for (const PacketFacts& facts : this->facts()) {
            changed = changed || this->patched(config, facts) != header;
        }
        EXPECT_EQ(TypeParam::needs_patch(config), changed);
    }
}

TYPED_TEST(TunnelProtocolSuite, LeavesRoomForItsChecksumAndAsksForItsVerification) {
    for (const HeaderConfig& config : this->configs()) {
        const std::size_t offset = TypeParam::checksum_offset(config);
        ASSERT_EQ(offset != 0, config.checksum);
        if (!config.checksum) {
            continue;
        }
        Bytes packet = this->patched(config, this->facts()[1]);
        ASSERT_LE(offset + 2, packet.size());
        ASSERT_EQ(offset % 2, 0U);
        ASSERT_EQ(word_at(packet, offset), 0U);
        const std::size_t header_bytes = packet.size();
        packet.resize(header_bytes + 61, std::byte{0xc3});
        set_word(packet, offset, ~naive_sum(packet) & 0xffffU);
        EXPECT_EQ(naive_sum(packet), 0xffffU);
        const Parsed parsed = TypeParam::parse(packet);
        EXPECT_TRUE(parsed.verify_checksum);
        this->expect_parsed(parsed, config, this->facts()[1], header_bytes);
    }
}

TYPED_TEST(TunnelProtocolSuite, AConfigWithoutKeySendsNoneOrZero) {
    for (const HeaderConfig& config : this->variants()) {
        const Parsed parsed = TypeParam::parse(this->written(config));
        ASSERT_EQ(parsed.drop, DropReason::none);
        EXPECT_TRUE(parsed.has_key || !TypeParam::kKeyAlwaysPresent);
        EXPECT_EQ(parsed.key, 0U);
    }
}

TYPED_TEST(TunnelProtocolSuite, IgnoresWhatItsFeaturesLack) {
    HeaderConfig asked{
        .key = 5,
        .checksum = !this->kFeatures.checksum,
        .sequence = !this->kFeatures.sequence,
        .nvgre_key = !this->kFeatures.nvgre_key};
    if (!this->kFeatures.group_policy) {
        asked.group_policy = std::uint16_t{7};
    }
    if (!this->kFeatures.options) {
        asked.options = option_sets()[2];
    }
    EXPECT_EQ(this->written(asked), this->written({.key = 5}));
    EXPECT_EQ(TypeParam::needs_patch(asked), TypeParam::needs_patch({.key = 5}));
    EXPECT_EQ(TypeParam::checksum_offset(asked), 0U);
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
    EXPECT_EQ(row.parse_bytes_max, std::size_t{TypeParam::kParseBytesMax});
    EXPECT_EQ(row.outer.ip_protocol == kIpProtocolUdp, row.outer.default_udp_port != 0);
    EXPECT_GE(row.key_bits, 1U);
    EXPECT_LE(row.key_bits, 32U);
    EXPECT_TRUE(row.features.ethernet || row.features.ip);
}

TYPED_TEST(TunnelProtocolSuite, IsReachedByItsIndex) {
    const std::uint8_t index = find_protocol(TypeParam::kName).value();
    constexpr std::size_t kOuter = 42;
    for (const HeaderConfig& config : this->configs()) {
        EncapTemplate encap;
        encap.length = kOuter;
        append_header(index, config, encap);
        const Bytes expected = this->written(config);
        ASSERT_EQ(encap.length, kOuter + expected.size());
        EXPECT_EQ(encap.tunnel_offset, kOuter);
        EXPECT_EQ(encap.protocol, index);
        EXPECT_EQ(encap.patched, TypeParam::needs_patch(config));
        EXPECT_EQ(encap.sequenced, config.sequence);
        EXPECT_EQ(encap.nvgre_key, config.nvgre_key);
        EXPECT_EQ(encap.checksum_offset, TypeParam::checksum_offset(config));
        const auto header = std::span(encap.bytes).subspan(kOuter, expected.size());
        EXPECT_TRUE(std::ranges::equal(header, expected));
        this->expect_parsed(parse_protocol(index, header), config, {}, expected.size());
    }
}

TYPED_TEST(TunnelProtocolSuite, IsPatchedThroughItsTemplate) {
    const std::uint8_t index = find_protocol(TypeParam::kName).value();
    constexpr std::size_t kOuter = 42;
    for (const HeaderConfig& config : this->configs()) {
        EncapTemplate encap;
        encap.length = kOuter;
        append_header(index, config, encap);
        for (const PacketFacts& any : this->facts()) {
            PacketFacts facts = this->of_tunnel(config, any);
            facts.nvgre_key = !config.nvgre_key;  // Not for the caller to say.
            Bytes out = prefix(encap.bytes, encap.length);
            patch_tunnel(encap, out, facts);
            const auto header = std::span(out).subspan(kOuter);
            EXPECT_TRUE(std::ranges::equal(header, this->patched(config, facts)));
            EXPECT_TRUE(std::ranges::all_of(std::span(out).first(kOuter), [](std::byte octet) {
                return octet == std::byte{0};
            }));
        }
    }
}

}  // namespace
}  // namespace culvert::tunnels
